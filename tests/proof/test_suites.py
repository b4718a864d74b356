"""Suites that nobody here wrote, profiled by the pytest plugin: the same outcomes, all of the time."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from pluginhost.suite import SuitePart, Until
from tests.proof.environments import Environment, environment, interpreter
from tests.proof.suites import PLUGINS, PYTESTS, SUITES, Run, requirements, run

pytestmark = pytest.mark.proof


def env_of(version: str) -> Environment:
    return environment(f"suites-{version.replace(' ', '-')}", requirements(version))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory):
    """Return `of(suite, pytest, *more)`: a run without a profile, and one with it."""

    @cache
    def of(name: str, version: str, *more: str) -> tuple[Run, Run]:
        bare, profiled = once(name, version, *more)
        if bare.outcomes != profiled.outcomes:  # some tests fail now and then by themselves
            bare, profiled = once(name, version, *more)
        return bare, profiled

    def once(name: str, version: str, *more: str) -> tuple[Run, Run]:
        env, suite = env_of(version), SUITES[name]
        folders = [tmp_path_factory.mktemp(name) for _ in range(2)]
        return (
            run(env, suite, folders[0], *more, profile=False),
            run(env, suite, folders[1], *more, profile=True),
        )

    return of


ALL = [pytest.param(name, "pytest 9", (), id=name) for name in SUITES]
ALL += [
    pytest.param("jinja2", "pytest 8", ("-n", "2"), id="jinja2, pytest 8, two workers"),
]


@pytest.mark.parametrize(("name", "version", "more"), ALL)
def test_outcomes_are_the_same(runs, name: str, version: str, more: tuple[str, ...]) -> None:
    """Exit code, and the outcome of each test, in random order; a difference must stay to count."""
    bare, profiled = runs(name, version, *more)
    assert profiled.exit_code == bare.exit_code, profiled.output[-3000:]
    assert profiled.outcomes == bare.outcomes
    assert len(bare.outcomes) > 50


@pytest.mark.parametrize(("name", "version", "more"), ALL)
def test_rows_add_up_and_every_plugin_is_there(
    runs, name: str, version: str, more: tuple[str, ...]
) -> None:
    """Parts are the whole; each installed plugin has a row; each test a time."""
    bare, profiled = runs(name, version, *more)
    report = profiled.report
    assert report is not None, profiled.output[-3000:]
    assert report.suite is not None
    assert report.costs is not None
    suite = report.suite
    assert suite.until is Until.EXIT
    assert sum(each.self_ns for each in suite.parts) == suite.wall_ns
    assert all(each.self_ns >= 0 for each in suite.parts)
    assert suite.part(SuitePart.UNATTRIBUTED).share < 0.1
    assert suite.test_count == len(bare.outcomes)
    assert sum(suite.tests.self_ns) == suite.part(SuitePart.TESTS).self_ns
    rows = {row.name: row for row in report.costs.plugins}
    assert PLUGINS.keys() <= rows.keys()
    for plugin, requirement in PLUGINS.items():
        distribution, _, wanted = requirement.partition("==")
        assert str(rows[plugin].distribution).lower() == distribution
        assert rows[plugin].version == wanted
    assert len(suite.workers) == (2 if more else 0)
    assert sum(worker.tests for worker in suite.workers) == (suite.test_count if more else 0)


@pytest.mark.parametrize("python", ["3.12", "3.13"])
def test_on_other_versions_of_python(tmp_path: Path, python: str) -> None:
    """pluggy's own suite, with the same plugins: the same outcomes, and rows that add up."""
    found = interpreter(python)
    if found is None:
        pytest.skip(f"there is no Python {python}")
    env = environment(f"suites-{python}", requirements("pytest 9"), python=found)
    folders = [tmp_path / name for name in ("bare", "profiled")]
    for folder in folders:
        folder.mkdir()
    bare = run(env, SUITES["pluggy"], folders[0], profile=False)
    profiled = run(env, SUITES["pluggy"], folders[1], profile=True)
    assert (profiled.exit_code, profiled.outcomes) == (bare.exit_code, bare.outcomes)
    assert len(bare.outcomes) > 50
    assert profiled.report is not None, profiled.output[-3000:]
    assert profiled.report.suite is not None
    assert profiled.report.costs is not None
    assert profiled.report.environment.python.startswith(python)
    suite = profiled.report.suite
    assert sum(each.self_ns for each in suite.parts) == suite.wall_ns
    assert all(each.self_ns >= 0 for each in suite.parts)
    assert suite.test_count == len(bare.outcomes)
    assert PLUGINS.keys() <= {row.name for row in profiled.report.costs.plugins}


def test_both_versions_of_pytest_are_there() -> None:
    """The environments are what they claim to be."""
    for version, requirement in PYTESTS.items():
        env = env_of(version)
        code = "import pytest; print(pytest.__version__)"
        done = env.run([env.python, "-c", code], cwd=env.folder)
        assert requirement.endswith(done.stdout.strip())
