"""The statistics that tell a change from noise, against scipy and against counting."""

from __future__ import annotations

import math
import statistics
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from scipy.stats import binom, mannwhitneyu

from pluginhost.significance import mann_whitney_p, median_interval, points_of
from tests.examples import examples

_TIED = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=30)
_ANY = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30)


def _p(first: list[float], second: list[float]) -> float:
    return mann_whitney_p(points_of(first), points_of(second))


def _scipy_p(first: list[float], second: list[float]) -> float:
    found = mannwhitneyu(
        first, second, alternative="two-sided", method="asymptotic", use_continuity=True
    )
    return float(found.pvalue)


@pytest.mark.parametrize(
    "samples", [pytest.param(_TIED, id="with ties"), pytest.param(_ANY, id="mostly without")]
)
@settings(max_examples=examples(60))
@given(data=st.data())
def test_the_p_value_is_that_of_scipy(
    samples: st.SearchStrategy[list[float]], data: st.DataObject
) -> None:
    """Normal approximation, continuity correction and tie correction are as in scipy."""
    first, second = data.draw(samples), data.draw(samples)
    assume(len({*first, *second}) > 1)
    assert _p(first, second) == pytest.approx(_scipy_p(first, second), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 3.0])
def test_large_samples_agree_with_scipy(shift: float) -> None:
    """From no difference to a plain one, samples of hundreds agree as well."""
    random = np.random.default_rng(3)
    first = random.normal(0, 1, 400).tolist()
    second = random.normal(shift, 1, 300).tolist()
    assert _p(first, second) == pytest.approx(_scipy_p(first, second), rel=1e-9)


@given(_TIED, _TIED)
def test_counted_points_are_repeated_values(first: list[float], second: list[float]) -> None:
    """A histogram's points give the p-value of the values that it counted."""
    counted = mann_whitney_p(Counter(first).items(), Counter(second).items())
    assert counted == pytest.approx(_p(first, second), rel=1e-12)


@given(_TIED, _TIED)
def test_it_does_not_matter_which_sample_comes_first(
    first: list[float], second: list[float]
) -> None:
    """The test is two-sided, so it is symmetric, and its p-value is a probability."""
    assert _p(first, second) == pytest.approx(_p(second, first), rel=1e-12)
    assert 0.0 <= _p(first, second) <= 1.0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param([], [1.0, 2.0], id="first empty"),
        pytest.param([1.0], [], id="second empty"),
        pytest.param([], [], id="both empty"),
        pytest.param([4.0] * 50, [4.0] * 60, id="all equal"),
        pytest.param([1.0], [1.0], id="one each, equal"),
        pytest.param([1.0], [2.0], id="one each"),
    ],
)
def test_what_says_nothing_has_a_p_value_of_one(first: list[float], second: list[float]) -> None:
    """Without values, or without any difference, nothing is significant."""
    assert _p(first, second) == 1.0


def test_noise_alone_is_called_significant_as_often_as_promised() -> None:
    """At a level of 5 %, about 5 % of pairs of equal samples are false alarms."""
    random = np.random.default_rng(11)
    pairs = random.lognormal(10, 1, (600, 2, 25))
    alarms = sum(_p(a.tolist(), b.tolist()) < 0.05 for a, b in pairs)
    assert 12 <= alarms <= 54  # 30 expected; 3 standard deviations either way are 14 to 46


@given(_ANY)
def test_the_median_is_one_of_the_values_and_within_its_interval(values: list[float]) -> None:
    """The median is the lower one of statistics, and the interval is around it."""
    median, low, high = median_interval(points_of(values))
    assert median == statistics.median_low(values)
    assert low in values
    assert high in values
    assert low <= median <= high


@given(_TIED, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_interval_of_counted_points_is_that_of_repeated_values(
    values: list[float], confidence: float
) -> None:
    """Counts stand for repetitions here too."""
    counted = median_interval(Counter(values).items(), confidence)
    assert counted == median_interval(points_of(values), confidence)


def _exact_coverage(n: int, low: int, high: int) -> float:
    """Return how surely the order statistics of these ranks enclose the true median."""
    return float(binom.cdf(high - 1, n, 0.5) - binom.cdf(low - 1, n, 0.5))


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_the_interval_covers_the_median_as_surely_as_it_says(confidence: float) -> None:
    """By the exact binomial, coverage is what was asked (within 2 %), and not much more."""
    for n in range(12, 400):
        _, low, high = median_interval([(float(rank), 1) for rank in range(1, n + 1)], confidence)
        assert _exact_coverage(n, int(low), int(high)) >= confidence - 0.02
        narrower = _exact_coverage(n, int(low) + 2, int(high) - 2)
        assert narrower < confidence, f"needlessly wide for {n} values"


def test_the_interval_is_found_by_brute_force_too() -> None:
    """For every small sample the ranks are the outermost that the normal quantile allows."""
    z = 1.959963984540054  # of 97.5 %, from a table
    for n in range(1, 60):
        values = [float(rank) for rank in range(1, n + 1)]
        inside = [rank for rank in range(n + 1) if abs(rank - n / 2) <= z * math.sqrt(n) / 2]
        low, high = min(inside) - 1, max(inside) + 1  # the neighbours outside, or the ends
        expected = float(max(1, low)), float(min(n, high))
        assert median_interval(points_of(values))[1:] == expected


def test_more_confidence_is_a_wider_interval() -> None:
    """An interval that is to be surer is wider on both sides."""
    values = points_of([float(v) for v in range(1000)])
    _, low90, high90 = median_interval(values, 0.9)
    _, low99, high99 = median_interval(values, 0.99)
    assert low99 < low90 < high90 < high99


def test_nothing_has_no_median() -> None:
    """Without values all three figures are 0.0."""
    assert median_interval([]) == (0.0, 0.0, 0.0)
