"""`pluginhost history`, and `--history` of other commands."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pluginhost.cli import main
from pluginhost.history.records import PluginTotalsList, RunList
from pluginhost.report import Report, decode, read_report, write_report
from pluginhost.series import Series

Run = Callable[..., Result]
MS = 1_000_000
PROGRAM = """
import pluggy
spec, impl = pluggy.HookspecMarker('shop'), pluggy.HookimplMarker('shop')
class Spec:
    @spec
    def sell(self): pass
class Plugin:
    @impl
    def sell(self): pass
manager = pluggy.PluginManager('shop')
manager.add_hookspecs(Spec)
manager.register(Plugin(), 'plugin')
manager.hook.sell()
"""
PLUGIN = "from pluginhost import hookimpl\n@hookimpl\ndef execute():\n    pass\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a plugin, and a history that the environment names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLUGINHOST_HISTORY", "history.sqlite")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "words.py").write_text(PLUGIN)
    return tmp_path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, report_of: Callable[..., Report]) -> Path:
    """A folder with 20 saved runs, in the second half of which `words` is slower, in a history."""
    folder = tmp_path_factory.mktemp("original")
    for number in range(20):
        level = MS if number < 10 else 2 * MS
        report = report_of(
            {"words": [level + 1_000 * (number % 3)] * 20}, created_timestamp_ns=10**18 + number
        )
        write_report(report, folder / f"{number:02}.json")
    files = sorted(str(path) for path in folder.glob("*.json"))
    words = ["history", "record", *files, "--branch", "main", "--revision", "abc123"]
    result = CliRunner().invoke(main, [*words, "--history", str(folder / "history.sqlite")])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].endswith("19.json: run 20")
    return folder


@pytest.fixture
def many(folder: Path, original: Path) -> Path:
    """A copy of that folder to work in."""
    shutil.copytree(original, folder, dirs_exist_ok=True)
    return folder


def test_a_run_is_kept_and_listed(pluginhost: Run, folder: Path) -> None:
    """With what became of everything, and as JSON."""
    for _ in range(2):
        result = pluginhost("run", "--source", "plugins", "--repeat", 5, "--history")
        assert result.exit_code == 0, result.output
        assert "history: 7 of 7 occurrences kept in history.sqlite" in result.stderr
    shown = pluginhost("history", "runs").stdout
    assert shown.startswith("2 runs in history.sqlite\n")
    assert max(map(len, shown.splitlines())) <= 80
    listed = decode(pluginhost("history", "runs", "--json").stdout, RunList)
    assert [run.occurrence_count for run in listed.runs] == [7, 7]
    plugins = decode(pluginhost("history", "plugins", "--json").stdout, PluginTotalsList)
    assert [(row.plugin, row.count, row.run_count) for row in plugins.plugins] == [("words", 10, 2)]
    assert "words" in pluginhost("history", "plugins").stdout


def test_a_trend_tells_what_changed_first(pluginhost: Run, many: Path) -> None:
    """Then a plot, a table, and what is to be known about it."""
    result = pluginhost("history", "trend", "words")
    lines = result.stdout.splitlines()
    assert lines[0] == "words: median by run, 20 points"
    assert lines[1].startswith("! words median 1.00ms -> 2.00ms (+100 %) from run 11 on")
    assert "forecast (an estimate)" in result.stdout
    assert "o" * 10 in result.stdout
    assert "x" + "o" * 9 in result.stdout
    assert max(map(len, lines)) <= 80
    series = decode(pluginhost("history", "trend", "words", "--json").stdout, Series)
    assert [change.label for change in series.change_points] == ["11"]


def test_a_change_for_the_worse_can_fail_a_build(pluginhost: Run, many: Path) -> None:
    """The exit code says so."""
    assert pluginhost("history", "trend", "words", "--fail-on-change").exit_code == 1
    steady = ("--last", "10", "--fail-on-change")
    assert pluginhost("history", "trend", "words", *steady).exit_code == 0


@pytest.mark.parametrize("by", ["version", "minute", "hour", "day"])
def test_a_trend_is_over_versions_or_time(by: str, pluginhost: Run, many: Path) -> None:
    """Each with its points."""
    result = pluginhost("history", "trend", "words", "--by", by)
    assert result.exit_code == (3 if by in ("minute", "hour") else 0), result.output
    if by == "day":
        assert "2001-09-09" in result.stdout


def test_the_gate_takes_runs_of_the_history(pluginhost: Run, many: Path) -> None:
    """As baseline and as the run to judge, by default the latest, which is not its own baseline."""
    assert pluginhost("gate", "--baseline", "last:5").exit_code == 0
    failed = pluginhost("gate", "11", "--baseline", "8", "--baseline", "9", "--baseline", "10")
    assert failed.exit_code == 1
    assert failed.stdout.startswith("failed: words (+100")
    assert pluginhost("gate", "19.json", "--baseline", "branch:main:3").exit_code == 0
    unknown = pluginhost("gate", "--baseline", "branch:other")
    assert unknown.exit_code == 3
    assert "no run in" in unknown.stderr


def test_a_report_knows_what_the_history_knows(pluginhost: Run, many: Path) -> None:
    """A run that is kept carries its course, for reports and pages made of it."""
    report = read_report("19.json")
    write_report(report, "again.json")
    assert report.series == ()
    for _ in range(2):
        pluginhost("run", "--source", "plugins", "--repeat", 3, "--history", "--save", "now.json")
    series = read_report("now.json").series
    assert [(one.plugin, len(one.points)) for one in series] == [("words", 22)]


def test_a_program_is_kept_too(pluginhost: Run, folder: Path, capfd: Any) -> None:
    """`profile --history` puts the report of a program there when it has ended."""
    (folder / "program.py").write_text(PROGRAM)
    result = pluginhost("profile", "--history", "--", sys.executable, "program.py")
    assert result.exit_code == 0, result.output
    assert "kept as run 1 in history.sqlite" in result.stderr
    listed = decode(pluginhost("history", "runs", "--json").stdout, RunList)
    assert listed.runs[0].label.origin == "saved"


def test_what_was_kept_live_does_not_count_twice(pluginhost: Run, folder: Path) -> None:
    """Its saved report is known by its id, there; in another history it is a run, once."""
    for number in (1, 2):
        file = f"{number}.json"
        pluginhost("run", "-s", "plugins", "--repeat", 5, "--save", file, "--history")
        result = pluginhost("history", "record", file)
        assert result.stdout == f"{file}: run {number}, which was there already\n"
        listed = decode(pluginhost("history", "plugins", "--json").stdout, PluginTotalsList)
        assert [(row.count, row.run_count) for row in listed.plugins] == [(5 * number, number)]
    for expected in ("1.json: run 1\n", "1.json: run 1, which was there already\n"):
        assert pluginhost("history", "record", "1.json", "--history", "b.sqlite").stdout == expected


def test_a_program_that_was_kept_does_not_count_twice(
    pluginhost: Run, folder: Path, capfd: Any
) -> None:
    """Although its saved report has what the history knew of it as well."""
    (folder / "program.py").write_text(PROGRAM)
    for number in (1, 2):
        words = ("--history", "--save", "now.json", "--", sys.executable, "program.py")
        assert pluginhost("profile", *words).exit_code == 0
        result = pluginhost("history", "record", "now.json")
        assert result.stdout == f"now.json: run {number}, which was there already\n"
    assert read_report("now.json").series


def test_forgetting_says_how_much(pluginhost: Run, folder: Path) -> None:
    """What is removed, and what is left; a schema that is new needs no upgrade."""
    pluginhost("run", "--source", "plugins", "--history")
    assert "removed 2 occurrences" in pluginhost("history", "prune", "--older-than", 0).stdout
    assert "schema" in pluginhost("history", "upgrade").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(("history", "runs"), 3, "there is no history", id="no history"),
        pytest.param(("history", "prune"), 3, "there is no history", id="nothing to prune"),
        pytest.param(("history", "runs", "--history", "mysql://x"), 3, "cannot be in", id="MySQL"),
        pytest.param(("run", "--history", "words"), 2, "no file or URL", id="a plugin for a place"),
        pytest.param(("gate", "--baseline", "last"), 3, "there is no history", id="no baseline"),
        pytest.param(("history", "record", "none.json"), 3, "none.json", id="no file"),
    ],
)
def test_mistakes_are_told(
    arguments: tuple[str, ...], code: int, said: str, pluginhost: Run, folder: Path
) -> None:
    """In one message, without a traceback."""
    result = pluginhost(*arguments)
    assert result.exit_code == code, result.output
    assert said in result.stderr


def test_without_the_extra_it_is_named(
    pluginhost: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every command that needs it, before anything is run."""
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    for arguments in (
        ("history", "runs"),
        ("run", "-s", "plugins", "--history"),
        ("gate", "--baseline", "last"),
    ):
        result = pluginhost(*arguments)
        assert result.exit_code == 2, result.output
        assert "pip install 'pluginhost[history]'" in result.stderr


def test_anomalies_are_shown(pluginhost: Run, folder: Path) -> None:
    """What was not as before in the same run, in the text and the JSON."""
    (folder / "plugins" / "words.py").write_text(
        "import time\nfrom pluginhost import hookimpl\ncalls = []\n@hookimpl\ndef execute():\n"
        "    calls.append(1)\n    time.sleep(0.03 if len(calls) == 290 else 0.0005)\n"
    )
    result = pluginhost("run", "-s", "plugins", "-n", 300, "--anomalies", "--json", "now.json")
    assert "Not as it was before, in this run" in result.stdout
    assert any(a["kind"] == "slow" for a in json.loads(Path("now.json").read_text())["anomalies"])
