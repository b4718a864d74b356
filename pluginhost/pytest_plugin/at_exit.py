"""The end of the process: one function that is called when nothing else will be."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable


class AtExit:
    """Calls a function after all exit handlers that are added from now on, once it is told which.

    The function is told when the exit handlers began, which is when no thread was left that the
    process waits for. Nothing is called in a process that was made by forking this one.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._last: Callable[[int], None] | None = None
        self._joined_ns: int | None = None
        atexit.register(self._call)

    def then(self, function: Callable[[int], None]) -> None:
        """Have a function called; this is the last that is added, and so the first to be called."""
        self._last = function
        atexit.register(self._begin)

    def withdraw(self) -> None:
        """Call nothing."""
        self._last = None
        atexit.unregister(self._call)
        atexit.unregister(self._begin)

    def _begin(self) -> None:
        self._joined_ns = time.perf_counter_ns()

    def _call(self) -> None:
        if self._last is not None and self._joined_ns is not None and os.getpid() == self._pid:
            self._last(self._joined_ns)
