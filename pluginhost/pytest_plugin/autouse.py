"""Fixtures that plugins set up unasked: what they take of every test is gone without the plugin.

That is more than what their functions take: pytest looks them up, calls hooks about them and ends
them, for each test. So the two methods that do all that are timed, of these fixtures only, as
`pluginhost profile` times them.
"""

from __future__ import annotations

from typing import Any

from pluginhost.calltree import EventKind
from pluginhost.capture import FIXTURE
from pluginhost.instrumentation.by_thread import ThreadNesting
from pluginhost.instrumentation.watched import module_name_of
from pluginhost.printable import printable

_METHODS = {"execute": "", "finish": ", teardown"}
_NOT_TO_BE_LEFT_OUT = {"_pytest", "pytest", "pluginhost"}


def packages_of_plugins(manager: Any) -> set[str]:
    """Return the top-level packages of the plugins there are now, but for pytest's own and ours."""
    modules = {module_name_of(plugin) for plugin in manager.get_plugins()}
    found = {module.partition(".")[0] for module in modules if "conftest" not in module}
    return found - _NOT_TO_BE_LEFT_OUT


def module_of(fixturedef: Any) -> str:
    """Return the module of a fixture's function."""
    return getattr(fixturedef.func, "__module__", None) or ""


class AutouseFixtures:
    """Times the fixtures that plugins have declared as used by all tests."""

    def __init__(self, nesting: ThreadNesting) -> None:
        self._nesting = nesting
        self._timed: list[Any] = []

    def start(self, session: Any) -> None:
        """Step before the methods of each such fixture that the tests of a session have."""
        packages = packages_of_plugins(session.config.pluginmanager)
        first_of = {id(item.parent): item for item in reversed(session.items)}
        found: dict[int, Any] = {}
        for item in first_of.values():  # its neighbours have the same
            known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
            for fixturedef in (each for fixturedefs in known.values() for each in fixturedefs):
                if getattr(fixturedef, "_autouse", False):
                    found[id(fixturedef)] = fixturedef
        for fixturedef in found.values():
            module = module_of(fixturedef)
            if module.partition(".")[0] in packages:
                self._time(fixturedef, module)

    def stop(self) -> None:
        """Step out again."""
        while self._timed:
            methods = vars(self._timed.pop())
            for name in _METHODS:
                methods.pop(name, None)

    def _time(self, fixturedef: Any, module: str) -> None:
        for name, part in _METHODS.items():
            setattr(fixturedef, name, self._timing(getattr(fixturedef, name), module, part))
        self._timed.append(fixturedef)

    def _timing(self, method: Any, module: str, part: str) -> Any:
        hook = f"{printable(method.__self__.argname, 300)}{part}"
        site = self._nesting.tree.site(
            EventKind.HOOK_CALL, f"{FIXTURE}{printable(module, 300)}", hook
        )
        call = self._nesting.timed(method, site, _same)

        def timed(request: Any) -> Any:
            __tracebackhide__ = True
            return call(request)

        return timed


def _same(result: Any) -> Any:
    return result
