"""What it costs a whole test suite to be observed from outside: CPU time of pairs of processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.goals import Goal
from pluginhost.launcher.plan import plan_of
from pluginhost.launcher.running import costs, observed
from tests.proof.environments import environment, source_of

SUITE = "jinja2==3.1.6"
NEEDED = (SUITE, "pytest==9.0.2", "trio==0.32.0")
_QUIET = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist")


def empty_tests(rounds: int) -> list[Goal]:
    """5,000 tests that do nothing: all there is to pytest is its plugins."""
    count = 200 if rounds < 50 else 5_000
    with tempfile.TemporaryDirectory() as folder:
        text = "\n\n".join(f"def test_{n}():\n    pass" for n in range(count))
        Path(folder, "test_empty.py").write_text(text)
        words = [sys.executable, "-m", "pytest", *_QUIET]
        return _goals(f"pytest, {count:,} empty tests", words, folder, rounds, asked=1.25)


def real_suite(rounds: int) -> list[Goal]:
    """The 909 tests of Jinja2's source distribution, in an environment of their own."""
    if rounds < 50:
        return []
    python, folder = jinja2_suite()
    words = [str(python), "-m", "pytest", *_QUIET]
    return _goals("pytest, Jinja2's 909 tests", words, str(folder), rounds, asked=1.12)


def jinja2_suite() -> tuple[Path, Path]:
    """Return the Python of an environment for Jinja2's tests, and their folder; kept for later."""
    return Path(environment("jinja2", NEEDED).python), source_of(SUITE)


def _goals(
    name: str, words: Sequence[str], folder: str, rounds: int, *, asked: float
) -> list[Goal]:
    pairs = max(2, rounds // 8)
    here = Path.cwd()
    os.chdir(folder)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a first run leaves code that others load
    try:
        for _ in range(2):
            _bare_s(words)
            _observed_s(words)
        found = [_pair(words, turned=bool(n % 2)) for n in range(pairs)]
        lost = _unattributed(words)
    finally:
        os.chdir(here)
    ratios = sorted(watched / bare for bare, watched in found)
    low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
    note = f"CPU of the process, {pairs} pairs; half of them in {low:.2f} to {high:.2f}"
    return [
        Goal(f"{name}, observed", median(ratios), asked, note=note),
        Goal("unattributed", 100 * lost, note="of the run's wall time", unit="%"),
    ]


def _pair(words: Sequence[str], *, turned: bool) -> tuple[float, float]:
    """Return the CPU seconds of a bare run and of an observed one; which comes first alternates."""
    if turned:
        watched = _observed_s(words)
        return _bare_s(words), watched
    return _bare_s(words), _observed_s(words)


def _bare_s(words: Sequence[str]) -> float:
    before = os.times()
    with Path(os.devnull).open("w") as nowhere:
        subprocess.run(words, check=True, stdout=nowhere)
    return _since_s(before)


def _observed_s(words: Sequence[str]) -> float:
    plan = plan_of(words)  # it may start the interpreter to see whether we are there
    before = os.times()
    saved = os.dup(1)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            outcome = observed(plan)
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert outcome.returncode == 0
    assert outcome.captures
    return _since_s(before)


def _since_s(before: os.times_result) -> float:
    after = os.times()
    children = after.children_user - before.children_user
    return children + after.children_system - before.children_system


def _unattributed(words: Sequence[str]) -> float:
    plan = plan_of(words)
    saved = os.dup(1)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            report = costs(plan, observed(plan))
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    return report.unattributed_ns / report.wall_ns
