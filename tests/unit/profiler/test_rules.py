"""From figures to findings: each rule just below, at and above its threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from pluginhost import Profiler, Thresholds
from pluginhost.errors import InvalidValueError
from pluginhost.profiler.rules import RULES, findings
from pluginhost.report import AggregateMetrics, Bottleneck

MIB = 1024 * 1024


def metrics(**changes: Any) -> AggregateMetrics:
    """A plugin of which nothing can be said, but for what is changed."""
    profiler = Profiler()
    profiler.record_execution("a", 10.0, success=True)
    harmless = {"average_duration_ns": 1e9, "execution_count": 1_000}
    return replace(profiler.get_aggregates("a"), **(harmless | changes))


def failing(failures: int, executions: int) -> AggregateMetrics:
    return metrics(
        execution_count=executions, failure_count=failures, error_rate=failures / executions
    )


def growing(bytes_: int) -> AggregateMetrics:
    return metrics(peak_memory_bytes=bytes_)


def computing(utilisation: float) -> AggregateMetrics:
    return metrics(cpu_utilisation=utilisation)


def blocking(times: int) -> AggregateMetrics:
    return metrics(loop_block_count=times, longest_loop_block_ns=2_000_000_000)


def taking(seconds: float) -> AggregateMetrics:
    return metrics(average_duration_ns=seconds * 1e9)


@pytest.mark.parametrize(
    ("kind", "make", "border", "above", "high"),
    [
        pytest.param("HIGH_ERROR_RATE", lambda n: failing(n, 100), 25, 26, 50, id="error rate"),
        pytest.param("SLOW_EXECUTION", taking, 5.0, 5.000_001, 10.0, id="slow"),
        pytest.param("HIGH_MEMORY", growing, 100 * MIB, 100 * MIB + 1, 200 * MIB, id="memory"),
        pytest.param("HIGH_CPU", computing, 0.8, 0.800_001, 1.6, id="CPU"),
        pytest.param("UNRELIABLE", lambda n: failing(n, 10_000), 100, 101, 200, id="unreliable"),
        pytest.param("BLOCKS_EVENT_LOOP", blocking, 0, 1, 2, id="blocking"),
    ],
)
def test_a_finding_is_strictly_above_its_threshold(
    kind: str, make: Callable[[Any], AggregateMetrics], border: Any, above: Any, high: Any
) -> None:
    """Nothing at the threshold; `medium` above it; `high` from twice the threshold on."""
    thresholds = Thresholds()
    assert findings(make(0), thresholds) == ()
    assert findings(make(border), thresholds) == ()
    (found,) = findings(make(above), thresholds)
    assert (found.kind, found.severity, found.plugin_id) == (kind, "medium", "a")
    assert found.value > found.threshold
    assert found.finding
    assert found.remedy
    (worse,) = findings(make(high), thresholds)
    assert (worse.kind, worse.severity) == (kind, "high")


@pytest.mark.parametrize(
    ("kind", "name", "value", "figures", "unit"),
    [
        pytest.param("HIGH_ERROR_RATE", "error_rate", 0.1, failing(20, 100), "ratio", id="errors"),
        pytest.param("SLOW_EXECUTION", "average_duration_s", 0.5, taking(0.75), "s", id="slow"),
        pytest.param("HIGH_MEMORY", "memory_bytes", MIB, growing(2 * MIB), "bytes", id="memory"),
        pytest.param("HIGH_CPU", "cpu_utilisation", 0.2, computing(0.3), "ratio", id="CPU"),
        pytest.param("UNRELIABLE", "failures", 2, failing(3, 1_000), "failures", id="unreliable"),
    ],
)
def test_thresholds_are_configurable(
    kind: str, name: str, value: float, figures: AggregateMetrics, unit: str
) -> None:
    """What is harmless by default is found under a stricter threshold, which the finding names."""
    assert findings(figures, Thresholds()) == ()
    (found,) = findings(figures, Thresholds(**{name: value}))
    assert (found.kind, found.threshold, found.unit) == (kind, value, unit)


def test_timeouts_count_as_failures() -> None:
    """For both rules about failing."""
    figures = metrics(failure_count=60, timeout_count=60, error_rate=0.12)
    (found,) = findings(figures, Thresholds())
    assert (found.kind, found.value) == ("UNRELIABLE", 120)
    assert "120 times" in found.finding
    often = metrics(execution_count=10, failure_count=2, timeout_count=3, error_rate=0.5)
    assert findings(often, Thresholds())[0].finding.startswith("5 of 10 executions failed")


@pytest.mark.parametrize(
    ("self_time_ns", "count"),
    [
        pytest.param(999_999_999, 0, id="below"),
        pytest.param(1_000_000_000, 1, id="at"),
        pytest.param(5_000_000_000, 1, id="above"),
    ],
)
def test_cpu_counts_only_where_it_adds_up(self_time_ns: int, count: int) -> None:
    """A millisecond of full load is nobody's concern."""
    figures = metrics(cpu_utilisation=1.0, self_time_ns=self_time_ns)
    assert len(findings(figures, Thresholds())) == count


