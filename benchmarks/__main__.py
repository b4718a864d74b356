"""`python -m benchmarks`: measure everything and print what was reached against what was asked.

With `--short` only to see that it all still runs: few rounds, small stores, no verdicts to trust.
`--fail` makes the exit code 1 when a goal is not met; otherwise it is 0.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version

from benchmarks import events, executions, startup, suite_profile, suites, taps
from benchmarks.goals import Goal, table


def main() -> int:
    """Run the measures that are asked for and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="only see that everything runs")
    parser.add_argument("--fail", action="store_true", help="exit 1 when a goal is not met")
    parser.add_argument("--only", metavar="WORD", help="only measures whose name has this word")
    options = parser.parse_args()
    rounds = 3 if options.short else 120
    sizes = (10_000, 100_000) if options.short else (10_000, 1_000_000, 10_000_000)
    measures: dict[str, Callable[[], list[Goal]]] = {
        "executions": lambda: executions.observed_executions(rounds),
        "hook calls": lambda: executions.observed_hook_calls(rounds),
        "peers": lambda: executions.peers(rounds),
        "dispatch": lambda: executions.dispatch(rounds),
        "recording events": lambda: events.recording(rounds),
        "bytes": events.sizes,
        "time ranges": lambda: events.ranges(sizes),
        "taps": lambda: taps.taps(rounds),
        "tap off": lambda: taps.off(rounds),
        "empty tests": lambda: suites.empty_tests(rounds),
        "real suite": lambda: suites.real_suite(rounds),
        "pytest plugin": lambda: suite_profile.marginal(rounds),
        "pytest plugin, not asked for": lambda: suite_profile.not_asked_for(rounds),
        "pytest plugin on real suites": lambda: suite_profile.real(rounds),
        "command line": lambda: startup.command_line(3 if options.short else 20),
    }
    goals: list[Goal] = []
    for name, measure in measures.items():
        if options.only and options.only not in name:
            continue
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        goals += measure()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"{python}, pluggy {version('pluggy')}, {platform.machine()}; median ratios of pairs")
    print(table(goals))
    missed = [goal.name for goal in goals if goal.met is False]
    print(f"{len(missed)} goals not met" if missed else "every goal met")
    if options.short:
        print("a short run: the figures mean nothing")
    return 1 if missed and options.fail else 0


if __name__ == "__main__":
    sys.exit(main())
