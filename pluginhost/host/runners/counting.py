"""Counting the processes that a worker has started; beyond a number it is killed with all of them.

The kernel counts processes by user, all of the user's together, and holds root to nothing. A thread
of the host's reads how many tasks there are on the machine, which is cheap, and looks whose they are
when there are enough more for a plugin to be over its number.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from pluginhost.host.runners import sweeping

_PAUSE_S = 0.02
_LOOK_S = 1.0
_SHARE = 10  # of the time at most is spent on looking


class Counter:
    """Watches one worker: its `pid`, its `mark`, and whether it `has_ended`.

    When more than `most` processes descend from it, or bear the mark, `over` is called, once, with
    those that descend.
    """

    def __init__(
        self,
        pid: int,
        mark: str,
        most: int,
        *,
        has_ended: Callable[[], bool],
        over: Callable[[sweeping.Family], None],
    ) -> None:
        self._pid = pid
        self._mark = mark
        self._most = most
        self._has_ended = has_ended
        self._over = over

    def start(self) -> None:
        """Begin to watch, in a thread that ends with the worker."""
        threading.Thread(target=self._watch, name="pluginhost-counting", daemon=True).start()

    def _watch(self) -> None:
        # Many processes that want the CPU would have this thread wait for its turn, too.
        with suppress(AttributeError, OSError):  # only root may
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_RR, os.sched_param(1))
        family = sweeping.Family(self._pid, self._mark)
        count = tasks = 0
        next_s = last_s = 0.0
        while not self._has_ended():
            now, tasks_now = time.monotonic(), tasks_there_are()
            many = tasks_now - tasks > self._most - count
            if now >= next_s and (many or now - last_s >= _LOOK_S):
                count = family.count()
                if count <= self._most:
                    family.look(self._most + 2)
                    count, last_s = family.count(), now
                if count > self._most:
                    self._over(family)
                    return
                tasks, next_s = tasks_now, now + _SHARE * (time.monotonic() - now)
            time.sleep(_PAUSE_S)


def tasks_there_are() -> int:
    """Return how many tasks, processes and their threads, there are on the machine; 0 if unknown."""
    try:
        with open("/proc/loadavg", "rb") as file:  # noqa: PTH123  # this runs often
            return int(file.read().split()[3].partition(b"/")[2])
    except (OSError, ValueError, IndexError):
        return 0
