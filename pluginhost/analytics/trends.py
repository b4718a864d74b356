"""Is a metric going up or down, and is that more than noise?"""

from __future__ import annotations

from collections.abc import Sequence

from pluginhost.report import TrendAnalysis, TrendDirection
from pluginhost.significance import mann_whitney_p, points_of

TREND_PERCENT = 5.0
SIGNIFICANCE_LEVEL = 0.05
_FEWEST_FOR_A_TEST = 4


def trend_of(values: Sequence[float], *, plugin_id: str, metric: str) -> TrendAnalysis:
    """Compare the recent half of `values` (oldest first) with the half before it.

    A change of the average over 5 % either way is a trend. Whether it is significant is decided
    by a two-sided Mann-Whitney U test at the 0.05 level, with at least 4 values in each half.
    With an odd number the oldest value is left out. Without any previous average to compare with,
    the change is 0 % when nothing changed and 100 % when something came from nothing.
    """
    half = len(values) // 2
    recent, previous = (
        values[len(values) - half :],
        values[len(values) - 2 * half : len(values) - half],
    )
    recent_average = sum(recent) / half if half else 0.0
    previous_average = sum(previous) / half if half else 0.0
    if previous_average:
        change = 100 * (recent_average - previous_average) / previous_average
    else:
        change = 100.0 if recent_average else 0.0
    tested = half >= _FEWEST_FOR_A_TEST
    p_value = mann_whitney_p(points_of(recent), points_of(previous)) if tested else None
    return TrendAnalysis(
        plugin_id=plugin_id,
        metric=metric,
        direction=_direction(change),
        change_percent=change,
        recent_average=recent_average,
        previous_average=previous_average,
        sample_size=2 * half,
        p_value=p_value,
        significant=p_value is not None and p_value < SIGNIFICANCE_LEVEL,
    )


def _direction(change_percent: float) -> TrendDirection:
    if abs(change_percent) <= TREND_PERCENT:
        return TrendDirection.STABLE
    return TrendDirection.INCREASING if change_percent > 0 else TrendDirection.DECREASING
