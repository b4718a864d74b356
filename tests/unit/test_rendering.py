"""Reports as text: the culprit first, 80 columns, nothing that a terminal would obey."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st
from msgspec.structs import replace

from pluginhost.costs import FlameGraphNode
from pluginhost.figures import compact, count, duration, percent, short
from pluginhost.printable import width_of
from pluginhost.rendering.analytics import analytics_lines, analytics_text
from pluginhost.rendering.lines import Line, plain, wrapped
from pluginhost.rendering.performance import performance_lines, performance_text
from pluginhost.report import (
    AggregateMetrics,
    AnalyticsReport,
    Bottleneck,
    HookMetrics,
    Overhead,
    PerformanceReport,
    PluginStats,
    TrendAnalysis,
    TrendDirection,
)
from tests.examples import examples

STYLES = {"title", "head", "bad", "good", "dim", "bar", ""}
MS = 1_000_000

# Records by hand


def metrics(plugin_id: str, **changes: Any) -> AggregateMetrics:
    """Ten executions of 1 ms, not sampled."""
    known = AggregateMetrics(
        plugin_id=plugin_id,
        execution_count=10,
        success_count=10,
        failure_count=0,
        timeout_count=0,
        cancelled_count=0,
        error_rate=0.0,
        average_duration_ns=1.0 * MS,
        min_duration_ns=MS,
        max_duration_ns=MS,
        p50_duration_ns=1.0 * MS,
        p90_duration_ns=1.0 * MS,
        p95_duration_ns=1.0 * MS,
        p99_duration_ns=1.0 * MS,
        p999_duration_ns=1.0 * MS,
        total_time_ns=10 * MS,
        self_time_ns=10 * MS,
        first_execution_timestamp_ns=0,
        last_execution_timestamp_ns=0,
    )
    return replace(known, **changes)


def performance(*rows: AggregateMetrics, **fields: Any) -> PerformanceReport:
    """A report over 100 ms, with a flame graph of the rows."""
    nodes = tuple(FlameGraphNode(name=r.plugin_id, duration_ns=r.total_time_ns) for r in rows)
    total_ns = sum(node.duration_ns for node in nodes)
    known: dict[str, Any] = {
        "observed_ns": 100 * MS,
        "sampling_rate": 0.1,
        "plugins": rows,
        "flame_graph": FlameGraphNode(name="all", duration_ns=total_ns, children=nodes),
        "overhead": Overhead(processing_ns=MS),
    }
    return PerformanceReport(**(known | fields))


def finding(plugin_id: str, **changes: Any) -> Bottleneck:
    known = Bottleneck(
        plugin_id=plugin_id,
        kind="HIGH_ERROR_RATE",
        severity="high",
        value=0.5,
        threshold=0.25,
        unit="ratio",
        finding="5 of 10 executions failed (50%)",
        remedy="look at its last error: ValueError: no",
    )
    return replace(known, **changes)


def stats(plugin_id: str, **changes: Any) -> PluginStats:
    """Ten executions of 1 ms, all well."""
    known = PluginStats(
        plugin_id=plugin_id,
        load_count=1,
        execution_count=10,
        success_rate=1.0,
        average_execution_time_ns=1.0 * MS,
        total_execution_time_ns=10 * MS,
        peak_concurrency=1,
        first_seen_timestamp_ns=0,
        last_activity_timestamp_ns=0,
        uptime_percent=100.0,
    )
    return replace(known, **changes)


def trend(plugin_id: str, change_percent: float, **changes: Any) -> TrendAnalysis:
    """A change from 1 ms on, beyond doubt."""
    rising = change_percent > 5, change_percent < -5
    known = TrendAnalysis(
        plugin_id=plugin_id,
        metric="duration_ns",
        direction={
            (True, False): TrendDirection.INCREASING,
            (False, True): TrendDirection.DECREASING,
        }.get(rising, TrendDirection.STABLE),
        change_percent=change_percent,
        recent_average=MS * (1 + change_percent / 100),
        previous_average=1.0 * MS,
        sample_size=100,
        p_value=1e-9,
        significant=True,
    )
    return replace(known, **changes)


def analytics(*rows: PluginStats, **fields: Any) -> AnalyticsReport:
    return AnalyticsReport(**({"observed_ns": 100 * MS, "plugins": rows} | fields))


def row_of(text: str, plugin_id: str) -> list[str]:
    """The cells of a plugin's row in the table."""
    return next(line.split() for line in text.splitlines() if line.startswith(plugin_id + " "))


def table_of(text: str, heading: str = "plugin ") -> list[str]:
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(heading))
    return lines[start : lines.index("", start)]


