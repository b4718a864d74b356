"""Paired measurement for noisy machines.

Every batch of a case is preceded by a batch of the reference, in the same process and within
about a millisecond; the order of the cases is shuffled in every round. The figure of a case is the
median, over the rounds, of its batch's time divided by that of the reference just before it. A
core that turns slow for seconds slows both. CPU time decides; wall time is the cross-check.
"""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat
from statistics import median

Times = tuple[int, int]
"""CPU ns of the process, and wall ns."""

AGREEMENT = 0.15
"""How far the ratio of the two minima may be from the median ratio before a run is repeated."""


@dataclass
class Case:
    """Something to time: `run()` performs `operations` operations; `after()` is not timed."""

    name: str
    run: Callable[[], None]
    operations: int
    after: Callable[[], None] = lambda: None
    ns: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    wall_ratios: list[float] = field(default_factory=list)

    def timed(self) -> tuple[float, float]:
        """Run once and return (CPU, wall) ns per operation."""
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        self.run()
        wall = time.perf_counter_ns() - wall
        cpu = time.process_time_ns() - cpu
        self.after()
        return cpu / self.operations, wall / self.operations

    @property
    def ratio(self) -> float:
        """The median ratio to the reference, by CPU time."""
        return median(self.ratios)

    @property
    def wall_ratio(self) -> float:
        """The median ratio to the reference, by wall time."""
        return median(self.wall_ratios)


def calls(name: str, call: Callable[[], object], *, operations: int = 512) -> Case:
    """Return a case that calls a function again and again."""

    def run() -> None:
        for _ in repeat(None, operations):
            call()

    return Case(name, run, operations)


def compare(reference: Case, cases: list[Case], *, rounds: int) -> bool:
    """Fill in the ratios of `cases` to `reference`; return whether the run was a quiet one.

    It is quiet when, for every case, the ratio of the fastest batches agrees with the median of
    the ratios. A run that is not is repeated twice at most.
    """
    for attempt in range(3):
        for case in (reference, *cases):
            case.timed()  # warm-up
            case.ns.clear()
            case.ratios.clear()
            case.wall_ratios.clear()
        for _ in range(rounds):
            for case in random.sample(cases, len(cases)):
                bare_cpu, bare_wall = reference.timed()
                cpu, wall = case.timed()
                reference.ns.append(bare_cpu)
                case.ns.append(cpu)
                case.ratios.append(cpu / bare_cpu)
                case.wall_ratios.append(wall / bare_wall)
        if all(_agrees(case, reference) for case in cases):
            return True
        if rounds < 50:
            break  # a short run only shows that everything still runs
        print(f"  (noisy, attempt {attempt + 1})", flush=True)
    return False


def _agrees(case: Case, reference: Case) -> bool:
    fastest = min(case.ns) / min(reference.ns)
    return abs(fastest / case.ratio - 1) <= AGREEMENT


def settle() -> None:
    """Stay on one core if the system lets us, and keep the collector off what exists already."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    gc.collect()
    gc.freeze()
