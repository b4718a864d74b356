"""The profiler at work on a real host: exact counts, readings, reports, forgetting."""

from __future__ import annotations

import json
import mmap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pluginhost import (
    AnalyticsEngine,
    EventBus,
    Host,
    PluginHost,
    Profiler,
    Status,
    hookimpl,
    observe,
)
from pluginhost.errors import InvalidValueError, PluginNotFoundError
from pluginhost.report import Overhead, PerformanceReport, decode, json_schema

HostOf = Callable[..., PluginHost]

MIB = 1024 * 1024


class Sometimes:
    """Fails when its payload is divisible by 4."""

    @hookimpl
    def execute(self, payload: int) -> int:
        if payload % 4 == 0:
            raise ValueError(payload)
        return payload


class Outer:
    """Calls `inner` with its payload, twice."""

    @hookimpl
    def execute(self, payload: int, host: Host) -> None:
        for _ in range(2):
            try:
                host.execute("inner", payload)
            except ValueError:
                continue


class Computes:
    """Uses the CPU for as many seconds as its payload says, then sleeps as long."""

    @hookimpl
    def execute(self, payload: float) -> None:
        end = time.thread_time() + payload
        while time.thread_time() < end:
            pass
        time.sleep(payload)


def profiled(host: PluginHost, **settings: Any) -> tuple[Any, Profiler]:
    profiler = Profiler(**settings)
    return observe(host, profiler=profiler, analytics=None), profiler


# Counting


@pytest.mark.parametrize("rate", [0.0, 0.1, 1.0])
def test_ten_threads_with_a_thousand_executions_each_are_all_counted(
    host_of: HostOf, rate: float
) -> None:
    """Executions, failures and durations are exact at every sampling rate."""
    host = host_of(inner=Sometimes())
    observation, profiler = profiled(host, sampling_rate=rate, max_history=10_000)
    together = threading.Barrier(10)

    def work() -> int:
        together.wait()
        failures = 0
        for number in range(1_000):
            try:
                host.execute("inner", number)
            except ValueError:
                failures += 1
        return failures

    with observation, ThreadPoolExecutor(10) as pool:
        failures = sum(f.result() for f in [pool.submit(work) for _ in range(10)])
        got = profiler.get_aggregates("inner")
        history = profiler.get_history("inner")
    assert failures == 2_500
    assert got.execution_count == len(history) == 10_000
    assert (got.failure_count, got.success_count, got.error_rate) == (2_500, 7_500, 0.25)
    assert sum(m.status is Status.ERROR for m in history) == 2_500
    durations_ns = [m.duration_ns for m in history]
    assert got.total_time_ns == got.self_time_ns == sum(durations_ns)
    assert (got.min_duration_ns, got.max_duration_ns) == (min(durations_ns), max(durations_ns))
    assert sum(count for _, count in profiler.report().histograms["inner"]) == 10_000
    if rate in {0.0, 1.0}:
        assert got.sampled_count == rate * 10_000
    else:
        assert 100 < got.sampled_count < 3_000


def test_nested_executions_on_many_threads_add_up(host_of: HostOf) -> None:
    """Self time over the graph is the time of the outermost executions, on ten threads, too."""
    host = host_of(outer=Outer(), inner=Sometimes())
    observation, profiler = profiled(host)
    with observation, ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda n: host.execute("outer", n), range(2_000)))
        graph = profiler.generate_flame_graph()
        rows = {row.plugin_id: row for row in profiler.get_all_aggregates()}
    assert (rows["outer"].execution_count, rows["inner"].execution_count) == (2_000, 4_000)
    assert rows["inner"].failure_count == 1_000
    assert rows["outer"].failure_count == 0
    assert not rows["outer"].concurrent_children
    assert sum(row.self_time_ns for row in rows.values()) == graph.duration_ns
    assert graph.duration_ns == rows["outer"].total_time_ns
    assert rows["outer"].self_time_ns == graph.duration_ns - rows["inner"].total_time_ns


