"""What comes after the summary: who took the time until pytest ended, and what the process does then."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pluginhost.calltree import MEASURING, EventKind
from pluginhost.capture import CallRecord
from pluginhost.figures import duration
from pluginhost.printable import printable
from pluginhost.pytest_plugin.notable import LEAST_NS, is_notable
from pluginhost.pytest_plugin.parts import OURS
from pluginhost.pytest_plugin.recorded import Recorded, report_of
from pluginhost.pytest_plugin.sections import ENDING
from pluginhost.pytest_plugin.suite_capture import SuiteCapture
from pluginhost.rendering.lines import paragraph, plain
from pluginhost.rendering.suite import part_name
from pluginhost.suite import SuitePart, Until

if TYPE_CHECKING:
    from pluginhost.costs import CostReport
    from pluginhost.suite import SuiteReport

_SHOWN = 3
_CLEANUPS = "what pytest cleans up"  # so far, that is all there is of the exit


class Moment(msgspec.Struct, frozen=True):
    """The clocks at one time, in ns: that of the records, CPU of the process, of this thread."""

    clock_ns: int
    cpu_ns: int
    main_cpu_ns: int

    @classmethod
    def now(cls) -> Moment:
        """Read them."""
        return cls(time.perf_counter_ns(), time.process_time_ns(), time.thread_time_ns())


def who_took_it(
    shown: tuple[CostReport, SuiteReport], final: tuple[CostReport, SuiteReport]
) -> str:
    """Return in words who took the time between two reports of one session, but for us."""
    taken: Counter[str] = Counter()
    for (costs, suite), sign in ((shown, -1), (final, 1)):
        hooks = {(row.plugin, row.hook): row.self_ns for row in costs.hooks}
        parts = {part: row.name for row in costs.plugins for part in row.parts}
        imports = {row.name: row.import_ns for row in costs.plugins}
        for (part, hook), ns in hooks.items():
            if parts.get(part, part) not in OURS and part in parts:
                taken[f"{hook} of {printable(parts[part], 40)}"] += sign * ns
        for name, ns in imports.items():
            if name not in OURS:
                taken[f"imports of {printable(name, 40)}"] += sign * ns
        for cost in suite.parts:
            if cost.part not in (SuitePart.PLUGINS, SuitePart.MEASURING):
                name = _CLEANUPS if cost.part is SuitePart.EXIT else part_name(cost.part)
                taken[name] += sign * cost.self_ns
    most = [(what, ns) for what, ns in taken.most_common(_SHOWN) if ns > LEAST_NS // 20]
    return ", ".join(f"{what} {duration(ns)}" for what, ns in most)


def threads_waited_for() -> tuple[str, ...]:
    """Return the threads that the interpreter will wait for, and what they run."""
    own = (threading.main_thread(), threading.current_thread())
    return tuple(
        f"{printable(each.name, 40)} ({printable(_what_runs(each), 80)})"
        for each in threading.enumerate()
        if not each.daemon and each not in own
    )


def _what_runs(thread: threading.Thread) -> str:
    what = getattr(thread, "_target", None) or type(thread)
    name = getattr(what, "__qualname__", None) or type(what).__qualname__
    return f"{getattr(what, '__module__', None) or '?'}.{name}"


class Exiting(msgspec.Struct, frozen=True):
    """What is left to tell when the process ends. It holds no object of pytest's or of the tests.

    `begun` is when pytest had ended, `told` when that was told. `files` are written again with all
    that is `recorded`, where there are some. `aloud` tells whether the terminal hears of it.
    """

    begun: Moment
    told: Moment
    elapsed_ns: int
    threads: tuple[str, ...]
    recorded: Recorded | None
    files: Mapping[str, Path]
    aloud: bool

    def tell(self, joined_ns: int) -> None:
        """Tell it; at `joined_ns`, all threads had ended that the process waits for."""
        now = Moment.now()
        later_ns = now.clock_ns - self.told.clock_ns
        if self.aloud and is_notable(later_ns, self.elapsed_ns):
            parts = {
                f"threads {', '.join(self.threads)}": joined_ns - self.told.clock_ns,
                "exit handlers": now.clock_ns - joined_ns,
            }
            what = [f"{each} {duration(ns)}" for each, ns in parts.items() if ns >= later_ns / 10]
            _said(f"{duration(later_ns)} more until the process could exit: {', '.join(what)}")
        if self.recorded is None or not self.files:
            return
        from pluginhost.pytest_plugin.files import WRITERS

        try:
            first, *others = self.recorded.captures
            captures = (_until_exit(first, self.begun, self.told, now), *others)
            whole = msgspec.structs.replace(self.recorded, captures=captures)
            report = report_of(*whole.costs(Until.EXIT))
            for name, file in self.files.items():
                WRITERS[name](report, file)
        except Exception as error:
            from pluginhost.errors import named

            _said(f"the files go no further than to the end of pytest: {named(error)}")


def _said(text: str) -> None:
    """Write a line, unless nobody listens any more."""
    with suppress(OSError, ValueError):
        sys.stdout.write(plain(paragraph(text, lead="pluginhost: ")))
        sys.stdout.flush()


def _until_exit(captured: SuiteCapture, begun: Moment, told: Moment, now: Moment) -> SuiteCapture:
    """Return a capture with what came after pytest: our own report, and then the process."""
    capture = captured.capture
    has_cpu = any(call.cpu_ns is not None for call in capture.calls)
    rows = (
        (EventKind.HOOK_CALL, MEASURING, told.clock_ns - capture.ended_ns, begun, told),
        (EventKind.SECTION, ENDING, now.clock_ns - told.clock_ns, told, now),
    )
    added = (
        CallRecord(
            -1, kind, "", hook, 1, ns, end.main_cpu_ns - start.main_cpu_ns if has_cpu else None
        )
        for kind, hook, ns, start, end in rows
    )
    replace = msgspec.structs.replace
    whole = replace(
        capture,
        ended_ns=now.clock_ns,
        cpu_ns=capture.cpu_ns + now.cpu_ns - begun.cpu_ns,
        main_cpu_ns=capture.main_cpu_ns + now.main_cpu_ns - begun.main_cpu_ns,
        calls=(*capture.calls, *added),
    )
    return replace(captured, capture=whole)
