"""A run against one that was kept: has a plugin, a fixture or a file got slower by too much?

What is called often enough is tested: it must be slower by the share that is allowed, in its median
and in all, and the Mann-Whitney U test must say that this is no chance. What happens a few times
only, such as an import, cannot be tested: it must take much longer, by wall time, and on the CPU
where that is known, because waiting is mostly that of the machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pluginhost.comparison import Comparison, CostChange, PluginChange, Verdict, compare
from pluginhost.errors import ReportFileError
from pluginhost.figures import duration, of
from pluginhost.printable import printable
from pluginhost.pytest_plugin.parts import OURS
from pluginhost.report import Report, read_report

DEFAULT_SHARE = 0.1
_LEAST_NS = 2_000_000
_LEAST_CPU_NS = 20_000_000  # by which what cannot be tested must have grown on the CPU
_LEAST_UNTESTED_NS, _TIMES_UNTESTED = 200_000_000, 2.0  # or by wall time, where CPU is not known
_SAME_SUITE = 0.5  # of the tests of the smaller run


class Culprit(NamedTuple):
    """Something that got slower by too much: in all, and what speaks for it."""

    name: str
    before_ns: int
    after_ns: int
    why: str

    def __str__(self) -> str:
        grown = f"{duration(self.before_ns)} -> {duration(self.after_ns)}"
        return f"{printable(self.name, 120)}: {grown} ({self.why})"


class Judgement(NamedTuple):
    """What a comparison with a baseline has come to; `compared` is how much could be."""

    culprits: tuple[Culprit, ...]
    compared: int
    share: float
    notes: tuple[str, ...]


def judged(report: Report, baseline: Path, share: float) -> Judgement:
    """Return what got slower by more than `share` since the run in the file `baseline`.

    `ReportFileError` is raised for a file that is no run of this suite.
    """
    before = read_report(baseline)
    notes = _kinship(before, report, baseline)
    comparison = compare(before, report, min_effect=share, relative=True)
    level = comparison.common_ratio or 1.0
    parts: dict[str, list[PluginChange]] = {}
    for change in comparison.changes:
        parts.setdefault(change.plugin_id.rpartition(":")[0], []).append(change)
    names = _parts_of(report)
    culprits = []
    for cost in comparison.costs:
        if cost.plugin in OURS:
            continue
        mine = [
            each for name in names.get(cost.plugin, (cost.plugin,)) for each in parts.get(name, ())
        ]
        cpu_ns = _cpu_ns(before, cost.plugin), _cpu_ns(report, cost.plugin)
        found = _tested(cost, mine, share, level) or _untested(cost, mine, share, level, cpu_ns)
        if found is not None:
            culprits.append(found)
    return Judgement(tuple(culprits), len(comparison.costs), share, (*notes, *_drift(comparison)))


def _kinship(before: Report, after: Report, file: Path) -> list[str]:
    """Return what makes two runs of one suite hard to compare; raise if they are not of one."""
    if before.suite is None or after.suite is None:
        raise ReportFileError(
            f"{file} is not the run of a test suite", remedy="keep one with --plugin-profile-save"
        )
    old, new = set(before.suite.tests.ids), set(after.suite.tests.ids)
    common = len(old & new)
    if common < _SAME_SUITE * min(len(old), len(new)) or (not common and (old or new)):
        raise ReportFileError(
            f"{file} is of another suite: of {of(len(new), 'test')} it has {common}",
            remedy="keep a run of this one with --plugin-profile-save",
        )
    notes = []
    if old != new:
        notes.append(f"{len(new - old)} tests are new, {len(old - new)} are gone")
    if before.suite.pytest != after.suite.pytest:
        notes.append(f"pytest {before.suite.pytest} -> {after.suite.pytest}")
    if before.environment.python != after.environment.python:
        notes.append(f"Python {before.environment.python} -> {after.environment.python}")
    return notes


def _parts_of(report: Report) -> dict[str, tuple[str, ...]]:
    """Return under which names the hooks of each plugin are known."""
    costs = report.costs
    return {row.name: row.parts or (row.name,) for row in costs.plugins} if costs else {}


def _cpu_ns(report: Report, plugin: str) -> int | None:
    """Return the CPU time of a plugin, None for what is none or where it is not known."""
    rows = report.costs.plugins if report.costs is not None else ()
    return next((row.cpu_ns for row in rows if row.name == plugin), None)


def _tested(
    cost: CostChange, parts: list[PluginChange], share: float, level: float
) -> Culprit | None:
    """Return what is slower in all, and has a part that a test says is slower."""
    before_ns, after_ns = cost.self_before_ns, cost.self_after_ns
    slower = [part for part in parts if part.verdict is Verdict.SLOWER]
    if before_ns is None or after_ns is None or not slower:
        return None
    if after_ns / level < before_ns * (1 + share) or after_ns / level - before_ns < _LEAST_NS:
        return None
    what = printable(slower[0].plugin_id.rpartition(":")[2], 60)
    why = f"{what} {100 * ((slower[0].ratio or 1.0) - 1):+.0f}%, p={slower[0].p_value or 0.0:.1g}"
    return Culprit(cost.plugin, before_ns, after_ns, why)


def _untested(
    cost: CostChange,
    parts: list[PluginChange],
    share: float,
    level: float,
    cpu_ns: tuple[int | None, int | None],
) -> Culprit | None:
    """Return what takes much longer, and happens too seldom for a test, or is longer to import."""
    before_ns, after_ns = cost.self_before_ns, cost.self_after_ns
    if before_ns is None or after_ns is None:
        return None
    grown_ns = after_ns / level - before_ns
    imports_ns = (cost.import_after_ns or 0) / level - (cost.import_before_ns or 0)
    by_imports = 2 * imports_ns > grown_ns
    if any(part.ratio is not None for part in parts) and not by_imports:
        return None
    known = (1 + 2 * share, _LEAST_CPU_NS)
    times, least_ns = known if None not in cpu_ns else (_TIMES_UNTESTED, _LEAST_UNTESTED_NS)
    cpu_before_ns, cpu_after_ns = cpu_ns
    pairs = [(before_ns, after_ns)]
    if cpu_before_ns is not None and cpu_after_ns is not None:
        pairs.append((cpu_before_ns, cpu_after_ns))
    if any(new / level < old * times or new / level - old < least_ns for old, new in pairs):
        return None
    why = f"imports +{duration(imports_ns)}" if by_imports else "too few times for a test"
    ratio = after_ns / level / max(1, before_ns)
    return Culprit(cost.plugin, before_ns, after_ns, f"{100 * (ratio - 1):+.0f}%, {why}")


def _drift(comparison: Comparison) -> tuple[str, ...]:
    level = comparison.common_ratio
    if level is None:
        return ()
    return (f"most things moved alike, by {100 * (level - 1):+.0f}%: judged against that",)
