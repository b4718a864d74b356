"""A run of a history as a report, so that whatever reads reports can have it as well."""

from __future__ import annotations

import os

from pluginhost.calltree import EventKind
from pluginhost.costs import FlameGraphNode
from pluginhost.history.cells import Cell
from pluginhost.history.reader import History
from pluginhost.history.records import StoredRun
from pluginhost.report import (
    AggregateMetrics,
    Environment,
    HookMetrics,
    Overhead,
    PerformanceReport,
    PluginInfo,
    PluginState,
    Report,
)


def report_of_run(history: History, run: StoredRun) -> Report:
    """Return the whole report of a run that was saved; of one that was observed, what can be known.

    That is counts, errors, times and histograms; not who called whom, and no memory.
    """
    kept = history.report(run.number)
    if kept is not None:
        return kept
    label = run.label
    cells = history.cells_of_run(run.number)
    executed = {
        plugin: cell
        for (plugin, kind, _), cell in cells.items()
        if kind == EventKind.PLUGIN_EXECUTE and cell.count
    }
    ended_ns = run.ended_timestamp_ns or run.last_timestamp_ns or label.started_timestamp_ns
    observed_ns = max(0, ended_ns - label.started_timestamp_ns)
    return Report(
        name=label.name,
        created_timestamp_ns=ended_ns,
        observed_ns=observed_ns,
        environment=Environment(
            pluginhost=label.pluginhost,
            pluggy=label.pluggy,
            python=label.python,
            platform=label.platform,
            hostname=label.host,
            cpu_count=os.cpu_count() or 1,
            pid=label.pid,
        ),
        plugins=tuple(
            PluginInfo(id=plugin, state=PluginState.LOADED, version=version)
            for plugin, version in history.versions_of_run(run.number).items()
        ),
        performance=PerformanceReport(
            observed_ns=observed_ns,
            sampling_rate=0.0,
            plugins=tuple(_aggregate(plugin, cell, run) for plugin, cell in executed.items()),
            hooks=tuple(
                _hook(plugin, hook, cell)
                for (plugin, kind, hook), cell in cells.items()
                if kind == EventKind.HOOK_CALL and cell.count
            ),
            flame_graph=FlameGraphNode(name="all plugins", duration_ns=0),
            overhead=Overhead(processing_ns=0),
            estimates=("from a history: self time, memory and who called whom are not kept",),
            histograms={plugin: cell.histogram.buckets() for plugin, cell in executed.items()},
        ),
        anomalies=history.anomalies(run.number),
    )


def _aggregate(plugin: str, cell: Cell, run: StoredRun) -> AggregateMetrics:
    p50, p90, p95, p99, p999 = cell.histogram.quantiles_ns((0.5, 0.9, 0.95, 0.99, 0.999))
    last_ns = run.last_timestamp_ns or run.label.started_timestamp_ns
    failed = cell.errors + cell.timeouts + cell.cancelled
    return AggregateMetrics(
        plugin_id=plugin,
        execution_count=cell.count,
        success_count=cell.count - failed,
        failure_count=cell.errors,
        timeout_count=cell.timeouts,
        cancelled_count=cell.cancelled,
        error_rate=cell.error_count / cell.count,
        average_duration_ns=cell.total_ns / cell.count,
        min_duration_ns=cell.min_ns,
        max_duration_ns=cell.max_ns,
        p50_duration_ns=p50,
        p90_duration_ns=p90,
        p95_duration_ns=p95,
        p99_duration_ns=p99,
        p999_duration_ns=p999,
        total_time_ns=cell.total_ns,
        self_time_ns=cell.total_ns,
        concurrent_children=True,
        sampled_count=cell.sampled,
        average_cpu_time_ns=cell.cpu_ns / cell.sampled if cell.sampled else None,
        first_execution_timestamp_ns=run.label.started_timestamp_ns,
        last_execution_timestamp_ns=last_ns,
    )


def _hook(plugin: str, hook: str, cell: Cell) -> HookMetrics:
    return HookMetrics(
        plugin_id=plugin,
        hook=hook,
        call_count=cell.count,
        error_count=cell.error_count,
        total_time_ns=cell.total_ns,
        self_time_ns=cell.total_ns,
        average_duration_ns=cell.total_ns / cell.count,
        max_duration_ns=cell.max_ns,
    )
