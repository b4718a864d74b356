"""Looks into the executions of one plugin: a wrapper that runs a sampling profiler around them.

The wrapper stands outside of those that time, so that starting and stopping the profiler is nobody's
execution. Whatever a profiler does wrong is logged once and ends the profiling, never an execution.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import Any

from pluginhost.hookspecs import Task, hookimpl
from pluginhost.inside import ANY, Inside, InsideProfile, Kind
from pluginhost.instrumentation.failures import without_caller
from pluginhost.instrumentation.inside_frames import FrameTree
from pluginhost.instrumentation.inside_profilers import PROFILERS, FrameProfiler, Running
from pluginhost.instrumentation.lifecycle import Observable
from pluginhost.printable import printable
from pluginhost.processes import follow_forks
from pluginhost.subscription import warn

_FINEST_NS = 50_000
_SAMPLES_AN_EXECUTION = 10
_ENOUGH = 5  # executions of either kind to tell how much slower the profiled ones are
_KEPT = 500
_MARKS = 3


class InsideSource:
    """Profiles the executions of one plugin of `host` while a bus has observers.

    Raises `MissingExtraError` where the profiler is not installed.
    """

    def __init__(
        self,
        host: Observable,
        inside: Inside,
        *,
        clock: Callable[[], int] = time.perf_counter_ns,
        profiler: FrameProfiler | None = None,
    ) -> None:
        self._host = host
        self._inside = inside
        self._clock = clock
        self._profiler = profiler or PROFILERS[inside.kind]()
        self._under_way: ContextVar[bool] = ContextVar("pluginhost_inside", default=False)
        self._wrapper = _Wrapper(self)
        self._started = False
        self._begin()
        follow_forks(self)

    def _begin(self) -> None:
        inside = self._inside
        self._lock = threading.Lock()
        self._tree = FrameTree(largest=inside.kind is Kind.MEMORY)
        self._plugin_id = None if inside.plugin_id == ANY else inside.plugin_id
        self._open = inside.over_ns is None
        self._executions = self._profiled = self._skipped = self._failures = 0
        self._starting_ns = 0
        self._failure: str | None = None
        self._with: deque[int] = deque(maxlen=_KEPT)
        self._without: deque[int] = deque(maxlen=_KEPT)

    def after_fork(self) -> None:
        """Begin anew in a child process: nothing was looked into there yet."""
        self._begin()

    def start(self) -> None:
        """Register the wrapper."""
        with self._host.wrappers_lock:
            if not self._started:
                self._started = True
                self._host.lifecycle.register(self._wrapper)

    def stop(self) -> None:
        """Unregister the wrapper."""
        with self._host.wrappers_lock:
            if self._started:
                self._started = False
                self._host.lifecycle.unregister(self._wrapper)

    def profile(self) -> InsideProfile | None:
        """Return what was seen so far; None where no plugin was looked into."""
        inside = self._inside
        with self._lock:
            if self._plugin_id is None:
                return None
            return InsideProfile(
                plugin_id=self._plugin_id,
                kind=inside.kind,
                profiler=self._profiler.name,
                interval_ns=inside.interval_ns if inside.kind is Kind.TIME else None,
                over_ns=inside.over_ns,
                executions=self._executions,
                profiled=self._profiled,
                skipped=self._skipped,
                failures=self._failures,
                failure=self._failure,
                samples=self._tree.samples,
                value=self._tree.value,
                called_ns=self._tree.called,
                starting_ns=self._starting_ns,
                slowdown=self._slowdown(),
                frames=self._tree.frames(),
            )

    def watches(self, plugin_id: str) -> bool:
        """Whether an execution of this plugin is to be timed or profiled."""
        return self._failure is None and self._plugin_id in (plugin_id, None)

    def begin(self, plugin_id: str) -> Look:
        """Begin an execution, profiled or not."""
        look = Look(plugin_id, self._clock())
        with self._lock:
            if not self._open or self._plugin_id != plugin_id or self._failure is not None:
                return look
            self._executions += 1
            if self._executions % 2 == 0 or self._profiled >= self._inside.most:
                look.plain = True
                return look
        if self._under_way.get() or _profiled_by_another(self._profiler):
            self._skip()
            return look
        self._under_way.set(True)
        look.wanted = True
        return look

    def run(self, look: Look) -> None:
        """Start the profiler of a wanted look, in the thread or task that does the work."""
        asked_ns = self._clock()
        try:
            look.running = self._profiler.start(self._interval_ns())
        except Exception as error:
            self._failed(error)
        look.began_ns = self._clock()
        with self._lock:
            self._starting_ns += look.began_ns - asked_ns
        if look.running is None and self._failure is None:
            self._skip()

    def halt(self, look: Look) -> None:
        """Stop the profiler of a look, where it was started."""
        ended_ns = self._clock()
        look.duration_ns = ended_ns - look.began_ns
        if look.running is None:
            return
        try:
            look.running.stop()
            if look.given_up:
                deque(look.running.stacks(), maxlen=0)  # and so whatever it keeps is let go
            else:
                look.stopped = True
        except Exception as error:
            self._failed(error)
        with self._lock:
            self._starting_ns += self._clock() - ended_ns

    def end(self, look: Look) -> None:
        """End an execution: add up what was seen of it, note how long it took."""
        if look.wanted:
            self._under_way.set(False)
        ended_ns = self._clock()
        duration_ns = look.duration_ns or ended_ns - look.began_ns
        with self._lock:
            if look.plain:
                self._without.append(duration_ns)
            self._open_for(look.plugin_id, duration_ns)
        if look.stopped and look.running is not None:
            self._add(look.running, duration_ns, ended_ns)
        elif look.running is not None:
            look.given_up = True  # its deadline is over, and it goes on in another thread
            self._skip()

    def _open_for(self, plugin_id: str, duration_ns: int) -> None:
        """Begin to profile if this execution was one that took too long."""
        over_ns = self._inside.over_ns
        if not self._open and over_ns is not None and duration_ns > over_ns:
            if self._plugin_id is None:
                self._plugin_id = plugin_id
            self._open = self._plugin_id == plugin_id

    def _add(self, running: Running, duration_ns: int, ended_ns: int) -> None:
        try:
            stacks = list(running.stacks())
            with self._lock:
                self._tree.add(stacks)
                self._profiled += 1
                self._with.append(duration_ns)
                self._starting_ns += self._clock() - ended_ns
        except Exception as error:
            self._failed(error)

    def _interval_ns(self) -> int:
        if not self._with:
            return self._inside.interval_ns
        usual_ns = round(statistics.median(self._with) / _SAMPLES_AN_EXECUTION)
        return max(_FINEST_NS, min(self._inside.interval_ns, usual_ns))

    def _slowdown(self) -> float | None:
        if min(len(self._with), len(self._without)) < _ENOUGH:
            return None
        # The first is not compared: it warms caches up.
        profiled = statistics.median(list(self._with)[1:])
        return profiled / max(statistics.median(self._without), 1)

    def _skip(self) -> None:
        with self._lock:
            self._skipped += 1

    def _failed(self, error: Exception) -> None:
        """Note that the profiler fails, and profile no more; it is said once."""
        with self._lock:
            self._failures += 1
            first = self._failure is None
            if first:
                self._failure = printable(f"{type(error).__name__}: {error}")
        if first:
            warn(
                "a profiler inside of a plugin failed and is used no more:",
                self._profiler,
                plugin=printable(self._inside.plugin_id),
                error=self._failure,
            )


class Look:
    """One execution of a plugin that is watched."""

    __slots__ = (
        "began_ns",
        "duration_ns",
        "given_up",
        "plain",
        "plugin_id",
        "running",
        "stopped",
        "wanted",
    )

    def __init__(self, plugin_id: str, began_ns: int) -> None:
        self.plugin_id = plugin_id
        self.began_ns = began_ns
        self.duration_ns = 0
        self.plain = False
        self.wanted = False
        self.stopped = False
        self.given_up = False
        self.running: Running | None = None


class _Wrapper:
    """What is registered in a host's lifecycle manager."""

    def __init__(self, source: InsideSource) -> None:
        self._source = source

    @hookimpl(wrapper=True, tryfirst=True)
    def pluginhost_execute(self, plugin_id: str, task: Task) -> Generator[None, Any, Any]:
        source = self._source
        look = source.begin(plugin_id) if source.watches(plugin_id) else None
        try:
            if look is not None and look.wanted:
                source.run(look)
                if look.running is not None:
                    task.run = _marked(task.run)
            return (yield)
        except BaseException as error:
            without_caller(error)
            raise
        finally:
            if look is not None:
                source.halt(look)
                source.end(look)

    @hookimpl(wrapper=True, tryfirst=True)
    def pluginhost_execute_elsewhere(self, plugin_id: str, task: Task) -> Generator[None, Any, Any]:
        source = self._source
        look = source.begin(plugin_id) if source.watches(plugin_id) else None
        if look is not None and look.wanted:
            task.within = _profiled_there(source, look)
        try:
            return (yield)
        except BaseException as error:
            without_caller(error)
            raise
        finally:
            if look is not None:
                source.end(look)

    @hookimpl(wrapper=True, tryfirst=True)
    def pluginhost_aexecute(
        self, plugin_id: str, task: Task
    ) -> Generator[None, Any, Awaitable[Any]]:
        source = self._source
        if not source.watches(plugin_id):
            unwatched: Awaitable[Any] = yield
            return unwatched
        task.run = _marked_async(task.run)
        return _Awaited(source, plugin_id, (yield))


