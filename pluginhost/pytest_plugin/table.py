"""What is kept of each test while a suite runs: columns, some 60 bytes a test beside its id."""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

from pluginhost.instrumentation.readings import rss_gauge
from pluginhost.printable import printable
from pluginhost.reading import resident_bytes

OUTCOMES = ("passed", "failed", "skipped", "error", "xfailed", "xpassed", "rerun", "unfinished")
_TIMES = ("setup_ns", "call_ns", "self_ns", "cpu_ns", "teardown_ns")
_BODY = (0, 0, 0)
_NOT_KNOWN = (0.0, 0.0, 0.0)
_SLACK_S = 1.0  # by which the clock of another process may differ
_CODES = {outcome: code for code, outcome in enumerate(OUTCOMES)}
_UNFINISHED = _CODES["unfinished"]
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
        self._add = [self.columns[name].append for name in _TIMES]
        self._body = _BODY
        self._setup: Any = None
        self._call: Any = None
        self._outcome = ""
        self._clock = time.perf_counter
        self._begun_s = self._clock()
        self.unclear = 0
        """How many tests have phases of times that cannot be: somebody had replaced pytest's clock."""
        self._read: Callable[[], None] | None = None
        if memory == "rss":
            self.columns["rss_bytes"] = array("q")
            self._rss = rss_gauge()
            self._read = self._read_rss
        elif memory == "exact":
            self.columns["peak_bytes"] = array("q")
            self.columns["kept_bytes"] = array("q")
            self._allocated = 0
            import tracemalloc  # which imports pickle

            self._tracing = tracemalloc
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
            if hasattr(report, "node"):  # what another process runs, it records
                return
            if self._setup is not None:
                self._end(0.0)
            self._setup = report
            if report.outcome != "passed":
                self._ended(report)
        elif self._setup is None:
            return
        elif when == "call":
            self._call = report
            if report.outcome != "passed" or hasattr(report, "wasxfail"):
                self._ended(report)
        elif when == "teardown":
            if report.outcome == "failed":
                self._outcome = "error" if self._outcome != "failed" else "failed"
            self._end(report.duration)

    def finish(self) -> None:
        """Give a row to a test whose last phase was never reported."""
        if self._setup is not None:
            self._end(0.0)

    def printable_ids(self) -> tuple[str, ...]:
        """Return the ids with nothing in them that a terminal would obey."""
        if all(map(str.isprintable, self.ids)) and max(map(len, self.ids), default=0) < _LONGEST_ID:
            return tuple(self.ids)
        return tuple(printable(each, _LONGEST_ID) for each in self.ids)

    def bytes_per_test(self) -> float | None:
        """Return what a row takes, without the id: the columns, and the place in the list."""
        if not self.ids:
            return None
        held = sum(map(sys.getsizeof, (*self.columns.values(), self.outcomes, self.ids)))
        return held / len(self.ids)

    def _ended(self, report: Any) -> None:
        """Keep how a phase ended, unless one before has ended otherwise than well."""
        if self._outcome in ("", "passed"):
            self._outcome = _outcome_of(report)

    def _end(self, teardown_s: float) -> None:
        setup, call, body, add = self._setup, self._call, self._body, self._add
        call_ns, self_ns, cpu_ns = body
        call_s = call.duration if body is _BODY and call is not None else 0.0
        phases = setup.duration, call_s, teardown_s
        if min(phases) < 0.0 or sum(phases) > self._clock() - self._begun_s + _SLACK_S:
            self.unclear += 1
            phases = _NOT_KNOWN
        if phases[1]:  # it ran elsewhere, such as in a fork
            call_ns = int(phases[1] * 1e9)
        outcome = self._outcome or ("passed" if call is not None else "unfinished")
        self.ids.append(setup.nodeid)
        self.outcomes.append(_CODES.get(outcome, _UNFINISHED))
        add[0](int(phases[0] * 1e9))
        add[1](call_ns)
        add[2](self_ns)
        add[3](cpu_ns)
        add[4](int(phases[2] * 1e9))
        if self._read is not None:
            self._read()
        self._body, self._setup, self._call, self._outcome = _BODY, None, None, ""

    def _read_rss(self) -> None:
        self.columns["rss_bytes"].append(resident_bytes(self._rss()))

    def _read_allocated(self) -> None:
        now, peak = self._tracing.get_traced_memory() if self._tracing.is_tracing() else (0, 0)
        self.columns["peak_bytes"].append(peak)
        self.columns["kept_bytes"].append(now - self._allocated)
        self._allocated = now
        if self._tracing.is_tracing():
            self._tracing.reset_peak()


def stretches(column: Iterable[int]) -> Iterator[tuple[int, slice]]:
    """Yield the values of a column, each with where it stands: neighbours mostly have the same."""
    start = 0
    for value, alike in groupby(column):
        end = start + len(list(alike))
        yield value, slice(start, end)
        start = end


def _outcome_of(report: Any) -> str:
    """Return how a phase ended, as the last line of pytest's output counts it."""
    outcome: str = report.outcome
    if hasattr(report, "wasxfail"):
        return "xfailed" if outcome == "skipped" else "xpassed"
    if outcome == "failed" and report.when == "setup":
        return "error"
    return outcome
