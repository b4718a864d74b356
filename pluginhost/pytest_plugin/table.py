"""What is kept of each test while a suite runs: columns, some 60 bytes a test beside its id."""

from __future__ import annotations

import sys
import tracemalloc
from array import array
from collections.abc import Callable
from typing import Any

from pluginhost.instrumentation.readings import rss_gauge
from pluginhost.printable import printable
from pluginhost.reading import resident_bytes

OUTCOMES = ("passed", "failed", "skipped", "error", "xfailed", "xpassed", "rerun", "unfinished")
_TIMES = ("setup_ns", "call_ns", "self_ns", "cpu_ns", "teardown_ns")
_BODY = (0, 0, 0)
_LONGEST_ID = 1000


class TestTable:
    """All tests so far, in the order in which they ended.

    `memory` says what is read at the end of each test: nothing, `rss` or `exact`.
    """

    __test__ = False

    def __init__(self, memory: str = "") -> None:
        self.ids: list[str] = []
        self.outcomes = array("B")
        self.columns = {name: array("q") for name in _TIMES}
        self._body = _BODY
        self._setup_ns = 0
        self._call_ns = 0
        self._outcome = ""
        self._id = ""
        self._read: Callable[[], None] | None = None
        if memory == "rss":
            self.columns["rss_bytes"] = array("q")
            self._rss = rss_gauge()
            self._read = self._read_rss
        elif memory == "exact":
            self.columns["peak_bytes"] = array("q")
            self.columns["kept_bytes"] = array("q")
            self._allocated = 0
            self._read = self._read_allocated

    def ran(self, call_ns: int, self_ns: int, cpu_ns: int) -> None:
        """Keep what the body of the present test took."""
        before = self._body
        if before is not _BODY:  # some run the body of one test several times
            call_ns, self_ns, cpu_ns = (
                call_ns + before[0], self_ns + before[1], cpu_ns + before[2]
            )  # fmt: skip
        self._body = call_ns, self_ns, cpu_ns

    def reported(self, report: Any) -> None:
        """Take the report of one phase of a test; with the last one, the test has its row."""
        when = report.when
        if when == "setup":
            if self._id:
                self._end(0)
            self._id = report.nodeid
            self._setup_ns = int(report.duration * 1e9)
            if report.outcome != "passed":
                self._outcome = _outcome_of(report)
        elif when == "call":
            self._call_ns = int(report.duration * 1e9)
            if not self._outcome or self._outcome == "passed":
                self._outcome = _outcome_of(report)
        elif when == "teardown":
            if report.outcome == "failed":
                self._outcome = "error" if self._outcome != "failed" else "failed"
            self._end(int(report.duration * 1e9))

    def finish(self) -> None:
        """Give a row to a test whose last phase was never reported."""
        if self._id:
            self._outcome = self._outcome or "unfinished"
            self._end(0)

    def bytes_per_test(self) -> float | None:
        """Return what a row takes, without the id: the columns, and the place in the list."""
        if not self.ids:
            return None
        held = sum(map(sys.getsizeof, (*self.columns.values(), self.outcomes, self.ids)))
        return held / len(self.ids)

    def _end(self, teardown_ns: int) -> None:
        columns = self.columns
        call_ns, self_ns, cpu_ns = self._body
        if self._body is _BODY:
            call_ns = self._call_ns  # it ran elsewhere, such as in a fork: nothing was recorded
        self.ids.append(printable(self._id, _LONGEST_ID))
        self.outcomes.append(_code_of(self._outcome))
        columns["setup_ns"].append(self._setup_ns)
        columns["call_ns"].append(call_ns)
        columns["self_ns"].append(self_ns)
        columns["cpu_ns"].append(cpu_ns)
        columns["teardown_ns"].append(teardown_ns)
        if self._read is not None:
            self._read()
        self._body, self._setup_ns, self._call_ns = _BODY, 0, 0
        self._outcome, self._id = "", ""

    def _read_rss(self) -> None:
        self.columns["rss_bytes"].append(resident_bytes(self._rss()))

    def _read_allocated(self) -> None:
        now, peak = tracemalloc.get_traced_memory() if tracemalloc.is_tracing() else (0, 0)
        self.columns["peak_bytes"].append(peak)
        self.columns["kept_bytes"].append(now - self._allocated)
        self._allocated = now
        if tracemalloc.is_tracing():
            tracemalloc.reset_peak()


def _outcome_of(report: Any) -> str:
    """Return how a phase ended, as the last line of pytest's output counts it."""
    outcome: str = report.outcome
    if hasattr(report, "wasxfail"):
        return "xfailed" if outcome == "skipped" else "xpassed"
    if outcome == "failed" and report.when == "setup":
        return "error"
    return outcome


def _code_of(outcome: str) -> int:
    return OUTCOMES.index(outcome) if outcome in OUTCOMES else len(OUTCOMES) - 1
