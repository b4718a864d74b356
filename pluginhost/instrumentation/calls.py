"""How one call of a hook implementation is timed: its frame, two clock readings, one record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from types import CoroutineType
from typing import Any

import pluggy

from pluginhost.bus import EventBus
from pluginhost.calltree import (
    AFTER_YIELD,
    AWAITED,
    BEFORE_YIELD,
    MEASURING,
    CallPath,
    CallSite,
    EventKind,
)
from pluginhost.events import Detail
from pluginhost.instrumentation.awaitables import awaited, future_watched
from pluginhost.instrumentation.failures import failure_of
from pluginhost.instrumentation.nesting import Frame
from pluginhost.instrumentation.readings import ThreadCpu
from pluginhost.printable import printable

Step = Callable[..., Any]
"""`step(site, call, argument)` calls `call(argument)`, within a frame and on record."""


class CallTimer:
    """Makes the timed functions that a tap puts into the calls of a manager.

    A wrapper is recorded as two calls, before and after its yield: in between, others run. A
    coroutine that an implementation returns is replaced by one that does the same and is recorded
    whenever it runs. With `cpu`, the CPU time of every call is known (see `ThreadCpu`). With
    `tell_measuring`, what it takes to hand records over is on record itself. `name_of` says what
    the plugin of an implementation is called.
    """

    def __init__(
        self,
        bus: EventBus,
        current: ContextVar[Frame],
        *,
        cpu: ThreadCpu | None = None,
        tell_measuring: bool = False,
        name_of: Callable[[pluggy.HookImpl], str] = lambda impl: printable(impl.plugin_name),
    ) -> None:
        self._bus = bus
        self._current = current
        self._cpu = cpu
        self._name_of = name_of
        self._drain = _telling_drain(bus) if tell_measuring else _plain_drain(bus)
        self._step = timed_step(bus, current, cpu, self._drain)

    def timed(self, impl: pluggy.HookImpl, hook: str) -> Callable[..., Any]:
        """Return a function that does what `impl.function` does and records it."""
        tree, name, hook = self._bus.tree, self._name_of(impl), printable(hook)
        function: Callable[..., Any] = impl.function
        if impl.wrapper or impl.hookwrapper:
            before = tree.site(EventKind.HOOK_CALL, name, hook + BEFORE_YIELD)
            after = tree.site(EventKind.HOOK_CALL, name, hook + AFTER_YIELD)
            step = self._step
            return lambda *args, **options: _TimedSteps(
                function(*args, **options), step, before, after
            )
        site = tree.site(EventKind.HOOK_CALL, name, hook)
        within = tree.site(EventKind.HOOK_CALL, name, hook + AWAITED)
        span = tree.site(EventKind.HOOK_AWAIT, name, hook + AWAITED)

        def deferred(result: Any) -> Any:
            """Return what stands for an awaitable result, so that awaiting it is on record."""
            if type(result) is CoroutineType:
                return awaited(result, self._step, within, span, self._bus)
            future_watched(result, span, self._bus)
            return result

        timer = _timed_wall if self._cpu is None else _timed_cpu
        return timer(function, site, self._bus, self._current, self._drain, deferred, self._cpu)


def _plain_drain(bus: EventBus) -> Callable[[CallPath, int], None]:
    return lambda _parent, _me: bus.drain()


def _telling_drain(bus: EventBus) -> Callable[[CallPath, int], None]:
    site = bus.tree.site(EventKind.HOOK_CALL, "", MEASURING)

    def drain(parent: CallPath, me: int) -> None:
        """Hand the records over, and record within `parent` what that took."""
        start = bus.clock()
        bus.drain()
        bus.journal.extend((parent[site], start, bus.clock(), me, False))

    return drain


def _timed_wall(
    function: Callable[..., Any],
    site: CallSite,
    bus: EventBus,
    current: ContextVar[Frame],
    drain: Callable[[CallPath, int], None],
    deferred: Callable[[Any], Any],
    _cpu: ThreadCpu | None,
) -> Callable[..., Any]:
    """Return `function`, timed; closures because this runs around every implementation.

    pluggy passes what has a default by name (from 1.7 on).
    """
    clock, journal, extend = bus.clock, bus.journal, bus.journal.extend
    high_water, ident = bus.high_water, threading.get_ident
    get, set_, elsewhere = current.get, current.set, bus.tree.elsewhere

    def timed(*args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        outer = get()
        me = ident()
        while (parent := outer[0]) is None:
            outer = outer[1]
        if outer[2] != me:
            parent = elsewhere(parent)
        path = parent[site]
        own = [path, outer, me, 0, None, path]
        set_(own)
        start = clock()
        try:
            result = function(*args, **options)
        except BaseException as error:
            extend((path, start, clock(), me, Detail(failure_of(error, site.plugin_id))))
            own[0] = None
            if len(journal) > high_water:
                drain(parent, me)
            raise
        extend((path, start, clock(), me, result is None))
        own[0] = None
        if len(journal) > high_water:
            drain(parent, me)
        if result is not None and hasattr(type(result), "__await__"):
            return deferred(result)
        return result

    return timed


def _timed_cpu(
    function: Callable[..., Any],
    site: CallSite,
    bus: EventBus,
    current: ContextVar[Frame],
    drain: Callable[[CallPath, int], None],
    deferred: Callable[[Any], Any],
    cpu: ThreadCpu | None,
) -> Callable[..., Any]:
    """Return `function`, timed on both clocks; apart from them as `_timed_wall`, in line."""
    assert cpu is not None
    clock, journal, extend = bus.clock, bus.journal, bus.journal.extend
    high_water, ident = bus.high_water, threading.get_ident
    get, set_, elsewhere = current.get, current.set, bus.tree.elsewhere
    states, read = cpu.states, cpu.read

    def timed(*args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        outer = get()
        me = ident()
        while (parent := outer[0]) is None:
            outer = outer[1]
        state = states[me]
        if outer[2] != me:
            parent = elsewhere(parent)
            state[0] = 0  # it may be another thread's that has ended
        path = parent[site]
        own = [path, outer, me, 0, None, path]
        set_(own)
        start = clock()
        if start > state[0]:
            start = read(state)
        offset = state[1]
        try:
            result = function(*args, **options)
        except BaseException as error:
            end = read(state)
            used = end - start + state[1] - offset
            failure = failure_of(error, site.plugin_id)
            extend((path, start, end, me, Detail(failure, cpu_ns=used)))
            own[0] = None
            if len(journal) > high_water:
                drain(parent, me)
            raise
        end = clock()
        if end > state[0]:
            end = read(state)
        used = end - start + state[1] - offset
        extend((path, start, end, me, used << 1 | (result is None)))
        own[0] = None
        if len(journal) > high_water:
            drain(parent, me)
        if result is not None and hasattr(type(result), "__await__"):
            return deferred(result)
        return result

    return timed


def timed_step(
    bus: EventBus,
    current: ContextVar[Frame],
    cpu: ThreadCpu | None,
    drain: Callable[[CallPath, int], None],
) -> Step:
    """Return a function that calls a step of a generator or coroutine and records it.

    Its way of ending is not a failure, nor is an exception that it was handed and passes on.
    """
    clock, journal, extend = bus.clock, bus.journal, bus.journal.extend
    high_water, ident = bus.high_water, threading.get_ident
    get, set_, elsewhere = current.get, current.set, bus.tree.elsewhere
    states, read = (cpu.states, cpu.read) if cpu is not None else (None, None)

    def step(site: CallSite, call: Callable[[Any], Any], argument: Any) -> Any:
        __tracebackhide__ = True
        outer = get()
        me = ident()
        while (parent := outer[0]) is None:
            outer = outer[1]
        state = states[me] if states is not None else _UNREAD
        if outer[2] != me:
            parent = elsewhere(parent)
            if read is not None:
                state[0] = 0
        path = parent[site]
        own = [path, outer, me, 0, None, path]
        set_(own)
        start = clock()
        if read is not None and start > state[0]:
            start = read(state)
        offset = state[1]
        failure = None
        try:
            return call(argument)
        except StopIteration:
            raise
        except BaseException as error:
            if error is not _exception_in(argument):
                failure = failure_of(error, site.plugin_id)
            raise
        finally:
            end = clock()
            extra: Any = False
            if read is not None:
                if end > state[0]:
                    end = read(state)
                extra = (end - start + state[1] - offset) << 1
            if failure is not None:
                extra = Detail(failure, cpu_ns=extra >> 1 if read is not None else None)
            extend((path, start, end, me, extra))
            own[0] = None
            if len(journal) > high_water:
                drain(parent, me)

    return step


_UNREAD = [1 << 63, 0]


def _exception_in(given: object) -> object:
    """Return the exception that a wrapper is handed: thrown in, or in an old-style one's result."""
    return given.exception if isinstance(given, pluggy.Result) else given


class _TimedSteps:
    """Stands for a wrapper's generator: the same steps, the same ends, each timed."""

    __slots__ = ("_after", "_before", "_step", "_steps")

    def __init__(self, steps: Any, step: Step, before: CallSite, after: CallSite) -> None:
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
