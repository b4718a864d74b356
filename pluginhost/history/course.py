"""Series from a history: one metric of a plugin over runs, versions or time, with what is found in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import isfinite

import msgspec

from pluginhost.analytics.change_points import ALPHA, FEWEST_RUNS, MIN_EFFECT, Level, levels_of
from pluginhost.analytics.forecasting import FEWEST, forecast_of
from pluginhost.errors import InvalidValueError, MissingExtraError
from pluginhost.figures import of
from pluginhost.history.cells import DAY, HOUR, MINUTE, Cell
from pluginhost.history.reader import History, RunCell
from pluginhost.history.storable import stored_number
from pluginhost.report import Report
from pluginhost.series import ChangePoint, Forecast, Series, SeriesPoint
from pluginhost.significance import median_interval

SPANS = {"minute": MINUTE, "hour": HOUR, "day": DAY}
_MIN_DIFFERENCE_NS = 1_000.0
_NS = 1_000_000_000
_RECENT_RUNS = 100


class Metric(msgspec.Struct, frozen=True):
    """Something that can be read off what a plugin did; more of it is `worse` or not."""

    name: str
    unit: str
    value: Callable[[RunCell], float | None]
    worse: bool = True
    help: str = ""


def _quantile(share: float) -> Callable[[RunCell], float | None]:
    return lambda found: found.cell.histogram.quantile_ns(share) if found.cell.count else None


def _rate(found: RunCell) -> float | None:
    return found.cell.error_count / found.cell.count if found.cell.count else None


def _mean(found: RunCell) -> float | None:
    return found.cell.total_ns / found.cell.count if found.cell.count else None


def _cpu(found: RunCell) -> float | None:
    return found.cell.cpu_ns / found.cell.sampled if found.cell.sampled else None


def _column(name: str) -> Callable[[RunCell], float | None]:
    return lambda found: found.totals.get(name)


METRICS = {
    metric.name: metric
    for metric in (
        Metric("median", "ns", _quantile(0.5), help="the median of an execution or hook call"),
        Metric("p95", "ns", _quantile(0.95), help="what 95 % of them are under"),
        Metric("p99", "ns", _quantile(0.99), help="what 99 % of them are under"),
        Metric("mean", "ns", _mean, help="their average"),
        Metric("cpu", "ns", _cpu, help="the average CPU time of the sampled executions"),
        Metric("total", "ns", lambda found: found.cell.total_ns, help="all of them together"),
        Metric("count", "", lambda found: found.cell.count, False, "how many there were"),
        Metric("errors", "ratio", _rate, help="the share that failed"),
        Metric("self", "ns", _column("self_ns"), help="of a program: all the plugin took"),
        Metric("imports", "ns", _column("import_ns"), help="of a program: its imports"),
    )
}


def metric_named(name: str) -> Metric:
    """Return the metric of this name."""
    try:
        return METRICS[name]
    except KeyError:
        raise InvalidValueError(
            f"there is no metric {name!r}", remedy=f"there are: {', '.join(METRICS)}"
        ) from None


def over_runs(
    history: History,
    plugin_ids: Sequence[str],
    metric: str = "median",
    *,
    hook: str | None = None,
    name: str | None = None,
    host: str | None = None,
    last: int | None = _RECENT_RUNS,
    min_effect: float = MIN_EFFECT,
    alpha: float = ALPHA,
) -> tuple[Series, ...]:
    """Return a series over the latest runs for each plugin, with change points and forecasts.

    Change points of all plugins are tested together. Without the extra `analytics` there are none,
    and a note says so.
    """
    chosen = metric_named(metric)
    found = {}
    for plugin_id in plugin_ids:
        cells = history.by_run(plugin_id, hook=hook, name=name, host=host)
        found[plugin_id] = cells[-last:] if last is not None else cells
    series = [_series(plugin_id, chosen, cells) for plugin_id, cells in found.items()]
    values = {one.plugin: [p.value for p in _judged(one)] for one in series}
    note = None
    try:
        levels = levels_of(
            {name: [v for v in row if v is not None] for name, row in values.items()},
            min_effect=min_effect,
            alpha=alpha,
            min_difference=_MIN_DIFFERENCE_NS if chosen.unit == "ns" else 0.0,
        )
    except MissingExtraError as error:
        levels, note = {}, f"no change points were looked for: {error}"
    return tuple(_with_findings(one, chosen, levels.get(one.plugin, []), note) for one in series)


def over_versions(
    history: History,
    plugin_id: str,
    metric: str = "median",
    *,
    hook: str | None = None,
    name: str | None = None,
    host: str | None = None,
) -> Series:
    """Return a series with one point for each version of a plugin, in the order they came in."""
    chosen = metric_named(metric)
    by_version: dict[str | None, list[RunCell]] = {}
    for cell in history.by_run(plugin_id, hook=hook, name=name, host=host):
        by_version.setdefault(cell.version, []).append(cell)
    points = []
    for version, cells in by_version.items():
        whole = Cell()
        for one in cells:
            whole.add(one.cell)
        merged = RunCell(cells[-1].run, version, whole, cells[-1].totals)
        point = _point(merged, chosen)
        label = version or "(no version)"
        points.append(msgspec.structs.replace(point, label=label, run=None, run_count=len(cells)))
    return Series(
        plugin=plugin_id, metric=metric, unit=chosen.unit, by="version", points=tuple(points)
    )


def over_time(
    history: History,
    plugin_id: str,
    metric: str = "median",
    *,
    by: str = "day",
    hook: str | None = None,
    name: str | None = None,
    host: str | None = None,
) -> Series:
    """Return a series with one point for each minute, hour or day, over all those runs and hosts."""
    chosen = metric_named(metric)
    if by not in SPANS:
        raise InvalidValueError(f"there is no series by {by!r}", remedy=f"there are: {[*SPANS]}")
    points = []
    chosen_cells = history.by_time(plugin_id, SPANS[by], hook=hook, name=name, host=host)
    latest = history.by_run(plugin_id, hook=hook, name=name, host=host)[-1]
    for start_s, cell in chosen_cells.items():
        merged = RunCell(latest.run, None, cell, {})
        point = _point(merged, chosen)
        points.append(
            SeriesPoint(
                label=_when(start_s * _NS, seconds=by != "day"),
                timestamp_ns=start_s * _NS,
                value=point.value,
                low=point.low,
                high=point.high,
                execution_count=cell.count,
                error_count=cell.error_count,
            )
        )
    return Series(plugin=plugin_id, metric=metric, unit=chosen.unit, by=by, points=tuple(points))


def with_course(report: Report, history: History) -> Report:
    """Return a report with a series of medians (of a program's: of all it took) for each plugin."""
    if report.costs is not None:
        names, metric = [row.name for row in report.costs.plugins], "self"
    else:
        rows = report.performance.plugins if report.performance is not None else ()
        names, metric = [row.plugin_id for row in rows], "median"
    known = set(history.plugin_ids())
    chosen = [name for name in names if name in known][:50]
    series = over_runs(history, chosen, metric, name=report.name)
    return msgspec.structs.replace(report, series=tuple(s for s in series if len(s.points) > 1))


def _series(plugin_id: str, metric: Metric, cells: Sequence[RunCell]) -> Series:
    points = tuple(_point(cell, metric) for cell in cells)
    notes = []
    hosts, names = {p.host for p in points}, {p.name for p in points}
    if len(hosts) > 1:
        notes.append(f"runs of {of(len(hosts), 'host')}: another machine is another level, too")
    if len(names) > 1:
        notes.append(f"runs of {of(len(names), 'program')}: name one to see it alone")
    return Series(
        plugin=plugin_id,
        metric=metric.name,
        unit=metric.unit,
        points=points,
        left_out=sum(p.value is None for p in points),
        notes=tuple(notes),
    )


def _judged(series: Series) -> list[SeriesPoint]:
    return [p for p in series.points if p.value is not None and isfinite(p.value) and p.value >= 0]


def _point(found: RunCell, metric: Metric) -> SeriesPoint:
    value = stored_number(metric.value(found))
    low = high = None
    if metric.name == "median" and value is not None:
        _, low, high = median_interval(found.cell.histogram.points())
    label = found.run.label
    return SeriesPoint(
        label=str(found.run.number),
        timestamp_ns=label.started_timestamp_ns,
        value=value,
        low=low,
        high=high,
        execution_count=found.cell.count,
        error_count=found.cell.error_count,
        run=label.id,
        name=label.name,
        host=label.host,
        version=found.version,
        revision=label.revision,
        branch=label.branch,
    )


def _with_findings(
    series: Series, metric: Metric, levels: Sequence[Level], note: str | None
) -> Series:
    points = _judged(series)
    changes = tuple(_change(series, metric, points, level) for level in levels)
    notes = (*series.notes, note) if note is not None else series.notes
    if len(points) < FEWEST_RUNS and note is None:
        notes = (*notes, f"with fewer than {FEWEST_RUNS} runs no change points are looked for")
    since = changes[-1].position if changes else 0
    positions = {id(point): n for n, point in enumerate(series.points)}
    tail = [p for p in points if positions[id(p)] >= since]
    guess = forecast_of([p.value for p in tail if p.value is not None])
    forecast = None
    if guess is not None:
        trend = guess.slope != 0
        forecast = Forecast(
            plugin=series.plugin,
            metric=series.metric,
            method="Theil-Sen line" if trend else "median",
            basis=guess.basis,
            since=tail[-guess.basis].label,
            expected=guess.expected,
            low=max(0.0, guess.low),
            high=guess.high,
            confidence=guess.confidence,
            slope=guess.slope,
            rising=guess.slope > 0 if trend else None,
        )
    elif points:
        notes = (*notes, f"with fewer than {FEWEST} runs at one level nothing is forecast")
    return msgspec.structs.replace(series, change_points=changes, forecast=forecast, notes=notes)


def _change(
    series: Series, metric: Metric, points: Sequence[SeriesPoint], level: Level
) -> ChangePoint:
    point, before = points[level.position], points[level.position - 1]
    return ChangePoint(
        plugin=series.plugin,
        metric=series.metric,
        position=next(n for n, p in enumerate(series.points) if p is point),
        label=point.label,
        timestamp_ns=point.timestamp_ns,
        before=level.before,
        after=level.after,
        ratio=level.after / level.before if level.before else None,
        p_value=level.p_value,
        unit=series.unit,
        worse=metric.worse and level.after > level.before,
        run=point.run,
        version_before=before.version,
        version_after=point.version,
        revision=point.revision,
    )


def _when(timestamp_ns: int, *, seconds: bool) -> str:
    try:
        moment = datetime.fromtimestamp(timestamp_ns / _NS, UTC)
    except (OverflowError, ValueError, OSError):
        return "at no known time"
    return f"{moment:%Y-%m-%d %H:%M}" if seconds else f"{moment:%Y-%m-%d}"
