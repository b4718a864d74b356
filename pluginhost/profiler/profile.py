"""Everything that adds up for one plugin, exactly, however long it runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, compress
from operator import not_, sub
from typing import Any, cast

from pluginhost.histogram import DurationHistogram
from pluginhost.journal import Detail, Extra, Failure, PathGroup, Status
from pluginhost.profiler.blocks import LoopBlocks
from pluginhost.profiler.history import ExecutionHistory
from pluginhost.profiler.tally import Tally
from pluginhost.reading import OTHERS_TOLERANCE_NS, ProcessReading, RawReading, resident_bytes
from pluginhost.report import AggregateMetrics

_QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


class _ParsedGauge(dict["bytes | int", int]):
    """Raw readings of the memory gauge to bytes; few of many readings differ."""

    def __missing__(self, raw: bytes | int) -> int:
        if len(self) > 10_000:
            self.clear()
        self[raw] = value = resident_bytes(raw)
        return value


class PluginProfile:
    """The executions of one plugin: sums, a histogram, and the latest of them one by one."""

    def __init__(self, plugin_id: str, max_history: int) -> None:
        self.plugin_id = plugin_id
        self.tally = Tally()
        self.min_ns = 1 << 62
        self.histogram = DurationHistogram()
        self.history = ExecutionHistory(plugin_id, max_history)
        self.by_status = dict.fromkeys(Status, 0)
        self.last_error: str | None = None
        self.first_start_ns: int | None = None
        self.last_end_ns = 0
        self.sampled = 0
        self._parsed = _ParsedGauge()
        self.cpu_ns = self.sampled_wall_ns = 0
        self.memory_samples = self.grown_bytes = 0
        self.peak_growth_bytes: int | None = None
        self.peak_rss_bytes: int | None = None
        self.exact = self.exits = 0
        self.last_exit_status: str | None = None

    def add(self, group: PathGroup) -> None:
        """Add executions of this plugin, in the order of their ends."""
        ends_ns, durations_ns = group.ends_ns, group.durations_ns
        self.tally.add(group)
        self.min_ns = min(self.min_ns, min(durations_ns))  # noqa: PLW3301  # flattened, it copies
        self.histogram.add_all(durations_ns)
        first_ns = self.first_start_ns
        if first_ns is None or ends_ns[0] - group.max_ns < first_ns:
            earliest_ns = group.first_start_ns()
            self.first_start_ns = earliest_ns if first_ns is None else min(first_ns, earliest_ns)
        self.last_end_ns = max(self.last_end_ns, ends_ns[-1])
        serial = self.history.extend(ends_ns, durations_ns)
        if group.extras is not None:
            readings = group.extras
            if group.has_details:
                readings = self._add_details(serial, readings, durations_ns)
            self._add_readings(serial, cast("list[RawReading | None]", readings), durations_ns)
        self.history.trim()

    def _add_details(
        self, first: int, extras: list[Extra], durations_ns: Sequence[int]
    ) -> list[Extra]:
        """Note the details among `extras` and return the readings that are left."""
        readings = list(extras)
        for position, extra in enumerate(extras):
            if isinstance(extra, Detail):
                readings[position] = extra.reading
                if extra.failure is not None:
                    self._add_failure(first + position, extra.failure)
                if extra.process is not None:
                    self._add_process(first + position, extra.process, durations_ns[position])
        return readings

    def _add_failure(self, serial: int, failure: Failure) -> None:
        self.tally.errors += 1
        self.by_status[failure.status] += 1
        self.last_error = f"{failure.error_type}: {failure.error_message}"
        self.history.mark_failed(serial, failure.status, failure.error_message or "")

    def _add_process(self, serial: int, taken: ProcessReading, duration_ns: int) -> None:
        self.history.add_process_reading(serial, taken)
        self.exact += 1
        self.sampled += 1
        self.cpu_ns += taken.cpu_ns
        self.sampled_wall_ns += duration_ns
        if taken.exit_status is not None:
            self.exits += 1
            self.last_exit_status = taken.exit_status
        peak, before = taken.peak_rss_bytes, taken.rss_before_bytes
        if peak is not None:
            self.peak_rss_bytes = max(self.peak_rss_bytes or 0, peak)
        if peak is not None and before is not None:
            self.memory_samples += 1
            self.grown_bytes += max(0, (taken.rss_after_bytes or before) - before)
            self.peak_growth_bytes = max(self.peak_growth_bytes or 0, peak - before)

    def _add_readings(
        self, first: int, taken: list[RawReading | None], durations_ns: Sequence[int]
    ) -> None:
        positions = [i for i, reading in enumerate(taken) if reading is not None]
        if not positions:
            return
        readings = [cast("RawReading", taken[i]) for i in positions]
        serials = [first + i for i in positions]
        self.sampled_wall_ns += sum([durations_ns[i] for i in positions])
        flat: list[Any] = list(chain.from_iterable(readings))
        cpu_ns, others_ns = flat[0::8], flat[3::8]
        counts = [flat[4::8], flat[5::8], flat[6::8], flat[7::8]]
        overlapped = [other > OTHERS_TOLERANCE_NS for other in others_ns]
        before = list(map(self._parsed.__getitem__, flat[1::8]))
        after = list(map(self._parsed.__getitem__, flat[2::8]))
        self.history.add_readings(serials, cpu_ns, before, after, counts, overlapped)
        self.sampled += len(readings)
        self.cpu_ns += sum(cpu_ns)
        self.peak_rss_bytes = max(self.peak_rss_bytes or 0, *after)
        growth = list(map(sub, after, before))
        if True in overlapped:
            growth = list(compress(growth, map(not_, overlapped)))
        if growth:
            self.memory_samples += len(growth)
            self.grown_bytes += sum(grown for grown in growth if grown > 0)
            self.peak_growth_bytes = max(self.peak_growth_bytes or 0, *growth)

    def aggregates(
        self,
        *,
        self_time_ns: int,
        concurrent_children: bool,
        epoch_offset_ns: int,
        blocks: LoopBlocks,
    ) -> AggregateMetrics:
        """Return all sums as a record; times within the call tree are the caller's to know."""
        tally, count = self.tally, self.tally.count
        p50, p90, p95, p99, p999 = self.histogram.quantiles_ns(_QUANTILES)
        return AggregateMetrics(
            plugin_id=self.plugin_id,
            execution_count=count,
            success_count=count - tally.errors,
            failure_count=self.by_status[Status.ERROR],
            timeout_count=self.by_status[Status.TIMEOUT],
            cancelled_count=self.by_status[Status.CANCELLED],
            error_rate=(self.by_status[Status.ERROR] + self.by_status[Status.TIMEOUT]) / count,
            average_duration_ns=tally.total_ns / count,
            min_duration_ns=self.min_ns,
            max_duration_ns=tally.max_ns,
            p50_duration_ns=p50,
            p90_duration_ns=p90,
            p95_duration_ns=p95,
            p99_duration_ns=p99,
            p999_duration_ns=p999,
            total_time_ns=tally.total_ns,
            self_time_ns=self_time_ns,
            concurrent_children=concurrent_children,
            sampled_count=self.sampled,
            average_cpu_time_ns=self.cpu_ns / self.sampled if self.sampled else None,
            cpu_utilisation=self.cpu_ns / self.sampled_wall_ns if self.sampled_wall_ns else None,
            memory_samples=self.memory_samples,
            average_memory_bytes=self.grown_bytes / self.memory_samples
            if self.memory_samples
            else None,
            peak_memory_bytes=self.peak_growth_bytes,
            peak_rss_bytes=self.peak_rss_bytes,
            exact_count=self.exact,
            exit_count=self.exits,
            last_exit_status=self.last_exit_status,
            loop_block_count=blocks.count,
            longest_loop_block_ns=blocks.longest_ns,
            last_loop_block=blocks.last,
            first_execution_timestamp_ns=(self.first_start_ns or 0) + epoch_offset_ns,
            last_execution_timestamp_ns=self.last_end_ns + epoch_offset_ns,
            last_error=self.last_error,
        )