def style_of(lines: Iterable[Line], text: str) -> str:
    """The style of the first span that begins with `text`."""
    return next(style for line in lines for span, style in line if span.startswith(text))


# Figures


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        pytest.param(0, "0 ns", id="zero"),
        pytest.param(999, "999 ns", id="below a us"),
        pytest.param(999.4, "999 ns", id="fraction"),
        pytest.param(999.6, "1.00 us", id="rounded up to a us"),
        pytest.param(9_994, "9.99 us", id="two decimals"),
        pytest.param(9_996, "10.0 us", id="one decimal"),
        pytest.param(99_960, "100 us", id="none"),
        pytest.param(999_499, "999 us", id="below a ms"),
        pytest.param(999_600, "1.00 ms", id="rounded up to a ms"),
        pytest.param(1_500_000_000, "1.50 s", id="seconds"),
        pytest.param(3_600_000_000_000, "3,600 s", id="an hour"),
    ],
)
def test_a_duration_has_three_digits_and_a_unit(ns: float, text: str) -> None:
    """Rounding never shows 1000 of a unit."""
    assert duration(ns) == text


@given(st.integers(1, 10**18))
def test_a_duration_is_right_to_three_digits(ns: int) -> None:
    """Read back, it is within half a unit of the third digit."""
    number, unit = duration(ns).replace(",", "").split()
    factor = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}[unit]
    assert float(number) * factor == pytest.approx(ns, rel=0.0051)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        pytest.param(0.0, "0.0 %", id="none"),
        pytest.param(1e-9, "<0.1 %", id="hardly any"),
        pytest.param(0.0005, "0.1 %", id="a little"),
        pytest.param(0.5, "50.0 %", id="half"),
        pytest.param(0.9994, "99.9 %", id="nearly"),
        pytest.param(0.9995, ">99.9 %", id="would round to all"),
        pytest.param(0.99999, ">99.9 %", id="almost"),
        pytest.param(1.0, "100.0 %", id="all"),
    ],
)
def test_a_small_share_is_not_nothing_and_a_large_one_not_all(share: float, text: str) -> None:
    """One failure in a million must not read as 100 % success."""
    assert percent(share) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        pytest.param(0, "0", id="none"),
        pytest.param(999_999, "999999", id="exact to a million"),
        pytest.param(1_000_000, "1.0M", id="a million"),
        pytest.param(999_949_999, "999.9M", id="below a thousand million"),
        pytest.param(999_950_000, "1.0G", id="rounded up"),
        pytest.param(999_949_999_999_999, "999.9T", id="the most"),
        pytest.param(999_950_000_000_000, ">999T", id="more"),
    ],
)
def test_a_count_takes_six_columns(number: int, text: str) -> None:
    """Rounding never needs a seventh."""
    assert compact(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        pytest.param(0.0015, "1.50ms", id="as always"),
        pytest.param(99_994, "99994s", id="a day in seconds"),
        pytest.param(99_995, "27.8h", id="hours"),
        pytest.param(359_994, "100.0h", id="the most hours"),
        pytest.param(359_995, "4d", id="days"),
        pytest.param(86_400 * 99_998, "99998d", id="the most days"),
        pytest.param(86_400 * 99_999, ">99999d", id="more"),
    ],
)
def test_a_duration_takes_seven_columns(seconds: float, text: str) -> None:
    """In the largest unit that it needs."""
    assert short(seconds * 1e9) == text


def test_a_count_has_its_thousands_apart() -> None:
    """As one reads it."""
    assert count(1_234_567) == "1,234,567"


# Whatever the records hold

NAMES = st.one_of(
    st.text(max_size=12),
    st.text("東京🎉é\u0301", min_size=20, max_size=120),
    st.text("\x1b\x07\r\n\t\x9b[31m\u202e\u2066\ud800", max_size=60),
    st.text("a b", min_size=60, max_size=300),
    st.just("x" * 500),
)
HUGE = st.one_of(st.integers(0, 10), st.integers(-(2**63), 2**63 - 1), st.just(2**63 - 1))
SHARES = st.floats(allow_nan=False) | st.none()
SOME = st.floats(allow_nan=False)

