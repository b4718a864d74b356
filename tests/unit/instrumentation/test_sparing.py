"""Calls of the application's own implementations that are not timed, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from statistics import median
from threading import Semaphore, Thread, get_ident
from time import perf_counter_ns
from typing import Any

import pluggy
import pytest
from hypothesis import given, settings, strategies as st

from pluginhost.attribution import costs_of
from pluginhost.calltree import ELSEWHERE, CallTree
from pluginhost.capture import CallRecord, Capture
from pluginhost.costs import CostReport, HookCost
from pluginhost.instrumentation.by_thread import ThreadNesting
from pluginhost.instrumentation.call_cost import call_costs_ns
from pluginhost.instrumentation.calls import CallTimer
from pluginhost.instrumentation.readings import ThreadCpu
from pluginhost.instrumentation.sparing import TIMED_FIRST, TIMED_ONE_IN, Sparer
from pluginhost.instrumentation.tap import HookTapSource
from pluginhost.recording import Recorder
from tests.examples import examples

spec, impl = pluggy.HookspecMarker("t"), pluggy.HookimplMarker("t")
CALLS = 1_000


class Application(pluggy.PluginManager):
    """A manager of a package, whose plugins are the application's own if they are from it."""


class Specs:
    """What the application calls."""

    @spec
    def main(self, times: int) -> None:
        """Run."""

    @spec
    def work(self, item: int) -> Any:
        """Do something."""

    @spec(firstresult=True)
    def answer(self, item: int) -> Any:
        """Answer, whoever can."""


class Main:
    """The application's own, which calls the others."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self.manager = manager

    @impl
    def main(self, times: int) -> None:
        for item in range(times):
            self.manager.hook.work(item=item)
            self.manager.hook.answer(item=item)


class Leaf:
    """The application's own, which calls nobody."""

    @impl
    def work(self, item: int) -> int | None:
        return item if item % 2 else None

    @impl
    def answer(self, item: int) -> int:
        return item


class Around:
    """The application's own, around the others."""

    @impl(wrapper=True)
    def work(self, item: int) -> Generator[None, list[int], list[int]]:
        return (yield)


class Foreign:
    """A plugin of somebody else."""

    @impl
    def work(self, item: int) -> None:
        return None

    @impl
    def answer(self, item: int) -> str | None:
        return "some" if item % 5 == 0 else None


Foreign.__module__ = "foreign"


def _run(
    *plugins: type,
    times: int = CALLS,
    sparing: bool | Collection[str] = True,
    own: type = Main,
    like_own: Collection[str] = (),
) -> tuple[Capture, CostReport]:
    recorder = Recorder(cpu_gap_ns=None, imports=False, sparing=sparing)
    recorder.start()
    manager = Application("t")
    recorder.watch(manager, like_own=like_own)
    manager.add_hookspecs(Specs)
    manager.register(own(manager), "main")
    for plugin in plugins:
        manager.register(plugin(), plugin.__name__)
    manager.hook.main(times=times)
    capture = recorder.capture()
    recorder.close()
    return capture, costs_of([capture])


def _row(report: CostReport, plugin: str, hook: str) -> HookCost:
    return next(row for row in report.hooks if (row.plugin, row.hook) == (plugin, hook))


def test_the_applications_own_leaves_are_counted_and_timed_now_and_then() -> None:
    """All calls are counted, with what they returned; the times stand for all of them."""
    capture, report = _run(Leaf, Around)
    for plugin in ("Leaf", "Around"):
        row = _row(report, plugin, "work")
        assert row.calls == CALLS
        passed_over = CALLS - TIMED_FIRST
        assert row.untimed == pytest.approx(passed_over * (1 - 1 / TIMED_ONE_IN), abs=1)
        assert sum(count for _, count in row.histogram) == CALLS * (2 if plugin == "Around" else 1)
    assert _row(report, "Leaf", "work").returned_none == pytest.approx(CALLS / 2, rel=0.1)
    assert capture.record_count < CALLS


def test_those_who_call_others_are_always_timed() -> None:
    """What is called from them needs its caller."""
    _, report = _run(Leaf)
    assert _row(report, "main", "main").untimed == 0


