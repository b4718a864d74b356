"""Several runs of one thing as if they were one: what a baseline of more than one run is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import TypeVar

from msgspec.structs import replace

from pluginhost.comparison.totals import cost_changes
from pluginhost.costs import HookCost, PluginCost
from pluginhost.errors import InvalidValueError
from pluginhost.histogram import DurationHistogram
from pluginhost.report import AggregateMetrics, Report

T = TypeVar("T")


def pooled(reports: Sequence[Report]) -> Report:
    """Return one report of several runs, which names, dates and environment are those of the last.

    Histograms and counts are added up. What a plugin of a program took in all, a sum of one run,
    becomes the median over the runs. Other figures are those of the last run. `ReportFileError` is
    raised for runs of two kinds.
    """
    if not reports:
        raise InvalidValueError("there is no run to compare with", remedy="give at least one")
    last = reports[-1]
    if len(reports) == 1:
        return last
    for other in reports:
        cost_changes(other, last)  # raises for two kinds
    if last.costs is not None:
        costs = [report.costs for report in reports if report.costs is not None]
        hooks = _grouped((h for c in costs for h in c.hooks), lambda h: (h.plugin, h.hook))
        plugins = _grouped((p for c in costs for p in c.plugins), lambda p: p.name)
        merged = replace(
            last.costs, hooks=tuple(map(_hook, hooks)), plugins=tuple(map(_plugin, plugins))
        )
        return replace(last, costs=merged)
    performances = [report.performance for report in reports if report.performance is not None]
    if not performances:
        return last
    rows = _grouped((row for p in performances for row in p.plugins), lambda row: row.plugin_id)
    named = _grouped(
        (pair for p in performances for pair in p.histograms.items()), lambda pair: pair[0]
    )
    performance = replace(
        performances[-1],
        plugins=tuple(map(_counts, rows)),
        histograms={pairs[0][0]: _merged(buckets for _, buckets in pairs) for pairs in named},
    )
    return replace(last, performance=performance)


def _grouped(items: Iterable[T], key: Callable[[T], object]) -> list[list[T]]:
    found: dict[object, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.values())


def _merged(histograms: Iterable[Iterable[tuple[int, int]]]) -> tuple[tuple[int, int], ...]:
    return DurationHistogram.of(histograms).buckets()


def _hook(rows: Sequence[HookCost]) -> HookCost:
    return replace(
        rows[-1],
        calls=sum(row.calls for row in rows),
        errors=sum(row.errors for row in rows),
        histogram=_merged(row.histogram for row in rows),
    )


def _plugin(rows: Sequence[PluginCost]) -> PluginCost:
    return replace(
        rows[-1],
        self_ns=round(median(row.self_ns for row in rows)),
        import_ns=round(median(row.import_ns for row in rows)),
        hooks_self_ns=round(median(row.hooks_self_ns for row in rows)),
    )


def _counts(rows: Sequence[AggregateMetrics]) -> AggregateMetrics:
    return replace(
        rows[-1],
        execution_count=sum(row.execution_count for row in rows),
        success_count=sum(row.success_count for row in rows),
        failure_count=sum(row.failure_count for row in rows),
        timeout_count=sum(row.timeout_count for row in rows),
        cancelled_count=sum(row.cancelled_count for row in rows),
    )
