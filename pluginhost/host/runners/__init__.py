"""Where a plugin's code runs. A runner turns a bound implementation into runnable tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from pluginhost.hookspecs import Task


class Runner(Protocol):
    """Runs the executions of one plugin."""

    is_async: bool
    """Whether the implementation is asynchronous, so that `arun` is the natural way."""

    run: Callable[[Task], Any]
    """Run to the end in the calling thread and return the result."""

    def run_with_deadline(self, task: Task) -> Any:
        """The same, but raise `DeadlineExceededError` once `task.deadline` seconds are over."""

    def arun(self, task: Task) -> Awaitable[Any]:
        """Return an awaitable that does the work of an asynchronous implementation."""