METRICS = st.builds(
    AggregateMetrics,
    plugin_id=NAMES,
    last_error=NAMES | st.none(),
    concurrent_children=st.booleans(),
    cpu_utilisation=SHARES,
    peak_memory_bytes=HUGE | st.none(),
    sampled_count=HUGE,
    **{
        name: HUGE
        for name in AggregateMetrics.__struct_fields__
        if name.endswith(("_count", "_duration_ns", "_time_ns", "_timestamp_ns"))
        and not name.startswith(("average_cpu", "sampled"))
    },
    error_rate=SOME,
)
HOOKS = st.builds(
    HookMetrics,
    plugin_id=NAMES,
    hook=NAMES,
    call_count=HUGE,
    error_count=HUGE,
    total_time_ns=HUGE,
    self_time_ns=HUGE,
    average_duration_ns=SOME,
    max_duration_ns=HUGE,
)
FINDINGS = st.builds(
    Bottleneck,
    plugin_id=NAMES,
    kind=NAMES,
    severity=st.sampled_from(["high", "medium"]) | NAMES,
    value=SOME,
    threshold=SOME,
    unit=NAMES,
    finding=NAMES,
    remedy=NAMES,
)
GRAPHS = st.recursive(
    st.builds(FlameGraphNode, name=NAMES, duration_ns=HUGE),
    lambda below: st.builds(
        FlameGraphNode, name=NAMES, duration_ns=HUGE, children=st.lists(below).map(tuple)
    ),
    max_leaves=25,
)
OVERHEADS = st.builds(
    Overhead,
    processing_ns=HUGE,
    recording_ns=HUGE | st.none(),
    reading_ns=HUGE | st.none(),
    records=HUGE,
    readings=HUGE,
    share=SHARES,
)
PERFORMANCES = st.builds(
    PerformanceReport,
    observed_ns=HUGE,
    sampling_rate=SOME,
    plugins=st.lists(METRICS, max_size=4).map(tuple),
    hooks=st.lists(HOOKS, max_size=3).map(tuple),
    bottlenecks=st.lists(FINDINGS, max_size=3).map(tuple),
    flame_graph=GRAPHS,
    overhead=OVERHEADS,
    estimates=st.lists(NAMES, max_size=3).map(tuple),
)
STATS = st.builds(
    PluginStats,
    plugin_id=NAMES,
    success_rate=SHARES,
    average_execution_time_ns=SHARES,
    uptime_percent=SOME,
    **{
        name: HUGE
        for name in PluginStats.__struct_fields__
        if name.endswith(("_count", "_concurrency", "_timestamp_ns"))
    },
)
TRENDS = st.builds(
    TrendAnalysis,
    plugin_id=NAMES,
    metric=NAMES,
    direction=st.sampled_from(TrendDirection),
    change_percent=SOME,
    recent_average=SOME,
    previous_average=SOME,
    sample_size=HUGE,
    p_value=SHARES,
    significant=st.booleans(),
)


@st.composite
def analytics_reports(draw: st.DrawFn) -> AnalyticsReport:
    rows = draw(st.lists(STATS, max_size=4))
    trends = draw(st.lists(TRENDS, max_size=4))
    return AnalyticsReport(
        observed_ns=draw(HUGE),
        plugins=tuple(rows),
        event_counts=draw(st.dictionaries(NAMES, HUGE, max_size=5)),
        stored_events=draw(HUGE),
        evicted_events=draw(HUGE),
        trends=tuple(replace(t, plugin_id=r.plugin_id) for t, r in zip(trends, rows, strict=False)),
    )


def assert_fit_for_a_terminal(lines: Iterable[Line]) -> None:
    kept = list(lines)
    for line in kept:
        text = "".join(span for span, _ in line)
        assert width_of(text) <= 80, text
        assert text.isprintable(), text
        assert {style for _, style in line} <= STYLES
    assert plain(kept).encode()  # no lone surrogate either


@given(PERFORMANCES)
@example(performance(metrics("東" * 60, execution_count=12_345_678, concurrent_children=True)))
@settings(deadline=None, max_examples=examples(150))
def test_any_performance_report_fits_a_terminal(report: PerformanceReport) -> None:
    """Hostile names, wide characters, impossible figures: 80 columns and nothing to obey."""
    assert_fit_for_a_terminal(performance_lines(report))


@given(analytics_reports())
@settings(deadline=None, max_examples=examples(150))
def test_any_analytics_report_fits_a_terminal(report: AnalyticsReport) -> None:
    """Hostile names, wide characters, impossible figures: 80 columns and nothing to obey."""
    assert_fit_for_a_terminal(analytics_lines(report))


