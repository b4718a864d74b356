"""The parts by themselves: what is kept of tests, what other processes leave, what came earlier."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given, strategies as st

from pluginhost.calltree import EventKind
from pluginhost.capture import CallRecord, Capture, SeenManager, SeenPlugin, SiteRecord
from pluginhost.histogram import DurationHistogram
from pluginhost.pytest_plugin.asking import FILES, FLAGS, VALUES, ini_of
from pluginhost.pytest_plugin.earlier import Imported, tree_of, with_earlier
from pluginhost.pytest_plugin.profile import NAME
from pluginhost.pytest_plugin.sections import SETTING_UP
from pluginhost.pytest_plugin.suite_capture import FixtureSeen, SuiteCapture
from pluginhost.pytest_plugin.suite_report import reports_of
from pluginhost.pytest_plugin.table import TestTable
from pluginhost.pytest_plugin.workers import hand_over, taken_from
from pluginhost.suite import WorkerCost

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
CAPTURED = SuiteCapture(capture=CAPTURE, started_ns=0, ids=("a::b",), outcomes=b"\0")


def report(nodeid: str, when: str, outcome: str = "passed") -> SimpleNamespace:
    return SimpleNamespace(nodeid=nodeid, when=when, outcome=outcome, duration=0.001)


def test_50_000_tests_take_under_200_bytes_each() -> None:
    """Beside the ids, while the suite runs."""
    table = TestTable()
    for number in range(50_000):
        name = f"tests/test_a.py::test_{number}"
        table.reported(report(name, "setup"))
        table.ran(1000 + number, 900 + number, 800)
        table.reported(report(name, "call"))
        table.reported(report(name, "teardown"))
    assert len(table.ids) == 50_000
    assert table.bytes_per_test() < 200


def test_a_test_that_is_run_again_has_a_row_each_time() -> None:
    """As plugins do that repeat failures: the last phase of the first run is never reported."""
    table = TestTable()
    for outcome in ("rerun", "passed"):
        table.reported(report("t", "setup"))
        table.ran(5, 5, 5)
        table.reported(report("t", "call", outcome))
    table.reported(report("t", "teardown"))
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
        table.reported(each)
    table.finish()
    assert table.ids == ["mine"]
    assert list(table.outcomes) == [0]


def test_a_test_whose_body_ran_elsewhere_has_what_its_report_says() -> None:
    """A fork reports how long it took; nothing was recorded of it here, and the suite says so."""
    table = TestTable()
    for name, seen in (("a", True), ("b", False)):
        table.reported(report(name, "setup"))
        if seen:
            table.ran(5, 5, 5)
        table.reported(report(name, "call"))
        table.reported(report(name, "teardown"))
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
            table.reported(phase)
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
    helps = {key: config._parser._inidict[key][0] for key in keys}
    assert helps == {key: f"see --{key.replace('_', '-')}" for key in keys}
