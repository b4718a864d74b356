"""What to do about a suite's time: for the rows that matter, with what it would save."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pluginhost.costs import CostReport, PluginKind
from pluginhost.figures import of, short
from pluginhost.histogram import DurationHistogram
from pluginhost.pytest_plugin.kept import Kept
from pluginhost.pytest_plugin.parts import OURS
from pluginhost.suite import FixtureCost, SuiteAdvice, SuiteReport

_NOTABLE = 0.01  # of the whole: nobody does anything about less
_LONG_TEST = 0.05  # of the whole
_MOST_TESTS, _LOOKED_AT = 3, 100
_MOSTLY = 0.8  # what works on a busy machine waits, too
_ALIKE = 3.0  # times: a fixture whose slowest setups are no slower does the same each time


def advice_on(
    costs: CostReport,
    suite: SuiteReport,
    kept: Kept,
    unmeasured: Collection[str] = (),
    rewriting_ns: int = 0,
) -> tuple[SuiteAdvice, ...]:
    """Return what can be done, what saves most first.

    `kept` knows plugins that must stay; nobody knows what the imports of those `unmeasured` took.
    `rewriting_ns` is what it took to rewrite assertions that no byte code may be kept of.
    """
    plugins = {row.name for row in costs.plugins if row.kind is not PluginKind.CONFTEST}
    found = [
        *_plugins(costs, kept, unmeasured),
        *_fixtures(suite, plugins),
        *_tests(suite),
        *_imports(suite),
        *_rewriting(suite, rewriting_ns),
        *_idle(suite),
    ]
    return tuple(sorted(found, key=lambda each: -(each.saving_ns or 0)))


def _plugins(costs: CostReport, kept: Kept, unmeasured: Collection[str]) -> Iterator[SuiteAdvice]:
    for row in costs.plugins:
        saving_ns = row.saving_ns or 0
        if row.name in OURS or row.remedy is None or row.kind is PluginKind.CONFTEST:
            continue
        if saving_ns >= _NOTABLE * costs.wall_ns and not _runs_the_tests(row.name):
            imports = short(row.import_ns) if row.name not in unmeasured else "not measured"
            text = f"imports {imports}, hooks {short(row.hooks_self_ns)}"
            fixtures_ns = saving_ns - (row.import_saved_ns or 0) - row.hooks_self_ns
            if fixtures_ns >= _NOTABLE * costs.wall_ns:
                text += f", fixtures {short(fixtures_ns)}"
            why = kept.why(row.name)
            yield SuiteAdvice(
                kind="plugin",
                subject=row.name,
                finding=text,
                remedy=row.remedy if why is None else f"keep: {why}",
                saving_ns=saving_ns if why is None else None,
            )


def _runs_the_tests(name: str) -> bool:
    """Whether a plugin's time is mostly that of tests in other processes."""
    return name.startswith(("xdist", "pytest_forked"))


def _fixtures(suite: SuiteReport, plugins: set[str]) -> Iterator[SuiteAdvice]:
    for row in suite.fixtures:
        if row.owner in plugins:
            continue  # who runs the tests cannot change it
        if row.self_ns < _NOTABLE * suite.wall_ns:
            continue
        if not row.widest or row.setups < 2 or row.own or row.parametrized or not _alike(row):
            continue
        each_ns = row.self_ns // row.setups
        left = _setups_left(row, suite)
        if left == row.setups:
            continue
        yield SuiteAdvice(
            kind="fixture",
            subject=row.name,
            finding=f"set up {row.setups:,} times, {short(each_ns)} each",
            remedy=f'scope="{row.widest}" if shared',
            saving_ns=None if left is None else row.self_ns - left * each_ns,
        )


def _setups_left(row: FixtureCost, suite: SuiteReport) -> int | None:
    """Return how often a fixture would be set up at most with its widest scope, None if unknown."""
    processes = sum(1 for worker in suite.workers if worker.tests) or 1  # each needs it once
    files = [file.path for file in suite.files if file.tests]
    if row.widest == "class":
        return None
    where = 1
    if row.widest != "session" and row.defined_in not in files:
        folders = {file.rpartition("/")[0] for file in files}
        where = len(files if row.widest == "module" else folders)
    return min(processes * where, row.setups)


def _alike(row: FixtureCost) -> bool:
    """Whether setting up takes about as long each time, so that it seems to do the same."""
    low, high = DurationHistogram(row.histogram).quantiles_ns((0.1, 0.9))
    return high <= _ALIKE * max(1.0, low)


def _tests(suite: SuiteReport) -> Iterator[SuiteAdvice]:
    tests, least_ns = suite.tests, _LONG_TEST * suite.wall_ns
    if max(tests.self_ns, default=0) < least_ns:
        return  # as mostly
    longest = sorted(range(len(tests.ids)), key=tests.self_ns.__getitem__, reverse=True)
    longest_of = {tests.ids[n]: n for n in reversed(longest[:_LOOKED_AT])}  # some run again
    for n in sorted(longest_of.values(), key=longest.index)[:_MOST_TESTS]:
        self_ns = tests.self_ns[n]
        if self_ns < least_ns:
            return
        waiting_ns = self_ns - tests.cpu_ns[n] if tests.cpu_ns else 0
        waits = waiting_ns >= _MOSTLY * self_ns
        yield SuiteAdvice(
            kind="test",
            subject=tests.ids[n],
            finding=f"waits {short(waiting_ns)}"
            if waits
            else f"{self_ns / suite.wall_ns:.0%} of all",
            remedy="see what it waits for"
            if waits
            else _apart(suite.marker_sets, tests.markers[n]),
            saving_ns=self_ns,
        )


def _apart(marker_sets: Sequence[Sequence[str]], number: int) -> str:
    """Return how to run without a test."""
    marked = number < len(marker_sets) and "slow" in marker_sets[number]
    return '-m "not slow"' if marked else 'mark it slow, -m "not slow"'


def _imports(suite: SuiteReport) -> Iterator[SuiteAdvice]:
    for file in suite.files:
        for each in file.imports:
            if each.inclusive_ns >= _NOTABLE * suite.wall_ns:
                yield SuiteAdvice(
                    kind="import",
                    subject=f"{file.path}: {each.module}",
                    finding=short(each.inclusive_ns),
                    remedy="import where used",
                    saving_ns=each.inclusive_ns,
                )
                break  # what is below it is part of it


def _rewriting(suite: SuiteReport, rewriting_ns: int) -> Iterator[SuiteAdvice]:
    if rewriting_ns >= _NOTABLE * suite.wall_ns:
        yield SuiteAdvice(
            kind="import",
            subject="assertions",
            finding="rewritten anew in each run",
            remedy="unset PYTHONDONTWRITEBYTECODE",
            saving_ns=rewriting_ns,
        )


def _idle(suite: SuiteReport) -> Iterator[SuiteAdvice]:
    there = [worker for worker in suite.workers if worker.wall_ns]
    if len(there) < len(suite.workers):
        return  # how the others fared is not known
    whole_ns = sum(worker.available_ns for worker in there)
    idle_ns = sum(worker.waited_ns for worker in there)
    if there and idle_ns >= 0.2 * whole_ns:
        yield SuiteAdvice(
            kind="idle",
            subject=of(len(there), "worker"),
            finding=f"wait {idle_ns / whole_ns:.0%} of their time",
            remedy="fewer of them, or --dist worksteal",
        )
