"""Looking into a plugin with real profilers: pyinstrument and memray."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pluginhost import Inside, PluginHost, hookimpl, observe
from pluginhost.costs import FlameGraphNode
from pluginhost.errors import DeadlineExceededError, InvalidValueError, MissingExtraError
from pluginhost.inside import InsideFrame, InsideProfile, Kind
from pluginhost.instrumentation.inside import InsideSource
from pluginhost.instrumentation.inside_frames import inside
from pluginhost.instrumentation.inside_profilers import Place
from pluginhost.profiler.inside import joined


def busy(seconds: float) -> int:
    """Work without waiting."""
    end, number = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        number += len(str(number))
    return number


def grind() -> int:
    return busy(0.004)


def polish() -> int:
    return busy(0.001)


class Mill:
    @hookimpl
    def execute(self, payload: Any, host: Any) -> Any:
        if payload == "call":
            host.execute("Other")
        if payload == "fail":
            raise KeyError("no grain")
        if payload == "wait":
            time.sleep(0.05)
        grind()
        polish()
        return payload


class Other:
    @hookimpl
    def execute(self) -> None:
        busy(0.003)


class Recursive:
    @hookimpl
    def execute(self, payload: int, host: Any) -> int:
        busy(0.002)
        return payload if payload == 0 else host.execute("Recursive", payload - 1)


class Hoard:
    @hookimpl
    def execute(self) -> int:
        return len(hoarded())


def hoarded() -> bytearray:
    return bytearray(3_000_000)


class Waiting:
    @hookimpl
    async def execute(self, payload: float) -> float:
        await asyncio.sleep(payload)
        busy(0.003)
        return payload


class Chosen:
    @hookimpl
    async def execute(self, payload: str) -> None:
        await asyncio.sleep(0.02)
        globals()[payload]()


@pytest.fixture
def host() -> Iterator[PluginHost]:
    names = ("Mill", "Other", "Recursive", "Hoard", "Waiting", "Chosen")
    with PluginHost("inside", sources=[f"module:{__name__}:{name}" for name in names]) as made:
        sys.modules.setdefault(__name__, sys.modules[Mill.__module__])
        made.load_all()
        yield made


def profile_of(observation: Any) -> InsideProfile:
    performance = observation.report().performance
    assert performance is not None
    (found,) = performance.inside
    return found


def names(frames: tuple[InsideFrame, ...]) -> set[str]:
    found = {frame.function for frame in frames}
    return found.union(*(names(frame.children) for frame in frames))


def node_of(root: FlameGraphNode, name: str) -> FlameGraphNode:
    return next(child for child in root.children if child.name == name)


def added_up(node: FlameGraphNode) -> int:
    return node.self_ns + sum(map(added_up, node.children))


def test_functions_of_the_plugin_are_found_below_its_node(host: PluginHost) -> None:
    """Its own function stands below it, sampled, and what it called, in proportion."""
    with observe(host, inside=Inside("Mill")) as observation:
        for _ in range(20):
            host.execute("Mill", 1)
        report = observation.report().performance
    assert report is not None
    (profile,) = report.inside
    assert (profile.executions, profile.profiled, profile.skipped) == (20, 10, 0)
    assert {"execute", "grind", "polish", "busy"} <= names(profile.frames)
    node = node_of(report.flame_graph, "Mill")
    execute = max(node.children, key=lambda child: child.duration_ns)
    assert execute.sampled
    assert not node.sampled
    by_name = {child.name.split()[0]: child for child in execute.children}
    assert by_name["grind"].duration_ns > by_name["polish"].duration_ns
    assert "~" in observation.performance_report()


def test_the_flame_graph_adds_up_to_what_was_measured(host: PluginHost) -> None:
    """What is sampled shares out the self time of the plugin, to the ns."""
    with observe(host, inside=Inside("Mill")) as observation:
        for _ in range(9):
            host.execute("Mill", "call")
        report = observation.report().performance
        measured = observation.profiler.generate_flame_graph() if observation.profiler else None
    assert report is not None
    assert measured is not None
    joined = node_of(report.flame_graph, "Mill")
    assert added_up(joined) == joined.duration_ns == node_of(measured, "Mill").duration_ns
    assert [c.name for c in joined.children if not c.sampled] == ["Other"]


def test_what_it_calls_of_others_is_not_its_own(host: PluginHost) -> None:
    """Samples within another plugin are counted apart: that one has a node of its own."""
    with observe(host, inside=Inside("Mill")) as observation:
        for _ in range(10):
            host.execute("Mill", "call")
    profile = profile_of(observation)
    assert profile.called_ns > 5 * 2_000_000
    files = {frame.function for frame in profile.frames}
    assert files <= {"execute", "(pluginhost)"}


def test_nested_executions_are_skipped_and_counted(host: PluginHost) -> None:
    """One profiler a thread: the outermost execution has it."""
    with observe(host, inside=Inside("Recursive")) as observation:
        assert host.execute("Recursive", 4) == 0
    profile = profile_of(observation)
    assert (profile.executions, profile.profiled, profile.skipped) == (5, 1, 2)
    assert profile.failure is None


def test_exceptions_pass_unchanged(host: PluginHost) -> None:
    """What the plugin raises reaches the caller, and the execution is profiled."""
    with (
        observe(host, inside=Inside("Mill")) as observation,
        pytest.raises(KeyError, match="grain"),
    ):
        host.execute("Mill", "fail")
    assert profile_of(observation).profiled == 1


def test_profiling_begins_when_an_execution_takes_too_long(host: PluginHost) -> None:
    """Executions before that are not counted; whichever plugin is first is looked into."""
    with observe(host, inside=Inside("*", over_s=0.3)) as observation:
        for seconds in (0.0, 0.0, 0.4, 0.0):
            asyncio.run(host.aexecute("Waiting", seconds))
            host.execute("Mill", 1)
    profile = profile_of(observation)
    assert profile.plugin_id == "Waiting"
    assert profile.executions == 1


def test_no_plugin_over_the_threshold_leaves_no_profile(host: PluginHost) -> None:
    """There is nothing to show, and the report says nothing."""
    with observe(host, inside=Inside("*", over_s=100)) as observation:
        host.execute("Mill", 1)
        report = observation.report().performance
    assert report is not None
    assert report.inside == ()


def test_asynchronous_executions_side_by_side(host: PluginHost) -> None:
    """Each task has a profiler, and waiting is time of the function that waits."""

    async def all_at_once() -> None:
        await asyncio.gather(*(host.aexecute("Waiting", 0.02) for _ in range(6)))

    with observe(host, inside=Inside("Waiting")) as observation:
        asyncio.run(all_at_once())
    profile = profile_of(observation)
    assert (profile.profiled, profile.skipped, profile.failure) == (3, 0, None)
    assert {"execute", "busy", "(waiting)"} <= names(profile.frames)
    assert "(tasks that it started)" not in names(profile.frames)


def test_what_other_tasks_do_meanwhile_is_not_counted(host: PluginHost) -> None:
    """While a task waits for its turn, the stack of the one that has it is not its own."""

    async def all_at_once() -> None:
        work = ("grind", "polish")  # every other execution is profiled
        await asyncio.gather(*(host.aexecute("Chosen", work[n % 2]) for n in range(6)))

    with observe(host, inside=Inside("Chosen")) as observation:
        asyncio.run(all_at_once())
    profile = profile_of(observation)
    assert profile.profiled == 3
    assert {"grind", "(waiting)"} <= names(profile.frames)
    assert "polish" not in names(profile.frames)


def test_an_asynchronous_plugin_executed_from_synchronous_code(host: PluginHost) -> None:
    """Its function is found within the event loop that is run for it."""
    with observe(host, inside=Inside("Waiting")) as observation:
        for _ in range(3):
            host.execute("Waiting", 0.005)
    assert {"execute", "busy"} <= names(profile_of(observation).frames)


def test_executions_with_a_deadline_are_profiled_in_their_thread(host: PluginHost) -> None:
    """The profiler runs where the work is done."""
    with observe(host, inside=Inside("Mill")) as observation:
        for _ in range(5):
            host.execute("Mill", 1, deadline=10)
    profile = profile_of(observation)
    assert profile.profiled == 3
    assert {"execute", "grind"} <= names(profile.frames)


def test_an_execution_that_overran_its_deadline_is_given_up(host: PluginHost) -> None:
    """It goes on elsewhere with its profiler, which nobody waits for."""
    with observe(host, inside=Inside("Mill")) as observation:
        with pytest.raises(DeadlineExceededError):
            host.execute("Mill", "wait", deadline=0.01)
        for thread in threading.enumerate():
            if thread.name == "pluginhost-Mill":
                thread.join()
        host.execute("Mill", 1)
        host.execute("Mill", 1)
    profile = profile_of(observation)
    assert (profile.profiled, profile.skipped, profile.failure) == (1, 1, None)


def test_threads_are_profiled_side_by_side(host: PluginHost) -> None:
    """Each has its own profiler."""
    with observe(host, inside=Inside("Mill")) as observation:
        threads = [threading.Thread(target=host.execute, args=("Mill", 1)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    profile = profile_of(observation)
    assert (profile.profiled, profile.skipped, profile.failure) == (4, 0, None)


def test_somebody_elses_profiler_is_not_disturbed(host: PluginHost) -> None:
    """Where a profile function is set, the execution is skipped and the function stays."""

    def other(frame: Any, event: str, argument: Any) -> None:
        return None

    with observe(host, inside=Inside("Mill")) as observation:
        before = sys.getprofile()
        sys.setprofile(other)
        try:
            host.execute("Mill", 1)
            assert sys.getprofile() is other
        finally:
            sys.setprofile(before)
    profile = profile_of(observation)
    assert (profile.profiled, profile.skipped) == (0, 1)


def test_advice_about_a_slow_clock_is_not_printed_to_the_program(
    host: PluginHost, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """pyinstrument gives it on standard error; whoever uses pyinstrument themselves still gets it."""
    from pyinstrument import Profiler, stack_sampler

    monkeypatch.setattr(stack_sampler, "timing_overhead", lambda: {"walltime": 1e-3})
    monkeypatch.setattr(stack_sampler, "walltime_coarse_resolution", lambda: None)
    sampler = stack_sampler.get_stack_sampler()
    monkeypatch.setattr(sampler, "has_warned_about_timing_overhead", False)
    with observe(host, inside=Inside("Mill")) as observation:
        host.execute("Mill", 1)
    assert profile_of(observation).profiled == 1
    assert capsys.readouterr().err == ""
    with Profiler():
        pass
    assert "overhead" in capsys.readouterr().err


@pytest.mark.parametrize("step", ["start", "stop", "stacks"])
def test_a_profiler_that_fails_is_used_no_more(
    host: PluginHost, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said once and counted; results are as without it."""

    class Broken:
        name = "broken 1.0"

        def start(self, interval_ns: int) -> Any:
            return self if self.reached("start") else None

        def is_running_here(self) -> bool:
            return False

        def stop(self) -> None:
            self.reached("stop")

        def stacks(self) -> list[Any]:
            self.reached("stacks")
            return []

        def reached(self, here: str) -> bool:
            if here == step:
                raise RuntimeError("out of order")
            return True

    source = InsideSource(host, Inside("Mill"), profiler=Broken())
    source.start()
    try:
        assert [host.execute("Mill", n) for n in range(4)] == [0, 1, 2, 3]
    finally:
        source.stop()
    profile = source.profile()
    assert profile is not None
    assert (profile.failures, profile.failure) == (1, "RuntimeError: out of order")
    assert capsys.readouterr().err.count("out of order") == 1


