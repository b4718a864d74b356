"""The parts by themselves: what is kept of tests, what other processes leave, what came earlier."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from pluginhost.calltree import MEASURING, EventKind
from pluginhost.capture import CallRecord, Capture, SeenManager, SeenPlugin, SiteRecord
from pluginhost.costs import CostReport
from pluginhost.exporters.html.contents import document_of
from pluginhost.histogram import DurationHistogram
from pluginhost.pytest_plugin.asking import FILES, FLAGS, REPORT_FILES, VALUES, ini_of
from pluginhost.pytest_plugin.earlier import Imported, tree_of, with_earlier
from pluginhost.pytest_plugin.files import WRITERS
from pluginhost.pytest_plugin.markdown import markdown
from pluginhost.pytest_plugin.process_start import is_worker
from pluginhost.pytest_plugin.profile import NAME
from pluginhost.pytest_plugin.recorded import report_of
from pluginhost.pytest_plugin.sections import COLLECTING, SETTING_UP
from pluginhost.pytest_plugin.suite_capture import FixtureSeen, SuiteCapture
from pluginhost.pytest_plugin.suite_report import reports_of
from pluginhost.pytest_plugin.table import TestTable
from pluginhost.pytest_plugin.workers import Workers, hand_over, taken_from
from pluginhost.rendering.suite import answer, suite_text
from pluginhost.suite import SuitePart, SuiteReport, WorkerCost

CAPTURE = Capture(
    pid=1,
    parent_pid=0,
    executable="python",
    python="3.11",
    arguments=(),
    begun_ns=1_000_000,
    observed_ns=1_100_000,
    ended_ns=9_000_000,
    cpu_ns=1,
    main_cpu_ns=1,
    ended="exit",
)
COLUMNS = {
    name: array("q", [1000]).tobytes()
    for name in ("setup_ns", "call_ns", "self_ns", "cpu_ns", "teardown_ns")
}
CAPTURED = SuiteCapture(capture=CAPTURE, started_ns=0, ids=("a::b",), outcomes=b"\0")


def report(nodeid: str, when: str, outcome: str = "passed") -> SimpleNamespace:
    return SimpleNamespace(nodeid=nodeid, when=when, outcome=outcome, duration=0.001)


def test_50_000_tests_take_under_200_bytes_each() -> None:
    """Beside the ids, while the suite runs."""
    table = TestTable()
    for number in range(50_000):
        name = f"tests/test_a.py::test_{number}"
        table.pytest_runtest_logreport(report(name, "setup"))
        table.ran(1000 + number, 900 + number, 800)
        table.pytest_runtest_logreport(report(name, "call"))
        table.pytest_runtest_logreport(report(name, "teardown"))
    table.finish()
    assert len(table.ids) == 50_000
    assert table.bytes_per_test() < 200


def test_a_test_that_is_run_again_has_a_row_each_time() -> None:
    """As plugins do that repeat failures: the last phase of the first run is never reported."""
    table = TestTable()
    for outcome in ("rerun", "passed"):
        table.pytest_runtest_logreport(report("t", "setup"))
        table.ran(5, 5, 5)
        table.pytest_runtest_logreport(report("t", "call", outcome))
    table.pytest_runtest_logreport(report("t", "teardown"))
    table.finish()
    assert table.ids == ["t", "t"]
    assert list(table.columns["self_ns"]) == [5, 5]


def test_what_other_processes_run_is_left_to_them() -> None:
    """Their reports arrive as they come; one of a test that ran here stands among them."""
    table = TestTable()
    phases = ("setup", "call", "teardown")
    mine = [report("mine", when) for when in phases]
    first, second = ([report(name, when, "failed") for when in phases] for name in "ab")
    for each in (*first, *second):
        each.node = "gw"
    told = [first[0], second[0], first[1], second[1], first[2], second[2], *mine, first[0]]
    for each in told:
        table.pytest_runtest_logreport(each)
    table.finish()
    assert table.ids == ["mine"]
    assert list(table.outcomes) == [0]


def test_a_test_whose_body_ran_elsewhere_has_what_its_report_says() -> None:
    """A fork reports how long it took; nothing was recorded of it here, and the suite says so."""
    table = TestTable()
    for name, seen in (("a", True), ("b", False)):
        table.pytest_runtest_logreport(report(name, "setup"))
        if seen:
            table.ran(5, 5, 5)
        table.pytest_runtest_logreport(report(name, "call"))
        table.pytest_runtest_logreport(report(name, "teardown"))
    table.finish()
    assert list(table.columns["call_ns"]) == [5, 1_000_000]
    assert list(table.columns["self_ns"]) == [5, 0]
    columns = {name: column.tobytes() for name, column in table.columns.items()}
    captured = msgspec.structs.replace(
        CAPTURED,
        ids=("a", "b"),
        outcomes=b"\0\0",
        columns=columns,
        markers=(0, 0),
        marker_sets=((),),
    )
    _, suite = reports_of([captured], command=("pytest",), root=Path("/here"), exit_code=0)
    assert len(suite.incomplete) == 1
    assert suite.incomplete[0].startswith("1 test ran in processes")


@pytest.mark.parametrize("impossible_s", [-0.5, 1e9, 1000.0])
def test_times_of_a_clock_that_a_test_has_replaced_are_not_believed(impossible_s: float) -> None:
    """They are said to be not known; other tests keep theirs."""
    table = TestTable()
    for name, duration in (("a", 0.001), ("b", impossible_s), ("c", 0.002)):
        for when in ("setup", "call", "teardown"):
            phase = report(name, when)
            phase.duration = duration
            table.pytest_runtest_logreport(phase)
    table.finish()
    assert list(table.columns["setup_ns"]) == [1_000_000, 0, 2_000_000]
    assert list(table.columns["teardown_ns"]) == [1_000_000, 0, 2_000_000]
    assert table.unclear == 1


def test_what_another_process_has_recorded_arrives() -> None:
    """Whole, as bytes; its name is the one that its controller knows it by."""
    profile = SimpleNamespace(
        config=SimpleNamespace(workeroutput={}), capture=lambda: CAPTURED, stop=lambda: None
    )
    hand_over(profile)
    output = profile.config.workeroutput
    assert all(type(value) is bytes for value in output.values())
    node = SimpleNamespace(workeroutput=output, gateway=SimpleNamespace(id="gw3"))
    assert taken_from(node, None) == msgspec.structs.replace(CAPTURED, worker="gw3")


def test_what_is_missing_is_named() -> None:
    """A crash, a recording that failed, and bytes that are none of ours."""
    gateway = SimpleNamespace(id="gw1")
    crashed = taken_from(SimpleNamespace(gateway=gateway), "Not properly terminated")
    assert isinstance(crashed, WorkerCost)
    assert "crashed" in str(crashed.missing)

    def fails() -> SuiteCapture:
        raise MemoryError("no room")

    profile = SimpleNamespace(
        config=SimpleNamespace(workeroutput={}), capture=fails, stop=lambda: None
    )
    hand_over(profile)
    node = SimpleNamespace(workeroutput=profile.config.workeroutput, gateway=gateway)
    assert "no room" in str(taken_from(node, None).missing)
    broken = SimpleNamespace(workeroutput={"pluginhost_profile": b"\xff"}, gateway=gateway)
    assert "not readable" in str(taken_from(broken, None).missing)


KEY = "slow [function] conftest.py:1"
OF_WORKERS = st.lists(
    st.lists(st.integers(1, 10**9), min_size=1, max_size=30), min_size=1, max_size=4
)


def worker_with(durations_ns: list[int]) -> SuiteCapture:
    """Return what a worker records that calls a hook of a plugin and a fixture for so long."""
    histogram = DurationHistogram()
    histogram.add_all(durations_ns)
    spread = (min(durations_ns), max(durations_ns), 0, histogram.buckets())
    count, total_ns = len(durations_ns), sum(durations_ns)
    named = [(EventKind.HOOK_CALL, "theirs", "pytest_runtest_setup")]
    named += [(EventKind.SECTION, "", SETTING_UP + KEY)]
    plugin = SeenPlugin(name="theirs", registered_name="theirs", module="theirs")
    capture = msgspec.structs.replace(
        CAPTURE,
        ended_ns=CAPTURE.observed_ns + 3 * total_ns,
        calls=tuple(CallRecord(-1, *names, count, total_ns) for names in named),
        sites=tuple(SiteRecord(*names, *spread) for names in named),
        managers=(SeenManager(project="pytest", class_module="_pytest", plugins=(plugin,)),),
    )
    fixture = FixtureSeen(KEY, "slow", "function", "/here/conftest.py", "conftest", "")
    return SuiteCapture(capture=capture, started_ns=CAPTURE.observed_ns, fixtures=(fixture,))


@given(OF_WORKERS)
def test_what_workers_have_counted_is_merged_exactly(per_worker: list[list[int]]) -> None:
    """Counts add up, and the buckets of the merged histograms are those of all values together."""
    controller = SuiteCapture(capture=CAPTURE, started_ns=0)
    workers = []
    for number, durations_ns in enumerate(per_worker):
        captured = worker_with(durations_ns)
        config = SimpleNamespace(workeroutput={})
        hand_over(SimpleNamespace(config=config, capture=lambda c=captured: c, stop=lambda: None))
        gateway = SimpleNamespace(id=f"gw{number}")
        workers.append(
            taken_from(SimpleNamespace(workeroutput=config.workeroutput, gateway=gateway), None)
        )
    costs, suite = reports_of(
        [controller, *workers], command=("pytest",), root=Path("/here"), exit_code=0
    )
    every = [duration_ns for durations_ns in per_worker for duration_ns in durations_ns]
    exact = DurationHistogram()
    exact.add_all(every)
    (fixture,) = suite.fixtures
    assert (fixture.setups, fixture.histogram) == (len(every), exact.buckets())
    assert (fixture.min_ns, fixture.max_ns) == (min(every), max(every))
    (hook,) = [row for row in costs.hooks if row.plugin == "theirs"]
    assert (hook.calls, hook.histogram) == (len(every), exact.buckets())
    assert fixture.setup_ns == sum(every)
    assert [worker.id for worker in suite.workers] == [f"gw{n}" for n in range(len(per_worker))]


@given(OF_WORKERS)
def test_a_short_section_needs_less_and_shows_the_same(per_worker: list[list[int]]) -> None:
    """What is not worked out for it is what it does not show; all else is as in full."""
    captured = [SuiteCapture(capture=CAPTURE, started_ns=0), *map(worker_with, per_worker)]
    captured = [replace(each, ids=("a::b",), marker_sets=((), ("slow",))) for each in captured]
    captured = [replace(each, outcomes=b"\0", markers=(1,), columns=COLUMNS) for each in captured]
    (costs, suite), (few, short) = (
        reports_of(captured, command=(), root=Path("/here"), exit_code=0, in_full=in_full)
        for in_full in (True, False)
    )
    for verbosity in (-1, 0):
        shown = suite_text(few, short, verbosity=verbosity)
        assert shown == suite_text(costs, suite, verbosity=verbosity)
    assert costs.hooks
    assert costs.flame_graph is not None
    assert few == replace(costs, hooks=(), candidates=(), flame_graph=None)
    assert suite.markers
    assert all(file.histogram for file in suite.files)
    files = tuple(replace(file, histogram=()) for file in suite.files)
    assert short == replace(suite, markers=(), files=files)


trees = st.recursive(
    st.builds(Imported, st.sampled_from(["a", "b.c", "_d"]), st.integers(0, 10**6), st.just(())),
    lambda below: st.builds(
        Imported,
        st.sampled_from(["e", "f.g"]),
        st.integers(0, 10**6),
        st.lists(below, max_size=3).map(tuple),
    ),
    max_leaves=12,
).map(lambda tree: tree)


def captured_with(
    worker: str, *, wall_ns: int, waits_ns: int = 0, cpu_ns: int = 0, **fields: Any
) -> SuiteCapture:
    """Return what a process leaves that was recorded for `wall_ns`, and waited in pytest-xdist."""
    name = "worker" if worker else "dsession"
    module = "xdist.remote" if worker else "xdist.dsession"
    plugin = SeenPlugin(name=name, registered_name=name, module=module)
    waiting = CallRecord(-1, EventKind.HOOK_CALL, name, "pytest_runtestloop", 1, waits_ns, 0)
    capture = msgspec.structs.replace(
        CAPTURE,
        begun_ns=CAPTURE.observed_ns,
        ended_ns=CAPTURE.observed_ns + wall_ns,
        cpu_ns=cpu_ns,
        main_cpu_ns=cpu_ns,
        calls=(waiting,),
        managers=(SeenManager(project="pytest", class_module="_pytest", plugins=(plugin,)),),
    )
    fields = {"started_ns": capture.observed_ns, **fields}
    return SuiteCapture(capture=capture, worker=worker, **fields)


def suite_of(
    captured: Sequence[SuiteCapture], missing: Sequence[WorkerCost] = ()
) -> tuple[CostReport, SuiteReport]:
    return reports_of(
        captured, command=("pytest",), root=Path("/here"), exit_code=0, missing=missing
    )


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.lists(trees, max_size=3))
def test_cpu_time_counts_from_the_start_of_the_process(
    earlier_ns: int, later_ns: int, found: list[Imported]
) -> None:
    """It is that of the whole process, in parts that add up to it, whether imports are estimated or not."""
    captured = captured_with(
        "", wall_ns=10**7, cpu_ns=later_ns, started_ns=1, earlier_cpu_ns=earlier_ns
    )
    _, suite = suite_of([with_earlier(captured, found)])
    assert suite.cpu_ns == earlier_ns + later_ns
    assert sum(each.cpu_ns or 0 for each in suite.parts) == suite.cpu_ns
    assert suite.part(SuitePart.STARTUP).cpu_ns == earlier_ns


def test_measuring_may_wait_as_well() -> None:
    """Its CPU time is what it took on the CPU, not how long it took."""
    captured = captured_with("", wall_ns=1000, cpu_ns=300)
    adding_up = CallRecord(-1, EventKind.HOOK_CALL, "", MEASURING, 1, 900, 200)
    capture = msgspec.structs.replace(captured.capture, calls=(*captured.capture.calls, adding_up))
    _, suite = suite_of([msgspec.structs.replace(captured, capture=capture)])
    part = suite.part(SuitePart.MEASURING)
    assert (part.self_ns, part.cpu_ns) == (900, 200)
    assert suite.part(SuitePart.UNATTRIBUTED).cpu_ns == 100


def test_without_a_cpu_clock_no_part_has_cpu_time() -> None:
    """That of the process before it was recorded is no exception."""
    captured = captured_with("", wall_ns=100, started_ns=0, earlier_cpu_ns=50)
    (call,) = captured.capture.calls
    calls = (msgspec.structs.replace(call, cpu_ns=None),)
    capture = msgspec.structs.replace(captured.capture, calls=calls)
    _, suite = suite_of([msgspec.structs.replace(captured, capture=capture)])
    assert {each.cpu_ns for each in suite.parts} == {None}


def test_a_worker_starts_with_its_process() -> None:
    """What is estimated of its imports was a part of that."""
    worker = captured_with("gw0", wall_ns=50, started_ns=1000)
    tree = Imported("pytest", 10**9, ())
    controller = captured_with("", wall_ns=100)
    _, suite = suite_of([controller, with_earlier(worker, [tree])])
    assert suite.workers[0].startup_ns == CAPTURE.observed_ns - 1000
    assert suite.workers[0].wall_ns == CAPTURE.observed_ns - 950


def test_a_session_of_pytest_xdist_is_known_before_its_configuration() -> None:
    """Its worker is told from who calls, and a session within one of its tests is not the worker's."""
    names = {"is_worker": is_worker, "__name__": "__channelexec__"}
    exec("found = is_worker()", names)
    assert names["found"] is True
    within = {"is_worker": is_worker, "__name__": "_pytest.main"}
    exec("def wrap_session(): return is_worker()", within)
    names |= {"wrap_session": within["wrap_session"]}
    exec("found = wrap_session()", names)
    assert names["found"] is False
    assert is_worker() is False


