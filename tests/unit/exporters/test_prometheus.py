"""Metrics for Prometheus: what its own parser reads is what the report says."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from pluginhost.errors import InvalidValueError
from pluginhost.exporters import export
from pluginhost.exporters.families import (
    BOUNDS_S,
    Measured,
    Spread,
    families,
    label_of,
    measured_of,
)
from pluginhost.exporters.prometheus import exposition, prometheus_text
from pluginhost.exporters.view import Row, view_of
from pluginhost.histogram import DurationHistogram
from pluginhost.report import Report
from tests.unit.exporters.hostile_reports import REPORTS

Make = Callable[..., Report]


def samples_of(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Return values by name and by the values of plugin, hook, status and le, as far as there are."""
    found: defaultdict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            names = ("run", "plugin", "hook", "status", "le")
            key = tuple(sample.labels[name] for name in names if name in sample.labels)
            assert key not in found[sample.name], "one series twice"
            found[sample.name][key] = sample.value
    return found


@given(REPORTS)
def test_what_prometheus_reads_is_what_the_report_says(report: Report) -> None:
    """Calls and self times by plugin and hook, whatever these are called."""
    text = str(export("prometheus", report))
    found = samples_of(text)
    calls: defaultdict[tuple[str, ...], int] = defaultdict(int)
    self_s: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for row in view_of(report).rows:
        key = (label_of(row.plugin), label_of(row.hook))
        self_s[key] += row.self_ns / 1e9
        for status, count in row.statuses:
            calls[*key, status] += count
    assert found["pluginhost_calls_total"] == calls
    assert found["pluginhost_self_time_seconds_total"] == pytest.approx(dict(self_s))


@given(REPORTS)
def test_nothing_raw_is_in_the_text(report: Report) -> None:
    """No control character, nothing that turns text around, and it can be encoded."""
    text = str(export("prometheus", report))
    text.encode()
    assert not [c for c in text if c != "\n" and (c < " " or "\x7f" <= c < "\xa0")]
    assert "\u202e" not in text


def test_there_is_a_histogram_of_durations(report_of: Make) -> None:
    """Its buckets hold the durations at most their bounds, its count is that of the calls."""
    report = report_of({"slow": [20_000, 200_000, 200_000_000_000], "quick": [2_000]})
    found = samples_of(str(export("prometheus", report)))
    buckets = found["pluginhost_call_duration_seconds_bucket"]
    values = [buckets["slow", "execute", str(bound)] for bound in BOUNDS_S]
    assert values == [0, 1, 1, *[2] * 10]
    assert buckets["slow", "execute", "+Inf"] == 3
    assert found["pluginhost_call_duration_seconds_count"]["slow", "execute"] == 3
    total_s = found["pluginhost_call_duration_seconds_sum"]["slow", "execute"]
    assert total_s == pytest.approx(200.00022, rel=0.004)


def test_failures_have_their_status(report_of: Make) -> None:
    """Success and error are two series."""
    report = report_of({"a": [1] * 5}, errors={"a": 2})
    found = samples_of(str(export("prometheus", report)))
    assert found["pluginhost_calls_total"] == {
        ("a", "execute", "success"): 3,
        ("a", "execute", "error"): 2,
    }


def _series(text: str) -> int:
    return sum(not line.startswith("#") for line in text.splitlines())


@pytest.mark.parametrize("limit", [100, 1_000])
def test_series_are_capped_and_add_up_all_the_same(report_of: Make, limit: int) -> None:
    """However many plugins there are: the costliest are named, the others are `other`."""
    report = report_of({f"plugin{i}": [1_000 * (1 + i), 7_000] for i in range(5_000)})
    text = prometheus_text(report, max_series=limit)
    assert limit / 2 < _series(text) <= limit
    found = samples_of(text)
    assert sum(found["pluginhost_calls_total"].values()) == 10_000
    assert sum(found["pluginhost_call_duration_seconds_count"].values()) == 10_000
    expected_s = sum(row.self_ns for row in view_of(report).rows) / 1e9
    assert sum(found["pluginhost_self_time_seconds_total"].values()) == pytest.approx(expected_s)
    assert ("plugin4999", "execute") in found["pluginhost_self_time_seconds_total"]
    assert ("plugin0", "execute") not in found["pluginhost_self_time_seconds_total"]
    assert ("other", "other") in found["pluginhost_self_time_seconds_total"]