def test_the_peak_of_memory_is_found(host: PluginHost) -> None:
    """The function that allocated it, with its bytes, and the flame graph as it was."""
    with observe(host, inside=Inside("Hoard", kind="memory")) as observation:
        for _ in range(3):
            assert host.execute("Hoard") == 3_000_000
        text = observation.performance_report()
        report = observation.report().performance
    assert report is not None
    (profile,) = report.inside
    assert (profile.profiled, profile.failure) == (2, None)
    assert profile.value >= 3_000_000
    assert "hoarded" in names(profile.frames)
    assert not node_of(report.flame_graph, "Hoard").children
    assert "2.86 MiB" in text


def test_one_memory_profile_at_a_time(host: PluginHost) -> None:
    """Executions beside one that is profiled are skipped."""
    barrier = threading.Barrier(2)

    def run() -> None:
        barrier.wait()
        for _ in range(6):
            host.execute("Mill", 1)

    with observe(host, inside=Inside("Mill", kind="memory")) as observation:
        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    profile = profile_of(observation)
    assert profile.profiled + profile.skipped == 6
    assert profile.skipped > 0
    assert profile.failure is None


def test_at_most_as_many_as_wanted_are_profiled(host: PluginHost) -> None:
    """After that only the others are counted."""
    with observe(host, inside=Inside("Mill", most=2)) as observation:
        for _ in range(8):
            host.execute("Mill", 1)
    profile = profile_of(observation)
    assert (profile.executions, profile.profiled) == (8, 2)