def test_a_worker_is_idle_until_the_last_has_ended() -> None:
    """On one machine clocks can be compared; what runs elsewhere has another."""
    first = captured_with("gw0", wall_ns=1000, waits_ns=100)
    second = captured_with("gw1", wall_ns=200, waits_ns=20)
    third = captured_with("gw2", wall_ns=5000, elsewhere=True)
    costs, suite = suite_of([captured_with("", wall_ns=6000), first, second, third])
    assert [each.unused_ns for each in suite.workers] == [0, 800, None]
    assert "workers idle: gw0 10%, gw1 82%, gw2 0%" in suite_text(costs, suite)
    costs, suite = suite_of([captured_with("", wall_ns=6000), first, second])
    (advice,) = [each for each in suite.advice if each.kind == "idle"]
    assert "46% of their time" in advice.finding


def test_waiting_for_workers_is_no_part_of_the_answer() -> None:
    """Parts add up to all processes; shares are of the time that somebody was busy or idle in vain."""
    captured = [
        captured_with("", wall_ns=1000, waits_ns=900),
        captured_with("gw0", wall_ns=500, waits_ns=50),
        captured_with("gw1", wall_ns=400, waits_ns=50),
    ]
    costs, suite = suite_of(captured)
    assert sum(each.self_ns for each in suite.parts) == suite.wall_ns == 1900
    assert suite.part(SuitePart.IDLE).self_ns == 1000
    assert (suite.waiting_ns, suite.busy_ns) == (900, 1000)
    assert sum(ns for _, ns in suite.busy_parts()) == 1000
    assert "10 % idle" in answer(suite)
    text = " ".join(suite_text(costs, suite).split())
    assert "of 1.00 us in 3 processes" in text
    assert "1.00 us for you; the first only waited for 900 ns: not counted)" in text
    quiet = suite_text(costs, suite, verbosity=-1)
    assert quiet.startswith("1.00 us for you; of 1.00 us in 3 processes: ")
    assert "the first only waited for 900 ns" in markdown(costs, suite)
    assert "without 900 ns that the first" in " ".join(document_of(report_of(costs, suite)).answer)


