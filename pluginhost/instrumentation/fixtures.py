"""Fixtures that plugins bring to pytest: setting them up and tearing them down, as calls of their own.

pytest calls them, not a hook, and a fixture that is used by itself costs every test something, most
of it in pytest. Without the plugin all of that is gone. Other programs have none, and nothing is done.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable
from types import FunctionType
from typing import Any

from pluginhost.calltree import EventKind
from pluginhost.capture import FIXTURE
from pluginhost.instrumentation.by_thread import ThreadNesting
from pluginhost.instrumentation.calls import Function
from pluginhost.instrumentation.failures import without_caller
from pluginhost.instrumentation.watched import module_name_of
from pluginhost.printable import printable
from pluginhost.processes import RenewedLock

_PATCHING = RenewedLock()
METHODS = {"execute": "", "finish": ", teardown"}
"""The methods by which pytest sets fixtures up and ends them, and what follows the name of a record."""


class FixtureSource:
    """Times the fixtures that are from the packages of plugins in pytest's managers."""

    def __init__(self, nesting: ThreadNesting) -> None:
        self._managers: list[weakref.ref[Any]] = []
        self._nesting = nesting
        self._timed: dict[tuple[str, str, str], Function | None] = {}
        self._replaced: dict[str, tuple[Function, FunctionType]] = {}

    def watch(self, manager: Any) -> None:
        """Step between pytest and the methods of its fixtures, if this is a manager of pytest."""
        fixtures: Any = sys.modules.get("_pytest.fixtures")
        if fixtures is None or not hasattr(manager, "_importconftest"):
            return
        self._managers.append(weakref.ref(manager))
        self._timed.clear()
        with _PATCHING.lock:
            for method in METHODS:
                original = vars(fixtures.FixtureDef).get(method)
                if isinstance(original, FunctionType) and method not in self._replaced:
                    mine = self._through(method, original)
                    self._replaced[method] = original, mine
                    setattr(fixtures.FixtureDef, method, mine)

    def stop(self) -> None:
        """Step out; if somebody stands above, pass on from now on."""
        fixtures: Any = sys.modules.get("_pytest.fixtures")
        with _PATCHING.lock:
            for method, (original, mine) in self._replaced.items():
                if fixtures is not None and vars(fixtures.FixtureDef).get(method) is mine:
                    setattr(fixtures.FixtureDef, method, original)
            self._replaced = {}

    def _through(self, method: str, original: Function) -> FunctionType:
        def through(fixture: Any, request: Any) -> Any:
            call: Function | None = original
            if method in self._replaced:
                key = method, getattr(fixture.func, "__module__", None) or "", fixture.argname
                if key not in self._timed:
                    self._timed[key] = self._timed_or_not(original, *key)
                call = self._timed[key]
            try:
                return (call or original)(fixture, request)
            except BaseException as error:
                without_caller(error)
                raise

        assert isinstance(through, FunctionType)
        through.__name__, through.__qualname__ = method, original.__qualname__
        through.__module__, through.__doc__ = original.__module__, original.__doc__
        return through

    def _timed_or_not(
        self, original: Function, method: str, module: str, name: str
    ) -> Function | None:
        """Return what times a method of a fixture; None if it is no plugin's."""
        if module.partition(".")[0] not in self._packages():
            return None
        return timed_method(self._nesting, original, method, module, name)

    def _packages(self) -> set[str]:
        """Return the top-level packages of the plugins there are now, but for pytest's own."""
        managers = filter(None, (reference() for reference in self._managers))
        return packages_of(plugin for manager in managers for plugin in manager.get_plugins())


def packages_of(plugins: Iterable[object]) -> set[str]:
    """Return the top-level packages of pytest's plugins, but for its own, ours, and conftest files."""
    modules = {module_name_of(plugin) for plugin in plugins}
    found = {module.partition(".")[0] for module in modules if "conftest" not in module}
    return found - {"_pytest", "pytest", "pluginhost"}


def timed_method(
    nesting: ThreadNesting, call: Function, method: str, module: str, name: str
) -> Function:
    """Return `call`, one of `METHODS`, on record as that of the fixture `name` of a module."""
    hook = f"{printable(name, 300)}{METHODS[method]}"
    plugin = f"{FIXTURE}{printable(module, 300)}"
    return nesting.timed(call, nesting.tree.site(EventKind.HOOK_CALL, plugin, hook), _same)


def _same(result: Any) -> Any:
    return result
