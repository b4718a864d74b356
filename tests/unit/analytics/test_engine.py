"""The analytics engine as a whole: windows, reports, forgetting."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from pluginhost import AnalyticsEngine, AnalyticsEvent, EventKind, PluginHost, Status, observe
from pluginhost.analytics.records import AnalyticsExport
from pluginhost.errors import InvalidValueError, PluginNotFoundError
from pluginhost.report import AnalyticsReport, decode, encode, json_schema

SECOND = 10**9


class Clock:
    """Shows what it was set to, in ns."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def execution(second: float, status: Status = Status.SUCCESS) -> AnalyticsEvent:
    return AnalyticsEvent(
        kind=EventKind.PLUGIN_EXECUTE,
        plugin_id="a",
        timestamp_ns=round(second * SECOND),
        duration_ns=1_000,
        status=status,
        error_type="E" if status is Status.ERROR else None,
        error_message="no" if status is Status.ERROR else None,
    )


def engine_at(
    now: int, seconds: Sequence[float], *, max_events: int = 10_000
) -> tuple[AnalyticsEngine, Clock]:
    clock = Clock(now * SECOND)
    engine = AnalyticsEngine(max_events, wall_clock=clock)
    for second in seconds:
        engine.record_event(execution(second))
    return engine, clock


# Windows


def test_a_window_has_the_last_seconds() -> None:
    """After its beginning, up to and with this very moment."""
    engine, _ = engine_at(100, [50, 90, 90.000_000_5, 95, 100])
    window = engine.create_time_window(10)
    assert list(window.events) == [execution(90.000_000_5), execution(95), execution(100)]
    assert window.end_timestamp_ns - window.start_timestamp_ns == 10 * SECOND


def test_a_window_does_not_change_later() -> None:
    """Neither by new events, nor by eviction, nor when all is forgotten."""
    engine, clock = engine_at(100, [91, 92, 93], max_events=10)
    window = engine.create_time_window(60)
    before = list(window.events)
    for second in range(200, 1_200):
        engine.record_event(execution(second))
    clock.now_ns = 1_200 * SECOND
    engine.create_time_window(600)
    assert list(window.events) == before
    engine.clear_analytics()
    engine.record_event(execution(1_300))
    assert list(window.events) == before == [execution(91), execution(92), execution(93)]


def test_the_events_of_a_window_are_a_sequence() -> None:
    """Counted, indexed and cut without making all of them."""
    engine, _ = engine_at(100, [91, 92, 93, 94])
    events = engine.create_time_window(60).events
    assert len(events) == 4
    assert events[0] == execution(91)
    assert events[-1] == execution(94)
    assert list(events[1:3]) == [execution(92), execution(93)]
    assert next(reversed(events)) == execution(94)
    assert execution(92) in events
    with pytest.raises(IndexError):
        events[4]


def test_a_hundred_windows_are_kept() -> None:
    """The oldest leave."""
    engine, clock = engine_at(100, [])
    windows = []
    for _ in range(103):
        clock.now_ns += SECOND
        windows.append(engine.create_time_window(1))
    assert engine.windows == tuple(windows[3:])


def test_an_empty_window_is_a_window() -> None:
    """Nothing happened: that is an answer."""
    engine, _ = engine_at(100, [50])
    window = engine.create_time_window(0)
    assert len(window.events) == 0
    assert engine.windows == (window,)


@pytest.mark.parametrize("duration", [-1, float("nan"), float("inf"), 1e9, True])
def test_a_window_of_impossible_length_is_refused(duration: float) -> None:
    """And none is kept."""
    engine = AnalyticsEngine()
    with pytest.raises(InvalidValueError, match="the duration is"):
        engine.create_time_window(duration)
    assert engine.windows == ()


# Reports


@pytest.fixture
def busy() -> AnalyticsEngine:
    """A load and eighty executions, every eighth of which failed."""
    clock = Clock(1_000 * SECOND)
    engine = AnalyticsEngine(wall_clock=clock)
    engine.record_event(
        AnalyticsEvent(
            kind=EventKind.PLUGIN_LOAD,
            plugin_id="a",
            timestamp_ns=SECOND,
            duration_ns=500,
            hook="load",
            metadata={"version": "1.0"},
        )
    )
    for second in range(2, 82):
        engine.record_event(execution(second, Status.SUCCESS if second % 8 else Status.ERROR))
    return engine