def test_what_it_costs_is_said(host: PluginHost) -> None:
    """Starting is measured, and how much slower the profiled executions are."""
    with observe(host, inside=Inside("Mill")) as observation:
        for _ in range(20):
            host.execute("Mill", 1)
    profile = profile_of(observation)
    assert profile.starting_ns > 0
    assert profile.slowdown is not None
    assert 0.5 < profile.slowdown < 5


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"kind": "disk"}, id="kind"),
        pytest.param({"over_s": -1.0}, id="threshold"),
        pytest.param({"over_s": float("nan")}, id="nan"),
        pytest.param({"interval_s": 0.0}, id="interval"),
        pytest.param({"most": 0}, id="most"),
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    """With what would make sense."""
    with pytest.raises(InvalidValueError, match="give"):
        Inside("Mill", **options)


def test_any_plugin_needs_a_threshold() -> None:
    """For else it is not said which."""
    with pytest.raises(InvalidValueError, match="over_s"):
        Inside("*")


def test_a_missing_library_names_the_extra(
    host: PluginHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is attached to the host."""
    monkeypatch.setitem(sys.modules, "pyinstrument", None)
    with pytest.raises(MissingExtraError, match=r"pluginhost\[profilers\]"):
        observe(host, inside=Inside("Mill"))


def test_nothing_stays_with_the_host(host: PluginHost) -> None:
    """After closing, executions are as they were."""
    before = len(host.lifecycle.get_plugins())
    with observe(host, inside=Inside("Mill")):
        assert len(host.lifecycle.get_plugins()) > before
    assert len(host.lifecycle.get_plugins()) == before


def frames(draw_depth: int = 3) -> st.SearchStrategy[tuple[InsideFrame, ...]]:
    """Return a strategy for frames whose values add up."""

    def made(own: int, name: str, children: tuple[InsideFrame, ...]) -> InsideFrame:
        return InsideFrame(
            function=name,
            file="a/b.py",
            line=1,
            value=own + sum(child.value for child in children),
            self_value=own,
            children=children,
        )

    one = st.builds(made, st.integers(0, 10**12), st.text(max_size=5), st.just(()))
    for _ in range(draw_depth):
        below = st.lists(one, max_size=3).map(tuple)
        one = st.builds(made, st.integers(0, 10**12), st.text(max_size=5), below)
    return st.lists(one, min_size=1, max_size=3).map(tuple)


@given(frames(), st.integers(0, 10**13), st.lists(st.integers(0, 10**9), max_size=3))
def test_joining_moves_time_and_makes_none(
    found: tuple[InsideFrame, ...], own_ns: int, called: list[int]
) -> None:
    """Whatever was sampled, the tree adds up to what was measured, and nothing is negative."""
    children = tuple(FlameGraphNode(name="other", duration_ns=ns, self_ns=ns) for ns in called)
    node = FlameGraphNode(
        name="Mill", duration_ns=own_ns + sum(called), self_ns=own_ns, children=children
    )
    value = sum(frame.value for frame in found)
    profile = InsideProfile(
        plugin_id="Mill", kind=Kind.TIME, profiler="p", value=value, frames=found
    )
    result = joined(node, profile) if value else node
    waiting = [result]
    while waiting:
        each = waiting.pop()
        assert each.self_ns >= 0
        assert each.duration_ns == each.self_ns + sum(c.duration_ns for c in each.children)
        waiting += each.children
    assert result.duration_ns == node.duration_ns


@given(
    st.lists(
        st.builds(Place, st.text(max_size=3), st.sampled_from(["a.py", "b.py"]), st.integers(0, 3)),
        max_size=8,
    )
)
def test_stacks_without_the_mark_are_nobodys(places: list[Place]) -> None:
    """What was sampled outside of the plugin does not get into its profile."""
    assert inside(places) == []


def test_what_the_loop_does_to_wake_a_task_is_waiting_and_no_task() -> None:
    """A timer's callback runs in the context in which it was set: the plugin's."""
    run = Place("_run", "/lib/asyncio/events.py", 84)
    woken = [
        Place("_set_result_unless_cancelled", "/lib/asyncio/futures.py", 311),
        Place("call_soon", "/lib/asyncio/base_events.py", 780),
    ]
    assert inside([run, *woken], tasks=True) == [Place("(waiting)", "", 0)]
    own = Place("work", "/plugins/mill.py", 3)
    assert inside([run, own], tasks=True) == [Place("(tasks that it started)", "", 0), own]
    assert inside([run, *woken]) == []
