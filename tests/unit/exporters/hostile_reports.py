"""Reports with names as a stranger would choose them, for hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from pluginhost.costs import (
    ApplicationCost,
    CostReport,
    FlameGraphNode,
    HookCost,
    MeasuringCost,
    PluginCost,
    PluginKind,
)
from pluginhost.report import Environment, HookMetrics, Overhead, PerformanceReport, Report

NASTY = (
    '=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "'quoted", "\t=1", "", " ", "a,b", 'a"b',
    "a\nb", "a\r\nb", "a;b", "nul\x00", "\x1b[31mred\x1b]0;title\x07", "\udc80\ud800", "\u202eltr",
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "<!--", "&lt;", "a\\b\\n",
    "__proto__", "constructor", "x" * 2_000, "\U0001f600", "e\u0301", "{{7*7}}", "%s%n", "\x85\u2028",
)  # fmt: skip

NAMES = st.sampled_from(NASTY) | st.text(
    alphabet=st.characters(codec=None), max_size=30
)  # surrogates, too
TIMES = st.integers(0, 10**15)
COUNTS = st.integers(0, 10**9)


def environment(hostname: str = "tower") -> Environment:
    return Environment(
        pluginhost="0.1.0",
        pluggy="1.6.0",
        python="3.12.1",
        platform="Linux",
        hostname=hostname,
        cpu_count=2,
        pid=1,
    )


def node(name: str, self_ns: int, *children: FlameGraphNode, calls: int = 1) -> FlameGraphNode:
    return FlameGraphNode(
        name=name,
        duration_ns=self_ns + sum(child.duration_ns for child in children),
        self_ns=self_ns,
        call_count=calls,
        children=children,
    )


TREES = st.recursive(
    st.builds(node, NAMES, TIMES, calls=COUNTS),
    lambda below: st.builds(
        lambda name, self_ns, children: node(name, self_ns, *children),
        NAMES,
        TIMES,
        st.lists(below, min_size=1, max_size=3),
    ),
    max_leaves=8,
)
HOOKS = st.builds(
    HookMetrics,
    plugin_id=NAMES,
    hook=NAMES,
    call_count=st.integers(1000, 10**9),
    error_count=st.integers(0, 1000),
    total_time_ns=TIMES,
    self_time_ns=TIMES,
    average_duration_ns=st.floats(0, 1e15),
    max_duration_ns=TIMES,
)


@st.composite
def _host_reports(draw: Any) -> Report:
    tree = node(draw(NAMES), 0, *draw(st.lists(TREES, max_size=3)))
    return Report(
        name=draw(NAMES),
        created_timestamp_ns=1_767_225_600_000_000_000,
        observed_ns=draw(TIMES),
        environment=environment(draw(NAMES)),
        performance=PerformanceReport(
            observed_ns=1,
            sampling_rate=0.1,
            hooks=tuple(draw(st.lists(HOOKS, max_size=4))),
            flame_graph=tree,
            overhead=Overhead(processing_ns=0),
        ),
    )


@st.composite
def _program_reports(draw: Any) -> Report:
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    hooks = [
        HookCost(
            plugin=name,
            hook=draw(NAMES),
            style=draw(st.sampled_from(["function", "wrapper"])),
            calls=draw(st.integers(1, 10**6)),
            inclusive_ns=draw(TIMES),
            self_ns=draw(TIMES),
        )
        for name in names
    ]
    plugins = [
        PluginCost(
            name=draw(NAMES),
            kind=PluginKind.INSTALLED,
            parts=(hook.plugin,),
            calls=hook.calls,
            hooks_self_ns=hook.self_ns,
            self_ns=hook.self_ns,
        )
        for hook in hooks[::2]
    ]
    whole_ns = sum(hook.self_ns for hook in hooks)
    others_ns = sum(hook.self_ns for hook in hooks[1::2])
    return Report(
        name=draw(NAMES),
        created_timestamp_ns=1_767_225_600_000_000_000,
        observed_ns=whole_ns,
        environment=environment(),
        costs=CostReport(
            command=(draw(NAMES),),
            wall_ns=whole_ns + 8,
            elapsed_ns=whole_ns + 8,
            cpu_ns=0,
            main_cpu_ns=0,
            application=ApplicationCost(name=draw(NAMES), self_ns=others_ns + 5),
            plugins=tuple(plugins),
            hooks=tuple(hooks),
            measuring=MeasuringCost(setup_ns=2),
            unattributed_ns=1,
            flame_graph=draw(TREES),
            notes=(draw(NAMES),),
        ),
    )


REPORTS = _host_reports() | _program_reports()
