"""Folders that others can write to, links, pipes and tampered files: refused, and said why."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pluginhost import PluginHost, PluginState
from pluginhost.errors import LockFileError, PluginLoadError, UntrustedPluginError
from pluginhost.host.catalogue import Catalogue
from pluginhost.host.locking import Lock, LockedPlugin, lock_of, read_lock, write_lock
from pluginhost.host.sources.entry_points import EntryPointSource
from pluginhost.host.sources.folders import FolderSource
from pluginhost.host.sources.modules import ModuleSource

GOOD = "from pluginhost import hookimpl\n@hookimpl\ndef execute(): return 'good'\n"
EVIL = GOOD.replace("good", "evil")
posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights of POSIX")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away"
)


def fails(host, plugin_id="a"):
    """Return why the plugin is not loaded, and that its code did not run."""
    with pytest.raises(PluginLoadError):
        host.load(plugin_id)
    info = host.plugins[plugin_id]
    assert info.state is PluginState.FAILED
    return f"{info.error} - {info.remedy}"


def locked_to(folder, path):
    """Write a lock file of what is in the folder now; return its path."""
    catalogue = Catalogue("test", [FolderSource(folder)])
    catalogue.discover()
    lock, errors = lock_of(record.candidate for record in catalogue.records.values())
    assert errors == []
    write_lock(lock, path)
    return path


# Folders


def link(path, folder):
    path.unlink()
    (folder.parent / "elsewhere.py").write_text(EVIL)
    path.symlink_to(folder.parent / "elsewhere.py")


def pipe(path, folder):
    path.unlink()
    os.mkfifo(path)


@posix
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(link, "is a symbolic link", id="link"),
        pytest.param(
            lambda path, _: path.chmod(0o666), "may be written to by everybody", id="world-writable"
        ),
        pytest.param(
            lambda path, _: (os.chown(path, -1, 54321), path.chmod(0o664)),
            "may be written to by another group",
            id="group-writable",
            marks=as_root,
        ),
        pytest.param(
            lambda path, _: os.chown(path, 54321, -1),
            "belongs to another user",
            id="owner",
            marks=as_root,
        ),
    ],
)
@pytest.mark.parametrize("where", ["a.py", "a/__init__.py", "a/sub/deep.py"])
def test_a_file_in_which_others_have_a_say(plugin_folder, make_host, where, spoil, reason):
    """The plugin fails alone, wherever in it the file lies, and its neighbour is loaded."""
    files = {"a/__init__.py": GOOD} if "/" in where else {}
    folder = plugin_folder({**files, where: GOOD, "b.py": GOOD})
    spoil(folder / where, folder)
    host = make_host(folder)
    assert reason in fails(host)
    assert host.load("b").state is PluginState.LOADED
    assert make_host(FolderSource(folder, checked=False)).load("a").state is PluginState.LOADED


@posix
@pytest.mark.parametrize("where", ["a.py", "a/sub.py", "pluginhost.toml", "a/pluginhost.toml"])
def test_a_pipe_is_not_waited_for(plugin_folder, make_host, where):
    """Nobody writes into it; looking and loading come to an end all the same."""
    files = {"a/__init__.py": GOOD} if "/" in where else {}
    folder = plugin_folder({**files, where: GOOD, "b.py": GOOD})
    pipe(folder / where, folder)
    host = make_host(folder)
    done = threading.Thread(target=host.load_all, daemon=True)
    done.start()
    done.join(20)
    assert not done.is_alive()
    assert "a" not in [i for i, info in host.plugins.items() if info.state is PluginState.LOADED]


@posix
@pytest.mark.parametrize(
    ("mode", "refused"),
    [
        pytest.param(0o777, True, id="everybody"),
        pytest.param(0o1777, True, id="everybody, sticky"),
        pytest.param(0o755, False, id="owner"),
    ],
)
def test_a_folder_to_which_everybody_may_write(plugin_folder, make_host, mode, refused):
    """Nothing in it is loaded; the folder stands in the list with the reason."""
    folder = plugin_folder({"a.py": GOOD})
    folder.chmod(mode)
    infos = make_host(folder).load_all()
    assert [info.state for info in infos] == ["failed" if refused else "loaded"]
    assert ("may be written to by everybody" in (infos[0].error or "")) is refused


@posix
@pytest.mark.parametrize(
    ("mode", "refused"),
    [pytest.param(0o777, True, id="open"), pytest.param(0o1777, False, id="sticky")],
)
def test_a_folder_that_others_may_exchange(plugin_folder, make_host, mode, refused):
    """Who may rename things in the folder above could put another in its place."""
    folder = plugin_folder({"a.py": GOOD}, name="above/plugins")
    folder.parent.chmod(mode)
    (info,) = make_host(folder).load_all()
    assert (info.state is PluginState.FAILED) is refused


@pytest.mark.parametrize(
    "entry", ["../evil", "../evil:Plugin", "/etc/passwd", "sub/../../evil", ".."]
)
def test_a_manifest_cannot_lead_out_of_the_folder(plugin_folder, make_host, entry):
    """Its `entry` names a file of the folder, and no path."""
    plugin_folder({"evil.py": EVIL}, name=".")
    host = make_host(
        plugin_folder({"b.py": GOOD, "pluginhost.toml": f'[plugins.a]\nentry = "{entry}"\n'})
    )
    assert "there is no plugin file" in fails(host)


def test_a_plugin_named_like_a_module_does_not_shadow_it(plugin_folder, make_host):
    """Nothing is put on `sys.path`, and its module has a name of its own."""
    source = "import json\n" + GOOD.replace("'good'", "json.dumps([1])")
    path = list(sys.path)
    host = make_host(plugin_folder({"json.py": source, "os.py": EVIL}))
    host.load_all()
    assert host.execute("json") == "[1]"
    assert sys.modules["json"] is json
    assert sys.path == path


@posix
def test_a_name_that_is_not_text(plugin_folder, make_host):
    """A file name that is not UTF-8 is a plugin that failed, and nothing worse."""
    folder = plugin_folder({"b.py": GOOD})
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.py")).write_text(EVIL)
    host = make_host(folder)
    assert [info.state for info in host.load_all()].count(PluginState.LOADED) == 1


# Lock files


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        pytest.param({"a/sub.py": "X = 2"}, "sub.py was changed", id="changed"),
        pytest.param({"a/more.py": ""}, "more.py is new", id="new"),
        pytest.param({"a/deep/er.py": ""}, "deep/er.py is new", id="new folder"),
        pytest.param({"a/native.so": b"\x7fELF"}, "native.so is new", id="native"),
        pytest.param({"a/sub.py": None}, "sub.py is missing", id="missing"),
        pytest.param(
            {"pluginhost.toml": "[plugins.a]\nentry = 'a:other'\n"},
            "it is a:other, not a:",
            id="another object",
        ),
        pytest.param(
            {"pluginhost.toml": "[plugins.a]\nentry = 'b'\n[plugins.b]\n"},
            "it is b:, not a:",
            id="another file",
        ),
    ],
)
def test_code_that_is_not_what_was_locked(plugin_folder, make_host, tmp_path, tamper, reason):
    """One byte, one file more or less, or another object: it is refused before it runs."""
    files = {"a/__init__.py": "from . import sub\n" + GOOD, "a/sub.py": "X = 1", "b.py": GOOD}
    folder = plugin_folder(files)
    lock = locked_to(folder, tmp_path / "lock")
    assert make_host(folder, lock=lock).load("a").state is PluginState.LOADED
    for name, text in tamper.items():
        if text is None:
            (folder / name).unlink()
        else:
            plugin_folder({name: text})
    host = make_host(folder, lock=lock)
    with pytest.raises(UntrustedPluginError) as caught:
        host.load("a")
    assert reason in caught.value.message
    assert "pluginhost lock" in caught.value.remedy
    assert host.load("b").state is PluginState.LOADED


def test_what_is_not_in_the_lock_file_is_not_loaded(plugin_folder, make_host, tmp_path):
    """A plugin that came later is there, but not loaded."""
    lock = locked_to(plugin_folder({"a.py": GOOD}), tmp_path / "lock")
    host = make_host(plugin_folder({"b.py": EVIL}), lock=lock)
    assert {info.id: info.state for info in host.load_all()} == {"a": "loaded", "b": "failed"}
    assert "it is not in the lock file" in fails(host, "b")


def test_a_module_that_is_imported_late_is_compared_too(plugin_folder, make_host, tmp_path):
    """Also one that the plugin imports when it runs, long after it was loaded."""
    source = GOOD.replace("return 'good'", "from . import late; return late.X")
    folder = plugin_folder({"a/__init__.py": source, "a/late.py": "X = 1"})
    lock = locked_to(folder, tmp_path / "lock")
    host = make_host(folder, lock=lock)
    host.load("a")
    plugin_folder({"a/late.py": "X = 2"})
    with pytest.raises(UntrustedPluginError, match=r"late\.py"):
        host.execute("a")


def test_a_race_for_the_file_is_lost(plugin_folder, make_host, tmp_path):
    """While another swaps it a thousand times, what runs is what was locked, or nothing does."""
    folder = plugin_folder({"a.py": GOOD})
    lock = locked_to(folder, tmp_path / "lock")
    (tmp_path / "good").write_text(GOOD)
    (tmp_path / "evil").write_text(EVIL)
    host, done, swaps = make_host(folder, lock=lock), False, 0

    def swap():
        nonlocal swaps
        while not done:
            for name in ("evil", "good"):
                (tmp_path / "next").write_bytes((tmp_path / name).read_bytes())
                (tmp_path / "next").replace(folder / "a.py")
                swaps += 1

    thread = threading.Thread(target=swap)
    thread.start()
    outcomes = set()
    try:
        end = time.monotonic() + 60
        while (swaps < 1000 or len(outcomes) < 2) and time.monotonic() < end:
            try:
                host.load("a")
            except (UntrustedPluginError, PluginLoadError) as error:
                outcomes.add(type(error).__name__)
            else:
                outcomes.add(host.execute("a"))
                host.unload("a")
    finally:
        done = True
        thread.join()
    assert outcomes == {"good", "UntrustedPluginError"}
    assert swaps >= 1000


def test_an_installed_plugin_is_compared_before_it_is_imported(distribution, make_host, tmp_path):
    """All code of its top-level package counts, and nothing of it is imported to tell."""
    info = distribution(
        "acme",
        "[locked.plugins]\na = acme_locked.plugin\n",
        files={
            "acme_locked/__init__.py": "",
            "acme_locked/plugin.py": GOOD,
            "acme_locked/x.py": "",
        },
    )
    catalogue = Catalogue("test", [EntryPointSource("locked.plugins")])
    catalogue.discover()
    lock, errors = lock_of([catalogue.records["a"].candidate])
    assert errors == []
    assert sorted(lock.plugins["a"].files) == ["__init__.py", "plugin.py", "x.py"]
    write_lock(lock, tmp_path / "lock")
    (info.parent / "acme_locked/x.py").write_text("# tampered with")
    host = make_host("entry-points:locked.plugins", lock=tmp_path / "lock")
    assert "x.py was changed" in fails(host)
    assert "acme_locked" not in sys.modules
    (info.parent / "acme_locked/x.py").write_text("")
    assert host.load("a").state is PluginState.LOADED


def test_what_has_no_file_cannot_be_locked():
    """A plugin that is built into Python is named as one that cannot be, with the reason."""
    catalogue = Catalogue("test", [ModuleSource("sys:Nothing")])
    catalogue.discover()
    lock, (error,) = lock_of([catalogue.records["Nothing"].candidate])
    assert lock.plugins == {}
    assert isinstance(error, UntrustedPluginError)
    assert error.plugin_id == "Nothing"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[1]", id="a list"),
        pytest.param('{"version": 2, "plugins": {}}', id="another version"),
        pytest.param('{"plugins": {"a": {}}}', id="incomplete"),
        pytest.param('{"plugins": {}, "more": 1}', id="unknown"),
        pytest.param("[" * 100_000, id="deep"),
        pytest.param(None, id="missing"),
    ],
)
def test_a_lock_file_that_cannot_be_read_loads_nothing(plugin_folder, tmp_path, text):
    """The host is not made: a broken lock is no open door."""
    if text is not None:
        (tmp_path / "lock").write_text(text)
    with pytest.raises(LockFileError, match="pluginhost lock"):
        PluginHost("test", sources=[str(plugin_folder({"a.py": GOOD}))], lock=tmp_path / "lock")


def test_a_lock_file_is_read_as_it_was_written(tmp_path):
    """And its digests are what `sha256sum` says."""
    digest = hashlib.sha256(GOOD.encode()).hexdigest()
    lock = Lock(plugins={"a": LockedPlugin("folder", "a:", {"a.py": digest})})
    write_lock(lock, tmp_path / "lock")
    assert read_lock(tmp_path / "lock") == lock


# The allowlist


def test_only_what_is_named_is_loaded(plugin_folder, make_host):
    """Others stay as they are, whoever asks for them; who requires one of them is told."""
    manifest = "[plugins.user]\nrequires = ['peer']\n"
    files = {"a.py": GOOD, "peer.py": EVIL, "user.py": EVIL, "pluginhost.toml": manifest}
    host = make_host(plugin_folder(files), only=["a", "user"])
    states = {info.id: info.state for info in host.load_all()}
    assert states == {"a": "loaded", "peer": "discovered", "user": "skipped"}
    assert "peer" in (host.plugins["user"].error or "")
    assert "not among the plugins that may be loaded" in fails(host, "peer")


def test_safe_mode_runs_nothing_else(plugin_folder):
    """Not even a plugin that would take the program down when it is imported."""
    folder = plugin_folder({"a.py": GOOD, "bomb.py": "import os; os._exit(9)"})
    command = [sys.executable, "-m", "pluginhost", "run", "--source", str(folder)]
    bomb = subprocess.run(command, check=False, capture_output=True)
    assert bomb.returncode == 9
    safe = subprocess.run([*command, "--safe-mode", "a"], check=False, capture_output=True)
    assert safe.returncode == 0
