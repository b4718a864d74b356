"""Where a plugin's code runs. A runner turns a bound implementation into runnable tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Protocol

from pluginhost.errors import PluginHostError
from pluginhost.hookspecs import Task
from pluginhost.seconds import ns_of_seconds

RUNNERS = {
    "inline": "in the host's process, in the calling thread",
    "process": "in a process of its own, which is killed at a deadline",
    "executor": "in a concurrent.futures.Executor that the application has made",
}
"""The runners there are, by the names that are given to plugins."""


class Runner(Protocol):
    """Runs the executions of one plugin."""

    is_async: bool
    """Whether the implementation is asynchronous, so that `arun` is the natural way."""

    elsewhere: bool
    """Whether no execution is in the calling thread, so that `run` is never called for it."""

    deadline: float | None
    """In seconds, for executions that are given none."""

    @property
    def run(self) -> Callable[[Task], Any]:
        """Runs to the end in the calling thread and returns the result."""

    @property
    def abandoned(self) -> tuple[str, ...]:
        """What overran a deadline and goes on, by name."""

    def run_with_deadline(self, task: Task) -> Any:
        """The same, but raise `DeadlineExceededError` once `task.deadline` seconds are over."""

    def arun(self, task: Task) -> Awaitable[Any]:
        """Return an awaitable that does the work of an asynchronous implementation."""

    def awaited(self, awaitable: Awaitable[Any], task: Task) -> Awaitable[Any]:
        """Return an awaitable for what a plain function has returned, with the task's deadline."""

    def after_fork(self) -> None:
        """Begin anew in a child process."""


class RemoteRunner(Runner, Protocol):
    """Runs a plugin that the host itself does not import."""

    executes: bool
    """Whether the plugin implements `execute`; known once it is started."""

    @property
    def trouble(self) -> PluginHostError | None:
        """Why it cannot be executed for the time being, None if it can."""

    def start(self) -> None:
        """Have the plugin imported and set up; raises `PluginLoadError` with why not."""

    def teardown(self) -> None:
        """Have the plugin torn down; raises what it raises."""

    def close(self) -> None:
        """Give back what runs it."""


def deadline_of(runner: Runner, asked: float | None) -> float | None:
    """Return the deadline of an execution in seconds: the one asked for, else the plugin's."""
    if asked is None:
        return runner.deadline
    ns_of_seconds(asked, "the deadline")
    return asked


def run_to_its_end(call: Callable[[Task], Any], *, is_async: bool) -> Callable[[Task], Any]:
    """Return a function that runs an implementation in an event loop if it gives something to await.

    An asynchronous one is called there, too.
    """

    async def awaited(task: Task, result: Any) -> Any:
        if is_async:
            result = call(task)
        return await result if isawaitable(result) else result

    def run(task: Task) -> Any:
        result = None if is_async else call(task)
        if not is_async and not isawaitable(result):
            return result
        import asyncio

        return asyncio.run(awaited(task, result))

    return run
