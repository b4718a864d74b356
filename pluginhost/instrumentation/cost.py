"""What the measuring itself costs: calibrated once for an observation, then multiplied."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from itertools import repeat
from operator import sub
from statistics import median_low
from threading import get_ident
from time import perf_counter_ns

import pluggy
from msgspec.structs import replace

from pluginhost.bus import EventBus
from pluginhost.calltree import CallTree
from pluginhost.events import RECORD_WIDTH, EventBatch
from pluginhost.hookspecs import PROJECT_NAME, LifecycleSpec, hookimpl
from pluginhost.instrumentation.by_thread import ThreadNesting
from pluginhost.instrumentation.calls import CallTimer
from pluginhost.instrumentation.imports import ImportTimer
from pluginhost.instrumentation.lifecycle import sampled_wrapper, wall_wrapper
from pluginhost.instrumentation.nesting import Frame, frame_variable
from pluginhost.instrumentation.readings import ThreadCpu
from pluginhost.instrumentation.sampling import Sampler
from pluginhost.instrumentation.tap import HookTapSource
from pluginhost.report import Overhead

_CALLS = 200
_ROUNDS = 7


class CostMeter:
    """Counts records and readings, knows what each costs, and keeps the sampler in its budget.

    The two costs are measured at the first question, with calls of an empty hook with and without
    the wrapper, in turn; the smallest of several rounds counts, for noise only adds.
    """

    def __init__(self, bus: EventBus, sampler: Sampler) -> None:
        self._bus = bus
        self._sampler = sampler
        self._lock = threading.RLock()
        self._costs: tuple[float, float] | None = None
        self._records = 0
        self._readings = 0
        self._adapted_ns = bus.clock()
        bus.meter = self.account

    def account(self, batch: EventBatch, spent_ns: int) -> None:
        """Count a batch whose delivery took `spent_ns`."""
        self._records += batch.occurrences
        self._readings += batch.readings
        if self._sampler.budget is not None:
            per_record, per_reading = self.costs_ns()
            now = self._bus.clock()
            self._sampler.adapt(
                elapsed_ns=now - self._adapted_ns,
                fixed_ns=batch.occurrences * per_record + spent_ns,
                reading_ns=per_reading,
                executions=batch.occurrences,
            )
            self._adapted_ns = now

    def overhead(self, observed_ns: int) -> Overhead:
        """Return the cost of all measuring so far, as a share of `observed_ns`."""
        per_record, per_reading = self.costs_ns()
        found = Overhead(
            processing_ns=self._bus.drain_ns,
            recording_ns=round(self._records * per_record),
            reading_ns=round(self._readings * per_reading),
            records=self._records,
            readings=self._readings,
        )
        share = found.total_ns / observed_ns if observed_ns else None
        return replace(found, share=share)

    def costs_ns(self) -> tuple[float, float]:
        """Return the cost of one record, and of the readings of one sampled execution, in ns."""
        with self._lock:
            if self._costs is None:
                self._costs = _calibrated()
            return self._costs


def _calibrated() -> tuple[float, float]:
    bare = _empty_hook(None)
    wall = _empty_hook(wall_wrapper)
    read = _empty_hook(lambda bus, current: sampled_wrapper(bus, Sampler(1.0), current))
    times = [[case() for case in (bare, wall, read)] for _ in range(_ROUNDS)]
    bare_ns, wall_ns, read_ns = (min(column) / _CALLS for column in zip(*times, strict=True))
    return max(0.0, wall_ns - bare_ns), max(0.0, read_ns - wall_ns)


def call_costs_ns(*, cpu: bool) -> tuple[float, float, float]:
    """Return what recording adds to a hook call itself, to its caller, and to an importer.

    In ns: the median duration on record of an implementation that does nothing; the rest of what
    it costs to record it, from rounds of calls with and without the tap, in turn; and what it
    takes to record an import.
    """
    clock = perf_counter_ns
    manager, hook = _one_implementation()
    bus = EventBus()
    bus.tree = CallTree(thread_id=get_ident(), journal=bus.journal)
    nesting = ThreadNesting(bus, ThreadCpu(clock) if cpu else None)
    tap = HookTapSource(manager, CallTimer(nesting).timed)
    spent: tuple[list[int], list[int]] = [], []
    inner: list[int] = []
    for _ in range(_ROUNDS):
        for tapped, times in enumerate(spent):
            if tapped:
                tap.start()
            hook()
            started = clock()
            for _ in repeat(None, _CALLS):
                hook()
            times.append(clock() - started)
            tap.stop()
        inner += map(sub, bus.journal[2::RECORD_WIDTH], bus.journal[1::RECORD_WIDTH])
        bus.journal.clear()
    added_ns = (min(spent[1]) - min(spent[0])) / _CALLS
    inner_ns = min(float(median_low(inner)), max(0.0, added_ns))
    importing = ImportTimer(nesting)
    started = clock()
    for _ in repeat(None, _CALLS):
        importing.leave(importing.enter("calibration"))
    import_ns = (clock() - started) / _CALLS
    return inner_ns, max(0.0, added_ns - inner_ns), import_ns


def _one_implementation() -> tuple[pluggy.PluginManager, Callable[[], object]]:
    """Return a manager with one hook and one implementation that does nothing, and the hook."""

    class Nothing:
        @pluggy.HookimplMarker("calibration")
        def nothing(self) -> None:
            return None

    manager = pluggy.PluginManager("calibration")
    manager.register(Nothing())
    return manager, manager.hook.nothing


def _empty_hook(
    make_wrapper: Callable[[EventBus, ContextVar[Frame]], object] | None,
) -> Callable[[], int]:
    """Return a function that times `_CALLS` calls of an empty lifecycle hook."""

    class Nothing:
        @hookimpl(trylast=True)
        def pluginhost_execute(self) -> None:
            return None

    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(LifecycleSpec)
    manager.register(Nothing())
    bus = EventBus()
    if make_wrapper is not None:
        manager.register(make_wrapper(bus, frame_variable(bus.tree)))
    hook = manager.hook.pluginhost_execute

    def timed() -> int:
        started = perf_counter_ns()
        for _ in repeat(None, _CALLS):
            hook(plugin_id="calibration", task=None)
        elapsed = perf_counter_ns() - started
        bus.journal.clear()
        return elapsed

    return timed
