"""One program, run bare and run observed: what it did, and what a witness in it saw."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pluginhost.costs import CostReport
from pluginhost.report import read_report
from tests.proof.applications import Application
from tests.proof.environments import Environment

WITNESS = Path(__file__).parent / "witness"
_CHANGING = re.compile(
    r"\d+\.\d+(?= ?(m?s\b|sec|=|\]))|0x[0-9a-f]{6,}"
)  # times, and addresses of objects


class Run(NamedTuple):
    """What a program did: its exit code, its output but for times, and the files it made."""

    exit_code: int
    stdout: object
    stderr: str
    files: dict[str, bytes]


class Pair(NamedTuple):
    """The same program bare and observed, what was recorded, and its text in 80 columns.

    `witnessed` are the names of hooks by the names of plugins by projects, as they were registered
    when the observed program ended.
    """

    bare: Run
    observed: Run
    costs: CostReport
    text: str
    witnessed: dict[str, dict[str, list[str]]]


def both_ways(env: Environment, application: Application, folder: Path) -> Pair:
    """Run an application bare and observed, each time in a new folder of the same name."""
    results = folder / "results"
    results.mkdir()
    words = application.words
    bare = _run(env, application, words, folder / "here", ())
    profile = [env.python, "-m", "pluginhost", "profile", "--hooks"]
    profile += ["--output", str(results / "text"), "--save", str(results / "run"), "--"]
    observed = _run(env, application, [*profile, *words], folder / "here", (results,))
    costs = read_report(results / "run").costs
    assert costs is not None
    seen = json.loads((results / "seen").read_text())
    return Pair(bare, observed, costs, (results / "text").read_text(), seen)


def _run(
    env: Environment,
    application: Application,
    words: Sequence[str],
    here: Path,
    witness: Sequence[Path],
) -> Run:
    if here.exists():
        shutil.rmtree(here)
    for name, text in application.files.items():
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if application.before:
        assert env.run(application.before, cwd=here).returncode == 0
    variables = dict(application.variables)
    for results in witness:
        path = filter(None, (str(WITNESS), variables.get("PYTHONPATH")))
        variables |= {"PYTHONPATH": ":".join(path), "WITNESS_FILE": str(results / "seen")}
    done = env.run(words, cwd=here, given=application.given, environment=variables)
    made = {
        str(path.relative_to(here)): path.read_bytes()
        for pattern in application.keep
        for path in sorted(here.glob(pattern))
    }
    output = application.order(_CHANGING.sub("...", done.stdout))
    return Run(done.returncode, output, _CHANGING.sub("...", done.stderr), made)
