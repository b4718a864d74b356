"""Flame graphs, trend lines and histograms as the page draws them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pluginhost.costs import FlameGraphNode
from pluginhost.exporters.html.document import Flame, Histogram, Trend
from pluginhost.exporters.view import walked
from pluginhost.histogram import DurationHistogram
from pluginhost.inside import InsideFrame, InsideProfile, Kind
from pluginhost.report import ExecutionMetrics, Report
from pluginhost.series import ChangePoint, Series

_SHARES = (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99))
_MOST_HISTOGRAMS = 200


def flame(root: FlameGraphNode, title: str, note: str = "") -> Flame:
    """Return a flame graph, whatever its depth."""
    nodes = list(walked(root))
    texts: dict[str, int] = {}
    return Flame(
        title=title,
        names=tuple(texts.setdefault(node.name, len(texts)) for _, _, node in nodes),
        texts=tuple(texts),
        parents=tuple(above for _, above, _ in nodes),
        values=tuple(node.duration_ns for _, _, node in nodes),
        own=tuple(node.self_ns for _, _, node in nodes),
        calls=tuple(node.call_count for _, _, node in nodes),
        sampled=tuple(number for number, _, node in nodes if node.sampled),
        note=note,
    )


def inside_flame(profile: InsideProfile) -> Flame:
    """Return a sampled profile of one plugin as a flame graph of its own."""
    root = _node_of_all(profile)
    what = "time" if profile.kind is Kind.TIME else "memory at the peak"
    note = f"sampled by {profile.profiler}: an estimate"
    made = flame(root, f"Inside {profile.plugin_id}: {what}", note)
    return Flame(
        title=made.title,
        texts=made.texts,
        names=made.names,
        parents=made.parents,
        values=made.values,
        own=made.own,
        calls=made.calls,
        sampled=made.sampled,
        note=note,
        kind="ns" if profile.kind is Kind.TIME else "bytes",
    )


def _node_of_all(profile: InsideProfile) -> FlameGraphNode:
    children = tuple(map(_node, profile.frames))
    below = sum(child.duration_ns for child in children)
    return FlameGraphNode(
        name=profile.plugin_id,
        duration_ns=max(profile.value, below),
        self_ns=max(profile.value - below, 0),
        children=children,
    )


def _node(frame: InsideFrame) -> FlameGraphNode:
    return FlameGraphNode(
        name=frame.label,
        duration_ns=frame.value,
        self_ns=frame.self_value,
        call_count=frame.samples,
        children=tuple(map(_node, frame.children)),
        sampled=True,
    )


def histograms(named: Iterable[tuple[str, Iterable[tuple[int, int]]]]) -> tuple[Histogram, ...]:
    """Return the spreads that were kept, those with most values first."""
    found = sorted(_histograms(named), key=lambda one: -sum(count for _, count in one.points))
    return tuple(found[:_MOST_HISTOGRAMS])


def _histograms(
    named: Iterable[tuple[str, Iterable[tuple[int, int]]]],
) -> Iterator[Histogram]:
    for name, buckets in named:
        known = DurationHistogram((b, n) for b, n in buckets if n > 0 and 0 <= b < 0x7F80)
        if len(known):
            quantiles = known.quantiles_ns([share for _, share in _SHARES])
            yield Histogram(
                name=name,
                points=known.points(),
                quantiles=tuple((n, v) for (n, _), v in zip(_SHARES, quantiles, strict=True)),
            )


def trends(report: Report) -> tuple[Trend, ...]:
    """Return the lines over earlier runs, and over the latest executions of each plugin."""
    found = [_over_runs(series) for series in report.series if series.points]
    for plugin, executions in _recent(report):
        if len(executions) > 1:
            points = tuple(
                (f"{i - len(executions) + 1}", float(each.duration_ns), None, None)
                for i, each in enumerate(executions)
            )
            marks = tuple(
                (i, str(each.status)) for i, each in enumerate(executions) if each.status.is_error
            )
            title = f"{plugin}: the last {len(executions)} executions"
            found.append(Trend(title=title, kind="ns", points=points, marks=marks))
    return tuple(found)


def _recent(report: Report) -> Iterator[tuple[str, tuple[ExecutionMetrics, ...]]]:
    """Yield the latest executions of each plugin, the costliest first."""
    if report.performance is not None:
        recent = report.performance.recent
        order = {row.plugin_id: n for n, row in enumerate(report.performance.plugins)}
        yield from sorted(recent.items(), key=lambda item: order.get(item[0], len(order)))


def _over_runs(series: Series) -> Trend:
    marks = [(each.position, _said(each)) for each in series.change_points]
    forecast = series.forecast
    return Trend(
        title=f"{series.plugin}: {series.metric} over {series.by}s",
        kind=series.unit,
        points=tuple((p.label, p.value, p.low, p.high) for p in series.points),
        marks=tuple(marks),
        forecast=(forecast.expected, forecast.low, forecast.high) if forecast else None,
        note="; ".join(series.notes),
    )


def _said(change: ChangePoint) -> str:
    text = "another level" if change.ratio is None else f"x {change.ratio:.2f}"
    if not change.version_changed:
        return text
    return f"{text}, version {change.version_before} to {change.version_after}"
