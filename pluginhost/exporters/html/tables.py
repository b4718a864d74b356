"""The tables of a page: one function for each kind of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pluginhost.costs import CostReport, PluginCost
from pluginhost.exporters.html.document import Column, Table
from pluginhost.report import PerformanceReport, Report
from pluginhost.suite import SuiteReport, SuiteTests

_CPU = Column(label="CPU", kind="ns")
_SELF = Column(label="self", kind="ns", note="without what it called")
_TOTAL = Column(label="total", kind="ns", note="with what it called")


def _text(label: str) -> Column:
    return Column(label=label)


def _ns(label: str, note: str = "", *, estimate: bool = False) -> Column:
    return Column(label=label, kind="ns", note=note, estimate=estimate)


def _count(label: str) -> Column:
    return Column(label=label, kind="count")


def _share(label: str, *, estimate: bool = False) -> Column:
    return Column(label=label, kind="share", estimate=estimate)


def _bytes(label: str, note: str = "", *, estimate: bool = False) -> Column:
    return Column(label=label, kind="bytes", note=note, estimate=estimate)


def _filled(table: Table) -> Table:
    """Return the table without the columns that have nothing to say."""
    kept = [
        n
        for n in range(len(table.columns))
        if n == table.sort or any(row[n] not in (None, "", 0) for row in table.rows)
    ]
    return Table(
        id=table.id,
        title=table.title,
        columns=tuple(table.columns[n] for n in kept),
        rows=tuple(tuple(row[n] for n in kept) for row in table.rows),
        sort=kept.index(table.sort) if table.sort in kept else None,
        note=table.note,
    )


def performance_tables(report: PerformanceReport) -> list[Table]:
    """Return plugins, hooks and bottlenecks."""
    whole = sum(row.self_time_ns for row in report.plugins) or 1
    columns = (
        _text("plugin"),
        _count("runs"),
        _count("failed"),
        _TOTAL,
        _SELF,
        _share("share"),
        _ns("mean"),
        _ns("p50", "at most 0.4 % off", estimate=True),
        _ns("p95", "at most 0.4 % off", estimate=True),
        _ns("p99", "at most 0.4 % off", estimate=True),
        _ns("max"),
        _share("CPU", estimate=True),
        _bytes("peak memory", "growth of the process: a lower bound", estimate=True),
        _text("last error"),
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
    found = [_filled(Table(id="plugins", title="Plugins", columns=columns, rows=rows, sort=4))]
    hooks = Table(
        id="hooks",
        title="Hooks, loading and unloading",
        columns=(
            _text("plugin"),
            _text("hook"),
            _count("calls"),
            _count("errors"),
            _SELF,
            _TOTAL,
            _ns("mean"),
            _ns("max"),
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
    bottlenecks = Table(
        id="bottlenecks",
        title="Bottlenecks",
        columns=(
            _text("plugin"),
            _text("rule"),
            _text("severity"),
            _text("finding"),
            Column(label="value", kind="number"),
            Column(label="threshold", kind="number"),
            _text("unit"),
            _text("what to do"),
        ),
        rows=tuple(
            (b.plugin_id, b.kind, b.severity, b.finding, b.value, b.threshold, b.unit, b.remedy)
            for b in report.bottlenecks
        ),
    )
    return [*found, _filled(hooks), bottlenecks]


def cost_tables(costs: CostReport) -> list[Table]:
    """Return plugins, candidates, hooks and imports."""
    plugins = Table(
        id="plugins",
        title="Plugins",
        columns=(
            _text("plugin"),
            _text("version"),
            _text("kind"),
            _SELF,
            _share("share"),
            _ns("imports", "the first importer pays"),
            _ns("hooks", "without what they called"),
            _CPU,
            _count("calls"),
            _count("errors"),
            _ns("saved without it", "predicted", estimate=True),
            _bytes("memory of imports", "growth of the process", estimate=True),
            _ns("other threads"),
            _text("to run without it"),
        ),
        rows=tuple(map(_plugin_row, costs.plugins)),
        sort=3,
        note=f"Self times add up, with {costs.application.name}, measuring and what is"
        " unattributed, to the whole.",
    )
    candidates = Table(
        id="candidates",
        title="Probably nobody would miss",
        columns=(
            _text("plugin"),
            _text("distribution"),
            _text("why"),
            _ns("saves", estimate=True),
            _text("how"),
        ),
        rows=tuple(
            (c.plugin, c.distribution or "", c.reason, c.saving_ns, c.remedy)
            for c in costs.candidates
        ),
        sort=3,
    )
    return [_filled(plugins), candidates, _filled(_hooks(costs)), _filled(_imports(costs))]


def _plugin_row(row: PluginCost) -> tuple[Any, ...]:
    return (
        row.name,
        row.version or "",
        str(row.kind).replace("_", "-"),
        row.self_ns,
        row.share,
        row.import_ns,
        row.hooks_self_ns,
        row.cpu_ns,
        row.calls,
        row.errors,
        row.saving_ns,
        row.import_rss_bytes,
        row.other_threads_ns,
        row.remedy or "",
    )


def _hooks(costs: CostReport) -> Table:
    return Table(
        id="hooks",
        title="Hooks",
        columns=(
            _text("plugin"),
            _text("hook"),
            _text("style"),
            _count("calls"),
            _count("errors"),
            _SELF,
            _TOTAL,
            _CPU,
            _ns("p50", "at most 0.4 % off", estimate=True),
            _ns("p95", "at most 0.4 % off", estimate=True),
            _ns("max"),
            _count("returned None"),
        ),
        rows=tuple(
            (
                h.plugin,
                h.hook,
                h.style,
                h.calls,
                h.errors,
                h.self_ns,
                h.inclusive_ns,
                h.cpu_ns,
                h.p50_ns,
                h.p95_ns,
                h.max_ns,
                h.returned_none,
            )
            for h in costs.hooks
        ),
        sort=5,
    )


def _imports(costs: CostReport) -> Table:
    return Table(
        id="imports",
        title="Imports",
        columns=(
            _text("module"),
            _text("on behalf of"),
            _SELF,
            _TOTAL,
            _text("kept by"),
        ),
        rows=tuple(
            (each.module, row.name, each.self_ns, each.inclusive_ns, each.kept_by or "")
            for row in costs.plugins
            for each in row.imports
        ),
        sort=3,
        note="Kept by: who would import it, too, if the plugin were gone.",
    )


def suite_tables(suite: SuiteReport) -> list[Table]:
    """Return tests, fixtures, files, markers and workers."""
    fixtures = Table(
        id="fixtures",
        title="Fixtures",
        columns=(
            _text("fixture"),
            _text("scope"),
            _text("defined in"),
            _text("plugin"),
            _count("setups"),
            _count("errors"),
            _SELF,
            _share("share"),
            _ns("setup"),
            _ns("teardown"),
            _ns("median"),
            _ns("max"),
        ),
        rows=tuple(
            (
                f.name,
                f.scope,
                f.defined_in,
                f.owner or ("pytest" if f.own else ""),
                f.setups,
                f.errors,
                f.self_ns,
                f.share,
                f.setup_ns,
                f.teardown_ns,
                f.median_ns,
                f.max_ns,
            )
            for f in suite.fixtures
        ),
        sort=6,
    )
    return [
        _filled(_tests(suite)),
        _filled(fixtures),
        _filled(_files(suite)),
        _markers(suite),
        _filled(_workers(suite)),
    ]


def _tests(suite: SuiteReport) -> Table:
    tests = suite.tests
    names = ("call_ns", "self_ns", "cpu_ns", "setup_ns", "teardown_ns")
    memory = ("rss_bytes", "peak_bytes", "kept_bytes")
    columns = [_column(tests, name) for name in (*names, *memory)]
    rows = zip(tests.ids, _padded(tests.outcomes, len(tests.ids)), *columns, strict=True)
    return Table(
        id="tests",
        title="Tests",
        columns=(
            _text("test"),
            _text("outcome"),
            _ns("call"),
            _SELF,
            _CPU,
            _ns("setup"),
            _ns("teardown"),
            _bytes("memory of the process", "at its end"),
            _bytes("peak"),
            _bytes("kept"),
        ),
        rows=tuple(rows),
        sort=3,
    )


def _column(tests: SuiteTests, name: str) -> Sequence[Any]:
    return _padded(getattr(tests, name), len(tests.ids))


def _padded(values: Sequence[Any], length: int) -> Sequence[Any]:
    """Return a column as long as the table: nothing where it was not measured."""
    return [*values[:length], *[None] * (length - len(values))]


def _files(suite: SuiteReport) -> Table:
    return Table(
        id="files",
        title="Files",
        columns=(
            _text("file"),
            _count("tests"),
            _ns("tests' time"),
            _ns("setup"),
            _ns("teardown"),
            _ns("collection"),
            _ns("import"),
            _ns("its own top level"),
            _ns("rewriting"),
        ),
        rows=tuple(
            (
                f.path,
                f.tests,
                f.tests_ns,
                f.setup_ns,
                f.teardown_ns,
                f.collection_ns,
                f.import_ns,
                f.import_self_ns,
                f.rewriting_ns,
            )
            for f in suite.files
        ),
        sort=2,
    )


def _markers(suite: SuiteReport) -> Table:
    return Table(
        id="markers",
        title="Markers",
        columns=(_text("marker"), _count("tests"), _SELF, _CPU),
        rows=tuple((m.name, m.tests, m.self_ns, m.cpu_ns) for m in suite.markers),
        sort=2,
        note="A test with several counts for each.",
    )


def _workers(suite: SuiteReport) -> Table:
    return Table(
        id="workers",
        title="Processes that run tests",
        columns=(
            _text("worker"),
            _count("tests"),
            _ns("time"),
            _ns("startup"),
            _ns("idle"),
            _text("missing"),
        ),
        rows=tuple(
            (w.id, w.tests, w.wall_ns, w.startup_ns, w.idle_ns, w.missing or "")
            for w in suite.workers
        ),
        sort=2,
    )


def life_tables(report: Report) -> list[Table]:
    """Return how plugins were used, their trends, what is unusual, and what was not loaded."""
    analytics = report.analytics
    use = Table(
        id="use",
        title="Use and reliability",
        columns=(
            _text("plugin"),
            _count("loads"),
            _count("runs"),
            _count("errors"),
            _share("success"),
            _ns("load"),
            Column(label="uptime, %", kind="number"),
            _count("at once"),
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
            for s in (analytics.plugins if analytics else ())
        ),
        sort=2,
    )
    trends = Table(
        id="trends",
        title="Trends within this run",
        columns=(
            _text("plugin"),
            _text("metric"),
            _text("direction"),
            Column(label="change, %", kind="number"),
            Column(label="p", kind="number"),
            _text("significant"),
            _count("values"),
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
            for t in (analytics.trends if analytics else ())
        ),
        note="The recent half of the executions against the half before it.",
    )
    anomalies = Table(
        id="anomalies",
        title="Not as it was earlier in this run",
        columns=(
            _text("plugin"),
            _text("hook"),
            _text("kind"),
            _count("executions"),
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
    broken = Table(
        id="broken",
        title="Not loaded, and what to do",
        columns=(_text("plugin"), _text("state"), _text("why"), _text("what to do")),
        rows=tuple(
            (p.id, str(p.state), p.error, p.remedy or "") for p in report.plugins if p.error
        ),
    )
    return [_filled(use), trends, anomalies, broken]
