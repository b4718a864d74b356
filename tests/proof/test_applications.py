"""Applications that nobody here wrote, with real plugins: they do the same, and nobody is left out."""

from __future__ import annotations

from functools import cache

import pytest

from pluginhost.printable import printable, width_of
from tests.proof.applications import APPLICATIONS, REQUIREMENTS, Application
from tests.proof.environments import environment
from tests.proof.observing import Pair, both_ways

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def pair_of(tmp_path_factory: pytest.TempPathFactory):
    """Return `of(name)`: the application, run bare and observed once."""

    @cache
    def of(name: str) -> Pair:
        env = environment("applications", REQUIREMENTS)
        return both_ways(env, APPLICATIONS[name], tmp_path_factory.mktemp(name))

    return of


@pytest.fixture(params=sorted(APPLICATIONS))
def application(request: pytest.FixtureRequest) -> Application:
    return APPLICATIONS[request.param]


@pytest.fixture
def pair(request: pytest.FixtureRequest, pair_of) -> Pair:
    return pair_of(request.node.callspec.params["application"])


def test_it_does_the_same(application: Application, pair: Pair) -> None:
    """Exit code, output, complaints and files are those of the bare run, and those expected."""
    assert pair.observed == pair.bare
    assert pair.bare.exit_code == application.exit_code
    assert application.says in f"{pair.bare.stdout}{pair.bare.stderr}"
    assert bool(pair.bare.files) == bool(application.keep)


def test_every_implementation_is_in_the_report(application: Application, pair: Pair) -> None:
    """Whatever a witness in the program found registered is there, called or not."""
    reported = {(row.plugin, row.hook) for row in pair.costs.hooks}
    assert application.project in pair.witnessed
    for project, plugins in pair.witnessed.items():
        for plugin, hooks in plugins.items():
            name = printable(plugin)
            for hook in hooks:
                assert reported & {(name, hook), (f"{project}/{name}", hook)}


def test_its_plugins_have_rows(application: Application, pair: Pair) -> None:
    """Each with what it registered, the distribution it is from, and its version."""
    rows = {row.name: row for row in pair.costs.plugins}
    assert application.plugins <= rows.keys()
    installed = [row for row in rows.values() if row.kind == "installed"]
    assert all(row.distribution and row.version for row in installed)
    assert pair.costs.application.name == application.project


def test_rows_add_up(application: Application, pair: Pair) -> None:
    """To the whole run in ns, and in the text to 100.0 %."""
    costs = pair.costs
    parts = [costs.application.self_ns, costs.measuring.total_ns, costs.unattributed_ns]
    parts += [row.self_ns for row in costs.plugins]
    assert sum(parts) == costs.wall_ns
    assert all(part >= 0 for part in parts)
    table = pair.text.partition("the whole run")[2].splitlines()[0]
    assert table.split()[-1] == "100.0"
    assert max(map(width_of, pair.text.splitlines())) <= 80


def test_nothing_is_missing(application: Application, pair: Pair) -> None:
    """The run was recorded to its end, and its exit code is there."""
    assert pair.costs.incomplete == ()
    assert pair.costs.exit_code == application.exit_code
