"""What holds locks or unfinished work is told when the process has forked, and when it ends."""

from __future__ import annotations

import atexit
import os
import threading
import time
from functools import cache
from itertools import count
from typing import Protocol
from weakref import WeakValueDictionary

EXIT_FLUSH_S = 5.0
"""How long all that is unfinished may take together when the process ends, in seconds."""


class Follower(Protocol):
    """Something that must know of forks."""

    def after_fork(self) -> None:
        """Begin anew in the child process: other threads are gone, with the locks they held.

        Neither waits nor logs: whatever it would wait for may be held by a thread that is not there.
        """


class Finisher(Protocol):
    """Something that must know of the end."""

    def at_exit(self, timeout_s: float) -> None:
        """Bring to an end what is under way, in `timeout_s` seconds at most."""


# Python keeps its own list of such callbacks for the whole process, and forgets none; these hold
# their owners weakly, so that an owner may go.
_FOLLOWERS: WeakValueDictionary[int, Follower] = WeakValueDictionary()
_FINISHERS: WeakValueDictionary[int, Finisher] = WeakValueDictionary()
_SERIALS = count()


def follow_forks(owner: Follower) -> None:
    """Have `owner.after_fork()` called in every child process, the oldest owner first."""
    _hook_forks()
    _FOLLOWERS[next(_SERIALS)] = owner


def follow_exit(owner: Finisher) -> None:
    """Have `owner.at_exit()` called when the interpreter ends in an orderly way."""
    _hook_exit()
    _FINISHERS[next(_SERIALS)] = owner


class RenewedLock:
    """A lock, in a child process a new one: `with renewed.lock`, and nothing of it kept."""

    def __init__(self) -> None:
        self.after_fork()
        follow_forks(self)

    def after_fork(self) -> None:
        """Begin anew: whoever had it is not there."""
        self.lock = threading.RLock()


@cache
def _hook_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)


@cache
def _hook_exit() -> None:
    atexit.register(_exiting)


def _forked() -> None:
    for owner in list(_FOLLOWERS.values()):
        owner.after_fork()


def _exiting() -> None:
    end = time.monotonic() + EXIT_FLUSH_S
    for owner in list(_FINISHERS.values()):
        owner.at_exit(max(0.0, end - time.monotonic()))
