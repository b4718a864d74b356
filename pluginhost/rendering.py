"""Reports as text that a tired person takes in at a glance, 80 columns wide.

A report becomes lines of (text, style) spans. `plain` drops the styles; a terminal front-end
gives them colours. Nothing here measures or decides: it shows what the records say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap

from pluginhost.printable import ELLIPSIS, fitted, printable, width_of
from pluginhost.report import (
    AggregateMetrics,
    AnalyticsReport,
    Bottleneck,
    FlameGraphNode,
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
"""Styles are words: `title`, `head`, `bad`, `good`, `dim`, or empty."""

_NAME_WIDTH = 22
_USE_NAME = 21
_FLAME_DEPTH = 6
_FLAME_ROWS = 16
_ROWS = 20
_HOOK_ROWS = 10


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
    """Yield what each plugin cost, what stands out, where the time went, what measuring cost."""
    executions = sum(row.execution_count for row in report.plugins)
    yield _title(
        f"Cost: {count(executions)} executions of {len(report.plugins)} plugins"
        f" in {duration(report.observed_ns)}"
    )
    if not report.plugins:
        yield (("nothing was executed while it was observed", "dim"),)
    else:
        yield from _cost_table(report)
    yield from _bottlenecks(report.bottlenecks)
    yield from _hooks(report.hooks)
    if report.plugins:
        yield from _flames(report.flame_graph)
    yield ()
    yield from _overhead(report.overhead)
    for note in report.estimates:
        yield (("  estimate  ", "dim"), (note, "dim"))


def analytics_lines(report: AnalyticsReport) -> Iterator[Line]:
    """Yield how each plugin is used, how reliable it is, and where it is heading."""
    yield _title(
        f"Use: {len(report.plugins)} plugins in {duration(report.observed_ns)},"
        f" {count(report.stored_events)} events kept, {count(report.evicted_events)} evicted"
    )
    if not report.plugins:
        yield (("no event was seen while it was observed", "dim"),)
        return
    heading = f"{'plugin':<{_USE_NAME}}{'runs':>9}{'success':>9}{'average':>10}{'at once':>9}"
    yield ((f"{heading}{'uptime':>9} trend", "head"),)
    trends = {trend.plugin_id: trend for trend in report.trends}
    for row in report.plugins[:_ROWS]:
        yield _use_row(row, trends.get(row.plugin_id))
    yield from _more(len(report.plugins) - _ROWS, "plugins")
    yield ()
    counts = ", ".join(f"{k} {count(n)}" for k, n in report.event_counts.items() if n)
    for text in wrap(f"events: {counts}", WIDTH, subsequent_indent="  "):
        yield ((text, "dim"),)
    if report.trends:
        yield (("trend: recent half of the last 100 executions against the half before;", "dim"),)
        yield (("(?) = not significant (Mann-Whitney U, p >= 0.05, or too few)", "dim"),)


def duration(ns: float) -> str:
    """Return a duration with three digits and its unit."""
    for factor, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if ns >= 0.9995 * factor:
            return f"{_three_digits(ns / factor)} {unit}"
    return f"{ns:.0f} ns"


def size(byte_count: float) -> str:
    """Return a size in bytes with its binary unit."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if byte_count >= 1 << power:
            return f"{_three_digits(byte_count / (1 << power))} {unit}"
    return f"{byte_count:.0f} B"


def count(number: int) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,}"


