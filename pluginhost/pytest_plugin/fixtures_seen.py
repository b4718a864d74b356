"""The fixtures that were set up: which they are, and their sections in the call tree."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import unwrap
from typing import Any

import msgspec

from pluginhost.calltree import CallSite, EventKind
from pluginhost.instrumentation.by_thread import Entered, ThreadNesting
from pluginhost.printable import printable
from pluginhost.pytest_plugin.scopes import by_name, narrower, widest_scope
from pluginhost.pytest_plugin.sections import SETTING_UP, TEARING_DOWN
from pluginhost.pytest_plugin.suite_capture import FixtureSeen

_OF_TESTS = ("xunit", "unittest")
"""How the names begin of fixtures that pytest makes of what test modules and classes define."""


class FixturesSeen:
    """Knows each fixture by its definition; one key for all that are alike."""

    def __init__(self, nesting: ThreadNesting) -> None:
        self._nesting = nesting
        self._sections: dict[Any, FixtureSections] = {}
        self.value: Any = None
        """The function by which pytest makes fixtures of parameters' values, another for each test."""
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

    def sections(self, fixturedef: Any) -> FixtureSections | None:
        """Return those of setting up and tearing down; None for a mere value of a parameter."""
        try:
            return self._sections[fixturedef]
        except KeyError:
            found = self._note(fixturedef)
            if found is not None:
                self._sections[fixturedef] = found
            return found

    def _note(self, fixturedef: Any) -> FixtureSections | None:
        function = _function_of(fixturedef.func)
        module = printable(getattr(function, "__module__", "") or "", 200)
        if module.startswith("_pytest.") and "direct_param" in function.__name__:
            self.value = fixturedef.func
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
        site = self._nesting.tree.site
        return FixtureSections(
            self._nesting,
            site(EventKind.SECTION, "", SETTING_UP + key),
            site(EventKind.SECTION, "", TEARING_DOWN + key),
        )


class FixtureSections:
    """Where what one definition of a fixture does is on record.

    Tearing down is what lies between two finalizers, for those that the fixture adds itself while it
    is set up stand between them. pytest ends a fixture before it sets it up again, so that one
    object serves for all times.
    """

    __slots__ = ("_entered", "_nesting", "setting_up", "tearing_down")

    def __init__(
        self, nesting: ThreadNesting, setting_up: CallSite, tearing_down: CallSite
    ) -> None:
        self._nesting = nesting
        self._entered: Entered | None = None
        self.setting_up = setting_up
        self.tearing_down = tearing_down

    def begin_teardown(self) -> None:
        """Is called before the finalizers of the fixture."""
        self._entered = self._nesting.begin(self.tearing_down)

    def end_teardown(self) -> None:
        """Is called after them."""
        entered, self._entered = self._entered, None
        if entered is not None:
            self._nesting.end(entered)


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
