"""Plugins found in a folder, before anything is imported."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from pluginhost import PluginHost
from pluginhost.errors import DiscoveryError, InvalidValueError, PluginHostError
from pluginhost.host.sources import source_from_text
from pluginhost.host.sources.entry_points import EntryPointSource
from pluginhost.host.sources.folders import FolderSource
from pluginhost.host.sources.modules import ModuleSource
from pluginhost.report import PluginState

BOMB = "raise SystemError('this module must not be imported')"


def found(folder):
    """Return the infos of all candidates in a folder, in the order in which they come."""
    return [candidate.info for candidate in FolderSource(folder).discover()]


def ids(folder):
    """Return the ids of all candidates in a folder, in the order in which they come."""
    return [info.id for info in found(folder)]


def test_files_and_packages_are_plugins_by_their_names(plugin_folder):
    """`NAME.py` and `NAME/__init__.py` are found, in order; other things are not plugins."""
    folder = plugin_folder(
        {
            "zip.py": BOMB,
            "archive/__init__.py": BOMB,
            "archive/inner.py": BOMB,
            "notes.txt": "",
            "data/values.csv": "",
            "_private.py": BOMB,
            ".hidden.py": BOMB,
            "__pycache__/zip.cpython-311.pyc": b"",
        }
    )
    assert ids(folder) == ["archive", "zip"]


def test_nothing_is_imported(plugin_folder):
    """Discovery does not run the plugins, nor leave anything in `sys.modules` or `sys.path`."""
    folder = plugin_folder({"a.py": BOMB, "pkg/__init__.py": BOMB})
    modules, path = set(sys.modules), list(sys.path)
    assert [info.state for info in found(folder)] == [PluginState.DISCOVERED] * 2
    assert set(sys.modules) == modules
    assert sys.path == path


def test_the_manifest_describes_a_file(plugin_folder):
    """What `pluginhost.toml` says is in the info, together with where the file is."""
    folder = plugin_folder(
        {
            "pluginhost.toml": """
                [plugins.resize]
                version = "2.1"
                api = ">=1"
                summary = "Smaller images"
                requires = ["checksum"]
                after = ["zip"]
                capabilities = ["image"]
            """,
            "resize.py": BOMB,
        }
    )
    (info,) = found(folder)
    assert info.source == "folder"
    assert info.location == str(folder / "resize.py")
    assert (info.version, info.requires_api, info.summary) == ("2.1", ">=1", "Smaller images")
    assert (info.requires, info.after, info.capabilities) == (("checksum",), ("zip",), ("image",))


def test_several_ids_may_share_a_file(plugin_folder):
    """A file that the manifest gives to other ids is not a plugin by its own name as well."""
    folder = plugin_folder(
        {
            "pluginhost.toml": '[plugins.one]\nentry = "both:One"\n'
            '[plugins.two]\nentry = "both:Two"\n',
            "both.py": BOMB,
        }
    )
    assert ids(folder) == ["one", "two"]


def test_a_package_may_carry_its_own_manifest(plugin_folder):
    """Its entries are attributes of the package, with or without its name before the colon."""
    folder = plugin_folder(
        {
            "pkg/__init__.py": BOMB,
            "pkg/pluginhost.toml": '[plugins.one]\nentry = ":One"\n[plugins.two]\nentry = "pkg:Two"'
            "\n[plugins.pkg]\nversion = '3'\n",
        }
    )
    assert [(info.id, info.version) for info in found(folder)] == [
        ("one", None),
        ("pkg", "3"),
        ("two", None),
    ]


def test_a_package_knows_itself_best(plugin_folder):
    """What a package says of an id replaces what the folder's manifest says of the same."""
    folder = plugin_folder(
        {
            "pluginhost.toml": "[plugins.pkg]\nversion = '1'\n",
            "pkg/__init__.py": BOMB,
            "pkg/pluginhost.toml": "[plugins.pkg]\nversion = '2'\n",
        }
    )
    assert [info.version for info in found(folder)] == ["2"]


