"""Fixtures of the unit tests: reports made by hand, and outputs compared with kept ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pluginhost.costs import FlameGraphNode
from pluginhost.histogram import DurationHistogram
from pluginhost.report import AggregateMetrics, Environment, Overhead, PerformanceReport, Report

CREATED_NS = 1_767_225_600_000_000_000  # 2026-01-01 00:00 UTC


@pytest.fixture(scope="session")
def report_of() -> Callable[..., Report]:
    """Return `make(durations_ns, errors={}, environment={}, ...)`, which makes a whole `Report`.

    `durations_ns` maps plugin ids to the durations of their executions, `errors` to how many of
    them failed; other keywords become fields of the report.
    """
    return _report_of


def _report_of(
    durations_ns: Mapping[str, Sequence[int]],
    *,
    errors: Mapping[str, int] | None = None,
    environment: Mapping[str, Any] | None = None,
    sampling_rate: float = 0.1,
    **fields: Any,
) -> Report:
    errors = errors or {}
    rows = [_row(i, durations_ns[i], errors.get(i, 0)) for i in durations_ns]
    total_ns = sum(row.total_time_ns for row in rows)
    nodes = tuple(
        FlameGraphNode(
            name=row.plugin_id,
            duration_ns=row.total_time_ns,
            self_ns=row.total_time_ns,
            call_count=row.execution_count,
        )
        for row in rows
    )
    performance = PerformanceReport(
        observed_ns=2 * total_ns,
        sampling_rate=sampling_rate,
        plugins=tuple(rows),
        flame_graph=FlameGraphNode(name="all plugins", duration_ns=total_ns, children=nodes),
        overhead=Overhead(processing_ns=1_000_000, share=0.001),
        histograms={i: _histogram(durations_ns[i]).buckets() for i in durations_ns},
    )
    known = {
        "name": "plugins",
        "created_timestamp_ns": CREATED_NS,
        "observed_ns": 2 * total_ns,
        "environment": Environment(**(_ENVIRONMENT | dict(environment or {}))),
        "performance": performance,
    }
    return Report(**(known | fields))


_ENVIRONMENT = {
    "pluginhost": "0.1.0",
    "pluggy": "1.6.0",
    "python": "3.12.1",
    "platform": "Linux-6.1",
    "hostname": "tower",
    "cpu_count": 4,
    "pid": 100,
}


def _histogram(durations_ns: Sequence[int]) -> DurationHistogram:
    histogram = DurationHistogram()
    histogram.add_all(durations_ns)
    return histogram


def _row(plugin_id: str, durations_ns: Sequence[int], errors: int) -> AggregateMetrics:
    n = len(durations_ns)
    p50, p90, p95, p99, p999 = _histogram(durations_ns).quantiles_ns((0.5, 0.9, 0.95, 0.99, 0.999))
    return AggregateMetrics(
        plugin_id=plugin_id,
        execution_count=n,
        success_count=n - errors,
        failure_count=errors,
        timeout_count=0,
        cancelled_count=0,
        error_rate=errors / n,
        average_duration_ns=sum(durations_ns) / n,
        min_duration_ns=min(durations_ns),
        max_duration_ns=max(durations_ns),
        p50_duration_ns=p50,
        p90_duration_ns=p90,
        p95_duration_ns=p95,
        p99_duration_ns=p99,
        p999_duration_ns=p999,
        total_time_ns=sum(durations_ns),
        self_time_ns=sum(durations_ns),
        first_execution_timestamp_ns=CREATED_NS,
        last_execution_timestamp_ns=CREATED_NS,
    )


@pytest.fixture
def matches_snapshot(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Return `check(name, text)`: the text is what `snapshots/NAME` beside the test holds.

    With UPDATE_SNAPSHOTS=1 in the environment the file is written instead; read the difference
    before you commit it.
    """

    def check(name: str, text: str) -> None:
        path = Path(request.path).parent / "snapshots" / name
        if os.environ.get("UPDATE_SNAPSHOTS") == "1":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        kept = path.read_text(encoding="utf-8")
        assert text == kept, f"if that is meant, run again with UPDATE_SNAPSHOTS=1: {path.name}"

    return check
