"""What to do about a suite's time: for the rows that matter, with what it would save."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pluginhost.costs import CostReport, PluginKind
from pluginhost.figures import of, short
from pluginhost.histogram import DurationHistogram
from pluginhost.printable import fitted
from pluginhost.pytest_plugin.parts import OURS
from pluginhost.suite import FixtureCost, SuiteAdvice, SuiteReport

_NOTABLE = 0.01  # of the whole: nobody does anything about less
_ALIKE = 3.0  # times: a fixture whose slowest setups are no slower does the same each time
_MODULES_OF_TESTS = 3


def advice_on(
    costs: CostReport, suite: SuiteReport, needed: Mapping[str, Sequence[str]]
) -> tuple[SuiteAdvice, ...]:
    """Return what can be done, what saves most first.

    `needed` has the names of plugins that tests cannot do without, with the fixtures they request.
    """
    plugins = {row.name for row in costs.plugins if row.kind is not PluginKind.CONFTEST}
    found = [
        *_plugins(costs, needed), *_fixtures(suite, plugins), *_imports(suite), *_idle(suite)
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda each: -(each.saving_ns or 0)))


def _plugins(costs: CostReport, needed: Mapping[str, Sequence[str]]) -> Iterator[SuiteAdvice]:
    for row in costs.plugins:
        saving_ns = row.saving_ns or 0
        if row.name in OURS or row.remedy is None or row.kind is PluginKind.CONFTEST:
            continue
        if saving_ns >= _NOTABLE * costs.wall_ns and not _runs_the_tests(row.name):
            text = f"imports {short(row.import_ns)}, hooks {short(row.hooks_self_ns)}"
            fixtures_ns = saving_ns - (row.import_saved_ns or 0) - row.hooks_self_ns
            if fixtures_ns >= _NOTABLE * costs.wall_ns:
                text += f", fixtures {short(fixtures_ns)}"
            wanted = needed.get(row.name)
            yield SuiteAdvice(
                kind="plugin",
                subject=row.name,
                finding=text,
                remedy=row.remedy if wanted is None else _needed(wanted),
                saving_ns=saving_ns if wanted is None else None,
            )


def _needed(fixtures: Sequence[str]) -> str:
    """Return why a plugin must stay: tests would fail without it."""
    if not fixtures:
        return "keep: tests are of its kind"
    more = f" and {len(fixtures) - 1} more" if len(fixtures) > 1 else ""
    return f"keep: tests request {fitted(fixtures[0], 20).rstrip()}{more}"


def _runs_the_tests(name: str) -> bool:
    """Whether a plugin's time is mostly that of tests in other processes."""
    return name.startswith(("xdist", "pytest_forked"))


def _fixtures(suite: SuiteReport, plugins: set[str]) -> Iterator[SuiteAdvice]:
    processes = max(1, sum(1 for worker in suite.workers if worker.tests))  # each needs it once
    for row in suite.fixtures:
        if row.owner in plugins:
            continue  # who runs the tests cannot change it
        if row.self_ns < _NOTABLE * suite.wall_ns:
            continue
        if row.scope == "session" or row.setups <= processes or row.own or row.parametrized:
            continue
        if not _alike(row):
            continue
        each_ns = row.self_ns // row.setups
        yield SuiteAdvice(
            kind="fixture",
            subject=row.name,
            finding=f"set up {row.setups:,} times, {short(each_ns)} each",
            remedy='scope="session"',
            saving_ns=row.self_ns - processes * each_ns,
        )


def _alike(row: FixtureCost) -> bool:
    """Whether setting up takes about as long each time, so that it seems to do the same."""
    low, high = DurationHistogram(row.histogram).quantiles_ns((0.1, 0.9))
    return high <= _ALIKE * max(1.0, low)


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