def test_a_package_speaks_for_itself_only(plugin_folder):
    """An entry of a package's manifest that names something else fails, and says what to write."""
    folder = plugin_folder(
        {
            "pkg/__init__.py": BOMB,
            "pkg/pluginhost.toml": '[plugins.x]\nentry = "other:X"\n',
            "other.py": BOMB,
        }
    )
    other, x = found(folder)
    assert (other.id, other.state) == ("other", PluginState.DISCOVERED)
    assert x.state is PluginState.FAILED
    assert "'other:X'" in x.error
    assert ":ATTRIBUTE" in x.remedy


def test_a_broken_package_manifest_fails_alone(plugin_folder):
    """The package is listed as failed, once; its neighbours are found."""
    folder = plugin_folder(
        {"bad/__init__.py": BOMB, "bad/pluginhost.toml": "[", "good.py": BOMB},
    )
    bad, good = found(folder)
    assert (bad.id, bad.state, good.id, good.state) == (
        "bad",
        PluginState.FAILED,
        "good",
        PluginState.DISCOVERED,
    )
    assert str(folder / "bad" / "pluginhost.toml") in bad.error
    assert bad.remedy


def test_a_broken_table_fails_alone(plugin_folder):
    """One plugin's mistake in the folder's manifest is not another's."""
    folder = plugin_folder(
        {
            "pluginhost.toml": "[plugins.bad]\nversoin = '1'\n[plugins.good]\nversion = '1'\n",
            "bad.py": BOMB,
            "good.py": BOMB,
        }
    )
    assert [(info.id, info.state) for info in found(folder)] == [
        ("bad", PluginState.FAILED),
        ("good", PluginState.DISCOVERED),
    ]


def test_an_unreadable_manifest_fails_the_folder(plugin_folder):
    """Without it there is no telling which files are plugins: one entry says so."""
    folder = plugin_folder({"pluginhost.toml": "[", "a.py": BOMB})
    (info,) = found(folder)
    assert info.id == f"folder {folder}"
    assert info.state is PluginState.FAILED
    assert "pluginhost.toml" in info.error


def test_a_missing_folder_is_reported(tmp_path):
    """The folder is listed as failed, with the reason and what to do."""
    (info,) = found(tmp_path / "gone")
    assert info.state is PluginState.FAILED
    assert "No such file" in info.error
    assert info.remedy == "check the path"


def test_an_entry_without_a_file(plugin_folder):
    """A manifest may name a file that is not there: that plugin fails, before it is loaded."""
    folder = plugin_folder({"pluginhost.toml": '[plugins.a]\nentry = "b"\n'})
    (info,) = found(folder)
    assert info.state is PluginState.FAILED
    assert "'b'" in info.error
    assert "entry" in info.remedy


def test_a_package_comes_before_a_file_of_its_name(plugin_folder):
    """Both are found, as Python would choose: the package has the id, the file comes too late."""
    folder = plugin_folder({"a.py": BOMB, "a/__init__.py": BOMB})
    assert [info.location for info in found(folder)] == [str(folder / "a"), str(folder / "a.py")]
    assert ids(folder) == ["a", "a"]


def test_two_packages_may_not_share_an_id(plugin_folder):
    """Both claims are found, in order of the packages' names, so that the host can reject one."""
    manifest = '[plugins.x]\nentry = ":X"\n'
    folder = plugin_folder(
        {f"{name}/{file}": text for name in "ba" for file, text in {
            "__init__.py": BOMB, "pluginhost.toml": manifest}.items()}
    )  # fmt: skip
    assert [(info.id, info.location) for info in found(folder)] == [
        ("x", str(folder / "a")),
        ("x", str(folder / "b")),
    ]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("two words", id="space"),
        pytest.param("-dash", id="leading-dash"),
        pytest.param("é", id="not-ascii"),
        pytest.param("\x1b[31mred", id="escape"),
        pytest.param("a" * 101, id="too-long"),
    ],
)
def test_an_id_that_is_not_valid(plugin_folder, name):
    """The file is listed as failed and its loader refuses instead of importing it."""
    folder = plugin_folder({f"{name}.py": BOMB})
    (candidate,) = FolderSource(folder).discover()
    assert candidate.info.state is PluginState.FAILED
    assert "id is not valid" in candidate.info.error
    with pytest.raises(PluginHostError, match="id is not valid"):
        candidate.load(True)


