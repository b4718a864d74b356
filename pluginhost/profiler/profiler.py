"""`Profiler`: an observer that knows what each plugin's executions cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from msgspec.structs import replace

from pluginhost.calltree import CallTree, EventKind
from pluginhost.costs import FlameGraphNode
from pluginhost.errors import InvalidValueError, PluginNotFoundError, check_count
from pluginhost.events import EventBatch
from pluginhost.figures import of
from pluginhost.journal import Detail, Failure, Status
from pluginhost.printable import printable
from pluginhost.processes import RenewedLock
from pluginhost.profiler.blocks import NO_BLOCKS, LoopBlocks
from pluginhost.profiler.calls import CallTotals
from pluginhost.profiler.profile import PluginProfile
from pluginhost.profiler.rules import RULES, Rule, Thresholds, findings
from pluginhost.rendering.performance import performance_text
from pluginhost.report import (
    AggregateMetrics,
    Bottleneck,
    ExecutionMetrics,
    Overhead,
    PerformanceReport,
    PerformanceSample,
    encode,
)
from pluginhost.seconds import ns_of_seconds

RECENT_IN_REPORTS = 10
ALL = "all plugins"


class Profiler:
    """Counts, times and reads every plugin's executions.

    `max_history` bounds how many single executions of each plugin are kept; sums and percentiles
    cover all. `sampling_rate` (0.0-1.0) is the share of executions whose CPU, memory, threads and
    tasks are read; with `cost_budget`, a share of run time, it is lowered while measuring costs
    more. `thresholds` and `rules` decide what is a bottleneck. Safe to use from many threads.
    """

    def __init__(
        self,
        max_history: int = 1000,
        sampling_rate: float = 0.1,
        *,
        cost_budget: float | None = None,
        thresholds: Thresholds | None = None,
        rules: Iterable[Rule] = RULES,
        clock: Callable[[], int] = time.perf_counter_ns,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        check_count(max_history, "max_history")
        for share in (sampling_rate, cost_budget):
            if share is not None and not 0.0 <= share <= 1.0:
                raise InvalidValueError(
                    f"a sampling rate or cost budget is {share!r}",
                    remedy="give a share between 0.0 and 1.0",
                )
        self.max_history = max_history
        self.sampling_rate = sampling_rate
        self.cost_budget = cost_budget
        self.thresholds = thresholds or Thresholds()
        self._rules = tuple(rules)
        self._clock = clock
        self._epoch_offset_ns = wall_clock() - clock()
        self._lock = RenewedLock()
        self._reading: Callable[[], AbstractContextManager[None]] = nullcontext
        self._overhead: Callable[[int], Overhead] = self._own_overhead
        self._reset()

    def _reset(self) -> None:
        self._by_hand = CallTree()
        self._profiles: dict[str, PluginProfile] = {}
        self._calls = CallTotals()
        self._blocks: dict[str, LoopBlocks] = {}
        self._processing_ns = 0
        self._started_ns = self._clock()
        self._ended_ns: int | None = None
        self._before: Overhead | None = None  # what measuring had cost when all was forgotten

    # Events in

    def connect(
        self,
        reading: Callable[[], AbstractContextManager[None]],
        overhead: Callable[[int], Overhead] | None = None,
    ) -> None:
        """Have whatever is read here be read within `reading()`, which delivers what is pending.

        `overhead(observed_ns)` says what all the measuring cost; without it, a report knows only
        of this profiler's own part. If nothing was recorded yet, what is observed begins now.
        Raises `InvalidValueError` while another observation has it.
        """
        if self._reading is not nullcontext:
            raise InvalidValueError(
                "this profiler is part of another observation",
                remedy="give each observation one of its own, or close the other first",
            )
        if not self._profiles:
            self._started_ns = self._clock()
        self._reading = reading
        self._overhead = overhead or self._own_overhead
        self._before = None
        self._ended_ns = None

    def disconnect(self) -> None:
        """Let go of what `connect` was given; what is observed ends now."""
        self._ended_ns = self._clock()
        self._reading = nullcontext

    def after_fork(self) -> None:
        """Begin anew in a child process: nothing has happened there yet."""
        self._reset()

    def observe(self, batch: EventBatch) -> None:
        """Take a batch from the bus."""
        started = self._clock()
        with self._lock.lock:
            self._epoch_offset_ns = batch.epoch_offset_ns
            for group in batch.groups:
                if group.path.site.kind is EventKind.LOOP_BLOCK:  # within some other's time
                    self._blocks.setdefault(group.path.site.plugin_id, LoopBlocks()).add(group)
                else:
                    self._calls.add(group)
            for plugin_id, executions in batch.executions.items():
                self._profile(plugin_id).add(executions)
            self._processing_ns += self._clock() - started

    def record_execution(
        self, plugin_id: str, duration: float, success: bool, error: object = None
    ) -> None:
        """Record an execution of `duration` seconds that has just ended, by hand.

        `error` is an exception or a message; with a `TimeoutError` it timed out. Raises
        `InvalidValueError` for a duration that is negative, not finite or over a year.
        """
        duration_ns = ns_of_seconds(duration, "the duration")
        if not plugin_id or printable(plugin_id) != plugin_id:
            raise InvalidValueError(
                f"the plugin id is {plugin_id!r}", remedy="give 1 to 200 printable characters"
            )
        detail = None
        if not success:
            kind = type(error).__qualname__ if isinstance(error, BaseException) else "error"
            message = printable(error, 1000) if error is not None else ""
            status = Status.TIMEOUT if isinstance(error, TimeoutError) else Status.ERROR
            detail = Detail(Failure(status, kind, message))
        end = self._clock()
        path = self._by_hand.root[plugin_id]
        record = [path, end - duration_ns, end, threading.get_ident(), detail]
        self.observe(EventBatch(record, self._epoch_offset_ns))

    # Knowledge out

    def get_metrics(self, plugin_id: str) -> ExecutionMetrics:
        """Return the plugin's latest execution; raises `PluginNotFoundError` if there is none."""
        with self._read():
            return self._found(plugin_id).history.latest(1, self._epoch_offset_ns)[-1]

    def get_history(self, plugin_id: str, limit: int | None = None) -> tuple[ExecutionMetrics, ...]:
        """Return the plugin's latest executions, oldest first: at most `limit`, or all kept."""
        with self._read():
            count = self.max_history if limit is None else limit
            return self._found(plugin_id).history.latest(count, self._epoch_offset_ns)

    def get_samples(self, plugin_id: str) -> tuple[PerformanceSample, ...]:
        """Return the readings of the plugin's sampled executions that are kept, oldest first."""
        with self._read():
            return self._found(plugin_id).history.samples(self._epoch_offset_ns)

    def get_aggregates(self, plugin_id: str) -> AggregateMetrics:
        """Return the sums over all the plugin's executions; `PluginNotFoundError` if none."""
        with self._read():
            return self._aggregates(self._found(plugin_id), self._calls.of_executions())

    def get_all_aggregates(self) -> tuple[AggregateMetrics, ...]:
        """Return the sums of every plugin, the one with the largest self time first."""
        with self._read():
            return self._rows()

    def get_slow_plugins(self, threshold: float) -> tuple[AggregateMetrics, ...]:
        """Return plugins whose average duration is `threshold` seconds or more, slowest first."""
        ns_of_seconds(threshold, "the threshold")
        rows = [r for r in self.get_all_aggregates() if r.average_duration_ns / 1e9 >= threshold]
        return tuple(sorted(rows, key=lambda r: r.average_duration_ns, reverse=True))

    def get_failed_plugins(self, error_rate: float) -> tuple[AggregateMetrics, ...]:
        """Return plugins whose error rate is `error_rate` (0.0-1.0) or more, worst first."""
        if type(error_rate) is bool or not 0.0 <= error_rate <= 1.0:
            raise InvalidValueError(
                f"the error rate is {error_rate!r}", remedy="give a share between 0.0 and 1.0"
            )
        rows = [r for r in self.get_all_aggregates() if r.error_rate >= error_rate]
        return tuple(sorted(rows, key=lambda r: r.error_rate, reverse=True))

    def get_memory_hogs(self) -> tuple[AggregateMetrics, ...]:
        """Return the plugins whose memory was sampled, by peak memory, descending."""
        rows = [r for r in self.get_all_aggregates() if r.peak_memory_bytes is not None]
        return tuple(sorted(rows, key=lambda r: r.peak_memory_bytes or 0, reverse=True))

    def get_bottlenecks(self) -> tuple[Bottleneck, ...]:
        """Return what the rules find, severe findings first."""
        return self._findings(self.get_all_aggregates())

    def generate_flame_graph(self) -> FlameGraphNode:
        """Return the tree of nested executions and hook calls, each with its self time."""
        with self._read():
            return self._calls.flame_graph(ALL)

    def report(self) -> PerformanceReport:
        """Return all that is known, as one record."""
        with self._read():
            observed_ns = (self._ended_ns or self._clock()) - self._started_ns
            rows = self._rows()
            offset = self._epoch_offset_ns
            return PerformanceReport(
                observed_ns=observed_ns,
                sampling_rate=self.sampling_rate,
                plugins=rows,
                hooks=self._calls.hooks(),
                bottlenecks=self._findings(rows),
                flame_graph=self._calls.flame_graph(ALL),
                overhead=_since(self._before, self._overhead(observed_ns), observed_ns),
                estimates=_estimates(rows, self._calls.cut_paths()),
                recent={
                    i: p.history.latest(RECENT_IN_REPORTS, offset)
                    for i, p in sorted(self._profiles.items())
                },
                histograms={i: p.histogram.buckets() for i, p in sorted(self._profiles.items())},
            )

    def export_metrics_json(self) -> str:
        """Return aggregates, the last 10 executions of each plugin and all else as JSON."""
        return encode(self.report())

    def get_performance_report(self) -> str:
        """Return a text report of all of it, at most 80 columns wide."""
        return performance_text(self.report())

    def clear_metrics(self, plugin_id: str) -> None:
        """Forget one plugin; raises `PluginNotFoundError` if nothing is known of it."""
        with self._read():
            self._found(plugin_id)
            del self._profiles[plugin_id]
            self._calls.forget(plugin_id)
            self._blocks.pop(plugin_id, None)

    def clear_all_metrics(self) -> None:
        """Forget everything and start the clock again."""
        with self._read():
            self._reset()
            self._before = self._overhead(0)

    # The rest is how

    @contextmanager
    def _read(self) -> Iterator[None]:
        """Have the bus deliver, then hold the lock: not before, for the bus has its own."""
        with self._reading(), self._lock.lock:
            yield

    def _rows(self) -> tuple[AggregateMetrics, ...]:
        known = self._calls.of_executions()
        rows = [self._aggregates(profile, known) for profile in self._profiles.values()]
        return tuple(sorted(rows, key=lambda row: (-row.self_time_ns, row.plugin_id)))

    def _findings(self, rows: Iterable[AggregateMetrics]) -> tuple[Bottleneck, ...]:
        found = [f for row in rows for f in findings(row, self.thresholds, self._rules)]
        return tuple(sorted(found, key=lambda f: f.severity != "high"))

    def _profile(self, plugin_id: str) -> PluginProfile:
        profile = self._profiles.get(plugin_id)
        if profile is None:
            profile = self._profiles[plugin_id] = PluginProfile(plugin_id, self.max_history)
        return profile

    def _found(self, plugin_id: str) -> PluginProfile:
        try:
            return self._profiles[plugin_id]
        except KeyError:
            raise PluginNotFoundError(
                "no execution of it was recorded",
                plugin_id=plugin_id,
                remedy=f"recorded are: {', '.join(sorted(self._profiles)) or 'none'}",
            ) from None

    def _aggregates(
        self, profile: PluginProfile, known: Mapping[str, tuple[int, bool]]
    ) -> AggregateMetrics:
        self_time_ns, concurrent = known[profile.plugin_id]
        return profile.aggregates(
            self_time_ns=self_time_ns,
            concurrent_children=concurrent,
            blocks=self._blocks.get(profile.plugin_id, NO_BLOCKS),
            epoch_offset_ns=self._epoch_offset_ns,
        )

    def _own_overhead(self, observed_ns: int) -> Overhead:
        return Overhead(
            processing_ns=self._processing_ns,
            share=self._processing_ns / observed_ns if observed_ns else None,
        )


