"""Whatever is asked of a host, in whatever order, it stands as a simple model says."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pluginhost import PluginHost
from pluginhost.errors import PluginHostError, PluginLoadError, PluginStateError
from tests.examples import examples

REQUIRES = {"a": [], "b": ["a"], "c": ["b"], "d": ["a", "b"], "e": []}

GOOD = """
from pluginhost import hookimpl

@hookimpl
def setup(host): host.balance += 1

@hookimpl
def teardown(host): host.balance -= 1

@hookimpl
def execute(payload): return payload, {edition}
"""

BROKEN = {
    "import": "1 / 0",
    "exit": "raise SystemExit",
    "syntax": "def",
    "no hooks": "",
    "typo": GOOD.replace("def teardown", "def tear_down"),
    "signature": GOOD.replace("def execute(payload)", "def execute(payload, extra)"),
    "setup": GOOD.replace("host.balance += 1", "1 / 0"),
    "package": "from . import missing",
}

ids = st.sampled_from(sorted(REQUIRES))


class HostMachine(RuleBasedStateMachine):
    """The model: which plugins are good on disk, and which are loaded, in what edition."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        manifest = "".join(f"[plugins.{i}]\nrequires = {r}\n" for i, r in REQUIRES.items())
        (self.folder / "pluginhost.toml").write_text(manifest)
        self.edition = 0
        self.good, self.loaded = {}, {}
        self.modules = {name for name in sys.modules if name.startswith("pluginhost_plugin_")}
        for plugin_id in REQUIRES:
            self.mend(plugin_id)
        self.host = PluginHost("model", sources=[str(self.folder)])
        self.host.balance = 0
        self.host.discover()

    def teardown(self):
        self.host.close()
        self.loaded.clear()
        self.nothing_but_the_loaded_is_there()
        shutil.rmtree(self.folder)

    @rule(plugin_id=ids)
    def mend(self, plugin_id):
        """Write a good plugin, each time another edition."""
        self.edition += 1
        (self.folder / f"{plugin_id}.py").write_text(GOOD.format(edition=self.edition))
        self.good[plugin_id] = self.edition

    @rule(plugin_id=ids, how=st.sampled_from(sorted(BROKEN)))
    def spoil(self, plugin_id, how):
        """Write a broken plugin."""
        (self.folder / f"{plugin_id}.py").write_text(BROKEN[how])
        self.good[plugin_id] = None

    def expect_load(self, plugin_id):
        """Load in the model; return whether the plugin is loaded then."""
        if plugin_id not in self.loaded:
            peers = [self.expect_load(peer) for peer in REQUIRES[plugin_id]]
            if all(peers) and self.good[plugin_id] is not None:
                self.loaded[plugin_id] = self.good[plugin_id]
        return plugin_id in self.loaded

    @rule(plugin_id=ids)
    def load(self, plugin_id):
        """Load one plugin with its peers."""
        if self.expect_load(plugin_id):
            self.host.load(plugin_id)
        else:
            with pytest.raises(PluginLoadError):
                self.host.load(plugin_id)

    @rule()
    def load_all(self):
        """Load all that can be loaded."""
        for plugin_id in REQUIRES:
            self.expect_load(plugin_id)
        self.host.load_all()

    @rule(plugin_id=ids)
    def unload(self, plugin_id):
        """Unload a plugin, unless it is in use or not there."""
        users = [user for user in self.loaded if plugin_id in REQUIRES[user]]
        if plugin_id in self.loaded and not users:
            del self.loaded[plugin_id]
            self.host.unload(plugin_id)
        else:
            with pytest.raises(PluginStateError):
                self.host.unload(plugin_id)

    @rule(plugin_id=ids)
    def reload(self, plugin_id):
        """Reload a plugin; its users stay."""
        self.loaded.pop(plugin_id, None)
        if self.expect_load(plugin_id):
            self.host.reload(plugin_id)
        else:
            with pytest.raises(PluginHostError):
                self.host.reload(plugin_id)

    @rule()
    def discover(self):
        """Look around, which changes nothing."""
        before = {plugin_id: info.state for plugin_id, info in self.host.plugins.items()}
        self.host.discover()
        assert {i: info.state for i, info in self.host.plugins.items()} == before

    @rule()
    def close(self):
        """Unload everything."""
        self.loaded.clear()
        self.host.close()

    @rule(plugin_id=ids)
    def execute(self, plugin_id):
        """Run a plugin: the edition that was on disk when it was loaded."""
        if plugin_id in self.loaded:
            assert self.host.execute(plugin_id, 7) == (7, self.loaded[plugin_id])
        else:
            with pytest.raises(PluginStateError):
                self.host.execute(plugin_id, 7)

    @invariant()
    def states_are_the_models(self):
        """What is loaded, and why the rest is not."""
        infos = self.host.plugins
        assert {i for i, info in infos.items() if info.state == "loaded"} == set(self.loaded)
        assert all((info.error is None) == (info.state not in ("failed", "skipped"))
                   for info in infos.values())  # fmt: skip

    @invariant()
    def nothing_but_the_loaded_is_there(self):
        """In pluggy, in the host's own books, and in `sys.modules`."""
        loaded = set(self.loaded)
        assert {name for name, _ in self.host.manager.list_name_plugin()} == loaded
        for caller in vars(self.host.manager.hook).values():
            names = [impl.plugin_name for impl in caller.get_hookimpls()]
            assert len(names) == len(set(names))
            assert set(names) <= loaded
        assert sorted(self.host._loaded) == sorted(loaded)
        assert set(self.host._runners) == loaded
        assert self.host.balance == len(loaded)
        modules = {name for name in sys.modules if name.startswith("pluginhost_plugin_")}
        assert len(modules - self.modules) == len(loaded)


TestHostMachine = HostMachine.TestCase
TestHostMachine.settings = settings(
    max_examples=examples(40), stateful_step_count=30, deadline=None
)
