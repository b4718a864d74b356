"""Executions that are awaited: each is wrapped in an awaitable of its own."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import Any

from pluginhost.bus import EventBus
from pluginhost.instrumentation.awaitables import driven
from pluginhost.instrumentation.failures import failure_of, without_caller
from pluginhost.instrumentation.nesting import Frame, begin_task, end_task
from pluginhost.instrumentation.readings import (
    process_cpu_ns,
    rss_gauge,
    task_count,
    thread_count,
    thread_cpu_ns,
)
from pluginhost.instrumentation.sampling import Sampler
from pluginhost.journal import Detail
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
            without_caller(error)
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
            except BaseException as error:
                without_caller(error)
                raise
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


def _task_name() -> str | None:
    import asyncio

    try:
        task = asyncio.current_task()
    except RuntimeError:  # awaited by another framework's loop
        return None
    return task.get_name() if task is not None else None