class _Awaited:
    """Awaits `awaitable`, profiled where that is wanted: in the task that does the work."""

    def __init__(self, source: InsideSource, plugin_id: str, awaitable: Awaitable[Any]) -> None:
        self._source = source
        self._plugin_id = plugin_id
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        source = self._source
        look = source.begin(self._plugin_id)
        try:
            if look.wanted:
                source.run(look)
            return (yield from self._awaitable.__await__())
        except BaseException as error:
            without_caller(error)
            raise
        finally:
            source.halt(look)
            source.end(look)


def _marked(run: Callable[[Task], Any]) -> Callable[[Task], Any]:
    """Return `run` below frames by which samples are told from what called the plugin.

    They are several because memray, started in a frame that has returned, forgets some.
    """

    def pluginhost_inside(task: Task, depth: int = _MARKS) -> Any:
        try:
            return pluginhost_inside(task, depth - 1) if depth else run(task)
        except BaseException as error:
            without_caller(error)
            raise

    return pluginhost_inside


def _marked_async(run: Callable[[Task], Any]) -> Callable[[Task], _Marked]:
    return lambda task: _Marked(run(task))


class _Marked:
    """Awaits `awaitable` below the frames by which its samples are told; never complains itself."""

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        return pluginhost_inside(self._awaitable)


def pluginhost_inside(awaitable: Awaitable[Any], depth: int = _MARKS) -> Generator[Any, Any, Any]:
    """Await, as the mark."""
    try:
        inner = pluginhost_inside(awaitable, depth - 1) if depth else awaitable.__await__()
        return (yield from inner)
    except BaseException as error:
        without_caller(error)
        raise


def _profiled_there(source: InsideSource, look: Look) -> Callable[..., Any]:
    """Return what runs a task with the profiler of its own thread."""

    def within(run: Callable[[Task], Any], task: Task) -> Any:
        source.run(look)
        try:
            return _marked(run)(task)
        except BaseException as error:
            without_caller(error)
            raise
        finally:
            source.halt(look)

    return within


def _profiled_by_another(profiler: FrameProfiler) -> bool:
    """Whether somebody else's profile function would be replaced in this thread."""
    return not profiler.is_running_here() and (
        sys.getprofile() is not None or threading.getprofile() is not None
    )
