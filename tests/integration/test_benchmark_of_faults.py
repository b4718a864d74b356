"""`python -m benchmarks.faults`: it provokes faults, prints what came of it, and its exit code is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def printed(only: str) -> tuple[int, list[str]]:
    """Run the short form of what the expression names; return exit code and lines."""
    command = [sys.executable, "-m", "benchmarks.faults", "--short", "--only", only]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="processes of their own")
def test_figures_and_verdict() -> None:
    """What the tests have measured, the round trip beside a pool's, and that all was kept."""
    code, lines = printed("test_a_fork_bomb_is_stopped_and_named and programs")
    text = "\n".join(lines)
    assert re.search(
        r"^a bomb \(other programs\): longest stall of .*:?\s+[\d.,e+]+ ms$", text, re.MULTILINE
    )
    assert re.search(
        r"^round trip of a call in a process of its own +[\d.,]+ us$", text, re.MULTILINE
    )
    assert re.search(r"^  of ProcessPoolExecutor, in turn with it +[\d.,]+ us$", text, re.MULTILINE)
    (ratio,) = re.findall(r"^  median ratio of neighbouring batches +([\d.]+)$", text, re.MULTILINE)
    assert lines[-1] == "all promises kept"
    assert float(ratio) == 1 or code == int(float(ratio) > 1)  # as it may be on a busy machine
    assert all(len(line) <= 80 for line in lines)


def test_nothing_provoked_is_nothing_kept() -> None:
    """An expression that fits no test must not look like success."""
    code, lines = printed("no_test_is_called_so")
    assert code == 5
    assert lines[-1] == "NOT all promises kept, see above"
