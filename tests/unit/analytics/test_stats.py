"""What is counted of each plugin, against a model that keeps everything."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from pluginhost import AnalyticsEngine, AnalyticsEvent, EventKind, PluginHost, Status, observe
from pluginhost.errors import InvalidValueError, PluginNotFoundError

LOAD, UNLOAD = EventKind.PLUGIN_LOAD, EventKind.PLUGIN_UNLOAD
EXECUTE, HOOK, ERROR = EventKind.PLUGIN_EXECUTE, EventKind.HOOK_CALL, EventKind.PLUGIN_ERROR
BAD = {Status.ERROR, Status.TIMEOUT}

EVENTS = st.lists(
    st.builds(
        AnalyticsEvent,
        kind=st.sampled_from([EXECUTE, EXECUTE, EXECUTE, *EventKind]),
        plugin_id=st.sampled_from("abc"),
        timestamp_ns=st.integers(10**6, 2 * 10**6),
        duration_ns=st.integers(0, 10**6),
        status=st.sampled_from(Status),
        hook=st.sampled_from(["execute", "greet"]),
        parent=st.sampled_from([None, "a"]),
    ),
    max_size=50,
)


def event(plugin_id: str = "a", **changes: Any) -> AnalyticsEvent:
    known = {"kind": EXECUTE, "plugin_id": plugin_id, "timestamp_ns": 10**18, "duration_ns": 1_000}
    return AnalyticsEvent(**(known | changes))


def told(*events: AnalyticsEvent, max_events: int = 10_000) -> AnalyticsEngine:
    engine = AnalyticsEngine(max_events, wall_clock=lambda: 2 * 10**18)
    for one in events:
        engine.record_event(one)
    return engine


@given(EVENTS, st.integers(1, 10))
@settings(deadline=None)
def test_any_events_against_a_list(events: list[AnalyticsEvent], max_events: int) -> None:
    """In whatever order they come, and although most of them are evicted."""
    engine = told(*events, max_events=max_events)
    assert set(engine.get_all_plugin_stats()) == {one.plugin_id for one in events}
    for plugin_id, got in engine.get_all_plugin_stats().items():
        own = [one for one in events if one.plugin_id == plugin_id]
        kinds = Counter(one.kind for one in own)
        executions = [one for one in own if one.kind is EXECUTE]
        durations = [one.duration_ns for one in executions]
        loads = [one.duration_ns for one in own if one.kind is LOAD]
        good = sum(one.status is Status.SUCCESS for one in executions)
        assert got == engine.get_plugin_stats(plugin_id)
        assert got.load_count == kinds[LOAD]
        assert got.unload_count == kinds[UNLOAD]
        assert got.hook_call_count == kinds[HOOK]
        assert got.execution_count == kinds[EXECUTE]
        assert got.error_count == sum(one.kind is ERROR or one.status in BAD for one in own)
        assert got.total_execution_time_ns == sum(durations)
        if executions:
            assert got.success_rate == pytest.approx(good / len(executions))
            assert got.average_execution_time_ns == pytest.approx(statistics.fmean(durations))
        else:
            assert got.success_rate is got.average_execution_time_ns is None
        if loads:
            assert got.average_load_time_ns == pytest.approx(statistics.fmean(loads))
        else:
            assert got.average_load_time_ns is None
        assert got.first_seen_timestamp_ns == min(o.timestamp_ns - o.duration_ns for o in own)
        assert got.last_activity_timestamp_ns == max(one.timestamp_ns for one in own)
    counts = Counter(one.kind for one in events)
    counts[ERROR] += sum(one.status in BAD and one.kind is not ERROR for one in events)
    report = engine.report()
    assert report.event_counts == {kind.value: counts[kind] for kind in EventKind}
    assert report.stored_events == min(max_events, counts.total())
    assert report.evicted_events == counts.total() - report.stored_events


def test_a_cancelled_execution_is_no_success_and_no_error() -> None:
    """It did not do what it should, and nobody is to blame."""
    stats = told(event(status=Status.CANCELLED), event()).get_plugin_stats("a")
    assert (stats.success_rate, stats.error_count) == (0.5, 0)


def test_a_message_does_not_make_a_success_a_failure() -> None:
    """The status decides."""
    engine = told(event(error_message="odd", error_type="Warning"))
    assert engine.get_plugin_stats("a").success_rate == 1.0
    assert engine.get_plugin_stats("a").error_count == 0
    (kept,) = engine.get_plugin_events("a")
    assert (kept.error_message, kept.error_type) == ("odd", "Warning")


def test_eight_threads_lose_nothing() -> None:
    """Each event is counted and stored once, while others read."""
    engine = AnalyticsEngine(100_000)

    def record(thread: int) -> None:
        for number in range(1_500):
            status = Status.ERROR if number % 10 == 0 else Status.SUCCESS
            engine.record_event(event(f"p{number % 3}", status=status))
            if number % 100 == thread:
                engine.get_all_plugin_stats()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, range(8)))
    stats = engine.get_all_plugin_stats().values()
    assert sum(row.execution_count for row in stats) == 12_000
    assert sum(row.error_count for row in stats) == 1_200
    assert engine.report().stored_events == 13_200
    assert len(engine.get_events_by_type(ERROR)) == 1_200


def test_a_host_seen_from_analytics(
    plugin_folder: Callable[..., Path], make_host: Callable[..., PluginHost]
) -> None:
    """Loads, executions, failures and unloads arrive with version, status and caller."""
    folder = plugin_folder(
        {
            "outer.py": """
                from pluginhost import hookimpl

                @hookimpl
                def execute(payload, host):
                    return host.execute("inner", payload)
            """,
            "inner.py": """
                from pluginhost import hookimpl

                @hookimpl
                def execute(payload):
                    return 1 / payload
            """,
            "pluginhost.toml": '[plugins.inner]\nversion = "2.5"\n[plugins.outer]\n',
        }
    )
    host = make_host(folder)
    with observe(host, profiler=None) as observation:
        host.load_all()
        for payload in (1, 2, 0):
            try:
                host.execute("outer", payload)
            except ZeroDivisionError:
                continue
        host.unload("outer")
        analytics = observation.analytics
        assert analytics is not None
        stats = analytics.get_all_plugin_stats()
        events = analytics.get_plugin_events("inner")
    outer, inner = stats["outer"], stats["inner"]
    assert (outer.load_count, outer.execution_count, outer.unload_count) == (1, 3, 1)
    assert (inner.load_count, inner.execution_count, inner.unload_count) == (1, 3, 0)
    assert (outer.error_count, inner.error_count) == (1, 1)
    assert inner.success_rate == pytest.approx(2 / 3)
    assert outer.total_execution_time_ns > inner.total_execution_time_ns > 0
    assert [one.kind for one in events] == [LOAD, EXECUTE, EXECUTE, EXECUTE, ERROR]
    assert events[0].metadata["version"] == "2.5"
    assert {one.parent for one in events[1:]} == {"outer"}
    assert events[-1].error_type == "ZeroDivisionError"
    assert events[-1].timestamp_ns == events[-2].timestamp_ns


# Rankings


@pytest.fixture
def ranked() -> AnalyticsEngine:
    """`a` 4 of 4 succeeded, `b` 6 of 6, `c` 8 of 10, `d` 1 of 10, `e` only loaded."""
    events = [event("e", kind=LOAD)]
    for plugin_id, good, bad in (("d", 1, 9), ("a", 4, 0), ("c", 8, 2), ("b", 6, 0)):
        events += [event(plugin_id)] * good + [event(plugin_id, status=Status.ERROR)] * bad
    return told(*events)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param(10, "cdbae", id="all"),
        pytest.param(3, "cdb", id="three"),
        pytest.param(0, "", id="none"),
        pytest.param(-1, "", id="negative"),
    ],
)
def test_the_most_used(ranked: AnalyticsEngine, limit: int, expected: str) -> None:
    """By executions, then by name; at most as many as were asked for."""
    assert "".join(s.plugin_id for s in ranked.get_most_used_plugins(limit)) == expected


def test_ten_are_the_most_used_by_default() -> None:
    """More would be a list, not a ranking."""
    engine = told(*(event(f"p{number:02}") for number in range(15)))
    assert [s.plugin_id for s in engine.get_most_used_plugins()] == [f"p{n:02}" for n in range(10)]


@pytest.mark.parametrize(
    ("min_executions", "expected"),
    [
        pytest.param(1, "bacd", id="all that ran"),
        pytest.param(0, "bacd", id="zero is one"),
        pytest.param(6, "bcd", id="at the border"),
        pytest.param(7, "cd", id="above it"),
        pytest.param(11, "", id="none"),
    ],
)
def test_the_most_reliable(ranked: AnalyticsEngine, min_executions: int, expected: str) -> None:
    """By success rate, those that were executed more often first among equals."""
    got = ranked.get_most_reliable_plugins(min_executions)
    assert "".join(s.plugin_id for s in got) == expected


def test_the_report_ranks_by_executions(ranked: AnalyticsEngine) -> None:
    """As the ranking does."""
    assert ranked.report().plugins == ranked.get_most_used_plugins(100)


def test_an_unknown_plugin_is_told_from_the_known() -> None:
    """The error names those that were seen."""
    with pytest.raises(PluginNotFoundError, match=r"plugin 'b': .* seen were: a$"):
        told(event()).get_plugin_stats("b")
    with pytest.raises(PluginNotFoundError, match="seen were: none"):
        AnalyticsEngine().get_plugin_stats("b")


# Events that cannot be


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"duration_ns": -1}, id="negative duration"),
        pytest.param({"duration_ns": 367 * 86_400 * 10**9}, id="over a year"),
        pytest.param({"duration_ns": 1.5}, id="fraction of a ns"),
        pytest.param({"duration_ns": float("nan")}, id="duration not a number"),
        pytest.param({"duration_ns": True}, id="boolean"),
        pytest.param({"timestamp_ns": -1}, id="before 1970"),
        pytest.param({"timestamp_ns": 2**62}, id="in a century"),
        pytest.param({"timestamp_ns": 1.7e18}, id="time as a float"),
        pytest.param({"plugin_id": ""}, id="no name"),
        pytest.param({"plugin_id": "a\x1b[31m"}, id="escape in the name"),
        pytest.param({"hook": "a\nb"}, id="newline in the hook"),
        pytest.param({"parent": "\ud800"}, id="surrogate in the parent"),
        pytest.param({"plugin_id": "x" * 201}, id="endless name"),
        pytest.param({"kind": "plugin_sleep"}, id="unknown kind"),
        pytest.param({"status": "odd"}, id="unknown status"),
    ],
)
def test_an_event_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    """And it takes no other along: what was recorded before and after it is all there."""
    engine = told(event())
    with pytest.raises(ValueError, match=r"\w"):
        engine.record_event(event(**changes))
    engine.record_event(event())
    assert len(engine.get_plugin_events("a")) == 2
    assert list(engine.get_all_plugin_stats()) == ["a"]


def test_kinds_and_statuses_may_be_given_as_text() -> None:
    """As they stand in JSON."""
    engine = told(event(kind="plugin_execute", status="error"), event(kind=EXECUTE))
    stats = engine.get_plugin_stats("a")
    assert (stats.execution_count, stats.success_rate, stats.error_count) == (2, 0.5, 1)
    assert [one.kind for one in engine.get_events_by_type("plugin_error")] == [ERROR]


def test_foreign_text_is_made_safe() -> None:
    """Messages, types and metadata are shown as they are, but nothing in them is obeyed."""
    hostile = event(
        status=Status.ERROR,
        error_type="E\x07",
        error_message="no\x1b[31m\ud800" + "x" * 5_000,
        metadata={"a\nb": "c\x00"},
    )
    first, _ = told(hostile).get_plugin_events("a")
    assert first.error_type == "E\\x07"
    assert first.error_message is not None
    assert first.error_message.startswith("no\\x1b[31m\\ud800x")
    assert len(first.error_message) == 1_000
    assert first.metadata == {"a\\nb": "c\\x00"}


@pytest.mark.parametrize("max_events", [0, -5])
def test_an_engine_that_could_store_nothing_is_refused(max_events: int) -> None:
    """At once."""
    with pytest.raises(InvalidValueError, match="1 or more"):
        AnalyticsEngine(max_events)
