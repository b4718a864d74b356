"""The end of the process: one function that is called when nothing else will be."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable


class AtExit:
    """Calls a function after all exit handlers that are added from now on, once it is told which.

    Nothing is called in a process that was made by forking this one.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._last: Callable[[], None] | None = None
        atexit.register(self._call)

    def then(self, function: Callable[[], None]) -> None:
        """Have a function called, in place of the one before."""
        self._last = function

    def withdraw(self) -> None:
        """Call nothing."""
        self._last = None
        atexit.unregister(self._call)

    def _call(self) -> None:
        if self._last is not None and os.getpid() == self._pid:
            self._last()
