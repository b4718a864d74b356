"""How far a long run is, shown on a terminal between executions and never during one."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, TextIO

from pluginhost.cli.console import is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress, TaskID

_PATIENCE_S = 1.0
_INTERVAL_S = 0.2


class ProgressBar:
    """A bar on `stream` once a run has taken a second; nothing without a terminal or rich.

    It has no thread of its own: that would run while plugins are measured, and would make every
    execution look as if something else ran beside it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        shown = is_terminal(stream) and os.environ.get("TERM") not in ("dumb", "unknown")
        self._due = time.monotonic() + _PATIENCE_S if shown else float("inf")
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def update(self, done: int, total: int) -> None:
        """Say that `done` of `total` executions are over; shown a few times a second at most."""
        now = time.monotonic()
        if now < self._due:
            return
        if self._bar is None:
            try:
                self._bar, self._task = _started(self._stream, total)
            except ImportError:
                self._due = float("inf")
                return
        assert self._task is not None  # made together with the bar
        self._bar.update(self._task, completed=done, total=total, refresh=True)
        self._due = time.monotonic() + _INTERVAL_S

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()


def _started(stream: TextIO, total: int) -> tuple[RichProgress, TaskID]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    bar = Progress(
        "executing",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        "(Ctrl-C: stop and report)",
        console=Console(file=stream),
        transient=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    bar.start()
    return bar, bar.add_task("", total=total)
