"""Bodies of tests, fixtures and collection on record: sections of the same call tree as the hooks.

Some of pytest's own implementations contain what others wrote: a test's body, a fixture's function,
the collecting of a file. In place of the implementation, the tree gets what it contains.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pluggy
import pytest
from _pytest.unittest import TestCaseFunction

from pluginhost.calltree import CallPath, CallSite, EventKind
from pluginhost.instrumentation.by_thread import Entered
from pluginhost.instrumentation.calls import named_like
from pluginhost.instrumentation.failures import without_caller
from pluginhost.instrumentation.tap import Timed
from pluginhost.journal import CPU_SHIFT, Detail, Failure, Status
from pluginhost.pytest_plugin.fixtures_seen import FixturesSeen
from pluginhost.pytest_plugin.hooks_of_pytest import needs_no_timing
from pluginhost.pytest_plugin.sections import BODIES, COLLECTING, ENDING
from pluginhost.pytest_plugin.table import TestTable
from pluginhost.recording import Recorder

Function = Callable[..., Any]
_FAILED = Failure(Status.ERROR, None, None)


class SuiteTimer:
    """Times the implementations of a manager, and sections of those that contain a suite's own."""

    def __init__(self, recorder: Recorder, table: TestTable, fixtures: FixturesSeen) -> None:
        self._recorder = recorder
        self._nesting = recorder.nesting
        self._table = table
        self._fixtures = fixtures
        self._bodies = self._site(BODIES)
        self._below: dict[CallPath, _Below] = {}
        self._ending: Entered | None = None
        self.untimed: set[tuple[str, str]] = set()
        """Which plugins' implementations of which hooks have no records of their own."""

    def begin_ending(self) -> None:
        """Record from now on what comes after all hooks."""
        self._ending = self._nesting.begin(self._site(ENDING))

    def end_ending(self) -> None:
        """End that, where it was begun."""
        if self._ending is not None:
            self._nesting.end(self._ending)

    def through(self, timed: Timed) -> Timed:
        """Return what times like `timed`, but for the implementations that contain others' work."""

        def special(impl: pluggy.HookImpl, hook: str) -> Function:
            module = getattr(impl.function, "__module__", None) or ""
            wraps = impl.wrapper or impl.hookwrapper
            make = _CONTAINING.get((hook, module)) if not wraps else None
            body = hook == "pytest_pyfunc_call" and not wraps
            if make is None and not body and needs_no_timing(module, hook, wraps=wraps):
                self.untimed.add((impl.plugin_name, hook))
                return impl.function
            if wraps:
                return timed(impl, hook)
            if body:
                tested = named_like(self._body(impl.function), impl.function)
                if module == "_pytest.python":
                    self.untimed.add((impl.plugin_name, hook))
                    return tested
                mine: Any = copy.copy(impl)
                mine.function = tested
                return timed(mine, hook)
            if make is None:
                return timed(impl, hook)
            self.untimed.add((impl.plugin_name, hook))
            return named_like(make(self, impl.function), impl.function)

        return special

    def _body(self, function: Function) -> Any:
        """Return `function`, which may run the body of a test; else it returns None."""
        enter, ended = self._nesting.enter, self._body_ended
        site = self._bodies

        def timed(item: Any) -> Any:
            entered = enter(site)
            try:
                result = function(item)
            except BaseException as error:
                ended(entered, failed=True)
                without_caller(error)
                raise
            if result is None:
                self._nesting.leave(entered)
            else:
                ended(entered)
            return result

        return timed

    def _other_test(self, function: Function) -> Any:
        """Return `function` with the body on record of a test that is no plain Python function."""
        enter, ended, site = self._nesting.enter, self._body_ended, self._bodies
        of_unittest, python_test = TestCaseFunction, pytest.Function

        def timed(item: Any) -> Any:
            kind = type(item)  # most are of the first, and it takes longer to look at its bases
            is_plain = kind is python_test or (
                issubclass(kind, python_test) and not issubclass(kind, of_unittest)
            )
            entered = None if is_plain else enter(site)
            try:
                result = function(item)
            except BaseException as error:
                if entered is not None:
                    ended(entered, failed=True)
                without_caller(error)
                raise
            if entered is not None:
                ended(entered)
            return result

        return timed

    def _body_ended(self, entered: tuple[Any, ...], *, failed: bool = False) -> None:
        journal, duration_ns, waited = self._nesting.leave(entered)
        path = entered[2]
        self_ns = duration_ns
        if path:  # something was called from a body, perhaps from this one
            self_ns -= self._newly_below_ns(path)
        self._table.ran(duration_ns, max(0, self_ns), duration_ns + waited)
        if failed:
            journal.extend((duration_ns, Detail(_FAILED, cpu_ns=duration_ns + waited)))
        else:
            journal.extend((duration_ns, waited << CPU_SHIFT))

    def _newly_below_ns(self, path: CallPath) -> int:
        """Return the time of what was called from `path` since the last time this was asked."""
        known = self._below.get(path)
        if known is None:
            known = self._below[path] = _Below()
        if len(known.journals) != len(path):
            known.journals = [each.journal for each in path.values()]
        elif sum(map(len, known.journals)) == known.pending and self._recorder.added == known.added:
            return 0
        known.pending, known.added = sum(map(len, known.journals)), self._recorder.added
        before_ns = known.total_ns
        known.total_ns = sum(map(self._recorder.total_ns, path.values()))
        return known.total_ns - before_ns

    def _fixture(self, function: Function) -> Any:
        """Return `function` with what it sets up on record, and what that tears down."""
        begin, end, fixtures = self._nesting.begin, self._nesting.end, self._fixtures

        def timed(fixturedef: Any, request: Any) -> Any:
            sections = None
            if fixturedef.func is not fixtures.value:
                sections = fixtures.sections(fixturedef)
            if sections is None:
                try:
                    return function(fixturedef, request)
                except BaseException as error:
                    without_caller(error)
                    raise
            # the first to be added is the last to be called
            fixturedef.addfinalizer(sections.end_teardown)
            entered = begin(sections.setting_up)
            try:
                result = function(fixturedef, request)
            except BaseException as error:
                end(entered, None if isinstance(error, pytest.skip.Exception) else _FAILED)
                fixturedef.addfinalizer(sections.begin_teardown)
                without_caller(error)
                raise
            end(entered)
            fixturedef.addfinalizer(sections.begin_teardown)
            return result

        return timed

    def _collecting(self, function: Function) -> Any:
        """Return `function` with the collecting of each file on record."""
        begin, end = self._nesting.begin, self._nesting.end

        def timed(collector: Any) -> Any:
            file = collector.nodeid.partition("::")[0] or "."
            entered = begin(self._site(COLLECTING + file[:400]))
            try:
                return function(collector)
            except BaseException as error:
                without_caller(error)
                raise
            finally:
                end(entered)

        return timed

    def _site(self, name: str) -> CallSite:
        return self._recorder.tree.site(EventKind.SECTION, "", name)


_CONTAINING: dict[tuple[str, str], Callable[[SuiteTimer, Function], Any]] = {
    ("pytest_runtest_call", "_pytest.runner"): SuiteTimer._other_test,
    ("pytest_fixture_setup", "_pytest.fixtures"): SuiteTimer._fixture,
    ("pytest_make_collect_report", "_pytest.runner"): SuiteTimer._collecting,
}


class _Below:
    """What was called from a path: where it is on record, how many there were, and their time."""

    def __init__(self) -> None:
        self.journals: list[Any] = []
        self.pending = self.added = self.total_ns = 0
