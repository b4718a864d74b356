"""What is known over time: series over runs, change points, forecasts, anomalies of a live stream.

Values are in the unit that the series names. Times are wall-clock times in ns since the epoch, by
which nothing is ordered: runs come in the order in which a history took them in.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class SeriesPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One run (or several of one plugin version, or one stretch of time) in a series.

    `label` names it for people. `value` is None where it was not measured; `low` and `high` are the
    95 % interval of a median, None for other metrics.
    """

    label: str
    timestamp_ns: int
    value: float | None
    low: float | None = None
    high: float | None = None
    execution_count: int = 0
    error_count: int = 0
    run_count: int = 1
    run: str | None = None
    name: str = ""
    host: str = ""
    version: str | None = None
    revision: str | None = None
    branch: str | None = None


class ChangePoint(msgspec.Struct, frozen=True, kw_only=True):
    """From one point on, a metric of a plugin has another level.

    `position` is the index of the first point at the new level. `ratio` is the median after over
    the median before, None where that was 0. `p_value` is that of the Mann-Whitney U test between
    the two levels, corrected for the number of plugins and change points that were looked at together.
    `version_before` and
    `version_after` differ where the plugin's own version changed there; where it did not, something
    else did.
    """

    plugin: str
    metric: str
    position: int
    label: str
    timestamp_ns: int
    before: float
    after: float
    ratio: float | None
    p_value: float
    unit: str = "ns"
    worse: bool = False
    run: str | None = None
    version_before: str | None = None
    version_after: str | None = None
    revision: str | None = None

    @property
    def version_changed(self) -> bool:
        """Whether the plugin's version is another from there on."""
        return self.version_before != self.version_after


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What the next run would bring if all went on as it did since `since`: an estimate.

    `expected` with the interval in which `confidence` of the next values are expected. `method` says
    how it was made, `basis` from how many points.
    """

    plugin: str
    metric: str
    method: str
    basis: int
    since: str
    expected: float
    low: float
    high: float
    confidence: float
    slope: float
    rising: bool | None


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one plugin over runs, versions or time; `by` says over which.

    `left_out` counts points whose value was not finite, which are shown and not judged. `notes`
    say what else is to be known.
    """

    schema_version: int = 1
    plugin: str
    metric: str
    unit: str
    by: str = "run"
    points: tuple[SeriesPoint, ...] = ()
    change_points: tuple[ChangePoint, ...] = ()
    forecast: Forecast | None = None
    left_out: int = 0
    notes: tuple[str, ...] = ()


class AnomalyKind(StrEnum):
    """What of a plugin is not as it was."""

    SLOW = "slow"
    """Single executions far beyond what is usual."""
    SHIFTED = "shifted"
    """The usual duration itself has moved."""
    FAILING = "failing"
    """It fails more often than is usual."""


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """Something in the live stream that is not as it was before, in the same process.

    From `first_timestamp_ns` to `last_timestamp_ns`, `count` executions were concerned. `usual` and
    `seen` are durations in ns, or error rates where the kind is `failing`. `score` is how many robust
    standard deviations away that is, the largest that was seen.
    """

    plugin: str
    hook: str = "execute"
    kind: AnomalyKind
    first_timestamp_ns: int
    last_timestamp_ns: int
    count: int
    usual: float
    seen: float
    score: float
