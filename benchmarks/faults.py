"""`python -m benchmarks.faults`: provoke every fault as often as was asked, and print the figures.

The counts are those of the tests in `tests/faults` that are marked `slow`, which this runs; the round trip of
a call to a plugin in a process of its own is measured here, beside `concurrent.futures.ProcessPoolExecutor`.
With `--short` the reduced counts of an ordinary test run. The exit code is that of the tests, or 1 when the
round trip is the slower one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from pluginhost import PluginHost

_ROOT = Path(__file__).parents[1]
_BATCH = 50
_PLUGIN = "from pluginhost import hookimpl\n@hookimpl\ndef execute(payload): return payload\n"


def main() -> int:
    """Run it all and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--short", action="store_true", help="reduced counts")
    parser.add_argument("--only", metavar="EXPRESSION", help="only tests whose name fits, as -k")
    options = parser.parse_args()
    code, figures = _provoked(short=options.short, only=options.only)
    ours_us, pool_us, ratio = round_trips(20 if options.short else 100)
    figures += [
        ("round trip of a call in a process of its own", ours_us, "us"),
        ("  of ProcessPoolExecutor, in turn with it", pool_us, "us"),
        ("  median ratio of neighbouring batches", ratio, ""),
    ]
    for what, value, unit in figures:
        shown = f"{value:,.4g}" if isinstance(value, float) else f"{value}"
        line = f"{what:<60} {shown:>10} {unit}".rstrip()
        print(line if len(line) <= 80 else f"{what}:\n  {shown} {unit}".rstrip())
    print("all promises kept" if code == 0 else "NOT all promises kept, see above")
    return code or int(ratio > 1)


def _provoked(*, short: bool, only: str | None) -> tuple[int, list[tuple[str, float | str, str]]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "figures")
        file.touch()
        environment = os.environ | {"PLUGINHOST_FIGURES": str(file)}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/faults"]
        command += [] if short else ["-m", "slow"]
        command += ["-k", only] if only else []
        done = subprocess.run(command, cwd=_ROOT, env=environment, check=False)
        lines = file.read_text(encoding="utf-8").splitlines()
    return done.returncode, [(what, value, unit) for what, value, unit in map(json.loads, lines)]


def round_trips(rounds: int) -> tuple[float, float, float]:
    """Return us of a call in a process of its own, of one in a pool, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "echo.py").write_text(_PLUGIN, encoding="utf-8")
        host = PluginHost("bench", sources=[folder], runners={"*": "process"}, state_file="")
        with host, ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            host.load("echo")
            payload = {"id": 1, "text": "x" * 100}

            def ours() -> None:
                host.execute("echo", payload)

            def theirs() -> None:
                pool.submit(dict, payload).result()

            for _ in range(3):
                _us_of(ours), _us_of(theirs)
            pairs = [(_us_of(ours), _us_of(theirs)) for _ in range(rounds)]
    return (
        median(a for a, _ in pairs),
        median(b for _, b in pairs),
        median(a / b for a, b in pairs),
    )


def _us_of(call: Callable[[], None]) -> float:
    started_ns = time.perf_counter_ns()
    for _ in range(_BATCH):
        call()
    return (time.perf_counter_ns() - started_ns) / _BATCH / 1000


if __name__ == "__main__":
    sys.exit(main())
