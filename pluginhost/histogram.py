"""A mergeable histogram of durations with a known error bound."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import ceil

RELATIVE_ERROR = 0.004
"""A quantile is at most this far, relatively, from the value it stands for."""

_UPPER_HALF = 1 if sys.byteorder == "little" else 0


class DurationHistogram:
    """Counts of durations in buckets that are the upper 16 bits of their float32 (bfloat16).

    bfloat16 keeps 7 bits of mantissa, so a bucket spans 1/128 of its lower edge and its middle is
    at most 1/256 (under 0.4 %) away from any value in it, from 1 ns to centuries. Merging adds counters,
    which loses nothing. See Kalamkar et al., "A Study of BFLOAT16" (arXiv:1905.12322) for the
    number format; the use as a bucket key is the log-linear idea of HdrHistogram.
    """

    __slots__ = ("_counts",)

    def __init__(self, counts: Iterable[tuple[int, int]] = ()) -> None:
        self._counts: Counter[int] = Counter()
        dict.update(self._counts, counts)

    def add_all(self, durations_ns: Sequence[int]) -> None:
        """Count every duration; the work per value is done by C code."""
        halves = memoryview(array("f", durations_ns)).cast("B").cast("H")
        self._counts.update(halves[_UPPER_HALF::2])

    @classmethod
    def of(cls, kept: Iterable[Iterable[tuple[int, int]]]) -> DurationHistogram:
        """Return all that files have stored of several histograms in one."""
        whole = cls()
        for counts in kept:
            if whole._counts:
                whole.merge(cls(counts))
            else:
                dict.update(whole._counts, counts)
        return whole

    def merge(self, other: DurationHistogram) -> None:
        """Add the counts of `other`, exactly."""
        counts, get = self._counts, self._counts.get
        dict.update(counts, {b: n + get(b, 0) for b, n in other._counts.items()})

    def copy(self) -> DurationHistogram:
        """Return a histogram with the same counts, at the speed of C."""
        copied = DurationHistogram()
        dict.update(copied._counts, self._counts)
        return copied

    def columns(self) -> tuple[list[int], list[int]]:
        """Return the buckets and their counts, in no order: what is quickest to store."""
        return list(self._counts), list(self._counts.values())

    def __len__(self) -> int:
        return self._counts.total()

    def quantile_ns(self, share: float) -> float:
        """Return the duration under which `share` (0.0-1.0) of the values lie, 0.0 when empty.

        The nearest-rank definition (Hyndman and Fan 1996, type 1), within `RELATIVE_ERROR`.
        """
        return self.quantiles_ns((share,))[0]

    def quantiles_ns(self, shares: Sequence[float]) -> list[float]:
        """Return one quantile for each of `shares`; one sort serves them all."""
        buckets = sorted(self._counts)
        if not buckets:
            return [0.0] * len(shares)
        below = list(accumulate(self._counts[bucket] for bucket in buckets))
        return [_middle(buckets[_first_at_least(below, s)]) for s in shares]

    def buckets(self) -> tuple[tuple[int, int], ...]:
        """Return (bucket, count) in ascending order of duration: what a file stores."""
        return tuple(sorted(self._counts.items()))

    def points(self) -> tuple[tuple[float, int], ...]:
        """Return (duration in ns, count) in ascending order of duration."""
        return tuple((_middle(bucket), count) for bucket, count in self.buckets())


def _first_at_least(cumulative: list[int], share: float) -> int:
    rank = min(max(1, ceil(share * cumulative[-1])), cumulative[-1])
    return bisect_left(cumulative, rank)


def _middle(bucket: int) -> float:
    if bucket == 0:
        return 0.0
    edges = array("I", (bucket << 16 | 0x8000,))
    return float(memoryview(edges).cast("B").cast("f")[0])