def test_a_worker_that_is_not_heard_of_is_missing() -> None:
    """A session that is interrupted does not wait for its workers; nothing is said of their waiting."""
    first, second = (SimpleNamespace(gateway=SimpleNamespace(id=name)) for name in ("gw0", "gw1"))
    workers = Workers()
    workers.started(first)
    workers.started(second)
    workers.ended(first, "Not properly terminated")
    missing = [each for each in workers if isinstance(each, WorkerCost)]
    assert [each.id for each in missing] == ["gw0", "gw1"]
    idle = captured_with("gw2", wall_ns=100, waits_ns=100)
    costs, suite = suite_of([captured_with("", wall_ns=100), idle], missing)
    assert [text.partition(":")[0] for text in suite.incomplete] == ["gw0", "gw1"]
    assert not [each for each in suite.advice if each.kind == "idle"]
    text = suite_text(costs, suite, verbosity=1)
    assert all(line.count("missing") == 1 for line in text.splitlines() if "gw0" in line)
    assert re.search(r"^gw0 +missing$", text, re.MULTILINE)
    assert " in 2 processes (2 missing): " in suite_text(costs, suite, verbosity=-1)


@pytest.mark.parametrize(("workers", "saved"), [(1, 9), (2, 8), (10, None)])
def test_each_worker_needs_a_session_fixture_of_its_own(workers: int, saved: int | None) -> None:
    """Of ten times it is set up, as many are saved as there are more than workers that run tests."""
    captured = [captured_with("", wall_ns=100)]
    for number in range(workers):
        histogram = DurationHistogram()
        share = 10 // workers
        histogram.add_all([1000] * share)
        site = SiteRecord(
            EventKind.SECTION, "", SETTING_UP + KEY, 1000, 1000, 0, histogram.buckets()
        )
        call = CallRecord(-1, EventKind.SECTION, "", SETTING_UP + KEY, share, 1000 * share)
        worker = captured_with(f"gw{number}", wall_ns=2000 * share)
        capture = msgspec.structs.replace(worker.capture, calls=(call,), sites=(site,))
        place = ("/here/conftest.py", "conftest", "")
        fixture = FixtureSeen(KEY, "slow", "function", *place, widest="session")
        replaced = {"capture": capture, "fixtures": (fixture,), "ids": ("a::b",), "outcomes": b"\0"}
        replaced["columns"] = {"self_ns": array("q", [1]).tobytes()}
        captured.append(
            msgspec.structs.replace(worker, **replaced, markers=(0,), marker_sets=((),))
        )
    costs, suite = suite_of(captured)
    found = [each.saving_ns for each in suite.advice if each.kind == "fixture"]
    assert found == ([] if saved is None else [saved * 1000])
    if found:
        assert "What to do (savings predicted, of all processes)" in suite_text(costs, suite)


