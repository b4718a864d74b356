"""Which plugin got slower between two saved runs, as far as two runs can tell."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, hypot, log, sqrt
from statistics import NormalDist

import msgspec
from msgspec.structs import replace

from pluginhost.comparison.notes import common_ratio, notes_on
from pluginhost.comparison.records import Comparison, ErrorChange, PluginChange, Timing, Verdict
from pluginhost.comparison.sides import Side, loading_failures, run_of, sides_of
from pluginhost.comparison.totals import cost_changes
from pluginhost.errors import InvalidValueError
from pluginhost.histogram import RELATIVE_ERROR
from pluginhost.report import Report
from pluginhost.significance import mann_whitney_p

MIN_EXECUTIONS = 10
"""With fewer on either side nothing is tested: the normal approximation would not hold."""


class _Test(msgspec.Struct, frozen=True):
    times_p: float
    errors_p: float


def compare(
    before: Report,
    after: Report,
    *,
    min_effect: float = 0.05,
    alpha: float = 0.01,
    min_difference_ns: int = 1000,
    relative: bool = False,
    level: float | None = None,
) -> Comparison:
    """Return what changed from one run to the other.

    A plugin is slower (or faster) when all of this holds: its median changed by `min_effect` (a
    ratio: 0.05 is 5 %) and by `min_difference_ns` at least, the 95 % interval of that ratio leaves
    1 out, and the Mann-Whitney U test over all executions, corrected for the number of plugins
    (Holm 1979), gives a p-value under `alpha`. Error rates are tested the same way.

    Where most plugins moved alike, it is rather the machine that did; with `relative`, times are
    judged against what they have in common, or against the ratio `level`. Settings that make no
    sense raise `InvalidValueError`, and `ReportFileError` is raised for a report that holds no
    durations, or for runs of two kinds.
    """
    _check(min_effect, alpha, min_difference_ns)
    costs = cost_changes(before, after)
    old, new = sides_of(before), sides_of(after)
    settings = Comparison(
        before=run_of(before, old),
        after=run_of(after, new),
        min_effect=min_effect,
        alpha=alpha,
        min_difference_ns=min_difference_ns,
        relative=relative or level is not None,
        costs=costs,
    )
    reasons = loading_failures(after)
    changes = _changes(old, new, reasons, settings)
    common = level or common_ratio(changes, min_effect)
    notes = notes_on(before, after, changes, settings, common)
    if settings.relative and common is not None:
        scaled = {i: side.scaled(1 / common) for i, side in new.items()}
        changes = [
            replace(c, after=new[c.plugin_id].timing) if c.after else c
            for c in _changes(old, scaled, reasons, settings)
        ]
    ranked = tuple(sorted(changes, key=_rank))
    return replace(settings, changes=ranked, common_ratio=common, notes=notes)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values corrected for their number: comparing many plugins finds no more by chance.

    Holm's step-down method (Scandinavian Journal of Statistics 6, 1979); it needs no independence.
    """
    corrected: dict[str, float] = {}
    highest = 0.0
    for done, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - done) * p_values[name]))
        corrected[name] = highest
    return corrected


def ratio_interval(before: Timing, after: Timing) -> tuple[float, float, float]:
    """Return (ratio, low, high) of the median after over the median before, at 95 %.

    The interval is put together from those of the two medians, on the logarithmic scale (the
    MOVER of Zou and Donner, Statistics in Medicine 27, 2008). A duration under 1 ns counts as 1.
    """
    b, b_low, b_high = (
        log(max(1.0, ns)) for ns in (before.median_ns, before.low_ns, before.high_ns)
    )
    a, a_low, a_high = (log(max(1.0, ns)) for ns in (after.median_ns, after.low_ns, after.high_ns))
    ratio = a - b
    low = ratio - hypot(a - a_low, b_high - b)
    high = ratio + hypot(a_high - a, b - b_low)
    return exp(ratio), exp(low), exp(high)


