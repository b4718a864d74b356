"""One side of a comparison: what a saved run knows of each plugin's durations and errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

import msgspec

from pluginhost.comparison.records import Run, Timing
from pluginhost.comparison.suites import suite_rows
from pluginhost.errors import ReportFileError
from pluginhost.histogram import RELATIVE_ERROR, DurationHistogram
from pluginhost.report import PluginState, Report
from pluginhost.significance import median_interval

_FINITE_BUCKETS = 0x7F80  # from here on, a bfloat16 is infinite or not a number
_MAX_COUNT = 2**53  # what a float can count


class Side(msgspec.Struct, frozen=True):
    """One plugin in one run: its durations in ns with their counts, and what they come to."""

    points: tuple[tuple[float, int], ...]
    timing: Timing

    @classmethod
    def of(cls, points: tuple[tuple[float, int], ...], errors: int) -> Self:
        """Return the side with these durations and so many errors among them."""
        executions = sum(count for _, count in points)
        errors = min(max(0, errors), executions)  # a file may have been edited
        middle, low, high = median_interval(points)
        timing = Timing(
            execution_count=executions,
            error_count=errors,
            error_rate=errors / executions,
            median_ns=middle,
            low_ns=low * (1 - RELATIVE_ERROR),
            high_ns=high * (1 + RELATIVE_ERROR),
        )
        return cls(points, timing)

    @property
    def outcomes(self) -> tuple[tuple[float, int], ...]:
        """Successes and errors as points at 0 and 1."""
        errors = self.timing.error_count
        return ((0.0, self.timing.execution_count - errors), (1.0, errors))

    def scaled(self, factor: float) -> Self:
        """Return the side as if every execution had taken `factor` times as long."""
        points = tuple((value * factor, count) for value, count in self.points)
        return self.of(points, self.timing.error_count)


def sides_of(report: Report) -> dict[str, Side]:
    """Return the sides of all plugins that were executed in a run, or of all hooks of a program's.

    Raises `ReportFileError` for a report without durations, or with some that cannot be.
    """
    if report.costs is not None:
        hooks = [(f"{h.plugin}:{h.hook}", h.histogram, h.errors) for h in report.costs.hooks]
        hooks += [(row.name, tuple(row.histogram), row.errors) for row in suite_rows(report.suite)]
        return {
            name: side
            for name, histogram, errors in hooks
            if (side := _side(name, histogram, errors)) is not None
        }
    if report.performance is None:
        raise ReportFileError(
            f"the run {report.name!r} has no durations", remedy="save it with a profiler"
        )
    errors = {r.plugin_id: r.failure_count + r.timeout_count for r in report.performance.plugins}
    return {
        plugin_id: side
        for plugin_id, buckets in report.performance.histograms.items()
        if (side := _side(plugin_id, buckets, errors.get(plugin_id, 0))) is not None
    }


def _side(plugin_id: str, buckets: Iterable[tuple[int, int]], errors: int) -> Side | None:
    """Return the side with the durations of a histogram, None if it has none."""
    buckets = tuple(buckets)
    if not all(0 <= b < _FINITE_BUCKETS and 0 < n < _MAX_COUNT for b, n in buckets):
        raise ReportFileError(
            "its histogram is not valid", plugin_id=plugin_id, remedy="save the run again"
        )
    points = DurationHistogram(buckets).points()
    return Side.of(points, errors) if points else None


def run_of(report: Report, sides: Mapping[str, Side]) -> Run:
    """Return what a run is known by."""
    return Run(
        name=report.name,
        created_timestamp_ns=report.created_timestamp_ns,
        plugin_count=len(sides),
        execution_count=sum(side.timing.execution_count for side in sides.values()),
    )


def loading_failures(report: Report) -> dict[str, str]:
    """Return the reasons of the plugins that could not be loaded: all that claim the id are broken."""
    broken = (PluginState.FAILED, PluginState.SKIPPED)
    healthy = {info.id for info in report.plugins if info.state not in broken}
    return {
        info.id: info.error or "for a reason that was not kept"
        for info in report.plugins
        if info.state in broken and info.id not in healthy
    }
