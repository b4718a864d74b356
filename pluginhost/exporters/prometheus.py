"""Prometheus text: metrics by plugin, hook and status, for a scrape or for node_exporter's textfiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from pluginhost.exporters.families import (
    BOUNDS_S,
    MAX_SERIES,
    Family,
    Measured,
    Spread,
    families,
    measured_of,
)
from pluginhost.extras import require
from pluginhost.report import Report

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


def prometheus_text(report: Report, *, max_series: int = MAX_SERIES) -> str:
    """Return the metrics of one report in the text format 0.0.4."""
    return exposition([measured_of(report)], max_series=max_series)[0].decode()


def exposition(
    measured: Sequence[Measured], *, accept: str = "", max_series: int = MAX_SERIES
) -> tuple[bytes, str]:
    """Return metrics, see `families`, and the content type: what `accept` asks for."""
    require("prometheus_client", extra="prometheus")
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(families(measured, max_series=max_series)))
    return encode(registry), content_type


class _Collected:
    """What a registry asks for metrics."""

    def __init__(self, found: Iterable[Family]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        return map(_metric, self._found)


def _metric(family: Family) -> Metric:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
    kind = kinds.get(family.kind, HistogramMetricFamily)
    made: Any = kind(family.name, family.summary, labels=family.labels)
    bounds = [*map(str, BOUNDS_S), "+Inf"]
    for labels, value in family.values.items():
        if isinstance(value, Spread):
            buckets = list(zip(bounds, accumulate(value.counts), strict=True))
            made.add_metric(labels, buckets, value.sum_s)
        else:
            made.add_metric(labels, value)
    found: Metric = made
    return found