def test_a_file_is_imported_once_by_each_worker() -> None:
    """However often pytest looks it up: the section says how many imports there were."""
    captured = [captured_with("", wall_ns=100)]
    for number in range(2):
        collecting = CallRecord(-1, EventKind.SECTION, "", f"{COLLECTING}sub/test_a.py", 1, 600)
        call = CallRecord(0, EventKind.MODULE_IMPORT, "", "test_a", 1, 500)
        again = CallRecord(0, EventKind.MODULE_IMPORT, "", "test_a", 1, 1)
        worker = captured_with(f"gw{number}", wall_ns=1000)
        capture = msgspec.structs.replace(worker.capture, calls=(collecting, call, again))
        captured.append(msgspec.structs.replace(worker, capture=capture))
    costs, suite = suite_of(captured)
    (file,) = suite.files
    assert (file.path, file.import_count, file.import_ns) == ("sub/test_a.py", 2, 1002)
    assert re.search(r"^import +sub/test_a.py +2 ", suite_text(costs, suite), re.MULTILINE)


def lines_of(tree: Imported, depth: int = 0) -> list[str]:
    lines = [line for each in tree.below for line in lines_of(each, depth + 1)]
    text = f"import time: {tree.self_ns:9} | {0:10} | {'  ' * depth}{tree.name}"
    return [*lines, text]


