"""What comes next if all goes on as it did: a robust line, with an interval that was tried out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import ceil, isfinite, sqrt
from statistics import NormalDist, median

import msgspec

FEWEST = 8
"""With fewer values nothing is forecast."""

MOST = 60
"""No more than so many values are looked at, the latest."""

_TREND_LEVEL = 0.05


class Forecasted(msgspec.Struct, frozen=True, kw_only=True):
    """The next value: what is expected, and between what bounds `confidence` of next values are.

    `slope` is per step, 0.0 where no trend is more than noise (`trend_p_value`).
    """

    expected: float
    low: float
    high: float
    confidence: float
    slope: float
    trend_p_value: float
    basis: int


def forecast_of(values: Sequence[float], *, confidence: float = 0.9) -> Forecasted | None:
    """Return what comes after `values` (oldest first), None with fewer than 8 finite ones.

    Where the Mann-Kendall test (Mann, Econometrica 13, 1945) sees a trend at the 0.05 level, that is the
    line of Theil and Sen (Sen, Journal of the American Statistical Association 63, 1968), else the
    median. The interval is made of the errors of forecasting each of the later values from those
    before it, as conformal prediction does (Vovk, Gammerman and Shafer 2005): so wide that the
    wanted share of them would have been within it. `confidence` is lower where they are too few.
    """
    known = [value for value in values if isfinite(value)][-MOST:]
    if len(known) < FEWEST:
        return None
    expected, slope, p_value = _next(known)
    errors = sorted(abs(known[n] - _next(known[:n])[0]) for n in range(FEWEST // 2, len(known)))
    rank = ceil((len(errors) + 1) * confidence)
    if rank > len(errors):
        rank, confidence = len(errors), len(errors) / (len(errors) + 1)
    width = errors[rank - 1]
    return Forecasted(
        expected=expected,
        low=expected - width,
        high=expected + width,
        confidence=confidence,
        slope=slope,
        trend_p_value=p_value,
        basis=len(known),
    )


def mann_kendall_p(values: Sequence[float]) -> float:
    """Return the two-sided p-value that the order of `values` is by chance: whether there is a trend."""
    n = len(values)
    score = sum(
        (values[j] > values[i]) - (values[j] < values[i]) for i in range(n) for j in range(i + 1, n)
    )
    ties = [len(list(group)) for _, group in groupby(sorted(values))]
    variance = n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)
    if variance <= 0:
        return 1.0
    distance = max(0, abs(score) - 1) / sqrt(variance / 18)
    return min(1.0, 2 * NormalDist().cdf(-distance))


def theil_sen(values: Sequence[float]) -> tuple[float, float]:
    """Return (intercept, slope per step) of the line through the medians of slopes and of rests."""
    n = len(values)
    slope = median((values[j] - values[i]) / (j - i) for i in range(n) for j in range(i + 1, n))
    return median(value - slope * i for i, value in enumerate(values)), slope


def _next(values: Sequence[float]) -> tuple[float, float, float]:
    """Return what is expected after `values`, the slope, and the p-value of there being none."""
    p_value = mann_kendall_p(values)
    if p_value >= _TREND_LEVEL:
        return median(values), 0.0, p_value
    intercept, slope = theil_sen(values)
    return intercept + slope * len(values), slope, p_value