def _since(before: Overhead | None, now: Overhead, observed_ns: int) -> Overhead:
    """Return what has come on top of `before`, as a share of `observed_ns`."""
    if before is None:
        return now
    found = replace(
        now,
        processing_ns=now.processing_ns - before.processing_ns,
        recording_ns=_less(now.recording_ns, before.recording_ns),
        reading_ns=_less(now.reading_ns, before.reading_ns),
        records=now.records - before.records,
        readings=now.readings - before.readings,
    )
    return replace(found, share=found.total_ns / observed_ns if observed_ns else None)


def _less(now: int | None, before: int | None) -> int | None:
    return None if now is None else now - (before or 0)


def _estimates(rows: tuple[AggregateMetrics, ...], cut_paths: int) -> tuple[str, ...]:
    """Say of the figures that are in the report which of them are not exact, and how far off."""
    notes = ["percentiles: from a histogram, at most 0.4 % off"]
    shared = [row for row in rows if row.sampled_count > row.exact_count]
    if shared:
        notes.append("CPU: from the sampled executions only")
    if any(row.memory_samples for row in shared):
        notes.append("memory: growth of the process's resident set, a lower bound")
    if any(row.sampled_count > row.memory_samples for row in shared):
        notes.append("memory is left out where other threads or tasks used the CPU")
    if any(row.concurrent_children for row in rows):
        notes.append("self time marked ~: a bound, its children ran side by side")
    overran = sum(row.timeout_count for row in rows if not row.exact_count)
    if overran:
        notes.append(
            f"deadlines: {of(overran, 'execution')} overran; inline, that stops no plain function:"
            " it goes on"
        )
    if cut_paths:
        notes.append(f"calls too deep to keep their callers, shown apart: {cut_paths:,}")
    return tuple(notes)
