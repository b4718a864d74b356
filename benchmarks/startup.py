"""How long the command line takes to say hello."""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median

from benchmarks.goals import Goal

HELP = [sys.executable, "-m", "pluginhost", "--help"]
IMPORT_CLICK = [sys.executable, "-c", "import click"]


def command_line(rounds: int) -> list[Goal]:
    """`pluginhost --help` against importing click, by the CPU time of the processes."""
    _cpu_s(HELP)
    ratios = [_cpu_s(HELP) / _cpu_s(IMPORT_CLICK) for _ in range(rounds)]
    note = f"pairs of processes, CPU time; {min(ratios):.2f} to {max(ratios):.2f}"
    return [Goal("pluginhost --help / import click", median(ratios), 2.5, note=note)]


def _cpu_s(command: list[str]) -> float:
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    children = after.children_user - before.children_user
    return children + after.children_system - before.children_system
