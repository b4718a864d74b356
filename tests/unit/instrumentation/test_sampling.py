"""Which executions are read: how often, and how the rate follows a budget."""

from __future__ import annotations

import random
import sys
from statistics import fmean

import pytest
from hypothesis import given, strategies as st

from pluginhost.errors import InvalidValueError
from pluginhost.instrumentation.sampling import Sampler


@pytest.mark.parametrize("rate", [0.9, 0.7, 0.5, 0.3, 0.1, 0.03, 0.004])
def test_the_mean_gap_is_the_reciprocal_of_the_rate(rate: float) -> None:
    """Over many gaps, the share of executions that are read is the rate (within 2 %)."""
    sampler = Sampler(rate, random=random.Random(5).random)
    gaps = [sampler.gap() for _ in range(40_000)]
    assert 1 / fmean(gaps) == pytest.approx(rate, rel=0.02)
    assert min(gaps) == 1
    assert max(gaps) <= 2 / rate


def test_gaps_are_spread_evenly() -> None:
    """From 1 to twice the mean each gap is as likely as any other, so no rhythm is missed."""
    sampler = Sampler(0.1, random=random.Random(5).random)
    gaps = [sampler.gap() for _ in range(90_000)]
    shares = [gaps.count(gap) / len(gaps) for gap in range(2, 19)]
    assert shares == pytest.approx([1 / 18] * 17, rel=0.06)
    assert gaps.count(1) / len(gaps) == pytest.approx(1 / 36, rel=0.1)
    assert gaps.count(19) / len(gaps) == pytest.approx(1 / 36, rel=0.1)


@pytest.mark.parametrize(
    ("rate", "gap"),
    [
        pytest.param(1.0, 1, id="everything"),
        pytest.param(0.0, sys.maxsize, id="nothing"),
        pytest.param(1e-17, None, id="next to nothing"),
        pytest.param(5e-324, sys.maxsize, id="the smallest number there is"),
    ],
)
def test_gaps_of_extreme_rates(rate: float, gap: int | None) -> None:
    """All, none, and rates so small that their reciprocal is no number."""
    found = Sampler(rate, random=lambda: 0.5).gap()
    assert found == gap if gap is not None else found > 10**16


@given(st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_every_gap_is_a_positive_number(rate: float, chance: float) -> None:
    """Whatever the rate and the dice."""
    assert Sampler(rate, random=lambda: chance).gap() >= 1
    assert 1 <= Sampler(rate, budget=0.1, random=lambda: chance).gap() <= 20_000


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["rate", "budget"])
def test_shares_that_are_none_are_refused(name: str, value: float) -> None:
    """Rate and budget are shares of 0.0 to 1.0."""
    with pytest.raises(InvalidValueError, match=r"give a share between 0\.0 and 1\.0"):
        Sampler(**{name: value})


# Adapting to a budget


def _period(
    sampler: Sampler, *, reading_ns: float = 5_000.0, fixed_ns: float = 0.0, executions: int = 1_000
) -> None:
    """Tell of a period of 10 ms."""
    sampler.adapt(
        elapsed_ns=10_000_000, fixed_ns=fixed_ns, reading_ns=reading_ns, executions=executions
    )


def test_a_rate_without_a_budget_stays() -> None:
    """Only a budget makes the rate adaptive."""
    sampler = Sampler(0.3)
    _period(sampler, reading_ns=10**9)
    assert sampler.rate == 0.3


def test_a_budget_of_all_there_is_leaves_the_rate() -> None:
    """Whatever measuring is taken to cost, on a busy machine, too."""
    sampler = Sampler(0.3, budget=1.0)
    _period(sampler, reading_ns=10**9, fixed_ns=10**9)
    assert sampler.rate == 0.3


def test_the_rate_falls_at_once_to_what_the_budget_allows() -> None:
    """2 % of 10 ms are 200 us, that is 40 readings of 5 us for 1000 executions."""
    sampler = Sampler(1.0, budget=0.02)
    _period(sampler)
    assert sampler.rate == pytest.approx(0.04)


def test_what_recording_costs_anyway_is_paid_first() -> None:
    """Of the same 200 us, 150 are gone: 10 readings are left."""
    sampler = Sampler(1.0, budget=0.02)
    _period(sampler, fixed_ns=150_000)
    assert sampler.rate == pytest.approx(0.01)


def test_a_budget_that_recording_alone_exceeds_leaves_no_readings() -> None:
    """Then the rate is nothing, and the sampler knows that it cannot keep the budget."""
    sampler = Sampler(1.0, budget=0.02)
    _period(sampler, fixed_ns=10**6)
    assert sampler.rate == 0.0


def test_the_rate_recovers_but_never_beyond_what_was_asked() -> None:
    """When the load is gone the rate rises half-way each time, up to its maximum."""
    sampler = Sampler(0.4, budget=0.02)
    _period(sampler, executions=10**6)
    low = sampler.rate
    rates = []
    for _ in range(30):
        _period(sampler, executions=10)
        rates.append(sampler.rate)
    assert low < 1e-4
    assert rates[0] == pytest.approx((low + 0.4) / 2)
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.4)
    assert max(rates) <= 0.4


@pytest.mark.parametrize(
    "period",
    [
        pytest.param({"elapsed_ns": 0, "executions": 5}, id="no time"),
        pytest.param({"elapsed_ns": -5, "executions": 5}, id="a clock that went back"),
        pytest.param({"elapsed_ns": 5, "executions": 0}, id="no executions"),
    ],
)
def test_a_period_that_says_nothing_changes_nothing(period: dict[str, int]) -> None:
    """The rate stays until there is something to go by."""
    sampler = Sampler(0.3, budget=0.01)
    sampler.adapt(fixed_ns=10**9, reading_ns=10**9, **period)
    assert sampler.rate == 0.3


@given(
    st.floats(0, 1),
    st.floats(0, 1),
    st.lists(
        st.tuples(
            st.integers(1, 10**12), st.floats(0, 1e12), st.floats(0, 1e9), st.integers(1, 10**6)
        ),
        max_size=20,
    ),
)
def test_the_rate_stays_between_nothing_and_its_maximum(
    rate: float, budget: float, periods: list[tuple[int, float, float, int]]
) -> None:
    """Whatever a period is like, the rate is one that could have been asked for."""
    sampler = Sampler(rate, budget=budget)
    for elapsed_ns, fixed_ns, reading_ns, executions in periods:
        sampler.adapt(
            elapsed_ns=elapsed_ns, fixed_ns=fixed_ns, reading_ns=reading_ns, executions=executions
        )
        assert 0.0 <= sampler.rate <= rate


@pytest.mark.parametrize("budget", [0.01, 0.05, 0.2])
def test_over_a_long_run_the_budget_is_kept_and_used(budget: float) -> None:
    """A simulated program whose load rises and falls: readings take close to their share."""
    sampler = Sampler(1.0, budget=budget, random=random.Random(2).random)
    elapsed = spent = 0.0
    left = sampler.gap()
    for load in (20, 70, 30, 50) * 3:  # executions a millisecond
        for _ in range(20):
            executions, taken = load * 10, 0
            for _ in range(executions):
                left -= 1
                if left <= 0:
                    left, taken = sampler.gap(), taken + 1
            elapsed += 10_000_000
            spent += taken * 20_000.0
            sampler.adapt(
                elapsed_ns=10_000_000, fixed_ns=0.0, reading_ns=20_000.0, executions=executions
            )
    assert spent / elapsed == pytest.approx(budget, rel=0.35)
