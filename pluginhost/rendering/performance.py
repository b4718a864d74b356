"""What the plugins of a host cost, the worst first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pluginhost.costs import FlameGraphNode
from pluginhost.figures import compact, count, duration, of, percent, short
from pluginhost.printable import fitted, printable
from pluginhost.rendering.flames import flames
from pluginhost.rendering.inside import inside_lines
from pluginhost.rendering.lines import Line, labelled, more, paragraph, plain, section, within_width
from pluginhost.rendering.tables import Column, table
from pluginhost.report import AggregateMetrics, Bottleneck, HookMetrics, Overhead, PerformanceReport

_HOOK_ROWS = 10
_STEPS = 3
_FINDINGS = 5
_NOTABLE_BYTES = 10 * 1024 * 1024  # less growth than this is not worth a column
_SHORTEST_FOR_CPU_NS = 50_000  # reading the CPU clock takes about a hundredth of it


def performance_text(report: PerformanceReport) -> str:
    """Return a performance report as plain text."""
    return plain(performance_lines(report))


def performance_lines(report: PerformanceReport) -> Iterator[Line]:
    """Yield which plugin to blame and what to do, what each one cost, and what measuring cost."""
    return map(within_width, _performance(report))


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
        yield from table(report.plugins, tuple(_cost_columns(report.plugins)), flagged)
    yield from _processes([row for row in report.plugins if row.exact_count])
    yield from _hooks(report.hooks)
    if report.flame_graph.duration_ns:
        yield from _flames(report.flame_graph, report.observed_ns)
    for profile in report.inside:
        yield from inside_lines(profile)
    yield ()
    yield from _overhead(report.overhead)
    if report.plugins:
        yield from _sampling(report, runs)
    for note in report.estimates:
        yield from labelled("estimate", note)
    if any(row.cpu_utilisation is not None and _cpu(row) == "-" for row in report.plugins):
        yield from labelled("left out", "CPU where executions are too short to tell, under 50 us")


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
    yield from section("What stands out, and what to do")
    for finding in found[:_FINDINGS]:
        style = "bad" if finding.severity == "high" else ""
        what = f"! {printable(finding.plugin_id, 30)}  {finding.kind}: {finding.finding}"
        yield from paragraph(what, style, indent=2)
        yield from paragraph(finding.remedy, lead="    -> ")
    yield from more(len(found) - _FINDINGS, "finding")


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


def _processes(rows: Sequence[AggregateMetrics]) -> Iterator[Line]:
    """Yield what ran elsewhere, and was measured there."""
    if rows:
        yield from section("In processes of their own, measured there (exact)")
    for row in rows:
        text = f"{printable(row.plugin_id, 30)}: {of(row.exact_count, 'execution')}"
        if row.average_cpu_time_ns is not None:
            text += f", CPU {duration(round(row.average_cpu_time_ns * row.sampled_count))}"
        if row.peak_rss_bytes is not None:
            text += f", peak {row.peak_rss_bytes / 2**20:.0f} MiB"
        if row.exit_count:
            text += f"; {count(row.exit_count)} ended the process"
            text += f", the last with {printable(row.last_exit_status, 40)}"
        yield from paragraph(text, "bad" if row.exit_count else "", indent=2)


def _hooks(rows: Sequence[HookMetrics]) -> Iterator[Line]:
    steps = [row for row in rows if row.hook in ("load", "unload")]
    if steps:
        yield ()
        longest = [f"{printable(r.plugin_id, 30)}:{r.hook} {short(r.self_time_ns)}" for r in steps]
        most = ", ".join(longest[:_STEPS]) + (", ..." if len(steps) > _STEPS else "")
        spent = duration(sum(row.self_time_ns for row in steps))
        yield from paragraph(f"loading and unloading: {spent}; {most}", indent=2)
    hooks = [row for row in rows if row not in steps]
    if hooks:
        yield from section(f"{'Hooks':<44}{'calls':>9}{'self':>9}{'total':>9}{'max':>9}")
    for row in hooks[:_HOOK_ROWS]:
        name = fitted(f"{printable(row.plugin_id)}:{printable(row.hook)}", 43) + " "
        times = f"{short(row.self_time_ns):>9}{short(row.total_time_ns):>9}"
        yield ((f"{name}{compact(row.call_count):>9}{times}{short(row.max_duration_ns):>9}", ""),)
    yield from more(len(hooks) - _HOOK_ROWS, "row")


def _flames(root: FlameGraphNode, observed_ns: int) -> Iterator[Line]:
    yield from flames(root)
    rest = observed_ns - root.duration_ns
    note = f"outside of plugins: {duration(rest)}, {percent(rest / max(observed_ns, 1))}"
    if rest < 0:
        note = "more than the time observed: side by side in threads and tasks, or given by hand"
    yield ((note, "dim"),)


def _overhead(overhead: Overhead) -> Iterator[Line]:
    share = "" if overhead.share is None else f", {percent(overhead.share)} of the time observed"
    text = f"measuring cost {duration(overhead.total_ns)}{share}:"
    text += f" processing {duration(overhead.processing_ns)}"
    if overhead.recording_ns is not None:
        text += f"; estimated: recording {duration(overhead.recording_ns)}"
    if overhead.reading_ns is not None and overhead.readings:
        text += f", {of(overhead.readings, 'reading')} {duration(overhead.reading_ns)}"
    yield from paragraph(text, indent=2)


def _sampling(report: PerformanceReport, runs: int) -> Iterator[Line]:
    sampled = sum(row.sampled_count for row in report.plugins)
    asked = f"(sampling rate {percent(report.sampling_rate)})"
    what = f"{count(sampled)} of {of(runs, 'execution')}, for CPU and memory {asked}"
    yield from labelled("sampled", what)
