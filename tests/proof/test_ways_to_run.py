"""Tests that a plugin runs in its own way, profiled: in a loop, in a fork, within another test."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluginhost.report import read_report
from pluginhost.suite import SuiteReport
from tests.proof.environments import environment
from tests.proof.suites import requirements

pytestmark = pytest.mark.proof
MS = 1_000_000


def profiled(folder: Path, text: str, *words: str) -> SuiteReport:
    """Run one file of tests, which must pass, and return its profile."""
    env = environment("suites-pytest-9", requirements("pytest 9"))
    (folder / "test_some.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [env.python, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly"]
    done = env.run(
        [*command, "--plugin-profile", "--plugin-profile-json=profile.json", *words], cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    suite = read_report(folder / "profile.json").suite
    assert suite is not None
    assert sum(each.self_ns for each in suite.parts) == suite.wall_ns
    return suite


ANYIO = """
import asyncio, time
import pytest
pytestmark = pytest.mark.anyio
@pytest.fixture
def anyio_backend(): return "asyncio"
@pytest.fixture
async def slow():
    await asyncio.sleep(0.03)
    yield 1
"""
ASYNCIO = """
import asyncio, time
import pytest, pytest_asyncio
pytestmark = pytest.mark.asyncio
@pytest_asyncio.fixture
async def slow():
    await asyncio.sleep(0.03)
    yield 1
"""
TESTS = """
async def test_waits(slow): await asyncio.sleep(0.05)
async def test_works(slow):
    end = time.thread_time() + 0.05
    while time.thread_time() < end: pass
"""


@pytest.mark.parametrize("text", [ANYIO, ASYNCIO], ids=["anyio", "pytest-asyncio"])
def test_asynchronous_tests_and_fixtures_have_their_time(tmp_path: Path, text: str) -> None:
    """What runs in a loop is a body, or a fixture; waiting in it is told from working."""
    tests = profiled(tmp_path, text + TESTS)
    assert tests.tests.ids == ("test_some.py::test_waits", "test_some.py::test_works")
    waits_ns, works_ns = tests.tests.self_ns
    assert waits_ns >= 50 * MS
    assert works_ns >= 50 * MS
    waits_cpu_ns, works_cpu_ns = tests.tests.cpu_ns
    assert waits_cpu_ns < works_cpu_ns
    assert works_cpu_ns >= 49 * MS
    (slow,) = [row for row in tests.fixtures if row.name == "slow"]
    assert slow.setups == 2
    assert slow.setup_ns >= 60 * MS


SLEEPING = """
import os, time
BEGUN = os.getpid()
def test_a():
    time.sleep(0.05)
    assert os.getpid() {sign} BEGUN
def test_b(): time.sleep(0.05)
"""


def test_tests_that_run_in_forks_are_all_there(tmp_path: Path) -> None:
    """With `--forked` each test has a process of its own, and its row; what is missing is told."""
    suite = profiled(tmp_path, SLEEPING.format(sign="!="), "--forked")
    tests = suite.tests
    assert all(call_ns >= 50 * MS for call_ns in tests.call_ns)
    assert tests.self_ns == (0, 0)
    assert "2 tests ran in processes that are not recorded" in suite.incomplete[0]
    assert not [each for each in suite.advice if "forked" in each.subject]
    assert tests.ids == ("test_some.py::test_a", "test_some.py::test_b")
    assert tests.outcomes == ("passed", "passed")


INNER = """
pytest_plugins = "pytester"
def test_outer(pytester):
    pytester.makepyfile("import time\\ndef test_inner(): time.sleep(0.05)")
    arguments = ("-p", "no:randomly", "-p", "no:django", {words})
    {run}
    result.assert_outcomes(passed=1)
"""
INNER_RUNS = {
    "in process": ("", "result = pytester.runpytest_inprocess(*arguments)"),
    "in a process": ("", "result = pytester.runpytest_subprocess(*arguments)"),
    "profiled itself": ("'--plugin-profile'", "result = pytester.runpytest_inprocess(*arguments)"),
}


@pytest.mark.parametrize(("words", "run"), INNER_RUNS.values(), ids=INNER_RUNS)
def test_a_run_within_a_test_is_part_of_that_test(tmp_path: Path, words: str, run: str) -> None:
    """pytester's runs, profiled or not, leave the outer profile as it is."""
    suite = profiled(tmp_path, INNER.format(words=words, run=run))
    assert suite.tests.ids == ("test_some.py::test_outer",)
    assert suite.tests.self_ns[0] >= 50 * MS
