"""What a comparison of two runs says."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from pluginhost.report import SCHEMA_VERSION

LIMITS = (
    "the test knows the noise within each run, not between runs: repeat both",
    "medians are compared: a plugin slow only now and then does not show",
    "whether both runs had the same inputs is not known here",
)
"""What a reader must know to make honest use of a comparison."""


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


class CostChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a plugin of a program cost in all, before and after; None where it was not there.

    These are sums of one run each, so there is no test of them.
    """

    plugin: str
    version_before: str | None = None
    version_after: str | None = None
    import_before_ns: int | None = None
    import_after_ns: int | None = None
    self_before_ns: int | None = None
    self_after_ns: int | None = None

    @property
    def change_ns(self) -> int:
        """By how much its part of the whole grew."""
        return (self.self_after_ns or 0) - (self.self_before_ns or 0)


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs side by side: what is worse first.

    `common_ratio` is by how much most plugins moved alike, None where they did not; where
    `relative`, ratios, p-values and verdicts are against that.
    """

    schema_version: int = SCHEMA_VERSION
    before: Run
    after: Run
    min_effect: float
    alpha: float
    min_difference_ns: int
    relative: bool = False
    changes: tuple[PluginChange, ...] = ()
    common_ratio: float | None = None
    costs: tuple[CostChange, ...] = ()
    notes: tuple[str, ...] = ()
    limits: tuple[str, ...] = LIMITS

    @property
    def regressions(self) -> tuple[PluginChange, ...]:
        """The plugins to blame."""
        return tuple(change for change in self.changes if change.is_regression)
