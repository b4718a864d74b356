"""Where a metric has moved to another level, over runs: found by one method, confirmed by another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from statistics import median

import msgspec

from pluginhost.errors import InvalidValueError
from pluginhost.extras import require
from pluginhost.significance import mann_whitney_p, points_of

FEWEST_RUNS = 10
SHORTEST_LEVEL = 4
ALPHA = 0.01
MIN_EFFECT = 0.05

_SMALLEST_SPREAD = 1e-3


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """From `position` on, there is another level: medians before and after, and how sure that is."""

    position: int
    before: float
    after: float
    p_value: float


def levels_of(
    series: Mapping[str, Sequence[float]],
    *,
    min_effect: float = MIN_EFFECT,
    alpha: float = ALPHA,
    min_difference: float = 0.0,
) -> dict[str, list[Level]]:
    """Return the changes of level in several series, by name; only where there are any.

    Candidates come from kernel change point detection (Harchaoui and Cappe 2007; `ruptures`' KernelCPD
    with the Gaussian kernel) on the logarithms, scaled by a robust estimate of their noise, with a
    penalty of the logarithm of the length. One is kept when the Mann-Whitney U test between the levels
    beside it, exact where there are few runs, corrected for the number of candidates in all series
    (Holm 1979), is under `alpha`, and the median moves by `min_effect` and by `min_difference` at
    least. Runs are taken as independent: where a slow machine stays slow for some runs, that is a
    change of level. Needs the extra `analytics`; values must be finite and not negative.
    """
    if not 0 < alpha < 1 or not min_effect > 0:
        raise InvalidValueError(
            f"alpha is {alpha!r}, the minimum effect {min_effect!r}",
            remedy="give a probability such as 0.01, and a share such as 0.05",
        )
    if max(map(len, series.values()), default=0) < FEWEST_RUNS:
        return {}  # what takes a second to load is not needed
    require("ruptures", "scipy.stats", extra="analytics")
    candidates = [(name, level) for name, values in series.items() for level in _candidates(values)]
    kept: dict[str, list[Level]] = {}
    order = sorted(candidates, key=lambda found: found[1].p_value)
    highest = 0.0
    for done, (name, level) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - done) * level.p_value))
        difference = abs(level.after - level.before)
        small, large = sorted((level.before, level.after))
        if highest < alpha and large >= small * (1 + min_effect) and difference > min_difference:
            kept.setdefault(name, []).append(msgspec.structs.replace(level, p_value=highest))
    return {name: sorted(levels, key=lambda level: level.position) for name, levels in kept.items()}


def _candidates(values: Sequence[float]) -> list[Level]:
    if len(values) < FEWEST_RUNS:
        return []
    edges = [0, *_breaks(values), len(values)]
    found = []
    for begin, position, end in zip(edges, edges[1:], edges[2:], strict=False):
        before, after = values[begin:position], values[position:end]
        found.append(
            Level(
                position=position,
                before=median(before),
                after=median(after),
                p_value=_p_value(before, after),
            )
        )
    return found


def _breaks(values: Sequence[float]) -> list[int]:
    import numpy as np
    from ruptures import KernelCPD

    smallest = min((value for value in values if value > 0), default=1.0)
    floor = max(smallest / 2, np.finfo(float).tiny)  # half of the smallest number of all is 0
    logs = np.log(np.maximum(np.asarray(values, dtype=float), floor))
    steps = np.diff(logs)
    spread = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / 2**0.5
    scaled = (logs - np.median(logs)) / max(spread, _SMALLEST_SPREAD)
    search = KernelCPD(kernel="rbf", min_size=SHORTEST_LEVEL).fit(scaled.reshape(-1, 1))
    return [int(place) for place in search.predict(pen=log(len(values)))[:-1]]


def _p_value(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the p-value of the U test: exact for small samples without ties, else approximated."""
    if len({*before, *after}) == len(before) + len(after) <= 40:
        from scipy.stats import mannwhitneyu

        return float(mannwhitneyu(before, after, method="exact").pvalue)
    return mann_whitney_p(points_of(before), points_of(after))