def test_reading_while_others_execute_loses_nothing(host_of: HostOf) -> None:
    """Counts only grow, and each answer is consistent in itself."""
    host = host_of(inner=Sometimes())
    observation, profiler = profiled(host, sampling_rate=0.0)
    done = threading.Event()
    counts: list[int] = []

    def read() -> None:
        while not done.is_set():
            for got in profiler.get_all_aggregates():
                assert got.success_count + got.failure_count == got.execution_count
                counts.append(got.execution_count)

    with observation, ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        writers = [
            pool.submit(lambda: [host.execute("inner", 1) for _ in range(2_000)]) for _ in range(2)
        ]
        for writer in writers:
            writer.result()
        done.set()
        for reader in readers:
            reader.result()
        assert profiler.get_aggregates("inner").execution_count == 4_000
    assert counts
    assert max(counts) <= 4_000


def test_what_happens_outside_of_the_observation_is_not_counted(host_of: HostOf) -> None:
    """Neither before nor after; what was learnt stays."""
    host = host_of(inner=Sometimes())
    host.execute("inner", 1)
    observation, profiler = profiled(host)
    with observation:
        host.execute("inner", 1)
    host.execute("inner", 1)
    assert profiler.get_aggregates("inner").execution_count == 1
    first, later = profiler.report(), profiler.report()
    assert first.observed_ns == later.observed_ns


# Readings


def test_every_field_is_read_at_full_sampling(host_of: HostOf) -> None:
    """Of a plugin that computes half of its time."""
    host = host_of(a=Computes())
    observation, profiler = profiled(host, sampling_rate=1.0)
    before_ns, threads = time.time_ns(), threading.active_count()
    with observation:
        host.execute("a", 0.02)
        (got,) = profiler.get_history("a")
        (sample,) = profiler.get_samples("a")
        assert profiler.get_metrics("a") == got
        aggregates = profiler.get_aggregates("a")
    assert (got.plugin_id, got.status, got.error_message) == ("a", Status.SUCCESS, None)
    assert before_ns < got.timestamp_ns <= time.time_ns()
    assert got.duration_ns >= 40_000_000
    assert got.cpu_time_ns is not None
    assert 20_000_000 <= got.cpu_time_ns < got.duration_ns
    assert got.cpu_percent == pytest.approx(100 * got.cpu_time_ns / got.duration_ns)
    assert got.rss_bytes is not None
    assert got.rss_bytes > 5 * MIB
    assert 0 in (got.memory_allocated_bytes, got.memory_released_bytes)
    assert got.threads_at_start is not None
    assert got.threads_at_end is not None  # threads of other tests may end meanwhile
    assert threads >= got.threads_at_start >= got.threads_at_end >= threading.active_count()
    assert got.tasks_at_start == got.tasks_at_end == 0
    assert isinstance(got.overlapped, bool)
    assert (sample.timestamp_ns, sample.duration_ns) == (got.timestamp_ns, got.duration_ns)
    assert (sample.cpu_time_ns, sample.rss_bytes) == (got.cpu_time_ns, got.rss_bytes)
    assert aggregates.average_cpu_time_ns == got.cpu_time_ns
    assert aggregates.peak_rss_bytes == got.rss_bytes


def test_nothing_is_read_without_sampling(host_of: HostOf) -> None:
    """What was not read is None, not 0."""
    host = host_of(a=Computes())
    observation, profiler = profiled(host, sampling_rate=0.0)
    with observation:
        host.execute("a", 0.0)
    got = profiler.get_metrics("a")
    assert got.duration_ns > 0
    unread = ("cpu_time_ns", "cpu_percent", "rss_bytes", "memory_allocated_bytes", "overlapped")
    assert {getattr(got, name) for name in unread} == {None}
    assert profiler.get_samples("a") == ()


class Keeper:
    """Keeps as many bytes as its payload says, and touches every page."""

    def __init__(self) -> None:
        self.kept: list[mmap.mmap] = []

    @hookimpl
    def execute(self, payload: int) -> None:
        pages = mmap.mmap(-1, payload)  # fresh ones: the allocator may hold freed memory
        for place in range(0, payload, mmap.PAGESIZE):
            pages[place] = 1
        self.kept.append(pages)


