"""The latest executions one by one: bounded, in order, small."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from pluginhost import EventBatch, Profiler, Status
from pluginhost.calltree import CallTree
from pluginhost.journal import Detail, Failure
from pluginhost.profiler import history as history_module
from pluginhost.profiler.history import ExecutionHistory
from pluginhost.reading import RawReading, Reading
from pluginhost.report import ExecutionMetrics, PerformanceSample

EPOCH_NS = 1_700_000_000_000_000_000


def reading_of(number: int, **changes: int) -> RawReading:
    """Figures that tell which execution they are of, as they are taken."""
    known = Reading(number, 1_000_000, 1_000_000 + number, 0, 1, 2, 3, 4)
    return msgspec.structs.astuple(msgspec.structs.replace(known, **changes))


def batch_of(plugin_id: str, numbers: range, *extras: Any) -> EventBatch:
    """Executions that end at `number` us and take `number` ns, with what they carry."""
    path = CallTree().root[plugin_id]
    records: list[Any] = []
    for number, extra in zip(numbers, extras or [None] * len(numbers), strict=True):
        records += (path, number * 999, number * 1_000, 1, extra)
    return EventBatch(records, EPOCH_NS)


@given(
    st.integers(1, 12),
    st.lists(
        st.lists(
            st.sampled_from([None, "read", "failed", "failed and read"]), min_size=1, max_size=9
        ),
        max_size=12,
    ),
)
@settings(deadline=None)
def test_any_batches_against_a_list(max_history: int, batches: list[list[str | None]]) -> None:
    """What is kept is the end of what a list of everything would hold, readings at their places."""
    profiler = Profiler(max_history)
    model: list[ExecutionMetrics] = []
    samples: list[PerformanceSample | None] = []
    for kinds in batches:
        extras: list[Any] = []
        numbers = range(len(model) + 1, len(model) + 1 + len(kinds))
        for number, kind in zip(numbers, kinds, strict=True):
            reading = reading_of(number) if kind and "read" in kind else None
            failure = None
            if kind and "failed" in kind:
                failure = Failure(Status.ERROR, "E", f"no. {number}")
            extras.append(Detail(failure, reading) if failure else reading)
            model.append(expected(number, reading, failure))
            samples.append(
                PerformanceSample(
                    timestamp_ns=EPOCH_NS + number * 1_000,
                    duration_ns=number,
                    cpu_time_ns=number,
                    rss_bytes=1_000_000 + number,
                )
                if reading
                else None
            )
        profiler.observe(batch_of("a", numbers, *extras))
        assert profiler.get_history("a") == tuple(model[-max_history:])
        assert profiler.get_samples("a") == tuple(filter(None, samples[-max_history:]))
        assert profiler.get_metrics("a") == model[-1]


def expected(number: int, reading: RawReading | None, failure: Failure | None) -> ExecutionMetrics:
    known: dict[str, Any] = {}
    if reading is not None:
        known = {
            "cpu_time_ns": number,
            "cpu_percent": 100.0,
            "rss_bytes": 1_000_000 + number,
            "memory_allocated_bytes": number,
            "memory_released_bytes": 0,
            "threads_at_start": 1,
            "threads_at_end": 2,
            "tasks_at_start": 3,
            "tasks_at_end": 4,
            "overlapped": False,
        }
    return ExecutionMetrics(
        plugin_id="a",
        timestamp_ns=EPOCH_NS + number * 1_000,
        duration_ns=number,
        status=failure.status if failure else Status.SUCCESS,
        error_message=failure.error_message if failure else None,
        **known,
    )


def test_executions_from_several_places_are_in_the_order_of_their_ends() -> None:
    """Not one call path after the other."""
    tree = CallTree()
    top, below = tree.root["a"], tree.root["b"]["a"]
    ends = [(top, 10), (below, 20), (top, 30), (below, 40), (top, 50)]
    records = [x for path, end in ends for x in (path, end - 5, end, 1, None)]
    profiler = Profiler()
    profiler.observe(EventBatch(records, 0))
    assert [m.timestamp_ns for m in profiler.get_history("a")] == [10, 20, 30, 40, 50]


def test_what_shrinks_and_who_else_ran() -> None:
    """Memory given back is told apart from memory taken; a disturbed reading says so."""
    profiler = Profiler()
    shrunk = (5, 3_000, 1_000, 10**9, 1, 1, 0, 0)
    profiler.observe(batch_of("a", range(1, 2), shrunk))
    got = profiler.get_metrics("a")
    assert (got.memory_allocated_bytes, got.memory_released_bytes) == (0, 2_000)
    assert got.overlapped is True


def test_an_execution_that_took_no_time_has_no_cpu_percent() -> None:
    """Nothing is divided by zero."""
    profiler = Profiler()
    path = CallTree().root["a"]
    profiler.observe(EventBatch([path, 5, 5, 1, reading_of(0)], 0))
    assert profiler.get_metrics("a").cpu_percent is None


def test_an_absurd_number_of_threads_is_cut() -> None:
    """A column of two bytes must not lose the other readings."""
    profiler = Profiler()
    crowded = reading_of(1, threads_before=70_000, tasks_after=1_000_000)
    profiler.observe(batch_of("a", range(1, 3), crowded, reading_of(2)))
    first, second = profiler.get_history("a")
    assert (first.threads_at_start, first.tasks_at_end) == (65_535, 65_535)
    assert (second.threads_at_start, second.tasks_at_end) == (1, 4)


def test_a_limit_gives_the_latest() -> None:
    """Oldest first, at most as many as were asked for."""
    profiler = Profiler()
    profiler.observe(batch_of("a", range(1, 21)))
    assert [m.duration_ns for m in profiler.get_history("a", limit=3)] == [18, 19, 20]
    assert profiler.get_history("a", limit=0) == ()
    assert len(profiler.get_history("a", limit=500)) == 20


def test_the_messages_of_the_last_failures_are_kept() -> None:
    """A hundred of them: a plugin that always fails must not fill the memory with words."""
    profiler = Profiler()
    for number in range(150):
        profiler.record_execution("a", 0.001, success=False, error=f"no. {number}")
    history = profiler.get_history("a")
    assert {m.status for m in history} == {Status.ERROR}
    kept = [m.error_message for m in history]
    assert kept == [None] * 50 + [f"no. {number}" for number in range(50, 150)]


def test_history_is_bounded_in_memory_too() -> None:
    """What is over the bound is dropped in time, not only hidden."""
    history = ExecutionHistory("a", 1_000)
    for _ in range(100):
        history.extend([1] * 1_000, [1] * 1_000)
        history.trim()
        assert history.nbytes() <= 24 * 1_250
    assert len(history) == 1_000


def test_the_profilers_history_is_bounded_too() -> None:
    """However long it observes."""
    profiler = Profiler(100)
    for first in range(1, 5_001, 50):
        profiler.observe(batch_of("a", range(first, first + 50)))
    assert profiler._profiles["a"].history.nbytes() <= 24 * (100 + 100 // 4)


@pytest.mark.parametrize(
    ("share_read", "limit_bytes"),
    [
        pytest.param(0.0, 24, id="wall clock only"),
        pytest.param(1.0, 64, id="fully read"),
    ],
)
def test_bytes_for_each_execution(share_read: float, limit_bytes: int) -> None:
    """As the project promises, for a hundred thousand of them."""
    history = ExecutionHistory("a", 100_000)
    for first in range(0, 100_000, 1_000):
        numbers = list(range(first, first + 1_000))
        serial = history.extend(numbers, numbers)
        read = numbers[: round(share_read * len(numbers))]
        serials = [serial + i for i in range(len(read))]
        counts = [[1] * len(read)] * 4
        history.add_readings(serials, read, read, read, counts, [False] * len(read))
        history.trim()
    assert len(history) == 100_000
    assert history.nbytes() <= limit_bytes * 100_000
    assert history.nbytes() >= 17 * 100_000  # two times, a duration and a status cannot take less


def test_the_memory_counted_is_the_memory_held() -> None:
    """`nbytes` grows by what a record needs: nothing is left out of the count."""
    import tracemalloc

    numbers = list(range(50_000))
    history = ExecutionHistory("a", 100_000)
    tracemalloc.start()
    try:
        for first in range(0, 50_000, 1_000):
            part = numbers[first : first + 1_000]
            serial = history.extend(part, part)
            serials = [serial + i for i in range(1_000)]
            history.add_readings(serials, part, part, part, [[1] * 1_000] * 4, [False] * 1_000)
        snapshot = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    own = snapshot.filter_traces((tracemalloc.Filter(True, history_module.__file__),))
    held = sum(trace.size for trace in own.traces)  # other threads allocate, too
    assert (
        0.5 * history.nbytes() < held <= 1.25 * history.nbytes()
    )  # arrays grow ahead of need, by an eighth