@given(
    st.lists(
        st.builds(
            metrics,
            st.text("ab東", min_size=1, max_size=40),
            execution_count=st.integers(1, 10**17),
            failure_count=st.integers(0, 10**17),
            self_time_ns=st.integers(0, 10**19),
            total_time_ns=st.integers(0, 10**19),
            p50_duration_ns=st.floats(0, 1e19),
            p95_duration_ns=st.floats(0, 1e19),
            cpu_utilisation=st.none() | st.floats(0, 1),
            average_duration_ns=st.floats(0, 1e19),
            peak_memory_bytes=st.none() | st.integers(0, 10**13),
            concurrent_children=st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(deadline=None)
def test_the_columns_of_the_cost_table_never_touch(rows: list[AggregateMetrics]) -> None:
    """Whatever can really happen has a blank before it, and no column is cut off."""
    lines = table_of(performance_text(performance(*rows)))
    columns = len(lines[0].split()) - 1
    for line in lines[1:]:
        assert len(line.rsplit(maxsplit=columns)) == columns + 1, line
        assert "…" not in line.split(maxsplit=1)[1]


@given(
    st.builds(
        stats,
        st.text("ab東", min_size=1, max_size=40),
        execution_count=st.integers(1, 10**17),
        error_count=st.integers(0, 10**17),
        success_rate=st.floats(0, 1),
        average_execution_time_ns=st.floats(0, 1e19),
        peak_concurrency=st.integers(0, 10**6),
        uptime_percent=st.floats(0, 100),
    ),
    st.floats(-100, 1e12),
    st.booleans(),
)
@settings(deadline=None)
def test_the_columns_of_the_use_table_never_touch(
    row: PluginStats, change: float, significant: bool
) -> None:
    """Whatever can really happen has a blank before it, and no column is cut off."""
    heading = trend(row.plugin_id, change, significant=significant)
    lines = table_of(analytics_text(analytics(row, trends=(heading,))))
    cells = r" +\S+ +\S+ +\S+ % +\S+ +\S+ +\S+ % +[↑↓→] \S+ %(?: \(\?\))?"
    assert re.fullmatch(r"[ab東…]+ *" + cells, lines[1]), lines[1]


# The culprit first


def test_the_most_costly_and_the_worst_stand_above_the_table() -> None:
    """Whoever reads three lines knows which plugin to look at and what for."""
    report = performance(
        metrics("slow", self_time_ns=90 * MS),
        metrics("bad", failure_count=5, error_rate=0.5),
        bottlenecks=(finding("bad"),),
    )
    lines = performance_text(report).splitlines()
    assert lines[:7] == [
        "Cost: 20 executions of 2 plugins in 100 ms, 5 failed",
        "most time: slow, 90.0 % of the 100 ms in plugins",
        "",
        "What stands out, and what to do",
        "! bad  HIGH_ERROR_RATE: 5 of 10 executions failed (50%)",
        "    -> look at its last error: ValueError: no",
        "",
    ]
    assert lines[7].startswith("plugin ")


def test_that_nothing_stands_out_is_said() -> None:
    """Silence might as well mean that nobody looked."""
    report = performance(metrics("a"))
    assert "nothing stands out" in performance_text(report)
    assert style_of(performance_lines(report), "nothing stands out") == "good"


def test_of_one_plugin_it_is_not_said_that_it_took_the_most_time() -> None:
    """It could not be otherwise."""
    assert "most time" not in performance_text(performance(metrics("a")))


def test_plugins_with_findings_and_their_failures_are_red() -> None:
    """The eye goes to them in the table, too."""
    report = performance(
        metrics("good"), metrics("bad", failure_count=5), bottlenecks=(finding("bad"),)
    )
    lines = list(performance_lines(report))
    assert style_of(lines, "bad ") == "bad"
    assert style_of(lines, "good ") == ""
    assert style_of(lines, "! bad") == "bad"
    assert style_of(lines, ", 5 failed") == "bad"
    milder = performance(metrics("bad"), bottlenecks=(finding("bad", severity="medium"),))
    assert style_of(performance_lines(milder), "! bad") == ""


def test_timeouts_are_failures_and_cancellations_are_not() -> None:
    """A cancelled execution is nobody's fault."""
    row = metrics("a", failure_count=1, timeout_count=2, cancelled_count=4)
    text = performance_text(performance(row))
    assert ", 3 failed" in text
    assert row_of(text, "a")[2] == "3"


def test_long_findings_are_cut_and_many_are_counted() -> None:
    """The table must stay in sight."""
    rules = tuple(finding(f"p{i}", remedy="word " * 100) for i in range(8))
    text = performance_text(performance(metrics("a"), bottlenecks=rules))
    assert text.count("HIGH_ERROR_RATE") == 5
    assert "... and 3 more findings, all in the JSON" in text
    section = text[text.index("What stands out") : text.index("\nplugin ")]
    assert len(section.splitlines()) == 1 + 5 * 5 + 1


def test_the_least_reliable_and_the_one_that_slows_down_stand_above_the_table() -> None:
    """The worst of each, whatever the order of the rows."""
    report = analytics(
        stats("a", success_rate=0.9),
        stats("b", success_rate=0.2, execution_count=5),
        stats("c"),
        trends=(trend("a", 20.0), trend("c", 300.0), trend("b", -60.0)),
    )
    lines = analytics_text(report).splitlines()
    assert lines[1:4] == [
        "least reliable: b, 20.0 % of 5 executions succeeded",
        "getting slower: c, +300 % over 100 executions",
        "",
    ]
    assert style_of(analytics_lines(report), "least reliable") == "bad"


def test_plugins_that_only_failed_are_named() -> None:
    """A plugin that cannot be loaded has no row in the ranking by executions."""
    broken = {"execution_count": 0, "success_rate": None, "error_count": 1}
    report = analytics(stats("a"), stats("b", **broken), stats("c", **broken))
    assert analytics_text(report).splitlines()[1] == "failed and never ran: b, c"


def test_that_all_is_well_is_said() -> None:
    """Silence might as well mean that nobody looked."""
    report = analytics(stats("a"), trends=(trend("a", 2.0),))
    line = analytics_text(report).splitlines()[1]
    assert line == "nothing failed, and nothing is getting slower"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"significant": False, "p_value": 0.2}, id="not significant"),
        pytest.param({"previous_average": 1e6, "recent_average": 1.05e6}, id="0.05 ms more"),
        pytest.param({"direction": TrendDirection.DECREASING}, id="faster"),
    ],
)
def test_a_trend_that_is_no_news_blames_nobody(changes: dict[str, Any]) -> None:
    """Chance, microseconds and good news are not to be told above the table."""
    report = analytics(stats("a"), trends=(trend("a", 30.0, **changes),))
    assert "nothing is getting slower" in analytics_text(report)


