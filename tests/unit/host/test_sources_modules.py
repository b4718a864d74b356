"""Plugins that the host names itself, by module."""

from __future__ import annotations

import sys

import pytest

from pluginhost.host.sources.modules import ModuleSource
from pluginhost.report import PluginState


def candidates(*names):
    """Return the candidates of a source with these names."""
    return list(ModuleSource(*names).discover())


@pytest.mark.parametrize(
    ("name", "plugin_id", "module_name"),
    [
        pytest.param("tool", "tool", "tool", id="module"),
        pytest.param("acme.tool", "tool", "acme.tool", id="submodule"),
        pytest.param("acme.tool:Cutter", "Cutter", "acme.tool", id="attribute"),
        pytest.param("acme:Tools.cut", "Tools.cut", "acme", id="dotted-attribute"),
    ],
)
def test_the_id_is_what_is_named_last(name, plugin_id, module_name):
    """The attribute gives the id, else the last part of the module's name."""
    (candidate,) = candidates(name)
    assert candidate.info.id == plugin_id
    assert candidate.module_name == module_name
    assert (candidate.info.source, candidate.info.location) == ("module", name)
    assert not candidate.own_module


def test_nothing_is_imported_or_looked_for():
    """Whether there is such a module shows on loading only."""
    (candidate,) = candidates("no_such_package.no_such_module")
    assert candidate.info.state is PluginState.DISCOVERED
    with pytest.raises(ModuleNotFoundError):
        candidate.load(False)
    assert "no_such_package" not in sys.modules


def test_a_private_module_needs_an_attribute():
    """`_tool` is no valid id; naming an attribute of it gives one."""
    private, named = candidates("acme._tool", "acme._tool:Cutter")
    assert private.info.state is PluginState.FAILED
    assert named.info.id == "Cutter"
    assert named.info.state is PluginState.DISCOVERED


def test_a_class_is_instantiated_and_anything_else_is_taken_as_it_is():
    """What the name stands for becomes the plugin object."""
    a_class, a_function, a_module = candidates(
        "collections:OrderedDict", "collections:Counter.most_common", "collections.abc"
    )
    import collections.abc

    assert type(a_class.load(False)) is collections.OrderedDict
    assert a_function.load(False) is collections.Counter.most_common
    assert a_module.load(False) is collections.abc
