"""By how much everything moved from one run of a suite to another, and how far apart.

Two runs differ even where nothing has changed: another machine, or other work beside. What is worked
out here of all that both runs have says how slow something must be that is to be blamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log, sqrt
from statistics import median
from typing import NamedTuple

from pluginhost.comparison.suites import suite_rows
from pluginhost.report import Report
from pluginhost.suite import SuitePart, SuiteReport

_LEAST_SHARE, _LEAST_NS = 0.002, 1_000_000  # of the whole: what takes less moves by chance
_LEAST_COUNT = 4
_NORMAL = 1.4826  # makes the median deviation that of a normal distribution
_FAR = 3.0  # deviations: all unchanged things of 1722 pairs of runs under load stay within
_MACHINE = (SuitePart.COLLECTION, SuitePart.REPORTING, SuitePart.PYTEST, SuitePart.STARTUP)
"""Parts that are in no row, and no test's doing."""


class Movement(NamedTuple):
    """What most things took in the second run, as a ratio, and the spread around that (log)."""

    level: float
    spread: float

    @property
    def noise(self) -> float:
        """From which ratio on, against the level, something moved apart from the others."""
        return exp(_FAR * self.spread)

    def grown_ns(self, before_ns: int, after_ns: int) -> float:
        """Return by how much something grew, against the level."""
        return after_ns / self.level - before_ns

    def is_beyond(self, before_ns: int, after_ns: int, ratio: float) -> bool:
        """Whether something grew to `ratio` times its time at least, and apart from the others."""
        return after_ns / self.level >= max(1, before_ns) * max(ratio, self.noise)


def movements(before: Report, after: Report) -> tuple[Movement, Movement]:
    """Return the movements of the times and of the CPU times of two runs of a suite."""
    wall = _movement(_wall_ns(before), _wall_ns(after))
    return wall, _movement(cpu_times(before), cpu_times(after))


def cpu_times(report: Report) -> dict[str, int]:
    """Return the CPU time of each row that has one, as a comparison names it, and of some parts."""
    rows = report.costs.plugins if report.costs is not None else ()
    found = {row.name: row.cpu_ns for row in rows}
    found |= {row.subject: row.cpu_ns for row in suite_rows(report.suite)}
    found |= {name: cpu_ns for name, _, cpu_ns in _parts(report.suite)}
    return {name: cpu_ns for name, cpu_ns in found.items() if cpu_ns is not None}


def stretch(report: Report) -> float:
    """Return how many times its CPU time most things took in a run: 1 on an idle machine."""
    wall, cpu = _wall_ns(report), cpu_times(report)
    least_ns = max(_LEAST_NS, _LEAST_SHARE * _sum(cpu))
    found = [wall[name] / ns for name, ns in cpu.items() if ns > least_ns and name in wall]
    return max(1.0, median(found)) if found else 1.0


def _wall_ns(report: Report) -> dict[str, int]:
    rows = report.costs.plugins if report.costs is not None else ()
    found = {row.name: row.self_ns for row in rows}
    found |= {row.subject: row.self_ns for row in suite_rows(report.suite)}
    return found | {name: self_ns for name, self_ns, _ in _parts(report.suite)}


def _parts(suite: SuiteReport | None) -> Iterator[tuple[str, int, int | None]]:
    for each in suite.parts if suite is not None else ():
        if each.part in _MACHINE:
            yield f"part {each.part}", each.self_ns, each.cpu_ns


def _movement(before: dict[str, int], after: dict[str, int]) -> Movement:
    least_ns = max(_LEAST_NS, _LEAST_SHARE * min(_sum(before), _sum(after)))
    pairs = [(before[name], after[name]) for name in before.keys() & after.keys()]
    ratios = [
        log(new / old)
        for old, new in pairs
        if old > 0 and new > 0 and sqrt(old) * sqrt(new) >= least_ns
    ]
    if len(ratios) < _LEAST_COUNT:
        return Movement(1.0, log(2) / _FAR)  # nobody knows: twice as long is apart
    level = median(ratios)
    return Movement(exp(level), _NORMAL * median(abs(each - level) for each in ratios))


def _sum(times: dict[str, int]) -> int:
    return sum(times.values())