@given(
    st.integers(100, 3_000),
    st.integers(0, 60),
    st.integers(0, 5),
    st.booleans(),
)
def test_the_cap_holds_for_any_number_of_runs(
    limit: int, runs: int, plugins: int, self_times: bool
) -> None:
    """The costliest runs keep their names, all others are `other`, and calls add up."""
    rows = [
        Row(
            plugin=f"plugin{number}",
            hook="execute",
            kind="execution",
            statuses=(("success", 3), ("error", 2), ("timeout", 1), ("cancelled", 1)),
            total_ns=1_000,
            self_ns=1_000,
            cpu_ns=10,
            histogram=((1, 7),),
        )
        for number in range(plugins)
    ]
    measured = [
        Measured(
            created_timestamp_ns=1,
            whole_ns=2,
            rows=rows * (1 + number),
            labels={"run": f"run{number}"},
            self_times=self_times,
            run_count=1,
            lost_count=1,
        )
        for number in range(runs)
    ]
    content, _ = exposition(measured, max_series=limit)
    text = content.decode()
    assert _series(text) <= limit
    found = samples_of(text)
    assert sum(found["pluginhost_runs"].values()) == runs
    assert sum(found["pluginhost_lost_total"].values()) == runs
    total = 7 * plugins * runs * (runs + 1) / 2
    assert sum(found["pluginhost_calls_total"].values()) == total
    assert sum(found["pluginhost_call_duration_seconds_count"].values()) == total
    if runs and plugins and limit >= 150:
        assert (f"run{runs - 1}",) in found["pluginhost_runs"]


def test_a_run_that_is_called_other_is_one_of_the_others(report_of: Make) -> None:
    """Nothing of it is lost."""
    runs = [
        measured_of(report_of({"a": [1_000] * (9 - n)}), run="other" if n == 0 else f"x{n}")
        for n in range(4)
    ]
    content, _ = exposition([one._replace(run_count=1) for one in runs], max_series=150)
    found = samples_of(content.decode())
    assert found["pluginhost_runs"] == {("other",): 4}
    observed_s = found["pluginhost_run_observed_seconds"][("other",)]
    assert observed_s == pytest.approx(sum(one.whole_ns for one in runs) / 1e9)


def test_a_cap_without_room_is_refused(report_of: Make) -> None:
    """There must be room for the others at least."""
    with pytest.raises(InvalidValueError, match="give 100 or more"):
        prometheus_text(report_of({"a": [1]}), max_series=99)


def test_two_names_that_are_cut_stay_two(report_of: Make) -> None:
    """A megabyte of name is cut, and what is cut is told apart."""
    report = report_of({"x" * 1_000_000 + end: [1] for end in "ab"})
    text = str(export("prometheus", report))
    assert len(text) < 60_000
    assert len(samples_of(text)["pluginhost_self_time_seconds_total"]) == 2


def test_names_that_become_the_same_share_a_series(report_of: Make) -> None:
    r"""A control character and its escape, spelt out, are one label: twice is refused by Prometheus."""
    report = report_of({"a\x1b": [1_000], "a\\x1b": [2_000]})
    found = samples_of(str(export("prometheus", report)))
    assert found["pluginhost_calls_total"] == {("a\\x1b", "execute", "success"): 2}


def test_several_runs_are_told_apart(report_of: Make) -> None:
    """The label `run` has the name that was given."""
    runs = [
        measured_of(report_of({"a": [duration]}), run=name)
        for name, duration in (("x", 1), ("y", 2))
    ]
    content, _ = exposition(runs)
    found = samples_of(content.decode())
    assert found["pluginhost_time_seconds_total"] == {
        ("x", "a", "execute"): 1e-9,
        ("y", "a", "execute"): 2e-9,
    }


def test_openmetrics_for_those_who_ask(report_of: Make) -> None:
    """The newer format, strictly parsed."""
    accept = "application/openmetrics-text; version=1.0.0"
    content, kind = exposition([measured_of(report_of({"a": [1, 2]}))], accept=accept)
    assert kind.startswith("application/openmetrics-text")
    names = {family.name for family in openmetrics(content.decode())}
    assert {"pluginhost_calls", "pluginhost_call_duration_seconds"} <= names


@given(REPORTS)
def test_values_are_finite(report: Report) -> None:
    """And none is negative where it is a counter."""
    for family in families([measured_of(report)]):
        for value in family.values.values():
            number: Any = value if isinstance(value, float) else getattr(value, "sum_s", value)
            assert math.isfinite(number)
            assert number >= 0


def test_a_histogram_is_counted_once(report_of: Make) -> None:
    """All its buckets together have as many calls as the report's own."""
    report = report_of({"a": [10**k for k in range(1, 12)]})
    (spread,) = next(
        f for f in families([measured_of(report)]) if f.kind == "histogram"
    ).values.values()
    assert isinstance(spread, Spread)
    performance = report.performance
    assert performance is not None
    assert sum(spread.counts) == len(DurationHistogram(performance.histograms["a"]))
