"""The fixtures that were set up: which they are, and their sites in the call tree."""

from __future__ import annotations

from inspect import unwrap
from typing import Any

from pluginhost.calltree import CallSite, CallTree, EventKind
from pluginhost.printable import printable
from pluginhost.pytest_plugin.sections import SETTING_UP, TEARING_DOWN
from pluginhost.pytest_plugin.suite_capture import FixtureSeen

Sites = tuple[CallSite, CallSite]
_OF_TESTS = ("_xunit_", "_unittest_", "xunit_", "unittest_")
"""Begin the names of fixtures that pytest makes of what test modules and classes define."""


class FixturesSeen:
    """Knows each fixture by its definition; one key for all that are alike."""

    def __init__(self, tree: CallTree) -> None:
        self._tree = tree
        self._sites: dict[Any, Sites] = {}
        self._value: Any = None  # the function by which pytest makes fixtures of parameters' values
        self.seen: dict[str, FixtureSeen] = {}

    def sites(self, fixturedef: Any) -> Sites | None:
        """Return the sites of setting up and tearing down; None for a mere value of a parameter."""
        if fixturedef.func is self._value:  # another definition for each test
            return None
        try:
            return self._sites[fixturedef]
        except KeyError:
            found = self._note(fixturedef)
            if found is not None:
                self._sites[fixturedef] = found
            return found

    def _note(self, fixturedef: Any) -> Sites | None:
        function = _function_of(fixturedef.func)
        module = printable(getattr(function, "__module__", "") or "", 200)
        if module.startswith("_pytest.") and "direct_param" in function.__name__:
            self._value = fixturedef.func
            return None
        code = getattr(function, "__code__", None)
        file = printable(getattr(code, "co_filename", module), 300)
        name, scope = printable(fixturedef.argname, 200), printable(fixturedef.scope, 20)
        of_tests = name.startswith(_OF_TESTS)
        key = f"{name} [{scope}] {fixturedef.baseid if of_tests else file}"
        key = printable(f"{key}:{getattr(code, 'co_firstlineno', 0)}", 400)
        self.seen.setdefault(
            key,
            FixtureSeen(
                key,
                name,
                scope,
                file,
                module,
                printable(fixturedef.baseid or "", 300),
                module.startswith("_pytest.") and not of_tests,
                bool(getattr(fixturedef, "_autouse", False)),
                bool(fixturedef.params),
            ),
        )
        site = self._tree.site
        return (
            site(EventKind.SECTION, "", SETTING_UP + key),
            site(EventKind.SECTION, "", TEARING_DOWN + key),
        )


def _function_of(function: Any) -> Any:
    """Return what a fixture calls in the end: it may be bound, decorated or a partial."""
    try:
        function = unwrap(function)
    except ValueError:  # it goes in a circle
        return function
    function = getattr(function, "func", function)
    return getattr(function, "__func__", function)
