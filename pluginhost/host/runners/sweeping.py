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

VARIABLE = "PLUGINHOST_WORKER"
_PROC = "/proc"
_ROUNDS = 50
_PAUSE_S = 0.01


def marked(mark: str) -> list[int]:
    """Return the pids of the processes whose mark begins with `mark`; none without /proc."""
    try:
        names = os.listdir(_PROC)  # noqa: PTH208  # pathlib is an import, and this runs often
    except OSError:
        return []
    return [int(name) for name in names if name.isdecimal() and is_marked(name, mark)]


def is_marked(pid: str, mark: str) -> bool:
    """Whether the mark of the process begins with `mark`; false when it has ended."""
    try:
        with open(f"{_PROC}/{pid}/environ", "rb") as file:  # noqa: PTH123
            return f"\0{VARIABLE}={mark}".encode() in b"\0" + file.read()
    except OSError:
        return False  # or it is another user's


def kill_marked(mark: str) -> tuple[int, ...]:
    """Kill all processes whose mark begins so; return the pids of those that do not end."""
    left: list[int] = []
    for _ in range(_ROUNDS):
        left = [pid for pid in marked(mark) if pid != os.getpid()]
        if not left:
            return ()
        for pid in left:
            _kill(pid, mark)
        time.sleep(_PAUSE_S)
    return tuple(left)


def _kill(pid: int, mark: str) -> None:
    """Kill that very process, not one that has got its number since."""
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return
    try:
        if is_marked(str(pid), mark):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        return
    finally:
        os.close(handle)


def guard(mark: str) -> None:
    """Wait until the other end of standard input is closed, then kill all that is marked."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    kill_marked(mark)


if __name__ == "__main__":
    guard(sys.argv[1])
