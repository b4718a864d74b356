"""The command as a whole: help, lazy commands, and how errors end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import Result

from pluginhost import errors
from pluginhost.cli import COMMANDS, main
from pluginhost.cli.group import module_of

Run = Callable[..., Result]

HEAVY = (
    "msgspec", "pluggy", "rich", "structlog", "psutil", "packaging", "asyncio", "importlib.metadata",
    "pluginhost.report", "pluginhost.host", "pluginhost.observation", "pluginhost.rendering",
)  # fmt: skip


def _modules_after(*arguments: str) -> set[str]:
    """Return the modules imported by a new process that ran the command."""
    program = (
        "import json, sys\n"
        "from pluginhost.cli import main\n"
        f"main({list(arguments)!r}, prog_name='pluginhost', standalone_mode=False)\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_no_command_and_nothing_heavy() -> None:
    """`pluginhost --help` needs click and the list of commands, no more."""
    imported = _modules_after("--help")
    assert "click" in imported
    assert imported.isdisjoint(HEAVY)
    assert imported.isdisjoint(set(map(module_of, COMMANDS)))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_imports_that_command_only(name: str) -> None:
    """The work's own imports wait until there is work."""
    imported = _modules_after(name, "--help")
    assert imported.isdisjoint(HEAVY)
    assert imported & set(map(module_of, COMMANDS)) == {module_of(name)}


def test_help_as_a_whole(pluginhost: Run, matches_snapshot: Callable[[str, str], None]) -> None:
    """The first thing anybody reads, within 80 columns."""
    result = pluginhost("--help")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    matches_snapshot("help.txt", result.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(pluginhost: Run, name: str) -> None:
    """Its help begins with its line in the list, and says each option and the exit codes."""
    result = pluginhost(name, "--help")
    assert COMMANDS[name] in " ".join(result.stdout.split())
    assert "Exit codes:\n" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    command = import_module(module_of(name)).command
    assert command.name == name
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"--{parameter.name} has no help"


def test_short_help_flag(pluginhost: Run) -> None:
    """-h is --help."""
    assert pluginhost("-h").stdout == pluginhost("--help").stdout


def test_version(pluginhost: Run) -> None:
    """--version names the program and its version."""
    from importlib.metadata import version

    assert pluginhost("--version").stdout == f"pluginhost {version('pluginhost')}\n"


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        pytest.param("lst", " Did you mean 'list'?", id="near"),
        pytest.param("qqq", "", id="near nothing"),
        pytest.param("\x1b[31mqqq", "", id="hostile"),
    ],
)
def test_an_unknown_command_suggests_a_near_one(pluginhost: Run, typed: str, hint: str) -> None:
    """The usage error names what was typed, made safe, and what may have been meant."""
    result = pluginhost(typed)
    assert result.exit_code == 2
    assert f"There is no command {typed!r}.{hint}\n" in result.stderr
    assert "\x1b" not in result.stderr


def test_an_unknown_option_is_a_usage_error(pluginhost: Run) -> None:
    """It is not taken for a command."""
    result = pluginhost("--nope")
    assert result.exit_code == 2
    assert "No such option" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(errors.DiscoveryError("no such source"), 2, id="source"),
        pytest.param(errors.PluginNotFoundError("no such plugin"), 2, id="plugin"),
        pytest.param(errors.InvalidValueError("nonsense"), 2, id="value"),
        pytest.param(errors.ReportFileError("not a report"), 3, id="file"),
        pytest.param(KeyboardInterrupt(), 130, id="Ctrl-C"),
        pytest.param(BrokenPipeError(), 141, id="closed pipe"),
    ],
)
def test_errors_end_as_a_message_and_an_exit_code(
    pluginhost: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    """No traceback, the message once, the documented code."""

    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr("pluginhost.cli.list.command", failing)
    result = pluginhost("list")
    assert result.exit_code == code
    assert "Traceback" not in result.output
    if isinstance(error, errors.PluginHostError):
        assert result.stderr == f"Error: {error}\n"
    assert result.stdout == ""


def test_a_defect_of_our_own_is_not_hidden(
    pluginhost: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that is not of this package keeps its traceback."""

    @click.command()
    def failing() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("pluginhost.cli.list.command", failing)
    with pytest.raises(ZeroDivisionError):
        pluginhost("list")


def test_commands_are_the_modules_that_have_one() -> None:
    """COMMANDS leaves none out."""
    folder = Path(import_module("pluginhost.cli").__file__ or "").parent
    with_command = {
        f"pluginhost.cli.{path.stem}"
        for path in folder.glob("*.py")
        if "\ndef command(" in path.read_text()
    }
    assert with_command == set(map(module_of, COMMANDS))
    assert main.list_commands(click.Context(main)) == list(COMMANDS)
