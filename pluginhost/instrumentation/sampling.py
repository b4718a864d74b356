"""Which executions are read in full. Counts, errors and durations never depend on it."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

from pluginhost.errors import InvalidValueError

_LONGEST_GAP = 10_000
"""Executions after which an adaptive rate, however low, is looked at again: it may have risen."""


class Sampler:
    """Decides, for each execution, whether to take the costly readings.

    A fixed `rate` (0.0-1.0), or an adaptive one: with `budget` (a share of run time, 0.0-1.0) the
    rate is lowered whenever measuring costs more, and raised again, never over `rate`. The
    recorder calls `adapt` now and then with how long it has run and what it spent.
    """

    def __init__(
        self,
        rate: float = 0.1,
        *,
        budget: float | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        for value, name in ((rate, "the sampling rate"), (budget, "the cost budget")):
            if value is not None and not 0.0 <= value <= 1.0:
                raise InvalidValueError(
                    f"{name} is {value!r}", remedy="give a share between 0.0 and 1.0"
                )
        self.max_rate = rate
        self.rate = rate
        self.budget = budget
        self.random = random

    def gap(self) -> int:
        """Return after how many executions the next one is to be read, 1 or more.

        Drawing a gap costs less than asking for each execution. Gaps spread evenly from 1 to
        twice their mean, which is 1 / rate; the second random number rounds without a bias.
        """
        rate = self.rate
        if rate >= 1.0:
            return 1
        longest = sys.maxsize if self.budget is None else _LONGEST_GAP
        if rate * longest < 2.0:
            return longest
        return 1 + int(self.random() * (2.0 / rate - 2.0) + self.random())

    def adapt(
        self, *, elapsed_ns: int, fixed_ns: float, reading_ns: float, executions: int
    ) -> None:
        """Set the rate so that measuring stays within the budget.

        Over `elapsed_ns` there were `executions`, whose recording cost `fixed_ns` in all and whose
        readings would each cost `reading_ns`. The rate falls to its goal at once and rises
        half-way to it each time, so that one idle period does not swing it. A budget of all there is
        changes nothing.
        """
        if self.budget is None or self.budget >= 1.0 or not executions or elapsed_ns <= 0:
            return
        left = self.budget * elapsed_ns - fixed_ns
        goal = max(0.0, min(self.max_rate, left / (executions * max(reading_ns, 1.0))))
        self.rate = goal if goal < self.rate else (self.rate + goal) / 2