def test_among_many_plugins_chance_blames_nobody() -> None:
    """Of twenty plugins that do not change, one has a p-value under 0.05."""
    rows = [stats(f"p{i}") for i in range(20)]
    steady = [trend(f"p{i}", 0.0) for i in range(1, 20)]
    by_chance = analytics(*rows, trends=(trend("p0", 9.0, p_value=0.03), *steady))
    beyond = analytics(*rows, trends=(trend("p0", 30.0, p_value=0.002), *steady))
    assert "nothing is getting slower" in analytics_text(by_chance)
    assert "getting slower: p0, +30 %" in analytics_text(beyond)


# The tables


def test_memory_that_adds_up_has_a_column_too() -> None:
    """A leak of little by little, over the executions that were sampled."""
    leaking = {"peak_memory_bytes": 2**20, "average_memory_bytes": 2.0**20}
    steady = performance_text(performance(metrics("a", **leaking, memory_samples=9)))
    leak = performance_text(performance(metrics("a", **leaking, memory_samples=10)))
    assert "memory" not in table_of(steady)[0]
    assert table_of(leak)[0].endswith("memory")


def test_loads_and_unloads_are_one_line() -> None:
    """With the longest by name, and how long all took; hooks have a table."""
    steps = [
        HookMetrics(
            plugin_id=plugin_id,
            hook=hook,
            call_count=2,
            error_count=0,
            total_time_ns=9 * MS,
            self_time_ns=self_ms * MS,
            average_duration_ns=4.5 * MS,
            max_duration_ns=5 * MS,
        )
        for plugin_id, hook, self_ms in (("a", "load", 8), ("b", "greet", 5), ("a", "unload", 2))
    ]
    text = performance_text(performance(metrics("a"), hooks=tuple(steps)))
    assert "\nloading and unloading: 10.0 ms; a:load 8.00ms, a:unload 2.00ms\n" in text
    assert table_of(text, "Hooks ")[1].split() == ["b:greet", "2", "5.00ms", "9.00ms", "5.00ms"]
    assert len(table_of(text, "Hooks ")) == 2
    many = performance(metrics("a"), hooks=(steps[0],) * 50)
    line = next(x for x in performance_text(many).splitlines() if x.startswith("loading"))
    assert line.startswith("loading and unloading: 400 ms; a:load 8.00ms, ")


def test_empty_reports_say_so() -> None:
    """And still tell what measuring cost."""
    text = performance_text(performance())
    assert text.startswith(
        "Cost: 0 executions of 0 plugins in 100 ms\nnothing was executed while it was observed\n"
    )
    assert "measuring cost 1.00 ms" in text
    assert analytics_text(analytics()) == (
        "Use: 0 plugins in 100 ms, 0 events kept\nno event was seen while it was observed\n"
    )


def test_thousands_of_plugins_are_cut_with_a_note() -> None:
    """A report is read, not scrolled."""
    rows = [metrics(f"p{i}") for i in range(3_000)]
    hooks = tuple(
        HookMetrics(
            plugin_id=f"p{i}",
            hook="greet",
            call_count=1,
            error_count=0,
            total_time_ns=1,
            self_time_ns=1,
            average_duration_ns=1.0,
            max_duration_ns=1,
        )
        for i in range(500)
    )
    text = performance_text(performance(*rows, hooks=hooks))
    assert "... and 2,980 more plugins, all in the JSON" in text
    assert "... and 490 more rows, all in the JSON" in text
    assert "... and 3,000 more nodes, all in the JSON" in text  # each is under 0.2 % of all
    assert len(text.splitlines()) < 70
    use = analytics_text(analytics(*(stats(f"p{i}") for i in range(3_000))))
    assert "... and 2,980 more plugins, all in the JSON" in use
    assert len(use.splitlines()) < 40


