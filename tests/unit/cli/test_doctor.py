"""`pluginhost doctor`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]

GOOD = "from pluginhost import hookimpl\n@hookimpl\ndef execute(): pass\n"
TEARDOWN = "@hookimpl\ndef teardown(): raise OSError('the disk is full')\n"


@pytest.fixture(autouse=True)
def _mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a SQLite of which there is nothing to say."""
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 51, 3))


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back what the plugins here change."""
    monkeypatch.setenv("DOCTORED", "before")


def test_healthy_plugins(pluginhost: Run, plugin_folder: Any) -> None:
    """There is nothing to say, whether they are loaded or only looked at."""
    folder = plugin_folder({"a.py": GOOD, "b.py": GOOD})
    for options in ([], ["--load"], ["a"]):
        result = pluginhost("doctor", "--source", folder, *options)
        assert result.exit_code == 0
        assert " nothing to say, in " in result.stdout.splitlines()[1]
        assert len(result.stdout.splitlines()) == 2


def test_looking_imports_nothing(
    pluginhost: Run, plugin_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can be told without running any code: names, manifests, rights, requirements, locks."""
    monkeypatch.chdir(tmp_path)
    folder = plugin_folder({"a.py": "raise SystemExit('imported')", "b.py": GOOD})
    pluginhost("lock", "--source", folder)
    manifest = "[plugins.a]\nrequires = ['ghost']\n[plugins.nowhere]\n[plugins.b]\nversions = 1\n"
    plugin_folder({"a.py": "raise SystemExit('twice')", "pluginhost.toml": manifest})
    (folder / "link.py").symlink_to(folder / "a.py")
    result = pluginhost("doctor", "--source", "plugins", "--lock", "pluginhost.lock")
    assert result.exit_code == 1
    text = " ".join(result.stdout.split())
    for expected in (
        "! a refused it is not what the lock file says: a.py was changed",
        "! a incomplete it requires ghost, which is not there -> add it",
        "! b failed",
        "! link failed",
        "is a symbolic link",
        "! nowhere failed there is no plugin file 'nowhere' in plugins",
        "4 plugins, 5 findings, in plugins",
    ):
        assert expected in text
    assert "imported" not in text


@pytest.mark.usefixtures("environment")
def test_loading_shows_what_a_plugin_changes_and_leaves(
    pluginhost: Run, plugin_folder: Any
) -> None:
    """Failed imports, changes of the process, survivors and failed teardowns, each with its plugin."""
    files = {
        "broken.py": "1 / 0",
        "changes.py": "import os\nos.environ['DOCTORED'] = 'x'\n" + GOOD,
        "leaves.py": "import colorsys\ndef mine(): pass\ncolorsys.mine = mine\n" + GOOD,
        "raises.py": GOOD + TEARDOWN,
        "prints.py": "print('loudly')\n" + GOOD,
    }
    result = pluginhost("doctor", "--source", plugin_folder(files), "--load")
    import colorsys

    del colorsys.mine  # type: ignore[attr-defined]
    assert result.exit_code == 1
    text = " ".join(result.stdout.split())
    for expected in (
        "! broken failed",
        "ZeroDivisionError",
        "! changes changes the process when it is loaded environment variable DOCTORED: changed",
        "! leaves leaves behind when it is unloaded",
        "colorsys.mine, which is its mine()",
        "! a teardown raised OSError: the disk is full",
        "5 findings",
    ):
        assert expected in text
    assert "loudly" not in result.stdout


def test_safe_mode_loads_only_what_is_named(pluginhost: Run, plugin_folder: Any) -> None:
    """Not even what it requires; without a name, that is asked for."""
    manifest = "[plugins.a]\nrequires = ['b']\n"
    folder = plugin_folder({"a.py": GOOD, "b.py": GOOD, "pluginhost.toml": manifest})
    arguments = ["doctor", "--source", folder, "--load", "--safe-mode"]
    assert pluginhost(*arguments, "b").exit_code == 0
    assert "it requires plugin 'b'" in pluginhost(*arguments, "a").stdout
    assert pluginhost(*arguments).exit_code == 2


def test_an_unknown_plugin_is_wrong_usage(pluginhost: Run, plugin_folder: Any) -> None:
    """As everywhere, near names are suggested."""
    result = pluginhost("doctor", "aa", "--source", plugin_folder({"a.py": GOOD}))
    assert (result.exit_code, "did you mean 'a'?" in result.stderr) == (2, True)


def test_a_sqlite_that_can_corrupt_a_database_is_told(
    pluginhost: Run, plugin_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a note, not a finding about a plugin: the exit code stays 0."""
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 51, 2))
    result = pluginhost("doctor", "--source", plugin_folder({"a.py": GOOD}))
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "1 plugin, nothing to say" in text
    assert "note SQLite 3.51.2, which this Python is linked with, has the WAL-reset bug" in text
    assert "It is mended in 3.51.3, 3.50.7, 3.44.6." in text
    assert max(map(len, result.stdout.splitlines())) <= 80
