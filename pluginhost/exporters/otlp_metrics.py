"""A report as metrics of OpenTelemetry: the families of Prometheus, under names as OpenTelemetry has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pluginhost.exporters.families import BOUNDS_S, Family, Spread, families, label_of, measured_of
from pluginhost.report import Report

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import (
        HistogramDataPoint,
        Metric,
        MetricsData,
        NumberDataPoint,
    )
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

_UNITS = {"seconds": "s"}


def metrics_data(report: Report) -> MetricsData:
    """Return the metrics of a report: sums since the observation began (cumulative)."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics

    end_ns = report.created_timestamp_ns
    times = (max(0, end_ns - report.observed_ns), max(0, end_ns))
    metrics = [_metric(family, times) for family in families([measured_of(report)])]
    scope = ScopeMetrics(
        scope=scope_of(report.environment.pluginhost), metrics=metrics, schema_url=""
    )
    resource = ResourceMetrics(resource=resource_of(report), scope_metrics=[scope], schema_url="")
    return MetricsData(resource_metrics=[resource])


def resource_of(report: Report) -> Resource:
    """Return what a report is of: a process, named for its program, on a host."""
    where = report.environment
    return resource(report.name, where.hostname, where.pid, where.python)


def resource(name: str, hostname: str, pid: int, python: str) -> Resource:
    """Return a process as OpenTelemetry describes it."""
    from opentelemetry.sdk.resources import Resource

    return Resource(
        {
            "service.name": label_of(name) or "pluginhost",
            "service.instance.id": f"{label_of(hostname)}-{pid}",
            "host.name": label_of(hostname),
            "process.pid": pid,
            "process.runtime.version": label_of(python),
        }
    )


def scope_of(version: str) -> InstrumentationScope:
    """Return who measured: this version of pluginhost."""
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    return InstrumentationScope("pluginhost", label_of(version))


def _metric(family: Family, times: tuple[int, int]) -> Metric:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Gauge,
        Histogram,
        Metric,
        Sum,
    )

    cumulative = AggregationTemporality.CUMULATIVE
    data: Gauge | Histogram | Sum
    if family.kind == "histogram":
        data = Histogram(data_points=[*_spreads(family, times)], aggregation_temporality=cumulative)
    elif family.kind == "counter":
        points = [*_numbers(family, times)]
        data = Sum(data_points=points, aggregation_temporality=cumulative, is_monotonic=True)
    else:
        data = Gauge(data_points=[*_numbers(family, times)])
    name = family.name.removesuffix(f"_{family.unit}").replace("pluginhost_", "pluginhost.", 1)
    return Metric(
        name=name, description=family.summary, unit=_UNITS.get(family.unit, "1"), data=data
    )


def _numbers(family: Family, times: tuple[int, int]) -> Iterator[NumberDataPoint]:
    from opentelemetry.sdk.metrics.export import NumberDataPoint

    for labels, value in family.values.items():
        assert not isinstance(value, Spread)
        yield NumberDataPoint(
            attributes=dict(zip(family.labels, labels, strict=True)),
            start_time_unix_nano=times[0],
            time_unix_nano=times[1],
            value=value,
        )


def _spreads(family: Family, times: tuple[int, int]) -> Iterator[HistogramDataPoint]:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint

    for labels, value in family.values.items():
        assert isinstance(value, Spread)
        filled = [place for place, count in enumerate(value.counts) if count]
        edges = (0.0, *BOUNDS_S, BOUNDS_S[-1])
        yield HistogramDataPoint(
            attributes=dict(zip(family.labels, labels, strict=True)),
            start_time_unix_nano=times[0],
            time_unix_nano=times[1],
            count=sum(value.counts),
            sum=value.sum_s,
            bucket_counts=value.counts,
            explicit_bounds=BOUNDS_S,
            min=edges[filled[0]] if filled else 0.0,
            max=edges[filled[-1] + 1] if filled else 0.0,
        )