def percent(share: float) -> str:
    """Return a share (0.0-1.0) in percent; a small one is not called nothing."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 <= share < 1:
        return ">99.9 %"
    return f"{100 * share:.1f} %"


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def _title(text: str) -> Line:
    return ((printable(text, WIDTH), "title"),)


def _section(text: str) -> Iterator[Line]:
    yield ()
    yield ((text, "head"),)


def _more(hidden: int, what: str) -> Iterator[Line]:
    if hidden > 0:
        yield ((f"... and {count(hidden)} more {what}, all in the JSON", "dim"),)


def _cost_table(report: PerformanceReport) -> Iterator[Line]:
    heading = f"{'plugin':<{_NAME_WIDTH}}{'runs':>8}{'failed':>7}{'total':>8}{'self':>9}"
    yield ((f"{heading}{'%':>4}{'median':>8}{'p95':>8}{'CPU':>6}", "head"),)
    all_ns = sum(row.self_time_ns for row in report.plugins) or 1
    flagged = {finding.plugin_id for finding in report.bottlenecks}
    for row in report.plugins[:_ROWS]:
        yield _cost_row(row, row.self_time_ns / all_ns, "bad" if row.plugin_id in flagged else "")
    yield from _more(len(report.plugins) - _ROWS, "plugins")


def _cost_row(row: AggregateMetrics, share: float, style: str) -> Line:
    failed = row.failure_count + row.timeout_count
    cpu = "-" if row.cpu_utilisation is None else f"{100 * row.cpu_utilisation:.0f}%"
    bound = "~" if row.concurrent_children else ""
    return (
        (fitted(row.plugin_id, _NAME_WIDTH - 1) + " ", style),
        (f"{_compact(row.execution_count):>8}", ""),
        (f"{_compact(failed):>7}", "bad" if failed else "dim"),
        (f"{_short(row.total_time_ns):>8}{bound + _short(row.self_time_ns):>9}", ""),
        (f"{100 * share:>4.0f}", ""),
        (f"{_short(row.p50_duration_ns):>8}{_short(row.p95_duration_ns):>8}{cpu:>6}", ""),
    )


def _compact(number: int) -> str:
    """Return a number in at most six columns, exact under a million."""
    if number < 1_000_000:
        return str(number)
    for power, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= power:
            return f"{number / power:.1f}{unit}" if number < 1e15 else ">999T"
    return str(number)


def _short(ns: float) -> str:
    """Return a duration in at most seven columns."""
    if ns >= 359_995e9:
        return f"{ns / 86_400e9:.0f}d" if ns < 86_400e9 * 99_999 else ">99999d"
    return (
        f"{ns / 3600e9:.1f}h" if ns >= 99_995e9 else duration(ns).replace(" ", "").replace(",", "")
    )


def _bottlenecks(found: tuple[Bottleneck, ...]) -> Iterator[Line]:
    if not found:
        return
    yield from _section("What stands out, and what to do")
    for finding in found:
        style = "bad" if finding.severity == "high" else ""
        name = printable(finding.plugin_id, 30)
        yield ((f"! {name}  ", style), (finding.kind, style))
        yield from _indented(finding.finding)
        yield from _indented(f"-> {finding.remedy}")


def _indented(text: str) -> Iterator[Line]:
    lines = list(_wrapped(printable(text, 1000), WIDTH - 4))
    for line in lines[:3]:
        yield ((f"    {line}", ""),)
    if len(lines) > 3:
        yield (("    ...", "dim"),)


def _wrapped(text: str, width: int) -> Iterator[str]:
    """Yield `text` in lines of at most `width` columns, which wide characters fill faster."""
    for line in wrap(text, width):
        rest = line
        while width_of(rest) > width:
            cut = fitted(rest, width).rstrip().removesuffix(ELLIPSIS)
            yield cut
            rest = rest[len(cut) :]
        yield rest


def _hooks(rows: tuple[HookMetrics, ...]) -> Iterator[Line]:
    if not rows:
        return
    yield from _section(
        f"{'Hooks, loads and unloads':<44}{'calls':>9}{'self':>9}{'total':>9}{'max':>9}"
    )
    for row in rows[:_HOOK_ROWS]:
        name = fitted(f"{printable(row.plugin_id)}:{printable(row.hook)}", 43) + " "
        times = f"{_short(row.self_time_ns):>9}{_short(row.total_time_ns):>9}"
        yield ((f"{name}{_compact(row.call_count):>9}{times}{_short(row.max_duration_ns):>9}", ""),)
    yield from _more(len(rows) - _HOOK_ROWS, "rows")


def _flames(root: FlameGraphNode) -> Iterator[Line]:
    yield from _section("Where the time went (who called whom, inclusive)")
    rows = [(d, n) for d, n in _walk(root, 0) if d <= _FLAME_DEPTH]
    kept = sorted(rows, key=lambda row: -row[1].duration_ns)[:_FLAME_ROWS]
    smallest = kept[-1][1].duration_ns
    shown = [row for row in rows if row[1].duration_ns >= smallest][:_FLAME_ROWS]
    for depth, node in shown:
        share = node.duration_ns / root.duration_ns if root.duration_ns else 0.0
        bar = "█" * round(share * 26)
        name = fitted("  " * depth + printable(node.name), 34)
        yield ((f"{name}{_short(node.duration_ns):>9} {percent(share):>8} ", ""), (bar, "bar"))
    yield from _more(sum(1 for _ in _walk(root, 0)) - len(shown), "nodes")


def _walk(node: FlameGraphNode, depth: int) -> Iterator[tuple[int, FlameGraphNode]]:
    yield depth, node
    for child in node.children:
        yield from _walk(child, depth + 1)


def _overhead(overhead: Overhead) -> Iterator[Line]:
    share = "" if overhead.share is None else f", {percent(overhead.share)} of the time observed"
    parts = [f"processing {duration(overhead.processing_ns)}"]
    if overhead.recording_ns is not None:
        parts.append(f"recording {duration(overhead.recording_ns)}")
    if overhead.reading_ns:
        parts.append(f"{count(overhead.readings)} readings {duration(overhead.reading_ns)}")
    estimated = " (calibrated estimate)" if overhead.recording_ns is not None else ""
    text = f"measuring cost {duration(overhead.total_ns)}{share}: {', '.join(parts)}{estimated}"
    for line in wrap(text, WIDTH, subsequent_indent="  "):
        yield ((line, ""),)


def _use_row(row: PluginStats, trend: TrendAnalysis | None) -> Line:
    success = "-" if row.success_rate is None else percent(row.success_rate)
    average = row.average_execution_time_ns
    return (
        (fitted(row.plugin_id, _USE_NAME - 1) + " ", ""),
        (f"{_compact(row.execution_count):>9}", ""),
        (f"{success:>9}", "bad" if row.success_rate is not None and row.success_rate < 1 else ""),
        (
            f"{'-' if average is None else _short(average):>10}{_compact(row.peak_concurrency):>9}",
            "",
        ),
        (f"{row.uptime_percent:>7.1f} %", ""),
        *_trend(trend),
    )


def _trend(trend: TrendAnalysis | None) -> Line:
    if trend is None:
        return ()
    arrow = {
        TrendDirection.INCREASING: "↑",
        TrendDirection.DECREASING: "↓",
        TrendDirection.STABLE: "→",
    }[trend.direction]
    doubt = "" if trend.significant or trend.direction is TrendDirection.STABLE else " (?)"
    change = f"{trend.change_percent:+.0f} %"
    if abs(trend.change_percent) >= 1000:
        change = ">+999 %" if trend.change_percent > 0 else "<-999 %"
    rising = trend.significant and trend.direction is TrendDirection.INCREASING
    return ((f" {arrow} {change}{doubt}", "bad" if rising else ""),)
