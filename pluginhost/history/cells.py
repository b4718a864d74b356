"""Roll-ups: all occurrences of one kind within one run and one stretch of time, added up."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import repeat

import msgspec

from pluginhost.calltree import CallPath
from pluginhost.events import Detail, EventBatch, Extra, PathGroup, Status
from pluginhost.histogram import DurationHistogram

RUN, MINUTE, HOUR, DAY = 0, 60, 3_600, 86_400
RESOLUTIONS = (RUN, MINUTE, HOUR, DAY)
"""How many seconds one cell spans; 0 is a whole run."""

_WIDE = 1 << 32
_NS = 1_000_000_000


class Cell(msgspec.Struct):
    """Counts and times of the occurrences in one cell; `histogram` can be merged without loss."""

    count: int = 0
    errors: int = 0
    timeouts: int = 0
    cancelled: int = 0
    total_ns: int = 0
    min_ns: int = 2**63 - 1
    max_ns: int = 0
    sampled: int = 0
    cpu_ns: int = 0
    histogram: DurationHistogram = msgspec.field(default_factory=DurationHistogram)

    def add(self, other: Cell) -> None:
        """Add all of another cell, exactly."""
        self.count += other.count
        self.errors += other.errors
        self.timeouts += other.timeouts
        self.cancelled += other.cancelled
        self.total_ns += other.total_ns
        self.min_ns = min(self.min_ns, other.min_ns)
        self.max_ns = max(self.max_ns, other.max_ns)
        self.sampled += other.sampled
        self.cpu_ns += other.cpu_ns
        self.histogram.merge(other.histogram)

    def copy(self) -> Cell:
        """Return a cell with the same contents."""
        return msgspec.structs.replace(self, histogram=self.histogram.copy())

    @property
    def error_count(self) -> int:
        """What counts as an error: being cancelled is nobody's fault."""
        return self.errors + self.timeouts


def packed(histogram: DurationHistogram) -> bytes:
    """Return a histogram as bytes: a width, all buckets (16 bits), all counts (32 or 64 bits)."""
    buckets, counts = histogram.columns()
    wide = bool(counts) and max(counts) >= _WIDE
    columns = (array("H", buckets), array("Q" if wide else "I", counts))
    if sys.byteorder == "big":
        for column in columns:
            column.byteswap()
    return bytes((8 if wide else 4,)) + columns[0].tobytes() + columns[1].tobytes()


def unpacked(raw: bytes) -> DurationHistogram:
    """Return the histogram that `packed` made bytes of; an empty one for what it did not make."""
    raw = bytes(raw)
    width = raw[0] if raw else 0
    if width not in (4, 8) or (len(raw) - 1) % (2 + width):
        return DurationHistogram()
    n = (len(raw) - 1) // (2 + width)
    columns = (array("H", raw[1 : 1 + 2 * n]), array("I" if width == 4 else "Q", raw[1 + 2 * n :]))
    if sys.byteorder == "big":
        for column in columns:
            column.byteswap()
    return DurationHistogram(zip(*columns, strict=True))


def minutes_of(batches: Sequence[EventBatch]) -> Iterator[tuple[CallPath, int, Cell]]:
    """Yield (path, minute since the epoch, cell) of batches, so that the cells add up to them."""
    groups: dict[CallPath, list[tuple[PathGroup, int]]] = {}
    for batch in batches:
        for group in batch.groups:
            groups.setdefault(group.path, []).append((group, batch.epoch_offset_ns))
    span = _NS * MINUTE
    for path, parts in groups.items():
        by_minute: dict[int, tuple[list[int], list[Extra]]] = {}
        for group, offset in parts:
            first = (min(group.ends_ns) + offset) // span
            if first == (max(group.ends_ns) + offset) // span:
                durations, extras = by_minute.setdefault(first, ([], []))
                durations += group.durations_ns
                extras += group.extras or ()
            else:
                _split(group, [(end + offset) // span for end in group.ends_ns], by_minute)
        for minute, (durations, extras) in by_minute.items():
            yield path, minute, _cell_of(durations, extras)


def _split(
    group: PathGroup, minutes: list[int], by_minute: dict[int, tuple[list[int], list[Extra]]]
) -> None:
    """Distribute a group that a minute ends in the middle of."""
    extras = group.extras or repeat(None)
    for minute, duration, extra in zip(minutes, group.durations_ns, extras, strict=False):
        durations, kept = by_minute.setdefault(minute, ([], []))
        durations.append(duration)
        if extra is not None:
            kept.append(extra)


def _cell_of(durations: list[int], extras: Sequence[Extra]) -> Cell:
    cell = Cell(
        count=len(durations),
        total_ns=sum(durations),
        min_ns=min(durations),
        max_ns=max(durations),
    )
    cell.histogram.add_all(durations)
    for extra in extras:
        raw = extra
        if isinstance(extra, Detail):
            _count_status(cell, extra)
            raw = extra.reading
        if isinstance(raw, tuple):
            cell.sampled += 1
            cell.cpu_ns += raw[0]
    return cell


def _count_status(cell: Cell, detail: Detail) -> None:
    status = detail.failure.status if detail.failure else Status.SUCCESS
    if status is Status.ERROR:
        cell.errors += 1
    elif status is Status.TIMEOUT:
        cell.timeouts += 1
    elif status is Status.CANCELLED:
        cell.cancelled += 1
