"""What of a hook implementation is timed: a function's call, the two halves of a wrapper, an await.

How a call finds its parent and goes on record is up to a `Nesting`: by context, for executions whose
calls cross tasks and threads (`by_context`), or by thread, where times must add up (`by_thread`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import unwrap
from types import CodeType, CoroutineType, FunctionType
from typing import Any, Protocol

import pluggy

from pluginhost.calltree import AFTER_YIELD, AWAITED, BEFORE_YIELD, CallSite, CallTree, EventKind
from pluginhost.instrumentation.awaitables import awaited, future_watched
from pluginhost.instrumentation.failures import without_caller
from pluginhost.journal import Failure
from pluginhost.printable import printable

Function = Callable[..., Any]


class Nesting(Protocol):
    """Knows what is being called from what, and records calls at their ends."""

    tree: CallTree
    clock: Callable[[], int]

    def timed(self, function: Function, site: CallSite, deferred: Function) -> Function:
        """Return `function`, on record; results that may be awaited go through `deferred`."""

    def wrapping(self, function: Function, before: CallSite, after: CallSite) -> FunctionType:
        """Return a generator function that does what `function` does, both halves on record."""

    def step(self, site: CallSite, call: Function, argument: Any) -> Any:
        """Call a step of a coroutine, on record; its way of ending is no failure."""

    def span(self, site: CallSite, start_ns: int, failure: Failure | None) -> None:
        """Record that something that began at `start_ns` and was awaited is done now."""


class CallTimer:
    """Makes the timed functions that a tap puts into the calls of a manager.

    A wrapper is recorded as two calls, before and after its yield: in between, others run. A
    coroutine that an implementation returns is replaced by one that does the same and is recorded
    whenever it runs. `name_of` says what the plugin of an implementation is called.
    """

    def __init__(
        self,
        nesting: Nesting,
        *,
        name_of: Callable[[pluggy.HookImpl], str] = lambda impl: printable(impl.plugin_name),
    ) -> None:
        self._nesting = nesting
        self._name_of = name_of

    def timed(self, impl: pluggy.HookImpl, hook: str) -> Function:
        """Return a function that does what `impl.function` does and records it."""
        nesting, tree = self._nesting, self._nesting.tree
        site_of, name, hook = tree.site, self._name_of(impl), printable(hook)
        function: Function = impl.function
        if impl.wrapper or impl.hookwrapper:
            before = site_of(EventKind.HOOK_CALL, name, hook + BEFORE_YIELD)
            after = site_of(EventKind.HOOK_CALL, name, hook + AFTER_YIELD)
            return named_like(nesting.wrapping(function, before, after), function)
        within = site_of(EventKind.HOOK_CALL, name, hook + AWAITED)
        span = site_of(EventKind.HOOK_AWAIT, name, hook + AWAITED)

        def record_span(start_ns: int, failure: Failure | None) -> None:
            """Record that an awaitable which began at `start_ns` is done."""
            nesting.span(span, start_ns, failure)

        def deferred(result: Any) -> Any:
            """Return what stands for an awaitable result, so that awaiting it is on record."""
            site.contains = True
            if type(result) is CoroutineType:
                return awaited(
                    result, nesting.clock, partial(nesting.step, within), record_span, name
                )
            future_watched(result, nesting.clock, record_span)
            return result

        site = site_of(EventKind.HOOK_CALL, name, hook)
        if impl.kwargnames:
            return _with_options(nesting, function, site, deferred)
        return nesting.timed(function, site, deferred)


def _with_options(
    nesting: Nesting, function: Function, site: CallSite, deferred: Function
) -> Function:
    """Return what also takes arguments by name, as pluggy passes what has a default (from 1.7 on).

    Few implementations have one, and to take them costs the others a tenth of the whole timing.
    """

    def spread(options: dict[str, Any], *args: Any) -> Any:
        try:
            return function(*args, **options)
        except BaseException as error:
            without_caller(error)
            raise

    timed = nesting.timed(spread, site, deferred)

    def named(*args: Any, **options: Any) -> Any:
        try:
            return timed(options, *args)
        except BaseException as error:
            without_caller(error)
            raise

    return named


PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict, set})
"""Types of results that need no look at whether they can be awaited."""


def passes_on(error: BaseException, argument: object) -> bool:
    """Whether `error` is the exception that a wrapper's step was handed, and only passes on.

    It is thrown into a new-style wrapper, and in the result that an old-style one is sent.
    """
    return error is (argument.exception if isinstance(argument, pluggy.Result) else argument)


def named_like(mine: FunctionType, function: Any) -> FunctionType:
    """Return `mine` with the name and place of `function`: what pluggy says of a bad wrapper.

    All of its code then stands on the line where `function` begins, for tracebacks look it up in
    the plugin's file.
    """
    inner = unwrap(getattr(function, "func", function))
    code = getattr(getattr(inner, "__func__", inner), "__code__", None)
    if isinstance(code, CodeType):
        mine.__code__ = mine.__code__.replace(
            co_name=code.co_name,
            co_qualname=code.co_qualname,
            co_filename=code.co_filename,
            co_firstlineno=code.co_firstlineno,
            co_linetable=_on_one_line(len(mine.__code__.co_code) // 2),
        )
    return mine


def _on_one_line(units: int) -> bytes:
    """Return a table (PEP 657) that puts that many units of code on the first line, no more, no less.

    CPython writes past its memory where a table says more than there is. An entry is for up to eight
    units: its kind, 13, says that it has no columns, and what follows it is the lines to advance, 0.
    """
    whole, rest = divmod(units, 8)
    table = bytes((0x80 | 13 << 3 | 7, 0)) * whole
    return table + bytes((0x80 | 13 << 3 | rest - 1, 0)) if rest else table
