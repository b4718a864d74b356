"""Fixtures that plugins bring to pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.fixtures import FixtureDef

from pluginhost.calltree import CallTree
from pluginhost.costs import CostReport, PluginCost
from pluginhost.instrumentation.by_thread import ThreadNesting
from pluginhost.instrumentation.fixtures import FixtureSource
from pluginhost.instrumentation.readings import ThreadCpu
from pluginhost.launcher.plan import plan_of
from pluginhost.launcher.running import costs, observed

BRINGS = """
import time

import pytest

@pytest.fixture(autouse=True)
def slow(request):
    time.sleep(0.02)
    yield 1
    time.sleep(0.01)

@pytest.fixture
def asked(slow):
    return slow
"""
WRAPS = """
import time

import pytest

@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef):
    if fixturedef.argname == "slow":
        time.sleep(0.01)
    return (yield)
"""
CONFTEST = """
import time

import pytest

@pytest.fixture
def own():
    time.sleep(0.05)

@pytest.fixture
def broken():
    raise LookupError("broken on purpose")
"""
TESTS = """
def test_one(own): pass
def test_two(asked): pass
def test_three(broken): pass
"""
WORDS = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")
WORDS += ("-p", "brings", "-p", "wraps", "-p", "no:pluginhost")


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with a suite and two plugins of its own."""
    files = {"brings": BRINGS, "wraps": WRAPS, "conftest": CONFTEST, "test_some": TESTS}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def _row(report: CostReport, name: str) -> PluginCost:
    return next(row for row in report.plugins if row.name == name)


def test_they_are_in_the_row_of_their_plugin(suite: Path) -> None:
    """Set up and torn down for each test; those of the suite itself are in nobody's row."""
    plan = plan_of(WORDS)
    report = costs(plan, observed(plan))
    brings, wraps = _row(report, "brings"), _row(report, "wraps")
    calls = {row.hook: row.calls for row in report.hooks if row.plugin == "fixture of brings"}
    assert calls["slow"] >= 3
    assert calls["slow, teardown"] >= 3
    assert calls["asked"] >= 1
    assert "own" not in calls
    assert brings.hooks_self_ns >= 3 * 30_000_000
    assert brings.calls == sum(calls.values())
    assert wraps.hooks_self_ns >= 3 * 10_000_000
    own = next(row for row in report.plugins if row.name == "conftest.py")
    assert own.hooks_self_ns == 0
    parts = report.application.self_ns + report.measuring.total_ns + report.unattributed_ns
    assert parts + sum(row.self_ns for row in report.plugins) == report.wall_ns


def test_without_it_what_others_do_for_its_fixtures_is_saved_too(suite: Path) -> None:
    """A wrapper around its fixtures has nothing to wrap then."""
    plan = plan_of(WORDS)
    brings = _row(costs(plan, observed(plan)), "brings")
    assert brings.saving_ns is not None
    assert brings.import_saved_ns is not None
    assert brings.saving_ns >= brings.import_saved_ns + brings.hooks_self_ns + 3 * 10_000_000


def test_a_suite_shows_what_it_shows_without_us(suite: Path) -> None:
    """Tracebacks included, from a fixture that fails."""
    code = (
        "import sys; from pluginhost.launcher.plan import plan_of;"
        "from pluginhost.launcher.running import observed; observed(plan_of(sys.argv[1:]))"
    )
    bare, ours = (
        subprocess.run(words, capture_output=True, text=True, check=False).stdout
        for words in (WORDS, (sys.executable, "-c", code, *WORDS))
    )
    assert "broken on purpose" in bare
    assert re.sub(r"in [\d.]+s", "", ours) == re.sub(r"in [\d.]+s", "", bare)


class _Manager(SimpleNamespace):
    _importconftest = None

    def get_plugins(self) -> set[Any]:
        return set()


def test_pytest_is_left_as_it_was_found() -> None:
    """However many managers there were; other programs are not touched at all."""
    before = dict(vars(FixtureDef))
    clock = iter(range(1_000)).__next__
    source = FixtureSource(ThreadNesting(CallTree(thread_id=1), clock, ThreadCpu(clock)))
    source.watch(SimpleNamespace())
    assert dict(vars(FixtureDef)) == before
    managers = [_Manager(), _Manager()]
    for manager in managers:
        source.watch(manager)
    assert vars(FixtureDef)["execute"] is not before["execute"]
    assert vars(FixtureDef)["execute"].__qualname__ == before["execute"].__qualname__
    source.stop()
    assert dict(vars(FixtureDef)) == before


def test_conftest_files_of_one_module_name_have_their_own_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is known by its path, also where pytest imports all of them as `conftest`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "nested").mkdir()
    (tmp_path / "conftest.py").write_text("", encoding="utf-8")
    (tmp_path / "nested/conftest.py").write_text("import time\ntime.sleep(0.1)\n", encoding="utf-8")
    (tmp_path / "nested/test_a.py").write_text("def test_a(): pass\n", encoding="utf-8")
    plan = plan_of([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"])
    report = costs(plan, observed(plan))
    assert _row(report, "nested/conftest.py").import_ns >= 100_000_000
    assert _row(report, "conftest.py").import_ns < _row(report, "nested/conftest.py").import_ns
