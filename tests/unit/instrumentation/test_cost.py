"""What the measuring costs: counted exactly, priced by calibration, kept to a budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pluginhost import EventBatch, PluginHost, Profiler, hookimpl, observe
from pluginhost.bus import EventBus
from pluginhost.instrumentation.cost import CostMeter
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


def test_processing_is_what_observers_took(host_of: HostOf) -> None:
    """An observer that takes its time is seen in the cost."""

    class Slow:
        def observe(self, batch: EventBatch) -> None:
            time.sleep(0.02)

    host = host_of(a=Calls())
    with observe(host) as observation:
        observation.bus.subscribe(Slow(), live=False)
        host.execute("a", int)
        assert observation.profiler is not None
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
    meter = CostMeter(bus, sampler)
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


def test_in_a_real_run_the_cost_stays_near_the_budget(host_of: HostOf) -> None:
    """Reading every execution would take over half of the time; with a budget fewer are read."""
    budget, host = 0.3, host_of(a=Calls())
    with observe(host, profiler=Profiler(sampling_rate=1.0, cost_budget=budget)) as observation:
        count, end = 0, time.perf_counter() + 0.5
        while time.perf_counter() < end:
            host.execute("a", lambda: sum(range(200)))
            count += 1
        assert observation.profiler is not None
        report = observation.profiler.report()
    overhead = report.overhead
    assert overhead.records == count == report.plugins[0].execution_count
    assert overhead.reading_ns is not None
    assert overhead.recording_ns is not None
    spent_ns = overhead.reading_ns + overhead.recording_ns  # without what noise adds to processing
    assert spent_ns < 1.6 * budget * report.observed_ns
    assert 0 < overhead.readings < 0.9 * count
