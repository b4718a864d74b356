"""What `pytest --plugin-profile` costs: instructions where valgrind is there, else CPU time of pairs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.goals import Goal
from benchmarks.suites import SUITE, jinja2_suite

_SLOWED = 50
"""By how much valgrind slows Python down: what we do now and then by the clock is done as often."""

_PROGRAM = f"""
import sys
if any(word.startswith("--plugin-profile") for word in sys.argv):
    from pluginhost.instrumentation import by_thread
    from pluginhost import recording
    from pluginhost.pytest_plugin import profile
    by_thread.FLUSH_INTERVAL_NS *= {_SLOWED}
    recording._TICK_NS *= {_SLOWED}
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


def marginal(rounds: int) -> list[Goal]:
    """1,000 empty tests more: what they cost with a profile, against what they cost bare."""
    if rounds < 50:
        return []
    with tempfile.TemporaryDirectory() as folder:
        for count in (_FEW, _MANY):
            text = "\n\n".join(f"def test_{n}():\n    pass" for n in range(count))
            Path(folder, f"test_{count}.py").write_text(text)
        added = {
            options: _cost(folder, _MANY, options) - _cost(folder, _FEW, options)
            for options in (_OFF, _WALL, _ON)
        }
        idle = _cost(folder, _MANY, ()) / _cost(folder, _MANY, _OFF)
    note = f"{_unit()}, 1,000 empty tests, marginal"
    return [
        Goal("pytest --plugin-profile, wall only", added[_WALL] / added[_OFF], 1.20, note=note),
        Goal("the same, with thread CPU", added[_ON] / added[_OFF], 1.35, note=note),
        Goal("pytest, the plugin there, not asked for", idle, 1.002, note=f"{_unit()}, whole run"),
        _import(),
    ]


def real(rounds: int) -> list[Goal]:
    """The tests of Jinja2, whole runs with a profile against bare ones."""
    if rounds < 50:
        return []
    python, folder = jinja2_suite()
    runs = {options: _cost(str(folder), None, options, str(python)) for options in (_OFF, _ON)}
    note = f"{_unit()}, whole run with report"
    return [Goal(f"pytest --plugin-profile, {SUITE}", runs[_ON] / runs[_OFF], 1.06, note=note)]


def _import() -> Goal:
    """How long it takes to import what every run imports of us."""
    code = "import time, pytest, shlex, enum; t = time.perf_counter_ns(); import {}; "
    code += "print(time.perf_counter_ns() - t)"
    taken = []
    for _ in range(15):
        words = [sys.executable, "-c", code.format("pluginhost.pytest_plugin.options")]
        taken.append(int(subprocess.run(words, check=True, capture_output=True).stdout))
    return Goal("import of the plugin, not asked for", median(taken) / 1e6, 2.0, unit="ms")


def _unit() -> str:
    return "instructions" if shutil.which("valgrind") else "CPU time, median of 7"


def _cost(
    folder: str, count: int | None, options: Sequence[str], python: str = sys.executable
) -> float:
    """Return what a run costs: instructions, or CPU seconds."""
    tests = [f"test_{count}.py"] if count is not None else ["tests"]
    words = [python, "-c", _PROGRAM, *_QUIET, *options, *tests]
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    _run(words, folder, environment)  # it leaves code that others load
    if shutil.which("valgrind"):
        tool = [
            "valgrind",
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
        ]
        done = _run([*tool, *words], folder, environment)
        found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
        assert found is not None, done.stderr[-2000:]
        return float(found[1].replace(",", ""))
    taken = []
    for _ in range(7):
        before = os.times()
        _run(words, folder, environment)
        after = os.times()
        taken.append(after.children_user + after.children_system)
        taken[-1] -= before.children_user + before.children_system
    return median(taken)


def _run(
    words: Sequence[str], folder: str, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def savings(python: str, folder: str, plugins: Sequence[str]) -> list[dict[str, float | str]]:
    """Return what leaving out each plugin was predicted to save, and what it has saved, of CPU.

    Shares of the whole run's instructions: predicted by CPU time, saved by instructions.
    """
    with tempfile.TemporaryDirectory() as drafts:
        file = f"{drafts}/profile.json"
        words = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "pluginhost", *_ON]
        environment = os.environ | {"PYTHONHASHSEED": "1"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(2):
            command = [*words, f"--plugin-profile-json={file}"]
            subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
        report = json.loads(Path(file).read_text())
    measuring = next(p for p in report["suite"]["parts"] if p["part"] == "measuring")
    whole_ns = report["suite"]["wall_ns"] - measuring["self_ns"]
    rows = {row["name"]: row for row in report["costs"]["plugins"]}
    bare = _of(python, folder, ())
    found: list[dict[str, float | str]] = []
    for name in plugins:
        without = _of(python, folder, ("-p", f"no:{name}"))
        predicted = rows[name]["saving_ns"] / whole_ns
        found.append({"plugin": name, "predicted": predicted, "saved": 1 - without / bare})
    return found


def _of(python: str, folder: str, options: Sequence[str]) -> float:
    words = ["-p", "no:pluginhost", *options]
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command = [*tool, python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    assert found is not None, done.stderr[-2000:]
    return float(found[1].replace(",", ""))
