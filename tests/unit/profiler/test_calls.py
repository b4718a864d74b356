"""Who called whom: inclusive and self time, against a model of nested calls."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings, strategies as st

from pluginhost import (
    EventBatch,
    EventKind,
    Host,
    PluginHost,
    Profiler,
    hookimpl,
    hookspec,
    observe,
)
from pluginhost.calltree import CallPath, CallSite, CallTree
from pluginhost.costs import FlameGraphNode
from pluginhost.journal import Detail, Failure, Status
from pluginhost.report import AggregateMetrics

HostOf = Callable[..., PluginHost]

# A model of nested calls


class Call(NamedTuple):
    """A call that spends time before each child and after the last; a hook if `hook` is set."""

    plugin_id: str
    hook: str
    gaps_ns: tuple[int, ...]
    children: tuple[Call, ...]


CALLS: st.SearchStrategy[Call] = st.recursive(
    st.builds(
        Call,
        st.sampled_from("abc"),
        st.sampled_from(["", "", "greet"]),
        st.lists(st.integers(1, 1_000), min_size=9, max_size=9).map(tuple),
        st.just(()),
    ),
    lambda below: st.builds(
        Call,
        st.sampled_from("abc"),
        st.sampled_from(["", "", "greet"]),
        st.lists(st.integers(1, 1_000), min_size=9, max_size=9).map(tuple),
        st.lists(below, max_size=3).map(tuple),
    ),
    max_leaves=12,
)


class Model:
    """Plays calls one after another and keeps what a stopwatch at every call would show."""

    def __init__(self) -> None:
        self.tree = CallTree()
        self.now_ns = 1_000
        self.records: list[list[Any]] = []
        self.inclusive_ns: Counter[tuple[str, str]] = Counter()
        self.self_ns: Counter[tuple[str, str]] = Counter()
        self.paths: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0, 0])

    def play(self, call: Call, above: CallPath | None = None, names: tuple[str, ...] = ()) -> int:
        above = self.tree.root if above is None else above
        key: str | CallSite = call.plugin_id
        if call.hook:
            key = self.tree.site(EventKind.HOOK_CALL, call.plugin_id, call.hook)
        path = above[key]
        names = (*names, f"{call.plugin_id}:{call.hook}" if call.hook else call.plugin_id)
        start_ns, inside_ns = self.now_ns, 0
        for gap_ns, child in zip(call.gaps_ns, call.children, strict=False):
            self.now_ns += gap_ns
            inside_ns += self.play(child, path, names)
        self.now_ns += call.gaps_ns[-1]
        took_ns = self.now_ns - start_ns
        self.records.append([path, start_ns, self.now_ns, 1, None])
        who = call.plugin_id, call.hook
        self.inclusive_ns[who] += took_ns
        self.self_ns[who] += took_ns - inside_ns
        sums = self.paths[names]
        sums[0] += took_ns
        sums[1] += took_ns - inside_ns
        sums[2] += 1
        return took_ns

    def batches(self, sizes: Iterator[int]) -> Iterator[EventBatch]:
        waiting = list(self.records)
        while waiting:
            size = next(sizes)
            part, waiting = waiting[:size], waiting[size:]
            yield EventBatch([field for record in part for field in record], 0)


def nodes_of(
    node: FlameGraphNode, names: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FlameGraphNode]]:
    for child in node.children:
        below = (*names, child.name)
        yield below, child
        yield from nodes_of(child, below)


@given(st.lists(CALLS, min_size=1, max_size=4), st.lists(st.integers(1, 7), min_size=1))
@settings(deadline=None)
def test_any_nesting_against_a_stopwatch(calls: list[Call], sizes: list[int]) -> None:
    """Inclusive and self time of plugins, hooks and paths, whatever batches they come in."""
    model = Model()
    took_ns = sum(model.play(call) for call in calls)
    profiler = Profiler()
    for batch in model.batches(iter(sizes * len(model.records))):
        profiler.observe(batch)
    rows = {row.plugin_id: row for row in profiler.get_all_aggregates()}
    hooks = {(row.plugin_id, row.hook): row for row in profiler.report().hooks}
    assert {(name, "") for name in rows} | set(hooks) == set(model.self_ns)
    for (plugin_id, hook), self_ns in model.self_ns.items():
        row = hooks[plugin_id, hook] if hook else rows[plugin_id]
        assert row.self_time_ns == self_ns
        assert row.total_time_ns == model.inclusive_ns[plugin_id, hook]
    graph = profiler.generate_flame_graph()
    nodes = dict(nodes_of(graph))
    assert {names: [n.duration_ns, n.self_ns, n.call_count] for names, n in nodes.items()} == dict(
        model.paths
    )
    assert graph.duration_ns == took_ns == sum(node.self_ns for node in nodes.values())


def test_the_costliest_stand_first_in_the_graph() -> None:
    """Siblings by duration, those alike by name."""
    profiler = Profiler()
    for plugin_id, duration in (("b", 1), ("a", 1), ("c", 2)):
        profiler.record_execution(plugin_id, duration, success=True)
    graph = profiler.generate_flame_graph()
    assert [child.name for child in graph.children] == ["c", "a", "b"]
    assert (graph.name, graph.duration_ns, graph.self_ns) == ("all plugins", 4 * 10**9, 0)
    assert graph.call_count == 0
    assert Profiler().generate_flame_graph() == FlameGraphNode(name="all plugins", duration_ns=0)


def test_a_caller_that_is_still_running_holds_its_children() -> None:
    """It has no record yet; its node is as long as what is known of it."""
    tree = CallTree()
    inner = tree.root["outer"]["inner"]
    profiler = Profiler()
    profiler.observe(EventBatch([inner, 100, 150, 1, None], 0))
    (outer,) = profiler.generate_flame_graph().children
    assert (outer.name, outer.duration_ns, outer.self_ns, outer.call_count) == ("outer", 50, 0, 0)
    profiler.observe(EventBatch([tree.root["outer"], 80, 200, 1, None], 0))
    (outer,) = profiler.generate_flame_graph().children
    assert (outer.duration_ns, outer.self_ns, outer.call_count) == (120, 70, 1)


def test_children_side_by_side_make_self_time_a_bound() -> None:
    """Never below nothing, and marked."""
    tree = CallTree()
    outer = tree.root["outer"]
    outer.concurrent = True
    profiler = Profiler()
    for record in ([outer["a"], 0, 80, 1, None], [outer["b"], 0, 90, 2, None]):
        profiler.observe(EventBatch(record, 0))
    profiler.observe(EventBatch([outer, 0, 100, 1, None], 0))
    rows = {row.plugin_id: row for row in profiler.get_all_aggregates()}
    assert (rows["outer"].self_time_ns, rows["outer"].concurrent_children) == (0, True)
    assert (rows["a"].self_time_ns, rows["a"].concurrent_children) == (80, False)
    assert any("marked ~" in note for note in profiler.report().estimates)
    assert profiler.generate_flame_graph().duration_ns == 170  # as much work as was done


def test_hooks_know_their_errors_and_extremes() -> None:
    """Load, unload and the application's hooks, the costliest first."""
    tree = CallTree()
    load = tree.root[tree.site(EventKind.PLUGIN_LOAD, "a", "load")]
    greet = tree.root[tree.site(EventKind.HOOK_CALL, "a", "greet")]
    failed = Detail(Failure(Status.ERROR, "E", "no"))
    records = [load, 0, 10, 1, None, greet, 10, 110, 1, failed, greet, 110, 410, 1, None]
    profiler = Profiler()
    profiler.observe(EventBatch(records, 0))
    first, second = profiler.report().hooks
    assert (first.plugin_id, first.hook) == ("a", "greet")
    assert (first.call_count, first.error_count) == (2, 1)
    assert (first.total_time_ns, first.self_time_ns, first.max_duration_ns) == (400, 400, 300)
    assert first.average_duration_ns == 200.0
    assert (second.hook, second.call_count, second.error_count) == ("load", 1, 0)
    assert profiler.get_all_aggregates() == ()