def test_a_file_name_that_is_not_text(tmp_path):
    """A name that is not UTF-8 is one failed plugin, not the end of discovery."""
    (tmp_path / os.fsdecode(b"bad\xff.py")).write_text(BOMB)
    (tmp_path / "good.py").write_text(BOMB)
    assert sorted(info.state for info in found(tmp_path)) == ["discovered", "failed"]


def test_what_is_not_a_file_is_not_a_plugin(plugin_folder):
    """A pipe, a dangling link and a folder named like a file are left alone."""
    folder = plugin_folder({"good.py": BOMB, "folder.py/data.txt": ""})
    os.mkfifo(folder / "pipe.py")
    (folder / "dangling.py").symlink_to(folder / "nowhere.py")
    assert ids(folder) == ["good"]


def test_a_failed_candidate_never_imports(plugin_folder):
    """Loading it raises the reason, each time without the frames of the last time."""
    folder = plugin_folder({"bad.py": BOMB, "pluginhost.toml": "[plugins.bad]\nx = 1\n"})
    (candidate,) = FolderSource(folder).discover()
    depths = []
    for _ in range(3):
        with pytest.raises(PluginHostError, match="unknown field") as caught:
            candidate.load(False)
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


@pytest.mark.parametrize(
    ("text", "kind", "detail"),
    [
        pytest.param("entry-points", EntryPointSource, {"group": "own"}, id="entry-points"),
        pytest.param("entry-points:x.y", EntryPointSource, {"group": "x.y"}, id="named-group"),
        pytest.param("module:a.b:C", ModuleSource, {"names": ("a.b:C",)}, id="module"),
    ],
)
def test_sources_have_a_text_form(text, kind, detail):
    """The text names the same source that one would make by hand."""
    source = source_from_text(text, group="own")
    assert type(source) is kind
    assert vars(source) == detail


def test_a_folder_is_its_own_text_form(tmp_path):
    """The path of a folder names a folder source."""
    source = source_from_text(str(tmp_path), group="own")
    assert type(source) is FolderSource
    assert source.folder == tmp_path


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty-is-not-the-current-folder"),
        pytest.param("nowhere/at/all", id="no-such-folder"),
        pytest.param("module:", id="no-module"),
        pytest.param("entrypoints", id="misspelt"),
        pytest.param("\0", id="nul"),
    ],
)
def test_text_that_names_no_source(text):
    """It is refused, and the remedy lists the forms there are."""
    with pytest.raises(DiscoveryError) as caught:
        source_from_text(text, group="own")
    assert "module:NAME" in caught.value.remedy


def test_paths_are_folders(plugin_folder, monkeypatch):
    """A `Path` needs no text form, and is a folder whatever it is called."""
    folder = plugin_folder({"a.py": ""}, name="entry-points")
    monkeypatch.chdir(folder.parent)
    assert [p.id for p in PluginHost("test", sources=[Path("entry-points")]).discover()] == ["a"]


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        pytest.param("./plugins", "the sources are './plugins'", id="text"),
        pytest.param(Path("plugins"), "the sources are 'plugins'", id="path"),
        pytest.param([7], "a int is no source of plugins", id="number"),
    ],
)
def test_what_is_no_list_of_sources_is_refused(sources, said):
    """A text would be taken letter by letter, and '.' and '/' are folders."""
    with pytest.raises(InvalidValueError, match=re.escape(said)):
        PluginHost("test", sources=sources)


def test_a_text_is_no_list_of_the_only_plugins():
    """It would forbid all but those of one letter."""
    with pytest.raises(InvalidValueError, match="the only plugins are 'words'"):
        PluginHost("test", only="words")