def test_the_peak_memory_of_a_plugin_that_keeps_32_mib(host_of: HostOf) -> None:
    """The growth of one execution is found, and who is to blame."""
    host = host_of(keeper=Keeper(), idle=Sometimes())
    observation, profiler = profiled(host, sampling_rate=1.0)
    with observation:
        for number in (1, 2, 3):
            host.execute("idle", number)
            host.execute("keeper", 32 * MIB)
        hogs = profiler.get_memory_hogs()
    assert hogs[0].plugin_id == "keeper"
    peak, average = hogs[0].peak_memory_bytes, hogs[0].average_memory_bytes
    assert peak is not None
    assert average is not None
    assert 30 * MIB <= average <= peak <= 40 * MIB
    assert (hogs[1].peak_memory_bytes or 0) < MIB


# Reports


@pytest.fixture
def failing(host_of: HostOf) -> Profiler:
    """A profiler after 40 executions of a plugin that fails one in four times, all read."""
    host = host_of(inner=Sometimes())
    observation, profiler = profiled(host, sampling_rate=1.0)
    with observation:
        for number in range(40):
            try:
                host.execute("inner", number)
            except ValueError:
                continue
    return profiler


def test_the_json_fits_the_published_schema(failing: Profiler) -> None:
    """Every field of it, and it comes back as the record that it was."""
    text = failing.export_metrics_json()
    document = json.loads(text)
    Draft202012Validator(json_schema(PerformanceReport)).validate(document)
    again = decode(text, PerformanceReport)
    assert again.plugins == failing.get_all_aggregates()
    assert document["plugins"][0]["execution_count"] == 40


def test_the_json_has_the_last_ten_executions(failing: Profiler) -> None:
    """Of each plugin, oldest first, also where the history is longer."""
    recent = decode(failing.export_metrics_json(), PerformanceReport).recent
    assert recent == {"inner": failing.get_history("inner")[-10:]}
    assert len(recent["inner"]) == 10


def test_the_text_has_the_culprit_and_what_measuring_cost(failing: Profiler) -> None:
    """And is at most 80 columns wide."""
    failing.record_execution("slow", 60.0, success=True)
    text = failing.get_performance_report()
    assert "most time: slow" in text
    assert "! slow  SLOW_EXECUTION: an average execution takes 60.0 s" in text
    assert "measuring cost" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_report_tells_which_figures_are_estimates(failing: Profiler) -> None:
    """Only of figures that are there."""
    notes = " ".join(failing.report().estimates)
    assert "percentiles" in notes
    assert "CPU" in notes
    by_hand = Profiler()
    by_hand.record_execution("a", 1.0, success=True)
    assert [note.split(":")[0] for note in by_hand.report().estimates] == ["percentiles"]


def test_what_the_profiler_itself_cost_is_in_its_report() -> None:
    """Without a bus nothing else is known to have cost anything."""
    ticks = iter(range(0, 10**9, 1_000))
    profiler = Profiler(clock=lambda: next(ticks))
    profiler.record_execution("a", 1.0, success=True)
    report = profiler.report()
    assert report.overhead == Overhead(processing_ns=1_000, share=1_000 / report.observed_ns)


def test_the_observation_says_what_all_of_it_cost(failing: Profiler) -> None:
    """Recording and reading are estimated from a calibration in this process."""
    overhead = failing.report().overhead
    assert overhead.records == overhead.readings == 40
    assert overhead.recording_ns is not None
    assert overhead.reading_ns is not None
    assert overhead.share == overhead.total_ns / failing.report().observed_ns


# Forgetting


