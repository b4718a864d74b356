"""A report as metrics with labels, for Prometheus and OpenTelemetry: capped, and safe to label with.

The costliest rows (plugin and hook, by self time) have series of their own, all others together are
the row `other`, so the sum over a family is that of the report, however many plugins there are.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pluginhost.errors import InvalidValueError
from pluginhost.exporters.view import Row, tidied, view_of
from pluginhost.histogram import DurationHistogram
from pluginhost.report import Report
from pluginhost.suite import SuiteReport

MAX_SERIES = 1_000
"""So many series one export has at most, unless wanted otherwise."""

MIN_SERIES = 100
"""With fewer there is no room for the histogram of a single plugin."""

OTHER = "other"
"""The plugin and the hook of what has no series of its own."""

BOUNDS_S = (1e-05, 3e-05, 1e-04, 3e-04, 1e-03, 3e-03, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Upper bounds of the buckets of histograms; above the last there is one more."""

_SPREAD_SERIES = len(BOUNDS_S) + 3  # a bucket each, one above, sum and count
_SERIES_OF_ONE = 75  # of one run at least: about the whole and its suite, and of all its others
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_Key = tuple[str, ...]


class Spread(NamedTuple):
    """A histogram: counts of the buckets of `BOUNDS_S` and of the one above, not cumulated."""

    counts: tuple[int, ...]
    sum_s: float


class Family(NamedTuple):
    """All series of one metric: values by those of its labels.

    `kind` is counter, gauge or histogram, whose values are `Spread`. `unit` is seconds or empty.
    """

    name: str
    summary: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    values: dict[_Key, float | Spread]


class Measured(NamedTuple):
    """What metrics are made of: rows, the whole that they are of, and labels in front of theirs.

    `self_times` says whether self times are known; where they are not, `self_ns` of the rows is their
    inclusive time, which only ranks them. `run_count` and `lost_count` are of what adds runs up.
    """

    created_timestamp_ns: int
    whole_ns: int
    rows: Sequence[Row]
    labels: Mapping[str, str] = {}
    suite: SuiteReport | None = None
    self_times: bool = True
    run_count: int | None = None
    lost_count: int | None = None

    @property
    def cost_ns(self) -> int:
        """What all rows took."""
        return sum(row.self_ns for row in self.rows)


def measured_of(report: Report, **labels: str) -> Measured:
    """Return what a report has for metrics, with these labels."""
    view = view_of(report)
    return Measured(report.created_timestamp_ns, view.whole_ns, view.rows, labels, report.suite)


