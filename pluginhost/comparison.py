"""Which plugin got slower between two saved runs, as far as two runs can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from math import exp, hypot, log, sqrt
from statistics import NormalDist, median

import msgspec
from msgspec.structs import replace

from pluginhost.errors import InvalidValueError, ReportFileError
from pluginhost.histogram import RELATIVE_ERROR, DurationHistogram
from pluginhost.printable import printable
from pluginhost.report import SCHEMA_VERSION, PluginState, Report
from pluginhost.significance import mann_whitney_p, median_interval

MIN_EXECUTIONS = 10
"""With fewer on either side nothing is tested: the normal approximation would not hold."""

LIMITS = (
    "the test knows the noise within each run, not between runs: repeat both",
    "medians are compared: a plugin slow only now and then does not show",
    "whether both runs had the same inputs is not known here",
)
"""What a reader must know to make honest use of a comparison."""

_FINITE_BUCKETS = 0x7F80  # from here on, a bfloat16 is infinite or not a number
_MAX_COUNT = 2**53  # what a float can count
_ENVIRONMENT = ("pluginhost", "pluggy", "python", "platform", "hostname", "cpu_count")


class Verdict(StrEnum):
    """What became of a plugin's time."""

    SLOWER = "slower"
    FASTER = "faster"
    UNCHANGED = "unchanged"
    TOO_FEW = "too few"
    NEW = "new"
    GONE = "gone"


class ErrorChange(StrEnum):
    """What became of a plugin's error rate."""

    MORE = "more"
    FEWER = "fewer"
    SAME = "same"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a comparison: whose run it is, when it was saved, how much it executed."""

    name: str
    created_timestamp_ns: int
    plugin_count: int
    execution_count: int


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin in one run: the median of all its executions with its 95 % interval, in ns.

    The interval is widened by what a histogram leaves open (0.4 %).
    """

    execution_count: int
    error_count: int
    error_rate: float
    median_ns: float
    low_ns: float
    high_ns: float


class PluginChange(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin before and after; a side is None where the plugin was not executed.

    `ratio` is the median after over the median before, with its 95 % interval. The p-values are
    corrected for the number of plugins compared; all of these are None where nothing was tested.
    `reason` says why a plugin is gone that could not be loaded.
    """

    plugin_id: str
    verdict: Verdict
    before: Timing | None = None
    after: Timing | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    p_value: float | None = None
    errors: ErrorChange = ErrorChange.SAME
    errors_p_value: float | None = None
    reason: str | None = None

    @property
    def is_regression(self) -> bool:
        """Whether it is slower, fails more often, or cannot be loaded any more."""
        return (
            self.verdict is Verdict.SLOWER
            or self.errors is ErrorChange.MORE
            or self.reason is not None
        )


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs side by side: what is worse first.

    `common_ratio` is by how much most plugins moved alike, None where they did not.
    """

    schema_version: int = SCHEMA_VERSION
    before: Run
    after: Run
    min_effect: float
    alpha: float
    min_difference_ns: int
    changes: tuple[PluginChange, ...] = ()
    common_ratio: float | None = None
    notes: tuple[str, ...] = ()
    limits: tuple[str, ...] = LIMITS

    @property
    def regressions(self) -> tuple[PluginChange, ...]:
        """The plugins to blame."""
        return tuple(change for change in self.changes if change.is_regression)


class _Side(msgspec.Struct, frozen=True):
    points: tuple[tuple[float, int], ...]
    timing: Timing

    @property
    def outcomes(self) -> tuple[tuple[float, int], ...]:
        """Successes and errors as points at 0 and 1."""
        errors = self.timing.error_count
        return ((0.0, self.timing.execution_count - errors), (1.0, errors))


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
) -> Comparison:
    """Return what changed from one run to the other.

    A plugin is slower (or faster) when all of this holds: its median changed by `min_effect` (a
    ratio: 0.05 is 5 %) and by `min_difference_ns` at least, the 95 % interval of that ratio leaves
    1 out, and the Mann-Whitney U test over all executions, corrected for the number of plugins
    (Holm 1979), gives a p-value under `alpha`. Error rates are tested the same way. Raises
    `InvalidValueError` for settings that make no sense, `ReportFileError` for a report that holds
    no durations.
    """
    _check(min_effect, alpha, min_difference_ns)
    old, new = _sides(before), _sides(after)
    settings = Comparison(
        before=_run(before, old),
        after=_run(after, new),
        min_effect=min_effect,
        alpha=alpha,
        min_difference_ns=min_difference_ns,
    )
    tests = _tests(old, new, alpha)
    reasons = _reasons(after)
    changes = [
        _tested(i, old[i].timing, new[i].timing, tests[i], settings)
        if i in tests
        else _untested(i, old.get(i), new.get(i), reasons.get(i))
        for i in sorted({*old, *new})
    ]
    common = _common_ratio(changes, min_effect)
    notes = (*_same_run(before, after), *_moved_alike(changes, common, min_effect))
    return replace(
        settings,
        changes=tuple(sorted(changes, key=_rank)),
        common_ratio=common,
        notes=(*notes, *_differences(before, after)),
    )


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


