"""Series over runs, and what was found in them, as text: a plot, a table, findings in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from pluginhost.figures import compact, count, of, percent, short
from pluginhost.printable import fitted, printable
from pluginhost.rendering.lines import Line, paragraph, section
from pluginhost.series import Anomaly, AnomalyKind, ChangePoint, Forecast, Series, SeriesPoint

HEIGHT = 8
_MARGIN = 10
_COLUMNS = 66
_TABLE_ROWS = 12


def series_lines(series: Series, *, rows: int = _TABLE_ROWS) -> Iterator[Line]:
    """Yield what was found, a plot, the latest points as a table, the forecast, and notes."""
    what = f"{printable(series.plugin, 40)}: {series.metric} by {series.by}"
    yield ((f"{what}, {of(len(series.points), 'point')}", "title"),)
    for change in series.change_points:
        yield from change_lines(change)
    if series.forecast is not None:
        yield from paragraph(forecast_sentence(series.forecast, series.unit), lead="  ")
    yield from _plot(series)
    yield from _table(series, rows)
    yield ()
    for note in series.notes:
        yield from paragraph(note, lead="note  ")
    if series.left_out:
        yield from paragraph(
            f"{of(series.left_out, 'point')} without a value: not measured there", lead="note  "
        )
    if series.change_points or series.forecast:
        text = "runs are taken as independent; what else changed there is not known"
        yield from paragraph(text, "dim", lead="limit ")


def course_lines(series: Sequence[Series]) -> Iterator[Line]:
    """Yield a section on what changed over runs; nothing where nothing did."""
    changes = [change for one in series for change in one.change_points]
    if not changes:
        return
    yield from section("Over the runs in the history")
    for change in sorted(changes, key=lambda c: (not c.worse, -abs((c.ratio or 2) - 1))):
        yield from change_lines(change)


def change_lines(change: ChangePoint) -> Iterator[Line]:
    """Yield one change point as a sentence."""
    style = "bad" if change.worse else "good"
    yield from paragraph(change_sentence(change), style, lead="! ")


def change_sentence(change: ChangePoint) -> str:
    """Return plugin, metric, when, by how much, how sure, and which version changed there."""
    before, after = (in_unit(value, change.unit) for value in (change.before, change.after))
    by = "" if change.ratio is None else f" ({_by(change.ratio)})"
    if change.version_changed:
        cause = f"its version went from {_or(change.version_before)} to {_or(change.version_after)}"
    elif change.version_after is not None:
        cause = f"its version stayed {change.version_after}"
    else:
        cause = "its version is not known"
    at = f" at {change.revision[:10]}" if change.revision else ""
    p_value = "p < 0.001" if change.p_value < 0.001 else f"p = {change.p_value:.3f}"
    return (
        f"{printable(change.plugin, 40)} {change.metric} {before} -> {after}{by} from run"
        f" {change.label} on, {_date(change.timestamp_ns)}{at} ({p_value}); {cause}"
    )


def forecast_sentence(forecast: Forecast, unit: str) -> str:
    """Return what is expected next, and how that is known."""
    low, high = in_unit(forecast.low, unit), in_unit(forecast.high, unit)
    way = {True: "rising", False: "falling", None: "level"}[forecast.rising]
    return (
        f"forecast (an estimate): next {in_unit(forecast.expected, unit)}, between {low} and {high}"
        f" with {100 * forecast.confidence:.0f} % confidence; {way}, by the {forecast.method} of"
        f" {of(forecast.basis, 'point')} since {forecast.since}"
    )


def anomaly_lines(anomalies: Sequence[Anomaly], *, most: int = 10) -> Iterator[Line]:
    """Yield a section on the anomalies of the live stream, the largest first; nothing without any."""
    if not anomalies:
        return
    yield from section("Not as it was before, in this run")
    for found in sorted(anomalies, key=lambda a: -a.score)[:most]:
        yield from paragraph(anomaly_sentence(found), "bad", lead="! ")
    if len(anomalies) > most:
        yield ((f"... and {count(len(anomalies) - most)} more, all in the JSON", "dim"),)


def anomaly_sentence(found: Anomaly) -> str:
    """Return an anomaly as a sentence."""
    name = printable(found.plugin, 40)
    if found.hook != "execute":
        name += f":{printable(found.hook, 40)}"
    when = f"at {_clock(found.first_timestamp_ns)} UTC"
    sure = f"{found.score:.0f} robust deviations"
    if found.kind is AnomalyKind.FAILING:
        rates = f"{percent(found.seen)} instead of {percent(found.usual)}"
        return f"{name} fails more often {when}: {rates} ({sure})"
    times = f"{short(found.seen)} instead of {short(found.usual)}"
    if found.kind is AnomalyKind.SHIFTED:
        return f"{name} has another usual time from {_clock(found.first_timestamp_ns)} UTC: {times} ({sure})"
    return f"{name} was slow {of(found.count, 'time')} {when}: up to {times} ({sure})"


def in_unit(value: float | None, unit: str) -> str:
    """Return a value as people read it."""
    if value is None:
        return "-"
    if unit == "ns":
        return short(value)
    return percent(value) if unit == "ratio" else compact(round(value))


def _plot(series: Series) -> Iterator[Line]:
    """Yield the latest points, `o`, over a scale that need not begin at 0; `x` begins a new level."""
    first = max(0, len(series.points) - _COLUMNS)
    shown = series.points[first:]
    values = [p.value for p in shown if p.value is not None]
    if len(values) < 2:
        return
    low, high = min(values), max(values)
    if low == high:
        low, high = low * 0.9, high * 1.1 or 1.0
    starts = {change.position - first for change in series.change_points}
    grid = [[" "] * len(shown) for _ in range(HEIGHT)]
    for column, point in enumerate(shown):
        if point.value is not None:
            row = round((HEIGHT - 1) * (high - point.value) / (high - low))
            grid[row][column] = "x" if column in starts else "o"
    yield ()
    for number, cells in enumerate(grid):
        scale = {0: high, HEIGHT - 1: low}.get(number)
        label = "" if scale is None else in_unit(scale, series.unit)
        yield ((f"{label:>{_MARGIN - 2}} |", "dim"), ("".join(cells), "bar"))
    ends = fitted(shown[0].label, 30).rstrip(), fitted(shown[-1].label, 30).rstrip()
    gap = max(1, len(shown) - len(ends[0]) - len(ends[1]))
    yield ((f"{series.by:>{_MARGIN - 2}}  {ends[0]}{' ' * gap}{ends[1]}", "dim"),)


def _table(series: Series, rows: int) -> Iterator[Line]:
    if rows <= 0:
        return
    yield ()
    heading = f"{series.by:<18}{series.metric:>9}{'95 % interval':>18}{'count':>8}{'failed':>7}"
    yield ((f"{heading}  version   when", "head"),)
    starts = {change.position for change in series.change_points}
    first = max(0, len(series.points) - rows)
    for position in range(first, len(series.points)):
        yield _row(series.points[position], series.unit, changed=position in starts)
    if first:
        yield ((f"... and {of(first, 'earlier point')}, all in the JSON", "dim"),)


def _row(point: SeriesPoint, unit: str, *, changed: bool) -> Line:
    interval = ""
    if point.low is not None and point.high is not None:
        interval = f"{in_unit(point.low, unit)} .. {in_unit(point.high, unit)}"
    name = f"{point.label} {point.name}" if point.run is not None else point.label
    cells = f"{in_unit(point.value, unit):>9}{interval:>18}{compact(point.execution_count):>8}"
    version = fitted(point.version or "-", 9)
    return (
        (fitted(name, 17) + " ", "bad" if changed else ""),
        (f"{cells}{compact(point.error_count):>7}  {version} {_date(point.timestamp_ns)[2:]}", ""),
    )


def _by(ratio: float) -> str:
    return f"x{ratio:,.0f}" if ratio >= 10 else f"{100 * (ratio - 1):+.0f} %"


def _or(version: str | None) -> str:
    return "unknown" if version is None else printable(version, 40)


def _date(timestamp_ns: int) -> str:
    return _moment(timestamp_ns, "%Y-%m-%d")


def _clock(timestamp_ns: int) -> str:
    return _moment(timestamp_ns, "%H:%M:%S")


def _moment(timestamp_ns: int, form: str) -> str:
    try:
        return datetime.fromtimestamp(timestamp_ns / 1e9, UTC).strftime(form)
    except (OverflowError, ValueError, OSError):  # whatever a clock or a file says
        return "no known time"
