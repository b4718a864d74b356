"""The fixtures that were set up: which they are, and their sites in the call tree."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import unwrap
from typing import Any

import msgspec

from pluginhost.calltree import CallSite, CallTree, EventKind
from pluginhost.printable import printable
from pluginhost.pytest_plugin.scopes import by_name, narrower, widest_scope
from pluginhost.pytest_plugin.sections import SETTING_UP, TEARING_DOWN
from pluginhost.pytest_plugin.suite_capture import FixtureSeen

Sites = tuple[CallSite, CallSite]
_OF_TESTS = ("xunit", "unittest")
"""How the names begin of fixtures that pytest makes of what test modules and classes define."""


class FixturesSeen:
    """Knows each fixture by its definition; one key for all that are alike."""

    def __init__(self, tree: CallTree) -> None:
        self._tree = tree
        self._sites: dict[Any, Sites] = {}
        self._value: Any = None  # the function by which pytest makes fixtures of parameters' values
        self._seen: dict[Any, FixtureSeen] = {}

    def found(self, used: Iterable[Any]) -> tuple[FixtureSeen, ...]:
        """Return what was set up; `used` are the fixtures that any test uses."""
        known = by_name(used)
        found: dict[str, FixtureSeen] = {}
        for fixturedef, seen in self._seen.items():
            widest = widest_scope(fixturedef, _function_of(fixturedef.func), known)
            if seen.key not in found or narrower(widest, found[seen.key].widest):
                found[seen.key] = msgspec.structs.replace(seen, widest=widest)
        return tuple(found.values())

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
        base = printable(fixturedef.baseid or "", 300)
        name, scope = printable(fixturedef.argname, 200), printable(fixturedef.scope, 20)
        line = getattr(code, "co_firstlineno", 0)
        written = _as_written(fixturedef.argname, function)
        if written is not None:  # pytest calls it for them, but it is of the tests
            name, file, module, line = printable(written, 200), base.partition("::")[0], "", 0
        key = f"{name} [{scope}] {base if code is None or written is not None else file}"
        key = printable(f"{key}:{line}" if line else key, 400)
        self._seen[fixturedef] = FixtureSeen(
            key,
            name,
            scope,
            file,
            module,
            base,
            module.startswith("_pytest."),
            bool(getattr(fixturedef, "_autouse", False)),
            bool(fixturedef.params),
        )
        site = self._tree.site
        return (
            site(EventKind.SECTION, "", SETTING_UP + key),
            site(EventKind.SECTION, "", TEARING_DOWN + key),
        )


def _as_written(name: str, function: Any) -> str | None:
    """Return what a test file calls what pytest has made a fixture of: `setup_method of TestK`.

    None for other fixtures. What only tears down is called after that.
    """
    named, made, where = name.removeprefix("_").partition("_fixture_")
    kind, _, what = named.partition("_")
    if kind not in _OF_TESTS or not made or not what:
        return None
    try:
        values = {
            variable: cell.cell_contents
            for variable, cell in zip(
                function.__code__.co_freevars, function.__closure__ or (), strict=True
            )
        }
    except (AttributeError, ValueError):  # not the function that it was, or a cell without value
        values = {}
    if any(_is_nothing(value) for name, value in values.items() if name.startswith("setup")):
        what = what.replace("setUp", "tearDown").replace("setup", "teardown")
    return what if what.endswith(("_module", "_function")) else f"{what} of {where}"


def _is_nothing(value: Any) -> bool:
    """Whether no test class or module wrote this: unittest has methods that do nothing."""
    return value is None or getattr(value, "__module__", None) == "unittest.case"


def _function_of(function: Any) -> Any:
    """Return what a fixture calls in the end: it may be bound, decorated or a partial."""
    try:
        function = unwrap(function)
    except ValueError:  # it goes in a circle
        return function
    function = getattr(function, "func", function)
    return getattr(function, "__func__", function)
