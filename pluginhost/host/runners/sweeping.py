"""Finding and killing the processes that a worker has started, wherever they hide.

A worker is the leader of a session and of a process group of its own. What it starts inherits its
environment, and with it a mark that is nobody else's: those that have left the group, or whose
parent has ended, are found by that. Run as a program, this is the host's guard: it waits for the
host to end, however that happens, and kills all that bears the host's mark.

It imports little and nothing of this package: the guard is to be a small process.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import islice

VARIABLE = "PLUGINHOST_WORKER"
_PROC = "/proc"
_LONGEST_S, _LONGEST_RACE_S = 0.5, 2.0
_PAUSE_S = 0.01
_WATCH_S, _WATCH_PAUSE_S = 1.0, 0.05


def marked(mark: str, most: int | None = None) -> list[int]:
    """Return the pids of the processes whose mark begins with `mark`; none without /proc.

    The newest come first, and `most` of them are enough: reading of one that forks may have to wait.
    """
    return list(islice((pid for pid in _pids() if is_marked(str(pid), mark)), most))


def _pids() -> list[int]:
    try:
        names = os.listdir(_PROC)  # noqa: PTH208  # pathlib is an import, and this runs often
    except OSError:
        return []
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def is_marked(pid: str, mark: str) -> bool:
    """Whether the mark of the process begins with `mark`; false when it has ended."""
    try:
        with open(f"{_PROC}/{pid}/environ", "rb") as file:  # noqa: PTH123
            return f"\0{VARIABLE}={mark}".encode() in b"\0" + file.read()
    except OSError:
        return False  # or it is another user's


def kill_marked(mark: str) -> tuple[int, ...]:
    """Kill all processes whose mark begins so; return the pids of those that do not end.

    A process that is just beginning to run another program shows no environment: nobody is taken for
    gone who was looked for once.
    """
    before: list[int] | None = None
    begun, own = time.monotonic(), os.getpid()
    while True:
        # At once, not when all are found: there may be some that start others all the time.
        left = [pid for pid in _pids() if pid != own and _kill(pid, mark)]
        same = left == before
        if same and not left:
            return ()
        if time.monotonic() - begun > (_LONGEST_S if same else _LONGEST_RACE_S):
            return tuple(left)
        if same or not left:
            time.sleep(_PAUSE_S)
        before = left


def _kill(pid: int, mark: str) -> bool:
    """Kill the process if it has the mark, and return whether it had."""
    if not is_marked(str(pid), mark):
        return False
    return _signal(pid, signal.SIGKILL, lambda: is_marked(str(pid), mark))


def _signal(pid: int, number: int, is_it: Callable[[], bool]) -> bool:
    """Send a signal to a process if `is_it()` says so of whoever has its number then.

    Return whether there is such a process, whatever became of the signal.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except (AttributeError, OSError):
        return True
    try:
        if is_it():
            signal.pidfd_send_signal(handle, number)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


class Family:
    """A process (not waited for yet), all that descend from it, and those in their sessions.

    `grow` does not find those in a session of their own whose parent has ended; `look` finds them by
    the mark. But the former waits for nobody, where reading the environment of a process that forks
    does, and it reads only once of who is no relative.
    """

    def __init__(self, root: int, mark: str) -> None:
        self._mark = mark
        self.pids = {root}
        self._root = root
        self._others: set[int] = set()

    def grow(self) -> list[int]:
        """Find relatives that have come since, and return them."""
        there_are = _pids()
        self._others.intersection_update(there_are)
        new = []
        for pid in reversed(there_are):  # parents first, as a rule
            if pid not in self.pids and pid not in self._others:
                if self._is_of(pid):
                    self.pids.add(pid)
                    new.append(pid)
                else:
                    self._others.add(pid)
        return new

    def look(self, most: int | None = None) -> list[int]:
        """Find those that bear the mark, `most` of them, and return those that are new."""
        new = [pid for pid in marked(self._mark, most) if pid not in self.pids]
        self.pids.update(new)
        return new

    def count(self) -> int:
        """Return how many relatives are running."""
        self.grow()
        self.pids = {pid for pid in self.pids if pid == self._root or _runs(pid)}
        return len(self.pids) - 1

    def stop(self) -> None:
        """Stop all of them, and those that come, until there are no more.

        For those that start others faster than they can be found and killed: who is stopped starts
        none, and stays the parent of its children.
        """
        begun, new = time.monotonic(), [*self.pids, *self.grow()]
        while new and time.monotonic() - begun < _LONGEST_RACE_S:
            for pid in new:
                _signal(pid, signal.SIGSTOP, partial(self._is_known, pid))
            new = self.grow() or self.look()

    def _is_known(self, pid: int) -> bool:
        return self._is_of(pid) or is_marked(str(pid), self._mark)

    def _is_of(self, pid: int) -> bool:
        """Whether it runs, and its parent or the leader of its group or session is a relative."""
        return not self.pids.isdisjoint(_relatives(pid))


def _relatives(pid: int) -> tuple[int, ...]:
    """Return the parent of a process, and the leaders of its group and session; none if it ended."""
    try:
        with open(f"{_PROC}/{pid}/stat", "rb") as file:  # noqa: PTH123
            state, *relatives = file.read().rpartition(b")")[2].split(maxsplit=4)[:4]
        return () if state in b"ZX" else tuple(map(int, relatives))
    except (OSError, ValueError):
        return ()


def _runs(pid: int) -> bool:
    return bool(_relatives(pid))


def guard(mark: str) -> None:
    """Wait until the other end of standard input is closed, then kill all that is marked.

    For a while, since on a busy machine what had begun to run a program may be hidden for long;
    unless the host has said goodbye, with a byte: then it has ended its workers itself.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    is_over = bool(os.read(0, 1))
    begun = time.monotonic()
    kill_marked(mark)
    while not is_over and time.monotonic() - begun < _WATCH_S:
        time.sleep(_WATCH_PAUSE_S)
        kill_marked(mark)


if __name__ == "__main__":
    guard(sys.argv[1])
