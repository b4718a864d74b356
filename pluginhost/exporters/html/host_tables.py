"""The tables of a host's plugins: what they cost, and how they live."""

from __future__ import annotations

from pluginhost.exporters.html.columns import SELF, TOTAL, count, filled, ns, share, size, text
from pluginhost.exporters.html.document import Column, Table
from pluginhost.report import AnalyticsReport, PerformanceReport, Report


def performance_tables(report: PerformanceReport) -> list[Table]:
    """Return plugins, hooks and bottlenecks."""
    return [_plugins(report), filled(_hooks(report)), _bottlenecks(report)]


def _plugins(report: PerformanceReport) -> Table:
    whole = sum(row.self_time_ns for row in report.plugins) or 1
    columns = (
        text("plugin"),
        count("runs"),
        count("failed"),
        TOTAL,
        SELF,
        share("share"),
        ns("mean"),
        ns("p50", "at most 0.4 % off", estimate=True),
        ns("p95", "at most 0.4 % off", estimate=True),
        ns("p99", "at most 0.4 % off", estimate=True),
        ns("max"),
        share("CPU", estimate=True),
        size("peak memory", "growth of the process: a lower bound", estimate=True),
        text("last error"),
    )
    rows = tuple(
        (
            row.plugin_id,
            row.execution_count,
            row.failure_count + row.timeout_count,
            row.total_time_ns,
            row.self_time_ns,
            row.self_time_ns / whole,
            row.average_duration_ns,
            row.p50_duration_ns,
            row.p95_duration_ns,
            row.p99_duration_ns,
            row.max_duration_ns,
            row.cpu_utilisation,
            row.peak_memory_bytes,
            row.last_error or "",
        )
        for row in report.plugins
    )
    return filled(Table(id="plugins", title="Plugins", columns=columns, rows=rows, sort=4))


def _hooks(report: PerformanceReport) -> Table:
    return Table(
        id="hooks",
        title="Hooks, loading and unloading",
        columns=(
            text("plugin"),
            text("hook"),
            count("calls"),
            count("errors"),
            SELF,
            TOTAL,
            ns("mean"),
            ns("max"),
        ),
        rows=tuple(
            (
                row.plugin_id,
                row.hook,
                row.call_count,
                row.error_count,
                row.self_time_ns,
                row.total_time_ns,
                row.average_duration_ns,
                row.max_duration_ns,
            )
            for row in report.hooks
        ),
        sort=4,
    )


def _bottlenecks(report: PerformanceReport) -> Table:
    return Table(
        id="bottlenecks",
        title="Bottlenecks",
        columns=(
            text("plugin"),
            text("rule"),
            text("severity"),
            text("finding"),
            Column(label="value", kind="number"),
            Column(label="threshold", kind="number"),
            text("unit"),
            text("what to do"),
        ),
        rows=tuple(
            (b.plugin_id, b.kind, b.severity, b.finding, b.value, b.threshold, b.unit, b.remedy)
            for b in report.bottlenecks
        ),
    )


def life_tables(report: Report) -> list[Table]:
    """Return how plugins were used, their trends, what is unusual, and what was not loaded."""
    use = (
        ()
        if report.analytics is None
        else (filled(_use(report.analytics)), _trends(report.analytics))
    )
    return [*use, _anomalies(report), _broken(report)]


def _use(analytics: AnalyticsReport) -> Table:
    return Table(
        id="use",
        title="Use and reliability",
        columns=(
            text("plugin"),
            count("loads"),
            count("runs"),
            count("errors"),
            share("success"),
            ns("load"),
            Column(label="uptime, %", kind="number"),
            count("at once"),
        ),
        rows=tuple(
            (
                s.plugin_id,
                s.load_count,
                s.execution_count,
                s.error_count,
                s.success_rate,
                s.average_load_time_ns,
                s.uptime_percent,
                s.peak_concurrency,
            )
            for s in analytics.plugins
        ),
        sort=2,
    )


def _trends(analytics: AnalyticsReport) -> Table:
    return Table(
        id="trends",
        title="Trends within this run",
        columns=(
            text("plugin"),
            text("metric"),
            text("direction"),
            Column(label="change, %", kind="number"),
            Column(label="p", kind="number"),
            text("significant"),
            count("values"),
        ),
        rows=tuple(
            (
                t.plugin_id,
                t.metric,
                str(t.direction),
                t.change_percent,
                t.p_value,
                "yes" if t.significant else "no",
                t.sample_size,
            )
            for t in analytics.trends
        ),
        note="The recent half of the executions against the half before it.",
    )


def _anomalies(report: Report) -> Table:
    return Table(
        id="anomalies",
        title="Not as it was earlier in this run",
        columns=(
            text("plugin"),
            text("hook"),
            text("kind"),
            count("executions"),
            Column(label="usual", kind="number"),
            Column(label="seen", kind="number"),
            Column(label="score", kind="number"),
        ),
        rows=tuple(
            (a.plugin, a.hook, str(a.kind), a.count, a.usual, a.seen, a.score)
            for a in report.anomalies
        ),
        sort=6,
    )


def _broken(report: Report) -> Table:
    return Table(
        id="broken",
        title="Not loaded, and what to do",
        columns=(text("plugin"), text("state"), text("why"), text("what to do")),
        rows=tuple(
            (p.id, str(p.state), p.error, p.remedy or "") for p in report.plugins if p.error
        ),
    )
