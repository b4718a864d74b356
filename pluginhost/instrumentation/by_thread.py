"""Hook calls and imports that nest by thread: what a thread is in is what its calls are made from.

A hook implementation, a half of a wrapper, a step of a coroutine, an import: each begins and ends on
one thread, within what the thread was doing before. So the times of one thread add up. Other threads
stand apart in the tree, and nothing they do is taken off anybody's time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from types import FunctionType
from typing import Any, cast

from msgspec.structs import replace

from pluginhost.bus import EventBus
from pluginhost.calltree import ELSEWHERE, MEASURING, CallPath, CallSite, CallTree, EventKind
from pluginhost.events import CPU_SHIFT, Detail
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

    `drain(path)` is called when the journal of a path holds more than `high_water`; what it takes
    is on record itself.
    """

    def __init__(
        self,
        bus: EventBus,
        cpu: ThreadCpu | None,
        *,
        high_water: int | None = None,
        drain: Callable[[CallPath], None] | None = None,
    ) -> None:
        self.bus = bus
        self._read = cpu.read if cpu is not None else _never
        self._here = _Here(bus.tree, 0 if cpu is not None else 1 << 63)
        self._measuring = bus.tree.site(EventKind.HOOK_CALL, "", MEASURING)
        self._high_water = high_water if high_water is not None else bus.high_water
        self._hand_over = drain if drain is not None else lambda _path: bus.drain()

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
        extra = (used, *readings) if readings else used << CPU_SHIFT
        path.journal.extend((path, start, end, state[THREAD], extra))
        state[PATH] = parent
        if len(path.journal) > self._high_water:
            self._drain(state, path)

    def timed(self, function: Function, site: CallSite, deferred: Function) -> Function:
        """Return `function`, timed; closures because this runs around every implementation."""
        clock, here, read, plain = self.bus.clock, self._here, self._read, PLAIN
        drain, high_water = self._drain, self._high_water

        def timed(*args: Any) -> Any:
            __tracebackhide__ = True
            state = here.state
            parent = state[2]
            state[2] = path = parent[site]
            start = clock()
            if start > state[0]:
                start = read(state)
            offset = state[1]
            try:
                result = function(*args)
            except BaseException as error:
                end = read(state) or clock()
                used = end - start + state[1] - offset
                detail = Detail(failure_of(error, site.plugin_id), cpu_ns=used)
                path.journal.extend((path, start, end, state[3], detail))
                state[2] = parent
                raise
            end = clock()
            if end > state[0]:
                end = read(state)
            used = end - start + state[1] - offset
            journal = path.journal
            journal.extend((path, start, end, state[3], used << CPU_SHIFT | (result is None)))
            state[2] = parent
            if len(journal) > high_water:
                drain(state, path)
            if type(result) in plain or not hasattr(type(result), "__await__"):
                return result
            return deferred(result)

        return timed

    def wrapping(self, function: Function, before: CallSite, after: CallSite) -> FunctionType:
        """Return a generator function that does what `function` does, both halves on record."""
        clock, here, read, halves = self.bus.clock, self._here, self._read, (before, after)
        drain, high_water = self._drain, self._high_water

        def timed(*args: Any, **options: Any) -> Generator[Any, Any, Any]:
            __tracebackhide__ = True
            wrapper = function(*args, **options)
            call: Function = next
            argument: Any = wrapper
            for site in halves:
                state = here.state
                parent = state[2]
                state[2] = path = parent[site]
                start = clock()
                if start > state[0]:
                    start = read(state)
                offset = state[1]
                try:
                    yielded = call(argument)
                except StopIteration as stop:
                    end = clock()
                    if end > state[0]:
                        end = read(state)
                    value = stop.value
                    used = end - start + state[1] - offset
                    journal = path.journal
                    journal.extend(
                        (path, start, end, state[3], used << CPU_SHIFT | (value is argument))
                    )
                    state[2] = parent
                    if len(journal) > high_water:
                        drain(state, path)
                    return value
                except BaseException as error:
                    end = read(state) or clock()
                    used = end - start + state[1] - offset
                    ending = _ending(error, argument, used, site)
                    path.journal.extend((path, start, end, state[3], ending))
                    state[2] = parent
                    argument = None  # an exception must not keep itself alive
                    raise
                end = clock()
                if end > state[0]:
                    end = read(state)
                journal = path.journal
                used = end - start + state[1] - offset
                journal.extend((path, start, end, state[3], used << CPU_SHIFT))
                state[2] = parent
                if len(journal) > high_water:
                    drain(state, path)
                try:
                    argument, call = (yield yielded), wrapper.send
                except GeneratorExit:
                    wrapper.close()
                    raise
                except BaseException as error:
                    argument, call = error, wrapper.throw
            return None

        return cast("FunctionType", timed)

    def step(self, site: CallSite, call: Function, argument: Any) -> Any:
        """Call a step of a coroutine, on record; its way of ending is no failure."""
        __tracebackhide__ = True
        state, parent, path, start, offset = self.enter(site)
        ending: Detail | int = 0
        try:
            return call(argument)
        except BaseException as error:
            ending = _ending(error, argument, 0, site)
            raise
        finally:
            end = self._read(state) or self.bus.clock()
            used = end - start + state[OFFSET] - offset
            extra = (
                replace(ending, cpu_ns=used) if isinstance(ending, Detail) else used << CPU_SHIFT
            )
            path.journal.extend((path, start, end, state[THREAD], extra))
            state[PATH] = parent
            if len(path.journal) > self._high_water:
                self._drain(state, path)

    def _drain(self, state: list[Any], path: CallPath) -> None:
        """Hand the records of a path over, and record within the caller what that took."""
        clock, measuring = self.bus.clock, state[PATH][self._measuring]
        start = self._read(state) or clock()
        offset = state[OFFSET]
        self._hand_over(path)
        if len(measuring.journal) > self._high_water:
            self._hand_over(measuring)
        end = self._read(state) or clock()
        used = end - start + state[OFFSET] - offset
        measuring.journal.extend((measuring, start, end, state[THREAD], used << CPU_SHIFT))


def _ending(error: BaseException, argument: object, cpu_ns: int, site: CallSite) -> Detail | int:
    """Return what the record of a step carries that ended with `error`.

    A generator's end is no failure: its lowest bit tells whether it only passed on what it was
    sent. Nor is an exception that the step was handed and let through.
    """
    if isinstance(error, StopIteration):
        return cpu_ns << CPU_SHIFT | (error.value is argument)
    if passes_on(error, argument):
        return cpu_ns << CPU_SHIFT
    return Detail(failure_of(error, site.plugin_id), cpu_ns=cpu_ns)


def _never(_state: list[Any]) -> int:
    """Stand in for a CPU clock that is not read."""
    return 0
