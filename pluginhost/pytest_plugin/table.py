"""What is kept of each test while a suite runs: columns, some 60 bytes a test beside its id."""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import add
from typing import Any

import pytest

from pluginhost.instrumentation.readings import rss_gauge
from pluginhost.printable import printable
from pluginhost.reading import resident_bytes

OUTCOMES = ("passed", "failed", "skipped", "error", "xfailed", "xpassed", "rerun", "unfinished")
_TIMES = ("setup_ns", "call_ns", "self_ns", "cpu_ns", "teardown_ns")
_BODY = (0, 0, 0)
_NOT_KNOWN = (0.0, 0.0, 0.0)
_AT_ONCE = 500
"""So many reports and bodies wait to become rows together: alone, a row costs twice as much."""

_Row = tuple[str, int, float, float, float, int, int, int]
"""Id, code of the outcome, seconds of three phases as reported, and what the body took: see `ran`.

The second phase is that of a body that ran elsewhere, such as in a fork; else 0.
"""
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
        self._waiting: list[Any] = []
        self._at_once = 1 if memory else _AT_ONCE
        self._clock = time.perf_counter
        self._looked_s = self._clock()
        self.unclear = 0
        """How many tests have phases of times that cannot be: somebody had replaced pytest's clock."""
        self.untraced = 0
        """How many tests have no allocations on record: somebody had stopped tracemalloc."""
        self._traces = self._closed = False
        self._failure: Exception | None = None
        self._read: Callable[[], None] | None = None
        if memory == "rss":
            self.columns["rss_bytes"] = array("q")
            self._rss = rss_gauge()
            self._read = self._read_rss
        elif memory == "exact":
            self.columns["peak_bytes"] = array("q")
            self.columns["kept_bytes"] = array("q")
            self._allocated, self._frames = 0, 1
            import tracemalloc  # which imports pickle

            self._tracing = tracemalloc
            self._trace()
            self._read = self._read_allocated

    def ran(self, call_ns: int, self_ns: int, cpu_ns: int) -> None:
        """Keep what the body of the present test took."""
        self._waiting.append((call_ns, self_ns, cpu_ns))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take the report of one phase of a test; with the last one, the test gets its row."""
        self._waiting.append(report)
        if len(self._waiting) >= self._at_once and report.when == "teardown":
            try:
                self._add(self._rows())
            except Exception as error:  # of a report as pytest makes none; `finish` tells of it
                self._failure = self._failure or error

    def finish(self) -> None:
        """Have a row for every test, also for one whose last phase was never reported."""
        if self._failure is not None:
            raise self._failure
        self._add(self._rows())

    def close(self) -> None:
        """Look at memory no more: what traces it slows everything down."""
        try:
            self._add(self._rows())
        finally:
            self._closed = True
            if self._traces:
                self._traces = False
                self._tracing.stop()

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

    def _rows(self) -> list[_Row]:  # noqa: C901  # in line, for it looks at all phases of all tests
        """Return the rows of what is waiting; a test that is not over is in it as such."""
        waiting, self._waiting = self._waiting, []
        rows: list[_Row] = []
        setup: Any = None
        call: Any = None
        body, outcome = _BODY, ""
        for each in waiting:
            if type(each) is tuple:  # some run the body of one test several times
                body = each if body is _BODY else tuple(map(add, body, each))
                continue
            when = each.when
            if when == "setup":
                if hasattr(each, "node"):  # what another process runs, it records
                    continue
                if setup is not None:
                    rows.append(_row(setup, call, body, outcome))
                    call, body, outcome = None, _BODY, ""
                setup = each
                if each.outcome != "passed":
                    outcome = _outcome_of(each)
            elif setup is None:
                continue
            elif when == "call":
                call = each
                if (each.outcome != "passed" or hasattr(each, "wasxfail")) and not outcome:
                    outcome = _outcome_of(each)
            elif when == "teardown":
                if each.outcome == "failed" and outcome != "failed":
                    outcome = "error"
                rows.append(_row(setup, call, body, outcome, each.duration))
                setup = call = None
                body, outcome = _BODY, ""
        if setup is not None:
            rows.append(_row(setup, call, body, outcome))
        return rows

    def _add(self, rows: list[_Row]) -> None:
        """Keep rows; what times nobody can have measured since the last ones are not known."""
        if not rows:
            return
        before_s, self._looked_s = self._looked_s, self._clock()
        longest_s = self._looked_s - before_s + _SLACK_S
        ids, codes, *three, calls_ns, selves_ns, cpus_ns = zip(*rows, strict=True)
        phases: list[tuple[float, ...]] = three
        if min(map(min, phases)) < 0.0 or max(map(sum, zip(*phases, strict=True))) > longest_s:
            phases = self._believed(phases, longest_s)
        setups_ns, teardowns_ns = _nanoseconds(phases[0]), _nanoseconds(phases[2])
        if any(phases[1]):
            calls_ns = tuple(map(max, calls_ns, _nanoseconds(phases[1])))
        self.ids.extend(ids)
        self.outcomes.extend(codes)
        columns_ns = setups_ns, calls_ns, selves_ns, cpus_ns, teardowns_ns
        for name, column_ns in zip(_TIMES, columns_ns, strict=True):
            self.columns[name].extend(column_ns)
        if self._read is not None:
            for _ in rows:
                self._read()

    def _believed(
        self, phases: list[tuple[float, ...]], longest_s: float
    ) -> list[tuple[float, ...]]:
        """Return phases in which no test has times that cannot be: somebody has replaced the clock."""
        believed = []
        for each in zip(*phases, strict=True):
            impossible = min(each) < 0.0 or sum(each) > longest_s
            self.unclear += impossible
            believed.append(_NOT_KNOWN if impossible else each)
        return list(zip(*believed, strict=True))

    def _read_rss(self) -> None:
        self.columns["rss_bytes"].append(resident_bytes(self._rss()))

    def _read_allocated(self) -> None:
        now = peak = 0
        if self._tracing.is_tracing():
            self._frames = self._tracing.get_traceback_limit()
            now, peak = self._tracing.get_traced_memory()
            self._tracing.reset_peak()
        else:
            self._allocated = 0
            self.untraced += 1
            self._trace()
        self.columns["peak_bytes"].append(peak)
        self.columns["kept_bytes"].append(now - self._allocated)
        self._allocated = now

    def _trace(self) -> None:
        if not self._closed and not self._tracing.is_tracing():
            self._traces = True
            self._tracing.start(self._frames)


def stretches(column: Iterable[int]) -> Iterator[tuple[int, slice]]:
    """Yield the values of a column, each with where it stands: neighbours mostly have the same."""
    start = 0
    for value, alike in groupby(column):
        end = start + len(list(alike))
        yield value, slice(start, end)
        start = end


def _nanoseconds(seconds: Iterable[float]) -> Iterator[int]:
    return map(int, map((1e9).__mul__, seconds))  # at C speed


def _row(setup: Any, call: Any, body: Any, outcome: str, teardown_s: float = 0.0) -> _Row:
    elsewhere_s = call.duration if body is _BODY and call is not None else 0.0
    code = _CODES.get(outcome or ("passed" if call is not None else "unfinished"), _UNFINISHED)
    return (setup.nodeid, code, setup.duration, elsewhere_s, teardown_s, *body)


def _outcome_of(report: Any) -> str:
    """Return how a phase ended, as the last line of pytest's output counts it."""
    outcome: str = report.outcome
    if hasattr(report, "wasxfail"):
        return "xfailed" if outcome == "skipped" else "xpassed"
    if outcome == "failed" and report.when == "setup":
        return "error"
    return outcome
