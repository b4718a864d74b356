"""Roll-ups: all occurrences of one kind within one run and one stretch of time, added up."""

from __future__ import annotations

import sys
from array import array
from typing import Self

import msgspec

from pluginhost.histogram import DurationHistogram

RUN, MINUTE, HOUR, DAY = 0, 60, 3_600, 86_400
RESOLUTIONS = (RUN, MINUTE, HOUR, DAY)
"""How many seconds one cell spans; 0 is a whole run."""

_WIDE = 1 << 32


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

    @classmethod
    def of(cls, durations_ns: list[int]) -> Self:
        """Return a cell of occurrences, at least one, that all went well."""
        cell = cls(
            count=len(durations_ns),
            total_ns=sum(durations_ns),
            min_ns=min(durations_ns),
            max_ns=max(durations_ns),
        )
        cell.histogram.add_all(durations_ns)
        return cell

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

    def plus(self, other: Cell) -> Cell:
        """Return the sum of both, and change neither."""
        total = self.copy()
        total.add(other)
        return total

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