# Clearing


@pytest.fixture
def nested() -> tuple[CallTree, Profiler]:
    """`outer` takes 100 ns, 60 of them in `inner`, which takes 25 more at the top."""
    tree = CallTree()
    outer = tree.root["outer"]
    records: list[Any] = [outer["inner"], 20, 80, 1, None, outer, 0, 100, 1, None]
    profiler = Profiler()
    profiler.observe(EventBatch([*records, tree.root["inner"], 100, 125, 1, None], 0))
    return tree, profiler


def test_clearing_a_callee_leaves_the_callers_self_time(nested: tuple[CallTree, Profiler]) -> None:
    """What was the callee's time does not become its caller's."""
    _, profiler = nested
    profiler.clear_metrics("inner")
    (row,) = profiler.get_all_aggregates()
    assert (row.plugin_id, row.total_time_ns, row.self_time_ns) == ("outer", 100, 40)
    assert [n for n, _ in nodes_of(profiler.generate_flame_graph())] == [("outer",)]


def test_clearing_a_caller_forgets_what_was_subtracted(nested: tuple[CallTree, Profiler]) -> None:
    """Its next execution is not charged for the children of the one that was cleared."""
    tree, profiler = nested
    profiler.clear_metrics("outer")
    profiler.observe(EventBatch([tree.root["outer"], 200, 230, 1, None], 0))
    rows = {row.plugin_id: row for row in profiler.get_all_aggregates()}
    assert (rows["outer"].execution_count, rows["outer"].self_time_ns) == (1, 30)
    assert (rows["inner"].execution_count, rows["inner"].self_time_ns) == (2, 85)


