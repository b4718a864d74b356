"""Hook calls and imports that nest by thread: what a thread is in is what its calls are made from.

A hook implementation, a half of a wrapper, a step of a coroutine, an import: each begins and ends on
one thread, within what the thread was doing before. So the times of one thread add up. Other threads
stand apart in the tree, and nothing they do is taken off anybody's time.
"""

from __future__ import annotations

import threading
from typing import Any

from pluginhost.bus import EventBus
from pluginhost.calltree import ELSEWHERE, MEASURING, CallSite, CallTree, EventKind
from pluginhost.events import Detail
from pluginhost.instrumentation.calls import PLAIN, Function, passes_on
from pluginhost.instrumentation.failures import failure_of
from pluginhost.instrumentation.readings import ThreadCpu

DUE, OFFSET, PATH, THREAD = range(4)


class _Here(threading.local):
    """The state of each thread: when to read its CPU clock next, CPU less wall, path, ident."""

    def __init__(self, tree: CallTree, due: int) -> None:
        me = threading.get_ident()
        apart = tree.site(EventKind.HOOK_CALL, "", ELSEWHERE)
        base = tree.root if me == tree.thread_id else tree.root[apart]
        self.state: list[Any] = [due, 0, base, me]


class ThreadNesting:
    """Records calls of one process, with CPU times from `cpu`, or, with None, such as are no times.

    What it takes to hand full journals over is on record itself.
    """

    def __init__(self, bus: EventBus, cpu: ThreadCpu | None) -> None:
        self.bus = bus
        self._read = cpu.read if cpu is not None else _never
        self._here = _Here(bus.tree, 0 if cpu is not None else 1 << 63)
        self._measuring = bus.tree.site(EventKind.HOOK_CALL, "", MEASURING)
        self.step = self._timed_step()

    def enter(self, site: CallSite) -> tuple[Any, ...]:
        """Begin a call; what is returned is for `leave`."""
        state = self._here.state
        parent = state[PATH]
        state[PATH] = path = parent[site]
        start = self._read(state) or self.bus.clock()
        return state, parent, path, start, state[OFFSET]

    def leave(self, entered: tuple[Any, ...], *readings: Any) -> None:
        """End a call; its record carries its CPU time and then the `readings`, or nothing else."""
        state, parent, path, start, offset = entered
        end = self._read(state) or self.bus.clock()
        used = end - start + state[OFFSET] - offset
        extra = (used, *readings) if readings else used << 1
        self.bus.journal.extend((path, start, end, state[THREAD], extra))
        state[PATH] = parent

    def timed(self, function: Function, site: CallSite, deferred: Function) -> Function:
        """Return `function`, timed; closures because this runs around every implementation.

        pluggy passes what has a default by name (from 1.7 on).
        """
        bus, here, read, plain = self.bus, self._here, self._read, PLAIN
        clock, journal, extend, drain = bus.clock, bus.journal, bus.journal.extend, self._drain
        high_water = bus.high_water

        def timed(*args: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            state = here.state
            parent = state[2]
            state[2] = path = parent[site]
            start = clock()
            if start > state[0]:
                start = read(state)
            offset = state[1]
            try:
                result = function(*args, **options)
            except BaseException as error:
                end = read(state) or clock()
                used = end - start + state[1] - offset
                detail = Detail(failure_of(error, site.plugin_id), cpu_ns=used)
                extend((path, start, end, state[3], detail))
                state[2] = parent
                if len(journal) > high_water:
                    drain(state)
                raise
            end = clock()
            if end > state[0]:
                end = read(state)
            used = end - start + state[1] - offset
            extend((path, start, end, state[3], used << 1 | (result is None)))
            state[2] = parent
            if len(journal) > high_water:
                drain(state)
            if type(result) in plain or not hasattr(type(result), "__await__"):
                return result
            return deferred(result)

        return timed

    def _timed_step(self) -> Function:
        bus, here, read = self.bus, self._here, self._read
        clock, journal, extend, drain = bus.clock, bus.journal, bus.journal.extend, self._drain
        high_water = bus.high_water

        def step(site: CallSite, call: Function, argument: Any) -> Any:
            """Call a step of a generator or coroutine; its way of ending is no failure."""
            __tracebackhide__ = True
            state = here.state
            parent = state[2]
            state[2] = path = parent[site]
            failure, unchanged = None, False
            start = clock()
            if start > state[0]:
                start = read(state)
            offset = state[1]
            try:
                return call(argument)
            except StopIteration as stop:
                unchanged = stop.value is argument
                raise
            except BaseException as error:
                if not passes_on(argument)(error):
                    failure = failure_of(error, site.plugin_id)
                raise
            finally:
                end = clock()
                if end > state[0]:
                    end = read(state)
                used = end - start + state[1] - offset
                extra: Any = used << 1 | unchanged
                if failure is not None:
                    extra = Detail(failure, cpu_ns=used)
                extend((path, start, end, state[3], extra))
                state[2] = parent
                if len(journal) > high_water:
                    drain(state)

        return step

    def _drain(self, state: list[Any]) -> None:
        """Hand the records over, and record within the caller what that took."""
        bus = self.bus
        start = self._read(state) or bus.clock()
        offset = state[OFFSET]
        bus.drain()
        end = self._read(state) or bus.clock()
        used = end - start + state[OFFSET] - offset
        bus.journal.extend((state[PATH][self._measuring], start, end, state[THREAD], used << 1))


def _never(_state: list[Any]) -> int:
    """Stand in for a CPU clock that is not read."""
    return 0
