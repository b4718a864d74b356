"""How the plugins of a host are used, how reliable they are, where they are heading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pluginhost.figures import compact, count, duration, of, percent, short
from pluginhost.printable import printable
from pluginhost.rendering.lines import Line, Span, paragraph, plain, within_width
from pluginhost.rendering.tables import Column, table
from pluginhost.report import AnalyticsReport, PluginStats, TrendAnalysis, TrendDirection

_NOTABLE_CHANGE_NS = 100_000  # nobody notices less, whatever the percentage


def analytics_text(report: AnalyticsReport) -> str:
    """Return an analytics report as plain text."""
    return plain(analytics_lines(report))


def analytics_lines(report: AnalyticsReport) -> Iterator[Line]:
    """Yield which plugin to blame, how each is used, how reliable it is, where it is heading."""
    return map(within_width, _analytics(report))


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
    yield from table(report.plugins, tuple(_use_columns(report.trends)), set())
    yield ()
    counts = ", ".join(f"{k} {count(n)}" for k, n in report.event_counts.items() if n)
    yield from paragraph(f"events: {counts}", "dim", indent=2)
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
        yield from paragraph(f"failed and never ran: {names}", "bad", indent=2)


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
