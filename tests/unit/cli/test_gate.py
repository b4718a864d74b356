"""`pluginhost gate`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from pluginhost.comparison import Gate
from pluginhost.report import Report, decode, write_report

Run = Callable[..., Result]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report_of: Callable[..., Report]) -> None:
    """Save a baseline and a run in which one plugin is slower, in the working folder."""
    monkeypatch.chdir(tmp_path)
    write_report(report_of({"words": [1_000_000] * 40, "slow": [2_000_000] * 40}), "main.json")
    write_report(report_of({"words": [1_000_000] * 40, "slow": [3_000_000] * 40}), "now.json")


def test_the_exit_code_is_the_answer(pluginhost: Run, runs: None) -> None:
    """1 where a plugin is over its budget, 0 where all are within."""
    failed = pluginhost("gate", "now.json", "--baseline", "main.json")
    assert failed.exit_code == 1
    assert failed.stdout.startswith("failed: slow (+50.")
    passed = pluginhost("gate", "now.json", "--baseline", "main.json", "--budget", "slow=60%")
    assert passed.exit_code == 0, passed.output


def test_json_is_the_gate(pluginhost: Run, runs: None) -> None:
    """With the answer on standard error, for the log."""
    result = pluginhost("gate", "now.json", "--baseline", "main.json", "--json")
    gate = decode(result.stdout, Gate)
    assert json.loads(result.stdout)["passed"] is False
    assert [row.plugin for row in gate.culprits] == ["slow"]
    assert result.stderr.startswith("failed: slow")


def test_summaries_are_appended(
    pluginhost: Run, runs: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """To a file, and to that of the GitHub step, after what others wrote."""
    step = tmp_path / "step.md"
    step.write_text("# Before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    files: tuple[Any, ...] = ("--summary", "github", "--summary", "own.md")
    pluginhost("gate", "now.json", "--baseline", "main.json", *files)
    assert step.read_text() == "# Before\n" + Path("own.md").read_text()
    assert "| ❌ | slow |" in Path("own.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(("--budget", "slow"), 2, "is not a budget", id="no budget"),
        pytest.param(("--budget", "wrods=5%"), 2, "in neither run", id="misspelt"),
        pytest.param(("--summary", "github"), 2, "GITHUB_STEP_SUMMARY", id="not on GitHub"),
        pytest.param(("--summary", "no/such/folder"), 3, "cannot be written", id="no folder"),
        pytest.param(("--baseline", "none.json"), 3, "none.json", id="no baseline"),
    ],
)
@pytest.mark.usefixtures("runs")
def test_mistakes_are_told(
    pluginhost: Run,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    """In one message, with an exit code that is not that of a gate that closes."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    result = pluginhost("gate", "now.json", "--baseline", "main.json", *arguments)
    assert result.exit_code == code
    assert said in result.stderr
