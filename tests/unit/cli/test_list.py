"""`pluginhost list`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from pluginhost.report import PluginList, decode

Run = Callable[..., Result]

FILES = {
    "words.py": "raise SystemExit('imported')",
    "checksum.py": "raise SystemExit('imported')",
    "a-plugin-with-quite-a-long-name.py": "",
    "wrong id.py": "",
    "pluginhost.toml": """
        [plugins.words]
        version = "1.2.0"
        summary = "Counts words, and does so at a length that no table has room for"
        [plugins.ghost]
        entry = "nowhere"
        """,
}


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder of the test's own, so that paths in outputs are always the same."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("in_folder")
def test_list_as_a_whole(
    pluginhost: Run, plugin_folder: Any, matches_snapshot: Callable[[str, str], None]
) -> None:
    """Good ones in a row, broken ones with reason, remedy and place, in 80 columns."""
    plugin_folder(FILES)
    result = pluginhost("list", "--source", "plugins")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    matches_snapshot("list.txt", result.stdout)


@pytest.mark.parametrize("length", [1, 21, 22, 43, 44, 46, 47, 60, 100])
def test_an_id_is_shown_whole_as_long_as_there_is_room(
    pluginhost: Run, plugin_folder: Any, length: int
) -> None:
    """Ids are typed again; the summary gives way. Lines stay within 80 columns."""
    plugin_id = "x" * length
    manifest = f"[plugins.{plugin_id}]\nsummary = '{'words ' * 20}'"
    folder = plugin_folder({f"{plugin_id}.py": "", "pluginhost.toml": manifest})
    lines = pluginhost("list", "--source", folder).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert (plugin_id in lines[2].split()) is (length <= 46)
    assert "discovered folder" in lines[2]


@pytest.mark.usefixtures("in_folder")
def test_json_has_all_that_is_known(pluginhost: Run, plugin_folder: Any) -> None:
    """It is a `PluginList`, with the sources that were asked."""
    plugin_folder(FILES)
    result = pluginhost("list", "--source", "plugins", "--json")
    listing = decode(result.stdout, PluginList)
    assert listing.sources == ("plugins",)
    states = {info.id: str(info.state) for info in listing.plugins}
    assert states == {
        "a-plugin-with-quite-a-long-name": "discovered",
        "checksum": "discovered",
        "ghost": "failed",
        "words": "discovered",
        "wrong id": "failed",
    }


def test_several_sources_are_listed_together(pluginhost: Run, plugin_folder: Any) -> None:
    """In the order of their ids; a second claim to an id is shown as broken."""
    one = plugin_folder({"b.py": "", "c.py": ""}, name="one")
    two = plugin_folder({"a.py": "", "b.py": ""}, name="two")
    result = pluginhost("list", "-s", one, "-s", two, "--json")
    found = [(p["id"], p["state"]) for p in json.loads(result.stdout)["plugins"]]
    assert found == [
        ("a", "discovered"), ("b", "discovered"), ("b", "failed"), ("c", "discovered")
    ]  # fmt: skip


def test_an_empty_source_says_what_to_do(pluginhost: Run, tmp_path: Path) -> None:
    """Nothing found is no error, but no dead end either."""
    result = pluginhost("list", "--source", tmp_path)
    assert result.exit_code == 0
    assert result.stdout.startswith("no plugin in ")
    assert "--source FOLDER" in result.stdout


def test_a_source_that_there_is_not_is_wrong_usage(pluginhost: Run) -> None:
    """The message says what sources look like."""
    result = pluginhost("list", "--source", "no/such/folder")
    assert result.exit_code == 2
    assert "'no/such/folder' is not a plugin source" in result.stderr


def test_hostile_metadata_reaches_no_terminal(pluginhost: Run, plugin_folder: Any) -> None:
    """Escapes in a summary, a version or a broken manifest are shown, not obeyed."""
    folder = plugin_folder(
        {
            "a.py": "",
            "pluginhost.toml": '[plugins.a]\nsummary = "\\u001b[31mred\\u202e"\nversion = "\\u0007"',
            "b/__init__.py": "",
            "b/pluginhost.toml": '"\\u001b[31m" = 1',
        }
    )
    for arguments in ((), ("--json",)):
        output = pluginhost("list", "-s", folder, *arguments).output
        assert "red" in output
        assert output.replace("\n", "").isprintable()