def test_one_of_a_thing_is_singular() -> None:
    """1 execution of 1 plugin, 1 event."""
    text = performance_text(performance(metrics("a", execution_count=1)))
    assert text.startswith("Cost: 1 execution of 1 plugin in ")
    assert analytics_text(analytics(stats("a"), stored_events=1)).startswith(
        "Use: 1 plugin in 100 ms, 1 event kept\n"
    )


def test_the_total_is_shown_where_plugins_call_each_other() -> None:
    """Where nobody calls anybody it would be the self time once more."""
    alone = performance(metrics("a"))
    nested = performance(metrics("a", total_time_ns=30 * MS), metrics("b"))
    assert "total" not in table_of(performance_text(alone))[0]
    assert "total" in table_of(performance_text(nested))[0]
    assert row_of(performance_text(nested), "a")[3:5] == ["30.0ms", "10.0ms"]


def test_a_bound_is_marked() -> None:
    """Self time is not exact where children ran side by side."""
    text = performance_text(performance(metrics("a", concurrent_children=True), metrics("b")))
    assert row_of(text, "a")[3] == "~10.0ms"
    assert row_of(text, "b")[3] == "10.0ms"


def test_shares_of_self_time_add_up_to_a_hundred() -> None:
    """They are of the time in plugins, not of the time observed."""
    rows = [
        metrics("a", self_time_ns=60 * MS, total_time_ns=80 * MS),
        metrics("b", self_time_ns=20 * MS),
    ]
    text = performance_text(performance(*rows))
    heading = table_of(text)[0].split()
    assert [row_of(text, name)[heading.index("%")] for name in "ab"] == ["75", "25"]


def test_cpu_of_tiny_executions_is_left_out() -> None:
    """Under 50 us the clock's own cost is a figure's worth; the report says what is missing."""
    sampled = {"sampled_count": 10, "cpu_utilisation": 0.5}
    text = performance_text(
        performance(
            metrics("long", **sampled, average_duration_ns=50_000.0),
            metrics("tiny", **sampled, average_duration_ns=49_999.0),
        )
    )
    assert row_of(text, "long")[-1] == "50%"
    assert row_of(text, "tiny")[-1] == "-"
    assert "left out  CPU where executions are too short to tell" in text
    long = metrics("long", **sampled, average_duration_ns=50_000.0)
    assert "left out" not in performance_text(performance(long))
    unknown = performance_text(performance(metrics("long")))
    assert row_of(unknown, "long")[-1] == "-"
    assert "left out" not in unknown


def test_memory_has_a_column_when_it_matters() -> None:
    """From 10 MiB of growth in one execution on."""
    little = performance_text(performance(metrics("a", peak_memory_bytes=10 * 2**20 - 1)))
    assert "memory" not in table_of(little)[0]
    text = performance_text(performance(metrics("a", peak_memory_bytes=10 * 2**20), metrics("b")))
    assert table_of(text)[0].endswith("memory")
    assert row_of(text, "a")[-1] == "10M"
    assert row_of(text, "b")[-1] == "-"


@pytest.mark.parametrize(
    ("change", "significant", "cell"),
    [
        pytest.param(17.4, True, "↑ +17 %", id="up"),
        pytest.param(17.4, False, "↑ +17 % (?)", id="perhaps up"),
        pytest.param(-40.0, True, "↓ -40 %", id="down"),
        pytest.param(3.0, False, "→ +3 %", id="stable"),
        pytest.param(-0.2, False, "→ +0 %", id="no minus zero"),
        pytest.param(999.4, True, "↑ +999 %", id="a lot"),
        pytest.param(123_456.0, True, "↑ >+999 %", id="off the scale"),
    ],
)
def test_a_trend_is_an_arrow_and_a_change(change: float, significant: bool, cell: str) -> None:
    """With a question mark where it may be chance."""
    report = analytics(stats("a"), trends=(trend("a", change, significant=significant),))
    assert table_of(analytics_text(report))[1].endswith(" " + cell)


def test_what_is_not_known_is_a_dash() -> None:
    """A plugin that was never executed has no success rate, no average and no trend."""
    idle = stats("a", execution_count=0, success_rate=None, average_execution_time_ns=None)
    cells = table_of(analytics_text(analytics(idle)))[1].split()
    assert cells == ["a", "0", "0", "-", "-", "1", "100.0", "%", "-"]