def test_a_finding_has_its_figures_in_words() -> None:
    """What the operator reads."""
    cpu, *_ = findings(metrics(cpu_utilisation=0.9, total_time_ns=2_500_000_000), Thresholds())
    assert cpu.finding == "it computes for 90% of its 2.5 s"
    memory, *_ = findings(growing(150 * MIB), Thresholds())
    assert memory.finding == "one execution grew the process by 150 MiB (at least)"
    slow, *_ = findings(taking(7.25), Thresholds())
    assert slow.finding == "an average execution takes 7.2 s"


def test_what_was_not_measured_is_no_finding() -> None:
    """Whatever the thresholds: None is not zero."""
    strictest = Thresholds(cpu_utilisation=0.0, cpu_min_total_s=0.0, memory_bytes=0)
    assert findings(metrics(cpu_utilisation=None, peak_memory_bytes=None), strictest) == ()


@pytest.mark.parametrize(
    ("utilisation", "advice"),
    [
        pytest.param(None, "raise the sampling rate", id="not known"),
        pytest.param(0.1, "it waits most of the time (90%)", id="waits"),
        pytest.param(0.7, "it computes", id="computes"),
    ],
)
def test_advice_on_a_slow_plugin_depends_on_what_it_does(
    utilisation: float | None, advice: str
) -> None:
    """Waiting and computing are cured differently."""
    figures = metrics(average_duration_ns=6e9, cpu_utilisation=utilisation)
    (found,) = findings(figures, Thresholds())
    assert found.remedy.startswith(advice)


def test_the_last_error_is_the_first_thing_to_look_at() -> None:
    """If there is one."""
    (known,) = findings(metrics(error_rate=1.0, last_error="E: no"), Thresholds())
    assert known.remedy == "look at its last error: E: no"
    (unknown,) = findings(metrics(error_rate=1.0), Thresholds())
    assert unknown.remedy == "look at what it was given when it failed"


def test_a_threshold_of_zero_is_over_at_once() -> None:
    """Strictly above, so nothing at all is still nothing."""
    profiler = Profiler(thresholds=Thresholds(error_rate=0.0, failures=0))
    profiler.record_execution("a", 0.001, success=True)
    assert profiler.get_bottlenecks() == ()
    profiler.record_execution("a", 0.001, success=False)
    kinds = [found.kind for found in profiler.get_bottlenecks()]
    assert kinds == ["HIGH_ERROR_RATE", "UNRELIABLE"]


@pytest.mark.parametrize("value", [-1, -0.001, float("nan"), True])
@pytest.mark.parametrize("name", Thresholds.__struct_fields__)
def test_a_threshold_that_makes_no_sense_is_refused(name: str, value: float) -> None:
    """The error names the threshold."""
    with pytest.raises(InvalidValueError, match=f"the threshold {name} is {value!r} - give 0"):
        Thresholds(**{name: value})


def test_an_infinite_threshold_switches_a_rule_off() -> None:
    """Nothing is above it."""
    profiler = Profiler(thresholds=Thresholds(average_duration_s=float("inf")))
    profiler.record_execution("a", 86_400, success=True)
    assert profiler.get_bottlenecks() == ()


def test_severe_findings_come_first() -> None:
    """Then the plugins with the most self time."""
    profiler = Profiler()
    for plugin_id, duration in (("slow", 7.0), ("slower", 9.0), ("slowest", 11.0), ("fine", 1.0)):
        profiler.record_execution(plugin_id, duration, success=True)
    profiler.record_execution("broken", 0.001, success=False)
    found = [(b.plugin_id, b.severity) for b in profiler.get_bottlenecks()]
    assert found == [
        ("slowest", "high"),
        ("broken", "high"),
        ("slower", "medium"),
        ("slow", "medium"),
    ]


def too_popular(metrics: AggregateMetrics, thresholds: Thresholds) -> Bottleneck | None:
    """TOO_POPULAR: called more than twice."""
    if metrics.execution_count <= 2:
        return None
    return Bottleneck(
        plugin_id=metrics.plugin_id,
        kind="TOO_POPULAR",
        severity="medium",
        value=metrics.execution_count,
        threshold=2,
        unit="executions",
        finding=f"it was called {metrics.execution_count} times",
        remedy="keep its results",
    )


def test_a_rule_of_ones_own_joins_the_others() -> None:
    """In the findings, in the report and in the text."""
    profiler = Profiler(rules=(*RULES, too_popular))
    for _ in range(3):
        profiler.record_execution("a", 0.001, success=False)
    kinds = [found.kind for found in profiler.get_bottlenecks()]
    assert kinds == ["HIGH_ERROR_RATE", "TOO_POPULAR"]
    assert profiler.report().bottlenecks == profiler.get_bottlenecks()
    assert "TOO_POPULAR: it was called 3 times" in profiler.get_performance_report()


def test_rules_can_be_left_out() -> None:
    """An empty list finds nothing."""
    profiler = Profiler(rules=())
    profiler.record_execution("a", 100.0, success=False)
    assert profiler.get_bottlenecks() == ()
