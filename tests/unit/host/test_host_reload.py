"""Reloading runs what is on disk, whatever the clock of the file system says."""

from __future__ import annotations

import os
import sys

import pytest

from pluginhost import PluginState
from pluginhost.errors import PluginLoadError, PluginNotFoundError

EDITS = 20  # each keeps size and time, so that the second would be missed already

PLUGIN = """
from pluginhost import hookimpl

VALUE = 1000

@hookimpl
def execute():
    return VALUE
"""


def edit(path, old, new):
    """Replace text of the same size, and give the file the time it had: no cache can tell."""
    status = path.stat()
    text = path.read_text()
    assert old in text
    assert len(old) == len(new)
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def stale_reloads(host, plugin_id, path):
    """Edit the file and reload the plugin, many times; return how often old code ran."""
    stale = 0
    for value in range(1000, 1000 + EDITS):
        edit(path, str(value), str(value + 1))
        host.reload(plugin_id)
        stale += host.execute(plugin_id) != value + 1
    return stale


@pytest.fixture
def bytecode(monkeypatch):
    """Have Python write bytecode files, as it does outside of test runs."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


@pytest.mark.usefixtures("bytecode")
def test_a_file_is_always_read_anew(plugin_folder, make_host):
    """Of many edits within one second that keep the size, none is missed."""
    folder = plugin_folder({"a.py": PLUGIN})
    host = make_host(folder)
    host.load("a")
    assert stale_reloads(host, "a", folder / "a.py") == 0


@pytest.mark.usefixtures("bytecode")
@pytest.mark.parametrize(
    "module", [pytest.param("values", id="submodule"), pytest.param("deep/values", id="deeper")]
)
@pytest.mark.parametrize(
    "marker", [pytest.param(True, id="package"), pytest.param(False, id="plain-folder")]
)
def test_a_submodule_is_always_read_anew(plugin_folder, make_host, module, marker):
    """The same for the modules of a package, however deep, with and without `__init__.py`."""
    dotted = module.replace("/", ".")
    files = {
        "a/__init__.py": PLUGIN.replace("VALUE = 1000", f"from .{dotted} import VALUE"),
        f"a/{module}.py": "VALUE = 1000",
    }
    if marker and "/" in module:
        files["a/deep/__init__.py"] = ""
    folder = plugin_folder(files)
    host = make_host(folder)
    host.load("a")
    assert stale_reloads(host, "a", folder / f"a/{module}.py") == 0


@pytest.mark.usefixtures("bytecode")
def test_a_module_that_is_imported_late_is_read_anew(plugin_folder, make_host):
    """Also one that the plugin only imports when it runs."""
    folder = plugin_folder(
        {
            "a/__init__.py": "from pluginhost import hookimpl\n@hookimpl\ndef execute():\n"
            "    from .values import VALUE\n    return VALUE\n",
            "a/values.py": "VALUE = 1000",
        }
    )
    host = make_host(folder)
    host.load("a")
    host.execute("a")
    assert stale_reloads(host, "a", folder / "a/values.py") == 0


@pytest.mark.usefixtures("bytecode")
def test_an_installed_module_is_always_read_anew(distribution, make_host):
    """The module that an entry point names is made of the bytes on disk."""
    info = distribution(
        "acme", "[reload.plugins]\na = acme_reload\n", files={"acme_reload.py": PLUGIN}
    )
    host = make_host("entry-points:reload.plugins")
    host.load("a")
    assert stale_reloads(host, "a", info.parent / "acme_reload.py") == 0


@pytest.mark.usefixtures("bytecode")
def test_unloading_and_loading_reads_a_file_anew(plugin_folder, make_host):
    """For plugins in folders, `load` after `unload` is as good as `reload`."""
    folder = plugin_folder({"a.py": PLUGIN})
    host = make_host(folder)
    host.load("a")
    host.unload("a")
    edit(folder / "a.py", "1000", "2000")
    host.load("a")
    assert host.execute("a") == 2000


def test_an_installed_module_is_kept_by_a_plain_load(distribution, make_host):
    """`load` after `unload` uses the module that everybody has; only `reload` reads it again."""
    info = distribution("acme", None, files={"acme_kept.py": PLUGIN})
    host = make_host("module:acme_kept")
    host.load("acme_kept")
    host.unload("acme_kept")
    edit(info.parent / "acme_kept.py", "1000", "2000")
    host.load("acme_kept")
    assert host.execute("acme_kept") == 1000
    host.reload("acme_kept")
    assert host.execute("acme_kept") == 2000


def test_the_manifest_is_read_anew(plugin_folder, make_host):
    """Version and requirements are those that the manifest has now."""
    folder = plugin_folder(
        {"a.py": PLUGIN, "b.py": PLUGIN, "pluginhost.toml": "[plugins.a]\nversion = '1'\n"}
    )
    host = make_host(folder)
    assert host.load("a").version == "1"
    plugin_folder({"pluginhost.toml": "[plugins.a]\nversion = '2'\nrequires = ['b']\n"})
    info = host.reload("a")
    assert (info.version, info.requires, info.state) == ("2", ("b",), PluginState.LOADED)
    assert host.plugins["b"].state is PluginState.LOADED


def test_a_new_manifest_comes_with_new_code(distribution, make_host):
    """Both are read anew together, for an installed package too."""
    info = distribution(
        "acme",
        "[reload.plugins]\na = acme_both\n",
        files={"acme_both/__init__.py": PLUGIN, "acme_both/pluginhost.toml": "[plugins.a]\n"},
    )
    host = make_host("entry-points:reload.plugins")
    host.load("a")
    edit(info.parent / "acme_both/__init__.py", "1000", "2000")
    (info.parent / "acme_both/pluginhost.toml").write_text("[plugins.a]\nversion = '2'\n")
    assert host.reload("a").version == "2"
    assert host.execute("a") == 2000


def test_setup_and_teardown_are_called(plugin_folder, make_host):
    """The old one is torn down before the new one is set up."""
    host = make_host(
        plugin_folder(
            {
                "a.py": "from pluginhost import hookimpl\n"
                "@hookimpl\ndef setup(host): host.diary.append('+')\n"
                "@hookimpl\ndef teardown(host): host.diary.append('-')\n"
            }
        )
    )
    host.diary = []
    host.load("a")
    host.reload("a")
    assert host.diary == ["+", "-", "+"]


def test_reloading_what_is_not_loaded_loads_it(plugin_folder, make_host):
    """There is nothing to unload, and no reason to refuse."""
    host = make_host(plugin_folder({"a.py": PLUGIN}))
    host.discover()
    assert host.reload("a").state is PluginState.LOADED


def test_dependants_stay_loaded(plugin_folder, make_host):
    """They find the new one through the host."""
    folder = plugin_folder(
        {
            "peer.py": PLUGIN,
            "user.py": "from pluginhost import hookimpl\n"
            "@hookimpl\ndef execute(host): return host.execute('peer')\n",
            "pluginhost.toml": "[plugins.user]\nrequires = ['peer']\n",
        }
    )
    host = make_host(folder)
    host.load_all()
    edit(folder / "peer.py", "1000", "2000")
    host.reload("peer")
    assert host.execute("user") == 2000


def test_what_the_old_one_left_behind_is_named(plugin_folder, make_host):
    """`survivors` of a reload are those of the unload within it."""
    kept = []
    folder = plugin_folder(
        {
            "a.py": "from pluginhost import hookimpl\nclass P:\n"
            "    @hookimpl\n    def execute(self, payload): payload.append(self)\n",
            "pluginhost.toml": '[plugins.a]\nentry = "a:P"\n',
        }
    )
    host = make_host(folder)
    host.load("a")
    assert host.reload("a").survivors == ()
    host.execute("a", kept)
    info = host.reload("a")
    assert info.survivors == ("instance of P (held by list)",)
    assert host.plugins["a"] == info


def test_a_reload_that_fails(plugin_folder, make_host):
    """The old one is gone, the reason is kept, and the next reload may succeed."""
    folder = plugin_folder({"a.py": PLUGIN})
    host = make_host(folder)
    host.load("a")
    edit(folder / "a.py", "VALUE = 1000", "VALUE = 1/0 ")
    with pytest.raises(PluginLoadError, match="ZeroDivisionError"):
        host.reload("a")
    assert host.plugins["a"].state is PluginState.FAILED
    assert not host.manager.has_plugin("a")
    edit(folder / "a.py", "VALUE = 1/0 ", "VALUE = 2000")
    host.reload("a")
    assert host.execute("a") == 2000


def test_a_failed_teardown_still_lets_the_next_load_run_new_code(distribution, make_host):
    """The reload stops there, and the load after it reads the module again."""
    source = PLUGIN + "@hookimpl\ndef teardown(): 1 / 0\n"
    info = distribution("acme", None, files={"acme_teardown.py": source})
    host = make_host("module:acme_teardown")
    host.load("acme_teardown")
    edit(info.parent / "acme_teardown.py", "1000", "2000")
    edit(info.parent / "acme_teardown.py", "1 / 0", "    0")
    with pytest.raises(ZeroDivisionError):
        host.reload("acme_teardown")
    host.load("acme_teardown")
    assert host.execute("acme_teardown") == 2000


def test_a_reload_cannot_close_a_cycle(plugin_folder, make_host):
    """A new requirement that leads back to a loaded user fails the reloaded one only."""
    manifest = "[plugins.user]\nrequires = ['peer']\n"
    host = make_host(
        plugin_folder({"peer.py": PLUGIN, "user.py": PLUGIN, "pluginhost.toml": manifest})
    )
    host.load_all()
    plugin_folder({"pluginhost.toml": manifest + "[plugins.peer]\nrequires = ['user']\n"})
    with pytest.raises(PluginLoadError, match="cycle"):
        host.reload("peer")
    assert host.plugins["peer"].state is PluginState.FAILED
    assert host.plugins["user"].state is PluginState.LOADED
    assert host.execute("user") == 1000


def test_a_file_that_is_gone(plugin_folder, make_host):
    """The plugin was unloaded, and the error says that its file is missing."""
    folder = plugin_folder({"a.py": PLUGIN})
    host = make_host(folder)
    host.load("a")
    (folder / "a.py").unlink()
    with pytest.raises(PluginLoadError, match="FileNotFoundError"):
        host.reload("a")
    host.discover()
    with pytest.raises(PluginNotFoundError):
        host.reload("a")