def test_long_names_keep_the_figures_in_their_columns() -> None:
    """Names are cut, also those of wide characters."""
    text = performance_text(performance(metrics("x" * 90), metrics("東" * 50), metrics("ok")))
    lines = table_of(text)
    assert {width_of(line) for line in lines} == {80}
    assert lines[1].startswith("xxxxx")
    assert "…" in lines[2]


# Where the time went


def test_the_flame_graph_is_a_tree_with_shares() -> None:
    """Children stand under their parents, indented; shares and bars are of the whole."""
    inner = FlameGraphNode(name="inner", duration_ns=25 * MS)
    outer = FlameGraphNode(name="outer", duration_ns=75 * MS, children=(inner,))
    other = FlameGraphNode(name="other", duration_ns=25 * MS)
    graph = FlameGraphNode(name="all", duration_ns=100 * MS, children=(outer, other))
    text = performance_text(performance(metrics("outer"), flame_graph=graph, observed_ns=125 * MS))
    rows = table_of(text, "Where the time went")[1:]
    assert [row.split("█")[0].rstrip() for row in rows] == [
        "all                                   100ms  100.0 %",
        "  outer                              75.0ms   75.0 %",
        "    inner                            25.0ms   25.0 %",
        "  other                              25.0ms   25.0 %",
        "outside of plugins: 25.0 ms, 20.0 %",
    ]
    assert [row.count("█") for row in rows] == [26, 20, 6, 6, 0]


def test_the_flame_graph_shows_the_largest_and_counts_the_rest() -> None:
    """The rows that are left out are the smallest, wherever they stand."""
    small = tuple(FlameGraphNode(name=f"small{i}", duration_ns=1) for i in range(30))
    big = FlameGraphNode(name="big", duration_ns=50)
    graph = FlameGraphNode(name="all", duration_ns=80, children=(*small, big))
    text = performance_text(performance(metrics("a"), flame_graph=graph))
    assert "\n  big " in text
    assert "... and 16 more nodes" in text


def test_a_deep_graph_is_cut() -> None:
    """Indentation stops at six levels; nothing recurses."""
    graph = FlameGraphNode(name="leaf", duration_ns=1)
    for depth in range(5_000):
        graph = FlameGraphNode(name=f"d{depth}", duration_ns=1, children=(graph,))
    text = performance_text(performance(metrics("a"), flame_graph=graph))
    assert "... and 4,994 more nodes" in text


def test_time_that_overlaps_is_not_subtracted() -> None:
    """Plugins that ran in parallel took more time together than went by."""
    text = performance_text(performance(metrics("a", total_time_ns=500 * MS)))
    assert "more than the time observed: side by side" in text
    assert "outside of plugins" not in text


# What measuring cost


@pytest.mark.parametrize(
    ("overhead", "lines"),
    [
        pytest.param(
            Overhead(processing_ns=2 * MS), ["measuring cost 2.00 ms: processing 2.00 ms"], id="own"
        ),
        pytest.param(
            Overhead(
                processing_ns=2 * MS,
                recording_ns=MS,
                reading_ns=3 * MS,
                records=100,
                readings=10,
                share=0.06,
            ),
            [
                "measuring cost 6.00 ms, 6.0 % of the time observed: processing 2.00 ms;",
                "  estimated: recording 1.00 ms, 10 readings 3.00 ms",
            ],
            id="all",
        ),
    ],
)
def test_what_measuring_cost_is_told(overhead: Overhead, lines: list[str]) -> None:
    """What was measured and what is estimated are told apart."""
    text = performance_text(performance(metrics("a"), overhead=overhead)).splitlines()
    start = next(i for i, line in enumerate(text) if line.startswith("measuring cost"))
    assert text[start : start + len(lines)] == lines


@pytest.mark.parametrize(
    ("rate", "sampled", "line"),
    [
        pytest.param(0.0, 0, "0 of 20 executions", id="never"),
        pytest.param(0.1, 4, "4 of 20 executions", id="some"),
        pytest.param(1.0, 20, "20 of 20 executions", id="all"),
    ],
)
def test_how_much_was_sampled_is_told(rate: float, sampled: int, line: str) -> None:
    """What was asked for and what became of it."""
    rows = [metrics("a", sampled_count=sampled), metrics("b")]
    text = performance_text(performance(*rows, sampling_rate=rate))
    expected = f"  sampled   {line}, for CPU and memory (sampling rate {percent(rate)})"
    assert expected in text.splitlines()