def families(measured: Sequence[Measured], *, max_series: int = MAX_SERIES) -> list[Family]:
    """Return the metrics of all that was measured, at most `max_series` series in all.

    All must have labels of the same names, and no two the same labels. Where there are too many, the
    costliest keep their labels, and all others together have `other` for each.
    """
    if max_series < MIN_SERIES:
        raise InvalidValueError(
            f"max_series is {max_series!r}", remedy=f"give {MIN_SERIES} or more"
        )
    extra = tuple(measured[0].labels) if measured else ()
    measured = _fitting(measured, max(1, max_series // _SERIES_OF_ONE))
    runs = [_Run(tuple(label_of(one.labels[name]) for name in extra), one) for one in measured]
    about = _about(runs, extra)
    left = max_series - sum(len(family.values) for family in about)
    return [*about, *_of_calls(runs, extra, left)]


def label_of(text: str) -> str:
    r"""Return `text` as a label: what would steer a terminal or end a line becomes `\x1b`."""
    return _UNSAFE.sub(lambda m: m[0].encode("unicode_escape").decode(), tidied(text))


def _fitting(measured: Sequence[Measured], most: int) -> Sequence[Measured]:
    """Return at most so many: the costliest as they are, all others as one."""
    if len(measured) <= most:
        return measured
    ranked = sorted(measured, key=lambda one: (-one.cost_ns, tuple(one.labels.values())))
    kept, rest = ranked[: most - 1], ranked[most - 1 :]
    together = Measured(
        created_timestamp_ns=max(one.created_timestamp_ns for one in rest),
        whole_ns=sum(one.whole_ns for one in rest),
        rows=[row for one in rest for row in one.rows],
        labels=dict.fromkeys(rest[0].labels, OTHER),
        self_times=all(one.self_times for one in rest),
        run_count=_sum(one.run_count for one in rest),
        lost_count=_sum(one.lost_count for one in rest),
    )
    return [*kept, together]


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


class _Run:
    """Something measured, on its way: `prefix` are the values of the labels before all others."""

    def __init__(self, prefix: _Key, measured: Measured) -> None:
        self.prefix = prefix
        self.measured = measured

    def rows(self) -> Iterator[tuple[_Key, Row]]:
        """Yield (labels, row)."""
        for row in self.measured.rows:
            yield (*self.prefix, label_of(row.plugin), label_of(row.hook)), row


def _about(runs: Sequence[_Run], extra: _Key) -> list[Family]:
    """Return what there is of each run as a whole; of a suite, its parts and outcomes as well."""
    created: dict[_Key, float | Spread] = {}
    whole: dict[_Key, float | Spread] = {}
    parts: dict[_Key, float | Spread] = {}
    outcomes: dict[_Key, float | Spread] = {}
    counts: dict[_Key, float | Spread] = {}
    losses: dict[_Key, float | Spread] = {}
    for run in runs:
        measured, key = run.measured, run.prefix  # a run may be called `other`: it is one of them
        moment = measured.created_timestamp_ns / 1e9
        created[key] = max(moment, _number(created.get(key, moment)))
        _add(whole, key, measured.whole_ns / 1e9)
        _add(counts, key, measured.run_count)
        _add(losses, key, measured.lost_count)
        suite = measured.suite
        if suite is not None:
            parts |= {(*run.prefix, str(each.part)): each.self_ns / 1e9 for each in suite.parts}
            # Outcomes are names, too: foreign ones are possible, and none of them may be many.
            known = sorted(suite.outcomes.items(), key=lambda item: -item[1])
            for position, (outcome, count) in enumerate(known):
                key = (*run.prefix, label_of(outcome) if position < 10 else OTHER)
                outcomes[key] = _number(outcomes.get(key, 0.0)) + count
    found = (
        Family("pluginhost_run_created_timestamp_seconds", "When the report was made.",
               "gauge", "seconds", extra, created),
        Family("pluginhost_run_observed_seconds", "The whole that is divided among plugins.",
               "gauge", "seconds", extra, whole),
        Family("pluginhost_suite_part_seconds", "Where the time of a test suite went.",
               "gauge", "seconds", (*extra, "part"), parts),
        Family("pluginhost_suite_tests", "Tests by how they ended.",
               "gauge", "", (*extra, "outcome"), outcomes),
        Family("pluginhost_runs", "Runs that are added up here.",
               "gauge", "", extra, counts),
        Family("pluginhost_lost", "What happened but could not be kept in the history.",
               "counter", "", extra, losses),
    )  # fmt: skip
    return [family for family in found if family.values]


def _add(values: dict[_Key, float | Spread], key: _Key, value: float | None) -> None:
    if value is not None:
        values[key] = _number(values.get(key, 0.0)) + value


def _number(value: float | Spread) -> float:
    assert not isinstance(value, Spread)
    return value


def _of_calls(runs: Sequence[_Run], extra: _Key, left: int) -> list[Family]:
    """Return the metrics by plugin and hook; half of what is `left` is for histograms."""
    labelled = [pair for run in runs for pair in run.rows()]
    kept = _costliest(labelled, left // 2, _plain_series)
    without_self = {run.prefix for run in runs if not run.measured.self_times}
    calls: defaultdict[_Key, float] = defaultdict(float)
    times: dict[str, defaultdict[_Key, float]] = {
        name: defaultdict(float) for name in ("total_ns", "self_ns", "cpu_ns")
    }
    for key, row in labelled:
        named = key if key in kept else _others(key)
        for status, count in row.statuses:
            calls[*named, status] += count
        for name, sums in times.items():
            value = getattr(row, name)
            if value is not None and not (name == "self_ns" and key[:-2] in without_self):
                sums[named] += value / 1e9
    names = (*extra, "plugin", "hook")
    found = (
        Family("pluginhost_calls", "Executions and hook calls by how they ended.",
               "counter", "", (*names, "status"), {**calls}),
        Family("pluginhost_time_seconds", "Time with all that was called meanwhile.",
               "counter", "seconds", names, {**times["total_ns"]}),
        Family("pluginhost_self_time_seconds", "Time without other plugins that were called.",
               "counter", "seconds", names, {**times["self_ns"]}),
        Family("pluginhost_cpu_time_seconds", "CPU time; of executions an estimate from a sample.",
               "counter", "seconds", names, {**times["cpu_ns"]}),
        Family("pluginhost_call_duration_seconds", "How long single calls took.",
               "histogram", "seconds", names, _spreads(labelled, left - left // 2)),
    )  # fmt: skip
    return [family for family in found if family.values]


def _plain_series(row: Row) -> int:
    return len(row.statuses) + 2 + (row.cpu_ns is not None)


def _others(key: _Key) -> _Key:
    return (*key[:-2], OTHER, OTHER)


def _costliest(
    labelled: Iterable[tuple[_Key, Row]], room: int, series: Callable[[Row], int]
) -> set[_Key]:
    """Return the labels that fit into `room`, with room left for the others.

    The costliest come first, but the application's own plugins after those that can be left out.
    """
    cost_ns: defaultdict[_Key, int] = defaultdict(int)
    size: defaultdict[_Key, int] = defaultdict(int)
    runs, own = set(), set()
    for key, row in labelled:
        if row.kind == "built-in hook":
            own.add(key)
        cost_ns[key] += row.self_ns
        size[key] += series(row)
        runs.add(key[:-2])
    if sum(size.values()) <= room:
        return set(cost_ns)
    room -= len(runs) * max(size.values(), default=0)
    kept = set()
    for key in sorted(cost_ns, key=lambda key: (key in own, -cost_ns[key], key)):
        room -= size[key]
        if room < 0:
            break
        kept.add(key)
    return kept


def _spreads(labelled: Sequence[tuple[_Key, Row]], room: int) -> dict[_Key, float | Spread]:
    """Return the histograms that were kept, merged exactly where two share a series."""
    having = [(key, row) for key, row in labelled if row.histogram]
    kept = _costliest(having, room, lambda _row: _SPREAD_SERIES)
    merged: defaultdict[_Key, DurationHistogram] = defaultdict(DurationHistogram)
    for key, row in having:
        merged[key if key in kept else _others(key)].merge(DurationHistogram(row.histogram))
    return {key: _spread(histogram) for key, histogram in merged.items()}


def _spread(histogram: DurationHistogram) -> Spread:
    counts = [0] * (len(BOUNDS_S) + 1)
    sums = []
    place = 0
    for duration_ns, count in histogram.points():
        while place < len(BOUNDS_S) and duration_ns / 1e9 > BOUNDS_S[place]:
            place += 1
        counts[place] += count
        sums.append(duration_ns / 1e9 * count)
    return Spread(tuple(counts), math.fsum(sums))