def _sides(report: Report) -> dict[str, _Side]:
    if report.performance is None:
        raise ReportFileError(
            f"the run {report.name!r} has no durations", remedy="save it with a profiler"
        )
    errors = {r.plugin_id: r.failure_count + r.timeout_count for r in report.performance.plugins}
    sides = {}
    for plugin_id, buckets in report.performance.histograms.items():
        if not all(0 <= b < _FINITE_BUCKETS and 0 < n < _MAX_COUNT for b, n in buckets):
            raise ReportFileError(
                "its histogram is not valid", plugin_id=plugin_id, remedy="save the run again"
            )
        points = DurationHistogram(buckets).points()
        if points:
            sides[plugin_id] = _Side(points, _timing(points, errors.get(plugin_id, 0)))
    return sides


def _timing(points: tuple[tuple[float, int], ...], errors: int) -> Timing:
    executions = sum(count for _, count in points)
    errors = min(max(0, errors), executions)  # a file may have been edited
    middle, low, high = median_interval(points)
    return Timing(
        execution_count=executions,
        error_count=errors,
        error_rate=errors / executions,
        median_ns=middle,
        low_ns=low * (1 - RELATIVE_ERROR),
        high_ns=high * (1 + RELATIVE_ERROR),
    )


def _run(report: Report, sides: Mapping[str, _Side]) -> Run:
    return Run(
        name=report.name,
        created_timestamp_ns=report.created_timestamp_ns,
        plugin_count=len(sides),
        execution_count=sum(side.timing.execution_count for side in sides.values()),
    )


def _tests(
    before: Mapping[str, _Side], after: Mapping[str, _Side], alpha: float
) -> dict[str, _Test]:
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


def _can_tell(before: _Side, after: _Side, alpha: float) -> bool:
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
    plugin_id: str, before: _Side | None, after: _Side | None, reason: str | None
) -> PluginChange:
    verdict = Verdict.NEW if before is None else Verdict.GONE if after is None else Verdict.TOO_FEW
    return PluginChange(
        plugin_id=plugin_id,
        verdict=verdict,
        before=before.timing if before else None,
        after=after.timing if after else None,
        reason=reason if after is None else None,
    )


def _reasons(report: Report) -> dict[str, str]:
    """Return why plugins of this run could not be loaded: all that claimed the id are broken."""
    broken = (PluginState.FAILED, PluginState.SKIPPED)
    healthy = {info.id for info in report.plugins if info.state not in broken}
    return {
        info.id: info.error or "for a reason that was not kept"
        for info in report.plugins
        if info.state in broken and info.id not in healthy
    }


def _rank(change: PluginChange) -> tuple[bool, int, float, str]:
    """What is to blame first, then by verdict, the larger change first."""
    size = abs(log(change.ratio)) if change.ratio else 0.0
    order = list(Verdict).index(change.verdict)
    return not change.is_regression, order, -size, change.plugin_id


def _common_ratio(changes: Sequence[PluginChange], min_effect: float) -> float | None:
    """Return the ratio that most of at least three plugins share, unless it is about 1."""
    ratios = [change.ratio for change in changes if change.ratio is not None]
    if not ratios:
        return None
    common = median(ratios)
    alike = sum(_alike(ratio, common, min_effect) for ratio in ratios)
    if alike < 3 or alike <= len(ratios) / 2 or _alike(common, 1.0, min_effect):
        return None
    return common


def _alike(one: float, other: float, min_effect: float) -> bool:
    return abs(log(one / other)) < log(1 + min_effect)


def _moved_alike(
    changes: Sequence[PluginChange], common: float | None, min_effect: float
) -> Iterator[str]:
    if common is None:
        return
    compared = [c for c in changes if c.ratio is not None]
    apart = [c for c in compared if c.ratio and not _alike(c.ratio, common, min_effect)]
    yield (
        f"{len(compared) - len(apart)} of {len(compared)} plugins moved alike, by about"
        f" {common - 1:+.0%}: look at the machine, or at what they share, before you blame one"
    )
    if apart:
        names = ", ".join(
            f"{printable(c.plugin_id, 40)} {c.ratio / common - 1:+.0%}" for c in apart if c.ratio
        )
        yield f"against these, the others moved: {names}"


def _same_run(before: Report, after: Report) -> Iterator[str]:
    if before == after:
        yield "both files hold the same run"
    elif before.created_timestamp_ns > after.created_timestamp_ns:
        yield "the run given as BEFORE was saved after the other: are they swapped?"


def _differences(before: Report, after: Report) -> Iterator[str]:
    pairs = [
        (name, getattr(before.environment, name), getattr(after.environment, name))
        for name in _ENVIRONMENT
    ]
    if before.performance and after.performance:
        rates = before.performance.sampling_rate, after.performance.sampling_rate
        pairs.append(("sampling rate", *rates))
    for name, old, new in pairs:
        if old != new:
            what = name.replace("_", " ")
            yield f"the runs differ in {what}: {printable(old, 60)} -> {printable(new, 60)}"
