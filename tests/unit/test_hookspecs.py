"""The contract with plugin authors is the one that is documented."""

from __future__ import annotations

import inspect

import pluggy
import pytest
from packaging.version import Version

import pluginhost
from pluginhost.hookspecs import API_VERSION, PROJECT_NAME, Host, LifecycleSpec, PluginSpec


def specs(namespace):
    """Return the hooks that a class of specifications has, by name."""
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(namespace)
    return {name: caller.spec for name, caller in vars(manager.hook).items()}


def test_what_a_plugin_can_implement():
    """Three hooks, each for one plugin at a time."""
    hooks = specs(PluginSpec)
    assert {name: list(spec.argnames) for name, spec in hooks.items()} == {
        "setup": ["host"],
        "execute": ["payload", "options", "host"],
        "teardown": ["host"],
    }
    assert all(spec.opts["firstresult"] for spec in hooks.values())


def test_every_lifecycle_hook_names_the_plugin():
    """A wrapper can tell whose step it is."""
    for spec in specs(LifecycleSpec).values():
        assert spec.argnames[0] == "plugin_id"


@pytest.mark.parametrize("namespace", [PluginSpec, LifecycleSpec])
def test_every_hook_is_documented(namespace):
    """One sentence at least."""
    for spec in specs(namespace).values():
        assert inspect.getdoc(spec.function)


def test_the_version_is_one():
    """Plugins compare it by PEP 440."""
    assert str(Version(API_VERSION)) == API_VERSION


def test_a_host_is_what_plugins_are_promised():
    """Every member of the protocol is there, with the same parameters."""
    for name, promised in inspect.getmembers(Host, inspect.isfunction):
        if not name.startswith("_"):
            given = inspect.signature(getattr(pluginhost.PluginHost, name))
            assert given.parameters == inspect.signature(promised).parameters
    assert isinstance(pluginhost.PluginHost.hook, property)


def test_markers_are_public():
    """A plugin needs `pluginhost.hookimpl` and nothing else."""
    assert isinstance(pluginhost.hookimpl, pluggy.HookimplMarker)
    assert isinstance(pluginhost.hookspec, pluggy.HookspecMarker)
    assert pluginhost.hookimpl.project_name == PROJECT_NAME
