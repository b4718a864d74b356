"""Hook calls and imports that nest by thread: what a thread is in is what its calls are made from.

A hook implementation, a half of a wrapper, a step of a coroutine, an import: each begins and ends on
one thread, within what the thread was doing before. So the times of one thread add up. Other threads
stand apart in the tree, and nothing they do is taken off anybody's time.

A call puts two things into the journal of its path, its duration and an extra (see `Extra`). All
that is dear is done at a tick, which comes when a call begins or ends and the last one is a while
ago: the CPU clock is read, and now and then the journals are added up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from types import FunctionType
from typing import Any, cast

from pluginhost.calltree import ELSEWHERE, MEASURING, CallSite, CallTree, EventKind
from pluginhost.instrumentation.calls import PLAIN, Function, passes_on
from pluginhost.instrumentation.failures import failure_of, is_closing, without_caller
from pluginhost.instrumentation.readings import ThreadCpu
from pluginhost.journal import CPU_SHIFT, Detail, Failure

FLUSH_INTERVAL_NS = 1_000_000_000
"""How often at most the journals are added up: most of that is for each path, however few its records."""

DUE, OFFSET, PATH, FLUSH_DUE = range(4)
Entered = tuple[Any, ...]
"""What has begun: the state of its thread, its parent, its path, its start, and the offset then."""


class _Here(threading.local):
    """The state of each thread: when the next tick is due, CPU less wall, path, next flush."""

    def __init__(self, nesting: ThreadNesting) -> None:
        self.state = nesting.state_of(threading.get_ident())


class ThreadNesting:
    """Records the calls of a process in the journals of `tree`; `flush()` is to add them up.

    What that takes is on record itself.
    """

    def __init__(
        self,
        tree: CallTree,
        clock: Callable[[], int],
        cpu: ThreadCpu,
        flush: Callable[[], None] = lambda: None,
    ) -> None:
        self.tree = tree
        self.clock = clock
        self._read = cpu.read
        self._flush = flush
        self.main: list[Any] = [0, 0, tree.root, 0]
        """The state of the thread whose times add up."""
        self.alone = True
        """Whether no other thread was seen."""
        self._elsewhere = tree.site(EventKind.HOOK_CALL, "", ELSEWHERE)
        self.here = _Here(self)
        self._measuring = tree.site(EventKind.HOOK_CALL, "", MEASURING)
        self.begin, self.end = _sections(self.here, clock, cpu.read)

    def state_of(self, thread_id: int) -> list[Any]:
        """Return the state of a thread that was not seen before."""
        if thread_id == self.tree.thread_id:
            return self.main
        self.alone = False
        return [0, 0, self.tree.root[self._elsewhere], 0]

    def enter(self, site: CallSite) -> Entered:
        """Begin a call, and read the CPU clock; what is returned is for `leave`."""
        state = self.here.state
        parent = state[PATH]
        state[PATH] = path = parent[site]
        start = self._read(state)
        return state, parent, path, start, state[OFFSET]

    def leave(self, entered: Entered) -> tuple[Any, int, int]:
        """End a call; return the journal for its record, its duration, and CPU time less that."""
        state, parent, path, start, offset = entered
        duration_ns = self._read(state) - start
        state[PATH] = parent
        return path.journal, duration_ns, state[OFFSET] - offset

    def here_is(self, kind: EventKind) -> bool:
        """Whether what this thread is in the middle of is of that kind."""
        return self.here.state[PATH].site.kind is kind

    def timed(self, function: Function, site: CallSite, deferred: Function) -> Function:
        """Return `function`, timed; closures because this runs around every implementation."""
        clock, here, read, tick, plain = self.clock, self.here, self._read, self._tick, PLAIN

        def timed(*args: Any) -> Any:
            state = here.state
            parent = state[2]
            state[2] = path = parent[site]
            start = clock()
            if start > state[0]:
                start = tick(state, parent)
            offset = state[1]
            try:
                result = function(*args)
            except BaseException as error:
                duration_ns = read(state) - start
                used = duration_ns + state[1] - offset
                detail = Detail(failure_of(error, site.plugin_id), cpu_ns=used)
                path.journal.extend((duration_ns, detail))
                state[2] = parent
                without_caller(error)
                raise
            end = clock()
            if end > state[0]:
                end = read(state)
            if state[1] is offset:
                path.journal.extend((end - start, 1 if result is None else 0))
            else:
                waited = (state[1] - offset) << 20
                path.journal.extend((end - start, waited | 1 if result is None else waited))
            state[2] = parent
            if result is None or type(result) in plain or not hasattr(type(result), "__await__"):
                return result
            return deferred(result)

        return timed

    def wrapping(  # noqa: C901  # in line, for it runs around every wrapper
        self, function: Function, before: CallSite, after: CallSite
    ) -> FunctionType:
        """Return a generator function that does what `function` does, both halves on record."""
        clock, here, read, tick = self.clock, self.here, self._read, self._tick
        halves = before, after

        def timed(*args: Any, **options: Any) -> Generator[Any, Any, Any]:
            wrapper = function(*args, **options)
            call: Function = next
            argument: Any = wrapper
            for site in halves:
                state = here.state
                parent = state[2]
                state[2] = path = parent[site]
                start = clock()
                if start > state[0]:
                    start = tick(state, parent)
                offset = state[1]
                try:
                    yielded = call(argument)
                except StopIteration as stop:
                    end = clock()
                    if end > state[0]:
                        end = read(state)
                    value = stop.value
                    extra = 1 if value is argument else 0
                    if state[1] is not offset:
                        extra |= (state[1] - offset) << 20
                    path.journal.extend((end - start, extra))
                    state[2] = parent
                    return value
                except BaseException as error:
                    duration_ns = read(state) - start
                    ending = _ending(error, argument, duration_ns, state[1] - offset, site)
                    path.journal.extend((duration_ns, ending))
                    state[2] = parent
                    argument = None  # an exception must not keep itself alive
                    without_caller(error)
                    raise
                end = clock()
                if end > state[0]:
                    end = read(state)
                extra = 0 if state[1] is offset else (state[1] - offset) << 20
                path.journal.extend((end - start, extra))
                state[2] = parent
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
        """Call a step of a coroutine, on record; its way of ending is no failure."""
        entered = self.enter(site)
        failed: BaseException | None = None
        try:
            return call(argument)
        except BaseException as error:
            failed = error
            without_caller(error)
            raise
        finally:
            journal, duration_ns, waited = self.leave(entered)
            extra: Detail | int = waited << CPU_SHIFT
            if failed is not None:
                extra = _ending(failed, argument, duration_ns, waited, site)
            journal.extend((duration_ns, extra))
            failed = None

    def span(self, site: CallSite, start_ns: int, failure: Failure | None) -> None:
        """Record that something that began at `start_ns` and was awaited is done now."""
        journal = self.tree.root[site].journal
        journal.extend((self.clock() - start_ns, 0 if failure is None else Detail(failure)))

    def _tick(self, state: list[Any], parent: Any) -> int:
        """Read the CPU clock and, if it is time, have the journals added up; return the time."""
        now: int = self._read(state)
        if now > state[FLUSH_DUE]:
            start, offset = now, state[OFFSET]
            self._flush()
            now = self._read(state)
            state[FLUSH_DUE] = now + FLUSH_INTERVAL_NS
            extra = (state[OFFSET] - offset) << CPU_SHIFT
            parent[self._measuring].journal.extend((now - start, extra))
        return now


def _sections(
    here: _Here, clock: Callable[[], int], read: Callable[[list[Any]], int]
) -> tuple[Callable[[CallSite], Entered], Callable[..., None]]:
    """Return what begins a call, and what ends and records it, as quickly as `ThreadNesting.timed`.

    The latter takes what the former returned, and the failure if it was one.
    """

    def begin(site: CallSite) -> Entered:
        state = here.state
        parent = state[2]
        state[2] = path = parent[site]
        start = clock()
        if start > state[0]:
            start = read(state)
        return state, parent, path, start, state[1]

    def end(entered: Entered, failure: Failure | None = None) -> None:
        state, parent, path, start, offset = entered
        now = clock()
        if now > state[0]:
            now = read(state)
        duration_ns, waited = now - start, state[1] - offset
        if failure is None:
            path.journal.extend((duration_ns, waited << CPU_SHIFT))
        else:
            path.journal.extend((duration_ns, Detail(failure, cpu_ns=duration_ns + waited)))
        state[2] = parent

    return begin, end


def _ending(
    error: BaseException, argument: object, duration_ns: int, waited: int, site: CallSite
) -> Detail | int:
    """Return what the record of a step carries that ended with `error`.

    A generator's end is no failure: its lowest bit tells whether it only passed on what it was
    sent. Nor is an exception that the step was handed and let through.
    """
    if isinstance(error, StopIteration):
        return waited << CPU_SHIFT | (error.value is argument)
    if passes_on(error, argument):
        return waited << CPU_SHIFT
    return Detail(failure_of(error, site.plugin_id), cpu_ns=duration_ns + waited)