def in_us(tree: Imported) -> Imported:
    return Imported(tree.name, tree.self_ns * 1000, tuple(in_us(each) for each in tree.below))


@given(st.lists(trees, max_size=4))
def test_import_times_are_read_as_python_writes_them(found: list[Imported]) -> None:
    """Each module after those that it imports, indented by its depth; other lines are not ours."""
    lines = ["import time: self [us] | cumulative | imported package", "something else"]
    lines += [line for tree in found for line in lines_of(tree)]
    assert tree_of(lines) == tuple(map(in_us, found))


@given(st.lists(trees, min_size=1, max_size=4))
def test_earlier_imports_fit_into_the_time_before(found: list[Imported]) -> None:
    """They never take longer than there was, and callers' positions stay true."""
    earlier = with_earlier(CAPTURED, found).capture
    assert 0 <= earlier.begun_ns <= CAPTURE.begun_ns
    tops = [call for call in earlier.calls if call.parent == -1]
    assert sum(call.total_ns for call in tops) == CAPTURE.begun_ns - earlier.begun_ns
    assert all(call.parent < position for position, call in enumerate(earlier.calls))


def test_who_does_not_ask_pays_for_one_module() -> None:
    """The entry point imports nothing that pytest has not, and of ours the packages it is in."""
    code = "import pytest, sys; before = set(sys.modules)\n"
    code += "import pluginhost.pytest_plugin.options\n"
    code += "print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    names = ["", ".pytest_plugin", ".pytest_plugin.options"]
    assert done.stdout.strip() == str([f"pluginhost{name}" for name in names])