def test_the_json_fits_the_published_schema(busy: AnalyticsEngine) -> None:
    """Every field of it, and it comes back as the records that it was made of."""
    text = busy.export_analytics_json()
    document = json.loads(text)
    Draft202012Validator(json_schema(AnalyticsExport)).validate(document)
    idle = ("plugin_unload", "hook_call", "hook_await", "module_import", "section", "loop_block")
    happened = {"plugin_load": 1, "plugin_execute": 80, "plugin_error": 10}
    assert document["event_counts"] == dict.fromkeys(idle, 0) | happened
    again = decode(text, AnalyticsExport)
    assert again.plugin_stats == busy.get_all_plugin_stats()
    assert again.recent_events == busy.get_events(0, 10_000)[-50:]
    assert len(again.recent_events) == 50


def test_the_json_of_nothing_fits_the_schema_too() -> None:
    """An engine that saw nothing says so."""
    document = json.loads(AnalyticsEngine().export_analytics_json())
    Draft202012Validator(json_schema(AnalyticsExport)).validate(document)
    assert (document["plugin_stats"], document["recent_events"]) == ({}, [])


def test_the_last_fifty_are_by_time() -> None:
    """A late event is not a recent one."""
    engine, _ = engine_at(1_000, [*range(100, 160), 5])
    recent = decode(engine.export_analytics_json(), AnalyticsExport).recent_events
    assert [event.timestamp_ns // SECOND for event in recent] == list(range(110, 160))


def test_the_report_has_it_all(busy: AnalyticsEngine) -> None:
    """Statistics, counts and trends; what it is about is the time since it was begun."""
    report = busy.report()
    assert decode(encode(report), AnalyticsReport) == report
    assert report.plugins == (busy.get_plugin_stats("a"),)
    assert (report.stored_events, report.evicted_events) == (91, 0)
    assert report.trends == (busy.analyze_trends("a"),)
    assert report.observed_ns == 0


def test_the_summary_names_the_least_reliable(busy: AnalyticsEngine) -> None:
    """In 80 columns."""
    text = busy.get_analytics_summary()
    assert "least reliable: a, 87.5 % of 80 executions succeeded" in text
    assert max(map(len, text.splitlines())) <= 80


def test_time_is_observed_from_the_beginning_to_the_end() -> None:
    """By the wall clock, and never negative when that is set back."""
    clock = Clock(100 * SECOND)
    engine = AnalyticsEngine(wall_clock=clock)
    clock.now_ns = 160 * SECOND
    assert engine.report().observed_ns == 60 * SECOND
    clock.now_ns = 90 * SECOND
    assert engine.report().observed_ns == 0


# Forgetting


def test_everything_is_forgotten(busy: AnalyticsEngine) -> None:
    """Statistics, events, windows; what comes next is counted from zero."""
    busy.create_time_window(10)
    busy.clear_analytics()
    report = busy.report()
    assert (report.plugins, report.stored_events, report.evicted_events) == ((), 0, 0)
    assert set(report.event_counts.values()) == {0}
    assert busy.windows == ()
    assert busy.get_events(0, 10_000) == ()
    with pytest.raises(PluginNotFoundError):
        busy.get_plugin_stats("a")
    busy.record_event(execution(5))
    assert busy.get_plugin_stats("a").execution_count == 1
    assert busy.get_plugin_events("a") == (execution(5),)


@pytest.fixture
def host(
    plugin_folder: Callable[..., Path], make_host: Callable[..., PluginHost]
) -> Iterator[PluginHost]:
    """A host with one plugin that does nothing."""
    made = make_host(
        plugin_folder(
            {"a.py": "from pluginhost import hookimpl\n\n@hookimpl\ndef execute(): ...\n"}
        )
    )
    made.load_all()
    return made


def test_what_is_pending_is_forgotten_too(host: PluginHost) -> None:
    """Executions before the clearing do not turn up after it."""
    with observe(host, profiler=None) as observation:
        analytics = observation.analytics
        assert analytics is not None
        host.execute("a")
        analytics.clear_analytics()
        assert analytics.get_all_plugin_stats() == {}
        host.execute("a")
        assert analytics.get_plugin_stats("a").execution_count == 1


def test_a_thousand_executions_are_exact_while_few_events_are_kept(host: PluginHost) -> None:
    """Statistics survive eviction; what is kept is the end."""
    analytics = AnalyticsEngine(max_events=100)
    with observe(host, profiler=None, analytics=analytics):
        for _ in range(2_500):
            host.execute("a")
        stats = analytics.get_plugin_stats("a")
        events = analytics.get_plugin_events("a")
    assert (stats.execution_count, len(events)) == (2_500, 100)
    assert events[-1].timestamp_ns == stats.last_activity_timestamp_ns
    assert analytics.report().evicted_events == 2_400
