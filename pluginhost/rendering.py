"""Reports as text that a tired person takes in at a glance, 80 columns wide.

A report becomes lines of (text, style) spans. `plain` drops the styles; a terminal front-end
gives them colours. Nothing here measures: it shows what the records say, the worst first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from textwrap import wrap
from typing import TypeVar

from pluginhost.costs import FlameGraphNode
from pluginhost.figures import compact, count, duration, of, percent, short
from pluginhost.printable import ELLIPSIS, fitted, printable, width_of
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

WIDTH = 80
Span = tuple[str, str]
Line = tuple[Span, ...]
"""Styles are words: `title`, `head`, `bad`, `good`, `dim`, `bar`, or empty."""

Row = TypeVar("Row", AggregateMetrics, PluginStats)
Column = tuple[str, int, Callable[[Row], Span]]
"""Heading, width, and what a row has to say in it."""

_ROWS = 20
_HOOK_ROWS = 10
_STEPS = 3
_FINDINGS = 5
_FLAME_DEPTH = 6
_FLAME_ROWS = 16
_BAR = 26
_NOTABLE_BYTES = 10 * 1024 * 1024  # less growth than this is not worth a column
_NOTABLE_CHANGE_NS = 100_000  # nobody notices less, whatever the percentage
_SHORTEST_FOR_CPU_NS = 50_000  # reading the CPU clock takes about a hundredth of it


def plain(lines: Iterable[Line]) -> str:
    """Return lines as text without styles."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines) + "\n"


def performance_text(report: PerformanceReport) -> str:
    """Return a performance report as plain text."""
    return plain(performance_lines(report))


def analytics_text(report: AnalyticsReport) -> str:
    """Return an analytics report as plain text."""
    return plain(analytics_lines(report))


def performance_lines(report: PerformanceReport) -> Iterator[Line]:
    """Yield which plugin to blame and what to do, what each one cost, and what measuring cost."""
    return map(_within_width, _performance(report))


def analytics_lines(report: AnalyticsReport) -> Iterator[Line]:
    """Yield which plugin to blame, how each is used, how reliable it is, where it is heading."""
    return map(_within_width, _analytics(report))


def _performance(report: PerformanceReport) -> Iterator[Line]:
    runs = sum(row.execution_count for row in report.plugins)
    failed = sum(map(_failures, report.plugins))
    title = f"Cost: {of(runs, 'execution')} of {of(len(report.plugins), 'plugin')}"
    title += f" in {duration(report.observed_ns)}"
    yield ((title, "title"), (f", {count(failed)} failed", "bad") if failed else ("", ""))
    if not report.plugins:
        yield (("nothing was executed while it was observed", "dim"),)
    else:
        yield from _most_time(report.plugins)
        yield from _bottlenecks(report.bottlenecks)
        yield ()
        flagged = {finding.plugin_id for finding in report.bottlenecks}
        yield from _table(report.plugins, tuple(_cost_columns(report.plugins)), flagged)
    yield from _hooks(report.hooks)
    if report.flame_graph.duration_ns:
        yield from _flames(report.flame_graph, report.observed_ns)
    yield ()
    yield from _overhead(report.overhead)
    if report.plugins:
        yield from _sampling(report, runs)
    for note in report.estimates:
        yield from _labelled("estimate", note)
    if any(row.cpu_utilisation is not None and _cpu(row) == "-" for row in report.plugins):
        yield from _labelled("left out", "CPU where executions are too short to tell, under 50 us")


def _most_time(rows: Sequence[AggregateMetrics]) -> Iterator[Line]:
    all_ns = sum(row.self_time_ns for row in rows)
    if len(rows) > 1 and all_ns > 0:
        first = max(rows, key=lambda row: row.self_time_ns)
        share = percent(first.self_time_ns / all_ns)
        name = printable(first.plugin_id, 30)
        yield ((f"most time: {name}, {share} of the {duration(all_ns)} in plugins", ""),)


def _bottlenecks(found: Sequence[Bottleneck]) -> Iterator[Line]:
    if not found:
        yield (("nothing stands out: no figure is over its threshold", "good"),)
        return
    yield from _section("What stands out, and what to do")
    for finding in found[:_FINDINGS]:
        style = "bad" if finding.severity == "high" else ""
        what = f"! {printable(finding.plugin_id, 30)}  {finding.kind}: {finding.finding}"
        yield from _paragraph(what, style, indent=2)
        yield from _paragraph(finding.remedy, lead="    -> ")
    yield from _more(len(found) - _FINDINGS, "finding")


