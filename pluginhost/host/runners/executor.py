"""The plugin runs in an executor that the application has made: threads, processes, or a cluster.

In a `ThreadPoolExecutor` it is the very object that the host has loaded. Any other executor runs
it where the host's objects are not: there it is imported by itself, and set up, when a process of
the executor meets it first. It is torn down by nobody there.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from functools import cache
from typing import Any

import msgspec

from pluginhost.errors import DeadlineExceededError, WorkerCrashedError
from pluginhost.hookspecs import Task
from pluginhost.host.runners.answers import error_of, execution_of, load_error_of
from pluginhost.host.runners.frames import (
    FrameError,
    Load,
    Message,
    Raised,
    Ready,
    Returned,
    Used,
    answer_of,
    body_of,
    frame_of,
    request_of,
)
from pluginhost.printable import printable
from pluginhost.reading import ProcessReading


class ExecutorRunner:
    """Has an executor run one plugin.

    What has begun there cannot be stopped: at a deadline the caller waits no longer, and the rest goes
    on. Give either `call`, to run here in threads, or `load`, to have it loaded elsewhere.
    """

    is_async = False
    elsewhere = True
    executes = True
    trouble = None

    def __init__(
        self,
        plugin_id: str,
        executor: Executor,
        *,
        call: Callable[[Task], Any] | None = None,
        load: Load | None = None,
        deadline: float | None = None,
    ) -> None:
        self.deadline = deadline
        self._plugin_id = plugin_id
        self._executor = executor
        self._call = call
        self._load = None if load is None else frame_of(load)
        self._overdue: list[Future[Any]] = []

    @property
    def abandoned(self) -> tuple[str, ...]:
        """What overran a deadline and goes on, in words."""
        overdue = [future for future in self._overdue if not future.done()]
        self._overdue = overdue
        kind = type(self._executor).__name__
        return (f"{len(overdue)} executions in the {kind}",) if overdue else ()

    def start(self) -> None:
        """Have it loaded once elsewhere; raises `PluginLoadError` when that fails."""
        if self._load is not None:
            answer = answer_of(self._outcome(self._submitted(load_there, self._load), None))
            if not isinstance(answer, Ready):
                raise load_error_of(answer, self._plugin_id)
            self.executes = answer.executes

    def run(self, task: Task) -> Any:
        """Run it in the executor and wait for it, until the deadline if there is one."""
        if self._load is not None:
            return self._run_there(task, self._load)
        future = self._submitted(contextvars.copy_context().run, self._run_here, task)
        result, failure, task.reading = self._outcome(future, task.deadline)
        if failure is not None:
            raise failure
        return result

    def run_with_deadline(self, task: Task) -> Any:
        """The same."""
        return self.run(task)

    def arun(self, task: Task) -> Awaitable[Any]:
        """Not used: the host calls `run` in a thread, whatever the implementation is."""
        raise NotImplementedError

    def awaited(self, awaitable: Awaitable[Any], task: Task) -> Awaitable[Any]:
        """Not used: what an implementation returns is awaited where it runs."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Nothing: what the executor's processes hold is theirs until they end."""

    def close(self) -> None:
        """Nothing: the executor is the application's."""

    def after_fork(self) -> None:
        """Forget what goes on in the parent."""
        self._overdue = []

    def _run_there(self, task: Task, load: bytes) -> Any:
        request = execution_of(task, self._plugin_id)
        body = self._outcome(self._submitted(execute_there, load, request), task.deadline)
        try:
            answer = answer_of(body)
        except FrameError as error:
            raise self._broken(f"it sent what is no answer: {error}") from error
        if isinstance(answer, Returned):
            task.reading = ProcessReading(cpu_ns=answer.used.cpu_ns)
            return answer.result
        if not isinstance(answer, Raised):
            raise self._broken("it answered another question")
        if answer.used is None:
            raise load_error_of(answer, self._plugin_id)
        task.reading = ProcessReading(cpu_ns=answer.used.cpu_ns)
        raise error_of(answer, self._plugin_id, "execute")

    def _run_here(self, task: Task) -> tuple[Any, BaseException | None, ProcessReading]:
        """Return (result, exception, CPU time), in a thread of the executor."""
        assert self._call is not None
        result = failure = None
        started_ns = time.thread_time_ns()
        try:
            within = task.within
            result = self._call(task) if within is None else within(self._call, task)
        except BaseException as error:  # handed to the caller, whatever it is
            failure = error
        return result, failure, ProcessReading(cpu_ns=time.thread_time_ns() - started_ns)

    def _submitted(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        try:
            return self._executor.submit(function, *args)
        except RuntimeError as error:  # it was shut down, or is broken
            raise self._broken(f"it takes no work: {printable(error)}") from error

    def _outcome(self, future: Future[Any], deadline: float | None) -> Any:
        try:
            return future.result(deadline)
        except TimeoutError:
            if not future.cancel():
                self._overdue.append(future)
            raise DeadlineExceededError(
                f"it did not return within {deadline} s; "
                + ("it was never begun" if future.cancelled() else "it goes on in the executor"),
                plugin_id=self._plugin_id,
                hook="execute",
                remedy="give it more time, or find out what it waits for",
            ) from None
        except (BrokenExecutor, CancelledError) as error:
            raise self._broken(f"it is broken: {printable(error)}") from error
        except KeyboardInterrupt:
            if not future.cancel():
                self._overdue.append(future)
            raise

    def _broken(self, what: str) -> WorkerCrashedError:
        return WorkerCrashedError(
            f"the {type(self._executor).__name__} it runs in: {what}",
            plugin_id=self._plugin_id,
            hook="execute",
            remedy="make a new executor, and a host with it; or give it a process of its own",
        )


def load_there(load: bytes) -> bytes:
    """Load the plugin in the process where this is called; return the answer's frame body."""
    return _body(_loaded(load)[1])


def execute_there(load: bytes, request: bytes) -> bytes:
    """Execute the plugin in the process where this is called, loading it if need be."""
    worker, loaded = _loaded(load)
    if isinstance(loaded, Raised):
        return _body(loaded)
    started_ns = time.thread_time_ns()
    answer = worker.answer(request_of(body_of(request)))
    # Other threads of that process may be at work: only the thread's own time is known to be this.
    used = Used(time.thread_time_ns() - started_ns, 0, None, None, None, 0, 0)
    return _body(msgspec.structs.replace(answer, used=used))


def _body(answer: Message) -> bytes:
    from pluginhost.host.runners.worker import sendable

    return body_of(sendable(answer))


def _loaded(load: bytes) -> tuple[Any, Message]:
    worker, answer = _worker_of(load)
    if isinstance(answer, Raised):
        _worker_of.cache_clear()  # the next time it is tried again
    return worker, answer


@cache
def _worker_of(load: bytes) -> tuple[Any, Message]:
    from pluginhost.host.runners.worker import Worker

    worker = Worker()
    return worker, worker.answer(request_of(body_of(load)))
