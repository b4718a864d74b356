"""Is a metric going up or down, and is that more than noise? Against scipy."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import assume, given, settings, strategies as st
from scipy.stats import mannwhitneyu

from pluginhost import AnalyticsEngine, AnalyticsEvent, EventKind, Status
from pluginhost.analytics.trends import trend_of
from pluginhost.errors import InvalidValueError, PluginNotFoundError
from pluginhost.report import TrendAnalysis, TrendDirection

UP, DOWN, STABLE = TrendDirection.INCREASING, TrendDirection.DECREASING, TrendDirection.STABLE


def trend(values: list[float]) -> TrendAnalysis:
    return trend_of(values, plugin_id="a", metric="duration_ns")


def executed(
    durations_ns: list[int], *, max_events: int = 10_000, failed: set[int] | None = None
) -> AnalyticsEngine:
    """An engine that was told of one execution a second; `failed` are positions."""
    engine = AnalyticsEngine(max_events)
    for number, duration_ns in enumerate(durations_ns):
        engine.record_event(
            AnalyticsEvent(
                kind=EventKind.PLUGIN_EXECUTE,
                plugin_id="a",
                timestamp_ns=(1_000 + number) * 10**9,
                duration_ns=duration_ns,
                status=Status.ERROR if number in (failed or ()) else Status.SUCCESS,
            )
        )
    return engine


# The direction


@pytest.mark.parametrize(
    ("recent", "direction", "change"),
    [
        pytest.param(105.0, STABLE, 5.0, id="5 % more"),
        pytest.param(105.001, UP, 5.001, id="just over 5 % more"),
        pytest.param(95.0, STABLE, -5.0, id="5 % less"),
        pytest.param(94.999, DOWN, -5.001, id="just over 5 % less"),
        pytest.param(100.0, STABLE, 0.0, id="the same"),
        pytest.param(300.0, UP, 200.0, id="three times"),
        pytest.param(0.0, DOWN, -100.0, id="nothing left"),
    ],
)
def test_over_five_percent_is_a_trend(
    recent: float, direction: TrendDirection, change: float
) -> None:
    """Either way, of the average of the half before."""
    got = trend([100.0] * 6 + [recent] * 6)
    assert got.direction is direction
    assert got.change_percent == pytest.approx(change)
    assert (got.previous_average, got.recent_average) == (100.0, pytest.approx(recent))


@pytest.mark.parametrize(
    ("recent", "direction", "change"),
    [
        pytest.param(0.0, STABLE, 0.0, id="still nothing"),
        pytest.param(0.5, UP, 100.0, id="something from nothing"),
    ],
)
def test_a_change_from_nothing(recent: float, direction: TrendDirection, change: float) -> None:
    """There is no percentage of zero; what appears has increased."""
    got = trend([0.0] * 5 + [recent] * 5)
    assert (got.direction, got.change_percent) == (direction, change)


@pytest.mark.parametrize("values", [[], [7.0]])
def test_too_few_for_halves(values: list[float]) -> None:
    """Nothing is compared, nothing is claimed."""
    got = trend(values)
    assert (got.direction, got.change_percent, got.sample_size) == (STABLE, 0.0, 0)
    assert (got.p_value, got.significant) == (None, False)


def test_of_an_odd_number_the_oldest_is_left_out() -> None:
    """Both halves are of one size."""
    got = trend([1e9, 1.0, 2.0, 3.0, 4.0])
    assert (got.previous_average, got.recent_average, got.sample_size) == (1.5, 3.5, 4)


# The significance


@given(
    st.lists(
        st.integers(0, 20).map(float) | st.floats(0, 1e12, allow_subnormal=False),
        min_size=8,
        max_size=80,
    )
)
@settings(deadline=None)
def test_significance_is_that_of_scipy(values: list[float]) -> None:
    """The two-sided Mann-Whitney U test at 0.05, with ties, at any size it is asked at."""
    assume(len(set(values)) > 1)
    values = values[len(values) % 2 :]
    half = len(values) // 2
    previous, recent = values[:half], values[half:]
    assume(len(set(values)) > 1)
    exact = mannwhitneyu(recent, previous, alternative="two-sided", method="asymptotic")
    got = trend(values)
    assert got.p_value == pytest.approx(float(exact.pvalue), rel=1e-6, abs=1e-12)
    assert got.significant == (got.p_value is not None and got.p_value < 0.05)
    assert got.recent_average == pytest.approx(statistics.fmean(recent))
    assert got.previous_average == pytest.approx(statistics.fmean(previous))


def test_values_that_are_all_alike_are_no_news() -> None:
    """The test has nothing to rank."""
    got = trend([5.0] * 40)
    assert (got.p_value, got.significant) == (1.0, False)


@pytest.mark.parametrize(
    ("values", "tested"),
    [
        pytest.param([1.0] * 3 + [9.0] * 3, False, id="three in each half"),
        pytest.param([1.0] * 4 + [9.0] * 4, True, id="four in each half"),
    ],
)
def test_four_in_each_half_are_needed_for_a_test(values: list[float], tested: bool) -> None:
    """With fewer, the normal approximation says nothing."""
    got = trend(values)
    assert (got.p_value is not None) is tested
    assert got.significant is tested
    assert got.direction is UP


# Through the engine


def test_the_latest_executions_are_compared() -> None:
    """As many as were asked for: what was before them does not count."""
    engine = executed([10**6] * 50 + [10] * 20 + [20] * 20)
    got = engine.analyze_trends("a", 40)
    assert (got.previous_average, got.recent_average, got.sample_size) == (10.0, 20.0, 40)
    assert (got.direction, got.change_percent, got.significant) == (UP, 100.0, True)
    assert (got.plugin_id, got.metric) == ("a", "duration_ns")


def test_a_sample_that_is_larger_than_what_is_there() -> None:
    """What is there is compared."""
    assert executed([1] * 6).analyze_trends("a", 1_000).sample_size == 6
    assert executed([1] * 600).analyze_trends("a").sample_size == 100


def test_executions_that_come_late_are_compared_by_their_time() -> None:
    """Events by hand may come in any order, even from one segment of the store to another."""
    early, late = AnalyticsEngine(100_000), AnalyticsEngine(100_000)
    events = [
        AnalyticsEvent(
            kind=EventKind.PLUGIN_EXECUTE,
            plugin_id="a",
            timestamp_ns=number * 10**9,
            duration_ns=number,
        )
        for number in range(20_000)
    ]
    for event in events:
        early.record_event(event)
    for event in (*events[19_990:], *events[:19_990]):
        late.record_event(event)
    assert late.analyze_trends("a", 40) == early.analyze_trends("a", 40)
    assert late.analyze_trends("a", 40).recent_average == statistics.fmean(range(19_980, 20_000))


def test_the_error_rate_has_a_trend_too() -> None:
    """Timeouts and errors are errors; the durations do not matter."""
    engine = executed([5] * 40, failed={21, 23, 25, 27, 29, 31, 33, 35, 37, 39})
    got = engine.analyze_trends("a", 40, metric="error_rate")
    assert (got.previous_average, got.recent_average) == (0.0, 0.5)
    assert (got.direction, got.significant, got.metric) == (UP, True, "error_rate")
    assert engine.analyze_trends("a", 40).direction is STABLE


def test_only_executions_are_compared() -> None:
    """Not the load before them, nor the errors that go with some."""
    engine = executed([10] * 10, failed={1, 8})
    engine.record_event(
        AnalyticsEvent(
            kind=EventKind.HOOK_CALL, plugin_id="a", timestamp_ns=10**13, duration_ns=10**6
        )
    )
    got = engine.analyze_trends("a")
    assert (got.sample_size, got.previous_average, got.recent_average) == (10, 10.0, 10.0)


def test_what_was_evicted_is_not_compared() -> None:
    """A trend is of events that are there; 10 of 30 are."""
    engine = executed([10**6] * 20 + [10] * 5 + [30] * 5, max_events=10)
    got = engine.analyze_trends("a", 30)
    assert (got.sample_size, got.previous_average, got.recent_average) == (10, 10.0, 30.0)


@pytest.mark.parametrize(
    ("sample_size", "metric"),
    [
        pytest.param(1, "duration_ns", id="sample too small"),
        pytest.param(100, "memory", id="unknown metric"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(sample_size: int, metric: str) -> None:
    """The error says what can be asked."""
    with pytest.raises(InvalidValueError, match="metric is 'duration_ns' or 'error_rate'"):
        executed([1]).analyze_trends("a", sample_size, metric=metric)


def test_of_an_unknown_plugin_there_is_no_trend() -> None:
    """The error names those that were seen."""
    with pytest.raises(PluginNotFoundError, match="seen were: a"):
        executed([1]).analyze_trends("b")


def test_the_report_has_a_trend_of_each_plugin_that_ran_twice() -> None:
    """In the order of its rows."""
    engine = executed([1] * 4)
    for number, plugin_id in enumerate("bbbbbbc"):
        engine.record_event(
            AnalyticsEvent(
                kind=EventKind.PLUGIN_EXECUTE, plugin_id=plugin_id, timestamp_ns=number + 1
            )
        )
    assert [t.plugin_id for t in engine.report().trends] == ["b", "a"]
