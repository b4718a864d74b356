"""The application's own 1:N hooks, as in pluggy."""

from __future__ import annotations

import types

import pytest

from pluginhost import hookspec
from pluginhost.errors import InvalidValueError, PluginLoadError


class Specs:
    """The hooks of an application."""

    @hookspec
    def menu(self, items):
        """Offer entries."""

    @hookspec(firstresult=True)
    def theme(self):
        """Choose a theme."""


def plugin(body):
    """Return a plugin's source with one or more implementations."""
    return f"from pluginhost import hookimpl\n{body}"


def test_every_implementation_is_called(plugin_folder, make_host):
    """The results of all plugins come back, the last loaded first, as in pluggy."""
    files = {
        f"{name}.py": plugin(f"@hookimpl\ndef menu(items): return '{name}' + items\n")
        for name in "abc"
    }
    host = make_host(plugin_folder(files))
    host.add_hookspecs(Specs)
    host.load_all()
    assert host.hook.menu(items="!") == ["c!", "b!", "a!"]


def test_pluggys_options_hold(plugin_folder, make_host):
    """First result, order and wrappers work as pluggy documents them."""
    host = make_host(
        plugin_folder(
            {
                "first.py": plugin("@hookimpl(tryfirst=True)\ndef theme(): return None\n"),
                "last.py": plugin("@hookimpl(trylast=True)\ndef theme(): return 'plain'\n"),
                "loud.py": plugin("@hookimpl(wrapper=True)\ndef theme(): return (yield).upper()\n"),
                "mid.py": plugin("@hookimpl\ndef theme(): return 'dark'\n"),
            }
        )
    )
    host.add_hookspecs(Specs)
    host.load_all()
    assert host.hook.theme() == "DARK"


def test_an_unloaded_plugin_is_not_called(plugin_folder, make_host):
    """Its implementations leave with it, and come back with it."""
    files = {f"{n}.py": plugin(f"@hookimpl\ndef menu(): return '{n}'\n") for n in "ab"}
    host = make_host(plugin_folder(files))
    host.add_hookspecs(Specs)
    host.load_all()
    host.unload("b")
    assert host.hook.menu(items="") == ["a"]
    host.load("b")
    assert host.hook.menu(items="") == ["b", "a"]


def test_a_plugin_may_call_the_hooks(plugin_folder, make_host):
    """The host that plugins are given has them too."""
    host = make_host(
        plugin_folder(
            {
                "a.py": plugin("@hookimpl\ndef menu(items): return items\n"),
                "b.py": plugin("@hookimpl\ndef execute(host): return host.hook.menu(items=7)\n"),
            }
        )
    )
    host.add_hookspecs(Specs)
    host.load_all()
    assert host.execute("b") == [7]


def test_hooks_may_be_in_a_module(plugin_folder, make_host):
    """A module of specifications is as good as a class."""
    module = types.ModuleType("specs")
    module.menu = hookspec(lambda items: None)
    host = make_host(plugin_folder({"a.py": plugin("@hookimpl\ndef menu(items): return items\n")}))
    host.add_hookspecs(module)
    host.load_all()
    assert host.hook.menu(items=1) == [1]


def test_hooks_that_come_too_late(plugin_folder, make_host):
    """A plugin for hooks that the host has not added yet is refused, and told so."""
    host = make_host(plugin_folder({"a.py": plugin("@hookimpl\ndef menu(): return 1\n")}))
    with pytest.raises(PluginLoadError) as caught:
        host.load("a")
    assert "hooks are added before plugins are loaded" in caught.value.remedy
    host.add_hookspecs(Specs)
    host.load("a")
    assert host.hook.menu(items=0) == [1]


@pytest.mark.parametrize(
    "specifications",
    [
        pytest.param(types.ModuleType("empty"), id="nothing-marked"),
        pytest.param(Specs, id="the-same-again"),
    ],
)
def test_specifications_that_cannot_be_added(make_host, specifications):
    """The error says how to mark hooks."""
    host = make_host()
    host.add_hookspecs(Specs)
    with pytest.raises(InvalidValueError, match="hooks cannot be added") as caught:
        host.add_hookspecs(specifications)
    assert "@pluginhost.hookspec" in caught.value.remedy


def test_an_exception_in_a_hook_passes_through(plugin_folder, make_host):
    """As in pluggy, the first one ends the call."""
    host = make_host(plugin_folder({"a.py": plugin("@hookimpl\ndef menu(items): raise items\n")}))
    host.add_hookspecs(Specs)
    host.load_all()
    error = LookupError("reason")
    with pytest.raises(LookupError) as caught:
        host.hook.menu(items=error)
    assert caught.value is error