def _check(min_effect: float, alpha: float, min_difference_ns: int) -> None:
    if not 0.01 <= min_effect <= 100:
        raise InvalidValueError(
            f"the minimum effect is {min_effect!r}",
            remedy=f"give 1 % or more: saved durations are kept to {RELATIVE_ERROR:.1%}",
        )
    if not 0 < alpha < 1:
        raise InvalidValueError(
            f"alpha is {alpha!r}", remedy="give a probability between 0 and 1, such as 0.01"
        )
    if min_difference_ns < 0:
        raise InvalidValueError(
            f"the minimum difference is {min_difference_ns} ns", remedy="give 0 or more"
        )


def _changes(
    before: Mapping[str, Side],
    after: Mapping[str, Side],
    reasons: Mapping[str, str],
    settings: Comparison,
) -> list[PluginChange]:
    tests = _tests(before, after, settings.alpha)
    return [
        _tested(i, before[i].timing, after[i].timing, tests[i], settings)
        if i in tests
        else _untested(i, before.get(i), after.get(i), reasons.get(i))
        for i in sorted({*before, *after})
    ]


def _tests(before: Mapping[str, Side], after: Mapping[str, Side], alpha: float) -> dict[str, _Test]:
    """Return what the tests say of the plugins with enough executions, corrected together."""
    enough = [
        i
        for i in before.keys() & after.keys()
        if min(before[i].timing.execution_count, after[i].timing.execution_count) >= MIN_EXECUTIONS
    ]
    times = holm({i: mann_whitney_p(before[i].points, after[i].points) for i in enough})
    errors = holm({i: mann_whitney_p(before[i].outcomes, after[i].outcomes) for i in enough})
    return {
        i: _Test(times[i], errors[i])
        for i in enough
        if _can_tell(before[i], after[i], alpha / len(enough))
    }


def _can_tell(before: Side, after: Side, alpha: float) -> bool:
    """Whether so many executions could give a p-value under `alpha` at all: if none overlapped."""
    n1, n2 = before.timing.execution_count, after.timing.execution_count
    distance = (n1 * n2 / 2 - 0.5) / sqrt(n1 * n2 * (n1 + n2 + 1) / 12)
    return 2 * NormalDist().cdf(-distance) < alpha


def _tested(
    plugin_id: str, before: Timing, after: Timing, test: _Test, settings: Comparison
) -> PluginChange:
    ratio, low, high = ratio_interval(before, after)
    verdict = Verdict.UNCHANGED
    difference_ns = abs(after.median_ns - before.median_ns)
    if test.times_p < settings.alpha and difference_ns >= settings.min_difference_ns:
        if ratio >= 1 + settings.min_effect and low > 1:
            verdict = Verdict.SLOWER
        elif ratio <= 1 / (1 + settings.min_effect) and high < 1:
            verdict = Verdict.FASTER
    errors = ErrorChange.SAME
    if test.errors_p < settings.alpha:
        rising = after.error_rate > before.error_rate
        errors = ErrorChange.MORE if rising else ErrorChange.FEWER
    return PluginChange(
        plugin_id=plugin_id,
        verdict=verdict,
        before=before,
        after=after,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        p_value=test.times_p,
        errors=errors,
        errors_p_value=test.errors_p,
    )


def _untested(
    plugin_id: str, before: Side | None, after: Side | None, reason: str | None
) -> PluginChange:
    verdict = Verdict.NEW if before is None else Verdict.GONE if after is None else Verdict.TOO_FEW
    return PluginChange(
        plugin_id=plugin_id,
        verdict=verdict,
        before=before.timing if before else None,
        after=after.timing if after else None,
        reason=reason if after is None else None,
    )


def _rank(change: PluginChange) -> tuple[bool, int, float, str]:
    """What is to blame first, then by verdict, the larger change first."""
    size = abs(log(change.ratio)) if change.ratio else 0.0
    order = list(Verdict).index(change.verdict)
    return not change.is_regression, order, -size, change.plugin_id
