"""The plugin runs in the host's own process and, without a deadline, in the calling thread."""

from __future__ import annotations

import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from functools import partial
from time import thread_time_ns
from typing import Any

from pluginhost.errors import DeadlineExceededError, PluginStateError
from pluginhost.hookspecs import Task

CANCELLING_S = 0.1
"""How long a cancelled execution may take to end by itself, in seconds."""


MAX_OVERDUE = 8
"""How many executions of a plugin may go on after their deadlines before it gets no more."""


class InlineRunner:
    """Calls the implementation directly.

    A deadline is kept by waiting no longer: Python cannot stop a running thread, so an execution
    that overran goes on in the background, and `abandoned` names its threads that still run.
    """

    def __init__(
        self,
        plugin_id: str,
        call: Callable[[Task], Any],
        *,
        is_async: bool,
        deadline: float | None = None,
    ) -> None:
        self._plugin_id = plugin_id
        self._call = call
        self.is_async = is_async
        self.deadline = deadline
        self.elsewhere = deadline is not None and not is_async
        self._abandoned: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.run: Callable[[Task], Any] = self._run_loop if is_async else call

    @property
    def abandoned(self) -> tuple[str, ...]:
        """The names of the threads that overran a deadline and are still running."""
        with self._lock:
            self._forget_finished()
            return tuple(thread.name for thread in self._abandoned)

    def run_with_deadline(self, task: Task) -> Any:
        """Run in a thread of its own and wait for it until the deadline.

        The thread sees a copy of the caller's context variables. An asynchronous implementation
        is cancelled at the deadline, and given a moment to end.
        """
        if self.is_async:
            self._refuse_in_loop()
        self._refuse_more_overdue()
        outcome: list[Any] = []
        failure: list[BaseException] = []

        def work() -> None:
            started_ns = thread_time_ns()
            try:
                within = task.within
                result = self.run(task) if within is None else within(self.run, task)
            except BaseException as error:  # handed to the caller, whatever it is
                task.cpu_ns = thread_time_ns() - started_ns
                failure.append(error)
            else:
                task.cpu_ns = thread_time_ns() - started_ns
                outcome.append(result)

        thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(work,),
            name=f"pluginhost-{self._plugin_id}",
            daemon=True,
        )
        thread.start()
        try:
            thread.join(task.deadline)
            if self.is_async:
                thread.join(2 * CANCELLING_S)
        finally:  # the wait itself may be interrupted, as by Ctrl-C
            if not outcome and not failure:
                self._abandon(thread)
        if failure:
            raise failure.pop()  # not kept: its traceback leads back to this frame
        if outcome:
            return outcome.pop()
        where = f"the background, thread {thread.name!r}"
        raise self._overran(task, f"it goes on in {where}, and cannot be stopped")

    async def arun(self, task: Task) -> Any:
        """Await the implementation; at the deadline it is cancelled.

        One that does not heed it is left where it waits a moment later, and never goes on.
        """
        awaitable: Any = self._call(task)
        if not inspect.isawaitable(awaitable):
            return awaitable  # a decorator around an async function may have run it to its end
        return await self.awaited(awaitable, task)

    async def awaited(self, awaitable: Awaitable[Any], task: Task) -> Any:
        """Await what the implementation has returned, until the deadline."""
        import asyncio

        if task.deadline is None:
            return await awaitable
        try:
            async with (
                asyncio.timeout(task.deadline + CANCELLING_S) as last,
                asyncio.timeout(task.deadline) as limit,
            ):
                return await _Forsakable(awaitable, last.expired)
        except TimeoutError:
            if limit.expired():
                raise self._overran(task, "it was cancelled") from None
            raise

    def _run_loop(self, task: Task) -> Any:
        import asyncio

        self._refuse_in_loop()
        return asyncio.run(self.arun(task))

    def _refuse_in_loop(self) -> None:
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise PluginStateError(
            "it is asynchronous and an event loop is running in this thread",
            plugin_id=self._plugin_id,
            hook="execute",
            remedy="use 'await host.aexecute(...)'",
        )

    def _abandon(self, thread: threading.Thread) -> None:
        with self._lock:
            self._forget_finished()
            self._abandoned.append(thread)

    def _refuse_more_overdue(self) -> None:
        """Refuse to start another thread while too many of them cannot be stopped."""
        overdue = self.abandoned
        if len(overdue) >= MAX_OVERDUE:
            raise PluginStateError(
                f"{len(overdue)} executions that overran their deadlines still go on",
                plugin_id=self._plugin_id,
                hook="execute",
                remedy="it is executed again once one of them ends; in a process of its own"
                " (runner 'process') they could be stopped",
            )

    def after_fork(self) -> None:
        """Begin anew in a child process, where no other thread is."""
        self._lock = threading.Lock()
        self._abandoned = []

    def _forget_finished(self) -> None:
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]

    def _overran(self, task: Task, what_now: str) -> DeadlineExceededError:
        return DeadlineExceededError(
            f"it did not return within {task.deadline} s; {what_now}",
            plugin_id=self._plugin_id,
            hook="execute",
            remedy="give it more time, or find out what it waits for",
        )


class _Forsakable:
    """Awaits like its awaitable, but ends at a cancellation once `forsaken()` is true.

    A coroutine that swallows `CancelledError` would keep its caller waiting for ever; but it only
    runs while it is driven.
    """

    def __init__(self, awaitable: Awaitable[Any], forsaken: Callable[[], bool]) -> None:
        self._awaitable = awaitable
        self._forsaken = forsaken

    def __await__(self) -> Generator[Any, Any, Any]:
        steps: Any = self._awaitable.__await__()
        step = partial(next, steps)
        while True:
            try:
                awaited = step()
            except StopIteration as stop:
                return stop.value
            try:
                value = yield awaited
            except BaseException as error:
                if self._forsaken():
                    with suppress(Exception):  # whatever it does about being closed
                        steps.close()
                    raise
                step = partial(steps.throw, error)
            else:
                step = partial(next, steps) if value is None else partial(steps.send, value)


async def in_thread(call: Callable[[], Any]) -> Any:
    """Return what `call()` returns in a worker thread, or raise what it raises, unchanged.

    The future of an executor would exchange a `TimeoutError` for a new one without its traceback,
    and would never be done after a `StopIteration`.
    """
    import asyncio

    failure: list[BaseException] = []

    def attempt() -> Any:
        try:
            return call()
        except BaseException as error:
            failure.append(error)

    result = await asyncio.to_thread(attempt)
    if failure:
        raise failure.pop()
    return result
