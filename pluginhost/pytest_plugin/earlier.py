"""What was imported before anything could be recorded: measured again, in a process of its own.

pytest imports plugins in the order in which they are installed, and the first ones come before us.
What they cost is an estimate then. With `-p pluginhost` none come before.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from pluginhost.calltree import EventKind
from pluginhost.capture import CallRecord
from pluginhost.printable import printable
from pluginhost.pytest_plugin.suite_capture import SuiteCapture

_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| ( *)(\S+)\s*$")
_PROGRAM = """
import json, sys
names, sys.path[:] = json.load(sys.stdin)
for name in names:
    try:
        __import__(name)
    except BaseException:
        pass
"""
_PATIENCE_S = 60
_MOST = 0.95  # of the time in which it must have happened


class Imported(NamedTuple):
    """A module that was imported, with what it imported in turn; `self_ns` is without that."""

    name: str
    self_ns: int
    below: tuple[Imported, ...]

    @property
    def total_ns(self) -> int:
        """With all below."""
        return self.self_ns + sum(each.total_ns for each in self.below)


def imported_again(modules: Sequence[str]) -> tuple[Imported, ...]:
    """Import `modules` in another process, and return what that took; nothing if it fails."""
    command = [sys.executable, "-X", "importtime", "-c", _PROGRAM]
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COV_CORE", "COVERAGE_", "PYTEST_"))
    }
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter
            command,
            input=json.dumps([list(modules), sys.path]),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
            env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ()
    trees = tree_of(done.stderr.splitlines())
    wanted = {name.partition(".")[0] for name in modules}
    first = next((n for n, each in enumerate(trees) if each.name.partition(".")[0] in wanted), 0)
    return trees[first:]


def tree_of(lines: Iterable[str]) -> tuple[Imported, ...]:
    """Return the imports that `-X importtime` has written: each after those below it."""
    waiting: list[list[Imported]] = [[]]
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            continue
        depth = len(found[2]) // 2
        while len(waiting) <= depth + 1:
            waiting.append([])
        below = tuple(each for deeper in waiting[depth + 1 :] for each in deeper)
        del waiting[depth + 1 :]
        waiting[depth].append(Imported(printable(found[3]), int(found[1]) * 1000, below))
    return tuple(each for level in waiting for each in level)


def with_earlier(captured: SuiteCapture, trees: Sequence[Imported]) -> SuiteCapture:
    """Return a capture with `trees` as imports that came before what was recorded.

    They take at most the time from the start of the process until then, on the CPU as well; what is
    left of that is the interpreter's own start.
    """
    capture = captured.capture
    if captured.started_ns is None or not trees:
        return captured
    gap_ns = capture.begun_ns - captured.started_ns
    total_ns = sum(tree.total_ns for tree in trees)
    factor = min(1.0, _MOST * gap_ns / total_ns) if total_ns else 0.0
    if factor <= 0:
        return captured
    cpu_factor = min(factor, _MOST * captured.earlier_cpu_ns / total_ns)
    records: list[CallRecord] = []
    for tree in trees:
        _add(tree, -1, factor, cpu_factor, records)
    tops = [record for record in records if record.parent == -1]
    added_ns = sum(record.total_ns for record in tops)
    added_cpu_ns = sum(record.cpu_ns or 0 for record in tops)
    if all(call.cpu_ns is None for call in capture.calls):
        records = [msgspec.structs.replace(record, cpu_ns=None) for record in records]
    shift = len(records)
    calls = tuple(
        msgspec.structs.replace(call, parent=call.parent + shift) if call.parent >= 0 else call
        for call in capture.calls
    )
    note = (
        "imports before pluginhost was loaded are an estimate, from importing them again"
        " (exact with -p pluginhost)"
    )
    earlier = msgspec.structs.replace(
        capture,
        calls=(*records, *calls),
        begun_ns=capture.begun_ns - added_ns,
        observed_ns=capture.observed_ns - added_ns,
        cpu_ns=capture.cpu_ns + added_cpu_ns,
        main_cpu_ns=capture.main_cpu_ns + added_cpu_ns,
        notes=(*capture.notes, note) if not captured.worker else capture.notes,
    )
    left_ns = captured.earlier_cpu_ns - added_cpu_ns
    return msgspec.structs.replace(captured, capture=earlier, earlier_cpu_ns=left_ns)


def _add(
    tree: Imported, parent: int, factor: float, cpu_factor: float, records: list[CallRecord]
) -> tuple[int, int]:
    """Add the record of an import and of all below, callers first; return its time, and on the CPU."""
    position = len(records)
    records.append(CallRecord(parent, EventKind.MODULE_IMPORT, "", tree.name, 1, 0))
    total_ns, cpu_ns = round(tree.self_ns * factor), round(tree.self_ns * cpu_factor)
    for each in tree.below:
        below_ns, below_cpu_ns = _add(each, position, factor, cpu_factor, records)
        total_ns += below_ns
        cpu_ns += below_cpu_ns
    records[position] = CallRecord(
        parent, EventKind.MODULE_IMPORT, "", tree.name, 1, total_ns, cpu_ns, estimated=True
    )
    return total_ns, cpu_ns
