"""How many executions of one plugin ran at once, from records that arrive only at their ends."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence


class PeakConcurrency:
    """The largest number of intervals that were open together.

    Each finished interval is given to the slot that had last become free when it began, or to a
    new one; intervals must come in the order of their ends. `_ends` holds the last end of each
    slot, ascending, so its length is the answer: the greedy interval partitioning of Kleinberg
    and Tardos ("Algorithm Design", section 4.1), run backwards in time. Where intervals come out
    of that order, the answer is not exact.
    """

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends: list[int] = []

    @property
    def peak(self) -> int:
        """The largest number so far."""
        return len(self._ends)

    def add_all(
        self, ends_ns: Sequence[int], durations_ns: Sequence[int], *, in_turn: bool = False
    ) -> None:
        """Add intervals in the order of their ends; `in_turn` says that none overlaps another."""
        if in_turn:  # each takes the slot of the one before it
            self._add(ends_ns[0] - durations_ns[0], ends_ns[0])
            self._ends[-1] = max(self._ends[-1], ends_ns[-1])
            return
        for end, duration in zip(ends_ns, durations_ns, strict=True):
            self._add(end - duration, end)

    def _add(self, start: int, end: int) -> None:
        ends = self._ends
        free = bisect_right(ends, start)
        if free:
            del ends[free - 1]
        insort(ends, end)
