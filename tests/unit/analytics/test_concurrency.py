"""How many executions ran at once, against counting at every moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from pluginhost import AnalyticsEngine, AnalyticsEvent, EventBatch, EventKind, PluginHost, observe
from pluginhost.analytics.concurrency import PeakConcurrency
from pluginhost.calltree import CallTree

Interval = tuple[int, int]

INTERVALS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 12)).map(lambda pair: (pair[0], sum(pair))),
    min_size=1,
    max_size=40,
).map(lambda found: sorted(found, key=lambda interval: (interval[1], interval[0])))


def most_at_once(intervals: list[Interval]) -> int:
    """Count at each moment and between each two; what has ended makes room for what begins."""
    most = 0
    for moment in range(2 * max(end for _, end in intervals) + 1):
        lasting = sum(2 * start < moment < 2 * end for start, end in intervals)
        instant = any(2 * start == moment == 2 * end for start, end in intervals)
        most = max(most, lasting + instant)
    return most


@given(INTERVALS, st.lists(st.integers(1, 6), min_size=1))
@example([(0, 1), (0, 2), (1, 3), (2, 4)], [1])
@example([(0, 5), (5, 9), (9, 9)], [3])
@settings(deadline=None)
def test_any_intervals_against_counting(intervals: list[Interval], sizes: list[int]) -> None:
    """They come in the order of their ends, in groups of any size, as they do from the bus."""
    found = PeakConcurrency()
    waiting, turn = list(intervals), 0
    while waiting:
        size = sizes[turn % len(sizes)]
        group, waiting, turn = waiting[:size], waiting[size:], turn + 1
        in_turn = all(before[1] <= after[0] for before, after in pairwise(group))
        ends = [end for _, end in group]
        found.add_all(ends, [end - start for start, end in group], in_turn=in_turn)
    assert found.peak == most_at_once(intervals)


@given(st.dictionaries(st.sampled_from("abc"), INTERVALS, min_size=1), st.integers(1, 9))
@settings(deadline=None)
def test_each_plugin_is_counted_for_itself(intervals: dict[str, list[Interval]], size: int) -> None:
    """Also when they are executed from several places and come in mixed batches.

    None takes no time here: of several that end at one moment, any may come first.
    """
    tree = CallTree()
    rows = [
        (
            2 * end + 1,
            2 * start,
            tree.root[plugin_id] if number % 2 else tree.root["caller"][plugin_id],
        )
        for plugin_id, found in intervals.items()
        for number, (start, end) in enumerate(found)
    ]
    rows.sort(key=lambda row: row[:2])
    engine = AnalyticsEngine()
    for first in range(0, len(rows), size):
        records: list[Any] = []
        for end, start, path in rows[first : first + size]:
            records += (path, start, end, 1, None)
        engine.observe(EventBatch(records, 0))
    peaks = {i: stats.peak_concurrency for i, stats in engine.get_all_plugin_stats().items()}
    assert peaks == {
        plugin_id: most_at_once([(2 * start, 2 * end + 1) for start, end in found])
        for plugin_id, found in intervals.items()
    }


def test_only_executions_count() -> None:
    """A load or a hook that goes on meanwhile is not another execution."""
    engine = AnalyticsEngine()
    for kind in (EventKind.PLUGIN_LOAD, EventKind.HOOK_CALL, EventKind.PLUGIN_EXECUTE):
        engine.record_event(
            AnalyticsEvent(kind=kind, plugin_id="a", timestamp_ns=100, duration_ns=100)
        )
    assert engine.get_plugin_stats("a").peak_concurrency == 1


def test_events_by_hand_may_come_in_any_order() -> None:
    """Late ones are put where they belong before they are counted."""
    engine = AnalyticsEngine()
    for start, end in ((6, 12), (0, 10), (0, 5)):
        engine.record_event(
            AnalyticsEvent(
                kind=EventKind.PLUGIN_EXECUTE,
                plugin_id="a",
                timestamp_ns=end,
                duration_ns=end - start,
            )
        )
    assert engine.get_plugin_stats("a").peak_concurrency == 2


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_that_meet_in_a_plugin(
    plugin_folder: Callable[..., Path], make_host: Callable[..., PluginHost], threads: int
) -> None:
    """Each waits within its execution until all are there."""
    plugins = {
        "meets.py": """
            from pluginhost import hookimpl

            @hookimpl
            def execute(payload):
                payload.wait(30)
        """
    }
    host = make_host(plugin_folder(plugins))
    host.load_all()
    together = threading.Barrier(threads)
    with observe(host, profiler=None) as observation, ThreadPoolExecutor(threads) as pool:
        for _ in range(3):
            list(pool.map(lambda _: host.execute("meets", together), range(threads)))
        assert observation.analytics is not None
        stats = observation.analytics.get_plugin_stats("meets")
    assert (stats.execution_count, stats.peak_concurrency) == (3 * threads, threads)
