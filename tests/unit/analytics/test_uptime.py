"""For which share of the time since it was first seen a plugin was loaded, by a clock of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pluginhost import (
    AnalyticsEngine,
    AnalyticsEvent,
    EventBatch,
    EventKind,
    PluginHost,
    Status,
    observe,
)
from pluginhost.calltree import CallTree
from pluginhost.journal import Detail

LOAD, UNLOAD = EventKind.PLUGIN_LOAD, EventKind.PLUGIN_UNLOAD
EXECUTE, HOOK, ERROR = EventKind.PLUGIN_EXECUTE, EventKind.HOOK_CALL, EventKind.PLUGIN_ERROR
FAILED = Status.ERROR

Step = tuple[EventKind, int, int] | tuple[EventKind, int, int, Status]


class Clock:
    """Shows what it was set to, in ns."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def uptime(steps: list[Step], now: int) -> float:
    """The uptime at `now` after steps of (kind, begin, end, status)."""
    clock = Clock()
    engine = AnalyticsEngine(wall_clock=clock)
    for kind, begin, end, *status in steps:
        engine.record_event(
            AnalyticsEvent(
                kind=kind,
                plugin_id="a",
                timestamp_ns=end,
                duration_ns=end - begin,
                status=status[0] if status else Status.SUCCESS,
            )
        )
    clock.now_ns = now
    return engine.get_plugin_stats("a").uptime_percent


@pytest.mark.parametrize(
    ("steps", "now", "expected"),
    [
        pytest.param([(LOAD, 100, 100)], 200, 100.0, id="loaded"),
        pytest.param([(LOAD, 100, 150)], 200, 50.0, id="loading takes its time"),
        pytest.param([(LOAD, 100, 100), (UNLOAD, 160, 160)], 200, 60.0, id="unloaded"),
        pytest.param([(LOAD, 100, 100), (UNLOAD, 150, 160)], 200, 60.0, id="unloading is uptime"),
        pytest.param(
            [(LOAD, 100, 100), (UNLOAD, 120, 120), (LOAD, 180, 180)], 200, 40.0, id="reloaded"
        ),
        pytest.param(
            [(LOAD, 0, 0), (UNLOAD, 25, 25), (LOAD, 50, 50), (UNLOAD, 75, 75)],
            100,
            50.0,
            id="twice",
        ),
        pytest.param([(LOAD, 100, 110, FAILED)], 200, 0.0, id="failed to load"),
        pytest.param(
            [(LOAD, 100, 110, FAILED), (LOAD, 150, 150)], 200, 50.0, id="loaded at the second try"
        ),
        pytest.param([(EXECUTE, 100, 120)], 200, 100.0, id="loaded before anybody looked"),
        pytest.param([(HOOK, 100, 120)], 200, 100.0, id="called before anybody looked"),
        pytest.param([(EXECUTE, 100, 120), (UNLOAD, 150, 150)], 200, 50.0, id="then unloaded"),
        pytest.param([(UNLOAD, 100, 150)], 200, 50.0, id="seen by its unload"),
        pytest.param(
            [(EXECUTE, 100, 110), (UNLOAD, 120, 120), (LOAD, 160, 160)],
            200,
            60.0,
            id="then reloaded",
        ),
        pytest.param(
            [(HOOK, 102, 104), (LOAD, 100, 150)], 200, 50.0, id="at work while it was loading"
        ),
        pytest.param(
            [(HOOK, 102, 104), (LOAD, 100, 110, FAILED)], 200, 0.0, id="at work while it failed"
        ),
        pytest.param(
            [(LOAD, 100, 100), (UNLOAD, 140, 140, FAILED)], 200, 40.0, id="failing teardown"
        ),
        pytest.param([(ERROR, 100, 100)], 200, 0.0, id="an error by itself"),
        pytest.param([(LOAD, 100, 100)], 100, 0.0, id="no time has passed"),
        pytest.param([(LOAD, 100, 100)], 50, 0.0, id="the clock went back"),
    ],
)
def test_uptime(steps: list[Step], now: int, expected: float) -> None:
    """The share of the time since the plugin was first seen."""
    assert uptime(steps, now) == pytest.approx(expected)


