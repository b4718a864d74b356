"""Captures of a session's processes in, one report out: parts that add up to the whole."""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from pathlib import Path

import msgspec
import pytest

from pluginhost.attribution import NEGLIGIBLE, costs_of, parted_of
from pluginhost.attribution.partition import Node
from pluginhost.calltree import EventKind
from pluginhost.costs import CostReport
from pluginhost.figures import of
from pluginhost.pytest_plugin.advice import advice_on
from pluginhost.pytest_plugin.file_costs import FilesSeen, slowest
from pluginhost.pytest_plugin.fixture_costs import fixture_costs
from pluginhost.pytest_plugin.kept import Kept, unmeasured_imports
from pluginhost.pytest_plugin.parts import OURS, Parts
from pluginhost.pytest_plugin.sections import BODIES, REWRITING
from pluginhost.pytest_plugin.suite_capture import SuiteCapture
from pluginhost.pytest_plugin.table import OUTCOMES, stretches
from pluginhost.suite import MarkerCost, SuiteReport, SuiteTests, Until, WorkerCost

_NOT_IN_IT: dict[Until, str] = {
    Until.SUMMARY: "what comes after the summary, ending pytest and the process, is not in it",
    Until.END: "what the process does after pytest has ended is not in it",
    Until.EXIT: "what the interpreter does after its exit handlers is not in it",
}


def reports_of(
    captured: Sequence[SuiteCapture],
    *,
    command: tuple[str, ...],
    root: Path,
    exit_code: int | None,
    missing: Sequence[WorkerCost] = (),
    until: Until = Until.SUMMARY,
    in_full: bool = True,
) -> tuple[CostReport, SuiteReport]:
    """Return what plugins cost, and where the suite's time went, in all processes together.

    The first of `captured` is the user's process, `missing` are those that left nothing. What no short
    section shows is there only `in_full`: candidates, flame graph, rows of hooks and markers, spreads.
    """
    captured = [_spanned(each) for each in captured]
    captures = [each.capture for each in captured]
    parted = parted_of(captures, folder=str(root))
    unmeasured = unmeasured_imports(captured[0], parted)
    incomplete = tuple(_incomplete(captured, missing))
    costs = costs_of(
        captures,
        command=command,
        exit_code=exit_code,
        incomplete=incomplete,
        parted=parted,
        unasked=frozenset(OURS),
        least_share=NEGLIGIBLE,
        in_full=in_full,
    )
    parts = Parts(captures, parted, costs, sum(each.earlier_cpu_ns for each in captured))
    tests, names, marker_sets = _tests(captured, parts)
    seen = FilesSeen(parts, str(root))
    suite = SuiteReport(
        pytest=pytest.__version__,
        until=until,
        arguments=command[1:],
        root=str(root),
        wall_ns=costs.wall_ns,
        elapsed_ns=costs.elapsed_ns,
        cpu_ns=costs.cpu_ns,
        parts=parts.costs(),
        test_count=len(tests.ids),
        outcomes=dict(Counter(tests.outcomes)),
        tests=tests,
        files=seen.rows(tests, names, in_full=in_full),
        fixtures=fixture_costs(captured, parts.nodes(), parted, costs.wall_ns, str(root)),
        markers=_markers(tests, marker_sets) if in_full else (),
        marker_sets=marker_sets,
        imports=slowest(seen.elsewhere),
        workers=(*_workers(captured, parts), *missing),
        memory=captured[0].memory,
        bytes_per_test=max((each.bytes_per_test or 0.0 for each in captured), default=0.0) or None,
        ended=captured[0].ended,
        incomplete=incomplete,
        notes=_notes(captured, costs, until, unmeasured),
    )
    in_vain_ns = _rewritten_in_vain_ns(parts.nodes())
    advice = advice_on(costs, suite, Kept(captured, parted), unmeasured, in_vain_ns)
    return costs, msgspec.structs.replace(suite, advice=advice)


def _rewritten_in_vain_ns(nodes: Iterable[Node]) -> int:
    """Return what it took to rewrite assertions, of plugins as well, if nothing is kept of it."""
    if not sys.dont_write_bytecode:
        return 0
    return sum(node.self_ns for node in nodes if node.record.hook == REWRITING)


def _incomplete(captured: Sequence[SuiteCapture], missing: Sequence[WorkerCost]) -> Iterator[str]:
    """Yield what is not there of the suite, in words."""
    yield from (f"{each.id}: {each.missing}" for each in missing)
    elsewhere = sum(map(_ran_elsewhere, captured))
    if elsewhere:
        text = (
            "ran in processes that are not recorded, such as forks: they, and their fixtures, are"
        )
        yield f"{of(elsewhere, 'test')} {text} part of the plugin that waited for them"


def _ran_elsewhere(captured: SuiteCapture) -> int:
    """Return how many tests a process has reported whose bodies it did not run."""
    called, own = (array("q", captured.columns.get(name, b"")) for name in ("call_ns", "self_ns"))
    ran = list(compress(own, called))
    return ran.count(0)


def _spanned(captured: SuiteCapture) -> SuiteCapture:
    """Return a capture whose whole begins when its process did."""
    capture = captured.capture
    capture = msgspec.structs.replace(
        capture,
        spawned_ns=captured.started_ns,
        cpu_ns=capture.cpu_ns + captured.earlier_cpu_ns,
    )
    return msgspec.structs.replace(captured, capture=capture)


