"""Putting one plugin object into pluggy, whole or not at all, and calling it without the others."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from operator import attrgetter
from typing import Any

import pluggy

from pluginhost.errors import PluginLoadError
from pluginhost.hookspecs import Host, Task
from pluginhost.printable import in_a_line, printable


def register(manager: pluggy.PluginManager, plugin: object, plugin_id: str) -> None:
    """Register `plugin` under its id; raises `PluginLoadError` and leaves nothing behind.

    pluggy up to 1.6 keeps a plugin half registered when one of its hooks does not fit.
    """
    if manager.has_plugin(plugin_id):
        raise PluginLoadError(
            "another object is registered under this id",
            plugin_id=plugin_id,
            remedy="register objects of your own with host.manager under other names",
        )
    _check_identity(manager, plugin, plugin_id)
    try:
        manager.register(plugin, name=plugin_id)
        _check_hooks(manager, plugin, plugin_id)
    except pluggy.PluginValidationError as error:
        unregister(manager, plugin_id)
        raise PluginLoadError(
            f"a hook does not fit its specification: {in_a_line(error, 1000)}",
            plugin_id=plugin_id,
            remedy="name only arguments that the hook's specification has",
        ) from error
    except BaseException:
        unregister(manager, plugin_id)
        raise


def unregister(manager: pluggy.PluginManager, plugin_id: str) -> None:
    """Take the plugin out; nothing happens when it is not there."""
    if manager.has_plugin(plugin_id):
        manager.unregister(name=plugin_id)
    _forget_lookups()


def _forget_lookups() -> None:
    """Have `inspect` forget the classes that pluggy has asked it about.

    The first releases of Python 3.12 keep the last 128 of them alive.
    """
    cached = getattr(inspect, "_shadowed_dict_from_mro_tuple", None)
    if cached is not None:
        cached.cache_clear()


def implementation(
    manager: pluggy.PluginManager, plugin: object, hook: str, plugin_id: str
) -> pluggy.HookImpl | None:
    """Return the plugin's own implementation of a `PluginSpec` hook, None when it has none.

    Raises `PluginLoadError` when it is not one function that can be called by itself.
    """
    caller: pluggy.HookCaller = getattr(manager.hook, hook)
    own = [impl for impl in caller.get_hookimpls() if impl.plugin is plugin]
    if not own:
        return None
    problem = None
    if len(own) > 1:
        problem = f"it is implemented {len(own)} times", "leave one implementation of it"
    elif own[0].wrapper or own[0].hookwrapper:
        problem = (
            "it is a wrapper, but each plugin is called alone",
            "to look on, wrap 'pluginhost_execute' on the host's lifecycle manager",
        )
    elif hook != "execute" and is_async(own[0]):
        problem = (
            "it is asynchronous, but loading and unloading do not run an event loop",
            "make it a plain function",
        )
    if problem is not None:
        raise PluginLoadError(problem[0], plugin_id=plugin_id, hook=hook, remedy=problem[1])
    return own[0]


def one_plugin_caller(impl: pluggy.HookImpl) -> Callable[[Task], Any]:
    """Return a function that calls this implementation with what it asks of a task.

    Calling one of many plugins through the hook they all implement costs as much as calling all
    of them; this costs the same however many there are.
    """
    function = impl.function
    names = impl.argnames
    if names == ("payload",):
        return lambda task: function(task.payload)
    if not names:
        return lambda _task: function()
    get = attrgetter(*names)
    if len(names) == 1:
        return lambda task: function(get(task))
    return lambda task: function(*get(task))


def is_async(impl: pluggy.HookImpl) -> bool:
    """Whether calling the implementation gives something to await."""
    return inspect.iscoroutinefunction(inspect.unwrap(impl.function))


def call_with_host(impl: pluggy.HookImpl | None, host: Host) -> None:
    """Call a `setup` or `teardown` implementation, if there is one."""
    if impl is not None:
        impl.function(*([host] if impl.argnames else []))


def _check_identity(manager: pluggy.PluginManager, plugin: object, plugin_id: str) -> None:
    """Refuse what pluggy could not tell from other plugins: it compares them with `==`."""
    problem = None
    if plugin is None:
        problem = "the plugin object is None", "correct what the plugin's entry names"
    else:
        try:
            odd = plugin == object()
            twins = [name for name, other in manager.list_name_plugin() if plugin == other]
        except Exception as error:
            problem = f"comparing it failed: {printable(error)}", "take its __eq__ out"
        else:
            if odd:
                problem = "it compares equal to anything", "take its __eq__ out"
            elif twins:
                problem = (
                    f"it is, or equals, the object of plugin {twins[0]!r}",
                    "give each id an object of its own, without an __eq__ (a dataclass has one)",
                )
    if problem is not None:
        raise PluginLoadError(problem[0], plugin_id=plugin_id, remedy=problem[1])


def _check_hooks(manager: pluggy.PluginManager, plugin: object, plugin_id: str) -> None:
    callers = manager.get_hookcallers(plugin) or []
    if not callers:
        raise PluginLoadError(
            "it implements no hook",
            plugin_id=plugin_id,
            remedy="decorate its functions with @pluginhost.hookimpl",
        )
    known = sorted(name for name, c in vars(manager.hook).items() if c.has_spec())
    for caller in callers:
        optional = any(i.optionalhook for i in caller.get_hookimpls() if i.plugin is plugin)
        if not caller.has_spec() and not optional:
            near = get_close_matches(caller.name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
            raise PluginLoadError(
                "there is no such hook",
                plugin_id=plugin_id,
                hook=caller.name,
                remedy=f"{hint} A host's own hooks are added before plugins are loaded",
            )
