"""Predicted against really saved: what a report says of plugins, and what comes of leaving them out.

`python -m benchmarks.predictions [PAIRS] [pytest|kedro]` makes its environments under `.cache/`, and
takes some minutes. For pytest, both ways to profile it predict: `pluginhost profile`, and
`pytest --plugin-profile`.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from pluginhost.costs import CostReport, PluginCost, Verification
from pluginhost.figures import duration
from pluginhost.launcher.plan import Plan, plan_of
from pluginhost.launcher.running import Outcome, costs, observed, unobserved
from pluginhost.launcher.verifying import arms_of, verification_of
from pluginhost.report import read_report
from tests.proof.applications import APPLICATIONS, REQUIREMENTS
from tests.proof.environments import environment

ROUNDS = 10
_OBSERVED = 5
TESTS = 200
NOTABLE = 0.02
"""Of the run: what a plugin must cost to be verified."""

SUITE = (
    "pytest==9.2.0",
    "anyio==4.16.0",
    "django==5.2.8",
    "faker==40.63.0",
    "hypothesis==6.170.17",
    "pytest-asyncio==1.5.0",
    "pytest-check==3.0.3",
    "pytest-django==4.14.0",
    "pytest-html==4.2.0",
    "pytest-mock==3.17.0",
    "pytest-rerunfailures==16.4",
    "pytest-timeout==2.4.0",
    "syrupy==7.0.2",
)


def main() -> int:
    """Verify the costly plugins of two programs, print the table, and fail if a prediction did."""
    words = sys.argv[1:]
    rounds = next((int(word) for word in words if word.isdigit()), ROUNDS)
    programs = {"pytest": _of_pytest, "kedro": _of_kedro}
    chosen = [word for word in words if word in programs] or list(programs)
    print(f"{rounds} pairs of runs each, all by CPU time; the interval is that of the saving\n")
    head = f"{'plugin':<18}{'predicted by':<17}{'of run':>7}{'predicted':>11}{'saved':>9}"
    print(f"{head}  {'interval':<17}")
    found = [each for name in chosen for each in programs[name](rounds)]
    agreeing = sum(each.agrees is True for each in found)
    print(f"\n{agreeing} of {len(found)} within a quarter of what was saved, or within the noise")
    return agreeing < len(found)


def _of_pytest(rounds: int) -> Iterator[Verification]:
    env = environment("suite", SUITE)
    test = "def test_{n}(number):\n    assert number + {n} == {n} + 3\n"
    fixture = "import pytest\n\n@pytest.fixture\ndef number():\n    return 3\n\n"
    files = {
        "test_some.py": fixture + "\n".join(test.format(n=n) for n in range(TESTS)),
        "pytest.ini": "[pytest]\nasyncio_default_fixture_loop_scope = function\n",
    }
    words = [env.python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    with _folder(files, env.variables()):
        yield from _verifications(words, rounds, also=_profiled_by_pytest(words))


def _of_kedro(rounds: int) -> Iterator[Verification]:
    env = environment("applications", REQUIREMENTS)
    kedro = APPLICATIONS["kedro"]
    with _folder(kedro.files, env.variables() | dict(kedro.variables)):
        yield from _verifications([env.script("kedro"), "run"], rounds)


@contextmanager
def _folder(files: Mapping[str, str], variables: Mapping[str, str]) -> Iterator[None]:
    """Be in a folder with `files`, and in that environment."""
    here, before = Path.cwd(), dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        try:
            yield
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(before)


def _profiled_by_pytest(words: Sequence[str]) -> CostReport:
    """Return what the quietest of some runs with `--plugin-profile` says."""
    command = [*words, "-p", "pluginhost", "--plugin-profile", "--plugin-profile-save=run"]
    reports = []
    for _ in range(_OBSERVED + 1):  # the first one leaves byte code
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        reports.append(read_report(Path("run")).costs)
    return min((each for each in reports[1:] if each), key=lambda each: each.wall_ns)


def _verifications(
    words: Sequence[str], rounds: int, also: CostReport | None = None
) -> Iterator[Verification]:
    """Verify every plugin that is predicted to save enough by the quietest of some runs.

    What `also` predicts is held against the same runs.
    """
    plan = plan_of(words)
    _quietly(plan)  # leaves byte code
    outcome = min((_quietly(plan) for _ in range(_OBSERVED)), key=lambda each: each.wall_ns)
    report = costs(plan, outcome)
    others = {row.name: row for row in also.plugins} if also is not None else {}
    for row in report.plugins:
        share = (row.saving_ns or 0) / report.wall_ns
        if share < NOTABLE or row.remedy is None:
            continue
        found = _verification(plan, outcome, report, row, rounds)
        yield _line(found, "the launcher", share)
        other = others.get(row.name)
        if other is not None and also is not None:
            again = verification_of(
                row.name,
                found.method,
                found.with_ns,
                found.without_ns,
                _cpu_saving_ns(other, also, found.with_ns),
            )
            yield _line(again, "--plugin-profile", (other.saving_ns or 0) / also.wall_ns)


def _quietly(plan: Plan) -> Outcome:
    saved = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        return observed(plan)
    finally:
        for number, kept in zip((1, 2), saved, strict=True):
            os.dup2(kept, number)
            os.close(kept)
        os.close(nowhere)


def _verification(
    plan: Plan, outcome: Outcome, report: CostReport, row: PluginCost, rounds: int
) -> Verification:
    """Return what `rounds` pairs of runs say, by CPU time, which a busy machine changes little."""
    arms = arms_of(plan, row, outcome.captures)
    used_ns: tuple[list[int], list[int]] = [], []
    for number in range(2 * rounds):
        arm = number % 2 ^ number // 2 % 2  # with, without; without, with; ...
        before_ns = _children_cpu_ns()
        if arm == 0:
            unobserved(arms.with_words, blocked=arms.with_blocked)
        else:
            unobserved(arms.without_words, blocked=arms.without_blocked)
        used_ns[arm].append(_children_cpu_ns() - before_ns)
    with_ns, without_ns = map(tuple, used_ns)
    predicted_ns = _cpu_saving_ns(row, report, with_ns)
    return verification_of(row.name, arms.method, with_ns, without_ns, predicted_ns)


def _cpu_saving_ns(row: PluginCost, report: CostReport, with_ns: Sequence[int]) -> int:
    """Return what a plugin is predicted to save of CPU time, in runs that take `with_ns`.

    The share that was predicted, of these runs: a busy machine makes the same work take longer.
    """
    saving_ns = (row.saving_ns or 0) * (row.cpu_ns or 0) / (row.self_ns or 1)
    return round(saving_ns * median(with_ns) / (report.cpu_ns - report.measuring.total_ns))


def _children_cpu_ns() -> int:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round((used.ru_utime + used.ru_stime) * 1e9)


def _line(found: Verification, predictor: str, share: float) -> Verification:
    interval = f"{found.low_ns / 1e6:.0f} to {found.high_ns / 1e6:.0f} ms"
    verdict = {True: "agrees", False: "DOES NOT", None: "too few"}[found.agrees]
    print(
        f"{found.plugin:<18}{predictor:<17}{share:>7.1%}{duration(found.predicted_ns or 0):>11}"
        f"{duration(max(0, found.saved_ns)):>9}  {interval:<17}{verdict}",
        flush=True,
    )
    return found


if __name__ == "__main__":
    sys.exit(main())
