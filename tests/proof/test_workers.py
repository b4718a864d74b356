"""Suites that pytest-xdist spreads over processes, profiled: whose time it was, and who is missing."""

from __future__ import annotations

import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pluginhost.report import read_report
from pluginhost.suite import SuitePart, SuiteReport
from tests.proof.environments import Environment, environment
from tests.proof.suites import PLUGINS, PYTESTS

pytestmark = pytest.mark.proof
WORDS = ("-p", "no:cacheprovider", "-n2", "--plugin-profile", "--plugin-profile-json=profile.json")


@pytest.fixture(scope="module")
def env() -> Environment:
    return environment("workers", [PYTESTS["pytest 9"], PLUGINS["xdist"]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def suite_in(folder: Path) -> SuiteReport:
    suite = read_report(folder / "profile.json").suite
    assert suite is not None
    assert sum(each.self_ns for each in suite.parts) == suite.wall_ns
    return suite


def profiled(env: Environment, folder: Path, *words: str) -> tuple[SuiteReport, str]:
    """Run the suite in a folder, and return its profile and what was printed."""
    done = env.run([env.python, "-m", "pytest", *WORDS, *words], cwd=folder)
    return suite_in(folder), done.stdout + done.stderr


def children_cpu_ns() -> int:
    """Return the CPU time of all processes that have ended below this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((used.ru_utime + used.ru_stime) * 1e9)


def test_workers_start_with_their_processes(env: Environment, folder: Path) -> None:
    """What Python and pytest take in each is there, in wall time and on the CPU."""
    (folder / "test_a.py").write_text("def test_a(): pass\ndef test_b(): pass\n")
    before_ns = children_cpu_ns()
    suite, out = profiled(env, folder, "-p", "pluginhost")
    used_ns = children_cpu_ns() - before_ns
    assert len(suite.workers) == 2, out
    assert all(worker.startup_ns > 0 for worker in suite.workers)
    startup = suite.part(SuitePart.STARTUP)
    assert startup.self_ns > sum(worker.startup_ns for worker in suite.workers)
    assert startup.cpu_ns
    assert 0.4 * used_ns < suite.cpu_ns < used_ns  # it ends before the processes do


def test_a_worker_that_has_run_out_of_tests_is_idle(env: Environment, folder: Path) -> None:
    """One file takes long, and the worker that has the other is not needed meanwhile."""
    (folder / "test_a.py").write_text("import time\ndef test_a(): time.sleep(3)\n")
    (folder / "test_b.py").write_text("def test_b(): pass\n")
    suite, out = profiled(env, folder, "--dist", "loadfile")
    first, second = sorted(suite.workers, key=lambda worker: worker.wall_ns)
    assert first.unused_ns is not None
    assert first.unused_ns > second.waited_ns
    assert second.unused_ns == 0
    assert suite.waiting_ns > 0
    assert "the first only" in out


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.usefixtures("ctrl_c")
def test_a_worker_that_was_interrupted_is_missing(env: Environment, folder: Path) -> None:
    """Pressing Ctrl-C does not wait for what runs; the report says that this is not in it."""
    text = "import pathlib, time\ndef test_a(): pass\n"
    text += "def test_b():\n    pathlib.Path('begun').touch()\n    time.sleep(4)\n"
    (folder / "test_a.py").write_text(text)
    running = subprocess.Popen(
        [env.python, "-m", "pytest", *WORDS],
        cwd=folder,
        env=env.variables(),
        stdout=subprocess.PIPE,
        text=True,
    )
    while not (folder / "begun").exists() and running.poll() is None:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 2, out
    suite = suite_in(folder)
    assert sorted(worker.id for worker in suite.workers) == ["gw0", "gw1"]
    missing = [worker.id for worker in suite.workers if worker.missing]
    assert missing
    assert [text.partition(":")[0] for text in suite.incomplete] == missing
    assert not [each for each in suite.advice if each.kind == "idle"]


def test_a_worker_that_crashed_is_missing_once(env: Environment, folder: Path) -> None:
    """It has a line that says so, and a row among the workers."""
    (folder / "test_a.py").write_text("import os\ndef test_a(): os._exit(3)\n")
    suite, out = profiled(env, folder, "-v")
    (missing,) = [worker.id for worker in suite.workers if worker.missing]
    assert [line.count("missing") for line in out.splitlines() if line.startswith("! ")] == [1]
    assert [line for line in out.splitlines() if line.split() == [missing, "missing"]]
