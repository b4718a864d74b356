"""What the measuring costs: counted exactly, priced by calibration, kept to a budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from pluginhost import EventBatch, PluginHost, Profiler, hookimpl, observe
from pluginhost.bus import EventBus
from pluginhost.instrumentation.cost import CostMeter
from pluginhost.instrumentation.lifecycle import LifecycleSource
from pluginhost.instrumentation.nesting import frame_variable
from pluginhost.instrumentation.readings import run_and_wait_ns
from pluginhost.instrumentation.sampling import Sampler

HostOf = Callable[..., PluginHost]


class Calls:
    """Calls its payload."""

    @hookimpl
    def execute(self, payload: Callable[[], Any]) -> Any:
        return payload()


def test_a_record_and_a_reading_have_a_price() -> None:
    """Both are found by measuring, once; a reading costs more than a record by itself."""
    meter = CostMeter(EventBus(), Sampler(1.0))
    per_record, per_reading = meter.costs_ns()
    assert 0 < per_record < 100_000
    assert 0 < per_reading < 1_000_000
    assert meter.costs_ns() == (per_record, per_reading)


def test_calibrating_leaves_no_trace_on_the_bus() -> None:
    """It uses a bus and a host of its own."""
    bus = EventBus()
    CostMeter(bus, Sampler(1.0)).costs_ns()
    assert (bus.published, bus.tree.path_count, bus.subscriptions) == (0, 1, ())


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_records_and_readings_are_counted_and_multiplied(host_of: HostOf, rate: float) -> None:
    """Counts are exact, both costs are count times price, and the share is of what was observed."""
    host = host_of(a=Calls())
    with observe(host, profiler=Profiler(sampling_rate=rate)) as observation:
        for _ in range(400):
            host.execute("a", int)
        assert observation.profiler is not None
        report = observation.profiler.report()
        per_record, per_reading = observation._watched.overhead.__self__.costs_ns()
    overhead, (row,) = report.overhead, report.plugins
    assert (overhead.records, overhead.readings) == (400, row.sampled_count)
    assert overhead.recording_ns == round(400 * per_record)
    assert overhead.reading_ns == round(row.sampled_count * per_reading)
    assert overhead.processing_ns > 0
    parts = (overhead.processing_ns, overhead.recording_ns, overhead.reading_ns)
    assert overhead.total_ns == sum(part or 0 for part in parts)
    assert overhead.share == overhead.total_ns / report.observed_ns


@pytest.mark.parametrize("closed", [False, True], ids=["asked while it runs", "only at the end"])
def test_processing_is_what_observers_took(host_of: HostOf, *, closed: bool) -> None:
    """An observer that takes its time is seen in the cost, whenever it was handed the events."""

    class Slow:
        def observe(self, batch: EventBatch) -> None:
            time.sleep(0.02)

    host = host_of(a=Calls())
    with observe(host) as observation:
        observation.bus.subscribe(Slow(), live=False)
        host.execute("a", int)
        assert observation.profiler is not None
        if closed:
            observation.close()
        assert observation.profiler.report().overhead.processing_ns >= 20_000_000


def test_without_any_time_there_is_no_share() -> None:
    """Nothing is divided by zero."""
    assert CostMeter(EventBus(), Sampler(0.0)).overhead(0).share is None


def test_threads_that_ask_at_once_get_one_price() -> None:
    """Calibration runs once, and everybody waits for it."""
    meter, found = CostMeter(EventBus(), Sampler(1.0)), []
    threads = [threading.Thread(target=lambda: found.append(meter.costs_ns())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


# Adaptive sampling


def _batch(bus: EventBus, occurrences: int) -> EventBatch:
    path = bus.tree.root["a"]
    return EventBatch([field for _ in range(occurrences) for field in (path, 1, 2, 0, None)], 0)


def test_each_batch_adapts_the_rate_to_what_it_cost(
    clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 10 ms, 20 % are 2 ms: 1000 records and their delivery take 1.5, which leaves 100 readings.

    When the load is gone the rate rises again.
    """
    monkeypatch.setattr(CostMeter, "costs_ns", lambda _self: (1_000.0, 5_000.0))
    bus, sampler = EventBus(clock=clock, wall_clock=lambda: 0), Sampler(1.0, budget=0.2)
    meter = CostMeter(bus, sampler, run_and_wait=lambda: (0, 0))
    clock.advance(10_000_000)
    meter.account(_batch(bus, 1000), 500_000)
    assert sampler.rate == pytest.approx(0.1)
    for _ in range(20):
        clock.advance(10_000_000)
        meter.account(_batch(bus, 10), 5_000)
    assert sampler.rate == pytest.approx(1.0)