def test_a_short_section_loads_no_more_than_it_shows(tmp_path: Path) -> None:
    """Neither buses, hosts, files and errors, nor other libraries than the one of the records."""
    (tmp_path / "test_it.py").write_text("def test_it(): pass")
    without, with_profile = (_loaded_by(tmp_path, each) for each in ("-q", "--plugin-profile"))
    loaded = with_profile - without
    ours = {name.removeprefix("pluginhost.") for name in loaded if name.startswith("pluginhost.")}
    assert {"recording", "rendering.suite", "pytest_plugin.suite_report"} <= ours
    assert not ours & _NOT_FOR_SUMS, ours & _NOT_FOR_SUMS
    libraries = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    assert libraries <= {"pluginhost", "msgspec", "typing_extensions"}  # which that looks for
    assert not loaded & {"asyncio", "multiprocessing", "sqlite3", "statistics", "subprocess"}


_NOT_FOR_SUMS = {
    "analytics", "bus", "cli", "comparison", "environment", "errors", "events", "exporters",
    "history", "hookspecs", "host", "launcher", "observation", "report", "serving",
    "subscription", "attribution.candidates", "attribution.flames", "attribution.hooks",
    "instrumentation.async_executions", "instrumentation.by_context", "instrumentation.inside",
    "instrumentation.lifecycle", "instrumentation.nesting", "instrumentation.sampling",
    "profiler.profiler", "pytest_plugin.declining", "pytest_plugin.earlier",
    "pytest_plugin.files", "pytest_plugin.gate", "pytest_plugin.junit",
    "pytest_plugin.markdown", "pytest_plugin.tested", "pytest_plugin.workers",
    "rendering.costs",
}  # fmt: skip
"""What is of no use where the terminal alone is told, in short, where the time of one process went."""


