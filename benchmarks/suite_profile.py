"""What `pytest --plugin-profile` costs: instructions where valgrind is there, else CPU time of pairs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest

from benchmarks.goals import Goal
from tests.proof.environments import ROOT, environment, source_of
from tests.proof.suites import SUITES

_SLOWED = 13
"""By how much valgrind slows Python down: what we do now and then by the clock is done as often."""

_PROGRAM = f"""
import sys
if any(word.startswith("--plugin-profile") for word in sys.argv):
    from pluginhost.instrumentation import by_thread
    from pluginhost import recording
    from pluginhost.pytest_plugin import notable, profile
    by_thread.FLUSH_INTERVAL_NS *= {_SLOWED}
    recording._TICK_NS *= {_SLOWED}
    notable.LONG_NS *= {_SLOWED}
    notable.LEAST_NS *= {_SLOWED}
    profile.CPU_GAP_NS = recording.CPU_GAP_NS = recording.CPU_GAP_NS * {_SLOWED}
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""
_QUIET = (
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:randomly",
    "-p",
    "no:xdist",
    "-p",
    "no:hypothesispytest",
)
_OFF, _ON, _WALL = (
    ("-p", "no:pluginhost"),
    ("--plugin-profile",),
    ("--plugin-profile", "--plugin-profile-wall-only"),
)
_FEW, _MANY = 200, 1200
_REAL = {name: SUITES[name] for name in ("jinja2", "click", "attrs")}
_REAL_NEEDED = (
    "pytest==9.0.2",
    "jinja2==3.1.6",
    "click==8.3.1",
    "attrs==25.4.0",
    "cloudpickle==3.1.2",
    "hypothesis==6.148.2",
    "trio==0.32.0",
    "xmlschema==4.2.0",
)


def marginal(rounds: int) -> list[Goal]:
    """1,000 empty tests more: what they cost with a profile, against what they cost bare."""
    if rounds < 50:
        return []
    with _empty_tests(_FEW, _MANY) as folder:
        added = {
            options: _cost(folder, (_file(_MANY),), options)
            - _cost(folder, (_file(_FEW),), options)
            for options in (_OFF, _WALL, _ON)
        }
    note = f"{_unit()}, 1,000 empty tests, marginal"
    return [
        Goal("pytest --plugin-profile, wall only", added[_WALL] / added[_OFF], 1.20, note=note),
        Goal("the same, with thread CPU", added[_ON] / added[_OFF], 1.35, note=note),
    ]


def not_asked_for(rounds: int) -> list[Goal]:
    """What the plugin costs where nobody asks for a profile, against `-p no:pluginhost`.

    It does nothing while tests run, so that all it costs is there with one test. That is what is
    measured: with 1,000, where each name and type lies in memory decides how often CPython's caches
    of attributes miss, which is some ten million instructions up or down.
    """
    if rounds < 50:
        return []
    with _empty_tests(1, 1000) as folder:
        one, many = (_file(1),), (_file(1000),)
        added = _cost(folder, one, ()) - _cost(folder, one, _OFF)
        bare, there = _cost(folder, many, _OFF), _cost(folder, many, ())
    unit = _unit()
    each = f"{added / 1e6:.1f} million" if unit == "instructions" else f"{added:.3f} s"
    note = f"{unit}: {each} added to a run of one test, by 1,000 empty tests"
    return [
        Goal("the plugin there, not asked for", 1 + added / bare, 1.002, note=note, digits=5),
        Goal("the same, read with 1,000 tests", there / bare, note="to 0.4 %", digits=5),
        _import(),
    ]


def real(rounds: int) -> list[Goal]:
    """Tests of others, whole runs with a profile and its report against bare ones."""
    if rounds < 50:
        return []
    env = environment("real-suites", _REAL_NEEDED)
    goals = []
    with _installed():
        for name, suite in _REAL.items():
            folder = str(source_of(suite.source))
            off, on = (_cost(folder, suite.words, words, env.python) for words in (_OFF, _ON))
            note = f"{_unit()}, whole run with report; bare {_said(off)}, added {_said(on - off)}"
            goals.append(Goal(f"pytest --plugin-profile, {name}", on / off, 1.06, note=note))
    return goals


@contextmanager
def _installed() -> Iterator[None]:
    """Have the project in a folder `site-packages`, as those have it who do not work on it.

    Hypothesis takes the constants of all other modules for those of the program under test, and
    makes examples of them: then a run with a profile does not run the same examples as one without.
    """
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        packages = Path(folder, "site-packages")
        shutil.copytree(ROOT / "pluginhost", packages / "pluginhost")
        patch.setenv("PYTHONPATH", str(packages))
        yield


def _said(cost: float) -> str:
    return f"{cost / 1e9:.1f} billion" if _unit() == "instructions" else f"{cost:.2f} s"


@contextmanager
def _empty_tests(*counts: int) -> Iterator[str]:
    """Yield a folder with files of so many tests that do nothing."""
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            text = "\n\n".join(f"def test_{n}():\n    pass" for n in range(count))
            Path(folder, _file(count)).write_text(text)
        yield folder


def _file(count: int) -> str:
    return f"test_{count}.py"


def _import() -> Goal:
    """How long it takes to import what every run imports of us, in processes of their own."""
    code = (
        "import time, pytest; t = time.perf_counter_ns(); import pluginhost.pytest_plugin.options; "
    )
    code += "print(time.perf_counter_ns() - t)"
    words = [sys.executable, "-c", code]
    taken = []
    for _ in range(15):
        done = subprocess.run(words, check=True, capture_output=True, env=_environment())
        taken.append(int(done.stdout))
    name = "import of the plugin, not asked for"
    return Goal(name, median(taken) / 1e6, 2.0, unit="ms", note="wall time, median of 15")


def _unit() -> str:
    return "instructions" if shutil.which("valgrind") else "CPU time, median of 7"


def _cost(
    folder: str,
    tests: Sequence[str],
    options: Sequence[str],
    python: str = sys.executable,
) -> float:
    """Return what a run costs: instructions, or CPU seconds."""
    words = [python, "-c", _PROGRAM, *_QUIET, *options, *tests]
    _run(words, folder)  # it leaves code that others load
    if shutil.which("valgrind"):
        return _instructions(words, folder)
    taken = []
    for _ in range(7):
        before = os.times()
        _run(words, folder)
        after = os.times()
        taken.append(after.children_user + after.children_system)
        taken[-1] -= before.children_user + before.children_system
    return median(taken)


def _instructions(words: Sequence[str], folder: str) -> float:
    tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    done = _run([*tool, *words], folder)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    assert found is not None, done.stderr[-2000:]
    return float(found[1].replace(",", ""))


def _run(words: Sequence[str], folder: str) -> subprocess.CompletedProcess[str]:
    """Run a suite, whose tests may well fail; but it must have come to its end."""
    done = subprocess.run(
        words, cwd=folder, env=_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stdout[-2000:] + done.stderr[-2000:]
    return done


def _environment() -> dict[str, str]:
    """Return that of a run that is the same each time, and may keep byte code."""
    environment = os.environ | {"PYTHONHASHSEED": "0", "CI": "1"}  # Hypothesis: nothing random
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.pop("PYTEST_ADDOPTS", None)
    return environment
