"""Timing over an await: wall time from the first step to the last, CPU only while it runs.

Executions are wrapped in an awaitable of their own. A 1:N hook hands its results to a program that
may look at them, so a coroutine is replaced by a coroutine, and nothing else is replaced at all.
"""

from __future__ import annotations

import sys
import threading
import types
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any

from pluginhost.bus import EventBus
from pluginhost.calltree import CallSite
from pluginhost.events import Detail, Failure
from pluginhost.instrumentation.failures import failure_of
from pluginhost.instrumentation.nesting import Frame, begin_task, end_task
from pluginhost.instrumentation.readings import (
    process_cpu_ns,
    rss_gauge,
    task_count,
    thread_count,
    thread_cpu_ns,
)
from pluginhost.instrumentation.sampling import Sampler
from pluginhost.reading import RawReading


class timed_awaitable:  # noqa: N801  # used like a function
    """Awaits `awaitable` and then records it; results and exceptions pass through unchanged.

    While it runs, the plugin is the parent of what it calls, in this task and in tasks that it
    starts. Where the execution is sampled, CPU time is summed over the steps between suspensions.
    """

    def __init__(
        self,
        awaitable: Awaitable[Any],
        plugin_id: str,
        bus: EventBus,
        sampler: Sampler,
        current: ContextVar[Frame],
    ) -> None:
        self._awaitable = awaitable
        self._plugin_id = plugin_id
        self._bus = bus
        self._sampler = sampler
        self._current = current

    def __await__(self) -> Generator[Any, Any, Any]:
        bus, current = self._bus, self._current
        path, own = begin_task(current, self._plugin_id)
        readings = _AsyncReading(bus) if self._sampler.random() < self._sampler.rate else None
        steps = self._awaitable.__await__()
        failure = None
        start = bus.clock()
        try:
            if readings is None:
                return (yield from steps)
            return (yield from readings.counting_cpu(steps))
        except BaseException as error:
            failure = failure_of(error, self._plugin_id)
            raise
        finally:
            end = bus.clock()
            reading = readings.finished() if readings is not None else None
            detail = Detail(failure, reading, None, _task_name())
            bus.journal.extend((path, start, end, threading.get_ident(), detail))
            end_task(own)
            if len(bus.journal) > bus.high_water:
                bus.drain()


class _AsyncReading:
    """The costly readings of one asynchronous execution."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._rss = rss_gauge()
        self._threads, self._tasks, self._memory = self._alive(), task_count(), self._rss()
        self._process_start_ns = process_cpu_ns()
        self._cpu_ns = 0

    def counting_cpu(self, steps: Any) -> Generator[Any, Any, Any]:
        """Drive `steps` with a CPU clock around every step."""

        def counted(call: Callable[[Any], Any], argument: Any) -> Any:
            started = thread_cpu_ns()
            try:
                return call(argument)
            finally:
                self._cpu_ns += thread_cpu_ns() - started

        return driven(steps, counted)

    def finished(self) -> RawReading:
        """Return the reading, with the gauges read once more."""
        others_ns = process_cpu_ns() - self._process_start_ns - self._cpu_ns
        memory, threads, tasks = self._rss(), self._alive(), task_count()
        alive = self._threads, threads, self._tasks, tasks
        return self._cpu_ns, self._memory, memory, others_ns, *alive

    def _alive(self) -> int:
        return 1 + thread_count() - self._bus.own_threads


def driven(
    steps: Any, step: Callable[[Callable[[Any], Any], Any], Any]
) -> Generator[Any, Any, Any]:
    """Drive `steps` as `yield from` would (PEP 380), each step made by `step(call, argument)`."""
    value: Any = None
    thrown: BaseException | None = None
    while True:
        try:
            if thrown is not None:
                throw = getattr(steps, "throw", None)
                if throw is None:
                    raise thrown
                awaited = step(throw, thrown)
            elif value is None:
                awaited = (
                    step(next, steps) if hasattr(steps, "__next__") else step(steps.send, None)
                )
            else:
                awaited = step(steps.send, value)
        except StopIteration as stop:
            return stop.value
        thrown = None
        try:
            value = yield awaited
        except GeneratorExit:
            close = getattr(steps, "close", None)
            if close is not None:
                close()
            raise
        except BaseException as error:
            thrown = error


def awaited(
    coroutine: types.CoroutineType[Any, Any, Any],
    step: Callable[..., Any],
    within: CallSite,
    span: CallSite,
    bus: EventBus,
) -> Coroutine[Any, Any, Any]:
    """Return a coroutine that is `coroutine` and records, within `within`, whenever it runs.

    When it is done, all of its time from the first step on, waiting included, is recorded as
    `span`. One that is never awaited says so once, as it would have without us.
    """

    async def awaiting() -> Any:
        start, failure = bus.clock(), None
        try:
            return await _steps(coroutine, lambda call, argument: step(within, call, argument))
        except BaseException as error:
            failure = failure_of(error, span.plugin_id)
            raise
        finally:
            _record_span(bus, span, start, failure)

    mine: Any = awaiting()
    mine.__name__, mine.__qualname__ = coroutine.__name__, coroutine.__qualname__
    weakref.finalize(mine, coroutine.close).atexit = False
    return mine  # type: ignore[no-any-return]


@types.coroutine
def _steps(
    coroutine: Any, step: Callable[[Callable[[Any], Any], Any], Any]
) -> Generator[Any, Any, Any]:
    return (yield from driven(coroutine, step))


def future_watched(result: object, span: CallSite, bus: EventBus) -> None:
    """If `result` is a future, have the time until it is done recorded as `span`."""
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is not None and asyncio.isfuture(result):
        future: Any = result
        start = bus.clock()
        future.add_done_callback(lambda _: _record_span(bus, span, start, None))


def _record_span(bus: EventBus, span: CallSite, start: int, failure: Failure | None) -> None:
    detail = Detail(failure, None, None, _task_name()) if failure is not None else None
    path = bus.tree.root[span]
    path.journal.extend((path, start, bus.clock(), threading.get_ident(), detail))


def _task_name() -> str | None:
    import asyncio

    try:
        task = asyncio.current_task()
    except RuntimeError:  # awaited by another framework's loop
        return None
    return task.get_name() if task is not None else None
