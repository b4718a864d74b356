"""What a history takes and gives, beside series (see `pluginhost.series`)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

SCHEMA_VERSION = 1


class RunLabel(msgspec.Struct, frozen=True, kw_only=True):
    """Whose run it is: what is known of a run when it begins."""

    id: str
    name: str
    origin: str
    host: str
    pid: int
    python: str
    pluginhost: str
    pluggy: str
    platform: str
    started_timestamp_ns: int
    revision: str | None = None
    branch: str | None = None


class StoredRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run in a history; `number` is its place in the order in which runs came in.

    `origin` is `observed` (kept while it happened) or `saved` (recorded from a file); only the latter
    have a whole report. `ended_timestamp_ns` is None for a run that was not ended in an
    orderly way, or goes on.
    `lost_count` occurrences could not be kept, for the reasons in `lost`.
    """

    number: int
    label: RunLabel
    ended_timestamp_ns: int | None
    last_timestamp_ns: int | None
    occurrence_count: int
    lost_count: int = 0
    lost: Mapping[str, int] = {}
    plugin_count: int = 0


class PluginTotals(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin over many runs: its executions, or its hook calls where it has none.

    Percentiles are from merged histograms (at most 0.4 % off). `versions` are in the order in which
    they came in.
    """

    plugin: str
    kind: str
    run_count: int
    host_count: int
    versions: tuple[str, ...]
    count: int
    error_count: int
    total_ns: int
    min_ns: int
    max_ns: int
    p50_ns: float
    p95_ns: float
    p99_ns: float
    average_cpu_ns: float | None = None


class RunList(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of a history, the newest first."""

    schema_version: int = SCHEMA_VERSION
    place: str
    runs: tuple[StoredRun, ...] = ()


class PluginTotalsList(msgspec.Struct, frozen=True, kw_only=True):
    """The plugins of a history, who took the most time first."""

    schema_version: int = SCHEMA_VERSION
    place: str
    plugins: tuple[PluginTotals, ...] = ()


class HistoryAccount(msgspec.Struct, frozen=True, kw_only=True):
    """What became of all occurrences that a keeper was handed.

    `received == kept + pending + sum(lost.values())`, always. `kept` are committed. `lost` is by
    reason. `trouble` is what keeps it from writing just now.
    """

    place: str
    run: str
    received: int
    kept: int
    pending: int
    lost: Mapping[str, int]
    trouble: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def lost_count(self) -> int:
        """All that was lost."""
        return sum(self.lost.values())