def _cost_columns(rows: Sequence[AggregateMetrics]) -> Iterator[Column[AggregateMetrics]]:
    """Yield the columns that have something to say; the cells of each are narrower than it."""
    all_ns = sum(row.self_time_ns for row in rows) or 1
    yield "runs", 7, lambda row: (compact(row.execution_count), "")
    yield "failed", 7, lambda row: (compact(_failures(row)), "bad" if _failures(row) else "dim")
    if any(row.total_time_ns != row.self_time_ns for row in rows):
        yield "total", 8, lambda row: (short(row.total_time_ns), "")
    yield "self", 9, lambda row: ("~" * row.concurrent_children + short(row.self_time_ns), "")
    yield "%", 4, lambda row: (f"{100 * row.self_time_ns / all_ns:.0f}", "")
    yield "median", 8, lambda row: (short(row.p50_duration_ns), "")
    yield "p95", 8, lambda row: (short(row.p95_duration_ns), "")
    yield "CPU", 5, lambda row: (_cpu(row), "")
    if any(_grown_bytes(row) >= _NOTABLE_BYTES for row in rows):
        yield "memory", 8, lambda row: (_memory(row), "")


def _failures(row: AggregateMetrics) -> int:
    return row.failure_count + row.timeout_count


def _cpu(row: AggregateMetrics) -> str:
    if row.cpu_utilisation is None or row.average_duration_ns < _SHORTEST_FOR_CPU_NS:
        return "-"
    return f"{100 * row.cpu_utilisation:.0f}%"


def _grown_bytes(row: AggregateMetrics) -> float:
    """Return what one sampled execution grew the process by, or all of them if that is more."""
    return max(row.peak_memory_bytes or 0, (row.average_memory_bytes or 0) * row.memory_samples)


def _memory(row: AggregateMetrics) -> str:
    peak = row.peak_memory_bytes
    if peak is None:
        return "-"
    return f"{peak / 2**20:.0f}M" if peak < 10 * 2**30 else f"{peak / 2**30:.0f}G"


def _hooks(rows: Sequence[HookMetrics]) -> Iterator[Line]:
    steps = [row for row in rows if row.hook in ("load", "unload")]
    if steps:
        yield ()
        longest = [f"{printable(r.plugin_id, 30)}:{r.hook} {short(r.self_time_ns)}" for r in steps]
        most = ", ".join(longest[:_STEPS]) + (", ..." if len(steps) > _STEPS else "")
        spent = duration(sum(row.self_time_ns for row in steps))
        yield from _paragraph(f"loading and unloading: {spent}; {most}", indent=2)
    hooks = [row for row in rows if row not in steps]
    if hooks:
        yield from _section(f"{'Hooks':<44}{'calls':>9}{'self':>9}{'total':>9}{'max':>9}")
    for row in hooks[:_HOOK_ROWS]:
        name = fitted(f"{printable(row.plugin_id)}:{printable(row.hook)}", 43) + " "
        times = f"{short(row.self_time_ns):>9}{short(row.total_time_ns):>9}"
        yield ((f"{name}{compact(row.call_count):>9}{times}{short(row.max_duration_ns):>9}", ""),)
    yield from _more(len(hooks) - _HOOK_ROWS, "row")


def _flames(root: FlameGraphNode, observed_ns: int) -> Iterator[Line]:
    yield from _section("Where the time went (who called whom, inclusive)")
    nodes = list(_walk(root))
    smallest = root.duration_ns / 500  # less than that is not where the time went
    rows = [(d, node) for d, node in nodes if d <= _FLAME_DEPTH and node.duration_ns >= smallest]
    largest = sorted(range(len(rows)), key=lambda i: -rows[i][1].duration_ns)[:_FLAME_ROWS]
    for depth, node in (rows[i] for i in sorted(largest)):  # callers take as long: they are there
        share = node.duration_ns / root.duration_ns
        bar = "█" * round(min(max(share, 0.0), 1.0) * _BAR)
        name = fitted("  " * depth + printable(node.name), 34)
        yield ((f"{name}{short(node.duration_ns):>9} {percent(share):>8} ", ""), (bar, "bar"))
    yield from _more(len(nodes) - len(largest), "node")
    rest = observed_ns - root.duration_ns
    note = f"outside of plugins: {duration(rest)}, {percent(rest / max(observed_ns, 1))}"
    if rest < 0:
        note = "more than the time observed: side by side in threads and tasks, or given by hand"
    yield ((note, "dim"),)


