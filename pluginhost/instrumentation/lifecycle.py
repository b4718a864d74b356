"""Hookwrappers around load, execute and unload of every plugin of one host.

The wrappers are made as closures: looking a name up in a cell is the cheapest way there is, and
these functions run around every execution.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Protocol

import pluggy

from pluginhost.bus import EventBus
from pluginhost.calltree import EventKind
from pluginhost.footprint import LoopBlock
from pluginhost.hookspecs import Task, hookimpl
from pluginhost.instrumentation.async_executions import timed_awaitable
from pluginhost.instrumentation.failures import failure_of, without_caller
from pluginhost.instrumentation.nesting import Frame, begin
from pluginhost.instrumentation.readings import (
    FRESH_NS,
    empty_cpu_ns,
    process_cpu_ns,
    rss_gauge,
    task_count,
    thread_count,
    thread_cpu_ns,
)
from pluginhost.instrumentation.sampling import Sampler
from pluginhost.journal import Detail
from pluginhost.report import PluginInfo

Wrapper = Generator[None, Any, Any]


class Observable(Protocol):
    """What a host shows of itself to be instrumented."""

    lifecycle: pluggy.PluginManager
    wrappers_lock: threading.Lock


class LifecycleSource:
    """Feeds a bus with the lifecycle of a host's plugins while the bus has observers.

    A plugin is unloaded within `letting_go(plugin_id)`, while which nothing may be kept of it.
    """

    def __init__(
        self,
        host: Observable,
        bus: EventBus,
        sampler: Sampler,
        current: ContextVar[Frame],
        letting_go: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._host = host
        self._wrappers = (
            steps_wrapper(bus, current, letting_go),
            async_wrapper(bus, sampler, current),
            elsewhere_wrapper(bus, sampler, current),
            loop_block_recorder(bus),
            sampled_wrapper(bus, sampler, current)
            if sampler.max_rate > 0
            else wall_wrapper(bus, current),
        )
        self._started = False

    def start(self) -> None:
        """Register the wrappers, outermost of those there are."""
        with self._host.wrappers_lock:
            if not self._started:
                self._started = True
                for wrapper in self._wrappers:
                    self._host.lifecycle.register(wrapper)

    def stop(self) -> None:
        """Unregister the wrappers; nothing of them stays with the host."""
        with self._host.wrappers_lock:
            if self._started:
                self._started = False
                for wrapper in self._wrappers:
                    self._host.lifecycle.unregister(wrapper)


class _Plugin:
    """What a lifecycle manager registers: hashed and compared by identity, as pluggy needs it."""

    def __init__(self, pluginhost_execute: Callable[[str], Wrapper]) -> None:
        self.pluginhost_execute = pluginhost_execute


def wall_wrapper(bus: EventBus, current: ContextVar[Frame]) -> object:
    """Return a wrapper that times every execution: two clock readings and one journal record."""
    clock, journal, extend, drain = bus.clock, bus.journal, bus.journal.extend, bus.drain
    high_water, ident, threads = bus.high_water, threading.get_ident, thread_count
    get, set_ = current.get, current.set

    @hookimpl(wrapper=True, tryfirst=True)
    def pluginhost_execute(plugin_id: str) -> Wrapper:
        own = get()
        me = ident()
        if (
            own[4] is plugin_id
            and own[0] is None
            and own[1][0] is not None
            and threads() == bus.own_threads
        ):
            path = own[0] = own[5]
        else:
            while (parent := own[0]) is None:
                own = own[1]
            path = parent[plugin_id]
            if own[2] != me:
                parent.concurrent = True
            own = [path, own, me, 0, plugin_id, path]
            set_(own)
        start = clock()
        try:
            result = yield
        except BaseException as error:
            extend((path, start, clock(), me, Detail(failure_of(error, plugin_id))))
            own[0] = None
            if len(journal) > high_water:
                drain()
            without_caller(error)
            raise
        extend((path, start, clock(), me, None))
        own[0] = None
        if len(journal) > high_water:
            drain()
        return result

    return _Plugin(pluginhost_execute)


def sampled_wrapper(  # noqa: C901, PLR0915  # in line, for calls would be measured with the rest
    bus: EventBus, sampler: Sampler, current: ContextVar[Frame]
) -> object:
    """Return a wrapper that also reads CPU, memory, threads and tasks of a share of executions.

    Where no other thread is alive, the process's CPU clock is not read: there are no others. A
    memory reading that is `FRESH_NS` old at most serves again.
    """
    clock, journal, extend, drain = bus.clock, bus.journal, bus.journal.extend, bus.drain
    high_water, ident, threads = bus.high_water, threading.get_ident, thread_count
    get, set_, gap, modules = current.get, current.set, sampler.gap, sys.modules
    cpu, process_cpu, rss, empty_ns = thread_cpu_ns, process_cpu_ns, rss_gauge(), empty_cpu_ns()
    left = gap()  # executions until the next that is read; threads may race for it: no matter
    read_ns, memory = 0, rss()  # the latest reading of the gauge, and when

    @hookimpl(wrapper=True, tryfirst=True)
    def pluginhost_execute(plugin_id: str) -> Wrapper:  # noqa: C901, PLR0912, PLR0915
        nonlocal left, read_ns, memory
        own = get()
        me = ident()
        if (
            own[4] is plugin_id
            and own[0] is None
            and own[1][0] is not None
            and threads() == bus.own_threads
        ):
            path = own[0] = own[5]
        else:
            while (parent := own[0]) is None:
                own = own[1]
            path = parent[plugin_id]
            if own[2] != me:
                parent.concurrent = True
            own = [path, own, me, 0, plugin_id, path]
            set_(own)
        left -= 1
        if left > 0:
            start = clock()
            try:
                result = yield
            except BaseException as error:
                extend((path, start, clock(), me, Detail(failure_of(error, plugin_id))))
                own[0] = None
                if len(journal) > high_water:
                    drain()
                without_caller(error)
                raise
            extend((path, start, clock(), me, None))
            own[0] = None
            if len(journal) > high_water:
                drain()
            return result
        left = gap()
        others = threads() - bus.own_threads
        tasks = task_count() if "asyncio" in modules else 0
        start = clock()
        before = memory if start - read_ns < FRESH_NS else rss()
        failure = None
        process_start = process_cpu() if others else 0
        cpu_start = cpu()
        start = clock()
        try:
            result = yield
        except BaseException as error:
            failure = failure_of(error, plugin_id)
            without_caller(error)
            raise
        finally:
            end = clock()
            used = cpu() - cpu_start
            others_ns = process_cpu() - process_start - used if others else 0
            read_ns, memory = end, rss()
            used -= empty_ns
            if used < 0:
                used = 0
            elif used > end - start:
                used = end - start  # a thread cannot use more: the clocks are read in turn
            alive = threads() - bus.own_threads + 1
            now = task_count() if "asyncio" in modules else 0
            reading = used, before, memory, others_ns, others + 1, alive, tasks, now
            extend((path, start, end, me, Detail(failure, reading) if failure else reading))
            own[0] = None
            if len(journal) > high_water:
                drain()
        return result

    return _Plugin(pluginhost_execute)


def async_wrapper(bus: EventBus, sampler: Sampler, current: ContextVar[Frame]) -> object:
    """Return a wrapper that times asynchronous executions over their await."""

    class AsyncWrapper:
        @hookimpl(wrapper=True, tryfirst=True)
        def pluginhost_aexecute(self, plugin_id: str) -> Generator[None, Any, Awaitable[Any]]:
            awaitable = yield
            return timed_awaitable(awaitable, plugin_id, bus, sampler, current)

    return AsyncWrapper()


def elsewhere_wrapper(bus: EventBus, sampler: Sampler, current: ContextVar[Frame]) -> object:
    """Return a wrapper for executions that run elsewhere; what they took there, the runner tells.

    A runner with processes of its own tells it of each execution: sampling would spare nothing.
    """
    rss = rss_gauge()

    class ElsewhereWrapper:
        @hookimpl(wrapper=True, tryfirst=True)
        def pluginhost_execute_elsewhere(self, plugin_id: str, task: Task) -> Wrapper:
            path, own = begin(current, plugin_id)
            sampled = sampler.random() < sampler.rate
            threads, tasks, before = thread_count(), task_count(), rss() if sampled else 0
            process_start, waiting_start, start = process_cpu_ns(), thread_cpu_ns(), bus.clock()
            failure = None
            try:
                return (yield)
            except BaseException as error:
                failure = failure_of(error, plugin_id)
                without_caller(error)
                raise
            finally:
                end, used = bus.clock(), task.cpu_ns
                reading = None
                if sampled and used is not None:
                    waiting = thread_cpu_ns() - waiting_start  # starting a thread is no other's
                    others_ns = process_cpu_ns() - process_start - used - waiting
                    alive = threads + 1, thread_count() + 1, tasks, task_count()
                    reading = used, before, rss(), others_ns, *alive
                extra = Detail(failure, reading) if failure is not None else reading
                if task.reading is not None:
                    extra = Detail(failure, process=task.reading)
                bus.journal.extend((path, start, end, threading.get_ident(), extra))
                own[0] = None
                if len(bus.journal) > bus.high_water:
                    bus.drain()

    return ElsewhereWrapper()


def loop_block_recorder(bus: EventBus) -> object:
    """Return an implementation that records blocked event loops, at the top of the call tree."""

    class LoopBlockRecorder:
        @hookimpl
        def pluginhost_loop_block(self, plugin_id: str, block: LoopBlock, thread_id: int) -> None:
            end = bus.clock()
            path = bus.tree.root[bus.tree.site(EventKind.LOOP_BLOCK, plugin_id, block.hook)]
            detail = Detail(None, None, {"where": block.where})
            bus.journal.extend((path, end - block.longest_ns, end, thread_id, detail))

    return LoopBlockRecorder()


def steps_wrapper(
    bus: EventBus,
    current: ContextVar[Frame],
    letting_go: Callable[[str], AbstractContextManager[None]],
) -> object:
    """Return a wrapper that times loads and unloads, each with the plugin's version."""

    def recorded(kind: EventKind, hook: str, info: PluginInfo) -> Wrapper:
        path, own = begin(current, bus.tree.site(kind, info.id, hook))
        metadata = {"version": info.version or "", "distribution": info.distribution or ""}
        start = bus.clock()
        failure = None
        try:
            return (yield)
        except BaseException as error:
            failure = failure_of(error, info.id)
            without_caller(error)
            raise
        finally:
            detail = Detail(failure, None, metadata)
            bus.journal.extend((path, start, bus.clock(), threading.get_ident(), detail))
            own[0] = None

    class StepsWrapper:
        @hookimpl(wrapper=True, tryfirst=True)
        def pluginhost_load(self, info: PluginInfo) -> Wrapper:
            return (yield from recorded(EventKind.PLUGIN_LOAD, "load", info))

        @hookimpl(wrapper=True, tryfirst=True)
        def pluginhost_unload(self, info: PluginInfo) -> Wrapper:
            with letting_go(info.id):
                return (yield from recorded(EventKind.PLUGIN_UNLOAD, "unload", info))

    return StepsWrapper()
