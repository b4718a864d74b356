"""`pluginhost export`."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from pluginhost.cli.export import _print, command
from pluginhost.report import Report, write_report

Run = Callable[..., Result]


class Terminal(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        return self.buffer.getvalue().decode()


@pytest.fixture
def saved(tmp_path: Path, report_of: Callable[..., Report]) -> Path:
    """Return a saved run."""
    path = tmp_path / "run.json"
    write_report(report_of({"checksum": [1_000_000, 3_000_000], "words": [500_000]}), path)
    return path


def test_a_run_is_exported_to_a_file(pluginhost: Run, saved: Path, tmp_path: Path) -> None:
    """With -o the file holds the run in the format, and nothing is printed."""
    result = pluginhost("export", "speedscope", saved, "-o", tmp_path / "out.json")
    assert (result.exit_code, result.output) == (0, "")
    assert json.loads((tmp_path / "out.json").read_text())["profiles"][0]["endValue"] == 4_500_000


def test_a_run_is_exported_to_standard_output(pluginhost: Run, saved: Path) -> None:
    """Without -o, it is written as it is."""
    result = pluginhost("export", "folded", saved)
    assert result.stdout == "all plugins;checksum 4000\nall plugins;words 500\n"


def test_an_unknown_format_is_wrong_usage(pluginhost: Run, saved: Path) -> None:
    """It ends with 2 and names what is near."""
    result = pluginhost("export", "fold", saved)
    assert result.exit_code == 2
    assert "did you mean 'folded'?" in result.stderr


def test_the_help_lists_all_formats_in_eighty_columns(pluginhost: Run) -> None:
    """Each format has its line."""
    from pluginhost.exporters import EXPORTERS

    lines = pluginhost("export", "--help").output.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(any(line.split()[:1] == [name] for line in lines) for name in EXPORTERS)


def test_a_terminal_is_not_given_what_it_would_obey(monkeypatch: pytest.MonkeyPatch) -> None:
    """Escapes in names are shown as text there."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    _print("a,\x1b[31mred\nb,\x07\n")
    assert terminal.text() == "a,\\x1b[31mred\nb,\\x07\n"


def test_bytes_are_not_written_to_a_terminal(monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    """A binary format asks for a file."""
    from pluginhost.exporters import EXPORTERS

    (name, *_) = [name for name, each in EXPORTERS.items() if each.binary]
    monkeypatch.setattr(sys, "stdout", Terminal())
    with pytest.raises(click.UsageError, match="give --output FILE"):
        command.main([name, str(saved)], standalone_mode=False)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(("csv", "no-such-file"), 3, id="no run"),
        pytest.param(("csv", "{saved}", "-o", "/no/such/folder/x"), 2, id="no folder"),
    ],
)
def test_what_cannot_be_read_or_written_is_told(
    pluginhost: Run, saved: Path, arguments: tuple[str, ...], code: int
) -> None:
    """It is one line and an exit code."""
    result = pluginhost("export", *(word.format(saved=saved) for word in arguments))
    assert result.exit_code == code
    assert "Error" in result.stderr
