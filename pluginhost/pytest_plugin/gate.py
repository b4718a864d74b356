"""A run against one that was kept: has a plugin, a fixture or a file got slower by too much?

Everything moves from run to run, more on a busy machine: what is to blame must have moved apart from
all else, see `comparison.movements`, and by so much that somebody waits for it. What is called often
enough is tested as well (Mann-Whitney). What happens a few times only, such as an import, cannot be
tested: it must take twice as long, on the CPU, too, where that is known.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from pluginhost.comparison import (
    CostChange,
    Movement,
    PluginChange,
    Verdict,
    compare,
    cpu_times,
    movements,
    stretch,
    suite_rows,
)
from pluginhost.errors import ReportFileError
from pluginhost.figures import count, duration, of
from pluginhost.printable import printable
from pluginhost.pytest_plugin.parts import OURS
from pluginhost.report import Report, read_report
from pluginhost.suite import SuitePart, SuiteReport

DEFAULT_SHARE = 0.1
_LEAST_NS, _LEAST_SHARE = 5_000_000, 0.01  # by which it must have grown; of the whole run
_UNTESTED_TIMES = 2.0
_UNTESTED_CPU_NS, _UNTESTED_WALL_NS = 50_000_000, 200_000_000
_SAME_SUITE = 0.5  # of the tests of the smaller run
_WAITS = "pytest-xdist"  # waits for other processes, which is nobody's time


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


class _Times(NamedTuple):
    """Of one row in both runs; `hooks` is without what it imports. CPU is None if it is not known.

    `imports_cpu` is that of the imports of a file. Of a plugin it is all that it took: what is left
    of that without its hooks is known too badly.
    """

    whole: tuple[int, int]
    hooks: tuple[int, int]
    cpu: tuple[int, int] | None
    hooks_cpu: tuple[int, int] | None
    imports_cpu: tuple[int, int] | None

    @property
    def imports(self) -> tuple[int, int]:
        return self.whole[0] - self.hooks[0], self.whole[1] - self.hooks[1]


class _Scale(NamedTuple):
    """What a row is judged against; `stretch` is how long the CPU keeps things waiting."""

    share: float
    least_ns: float
    wall: Movement
    cpu: Movement
    has_cpu: bool
    stretch: float

    @property
    def untested_ratio(self) -> float:
        """How many times as long something must take that no test tells of."""
        return max(_UNTESTED_TIMES, 1 + 2 * self.share)

    @property
    def moved(self) -> bool:
        """Whether most things take notably more or less time than they did."""
        return abs(self.wall.level - 1) >= DEFAULT_SHARE

    @property
    def against(self) -> str:
        """What a percentage is to be read against, where it is not the time before."""
        return " against most things" if self.moved else ""


def judged(report: Report, baseline: Path, share: float) -> Judgement:
    """Return what got slower by more than `share` since the run in the file `baseline`.

    `ReportFileError` is raised for a file that is no run of this suite.
    """
    before = _kept(baseline)
    old, new, notes = _kinship(before, report, baseline)
    names = _parts_of(report)
    least_ns = max(_LEAST_NS, _LEAST_SHARE * old.wall_ns)
    wall, cpu_moved = movements(before, report)
    comparison = compare(before, report, min_effect=share, level=wall.level)
    cpu = cpu_times(before), cpu_times(report)
    scale = _Scale(share, least_ns, wall, cpu_moved, bool(cpu[1]), stretch(report))
    parts: dict[str, list[PluginChange]] = {}
    for change in comparison.changes:
        parts.setdefault(change.plugin_id.rpartition(":")[0], []).append(change)
    waited = _waited_ns(before, old), _waited_ns(report, new)
    hooks_cpu = cpu[0] | _hooks_cpu_ns(before), cpu[1] | _hooks_cpu_ns(report)
    imports_cpu = cpu[0] | _files_cpu_ns(before), cpu[1] | _files_cpu_ns(report)
    several = _processes(old) != _processes(new)
    culprits, compared = [], 0
    for cost in comparison.costs:
        name = cost.plugin
        if name in OURS or (several and name in names):  # a plugin is in each process
            continue
        compared += 1
        all_cpu = _both(name, cpu), _both(name, hooks_cpu), _both(name, imports_cpu)
        times = _times(cost, waited, *all_cpu)
        if times is None:
            continue
        mine = [each for part in names.get(name, (name,)) for each in parts.get(part, ())]
        why = _tested(times, mine, scale) or ("" if several else _untested(times, mine, scale))
        if why:
            culprits.append(Culprit(name, *times.whole, why))
    return Judgement(tuple(culprits), compared, share, (*notes, *_drift(scale)))


def _kept(file: Path) -> Report:
    try:
        return read_report(file)
    except ReportFileError as error:
        raise ReportFileError(error.message, remedy=_KEEP) from error


_KEEP = "keep one with --plugin-profile-save"


def _kinship(
    before: Report, after: Report, file: Path
) -> tuple[SuiteReport, SuiteReport, list[str]]:
    """Return two runs of one suite, and what makes them hard to compare; raise if they are not."""
    if before.suite is None or after.suite is None:
        raise ReportFileError(f"{file} is not the run of a test suite", remedy=_KEEP)
    old, new = set(before.suite.tests.ids), set(after.suite.tests.ids)
    common = len(old & new)
    if common < _SAME_SUITE * min(len(old), len(new)) or (not common and (old or new)):
        raise ReportFileError(
            f"{file} is of another suite: of {of(len(new), 'test')} it has {common}",
            remedy="keep a run of this one with --plugin-profile-save",
        )
    notes = []
    if old != new:
        fresh, gone = len(new - old), len(old - new)
        notes.append(f"{of(fresh, 'test')} {_is(fresh)} new, {of(gone, 'test')} {_is(gone)} gone")
    processes = _processes(before.suite), _processes(after.suite)
    if processes[0] != processes[1]:
        numbers = f"{of(processes[0], 'process', 'processes')} -> {count(processes[1])}"
        notes.append(f"{numbers}: plugins, and what happens a few times, are not compared")
    if before.suite.pytest != after.suite.pytest:
        notes.append(f"pytest {before.suite.pytest} -> {after.suite.pytest}")
    if before.environment.python != after.environment.python:
        notes.append(f"Python {before.environment.python} -> {after.environment.python}")
    return before.suite, after.suite, notes


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _processes(suite: SuiteReport) -> int:
    """Return the number of processes that ran tests."""
    return len({worker.id for worker in suite.workers}) or 1


def _waited_ns(report: Report, suite: SuiteReport) -> tuple[str, int]:
    """Return who waits for other processes, and how long."""
    rows = report.costs.plugins if report.costs is not None else ()
    waiting = [row for row in rows if row.distribution == _WAITS]
    if not waiting:
        return "", 0
    return max(waiting, key=lambda row: row.self_ns).name, suite.part(SuitePart.IDLE).self_ns


def _times(
    cost: CostChange,
    waited: tuple[tuple[str, int], ...],
    cpu: tuple[int, int] | None,
    hooks_cpu: tuple[int, int] | None,
    imports_cpu: tuple[int, int] | None,
) -> _Times | None:
    """Return the times of a row that is in both runs, without waiting for other processes."""
    if cost.self_before_ns is None or cost.self_after_ns is None:
        return None
    idle = [ns if name == cost.plugin else 0 for name, ns in waited]
    whole = max(0, cost.self_before_ns - idle[0]), max(0, cost.self_after_ns - idle[1])
    imports = cost.import_before_ns or 0, cost.import_after_ns or 0
    hooks = max(0, whole[0] - imports[0]), max(0, whole[1] - imports[1])
    return _Times(whole, hooks, cpu, hooks_cpu, imports_cpu)


def _both(name: str, times: tuple[dict[str, int], dict[str, int]]) -> tuple[int, int] | None:
    before, after = times
    return (before[name], after[name]) if name in before and name in after else None


def _hooks_cpu_ns(report: Report) -> dict[str, int]:
    """Return what the hooks of each plugin took of the CPU, without its imports."""
    taken: Counter[str] = Counter()
    for hook in report.costs.hooks if report.costs is not None else ():
        if hook.cpu_ns is not None:
            taken[hook.plugin] += hook.cpu_ns
    parts = _parts_of(report)
    return {
        name: sum(taken[part] for part in mine)
        for name, mine in parts.items()
        if any(part in taken for part in mine)
    }


def _files_cpu_ns(report: Report) -> dict[str, int]:
    """Return what importing each file took of the CPU."""
    found = {row.subject: row.import_cpu_ns for row in suite_rows(report.suite)}
    return {name: cpu_ns for name, cpu_ns in found.items() if cpu_ns is not None}


def _parts_of(report: Report) -> dict[str, tuple[str, ...]]:
    """Return under which names the hooks of each plugin are known."""
    costs = report.costs
    return {row.name: row.parts or (row.name,) for row in costs.plugins} if costs else {}


def _tested(times: _Times, parts: list[PluginChange], scale: _Scale) -> str:
    """Return why something is slower: it is in all, and has a part that a test says is slower."""
    slower = [part for part in parts if part.verdict is Verdict.SLOWER]
    if sum(map(_grown_ns, slower)) < scale.least_ns / 2:  # rather one call than all
        return ""
    ratio, cpu = 1 + scale.share, times.hooks_cpu
    grown_ns = scale.wall.grown_ns(*times.hooks)
    least_ns = max(scale.least_ns, times.hooks[0] * scale.share)
    waits_ns = _waits_ns(times.hooks, cpu, scale)
    by_cpu = (
        cpu is not None
        and grown_ns >= least_ns
        and (scale.cpu.is_beyond(*cpu, ratio) and scale.cpu.grown_ns(*cpu) >= scale.least_ns)
    )
    apart = grown_ns >= least_ns and scale.wall.is_beyond(*times.hooks, ratio)
    twice = cpu is not None and waits_ns >= times.hooks[0] * max(1.0, scale.share)
    if not by_cpu and not (waits_ns >= least_ns and (apart or twice)):
        return ""
    first = slower[0]
    what = printable(first.plugin_id.rpartition(":")[2], 60)
    grown = f"{what} {100 * ((first.ratio or 1.0) - 1):+.0f}%{scale.against}"
    return f"{grown}, p={first.p_value or 0.0:.1g}"


def _waits_ns(wall: tuple[int, int], cpu: tuple[int, int] | None, scale: _Scale) -> float:
    """Return by how much something waits longer, without what a busy machine makes of its work."""
    if cpu is None:
        return scale.wall.grown_ns(*wall)
    work_ns = cpu[1] * scale.stretch * scale.wall.noise
    return wall[1] - work_ns - max(0, wall[0] - cpu[0])


def _grown_ns(part: PluginChange) -> float:
    """Return by how much all calls of a part are longer, each as the one in the middle is."""
    before, after = part.before, part.after
    if before is None or after is None or part.ratio is None:
        return 0.0
    return after.execution_count * before.median_ns * (part.ratio - 1)


def _untested(times: _Times, parts: list[PluginChange], scale: _Scale) -> str:
    """Return why something is slower that happens too seldom for a test, or is longer to import."""
    grown_ns, imports_ns = scale.wall.grown_ns(*times.whole), scale.wall.grown_ns(*times.imports)
    by_imports = 2 * imports_ns > grown_ns
    if any(part.ratio is not None for part in parts) and not by_imports:
        return ""
    if grown_ns < max(scale.least_ns, times.whole[0] * scale.share):
        return ""
    if not (_imports_longer(times, scale) if by_imports else _takes_longer(times, scale)):
        return ""
    why = f"imports +{duration(imports_ns)}" if by_imports else "too few times for a test"
    times_longer = times.whole[1] / scale.wall.level / max(1, times.whole[0])
    return f"{100 * (times_longer - 1):+.0f}%{scale.against}, {why}"


def _takes_longer(times: _Times, scale: _Scale) -> bool:
    """Whether something takes some times as long, on the CPU or waiting."""
    by_cpu = times.cpu is not None and _by_cpu(times.cpu, scale)
    waits_ns = _waits_ns(times.whole, times.cpu, scale)
    by_wall = scale.wall.is_beyond(*times.whole, scale.untested_ratio)
    return by_cpu or (by_wall and waits_ns >= max(scale.least_ns, _UNTESTED_WALL_NS))


def _imports_longer(times: _Times, scale: _Scale) -> bool:
    """Whether imports take some times as long; by the CPU if it is known: disks have good days."""
    if times.imports_cpu is not None:
        return _by_cpu(times.imports_cpu, scale)
    grown_ns = scale.wall.grown_ns(*times.imports)
    by_wall = scale.wall.is_beyond(*times.imports, scale.untested_ratio)
    return by_wall and grown_ns >= max(scale.least_ns, _UNTESTED_WALL_NS)


def _by_cpu(cpu: tuple[int, int], scale: _Scale) -> bool:
    return scale.cpu.is_beyond(*cpu, scale.untested_ratio) and (
        scale.cpu.grown_ns(*cpu) >= max(scale.least_ns, _UNTESTED_CPU_NS)
    )


def _drift(scale: _Scale) -> list[str]:
    """Return by how much everything moved, and how little can be told, where it is much."""
    notes = []
    level, noise = scale.wall.level - 1, scale.wall.noise - 1
    if scale.moved:
        notes.append(f"most things take {100 * level:+.0f}% time: judged against that")
    if noise > scale.share:
        text = f"times differ from run to run: only what takes {100 * noise:+.0f}% can be told from"
        on_cpu = f", on the CPU {100 * (scale.cpu.noise - 1):+.0f}%" if scale.has_cpu else ""
        notes.append(f"{text} noise{on_cpu}")
    return notes