def _loaded_by(folder: Path, option: str) -> set[str]:
    """Return the names of all modules that a run of pytest in `folder` has loaded at its end."""
    code = "import atexit, pytest, sys\n"
    code += "atexit.register(lambda: print('modules:', *sorted(sys.modules)))\n"
    code += f"pytest.main(['-p', 'pluginhost', {option!r}])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert ("where the time went" in done.stdout) == (option == "--plugin-profile"), done.stdout
    return set(done.stdout.partition("modules: ")[2].split())


def test_who_does_not_ask_has_no_hook_called_while_tests_run() -> None:
    """Of all hooks, the plugin implements the one that adds options, once."""
    manager = pytest.Config.fromdictargs({}, ["-p", "no:cacheprovider"]).pluginmanager
    plugin = manager.get_plugin("pluginhost")
    callers = manager.get_hookcallers(plugin)
    assert [each.name for each in callers] == ["pytest_addoption"]
    assert not manager.has_plugin(NAME)


def test_taken_out_it_is_not_loaded() -> None:
    """`-p no:pluginhost` before anything else leaves neither options nor fixtures."""
    config = pytest.Config.fromdictargs({}, ["-p", "no:cacheprovider", "-p", "no:pluginhost"])
    assert config.pluginmanager.is_blocked("pluginhost")
    assert not any(key.startswith("plugin_profile") for key in config._parser._inidict)


def test_the_keys_of_the_configuration_are_the_options() -> None:
    """The two modules that name them agree."""
    keys = {"plugin_profile", *map(ini_of, (*FILES, *VALUES, *FLAGS))}
    config = pytest.Config.fromdictargs({}, ["-p", "no:cacheprovider"])
    assert {key for key in config._parser._inidict if key.startswith("plugin_profile")} == keys
    assert set(REPORT_FILES) == WRITERS.keys() <= FILES.keys()
    helps = {key: config._parser._inidict[key][0] for key in keys}
    assert helps == {key: f"see --{key.replace('_', '-')}" for key in keys}
