"""The latest executions of one plugin, as columns: 17 bytes each, 41 more when it was sampled."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence

from msgspec.structs import replace

from pluginhost.journal import Status
from pluginhost.reading import ProcessReading
from pluginhost.report import ExecutionMetrics, PerformanceSample

_STATUSES = tuple(Status)
_STATUS_CODE = {status: code for code, status in enumerate(_STATUSES)}
_MESSAGES_KEPT = 100
_MAX_COUNT = 65_535


class ExecutionHistory:
    """Keeps the last `capacity` executions of `plugin_id`, and up to a quarter more between trims.

    Every execution has a serial number, counted from 0 since the history was begun.
    """

    def __init__(self, plugin_id: str, capacity: int) -> None:
        self._plugin_id = plugin_id
        self._capacity = capacity
        self._first = 0  # the serial number of the oldest execution that is kept
        self._ends_ns = array("q")
        self._durations_ns = array("q")
        self._statuses = bytearray()
        self._messages: dict[int, str] = {}
        self._of_processes: dict[int, ProcessReading] = {}
        self._read_serials = array("q")
        self._cpu_ns = array("q")
        self._rss_before = array("q")
        self._rss_after = array("q")
        self._overlapped = bytearray()
        self._counts = tuple(array("H") for _ in range(4))

    def __len__(self) -> int:
        return min(len(self._durations_ns), self._capacity)

    def extend(self, ends_ns: list[int], durations_ns: list[int]) -> int:
        """Add executions as successful and return the serial number of the first of them."""
        serial = self._first + len(self._durations_ns)
        self._ends_ns.fromlist(ends_ns)
        self._durations_ns.fromlist(durations_ns)
        self._statuses += bytes(len(durations_ns))
        return serial

    def mark_failed(self, serial: int, status: Status, message: str) -> None:
        """Note that an execution that was just added ended badly."""
        self._statuses[serial - self._first] = _STATUS_CODE[status]
        self._messages[serial] = message
        if len(self._messages) > _MESSAGES_KEPT:
            del self._messages[next(iter(self._messages))]

    def add_process_reading(self, serial: int, taken: ProcessReading) -> None:
        """Note what an execution that was just added took in a process of its own."""
        self._of_processes[serial] = taken

    def add_readings(  # noqa: PLR0917  # columns, in the order in which they are read
        self,
        serials: list[int],
        cpu_ns: list[int],
        rss_before: list[int],
        rss_after: list[int],
        counts: Sequence[list[int]],
        overlapped: list[bool],
    ) -> None:
        """Note the readings of executions that were just added, in order of serial number.

        `counts` are four columns: threads before and after, tasks before and after. `overlapped`
        says of each whether others ran meanwhile.
        """
        self._read_serials.fromlist(serials)
        self._cpu_ns.fromlist(cpu_ns)
        self._rss_before.fromlist(rss_before)
        self._rss_after.fromlist(rss_after)
        self._overlapped += bytes(overlapped)
        for kept, column in zip(self._counts, counts, strict=True):
            try:
                kept.fromlist(column)
            except OverflowError:
                kept.fromlist([min(count, _MAX_COUNT) for count in column])

    def trim(self) -> None:
        """Drop what is over the capacity, once that is a quarter of it."""
        surplus = len(self._durations_ns) - self._capacity
        if surplus <= self._capacity >> 2:
            return
        del self._ends_ns[:surplus], self._durations_ns[:surplus], self._statuses[:surplus]
        self._first += surplus
        self._of_processes = {s: t for s, t in self._of_processes.items() if s >= self._first}
        stale = _count_below(self._read_serials, self._first)
        del self._read_serials[:stale], self._cpu_ns[:stale]
        del self._rss_before[:stale], self._rss_after[:stale]
        del self._overlapped[:stale]
        for column in self._counts:
            del column[:stale]

    def latest(self, count: int, epoch_offset_ns: int) -> tuple[ExecutionMetrics, ...]:
        """Return the last `count` executions, oldest first."""
        held = len(self._durations_ns)
        first = max(0, held - min(count, self._capacity))
        return tuple(self._metrics(i, epoch_offset_ns) for i in range(first, held))

    def samples(self, epoch_offset_ns: int) -> tuple[PerformanceSample, ...]:
        """Return the readings of all sampled executions that are kept, oldest first."""
        oldest = self._first + len(self._durations_ns) - len(self)
        readings = [
            (serial, self._cpu_ns[row], self._rss_after[row])
            for row, serial in enumerate(self._read_serials)
        ]
        readings += [
            (serial, taken.cpu_ns, taken.rss_after_bytes)
            for serial, taken in self._of_processes.items()
            if taken.rss_after_bytes is not None
        ]
        return tuple(
            PerformanceSample(
                timestamp_ns=self._ends_ns[serial - self._first] + epoch_offset_ns,
                duration_ns=self._durations_ns[serial - self._first],
                cpu_time_ns=cpu_ns,
                rss_bytes=rss_bytes,
            )
            for serial, cpu_ns, rss_bytes in sorted(readings)
            if serial >= oldest
        )

    def nbytes(self) -> int:
        """Return the size of the columns in bytes, failure messages not counted."""
        columns = (self._ends_ns, self._durations_ns, self._read_serials, self._cpu_ns)
        more = (self._rss_before, self._rss_after, *self._counts)
        flags = len(self._statuses) + len(self._overlapped)
        return flags + sum(len(c) * c.itemsize for c in (*columns, *more))

    def _metrics(self, position: int, epoch_offset_ns: int) -> ExecutionMetrics:
        serial = self._first + position
        plain = ExecutionMetrics(
            plugin_id=self._plugin_id,
            timestamp_ns=self._ends_ns[position] + epoch_offset_ns,
            duration_ns=self._durations_ns[position],
            status=_STATUSES[self._statuses[position]],
            error_message=self._messages.get(serial),
        )
        if serial in self._of_processes:
            return _with_process(plain, self._of_processes[serial])
        row = _count_below(self._read_serials, serial)
        if row == len(self._read_serials) or self._read_serials[row] != serial:
            return plain
        return self._with_reading(plain, row)

    def _with_reading(self, plain: ExecutionMetrics, row: int) -> ExecutionMetrics:
        growth = self._rss_after[row] - self._rss_before[row]
        counts = [column[row] for column in self._counts]
        cpu_ns, duration_ns = self._cpu_ns[row], plain.duration_ns
        return replace(
            plain,
            cpu_time_ns=cpu_ns,
            cpu_percent=100 * cpu_ns / duration_ns if duration_ns else None,
            rss_bytes=self._rss_after[row],
            memory_allocated_bytes=max(growth, 0),
            memory_released_bytes=max(-growth, 0),
            threads_at_start=counts[0],
            threads_at_end=counts[1],
            tasks_at_start=counts[2],
            tasks_at_end=counts[3],
            overlapped=bool(self._overlapped[row]),
        )


def _with_process(plain: ExecutionMetrics, taken: ProcessReading) -> ExecutionMetrics:
    before, after = taken.rss_before_bytes, taken.rss_after_bytes
    growth = None if before is None or after is None else after - before
    return replace(
        plain,
        exact=True,
        cpu_time_ns=taken.cpu_ns,
        cpu_percent=100 * taken.cpu_ns / plain.duration_ns if plain.duration_ns else None,
        rss_bytes=after,
        peak_rss_bytes=taken.peak_rss_bytes,
        memory_allocated_bytes=None if growth is None else max(growth, 0),
        memory_released_bytes=None if growth is None else max(-growth, 0),
        threads_at_start=taken.threads_before,
        threads_at_end=taken.threads_after,
        overlapped=False,
        exit_status=taken.exit_status,
    )


def _count_below(serials: array[int], serial: int) -> int:
    return bisect_left(serials, serial)
