"""Shell completion: the scripts, and what is completed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import Result

from pluginhost.cli import COMMANDS, main
from pluginhost.cli.group import module_of

Run = Callable[..., Result]


def _completed(*words: object) -> list[tuple[str, str | None]]:
    """Return values and helps for the last of `words`."""
    *before, incomplete = [str(word) for word in words]
    shell = ShellComplete(main, {}, "pluginhost", "_PLUGINHOST_COMPLETE")
    return [(item.value, item.help) for item in shell.get_completions(before, incomplete)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_for_this_program(pluginhost: Run, shell: str) -> None:
    """It asks this program for what can follow."""
    result = pluginhost("completion", shell)
    assert result.exit_code == 0
    assert f"_PLUGINHOST_COMPLETE={shell}_complete" in result.stdout


def test_an_unknown_shell_is_wrong_usage(pluginhost: Run) -> None:
    """The known ones are named."""
    result = pluginhost("completion", "tcsh")
    assert result.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in result.stderr


def test_commands_are_completed_with_their_help() -> None:
    """All of them, or those that begin so."""
    assert _completed("") == list(COMMANDS.items())
    assert _completed("re") == [("report", COMMANDS["report"])]


def test_options_are_completed() -> None:
    """Those of the command; of the program before it."""
    assert [value for value, _ in _completed("run", "--rep")] == ["--repeat"]
    assert [value for value, _ in _completed("--ver")] == ["--version"]


def test_plugins_are_completed_from_the_sources_given(plugin_folder: Any) -> None:
    """Their summary is the help; none is imported."""
    folder = plugin_folder(
        {
            "words.py": "raise SystemExit",
            "wards.py": "raise SystemExit",
            "other.py": "",
            "pluginhost.toml": '[plugins.words]\nsummary = "Counts \\u001b words"',
        }
    )
    assert _completed("run", "--source", folder, "w") == [
        ("wards", ""),
        ("words", "Counts \\x1b words"),
    ]


def test_plugins_are_completed_from_entry_points_by_default(distribution: Any) -> None:
    """Nothing but the name needs to be typed."""
    distribution("words", "[pluginhost.plugins]\nqq-words = words_plugin\n")
    assert [value for value, _ in _completed("run", "qq-")] == ["qq-words"]


def test_a_bad_source_completes_nothing() -> None:
    """An error in the middle of a command line helps nobody."""
    assert _completed("run", "--source", "no/such/folder", "w") == []


def test_unprintable_ids_are_not_completed(plugin_folder: Any) -> None:
    """Completion writes to the terminal as it is."""
    folder = plugin_folder({"a\x1b[31m.py": "", "ab.py": ""})
    assert [value for value, _ in _completed("run", "-s", folder, "a")] == ["ab"]


def test_a_prefix_of_nothing_completes_nothing() -> None:
    """Neither commands nor options begin so."""
    assert _completed("zzz") == []


OPTIONS_OF_FILES = [
    pytest.param(name, option.opts[0], id=f"{name} {option.opts[0]}")
    for name in COMMANDS
    for option in import_module(module_of(name)).command.params
    if option.metavar == "FILE" or (option.param_type_name == "argument" and option.name == "file")
]


@pytest.mark.parametrize(("command", "option"), OPTIONS_OF_FILES)
def test_file_names_are_left_to_the_shell(command: str, option: str) -> None:
    """Wherever a file is named, the shell completes it."""
    shell = ShellComplete(main, {}, "pluginhost", "_PLUGINHOST_COMPLETE")
    before = [command, option] if option.startswith("-") else [command]
    (item,) = shell.get_completions(before, "some")
    assert (item.type, item.value) == ("file", "some")


def test_sources_are_words_and_folders() -> None:
    """Folders are the shell's business, and come first: of what is before them, bash forgets all."""
    shell = ShellComplete(main, {}, "pluginhost", "_PLUGINHOST_COMPLETE")
    items = shell.get_completions(["run", "--source"], "")
    assert [(item.type, item.value) for item in items] == [
        ("dir", ""),
        ("plain", "entry-points"),
        ("plain", "module:"),
    ]
    (item,) = shell.get_completions(["list", "-s"], "plug")
    assert (item.type, item.value) == ("dir", "plug")