def test_one_plugin_is_forgotten() -> None:
    """The other one is not."""
    profiler = Profiler()
    for plugin_id in "ab":
        profiler.record_execution(plugin_id, 1.0, success=True)
    profiler.clear_metrics("a")
    with pytest.raises(PluginNotFoundError):
        profiler.get_aggregates("a")
    assert profiler.get_aggregates("b").execution_count == 1
    profiler.record_execution("a", 2.0, success=True)
    assert profiler.get_aggregates("a").total_time_ns == 2 * 10**9
    assert [m.duration_ns for m in profiler.get_history("a")] == [2 * 10**9]


def test_everything_is_forgotten_and_the_clock_starts_again(host_of: HostOf) -> None:
    """What comes afterwards is counted from zero."""
    host = host_of(outer=Outer(), inner=Sometimes())
    observation, profiler = profiled(host)
    with observation:
        host.execute("outer", 1)
        before_ns = profiler.report().observed_ns
        profiler.clear_all_metrics()
        cleared = profiler.report()
        assert cleared.observed_ns < before_ns
        assert (cleared.plugins, cleared.hooks, cleared.recent, cleared.histograms) == (
            (),
            (),
            {},
            {},
        )
        assert cleared.flame_graph.children == ()
        host.execute("outer", 1)
        rows = {row.plugin_id: row.execution_count for row in profiler.get_all_aggregates()}
    assert rows == {"outer": 1, "inner": 2}


def test_what_is_pending_is_not_forgotten_twice(host_of: HostOf) -> None:
    """Executions before the clearing do not turn up after it."""
    host = host_of(inner=Sometimes())
    observation, profiler = profiled(host)
    with observation:
        host.execute("inner", 1)
        profiler.clear_metrics("inner")
        assert profiler.get_all_aggregates() == ()


def test_a_profiler_is_in_one_observation_at_a_time(host_of: HostOf) -> None:
    """A second would have reads deliver only its own; after the first it may be used again."""
    first, second = host_of(inner=Sometimes()), host_of(inner=Sometimes())
    profiler, engine = Profiler(), AnalyticsEngine()
    with observe(first, profiler=profiler, analytics=engine):
        first.execute("inner", 1)
        with pytest.raises(InvalidValueError, match="this profiler is part of another"):
            observe(second, profiler=profiler)
        with pytest.raises(InvalidValueError, match="this analytics engine is part of another"):
            observe(second, analytics=engine)
        assert [name for name, _ in second.lifecycle.list_name_plugin()] == ["pluginhost"]
        assert profiler.get_aggregates("inner").execution_count == 1
    with observe(second, profiler=profiler, analytics=engine):
        second.execute("inner", 1)
        assert profiler.get_aggregates("inner").execution_count == 2


def test_what_was_forgotten_costs_nothing_any_more(host_of: HostOf) -> None:
    """After everything is cleared, the cost in reports is that of what came later."""
    host = host_of(inner=Sometimes())
    observation, profiler = profiled(host, sampling_rate=1.0)
    with observation:
        for _ in range(3_000):
            host.execute("inner", 1)
        before = profiler.report().overhead
        profiler.clear_all_metrics()
        host.execute("inner", 1)
        after = profiler.report().overhead
    assert (before.records, before.readings) == (3_000, 3_000)
    assert (after.records, after.readings) == (1, 1)
    assert 0 < after.total_ns < before.total_ns
    assert after.recording_ns == pytest.approx((before.recording_ns or 0) / 3_000, abs=1)


@pytest.mark.parametrize("value", [0, -1, 1.5, float("nan"), float("inf"), True, "10", None])
def test_what_counts_is_a_whole_number(value: Any) -> None:
    """Bounds that could not work are refused when they are given, not when they are reached."""
    with pytest.raises(InvalidValueError, match="give a whole number, 1 or more"):
        Profiler(max_history=value)
    with pytest.raises(InvalidValueError, match="give a whole number, 1 or more"):
        AnalyticsEngine(max_events=value)
    with pytest.raises(InvalidValueError, match="give a whole number, 1 or more"):
        EventBus(capacity=value)
    with pytest.raises(InvalidValueError, match="give a whole number, 1 or more"):
        EventBus().subscribe(Profiler(), live=False, max_queued=value)