# Through a host


class Calls:
    """Executes the plugins that its payload names, each with the rest of it."""

    @hookimpl
    def execute(self, payload: list[str], host: Host) -> None:
        if payload:
            host.execute(payload[0], payload[1:])


def test_recursion_counts_every_execution(host_of: HostOf) -> None:
    """Inclusive time counts the inner ones twice, self time counts them once."""
    host = host_of(a=Calls(), b=Calls())
    with observe(host, analytics=None) as observation:
        host.execute("a", ["a", "b", "a", "a"])
        profiler = observation.profiler
        assert profiler is not None
        rows = {row.plugin_id: row for row in profiler.get_all_aggregates()}
        graph = profiler.generate_flame_graph()
    assert (rows["a"].execution_count, rows["b"].execution_count) == (4, 1)
    assert rows["a"].self_time_ns + rows["b"].self_time_ns == graph.duration_ns
    assert rows["a"].total_time_ns > graph.duration_ns
    (outermost,) = graph.children
    assert rows["a"].max_duration_ns == outermost.duration_ns == graph.duration_ns
    assert [names for names, _ in nodes_of(graph)][-1] == ("a", "a", "b", "a", "a")


class Specs:
    @hookspec
    def greet(self) -> None: ...


class Greets:
    """Implements an application's hook, and calls it when it is executed."""

    @hookimpl
    def execute(self, host: Host) -> None:
        host.hook.greet()

    @hookimpl
    def greet(self) -> None: ...


def test_hook_calls_are_nested_in_executions(host_of: HostOf) -> None:
    """The time in a hook is that of the plugin that implements it, not of the one that calls."""
    host = host_of(specs=Specs, a=Greets(), b=Greets())
    with observe(host, analytics=None) as observation:
        host.execute("a")
        report = observation.report().performance
    assert report is not None
    nodes = dict(nodes_of(report.flame_graph))
    assert set(nodes) == {("a",), ("a", "a:greet"), ("a", "b:greet")}
    row: AggregateMetrics = report.plugins[0]
    hooks = sum(hook.total_time_ns for hook in report.hooks)
    assert row.self_time_ns == row.total_time_ns - hooks
    assert sum(node.self_ns for node in nodes.values()) == report.flame_graph.duration_ns


def test_calls_that_are_too_deep_stand_at_the_top_and_the_report_says_so(host_of: HostOf) -> None:
    """A path has 64 calls at most; counts and times are of all."""
    host = host_of(a=Calls())
    with observe(host, analytics=None) as observation:
        host.execute("a", ["a"] * 99)
        profiler = observation.profiler
        assert profiler is not None
        graph = profiler.generate_flame_graph()
        assert profiler.get_aggregates("a").execution_count == 100
        assert sum(node.call_count for _, node in nodes_of(graph)) == 100
        assert max(len(names) for names, _ in nodes_of(graph)) == 64
        notes = profiler.report().estimates
    assert "calls too deep to keep their callers, shown apart: 1" in notes