def _walk(root: FlameGraphNode) -> Iterator[tuple[int, FlameGraphNode]]:
    """Yield (depth, node) from the top down, each before its children."""
    waiting = [(0, root)]
    while waiting:
        depth, node = waiting.pop()
        yield depth, node
        waiting += ((depth + 1, child) for child in reversed(node.children))


def _overhead(overhead: Overhead) -> Iterator[Line]:
    share = "" if overhead.share is None else f", {percent(overhead.share)} of the time observed"
    text = f"measuring cost {duration(overhead.total_ns)}{share}:"
    text += f" processing {duration(overhead.processing_ns)}"
    if overhead.recording_ns is not None:
        text += f"; estimated: recording {duration(overhead.recording_ns)}"
    if overhead.reading_ns is not None and overhead.readings:
        text += f", {of(overhead.readings, 'reading')} {duration(overhead.reading_ns)}"
    yield from _paragraph(text, indent=2)


def _sampling(report: PerformanceReport, runs: int) -> Iterator[Line]:
    sampled = sum(row.sampled_count for row in report.plugins)
    asked = f"(sampling rate {percent(report.sampling_rate)})"
    what = f"{count(sampled)} of {of(runs, 'execution')}, for CPU and memory {asked}"
    yield from _labelled("sampled", what)


def _analytics(report: AnalyticsReport) -> Iterator[Line]:
    evicted = f", {count(report.evicted_events)} evicted but counted"
    title = f"Use: {of(len(report.plugins), 'plugin')} in {duration(report.observed_ns)}"
    title += f", {of(report.stored_events, 'event')} kept"
    yield ((title + (evicted if report.evicted_events else ""), "title"),)
    if not report.plugins:
        yield (("no event was seen while it was observed", "dim"),)
        return
    blamed = list(_blamed(report))
    yield from blamed or ((("nothing failed, and nothing is getting slower", "good"),),)
    yield ()
    yield from _table(report.plugins, tuple(_use_columns(report.trends)), set())
    yield ()
    counts = ", ".join(f"{k} {count(n)}" for k, n in report.event_counts.items() if n)
    yield from _paragraph(f"events: {counts}", "dim", indent=2)
    if report.trends:
        yield (("trend: recent half of up to 100 last executions against the half before;", "dim"),)
        yield (("(?) = not significant (Mann-Whitney U, p >= 0.05, or too few)", "dim"),)


def _blamed(report: AnalyticsReport) -> Iterator[Line]:
    """Yield the least reliable plugin, the one that slows down most, and those that never ran."""
    ran = [row for row in report.plugins if row.success_rate is not None]
    worst = min(ran, key=lambda row: row.success_rate or 0.0, default=None)
    rate = 1.0 if worst is None else worst.success_rate or 0.0
    if worst is not None and rate < 1:
        outcome = f"{percent(rate)} of {of(worst.execution_count, 'execution')} succeeded"
        yield ((f"least reliable: {printable(worst.plugin_id, 30)}, {outcome}", "bad"),)
    certain = 0.05 / max(1, len(report.trends))  # of many plugins, one seems to rise by chance
    rising = [t for t in report.trends if _is_rising(t) and (t.p_value or 0.0) < certain]
    if rising:
        steepest = max(rising, key=lambda trend: trend.change_percent)
        change = f"{_change(steepest)} over {of(steepest.sample_size, 'execution')}"
        yield ((f"getting slower: {printable(steepest.plugin_id, 30)}, {change}", "bad"),)
    failed = [row for row in report.plugins if row.error_count and not row.execution_count]
    if failed:
        names = ", ".join(printable(row.plugin_id, 30) for row in failed)
        yield from _paragraph(f"failed and never ran: {names}", "bad", indent=2)


