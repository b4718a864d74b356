"""A report as the document of a page: what costs most and what to do first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from pluginhost.costs import CostReport
from pluginhost.exporters.html.cost_tables import cost_tables
from pluginhost.exporters.html.document import Document, Figure, Finding, Histogram, Part, Table
from pluginhost.exporters.html.graphs import flame, histograms, inside_flame, trends
from pluginhost.exporters.html.host_tables import life_tables, performance_tables
from pluginhost.exporters.html.suite_tables import suite_tables
from pluginhost.figures import apportioned, duration, of, percent
from pluginhost.inside import InsideProfile, Kind
from pluginhost.printable import printable
from pluginhost.report import PerformanceReport, Report
from pluginhost.suite import SuiteReport

_LONGEST_TEXT = 500
_FINDINGS = 12


def document_of(report: Report) -> Document:
    """Return all that the page shows; its texts are `printable`: nothing in them is obeyed."""
    if report.suite is not None and report.costs is not None:
        made = _of_suite(report, report.costs, report.suite)
    elif report.costs is not None:
        made = _of_costs(report, report.costs)
    elif report.performance is not None:
        made = _of_performance(report, report.performance)
    else:
        made = _of(report, answer=("Nothing was measured.",))
    shown: Document = msgspec.convert(_made_safe(msgspec.to_builtins(made)), Document)
    return shown


def _of(report: Report, **parts: Any) -> Document:
    environment = report.environment
    facts = [(name, str(value)) for name, value in msgspec.to_builtins(environment).items()]
    tables: list[Table] = [*parts.pop("tables", ()), *life_tables(report)]
    known: dict[str, Any] = {
        "title": report.name,
        "subtitle": "what its plugins cost",
        "created_ms": report.created_timestamp_ns // 1_000_000,
        "trends": trends(report),
        "facts": tuple(facts),
    }
    return Document(**known | parts, tables=tuple(table for table in tables if table.rows))


def _of_performance(report: Report, found: PerformanceReport) -> Document:
    runs = sum(row.execution_count for row in found.plugins)
    failed = sum(row.failure_count + row.timeout_count for row in found.plugins)
    own_ns = sum(row.self_time_ns for row in found.plugins)
    figures = (
        Figure(label="observed", value=found.observed_ns),
        Figure(label="executions", value=runs, kind="count"),
        Figure(label="failed", value=failed, kind="count"),
        Figure(label="time in plugins", value=found.flame_graph.duration_ns),
    )
    return _of(
        report,
        answer=tuple(_performance_answer(found, own_ns)),
        findings=tuple(
            Finding(
                text=f"{b.plugin_id}: {b.finding}", remedy=b.remedy, severe=b.severity == "high"
            )
            for b in found.bottlenecks[:_FINDINGS]
        ),
        figures=figures,
        parts=_ranked((row.plugin_id, row.self_time_ns) for row in found.plugins),
        tables=tuple(performance_tables(found)),
        flames=(
            *([flame(found.flame_graph, "Who called whom")] if found.flame_graph.children else ()),
            *(inside_flame(each) for each in found.inside if each.frames),
        ),
        histograms=histograms(found.histograms.items()),
        measuring=tuple(_performance_measuring(found)),
        notes=(*found.estimates, *(_inside_note(each) for each in found.inside)),
    )


def _performance_answer(found: PerformanceReport, own_ns: int) -> Iterator[str]:
    if not found.plugins:
        yield "Nothing was executed while it was observed."
        return
    first = max(found.plugins, key=lambda row: row.self_time_ns)
    share = percent(first.self_time_ns / max(own_ns, 1))
    yield f"{first.plugin_id} takes most time: {share} of the {duration(own_ns)} in plugins."
    runs, mean = first.execution_count, duration(first.average_duration_ns)
    yield f"{of(runs, 'execution')}, {mean} each on average, {duration(first.p95_duration_ns)} p95."
    for profile in found.inside:
        yield from _inside_answer(profile)
    if not found.bottlenecks:
        yield "Nothing stands out: no figure is over its threshold."


def _inside_answer(profile: InsideProfile) -> Iterator[str]:
    """Yield which function takes most inside of a plugin, whoever called it."""
    own: dict[str, int] = {}
    waiting = list(profile.frames)
    while waiting:
        frame = waiting.pop()
        own[frame.label] = own.get(frame.label, 0) + frame.self_value
        waiting += frame.children
    if own and profile.value > 0:
        label, value = max(own.items(), key=lambda item: item[1])
        what = "of its time" if profile.kind is Kind.TIME else "of its memory at the peak"
        share = percent(value / profile.value)
        yield f"Inside {profile.plugin_id}, {label} takes {share} {what} (sampled)."


def _performance_measuring(found: PerformanceReport) -> Iterator[Figure]:
    cost = found.overhead
    yield Figure(label="all of it", value=cost.total_ns)
    if cost.share is not None:
        yield Figure(label="of the time observed", value=cost.share, kind="share")
    yield Figure(label="processing", value=cost.processing_ns)
    yield Figure(label="recording", value=cost.recording_ns, estimate=True)
    yield Figure(label="readings", value=cost.reading_ns, estimate=True)
    for profile in found.inside:
        label = f"profiler inside {profile.plugin_id}: starting and adding up"
        yield Figure(label=label, value=profile.starting_ns)
        label = f"profiled executions of {profile.plugin_id} take so many times as long"
        yield Figure(label=label, value=profile.slowdown, kind="number", estimate=True)


def _inside_note(profile: InsideProfile) -> str:
    what = "time" if profile.kind is Kind.TIME else "memory"
    text = f"{what} inside of {profile.plugin_id}: {profile.profiler}, {profile.profiled:,} of"
    text += f" {of(profile.executions, 'execution')}, {profile.skipped:,} skipped"
    return text if profile.failure is None else f"{text}; it failed: {profile.failure}"


def _of_costs(report: Report, costs: CostReport) -> Document:
    name = " ".join(costs.command) or costs.application.name
    return _of(
        report,
        title=name,
        answer=tuple(_cost_answer(costs)),
        findings=tuple(_cost_findings(report, costs)),
        missing=costs.incomplete,
        figures=tuple(_cost_figures(costs)),
        parts=_cost_parts(costs),
        tables=tuple(cost_tables(costs)),
        flames=_cost_flames(costs),
        histograms=_hook_histograms(costs),
        measuring=tuple(_cost_measuring(costs)),
        notes=costs.notes,
    )


def _cost_answer(costs: CostReport) -> Iterator[str]:
    first = max(costs.plugins, key=lambda row: row.self_ns, default=None)
    if first is None:
        yield "No plugin but the application's own was registered."
        return
    yield (
        f"{first.name} costs most: {duration(first.self_ns)},"
        f" {percent(first.share)} of {duration(costs.wall_ns)}."
    )
    imports, hooks = duration(first.import_ns), duration(first.hooks_self_ns)
    text = f"Imports take {imports} of that, hooks {hooks}."
    if first.saving_ns:
        text += f" Without it, {duration(first.saving_ns)} less are predicted."
    if first.remedy:
        text += f" To run without it: {first.remedy}"
    yield text


def _cost_findings(report: Report, costs: CostReport) -> Iterator[Finding]:
    tried = report.verification
    if tried is not None:
        low, high = duration(max(tried.low_ns, 0)), duration(max(tried.high_ns, 0))
        yield Finding(
            text=f"tried without {tried.plugin}: {duration(abs(tried.saved_ns))}"
            f" {'saved' if tried.saved_ns >= 0 else 'more'}, {low} to {high}"
            f" ({percent(tried.confidence)} sure)"
        )
    for each in costs.candidates[:_FINDINGS]:
        saves = f", saves {duration(each.saving_ns)}" if each.saving_ns else ""
        yield Finding(text=f"{each.plugin}: {each.reason}{saves}", remedy=each.remedy)


def _cost_figures(costs: CostReport) -> Iterator[Figure]:
    yield Figure(label="elapsed", value=costs.elapsed_ns)
    if costs.wall_ns != costs.elapsed_ns:
        yield Figure(label="all processes", value=costs.wall_ns)
    yield Figure(label="CPU", value=costs.cpu_ns, note="all threads")
    yield Figure(label="plugins", value=len(costs.plugins), kind="count")
    if costs.exit_code is not None:
        yield Figure(label="exit code", value=costs.exit_code, kind="count", note=costs.ended)


def _cost_parts(costs: CostReport) -> tuple[Part, ...]:
    rows = [(row.name, row.self_ns) for row in costs.plugins]
    rows += [(costs.application.name, costs.application.self_ns)]
    rows += [("measuring", costs.measuring.total_ns), ("unattributed", costs.unattributed_ns)]
    return _ranked(rows)


def _ranked(rows: Iterable[tuple[str, int]]) -> tuple[Part, ...]:
    """Return parts, the largest first; the smallest are one together."""
    ordered = sorted(rows, key=lambda row: -row[1])
    shown = [Part(name=name, value=value) for name, value in ordered[:12] if value > 0]
    rest = sum(value for _, value in ordered[12:] if value > 0)
    if rest > 0:
        shown.append(Part(name=f"{len(ordered) - 12} others", value=rest))
    return tuple(shown)


def _cost_flames(costs: CostReport) -> tuple[Any, ...]:
    root = costs.flame_graph
    return (flame(root, "Who called whom"),) if root is not None and root.children else ()


def _hook_histograms(costs: CostReport) -> tuple[Histogram, ...]:
    return histograms((f"{h.plugin}:{h.hook}", h.histogram) for h in costs.hooks if h.histogram)


def _cost_measuring(costs: CostReport) -> Iterator[Figure]:
    cost = costs.measuring
    yield Figure(label="all of it", value=cost.total_ns)
    if costs.wall_ns:
        yield Figure(label="of the whole", value=cost.total_ns / costs.wall_ns, kind="share")
    yield Figure(label="setting up", value=cost.setup_ns)
    yield Figure(label="processing", value=cost.processing_ns)
    yield Figure(label="recording", value=cost.recording_ns, estimate=True)
    yield Figure(label="records", value=cost.records, kind="count")


def _of_suite(report: Report, costs: CostReport, suite: SuiteReport) -> Document:
    kept = [(f"fixture {f.name}", f.histogram) for f in suite.fixtures if f.histogram]
    kept += [(f"tests of {f.path}", f.histogram) for f in suite.files if f.histogram]
    spreads = (*histograms(kept), *_hook_histograms(costs))
    return _of(
        report,
        title=" ".join(costs.command) or report.name,
        subtitle="where the suite's time goes",
        answer=(f"{_shares(suite)}.", f"Of {_whole(suite)}, {_tests_said(suite)}."),
        findings=tuple(
            Finding(text=f"{a.subject}: {a.finding}", remedy=a.remedy)
            for a in suite.advice[:_FINDINGS]
        ),
        missing=(*suite.incomplete, *costs.incomplete),
        figures=(
            Figure(label="you waited", value=suite.elapsed_ns),
            Figure(label="all processes", value=suite.wall_ns),
            Figure(label="CPU", value=suite.cpu_ns),
            Figure(label="tests", value=suite.test_count, kind="count"),
            *(Figure(label=k, value=v, kind="count") for k, v in suite.outcomes.items()),
        ),
        parts=_ranked((str(part), ns) for part, ns in suite.busy_parts()),
        tables=(*suite_tables(suite), *cost_tables(costs)),
        flames=_cost_flames(costs),
        histograms=spreads,
        measuring=tuple(_cost_measuring(costs)),
        notes=(*suite.notes, *costs.notes),
    )


def _shares(suite: SuiteReport) -> str:
    """Return the parts of the whole in percent, the largest first, 100 in all."""
    parts = suite.busy_parts()
    shares = apportioned([max(0, ns) for _, ns in parts], 100)
    said = sorted(zip(shares, parts, strict=True), key=lambda pair: -pair[0])
    return ", ".join(f"{share} % {part}" for share, (part, _) in said if share)


def _whole(suite: SuiteReport) -> str:
    """Return what shares are of, and what they are not of."""
    text = duration(suite.busy_ns)
    if suite.waiting_ns:
        text += (
            f" without {duration(suite.waiting_ns)} that the first process only waited for others"
        )
    return text


def _tests_said(suite: SuiteReport) -> str:
    outcomes = ", ".join(f"{count:,} {name}" for name, count in suite.outcomes.items())
    text = of(suite.test_count, "test")
    return f"{text}: {outcomes}" if outcomes else text


def _made_safe(value: Any) -> Any:
    """Return the value with every text made safe to show."""
    if isinstance(value, str):
        return printable(value, _LONGEST_TEXT)
    if isinstance(value, dict):
        return {name: _made_safe(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_made_safe(each) for each in value]
    if isinstance(value, float) and value - value != 0:  # JSON has no infinity
        return None
    return value