def test_other_plugins_are_always_timed() -> None:
    """In the very calls in which the application's own are not."""
    _, report = _run(Leaf, Around, Foreign)
    row = _row(report, "Foreign", "work")
    assert (row.calls, row.untimed, row.returned_none) == (CALLS, 0, CALLS)
    assert _row(report, "Leaf", "work").untimed > 0


def test_what_a_plugin_calls_is_always_timed() -> None:
    """Else the application's time would be the plugin's."""

    class Caller(Main):
        """Calls the application's own, on behalf of somebody else."""

    Caller.__module__ = "foreign"
    _, report = _run(Leaf, own=Caller)
    row = _row(report, "Leaf", "work")
    assert (row.calls, row.untimed, row.returned_none) == (CALLS, 0, CALLS // 2)


def test_calls_from_two_places_in_turn_are_counted_for_each() -> None:
    """One of them may be passed over many times without asking where it is called from."""

    class Asking(Leaf):
        """The application's own, one of whose implementations calls what the others call, too."""

        def __init__(self, manager: pluggy.PluginManager) -> None:
            self.manager = manager

        @impl
        def answer(self, item: int) -> int:
            if item % 3 == 0:
                self.manager.hook.work(item=item)
            return item

    recorder = Recorder(cpu_gap_ns=None, imports=False, sparing=True)
    manager = Application("t")
    recorder.watch(manager)
    manager.add_hookspecs(Specs)
    manager.register(Main(manager), "main")
    manager.register(Asking(manager), "asking")
    manager.hook.main(times=CALLS)
    calls = recorder.capture().calls
    recorder.close()
    counts = {calls[call.parent].hook: call.count for call in calls if call.hook == "work"}
    assert counts == {"main": CALLS, "answer": len(range(0, CALLS, 3))}
    assert all(call.untimed > 100 for call in calls if call.hook == "work")


def test_a_capture_in_the_middle_has_all_calls_until_then() -> None:
    """Also of those that are passed over without asking; it changes nothing for what follows."""

    class Watched(Main):
        """Has captures made while it calls, some from another thread."""

        def __init__(self, manager: pluggy.PluginManager) -> None:
            super().__init__(manager)
            self.counts: list[int] = []

        def capture(self) -> None:
            calls = recorder.capture().calls
            self.counts.append(sum(call.count for call in calls if call.hook == "work"))

        @impl
        def main(self, times: int) -> None:
            for item in range(times):
                self.manager.hook.work(item=item)
                if item % 97 == 96:
                    thread = Thread(target=self.capture)
                    thread.start()
                    thread.join()

    recorder = Recorder(cpu_gap_ns=None, imports=False, sparing=True)
    manager = Application("t")
    recorder.watch(manager)
    manager.add_hookspecs(Specs)
    manager.register(watched := Watched(manager), "main")
    manager.register(Leaf(), "leaf")
    manager.hook.main(times=CALLS)
    watched.capture()
    recorder.close()
    assert watched.counts == [*range(97, CALLS, 97), CALLS]


def test_calls_of_another_thread_stand_apart() -> None:
    """But for the few that may have been passed over before it was noticed; none is lost."""

    class Threaded(Main):
        """Has another thread call the same hook after each of its own calls."""

        def __init__(self, manager: pluggy.PluginManager) -> None:
            super().__init__(manager)
            self.turns = Semaphore(0), Semaphore(0)

        def others(self) -> None:
            for item in range(CALLS):
                self.turns[0].acquire()
                self.manager.hook.work(item=item)
                self.turns[1].release()

        @impl
        def main(self, times: int) -> None:
            thread = Thread(target=self.others)
            thread.start()
            for item in range(times):
                self.manager.hook.work(item=item)
                self.turns[0].release()
                self.turns[1].acquire()
            thread.join()

    capture, _ = _run(Leaf, own=Threaded)
    paths = [call for call in capture.calls if call.hook == "work"]
    mine, apart = sorted(paths, key=lambda call: call.untimed, reverse=True)
    assert mine.count + apart.count == 2 * CALLS
    assert CALLS - TIMED_ONE_IN < apart.count <= CALLS
    assert capture.calls[apart.parent].hook == ELSEWHERE
    assert apart.untimed == 0


def test_unless_it_is_asked_for_all_are_timed() -> None:
    """As an observation does it."""
    capture, report = _run(Leaf, Around, sparing=False)
    assert not any(row.untimed for row in report.hooks)
    assert sum(call.count for call in capture.calls if call.plugin) == 1 + 4 * CALLS


def test_only_the_hooks_that_are_named_are_spared() -> None:
    """The others are timed at every call."""
    _, report = _run(Leaf, sparing={"answer"})
    assert _row(report, "Leaf", "work").untimed == 0
    assert _row(report, "Leaf", "answer").untimed > 0


def test_a_plugin_may_be_spared_like_the_applications_own() -> None:
    """One that measures, for instance: what it does in all is estimated, and still its own."""
    _, report = _run(Leaf, Foreign, like_own=("Foreign",))
    row = _row(report, "Foreign", "work")
    assert row.calls == CALLS
    assert row.untimed > 0
    mine = next(each for each in report.plugins if each.name == "Foreign")
    assert mine.calls == CALLS + _row(report, "Foreign", "answer").calls


def test_how_often_the_first_to_answer_was_asked_is_estimated() -> None:
    """Not everybody is asked each time."""
    _, report = _run(Leaf, Foreign)
    assert _row(report, "Foreign", "answer").calls == CALLS
    row = _row(report, "Leaf", "answer")
    assert row.untimed > 0
    assert row.calls == pytest.approx(CALLS * 4 / 5, rel=0.1)


def test_all_rows_together_are_the_whole() -> None:
    """With estimates among them; no row is negative."""
    for plugins in ((Leaf,), (Leaf, Around), (Leaf, Around, Foreign)):
        _, report = _run(*plugins)
        rows_ns = report.application.self_ns + sum(row.self_ns for row in report.plugins)
        assert rows_ns + report.measuring.total_ns + report.unattributed_ns == report.wall_ns
        assert min(row.self_ns for row in report.hooks) >= 0


def test_an_estimate_takes_no_more_than_its_caller_has() -> None:
    """Though the few calls that were timed took much longer than the others."""
    calls = (
        CallRecord(-1, "hook_call", "main", "main", 1, 1_000),
        CallRecord(0, "hook_call", "Leaf", "work", 1_000, 900, untimed=900),
    )
    capture, _ = _run(Leaf, times=1)
    begun = capture.begun_ns
    capture = _with(capture, calls=calls, observed_ns=begun, ended_ns=begun + 1_000, cpu_ns=0)
    report = costs_of([capture])
    assert _row(report, "main", "main").self_ns == 0
    assert _row(report, "Leaf", "work").self_ns == 1_000
    assert report.application.self_ns == 1_000


def test_calls_can_be_spared_before_they_are_many() -> None:
    """So what that costs is found out with few calls: the next ones have no record, then one has."""
    tree = CallTree(thread_id=get_ident(), journal_of=lambda _path: [])
    nesting = ThreadNesting(tree, perf_counter_ns, ThreadCpu(perf_counter_ns))
    sparer = Sparer(nesting, lambda _impl: True, lambda impl: impl.plugin_name)
    manager = Application("t")
    manager.add_hookspecs(Specs)
    manager.register(Leaf(), "Leaf")
    tap = HookTapSource(manager, CallTimer(nesting).timed, sparer)
    tap.start()
    nesting.enter(sparer.own_site("main", "main"))

    def recorded_after(calls: int) -> int:
        for _ in range(calls):
            manager.hook.answer(item=1)
        paths = [path for path in tree.grown if path.site.plugin_id == "Leaf"]
        return sum(len(path.journal) // 2 for path in paths)

    assert recorded_after(1) == 1
    sparer.time_none_next()
    assert recorded_after(TIMED_ONE_IN - 1) == 1
    assert recorded_after(1) == 2
    tap.stop()


def test_what_recording_costs_is_found_out_for_each_kind() -> None:
    """A call that is spared costs its caller less than one that is timed; imports cost most."""
    rounds = [call_costs_ns(cpu=True, sparing=True) for _ in range(5)]
    inner_ns, outer_ns, spared_ns, import_ns = map(median, zip(*rounds, strict=True))
    assert inner_ns > 0
    assert 0 < spared_ns < inner_ns + outer_ns < import_ns
    assert call_costs_ns(cpu=False, sparing=False)[2] == 0.0


def _with(capture: Capture, **changes: Any) -> Capture:
    fields = {name: getattr(capture, name) for name in capture.__struct_fields__}
    free = dict.fromkeys(("inner_ns", "outer_ns", "spared_ns"), 0.0)
    return Capture(**(fields | {"sites": (), "managers": capture.managers} | free | changes))


class World:
    """A manager with plugins that answer, wrap, call others and fail; keeps all that happens."""

    def __init__(self, recorder: Recorder | None) -> None:
        self.log: list[Any] = []
        self.manager = Application("t")
        if recorder is not None:
            recorder.watch(self.manager)
        self.manager.add_hookspecs(Specs)
        self.plugins = [kind(self) for kind in (Failing, Wrapping, OldWrapping, Starting)]

    def keep(self, call: Callable[[], Any]) -> None:
        """Keep what comes of a call."""
        try:
            self.log.append(call())
        except Exception as error:
            self.log.append((type(error), error.args))


class _Told:
    def __init__(self, world: World) -> None:
        self.world = world


class Starting(_Told):
    """Calls what is next from within."""

    @impl
    def main(self, times: int) -> None:
        hook = self.world.manager.hook
        self.world.keep(lambda: hook.work(item=times))
        self.world.keep(lambda: hook.answer(item=times))


class Failing(_Told):
    """Fails at times, and calls another hook at others."""

    @impl
    def work(self, item: int) -> Any:
        self.world.log.append(("work", item))
        if item == 3:
            raise LookupError(item)
        return self.world.manager.hook.answer(item=item) if item == 7 else item

    @impl
    def answer(self, item: int) -> Any:
        return item if item > 2 else None


class Wrapping(_Told):
    """Turns failures into results."""

    @impl(wrapper=True)
    def work(self, item: int) -> Generator[None, Any, Any]:
        try:
            result = yield
        except LookupError as error:
            return repr(error)
        if item == 5:
            raise ValueError(item)
        return [*result, item]


class OldWrapping(_Told):
    """Changes results the old way."""

    @impl(hookwrapper=True)
    def answer(self, item: int) -> Generator[None, Any, None]:
        outcome = yield
        self.world.log.append(repr(outcome.exception))
        outcome.force_result((item, "forced"))


@settings(max_examples=examples(60), deadline=None)
@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 8)), max_size=60),
    first=st.integers(0, 3),
    one_in=st.integers(2, 5),
)
def test_what_is_not_timed_happens_all_the_same(
    steps: list[tuple[bool, int]], first: int, one_in: int
) -> None:
    """Results, failures and their order are those of a manager without us."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pluginhost.instrumentation.sparing.TIMED_FIRST", first)
        patch.setattr("pluginhost.instrumentation.sparing.TIMED_ONE_IN", one_in)
        recorder = Recorder(cpu_gap_ns=None, imports=False, sparing=True)
        recorder.start()
        bare, ours = World(None), World(recorder)
        for world in (bare, ours):
            for number, plugin in enumerate(world.plugins):
                world.manager.register(plugin, str(number))
            for comes_or_goes, number in steps:
                plugin = world.plugins[number % 3]
                if not comes_or_goes:
                    world.keep(lambda w=world, n=number: w.manager.hook.main(times=n))
                elif world.manager.is_registered(plugin):
                    world.manager.unregister(plugin)
                else:
                    world.manager.register(plugin, str(number % 3))
        capture = recorder.capture()
        recorder.close()
    assert ours.log == bare.log
    calls = [call for call in capture.calls if call.hook == "main"]
    assert sum(call.count for call in calls) == sum(not comes for comes, _ in steps)
    assert all(0 <= call.untimed < max(1, call.count) for call in capture.calls)
