"""The histogram of durations against sorted values, numpy, and itself."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, strategies as st

from pluginhost.histogram import RELATIVE_ERROR, DurationHistogram

_DURATIONS = st.one_of(
    st.integers(0, 10**15),
    st.integers(0, 1000),
    st.integers(0, 49).map(lambda bits: 1 << bits),  # the edges of the buckets
    st.integers(1, 49).map(lambda bits: (1 << bits) - 1),
)
_SHARES = ("0", "0.5", "0.9", "0.95", "0.99", "0.999", "1")


def _of(durations_ns: Sequence[int]) -> DurationHistogram:
    histogram = DurationHistogram()
    histogram.add_all(durations_ns)
    return histogram


def _nearest_rank(values: Sequence[int], share: str) -> int:
    """Return the smallest value that at least `share` of the values do not exceed."""
    rank = ceil(Fraction(share) * len(values))
    return sorted(values)[max(rank, 1) - 1]


@given(st.lists(_DURATIONS, min_size=1, max_size=60))
def test_every_quantile_is_the_nearest_rank_within_the_documented_error(values: list[int]) -> None:
    """Quantiles stand for the very value that nearest rank picks, at most 0.4 % off."""
    histogram = _of(values)
    for share in _SHARES:
        expected = _nearest_rank(values, share)
        assert abs(histogram.quantile_ns(float(share)) - expected) <= RELATIVE_ERROR * expected


def test_quantiles_of_a_hundred_thousand_durations_agree_with_numpy() -> None:
    """On a long-tailed sample, as real durations are, all quantiles keep the bound."""
    values = np.random.default_rng(7).lognormal(13.0, 2.0, 100_000).astype(np.int64)
    shares = [float(share) for share in _SHARES]
    expected = np.quantile(values, shares, method="inverted_cdf")
    assert _of(values.tolist()).quantiles_ns(shares) == pytest.approx(expected, rel=RELATIVE_ERROR)


@pytest.mark.parametrize("bits", range(1, 50, 6))
def test_the_bound_holds_across_a_whole_bucket(bits: int) -> None:
    """From one bucket's lower edge to the next, no value is further off than documented."""
    low = 1 << bits
    worst = 0.0
    for value in {low + low * step // 1024 for step in range(1024)}:
        worst = max(worst, abs(_of([value]).quantile_ns(0.5) - value) / value)
    assert worst <= RELATIVE_ERROR
    assert bits < 8 or worst >= RELATIVE_ERROR * 0.9  # and the bound is not idle either


@given(st.lists(_DURATIONS, max_size=40), st.lists(_DURATIONS, max_size=40))
def test_merging_is_adding(first: list[int], second: list[int]) -> None:
    """A merged histogram is that of all values together, to the last count."""
    merged = _of(first)
    merged.merge(_of(second))
    assert merged.buckets() == _of(first + second).buckets()
    assert len(merged) == len(first) + len(second)


@given(st.lists(_DURATIONS, max_size=40), st.lists(_DURATIONS, max_size=40))
def test_merging_leaves_the_other_as_it_was(first: list[int], second: list[int]) -> None:
    """What is merged in can be merged again elsewhere."""
    other = _of(second)
    _of(first).merge(other)
    assert other.buckets() == _of(second).buckets()


@given(st.lists(_DURATIONS, max_size=40))
def test_buckets_make_the_same_histogram_again(values: list[int]) -> None:
    """What a file stores is all there is to know."""
    histogram = _of(values)
    again = DurationHistogram(histogram.buckets())
    assert again.buckets() == histogram.buckets()
    assert again.quantiles_ns((0.1, 0.5, 0.99)) == histogram.quantiles_ns((0.1, 0.5, 0.99))


@given(st.lists(_DURATIONS, max_size=40))
def test_points_count_every_value_in_ascending_order(values: list[int]) -> None:
    """Points are distinct durations, ascending, and their counts add up."""
    points = _of(values).points()
    durations = [duration for duration, _ in points]
    assert durations == sorted(set(durations))
    assert sum(count for _, count in points) == len(values)
    spread = [duration for duration, count in points for _ in range(count)]
    for exact, about in zip(sorted(values), spread, strict=True):
        assert abs(about - exact) <= RELATIVE_ERROR * exact


@given(st.lists(_DURATIONS, min_size=1, max_size=40), st.lists(st.floats(0, 1), min_size=2))
def test_quantiles_rise_with_their_share(values: list[int], shares: list[float]) -> None:
    """A larger share never has a smaller quantile, and many at once are each as alone."""
    histogram = _of(values)
    found = histogram.quantiles_ns(sorted(shares))
    assert found == sorted(found)
    assert found == [histogram.quantile_ns(share) for share in sorted(shares)]


def test_durations_add_up_over_several_batches() -> None:
    """Adding in parts is adding at once."""
    histogram = _of([5, 70])
    histogram.add_all([900])
    assert histogram.buckets() == _of([900, 70, 5]).buckets()


def test_an_empty_histogram_has_no_durations() -> None:
    """Without values every quantile is 0.0 and nothing is stored."""
    empty = _of([])
    assert len(empty) == 0
    assert empty.quantiles_ns((0.0, 0.5, 1.0)) == [0.0, 0.0, 0.0]
    assert empty.buckets() == empty.points() == ()


def test_no_time_at_all_is_exactly_zero() -> None:
    """A clock that did not move gives 0.0, not the middle of a bucket."""
    assert _of([0, 0]).quantile_ns(1.0) == 0.0


def test_a_single_odd_one_out_is_the_last_quantile_only() -> None:
    """Of a thousand values the slowest one is over p99.9, not at it."""
    histogram = _of([1024] * 999 + [1 << 40])
    assert histogram.quantile_ns(0.999) < 1100
    assert histogram.quantile_ns(1.0) > 1 << 39
