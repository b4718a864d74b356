"""Clocks and gauges: what can be read of a process and a thread, and how."""

from __future__ import annotations

import _thread
import os
import sys
import time
from collections.abc import Callable
from typing import Any

process_cpu_ns: Callable[[], int] = time.process_time_ns
"""CPU time of the whole process: what is over the thread's own is that of others."""

FRESH_NS = 100_000
"""A reading of the memory gauge that is at most this old also serves as the next one."""

thread_cpu_ns: Callable[[], int] = time.thread_time_ns
"""CPU time of the calling thread. `RUSAGE_THREAD` is tick-based and reads 0 for short calls."""


class ThreadCpu:
    """The CPU time of every thread, for a small part of what reading it at every call would cost.

    The clock is read at most once in `gap_ns`; in between, a thread is taken to have used the CPU
    all the time. Differences telescope: whatever lies between two readings adds up to what the
    clock says, and a single call is wrong by `gap_ns` at most. With a gap of 0 it is read at every
    boundary.
    """

    def __init__(
        self,
        clock: Callable[[], int],
        *,
        gap_ns: int = 100_000,
        thread_cpu: Callable[[], int] = thread_cpu_ns,
    ) -> None:
        def read(state: list[Any]) -> int:
            used = thread_cpu()
            now = clock()
            state[0] = now + gap_ns
            state[1] = used - now
            return now

        self.read = read
        """Reads the clock into a thread's state, [when to read it next, CPU less wall, ...].

        It returns what the wall clock says.
        """


def rss_gauge() -> Callable[[], bytes | int]:
    """Return a function that reads the process's resident set, raw; see `resident_bytes`.

    On Linux a line of /proc/self/statm through a descriptor that is kept open (about 1 us);
    elsewhere bytes from psutil (about 25 us).
    """
    try:
        descriptor = _statm_descriptor()
    except OSError:
        import psutil

        memory_info = psutil.Process().memory_info
        return lambda: memory_info().rss
    pread = os.pread
    return lambda: pread(descriptor, 64, 0)


thread_count: Callable[[], int] = _thread._count
"""How many Python threads are alive beside the main one: `threading.active_count` without a lock."""


def run_and_wait_ns() -> tuple[int, int]:
    """Return how long the calling thread has run so far, and has waited for a CPU, in ns.

    Linux counts it (about 4 us to read); elsewhere both are 0.
    """
    try:
        descriptor = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0, 0
    try:
        ran, waited, _ = os.read(descriptor, 64).split()
    finally:
        os.close(descriptor)
    return int(ran), int(waited)


def task_count() -> int:
    """Return how many asyncio tasks the running loop of this thread has, 0 without a loop."""
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return 0
    return len(asyncio.all_tasks())


def empty_cpu_ns() -> int:
    """Return what the CPU clock counts between two readings around two of the wall clock."""
    return min(_empty_cpu_ns() for _ in range(20))


def _empty_cpu_ns() -> int:
    clock = time.perf_counter_ns
    started = thread_cpu_ns()
    clock()
    clock()
    return thread_cpu_ns() - started


_kept: list[int] = []


def _statm_descriptor() -> int:
    """Open /proc/self/statm once for the process; a fork must not read its parent's."""
    if not _kept:
        _kept.append(os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC))
        os.register_at_fork(after_in_child=_reopen)
    return _kept[0]


def _reopen() -> None:
    own = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(own, _kept[0], inheritable=False)
    os.close(own)
