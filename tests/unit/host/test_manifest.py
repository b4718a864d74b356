"""`pluginhost.toml`: read statically, and precise about what is wrong with it."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pluginhost.errors import ManifestError
from pluginhost.host.manifest import NO_ENTRIES, PluginEntry, read_manifest

COMPLETE = """
[plugins.resize]
entry = "images:Resize"
version = "2.1"
api = ">=1,<2"
summary = "Makes images smaller"
requires = ["checksum>=1"]
after = ["compress"]
capabilities = ["image"]
"""


@pytest.fixture
def manifest(tmp_path):
    """Return a function that reads a manifest with the given text or bytes."""

    def read(content):
        raw = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "pluginhost.toml").write_bytes(raw)
        return read_manifest(tmp_path)

    return read


def test_every_key_is_read(manifest):
    """A table with all keys gives an entry with all fields."""
    assert manifest(COMPLETE) == {
        "resize": PluginEntry(
            entry="images:Resize",
            version="2.1",
            api=">=1,<2",
            summary="Makes images smaller",
            requires=("checksum>=1",),
            after=("compress",),
            capabilities=("image",),
        )
    }


def test_an_empty_table_is_enough(manifest):
    """Every key is optional."""
    assert manifest("[plugins.a]") == {"a": PluginEntry()}


def test_no_file_is_no_manifest(tmp_path):
    """A folder without the file has `NO_ENTRIES`, which is not the same as an empty file."""
    assert read_manifest(tmp_path) is NO_ENTRIES


def test_an_empty_file_is_a_manifest(manifest):
    """An empty file says that there are no entries, rather than nothing."""
    entries = manifest("")
    assert entries == {}
    assert entries is not NO_ENTRIES


def test_a_path_through_a_file_is_no_manifest(tmp_path):
    """A package inside a zip file has no folder to read from; it is not an error."""
    archive = tmp_path / "archive.zip"
    archive.write_bytes(b"PK")
    assert read_manifest(archive / "package") is NO_ENTRIES


@pytest.mark.parametrize(
    ("content", "place"),
    [
        pytest.param("[plugins.a\n", "line 1, column 11", id="bad-toml"),
        pytest.param(b"[plugins.a]\nsummary = '\xff'\n", "position 23", id="not-utf-8"),
        pytest.param("plugins = 3", "$.plugins", id="plugins-is-no-table"),
        pytest.param("[plugin.a]", "unknown field `plugin`", id="unknown-table"),
        pytest.param("a = " + "[" * 50_000, "recursion", id="nested-too-deep"),
        pytest.param("a = " + "1" * 5_000, "digits", id="absurd-number"),
    ],
)
def test_a_file_that_cannot_be_taken_apart(manifest, tmp_path, content, place):
    """The whole file is refused, with its path, the place in it, and a remedy."""
    with pytest.raises(ManifestError) as caught:
        manifest(content)
    assert str(tmp_path / "pluginhost.toml") in caught.value.message
    assert place in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("table", "place"),
    [
        pytest.param("sumary = 'typo'", "unknown field `sumary`", id="unknown-key"),
        pytest.param("version = 1", "`$.version`", id="number-for-text"),
        pytest.param("requires = 'checksum'", "`$.requires`", id="text-for-list"),
        pytest.param("after = [1]", "`$.after[0]`", id="number-in-list"),
        pytest.param("version = 2024-01-01", "`$.version`", id="date-for-text"),
    ],
)
def test_a_table_that_does_not_fit_fails_alone(manifest, tmp_path, table, place):
    """Its entry is an error with file, table and key; the other plugin's entry is good."""
    entries = manifest(f"[plugins.bad]\n{table}\n[plugins.good]\nsummary = 'fine'\n")
    error = entries["bad"]
    assert isinstance(error, ManifestError)
    assert str(tmp_path / "pluginhost.toml") in error.message
    assert "[plugins.bad]" in error.message
    assert place in error.message
    assert entries["good"] == PluginEntry(summary="fine")


def test_a_plugin_that_is_no_table(manifest):
    """A plain value in place of a table is that plugin's error."""
    entries = manifest("[plugins]\na = 3\nb = {}\n")
    assert isinstance(entries["a"], ManifestError)
    assert entries["b"] == PluginEntry()


def test_the_file_may_not_be_readable(tmp_path):
    """What is there but cannot be read as a file is an error, not an absent manifest."""
    (tmp_path / "pluginhost.toml").mkdir()
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path)


@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_no_content_breaks_the_reader(tmp_path_factory, content):
    """Whatever the bytes, there is a mapping of entries or a `ManifestError`, nothing else."""
    folder = tmp_path_factory.mktemp("manifest")
    (folder / "pluginhost.toml").write_bytes(content)
    try:
        entries = read_manifest(folder)
    except ManifestError:
        return
    assert all(isinstance(entry, PluginEntry | ManifestError) for entry in entries.values())