def _tests(
    captured: Sequence[SuiteCapture], parts: Parts
) -> tuple[SuiteTests, list[str], tuple[tuple[str, ...], ...]]:
    """Return the tests of all processes, the names of their files, and their sets of markers."""
    files: dict[str, int] = {}
    sets: dict[tuple[str, ...], int] = {(): 0}
    columns: dict[str, list[int]] = {name: [] for name in ("files", "markers", "workers")}
    ids: list[str] = []
    outcomes: list[str] = []
    with_workers = len(captured) > 1
    worker = 0
    for position, suite in enumerate(captured):
        ids += suite.ids
        outcomes += map(OUTCOMES.__getitem__, suite.outcomes)
        names = [each.partition("::")[0] for each in suite.ids]
        for name in dict.fromkeys(names):
            files.setdefault(name, len(files))
        columns["files"] += map(files.__getitem__, names)
        own = [sets.setdefault(names, len(sets)) for names in suite.marker_sets]
        columns["markers"] += map(own.__getitem__, suite.markers)
        if with_workers and suite.worker:
            columns["workers"] += [worker] * len(suite.ids)
            worker += 1
        for name, raw in suite.columns.items():
            values = array("q", raw)
            if name == "self_ns":
                values = _without_recording(values, parts, position)
            columns.setdefault(name, []).extend(values)
    if not parts.has_cpu:
        columns["cpu_ns"] = []
    tests = SuiteTests(
        ids=tuple(ids),
        outcomes=tuple(outcomes),
        **{name: tuple(values) for name, values in columns.items()},
    )
    return tests, list(files), tuple(sets)


def _without_recording(values: array[int], parts: Parts, position: int) -> array[int]:
    """Return the times of bodies without what recording them cost: they add up to their part."""
    bodies = [
        each.node
        for each in parts.placed[position]
        if each.node.record.hook == BODIES and each.node.record.kind is EventKind.SECTION
    ]
    calls = sum(node.record.count for node in bodies)
    whole_ns = sum(node.self_ns for node in bodies if node.apart is None)
    raw_ns = sum(values)
    if not calls or raw_ns <= whole_ns:
        return values
    each_ns = (raw_ns - whole_ns) // calls
    lower = array("q", [ns - each_ns if ns > each_ns else 0 for ns in values])
    rest = sum(lower) - whole_ns
    if lower:
        longest = lower.index(max(lower))
        lower[longest] = max(0, lower[longest] - rest)
    return lower


def _markers(tests: SuiteTests, sets: Sequence[tuple[str, ...]]) -> tuple[MarkerCost, ...]:
    rows: dict[str, list[int]] = {}
    cpu = tests.cpu_ns or (0,) * len(tests.ids)
    for position, where in stretches(tests.markers):
        for name in sets[position]:
            row = rows.setdefault(name, [0, 0, 0])
            row[0] += where.stop - where.start
            row[1] += sum(tests.self_ns[where])
            row[2] += sum(cpu[where])
    found = [
        MarkerCost(name=name, tests=count, self_ns=ns, cpu_ns=cpu_ns if tests.cpu_ns else None)
        for name, (count, ns, cpu_ns) in rows.items()
    ]
    return tuple(sorted(found, key=lambda row: (-row.self_ns, row.name)))


def _workers(captured: Sequence[SuiteCapture], parts: Parts) -> list[WorkerCost]:
    ends_ns = [each.capture.ended_ns for each in captured if each.worker and not each.elsewhere]
    return [
        WorkerCost(
            id=suite.worker,
            pid=suite.capture.pid,
            tests=len(suite.ids),
            wall_ns=parts.wall_ns(position),
            startup_ns=parts.unrecorded_ns(position),
            idle_ns=parts.idle_ns(position),
            unused_ns=None if suite.elsewhere else max(ends_ns) - suite.capture.ended_ns,
        )
        for position, suite in enumerate(captured)
        if suite.worker
    ]


def _notes(
    captured: Sequence[SuiteCapture], costs: CostReport, until: Until, unmeasured: Sequence[str]
) -> tuple[str, ...]:
    notes = [_NOT_IN_IT[until]]
    if unmeasured:
        names = ", ".join(unmeasured)
        notes.append(f"imported before pluginhost was loaded, and not measured: {names}")
    if captured[1:]:
        notes.append("workers: until they handed over what they had recorded")
    if captured[0].started_ns is None:
        notes.append("pytest is part of another program: counted from when pluginhost was loaded")
    else:
        notes.append("when the process was started is known to some 10 ms")
    unclear = sum(each.unclear for each in captured)
    if unclear:
        notes.append(
            f"a test had replaced the clock of pytest: setting up and tearing down {of(unclear, 'test')}"
            " took a time that is not known, shown as 0"
        )
    untraced = sum(each.untraced for each in captured)
    if untraced:
        notes.append(
            f"a test had stopped tracemalloc: the memory of {of(untraced, 'test')} is not known, shown as 0"
        )
    if captured[0].memory == "rss":
        notes.append("memory: the resident set of the whole process at the end of each test")
    elif captured[0].memory == "exact":
        notes.append("memory: what Python allocated (tracemalloc); times are longer for it")
    return (*notes, *costs.notes)