def test_uptime_is_right_although_the_events_are_evicted() -> None:
    """The load was long ago."""
    steps: list[Step] = [(LOAD, 1, 1), (UNLOAD, 500, 500), (LOAD, 700, 700)]
    clock = Clock()
    engine = AnalyticsEngine(1, wall_clock=clock)
    for kind, begin, end, *_ in (*steps, *((EXECUTE, 800, 800 + n) for n in range(100))):
        engine.record_event(
            AnalyticsEvent(kind=kind, plugin_id="a", timestamp_ns=end, duration_ns=end - begin)
        )
    clock.now_ns = 1_001
    assert len(engine.get_plugin_events("a")) == 1
    assert engine.get_plugin_stats("a").uptime_percent == pytest.approx(100 * (499 + 301) / 1_000)


def test_first_seen_is_the_earliest_beginning() -> None:
    """Of an execution that began before another but came later, too."""
    tree = CallTree()
    long, short = tree.root["a"], tree.root["b"]["a"]
    clock = Clock()
    engine = AnalyticsEngine(wall_clock=clock)
    engine.observe(EventBatch([short, 200, 300, 1, None], 0))
    engine.observe(EventBatch([long, 100, 400, 1, None], 0))
    clock.now_ns = 500
    stats = engine.get_plugin_stats("a")
    assert stats.first_seen_timestamp_ns == 100
    assert stats.last_activity_timestamp_ns == 400
    assert stats.uptime_percent == 100.0


def test_what_comes_late_does_not_move_a_load() -> None:
    """The plugin was seen before it was loaded; since when it is loaded is known."""
    tree = CallTree()
    clock = Clock()
    engine = AnalyticsEngine(wall_clock=clock)
    load = tree.root[tree.site(LOAD, "a", "load")]
    engine.observe(EventBatch([load, 100, 100, 1, Detail()], 0))
    engine.observe(EventBatch([tree.root["a"], 50, 60, 1, None], 0))
    clock.now_ns = 150
    assert engine.get_plugin_stats("a").uptime_percent == 50.0


def test_uptime_ends_with_the_observation() -> None:
    """What happens to the plugin afterwards is not known."""
    clock = Clock()
    engine = AnalyticsEngine(wall_clock=clock)
    engine.connect(lambda: None)
    tree = CallTree()
    load = tree.root[tree.site(LOAD, "a", "load")]
    unload = tree.root[tree.site(UNLOAD, "a", "unload")]
    records: list[Any] = [load, 100, 100, 1, Detail(), unload, 150, 150, 1, Detail()]
    engine.observe(EventBatch(records, 0))
    clock.now_ns = 200
    engine.disconnect()
    clock.now_ns = 10_000
    assert engine.get_plugin_stats("a").uptime_percent == 50.0
    assert engine.report().observed_ns == 200


PLUGIN = {
    "a.py": """
        from pluginhost import hookimpl

        @hookimpl
        def execute(payload):
            return payload
    """
}
BROKEN = {
    "broken.py": """
        from pluginhost import hookimpl

        @hookimpl
        def setup(host):
            raise ValueError("no")
    """
}


def test_uptime_through_a_host(
    plugin_folder: Callable[..., Path], make_host: Callable[..., PluginHost]
) -> None:
    """Loaded before the observation, unloaded, loaded again; and one that cannot be."""
    host = make_host(plugin_folder(PLUGIN | BROKEN))
    host.load("a")
    with observe(host, profiler=None) as observation:
        analytics = observation.analytics
        assert analytics is not None
        host.execute("a")
        assert analytics.get_plugin_stats("a").uptime_percent == 100.0
        host.unload("a")
        first = analytics.get_plugin_stats("a").uptime_percent
        second = analytics.get_plugin_stats("a").uptime_percent
        assert 100.0 > first > second > 0.0
        host.load_all()
        stats = analytics.get_all_plugin_stats()
    assert (stats["a"].load_count, stats["a"].unload_count) == (1, 1)
    assert 0.0 < stats["a"].uptime_percent < 100.0
    assert (stats["broken"].load_count, stats["broken"].uptime_percent) == (1, 0.0)
    assert stats["broken"].error_count == 1
