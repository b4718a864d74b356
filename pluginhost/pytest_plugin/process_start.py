"""When this process was started, on the clock that everything is recorded with."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_PROGRAMS = ("pytest", "py.test", "pytest.exe", "py.test.exe")
_CURRENT = "PYTEST_CURRENT_TEST"
_LONGEST_NS = 600 * 10**9


def started_ns(*, worker: bool) -> int | None:
    """Return when the process was started, on the monotonic clock, to some 10 ms.

    None where the process is not pytest's: then pytest is a part of another program, whose earlier
    time is not the suite's. A process that was made by forking counts from there.
    """
    if not worker and (not _is_pytest() or _is_within_a_test()):
        return None
    now_ns = time.perf_counter_ns()
    age_ns = _age_ns()
    return now_ns - age_ns if age_ns is not None and 0 <= age_ns < _LONGEST_NS else None


def _is_pytest() -> bool:
    main: Any = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return spec.name in ("pytest", "pytest.__main__", "py.test")
    file = getattr(main, "__file__", None) or ""
    return Path(file).name in _PROGRAMS or Path(file).parent.name == "pytest"


def _is_within_a_test() -> bool:
    """Whether a test of this process has begun the session; what was inherited says nothing."""
    if _CURRENT not in os.environ:
        return False
    with suppress(OSError):
        return _CURRENT.encode() not in Path("/proc/self/environ").read_bytes()
    return True


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
