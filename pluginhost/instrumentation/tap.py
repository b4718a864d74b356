"""The tap into a pluggy manager: every hook implementation timed for itself, by plugin and hook.

pluggy's own monitoring sees a call of all implementations together, so it cannot tell plugins
apart. The tap puts a timed copy of each implementation into the call instead; the registered ones
are never touched, so that whoever looks at them sees what was registered.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pluggy

from pluginhost.bus import EventBus
from pluginhost.events import CallSite, Detail, EventKind
from pluginhost.instrumentation.failures import failure_of
from pluginhost.instrumentation.nesting import Frame, begin
from pluginhost.printable import printable

Hookexec = Callable[[str, Sequence[pluggy.HookImpl], Mapping[str, object], bool], object]


class HookTapSource:
    """Feeds a bus with every implementation's calls in `manager` while the bus has observers.

    A wrapper is recorded as two calls, before and after its yield: in between, others run. The
    time of an implementation that returns a coroutine ends when the coroutine is returned.
    """

    def __init__(
        self, manager: pluggy.PluginManager, bus: EventBus, current: ContextVar[Frame]
    ) -> None:
        # The one private name of pluggy's that is used here; its own monitoring replaces the same.
        self._manager: Any = manager
        self._bus = bus
        self._current = current
        self._below: Hookexec = self._manager._inner_hookexec
        self._inserted = False
        self._recording = False
        self._leaving: frozenset[str] = frozenset()
        self._prepared: dict[str, tuple[list[pluggy.HookImpl], list[pluggy.HookImpl]]] = {}

    def start(self) -> None:
        """Step between the manager and whatever executes its calls now."""
        self._recording = True
        if not self._inserted:
            self._below = self._manager._inner_hookexec
            self._manager._inner_hookexec = self._execute
            self._inserted = True

    def stop(self) -> None:
        """Step out, and with us every tap that could not because we stood above it.

        If somebody else has stepped in above meanwhile, every call is passed on from now on.
        """
        self._recording = False
        self._prepared.clear()
        top = getattr(self._manager._inner_hookexec, "__self__", None)
        while isinstance(top, HookTapSource) and not top._recording:
            self._manager._inner_hookexec = top._below
            top._inserted = False
            top = getattr(top._below, "__self__", None)

    @contextmanager
    def letting_go(self, plugin_id: str) -> Iterator[None]:
        """Keep nothing of one plugin while it is unloaded, so that it can be freed."""
        self._leaving |= {plugin_id}
        try:
            self._forget(plugin_id)  # a call of its own: variables here would live on meanwhile
            yield
        finally:
            self._leaving -= {plugin_id}

    def _forget(self, plugin_id: str) -> None:
        for hook, (registered, _) in list(self._prepared.items()):
            if any(impl.plugin_name == plugin_id for impl in registered):
                self._prepared.pop(hook, None)

    def _execute(
        self,
        hook: str,
        implementations: Sequence[pluggy.HookImpl],
        kwargs: Mapping[str, object],
        firstresult: bool,
    ) -> object:
        __tracebackhide__ = True
        if not self._recording:
            return self._below(hook, implementations, kwargs, firstresult)
        registered, timed = self._prepared.get(hook, _NOTHING)
        if registered != implementations:  # by identity, element by element
            known = dict(zip(registered, timed, strict=True))
            timed = [known.get(impl) or self._timed(hook, impl) for impl in implementations]
            if self._leaving.isdisjoint(impl.plugin_name for impl in implementations):
                self._prepared[hook] = (list(implementations), timed)
        return self._below(hook, timed.copy(), kwargs, firstresult)

    def _timed(self, hook: str, impl: pluggy.HookImpl) -> pluggy.HookImpl:
        tree, name = self._bus.tree, printable(impl.plugin_name)
        timed: Any = copy.copy(impl)
        hook = printable(hook)
        if impl.wrapper or impl.hookwrapper:
            before = tree.site(EventKind.HOOK_CALL, name, f"{hook} (before yield)")
            after = tree.site(EventKind.HOOK_CALL, name, f"{hook} (after yield)")
            function, timer = impl.function, _Timer(self._bus, self._current)
            timed.function = lambda *args, **options: _TimedSteps(
                function(*args, **options), timer, before, after
            )
        else:
            site = tree.site(EventKind.HOOK_CALL, name, hook)
            timed.function = _timed_function(impl.function, site, self._bus, self._current)
        return timed  # type: ignore[no-any-return]


_NOTHING: tuple[list[pluggy.HookImpl], list[pluggy.HookImpl]] = ([], [])


def _timed_function(
    function: Callable[..., Any], site: CallSite, bus: EventBus, current: ContextVar[Frame]
) -> Callable[..., Any]:
    """Return `function`, timed; closures because this runs around every implementation.

    pluggy passes what has a default by name (from 1.7 on).
    """
    clock, journal, extend, drain = bus.clock, bus.journal, bus.journal.extend, bus.drain
    high_water, ident = bus.high_water, threading.get_ident
    get, set_ = current.get, current.set

    def timed(*args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        outer = get()
        me = ident()
        while (parent := outer[0]) is None:
            outer = outer[1]
        path = parent[site]
        if outer[2] != me:
            parent.concurrent = True
        own = [path, outer, me, 0, None, path]
        set_(own)
        start = clock()
        try:
            result = function(*args, **options)
        except BaseException as error:
            extend((path, start, clock(), me, Detail(failure_of(error, site.plugin_id))))
            own[0] = None
            if len(journal) > high_water:
                drain()
            raise
        extend((path, start, clock(), me, None))
        own[0] = None
        if len(journal) > high_water:
            drain()
        return result

    return timed


class _Timer:
    """Calls a step of a wrapper and records it; a wrapper's way of ending is not a failure."""

    def __init__(self, bus: EventBus, current: ContextVar[Frame]) -> None:
        self._bus = bus
        self._current = current

    def call(self, site: CallSite, step: Callable[..., Any], *args: Any) -> Any:
        __tracebackhide__ = True
        bus = self._bus
        path, own = begin(self._current, site)
        detail = None
        start = bus.clock()
        try:
            return step(*args)
        except StopIteration:
            raise
        except BaseException as error:
            if not any(error is _exception_in(given) for given in args):  # not passed through
                detail = Detail(failure_of(error, site.plugin_id))
            raise
        finally:
            bus.journal.extend((path, start, bus.clock(), threading.get_ident(), detail))
            own[0] = None
            if len(bus.journal) > bus.high_water:
                bus.drain()


def _exception_in(given: object) -> object:
    """Return the exception that a wrapper is handed: thrown in, or in an old-style one's result."""
    return given.exception if isinstance(given, pluggy.Result) else given


class _TimedSteps:
    """Stands for a wrapper's generator: the same steps, the same ends, each timed."""

    def __init__(self, steps: Any, timer: _Timer, before: CallSite, after: CallSite) -> None:
        self._steps = steps
        self._timer = timer
        self._before = before
        self._after = after

    def __next__(self) -> Any:
        __tracebackhide__ = True
        return self._timer.call(self._before, next, self._steps)

    def send(self, value: Any) -> Any:
        __tracebackhide__ = True
        return self._timer.call(self._after, self._steps.send, value)

    def throw(self, error: BaseException) -> Any:
        __tracebackhide__ = True
        return self._timer.call(self._after, self._steps.throw, error)

    def close(self) -> None:
        self._steps.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._steps, name)
