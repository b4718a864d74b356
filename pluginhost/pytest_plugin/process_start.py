"""When this process was started, on the clock that everything is recorded with."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

_PROGRAMS = ("pytest", "py.test", "pytest.exe", "py.test.exe")
_RUNNING, _IN = "wrap_session", "_pytest.main"  # while pytest runs a session
_SENT = "__channelexec__"  # what pytest-xdist runs in a worker
_LONGEST_NS = 600 * 10**9


def started_ns(*, worker: bool) -> int | None:
    """Return when the process was started, on the monotonic clock, to some 10 ms.

    None where the process is neither pytest's nor that of a `worker`: then pytest is a part of another
    program, whose earlier time is not the suite's. A process that was made by forking counts from
    there.
    """
    if not worker and (not _is_pytest() or _is_within_another()):
        return None
    now_ns = time.perf_counter_ns()
    age_ns = _age_ns()
    return now_ns - age_ns if age_ns is not None and 0 <= age_ns < _LONGEST_NS else None


def is_worker() -> bool:
    """Whether this session runs tests for another process; pytest-xdist says so too late for us."""
    for frame in _callers():
        if _begins_session(frame):
            return False  # one within the worker's
        if frame.f_globals.get("__name__") == _SENT:
            return True
    return False


def _is_pytest() -> bool:
    main: Any = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return spec.name in ("pytest", "pytest.__main__", "py.test")
    file = getattr(main, "__file__", None) or ""
    return Path(file).name in _PROGRAMS or Path(file).parent.name == "pytest"


def _is_within_another() -> bool:
    """Whether another session of this process has begun this one, or another thread."""
    if threading.current_thread() is not threading.main_thread():
        return True
    return any(map(_begins_session, _callers()))


def _begins_session(frame: FrameType) -> bool:
    return frame.f_code.co_name == _RUNNING and frame.f_globals.get("__name__") == _IN


def _callers() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _age_ns() -> int | None:
    """Return for how long this process has been there."""
    with suppress(OSError, ValueError, IndexError, AttributeError):
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
        ticks = int(fields.rpartition(")")[2].split()[19])  # field 22: after boot
        begun_ns = ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - begun_ns
    with suppress(Exception):
        import psutil

        return round((time.time() - psutil.Process().create_time()) * 1e9)
    return None