def _use_columns(trends: Iterable[TrendAnalysis]) -> Iterator[Column[PluginStats]]:
    known = {trend.plugin_id: trend for trend in trends}
    yield "runs", 7, lambda row: (compact(row.execution_count), "")
    yield "errors", 7, lambda row: (compact(row.error_count), "bad" if row.error_count else "dim")
    yield "success", 9, _success
    yield "average", 8, lambda r: (short(t) if (t := r.average_execution_time_ns) else "-", "")
    yield "at once", 8, lambda row: (compact(row.peak_concurrency), "")
    yield "uptime", 8, lambda row: (f"{row.uptime_percent:.1f} %", "")
    yield "trend", 14, lambda row: _trend(known.get(row.plugin_id))


def _success(row: PluginStats) -> Span:
    rate = row.success_rate
    return ("-", "dim") if rate is None else (percent(rate), "bad" if rate < 1 else "")


def _trend(trend: TrendAnalysis | None) -> Span:
    if trend is None:
        return "-", "dim"
    arrow = {"increasing": "↑", "decreasing": "↓", "stable": "→"}[trend.direction]
    doubt = "" if trend.significant or trend.direction is TrendDirection.STABLE else " (?)"
    return f"{arrow} {_change(trend)}{doubt}", "bad" if _is_rising(trend) else ""


def _is_rising(trend: TrendAnalysis) -> bool:
    more_ns = trend.recent_average - trend.previous_average
    up = trend.direction is TrendDirection.INCREASING
    return up and trend.significant and more_ns >= _NOTABLE_CHANGE_NS


def _change(trend: TrendAnalysis) -> str:
    if abs(trend.change_percent) >= 999.5:
        return ">+999 %" if trend.change_percent > 0 else "<-999 %"
    return f"{round(trend.change_percent):+d} %"


def _table(
    rows: Sequence[Row], columns: Sequence[Column[Row]], flagged: set[str]
) -> Iterator[Line]:
    """Yield a heading and the first rows; the names get the width that the columns leave."""
    shown = rows[:_ROWS]
    longest = max(width_of(printable(row.plugin_id)) for row in shown)
    left = WIDTH - sum(width for _, width, _ in columns)
    name_width = min(left, max(longest, len("plugin")) + 1)
    headings = "".join(f"{heading:>{width}}" for heading, width, _ in columns)
    yield ((f"{'plugin':<{name_width}}{headings}", "head"),)
    for row in shown:
        name = fitted(row.plugin_id, name_width - 1) + " "
        spans = [(name, "bad" if row.plugin_id in flagged else "")]
        for _, width, cell in columns:
            text, style = cell(row)
            spans.append((f"{text:>{width}}", style))
        yield tuple(spans)
    yield from _more(len(rows) - _ROWS, "plugin")


def _within_width(line: Line) -> Line:
    """Return `line` with nothing in it that a terminal would obey, cut to the width."""
    spans: list[Span] = []
    left = WIDTH
    for text, style in line:
        shown = printable(text)
        if width_of(shown) > left:
            shown = fitted(shown, left) if left > 1 else ELLIPSIS[:left]
        left -= width_of(shown)
        spans.append((shown, style))
    return tuple(spans)


def _section(text: str) -> Iterator[Line]:
    yield ()
    yield ((text, "head"),)


def _more(hidden: int, what: str) -> Iterator[Line]:
    if hidden > 0:
        yield ((f"... and {of(hidden, f'more {what}')}, all in the JSON", "dim"),)


def _labelled(label: str, text: str) -> Iterator[Line]:
    return _paragraph(text, "dim", lead=f"  {label:<10}")


def _paragraph(text: str, style: str = "", *, lead: str = "", indent: int = 0) -> Iterator[Line]:
    """Yield foreign text in at most three lines: after `lead`, then below it or at `indent`."""
    margin = " " * (indent or len(lead))
    lines = list(_wrapped(printable(text, 1000), WIDTH - len(margin)))
    for number, line in enumerate(lines[:3]):
        yield ((f"{margin if number else lead}{line}", style),)
    if len(lines) > 3:
        yield ((f"{margin}...", "dim"),)


def _wrapped(text: str, width: int) -> Iterator[str]:
    """Yield `text` in lines of at most `width` columns, which wide characters fill faster."""
    for line in wrap(text, width):
        rest = line
        while width_of(rest) > width:
            cut = fitted(rest, width).rstrip().removesuffix(ELLIPSIS)
            yield cut
            rest = rest[len(cut) :]
        yield rest