def test_every_estimate_is_listed() -> None:
    """With what it is estimated from; long ones go on below."""
    text = performance_text(performance(metrics("a"), estimates=("one", "many words " * 10)))
    assert "  estimate  one\n  estimate  many words many" in text
    assert re.search(r"\n {12}many words many", text)


# Whole reports


def test_a_whole_performance_report(matches_snapshot: Callable[[str, str], None]) -> None:
    """All sections together."""
    sampled = {"sampled_count": 3, "memory_samples": 3}
    rows = (
        metrics(
            "thumbnail",
            execution_count=1_204,
            total_time_ns=2_400 * MS,
            self_time_ns=2_400 * MS,
            p50_duration_ns=1.9 * MS,
            p95_duration_ns=4.1 * MS,
            average_duration_ns=2.0 * MS,
            cpu_utilisation=0.97,
            peak_memory_bytes=180 * 2**20,
            **sampled,
        ),
        metrics(
            "gallery",
            total_time_ns=900 * MS,
            self_time_ns=120 * MS,
            concurrent_children=True,
            average_duration_ns=90.0 * MS,
            cpu_utilisation=0.12,
            **sampled,
        ),
        metrics("fragile\x1b[31m東京", failure_count=4, timeout_count=2, error_rate=0.6),
        metrics("checksum", average_duration_ns=900.0, cpu_utilisation=1.0, **sampled),
    )
    graph = FlameGraphNode(
        name="all plugins",
        duration_ns=2_500 * MS,
        children=(
            FlameGraphNode(name="thumbnail", duration_ns=1_500 * MS),
            FlameGraphNode(
                name="gallery",
                duration_ns=900 * MS,
                children=(FlameGraphNode(name="thumbnail", duration_ns=780 * MS),),
            ),
            FlameGraphNode(name="checksum:load", duration_ns=100 * MS),
        ),
    )
    hook = HookMetrics(
        plugin_id="checksum",
        hook="load",
        call_count=1,
        error_count=0,
        total_time_ns=100 * MS,
        self_time_ns=100 * MS,
        average_duration_ns=100.0 * MS,
        max_duration_ns=100 * MS,
    )
    found = (
        finding("fragile\x1b[31m東京", finding="6 of 10 executions failed (60%)"),
        finding(
            "thumbnail",
            kind="HIGH_MEMORY",
            severity="medium",
            finding="one execution grew the process by 180 MiB (at least)",
            remedy="look for what it reads whole or keeps between executions",
        ),
    )
    overhead = Overhead(
        processing_ns=9 * MS,
        recording_ns=2 * MS,
        reading_ns=MS,
        records=1_300,
        readings=9,
        share=0.004,
    )
    report = performance(
        *rows,
        observed_ns=3_000 * MS,
        flame_graph=graph,
        hooks=(hook,),
        bottlenecks=found,
        overhead=overhead,
        estimates=(
            "percentiles: from a histogram, at most 0.4 % off",
            "self time marked ~: a bound, its children ran side by side",
        ),
    )
    matches_snapshot("performance.txt", performance_text(report))


def test_a_whole_analytics_report(matches_snapshot: Callable[[str, str], None]) -> None:
    """All sections together."""
    report = analytics(
        stats("thumbnail", execution_count=1_204, peak_concurrency=8),
        stats("fragile\x1b[31m東京", success_rate=0.4, error_count=6, uptime_percent=51.25),
        stats("checksum", average_execution_time_ns=900.0),
        stats("broken", execution_count=0, success_rate=None, error_count=1, uptime_percent=0.0),
        observed_ns=3_000 * MS,
        event_counts={
            "plugin_load": 4,
            "plugin_execute": 1_224,
            "plugin_error": 7,
            "plugin_unload": 0,
            "hook_call": 0,
        },
        stored_events=1_000,
        evicted_events=235,
        trends=(
            trend("thumbnail", 34.0),
            trend("fragile\x1b[31m東京", -12.0, significant=False, p_value=0.4),
            trend("checksum", 1.0),
        ),
    )
    matches_snapshot("analytics.txt", analytics_text(report))


UNITS = ["s", "ms", "us", "ns", "%", "B", "MiB"]


@given(
    words=st.lists(
        st.one_of(
            st.sampled_from(UNITS).map(lambda unit: f"62.8 {unit}"),
            st.text("abc0123456789-", min_size=1, max_size=6),
        ),
        min_size=1,
        max_size=30,
    ),
    width=st.integers(8, 60),
)
def test_a_figure_and_its_unit_are_not_torn_apart(words: list[str], width: int) -> None:
    """Lines are as wide as they may be, say all there is, and none ends between the two."""
    text = " ".join(words)
    lines = list(wrapped(text, width))
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(len(line) <= width for line in lines)
    assert not any(line.split()[0] in UNITS for line in lines)
