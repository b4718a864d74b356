"""`pluginhost lock`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]

GOOD = "from pluginhost import hookimpl\n@hookimpl\ndef execute(): pass\n"


@pytest.fixture
def folder(plugin_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two plugins, beside which the commands run."""
    monkeypatch.chdir(tmp_path)
    made: Path = plugin_folder({"a.py": GOOD, "b/__init__.py": GOOD, "b/more.py": ""})
    return made


def test_a_lock_names_every_file_and_imports_none(pluginhost: Run, folder: Path) -> None:
    """The file has each plugin with its files; plugins that would exit are not run for it."""
    (folder / "a.py").write_text("raise SystemExit('imported')")
    result = pluginhost("lock", "--source", folder)
    assert (result.exit_code, result.stdout) == (
        0,
        "locked 2 plugins, 3 files, in pluginhost.lock\n",
    )
    plugins = json.loads(Path("pluginhost.lock").read_text())["plugins"]
    assert {i: sorted(plugin["files"]) for i, plugin in plugins.items()} == {
        "a": ["a.py"],
        "b": ["__init__.py", "more.py"],
    }


def test_only_what_is_named_is_locked(pluginhost: Run, folder: Path) -> None:
    """A lock of one plugin lets no other in."""
    assert pluginhost("lock", "b", "--source", folder, "--file", "mine").exit_code == 0
    assert list(json.loads(Path("mine").read_text())["plugins"]) == ["b"]
    result = pluginhost("run", "--source", folder, "--lock", "mine")
    assert "it is not in the lock file" in result.stdout


def test_checking_tells_every_difference(pluginhost: Run, folder: Path) -> None:
    """Nothing is written, and the exit code says whether all is as it was."""
    pluginhost("lock", "--source", folder)
    before = Path("pluginhost.lock").read_bytes()
    same = pluginhost("lock", "--check", "--source", folder)
    assert (same.exit_code, same.stdout) == (0, "2 plugins are as pluginhost.lock says\n")
    (folder / "a.py").write_text(GOOD + "#")
    (folder / "b/more.py").unlink()
    (folder / "b/new.py").touch()
    (folder / "c.py").write_text(GOOD)
    differs = pluginhost("lock", "--check", "--source", folder)
    assert differs.exit_code == 1
    assert differs.stdout.splitlines() == [
        "c: not in the lock file",
        "a: a.py was changed",
        "b: more.py is missing",
        "b: new.py is new",
    ]
    (folder / "a.py").unlink()
    assert "a: is gone" in pluginhost("lock", "--check", "--source", folder).stdout
    assert Path("pluginhost.lock").read_bytes() == before


def test_what_cannot_be_locked_is_said(pluginhost: Run, folder: Path) -> None:
    """The others are locked; the exit code says that it is not all."""
    (folder / "link.py").symlink_to(folder / "a.py")
    result = pluginhost("lock", "--source", folder)
    assert result.exit_code == 1
    assert "not locked: plugin 'link'" in result.stderr
    assert "locked 2 plugins" in result.stdout


def test_an_empty_folder_writes_nothing(pluginhost: Run, folder: Path) -> None:
    """A lock that lets nothing in is not made by mistake."""
    (folder.parent / "empty").mkdir()
    result = pluginhost("lock", "--source", folder.parent / "empty")
    assert (result.exit_code, "nothing to lock" in result.stderr) == (1, True)
    assert not Path("pluginhost.lock").exists()


@pytest.mark.parametrize("how", ["directory", "check without a file"])
def test_a_file_that_cannot_be_used(pluginhost: Run, folder: Path, how: str) -> None:
    """One line and the exit code of broken files."""
    options = ["--file", "."] if how == "directory" else ["--check"]
    result = pluginhost("lock", "--source", folder, *options)
    assert result.exit_code == 3
    assert "Error: " in result.stderr


def test_an_unknown_plugin_is_wrong_usage(pluginhost: Run, folder: Path) -> None:
    """As everywhere, near names are suggested."""
    result = pluginhost("lock", "c", "--source", folder)
    assert result.exit_code == 2
