"""Fixtures that plugins set up unasked: what they take of every test is gone without the plugin.

That is more than what their functions take: pytest looks them up, calls hooks about them and ends
them, for each test. So the two methods that do all that are timed, of these fixtures only, as
`pluginhost profile` times them.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from pluginhost.instrumentation.by_thread import ThreadNesting
from pluginhost.instrumentation.failures import without_caller
from pluginhost.instrumentation.fixtures import METHODS, packages_of, timed_method


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
        packages = packages_of(session.config.pluginmanager.get_plugins())
        items = session.items[::-1]
        first_of = dict(zip(map(id, map(attrgetter("parent"), items)), items, strict=True))
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
            for name in METHODS:
                methods.pop(name, None)

    def _time(self, fixturedef: Any, module: str) -> None:
        for method in METHODS:
            setattr(fixturedef, method, self._timing(fixturedef, method, module))
        self._timed.append(fixturedef)

    def _timing(self, fixturedef: Any, method: str, module: str) -> Any:
        original = getattr(fixturedef, method)
        call = timed_method(self._nesting, original, method, module, fixturedef.argname)

        def timed(request: Any) -> Any:  # pytest passes it by name
            try:
                return call(request)
            except BaseException as error:
                without_caller(error)
                raise

        return timed
