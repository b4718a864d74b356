"""What the measuring itself costs: calibrated once for an observation, then multiplied."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from itertools import repeat
from time import perf_counter_ns

import pluggy
from msgspec.structs import replace

from pluginhost.bus import EventBus
from pluginhost.events import EventBatch
from pluginhost.hookspecs import PROJECT_NAME, LifecycleSpec, hookimpl
from pluginhost.instrumentation.lifecycle import sampled_wrapper, wall_wrapper
from pluginhost.instrumentation.nesting import Frame, frame_variable
from pluginhost.instrumentation.readings import run_and_wait_ns
from pluginhost.instrumentation.sampling import Sampler
from pluginhost.processes import follow_forks
from pluginhost.report import Overhead

_CALLS = 200
_ROUNDS = 7
_LONG_ENOUGH_NS = 2_000_000
"""How long a thread runs before its share of a CPU is looked at again: Linux counts in ticks."""


class CostMeter:
    """Counts records and readings, knows what each costs, and keeps the sampler in its budget.

    The two costs are measured once, at the first question or, with a budget, at the beginning, with
    calls of an empty hook with and without the wrapper, in turn; the smallest of several rounds
    counts, for noise only adds. For the budget they are raised by what threads wait for a CPU (see
    `run_and_wait_ns`): on a machine that is busy, measuring takes longer like all else.
    """

    def __init__(
        self,
        bus: EventBus,
        sampler: Sampler,
        *,
        run_and_wait: Callable[[], tuple[int, int]] = run_and_wait_ns,
    ) -> None:
        self._bus = bus
        self._sampler = sampler
        self._lock = threading.RLock()
        self._costs: tuple[float, float] | None = None
        self._records = 0
        self._readings = 0
        self._run_and_wait = run_and_wait
        self._here = _Here()
        if sampler.budget is not None:
            self.costs_ns()  # now, and not within somebody's execution
            self._slowdown()
        self._adapted_ns = bus.clock()
        bus.meter = self.account
        follow_forks(self)

    def after_fork(self) -> None:
        """Begin anew in a child process: another thread may have held the lock."""
        self._lock = threading.RLock()
        self._here = _Here()
        self._records = self._readings = 0

    def account(self, batch: EventBatch, spent_ns: int) -> None:
        """Count a batch whose delivery took `spent_ns`."""
        self._records += batch.occurrences
        self._readings += batch.readings
        if self._sampler.budget is not None:
            per_record, per_reading = self.costs_ns()
            slowdown = self._slowdown()
            now = self._bus.clock()
            self._sampler.adapt(
                elapsed_ns=now - self._adapted_ns,
                fixed_ns=batch.occurrences * per_record * slowdown + spent_ns,
                reading_ns=per_reading * slowdown,
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

    def _slowdown(self) -> float:
        """Return how many times as long as it ran this thread has taken lately, waiting included."""
        here = self._here
        ran, waited = self._run_and_wait()
        if not here.ran:
            here.ran, here.waited = ran, waited
        ran_ns = ran - here.ran
        if ran_ns >= _LONG_ENOUGH_NS:
            here.slowdown = 1.0 + (waited - here.waited) / ran_ns
            here.ran, here.waited = ran, waited
        return here.slowdown

    def costs_ns(self) -> tuple[float, float]:
        """Return the cost of one record, and of the readings of one sampled execution, in ns."""
        with self._lock:
            if self._costs is None:
                self._costs = _calibrated()
            return self._costs


class _Here(threading.local):
    """Of each thread, what `run_and_wait` has said of it."""

    ran = 0
    waited = 0
    slowdown = 1.0


def _calibrated() -> tuple[float, float]:
    bare = _empty_hook(None)
    wall = _empty_hook(wall_wrapper)
    read = _empty_hook(lambda bus, current: sampled_wrapper(bus, Sampler(1.0), current))
    times = [[case() for case in (bare, wall, read)] for _ in range(_ROUNDS)]
    bare_ns, wall_ns, read_ns = (min(column) / _CALLS for column in zip(*times, strict=True))
    return max(0.0, wall_ns - bare_ns), max(0.0, read_ns - wall_ns)


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
