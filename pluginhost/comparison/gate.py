"""The gate of a continuous integration: has a plugin used up its budget since the baseline?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from math import log

import msgspec

from pluginhost.comparison.budgets import (
    ALL,
    DEFAULT_BUDGETS,
    Budget,
    by_plugin,
    smallest_share,
)
from pluginhost.comparison.judging import compare
from pluginhost.comparison.pooling import pooled
from pluginhost.comparison.records import (
    LIMITS,
    Comparison,
    CostChange,
    ErrorChange,
    PluginChange,
    Run,
    Verdict,
)
from pluginhost.comparison.sides import sides_of
from pluginhost.errors import InvalidValueError
from pluginhost.figures import duration, percent
from pluginhost.report import SCHEMA_VERSION, Report

RANGE_RUNS = 3
"""With so many baseline runs, a plugin must also be slower than in every one of them."""

_PROGRAM_LIMITS = (
    "what a plugin takes in all is the sum of one run: no test tells its change from noise",
    "a baseline of three runs or more shows what noise there is between runs",
)


class GateVerdict(StrEnum):
    """What became of a plugin, the worst first; the first three close the gate."""

    OVER = "over budget"
    FAILING = "fails more often"
    NOT_LOADED = "not loaded"
    WITHIN = "within budget"
    FREE = "no budget"
    TOO_FEW = "too few"
    NEW = "new"
    GONE = "gone"

    @property
    def closes(self) -> bool:
        """Whether it is a reason not to go on."""
        return self in (GateVerdict.OVER, GateVerdict.FAILING, GateVerdict.NOT_LOADED)


class GateRow(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin before and after; for a host its median execution, for a program all it took.

    `ratio` is after over before, with its 95 % interval where there is one. `p_value` is that of
    the Mann-Whitney U test, corrected for the number of plugins. `reason` says in words what the
    verdict rests on.
    """

    plugin: str
    verdict: GateVerdict
    budget: str = ""
    before_ns: float | None = None
    after_ns: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    p_value: float | None = None
    reason: str = ""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a run keeps its budgets against a baseline, and why not; the worst row first.

    `measured` says what the times are: `execution` (medians) or `program` (in all).
    """

    schema_version: int = SCHEMA_VERSION
    passed: bool
    measured: str
    before: Run
    after: Run
    baseline_runs: int = 1
    rows: tuple[GateRow, ...] = ()
    notes: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    @property
    def culprits(self) -> tuple[GateRow, ...]:
        """The rows that close the gate."""
        return tuple(row for row in self.rows if row.verdict.closes)


def judge(
    baseline: Report | Sequence[Report],
    current: Report,
    budgets: Sequence[Budget] = DEFAULT_BUDGETS,
    *,
    alpha: float = 0.01,
    min_difference_ns: int | None = None,
    relative: bool = False,
) -> Gate:
    """Return whether `current` keeps `budgets` against one baseline run, or several (oldest first).

    Of a host's run, a plugin is over its budget when the comparison of all executions says that it
    is slower (see `compare`) and its median is so by the budget. Of a program's, when all it took
    grew by the budget and by `min_difference_ns`. With three baseline runs or more it must also be
    above every one of them, which is what noise between runs looks like. A limit in ns is passed
    when the whole 95 % interval of the median is above it; a sum has none. More failures, or not
    being loaded any more, close the gate whatever the budget.

    `min_difference_ns` is by default 1 us for medians and 1 ms for sums. Raises `InvalidValueError`
    for settings that make no sense, `ReportFileError` for runs of two kinds.
    """
    runs = [baseline] if isinstance(baseline, Report) else list(baseline)
    whole = pooled(runs)
    comparison = compare(
        whole,
        current,
        min_effect=min(1.0, smallest_share(budgets)),
        alpha=alpha,
        min_difference_ns=1000 if min_difference_ns is None else min_difference_ns,
        relative=relative,
    )
    if relative and comparison.costs:
        raise InvalidValueError(
            "runs of a program cannot be judged relatively", remedy="leave out relative"
        )
    chosen = by_plugin(budgets, _names(comparison))
    if comparison.costs:
        least_ns = 1_000_000 if min_difference_ns is None else min_difference_ns
        rows = _program_rows(comparison, runs, chosen, least_ns)
    else:
        rows = _host_rows(comparison, runs, chosen)
    rows.sort(key=_rank)
    return Gate(
        passed=not any(row.verdict.closes for row in rows),
        measured="program" if comparison.costs else "execution",
        before=comparison.before,
        after=comparison.after,
        baseline_runs=len(runs),
        rows=tuple(rows),
        notes=comparison.notes,
        limits=_PROGRAM_LIMITS if comparison.costs else LIMITS,
    )


def _names(comparison: Comparison) -> set[str]:
    if comparison.costs:
        return {change.plugin for change in comparison.costs}
    return {change.plugin_id for change in comparison.changes}


def _rank(row: GateRow) -> tuple[int, float, str]:
    size = abs(log(row.ratio)) if row.ratio else 0.0
    return list(GateVerdict).index(row.verdict), -size, row.plugin


# Runs of a host: medians of executions, tested


def _host_rows(
    comparison: Comparison, runs: Sequence[Report], chosen: Mapping[str, Budget]
) -> list[GateRow]:
    medians: dict[str, list[float]] = {}
    if len(runs) >= RANGE_RUNS and not comparison.relative:
        for run in runs:
            for name, side in sides_of(run).items():
                medians.setdefault(name, []).append(side.timing.median_ns)
    return [
        _host_row(change, chosen.get(change.plugin_id, chosen.get(ALL)), medians)
        for change in comparison.changes
    ]


def _host_row(
    change: PluginChange, budget: Budget | None, medians: Mapping[str, Sequence[float]]
) -> GateRow:
    verdict, reason = _host_verdict(change, budget, medians.get(change.plugin_id, ()))
    if change.errors is ErrorChange.MORE and change.before and change.after:
        verdict = GateVerdict.FAILING if verdict is not GateVerdict.OVER else verdict
        rates = f"{percent(change.before.error_rate)} -> {percent(change.after.error_rate)}"
        reason = f"{reason}; fails more often: {rates}".removeprefix("; ")
    if change.reason is not None:
        verdict, reason = GateVerdict.NOT_LOADED, change.reason
    return GateRow(
        plugin=change.plugin_id,
        verdict=verdict,
        budget=str(budget) if budget else "",
        before_ns=change.before.median_ns if change.before else None,
        after_ns=change.after.median_ns if change.after else None,
        ratio=change.ratio,
        ratio_low=change.ratio_low,
        ratio_high=change.ratio_high,
        p_value=change.p_value,
        reason=reason,
    )


def _host_verdict(
    change: PluginChange, budget: Budget | None, medians: Sequence[float]
) -> tuple[GateVerdict, str]:
    after, limit_ns = change.after, budget.limit_ns if budget else None
    if after is None:
        return GateVerdict.GONE, ""
    if limit_ns is not None and after.low_ns > limit_ns:
        return GateVerdict.OVER, f"its median is over {duration(limit_ns)}"
    if change.verdict is Verdict.NEW:
        return GateVerdict.NEW, ""
    if budget is None:
        return GateVerdict.FREE, ""
    if change.ratio is None:
        return GateVerdict.TOO_FEW, ""
    return _shared(change.verdict, change.ratio, after.median_ns, budget.share, medians)


def _shared(
    verdict: Verdict,
    ratio: float,
    after_ns: float,
    share: float | None,
    medians: Sequence[float],
) -> tuple[GateVerdict, str]:
    """Return what a tested change is against the share that is allowed."""
    if share is None or verdict is not Verdict.SLOWER:
        return GateVerdict.WITHIN, ""
    if ratio < 1 + share:
        return GateVerdict.WITHIN, "slower, but not by its budget"
    if medians and after_ns <= max(medians):
        return GateVerdict.WITHIN, "as slow as in one of the baseline runs"
    beyond = f", and above all {len(medians)} baseline runs" if medians else ""
    return GateVerdict.OVER, f"{_by(ratio)}{beyond}"


# Runs of a program: sums


def _program_rows(
    comparison: Comparison,
    runs: Sequence[Report],
    chosen: Mapping[str, Budget],
    min_difference_ns: int,
) -> list[GateRow]:
    before: dict[str, list[int]] = {}
    if len(runs) >= RANGE_RUNS:
        for costs in [run.costs for run in runs if run.costs is not None]:
            for row in costs.plugins:
                before.setdefault(row.name, []).append(row.self_ns)
    slower: dict[str, list[PluginChange]] = {}
    for change in comparison.changes:
        if change.verdict is Verdict.SLOWER:
            slower.setdefault(change.plugin_id.rpartition(":")[0], []).append(change)
    failing = {
        change.plugin_id.rpartition(":")[0]
        for change in comparison.changes
        if change.errors is ErrorChange.MORE
    }
    rows = []
    for cost in comparison.costs:
        budget = chosen.get(cost.plugin, chosen.get(ALL))
        verdict, why = _program_verdict(
            cost, budget, before.get(cost.plugin, ()), min_difference_ns
        )
        if cost.plugin in failing and cost.self_after_ns is not None:
            why = f"{why}; its hooks raise more often".removeprefix("; ")
            verdict = GateVerdict.FAILING if verdict is not GateVerdict.OVER else verdict
        if verdict is GateVerdict.OVER:
            why = "; ".join([why, *_evidence(cost, slower.get(cost.plugin, ()))])
        rows.append(
            GateRow(
                plugin=cost.plugin,
                verdict=verdict,
                budget=str(budget) if budget else "",
                before_ns=cost.self_before_ns,
                after_ns=cost.self_after_ns,
                ratio=_ratio(cost),
                reason=why,
            )
        )
    return rows


def _program_verdict(
    cost: CostChange, budget: Budget | None, before: Sequence[int], min_difference_ns: int
) -> tuple[GateVerdict, str]:
    after_ns, limit_ns = cost.self_after_ns, budget.limit_ns if budget else None
    if after_ns is None:
        return GateVerdict.GONE, ""
    if limit_ns is not None and after_ns > limit_ns:
        return GateVerdict.OVER, f"it took more than {duration(limit_ns)} in all"
    if cost.self_before_ns is None:
        return GateVerdict.NEW, ""
    if budget is None:
        return GateVerdict.FREE, ""
    share, ratio = budget.share, _ratio(cost)
    small = cost.change_ns < min_difference_ns
    if share is None or small or (ratio is not None and ratio < 1 + share):
        return GateVerdict.WITHIN, ""
    return _grown(after_ns, ratio, before)


def _grown(after_ns: int, ratio: float | None, before: Sequence[int]) -> tuple[GateVerdict, str]:
    """Return what a sum that grew by more than is allowed is against those of the baseline runs."""
    if before and after_ns <= max(before):
        return GateVerdict.WITHIN, "as much as in one of the baseline runs"
    beyond = f", above all {len(before)} baseline runs" if before else ""
    by = _by(ratio) if ratio is not None else "from nothing"
    return GateVerdict.OVER, f"{by} in all{beyond}"


def _ratio(cost: CostChange) -> float | None:
    if not cost.self_before_ns or cost.self_after_ns is None:
        return None
    return cost.self_after_ns / cost.self_before_ns


def _evidence(cost: CostChange, slower: Sequence[PluginChange]) -> list[str]:
    """Return what else speaks for it: other code, longer imports, hooks that a test says are slower."""
    found = []
    if cost.version_before != cost.version_after:
        found.append(f"version {cost.version_before or '-'} -> {cost.version_after or '-'}")
    imports_ns = (cost.import_after_ns or 0) - (cost.import_before_ns or 0)
    if 2 * imports_ns > cost.change_ns:
        found.append(f"imports +{duration(imports_ns)}")
    for change in slower[:2]:
        hook = change.plugin_id.rpartition(":")[2]
        found.append(f"{hook} {_by(change.ratio or 1.0)} (tested)")
    return found


def _by(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.0f}%" if ratio < 10 else f"x{ratio:,.0f}"
