"""The stacks of all threads, as they stand now, in words."""

from __future__ import annotations

import faulthandler
import os
import re
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple

from pluginhost.host.scratch import scratch_file

_THREAD = re.compile(r"hread (0x[0-9a-f]+)(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
_CALL = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)


_MAX_DEPTH = 100
_SAFE = 0x030C0000


class Call(NamedTuple):
    """One call on a stack."""

    path: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.function}() in {os.path.basename(self.path)}:{self.line}"  # noqa: PTH119


def stacks() -> Mapping[int, tuple[Call, ...]]:
    """Return the calls of each thread by its ident, innermost first; none where nothing can be written.

    Walking the frames of threads that run is not safe (Python 3.11 may hand out freed memory);
    faulthandler walks them all while nothing else runs: at most 100 threads, the newest, and 100
    calls of each. Paths are as it shows them, see `shown_path`.
    """
    try:
        with scratch_file() as dump:
            faulthandler.dump_traceback(dump)
            dump.seek(0)
            text = dump.read().decode("ascii", "replace")
    except OSError:
        return {}
    return {
        int(ident, 16): tuple(
            Call(path, int(line), name) for path, line, name in _CALL.findall(calls)
        )
        for ident, calls in _THREAD.findall(text)
    }


def stack_of(ident: int) -> tuple[Call, ...]:
    """Return the calls of one thread, innermost first; none if there is no such thread.

    Of more than a hundred threads, `stacks` does not have the oldest. From Python 3.12 on, those are
    asked for their frames.
    """
    known = stacks().get(ident)
    if known is not None or sys.hexversion < _SAFE:
        return known or ()
    calls: list[Call] = []
    frame = sys._current_frames().get(ident)
    while frame is not None and len(calls) < _MAX_DEPTH:
        code = frame.f_code
        calls.append(Call(shown_path(code.co_filename), frame.f_lineno, code.co_name))
        frame = frame.f_back
    return tuple(calls)


def shown_path(path: str) -> str:
    """Return a path as `stacks` has it."""
    return path.encode("ascii", "backslashreplace").decode()


class Place:
    """Where a module's code is: its file, or its folder if it is a package."""

    def __init__(self, module: ModuleType | None) -> None:
        file = getattr(module, "__file__", None) or ""
        folders = list(getattr(module, "__path__", ()))
        self._file = shown_path(file)
        self._folder = shown_path(f"{folders[0]}{os.sep}") if folders else ""

    def has(self, path: str) -> bool:
        """Whether the file of a call is of the module."""
        return bool(self._file) and (
            path.startswith(self._folder) if self._folder else path == self._file
        )
