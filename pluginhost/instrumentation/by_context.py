"""Hook calls that nest by context: below the execution they were made for, whatever thread runs them."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextvars import ContextVar
from types import FunctionType
from typing import Any, cast

from pluginhost.bus import EventBus
from pluginhost.calltree import CallSite
from pluginhost.instrumentation.calls import PLAIN, Function, passes_on
from pluginhost.instrumentation.failures import failure_of, is_closing, without_caller
from pluginhost.instrumentation.nesting import Frame, begin
from pluginhost.journal import Detail, Failure


class ContextNesting:
    """Records hook calls below the frames of `current`, with wall times only."""

    def __init__(self, bus: EventBus, current: ContextVar[Frame]) -> None:
        self.tree = bus.tree
        self.clock = bus.clock
        self._bus = bus
        self._current = current

    def timed(self, function: Function, site: CallSite, deferred: Function) -> Function:
        """Return `function`, timed; closures because this runs around every implementation."""
        bus, plain = self._bus, PLAIN
        clock, journal, extend, drain = bus.clock, bus.journal, bus.journal.extend, bus.drain
        high_water, ident = bus.high_water, threading.get_ident
        get, set_, elsewhere = self._current.get, self._current.set, bus.tree.elsewhere

        def timed(*args: Any) -> Any:
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
                result = function(*args)
            except BaseException as error:
                extend((path, start, clock(), me, Detail(failure_of(error, site.plugin_id))))
                own[0] = None
                if len(journal) > high_water:
                    drain()
                without_caller(error)
                raise
            extend((path, start, clock(), me, result is None))
            own[0] = None
            if len(journal) > high_water:
                drain()
            return result if type(result) in plain else _looked_at(result, deferred)

        return timed

    def wrapping(self, function: Function, before: CallSite, after: CallSite) -> FunctionType:
        """Return a generator function that does what `function` does, both halves on record."""
        step = self.step

        def timed(*args: Any, **options: Any) -> Generator[Any, Any, Any]:
            wrapper = function(*args, **options)
            call, argument = next, wrapper
            for site in (before, after):
                try:
                    yielded = step(site, call, argument)
                except StopIteration as stop:
                    return stop.value
                except BaseException as error:
                    without_caller(error)
                    raise
                try:
                    argument, call = (yield yielded), wrapper.send
                except BaseException as error:
                    without_caller(error)
                    if is_closing(error):
                        wrapper.close()
                        raise
                    argument, call = error, wrapper.throw
            return None

        return cast("FunctionType", timed)

    def step(self, site: CallSite, call: Function, argument: Any) -> Any:
        """Call a step of a wrapper or coroutine, on record; its way of ending is no failure."""
        bus = self._bus
        path, own = begin(self._current, site)
        extra: Detail | bool = False
        start = bus.clock()
        try:
            return call(argument)
        except StopIteration as stop:
            extra = stop.value is argument
            raise
        except BaseException as error:
            if not passes_on(error, argument):
                extra = Detail(failure_of(error, site.plugin_id))
            without_caller(error)
            raise
        finally:
            bus.journal.extend((path, start, bus.clock(), threading.get_ident(), extra))
            own[0] = None
            if len(bus.journal) > bus.high_water:
                bus.drain()

    def span(self, site: CallSite, start_ns: int, failure: Failure | None) -> None:
        """Record that something that began at `start_ns` and was awaited is done now."""
        bus = self._bus
        detail = Detail(failure) if failure is not None else None
        path = bus.tree.root[site]
        bus.journal.extend((path, start_ns, bus.clock(), threading.get_ident(), detail))


def _looked_at(result: Any, deferred: Function) -> Any:
    return deferred(result) if hasattr(type(result), "__await__") else result