def test_without_a_budget_the_rate_stays(clock: Any) -> None:
    """Nothing is calibrated for it either."""
    bus, sampler = EventBus(clock=clock, wall_clock=lambda: 0), Sampler(1.0)
    meter = CostMeter(bus, sampler)
    clock.advance(1)
    meter.account(_batch(bus, 1000), 10**9)
    assert sampler.rate == 1.0
    assert meter._costs is None


def test_a_thread_that_waits_for_a_cpu_pays_more(
    clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that took 20 ms because others had the CPU half of the time is no reason to read more.

    The prices of an idle machine are doubled then, and are not once the others are gone.
    """
    monkeypatch.setattr(CostMeter, "costs_ns", lambda _self: (1_000.0, 5_000.0))
    threads = [(5_000_000, 3_000_000)]
    bus, sampler = EventBus(clock=clock, wall_clock=lambda: 0), Sampler(1.0, budget=0.2)
    meter = CostMeter(bus, sampler, run_and_wait=lambda: threads[0])

    def batch(ran_ns: int, waited_ns: int) -> float:
        clock.advance(ran_ns + waited_ns)
        threads[0] = threads[0][0] + ran_ns, threads[0][1] + waited_ns
        meter.account(_batch(bus, 1000), 0)
        return sampler.rate

    assert batch(10_000_000, 10_000_000) == pytest.approx((4 - 2) / 10)
    for _ in range(20):
        last = batch(10_000_000, 0)
    assert last == pytest.approx((2 - 1) / 5)
    assert batch(1_000_000, 9_000_000) == last  # too short to tell


def test_waiting_for_a_cpu_is_told_by_the_system() -> None:
    """What a thread has run never shrinks and is near its CPU clock; where it is not told, it is 0."""
    before = run_and_wait_ns()
    began = time.thread_time_ns()
    while time.thread_time_ns() < began + 30_000_000:
        pass
    after = run_and_wait_ns()
    if after != (0, 0):
        assert 15_000_000 < after[0] - before[0] < 60_000_000
        assert after[1] >= before[1]


def test_calibrating_keeps_no_execution_waiting() -> None:
    """With a budget the prices are known before anything is recorded."""
    assert CostMeter(EventBus(), Sampler(1.0, budget=0.5))._costs is not None


@pytest.mark.parametrize(
    ("budget", "share"),
    [
        pytest.param(0.05, 0.0, id="too little even for counting"),
        pytest.param(0.3, 0.4, id="a part"),
        pytest.param(0.9, 1.0, id="enough"),
    ],
)
def test_a_run_reads_as_many_as_the_budget_has_room_for(
    host_of: HostOf, clock: Any, monkeypatch: pytest.MonkeyPatch, budget: float, share: float
) -> None:
    """Of executions of 10 us, each counted for 1 us, (10 * budget - 1) / 5 are read for 5 us."""
    monkeypatch.setattr(CostMeter, "costs_ns", lambda _self: (1_000.0, 5_000.0))
    bus, sampler = EventBus(clock=clock, wall_clock=lambda: 0), Sampler(1.0, budget=budget)
    meter = CostMeter(bus, sampler, run_and_wait=lambda: (0, 0))
    current, host = frame_variable(bus.tree), host_of(a=Calls())
    bus.add_source(LifecycleSource(host, bus, sampler, current, lambda _id: nullcontext()))
    bus.subscribe(Profiler(), live=False)
    for _ in range(30_000):
        host.execute("a", lambda: clock.advance(10_000))
    bus.close()
    found = meter.overhead(1)
    assert found.records == 30_000
    first = 1000  # before the first batch is accounted for, all are read
    assert (found.readings - first) / (found.records - first) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("budget", [1e-5, None])
def test_in_a_real_run_the_budget_decides(host_of: HostOf, budget: float | None) -> None:
    """With next to none, hardly an execution is read after the first batch; counts are exact."""
    host = host_of(a=Calls())
    with observe(host, profiler=Profiler(sampling_rate=1.0, cost_budget=budget)) as observation:
        for _ in range(5_000):
            host.execute("a", int)
        assert observation.profiler is not None
        report = observation.profiler.report()
    overhead = report.overhead
    assert overhead.records == report.plugins[0].execution_count == 5_000
    assert overhead.readings == report.plugins[0].sampled_count
    assert overhead.readings < 2_500 if budget else overhead.readings == 5_000
