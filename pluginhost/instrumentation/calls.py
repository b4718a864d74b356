"""What of a hook implementation is timed: a function's call, the two halves of a wrapper, an await.

How a call finds its parent and goes on record is up to a `Nesting`: by context, for executions whose
calls cross tasks and threads (`by_context`), or by thread, where times must add up (`by_thread`).
"""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import Any, Protocol

import pluggy

from pluginhost.bus import EventBus
from pluginhost.calltree import AFTER_YIELD, AWAITED, BEFORE_YIELD, CallSite, EventKind
from pluginhost.instrumentation.awaitables import awaited, future_watched
from pluginhost.printable import printable

Function = Callable[..., Any]


class Nesting(Protocol):
    """Knows what is being called from what, and records calls at their ends."""

    bus: EventBus

    def timed(self, function: Function, site: CallSite, deferred: Function) -> Function:
        """Return `function`, on record; results that may be awaited go through `deferred`."""

    def step(self, site: CallSite, call: Function, argument: Any) -> Any:
        """Call a step of a generator or coroutine, on record; its way of ending is no failure."""


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
        nesting, bus = self._nesting, self._nesting.bus
        site_of, name, hook = bus.tree.site, self._name_of(impl), printable(hook)
        function: Function = impl.function
        if impl.wrapper or impl.hookwrapper:
            before = site_of(EventKind.HOOK_CALL, name, hook + BEFORE_YIELD)
            after = site_of(EventKind.HOOK_CALL, name, hook + AFTER_YIELD)
            step = nesting.step
            return lambda *args, **options: _TimedSteps(
                function(*args, **options), step, before, after
            )
        within = site_of(EventKind.HOOK_CALL, name, hook + AWAITED)
        span = site_of(EventKind.HOOK_AWAIT, name, hook + AWAITED)

        def deferred(result: Any) -> Any:
            """Return what stands for an awaitable result, so that awaiting it is on record."""
            if type(result) is CoroutineType:
                return awaited(result, nesting.step, within, span, bus)
            future_watched(result, span, bus)
            return result

        return nesting.timed(function, site_of(EventKind.HOOK_CALL, name, hook), deferred)


PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict, set})
"""Types of results that need no look at whether they can be awaited."""


def passes_on(argument: object) -> Callable[[object], bool]:
    """Return whether an exception is the one that a wrapper's step is handed, and only passes on.

    It is thrown into a new-style wrapper, and in the result that an old-style one is sent.
    """
    given = argument.exception if isinstance(argument, pluggy.Result) else argument
    return lambda error: error is given


class _TimedSteps:
    """Stands for a wrapper's generator: the same steps, the same ends, each timed."""

    __slots__ = ("_after", "_before", "_step", "_steps")

    def __init__(self, steps: Any, step: Function, before: CallSite, after: CallSite) -> None:
        self._steps = steps
        self._step = step
        self._before = before
        self._after = after

    def __next__(self) -> Any:
        __tracebackhide__ = True
        return self._step(self._before, next, self._steps)

    def send(self, value: Any) -> Any:
        __tracebackhide__ = True
        return self._step(self._after, self._steps.send, value)

    def throw(self, error: BaseException) -> Any:
        __tracebackhide__ = True
        return self._step(self._after, self._steps.throw, error)

    def close(self) -> None:
        self._steps.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._steps, name)
