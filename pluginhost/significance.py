"""Is the difference between two sets of durations more than noise?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from math import comb, sqrt
from operator import itemgetter
from statistics import NormalDist, median

Points = Iterable[tuple[float, int]]
"""Values with their counts: what a histogram gives, and what plain samples are with count 1."""


def points_of(values: Sequence[float]) -> list[tuple[float, int]]:
    """Return plain samples as points."""
    return [(value, 1) for value in values]


def mann_whitney_p(first: Points, second: Points) -> float:
    """Return the two-sided p-value that both samples come from one distribution.

    The Mann-Whitney U test (Mann and Whitney 1947) with the normal approximation, corrected for
    ties and for continuity (Lehmann, "Nonparametrics", 1975, section 1.4). It asks nothing of the
    shape of the durations. 1.0 when either side is empty or all values are equal.
    """
    tagged = sorted(
        [(value, count, 0) for value, count in first]
        + [(value, 0, count) for value, count in second],
        key=itemgetter(0),
    )
    n1 = n2 = 0
    u1 = 0.0
    ties = 0
    for _, group in groupby(tagged, key=itemgetter(0)):
        rows = list(group)
        here1 = sum(row[1] for row in rows)
        here2 = sum(row[2] for row in rows)
        u1 += here1 * n2 + here1 * here2 / 2
        n1, n2 = n1 + here1, n2 + here2
        together = here1 + here2
        ties += together**3 - together
    n = n1 + n2
    if not n1 or not n2:
        return 1.0
    variance = n1 * n2 / 12 * ((n + 1) - ties / (n * (n - 1)))
    if variance <= 0:
        return 1.0
    distance = max(0.0, abs(u1 - n1 * n2 / 2) - 0.5)
    return min(1.0, 2 * NormalDist().cdf(-distance / sqrt(variance)))


def median_interval(points: Points, confidence: float = 0.95) -> tuple[float, float, float]:
    """Return (median, low, high): the sample median with its confidence interval.

    The interval is that of the order statistics around the middle, by the normal approximation of
    the binomial (Conover, "Practical Nonparametric Statistics", 1999, section 3.2). All three are
    0.0 without values.
    """
    ordered = sorted(points)
    n = sum(count for _, count in ordered)
    if not n:
        return 0.0, 0.0, 0.0
    half_width = NormalDist().inv_cdf(0.5 + confidence / 2) * sqrt(n) / 2
    low = max(1, int(n / 2 - half_width))
    high = min(n, int(n / 2 + half_width) + 1)
    return _at(ordered, (n + 1) // 2), _at(ordered, low), _at(ordered, high)


def _at(ordered: list[tuple[float, int]], rank: int) -> float:
    seen = 0
    for value, count in ordered:
        seen += count
        if seen >= rank:
            return value
    return ordered[-1][0]


def paired_interval(
    differences: Sequence[float], confidence: float = 0.95
) -> tuple[float, float, float, float]:
    """Return (median, low, high, confidence) of the differences of pairs.

    The interval is that of the sign test (Conover, "Practical Nonparametric Statistics", 1999,
    section 3.4): it asks nothing of the shape of the noise. It is the narrowest whose confidence,
    which is returned, is as wanted; with fewer than 6 pairs there is none, and it goes from the
    smallest difference to the largest.
    """
    ordered = sorted(differences)
    n = len(ordered)
    rank, outside = 1, 2 / 2**n
    while rank < n / 2:
        wider = outside + 2 * comb(n, rank) / 2**n
        if 1 - wider < confidence:
            break
        rank, outside = rank + 1, wider
    return median(ordered), ordered[rank - 1], ordered[n - rank], 1 - outside
