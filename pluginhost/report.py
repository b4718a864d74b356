"""What is known: the records that whatever shows things reads.

Durations are integers in ns (averages are floats), sizes are in bytes, wall-clock times in ns
since the epoch. Ratios are 0.0-1.0 unless the name says percent. None means not measured.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from inspect import cleandoc
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pluginhost.costs import CostReport, FlameGraphNode, Verification
from pluginhost.errors import ReportFileError
from pluginhost.footprint import LoopBlock, ResourceUse
from pluginhost.inside import InsideProfile
from pluginhost.journal import Status
from pluginhost.saving import reason_of, write_file
from pluginhost.series import Anomaly, Series
from pluginhost.suite import SuiteReport

SCHEMA_VERSION = 1


class PluginState(StrEnum):
    """Where a plugin stands in its life."""

    DISCOVERED = "discovered"
    LOADING = "loading"
    LOADED = "loaded"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNLOADING = "unloading"
    UNLOADED = "unloaded"
    QUARANTINED = "quarantined"


class PluginInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a plugin without importing it, and how it stands.

    `source` is the kind of place it was found in, `location` the place itself. `requires` are peers
    with optional version specifiers ("checksum>=1"), `after` are peers that come first when there.
    `runner` says where it runs. `error` and `remedy` say why it failed, was skipped or put in
    quarantine, `survivors` what an unload could not release, `dirty` what loading has changed of what
    the whole process shares, `loop_blocks` where its code has blocked event loops, the longest first,
    `resources` what it took of the host's process.
    """

    id: str
    state: PluginState = PluginState.DISCOVERED
    source: str = ""
    location: str = ""
    summary: str = ""
    version: str | None = None
    distribution: str | None = None
    requires_api: str | None = None
    requires: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    runner: str = "inline"
    error: str | None = None
    remedy: str | None = None
    survivors: tuple[str, ...] = ()
    dirty: tuple[str, ...] = ()
    loop_blocks: tuple[LoopBlock, ...] = ()
    resources: tuple[ResourceUse, ...] = ()


class ExecutionMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """One execution, with the wall-clock time of its end.

    CPU, memory, threads and tasks are None where it was not sampled. `memory_allocated_bytes` and
    `memory_released_bytes` are the growth and shrinking of the process's resident set: an estimate,
    not the plugin's own where `overlapped`. The last 100 failures of a plugin keep their message.
    `exact` says that it ran in a process of its own, which was measured: CPU and memory are then those
    of this execution, `peak_rss_bytes` is the most that the process held meanwhile, and
    `exit_status` says how it ended, if it did.
    """

    plugin_id: str
    timestamp_ns: int
    duration_ns: int
    status: Status
    error_message: str | None = None
    cpu_time_ns: int | None = None
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    memory_allocated_bytes: int | None = None
    memory_released_bytes: int | None = None
    threads_at_start: int | None = None
    threads_at_end: int | None = None
    tasks_at_start: int | None = None
    tasks_at_end: int | None = None
    overlapped: bool | None = None
    exact: bool = False
    peak_rss_bytes: int | None = None
    exit_status: str | None = None


class PerformanceSample(msgspec.Struct, frozen=True, kw_only=True):
    """The costly readings of one sampled execution, for plots over time."""

    timestamp_ns: int
    duration_ns: int
    cpu_time_ns: int
    rss_bytes: int


class AggregateMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """All executions of one plugin. Counts, errors and durations are exact at every sampling rate.

    Percentiles come from a histogram (at most 0.4 % off). `total_time_ns` is inclusive,
    `self_time_ns` without the plugins and hooks it called; where `concurrent_children` is true
    those ran side by side and the self time is a lower bound. CPU is from the sampled executions,
    memory from those of them that did not overlap (`memory_samples`): growth of the resident set,
    a lower bound of what was allocated. The first execution is known by its start, the last by
    its end. `exact_count` executions ran in processes of their own: their CPU and memory are exact,
    their peaks are the most that those processes held, and `exit_count` of them ended their process,
    the last with `last_exit_status`. `loop_block_count` times its code has blocked an event loop, for
    `longest_loop_block_ns` at most, the last time at `last_loop_block`.
    """

    plugin_id: str
    execution_count: int
    success_count: int
    failure_count: int
    timeout_count: int
    cancelled_count: int
    error_rate: float
    average_duration_ns: float
    min_duration_ns: int
    max_duration_ns: int
    p50_duration_ns: float
    p90_duration_ns: float
    p95_duration_ns: float
    p99_duration_ns: float
    p999_duration_ns: float
    total_time_ns: int
    self_time_ns: int
    concurrent_children: bool = False
    sampled_count: int = 0
    average_cpu_time_ns: float | None = None
    cpu_utilisation: float | None = None
    memory_samples: int = 0
    average_memory_bytes: float | None = None
    peak_memory_bytes: int | None = None
    peak_rss_bytes: int | None = None
    exact_count: int = 0
    exit_count: int = 0
    last_exit_status: str | None = None
    loop_block_count: int = 0
    longest_loop_block_ns: int | None = None
    last_loop_block: str | None = None
    first_execution_timestamp_ns: int
    last_execution_timestamp_ns: int
    last_error: str | None = None


class HookMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin's implementation of one hook, or its load or unload: calls and time."""

    plugin_id: str
    hook: str
    call_count: int
    error_count: int
    total_time_ns: int
    self_time_ns: int
    average_duration_ns: float
    max_duration_ns: int


class Bottleneck(msgspec.Struct, frozen=True, kw_only=True):
    """A finding: which plugin, which rule, the figure against its threshold, and what to do."""

    plugin_id: str
    kind: str
    severity: str
    value: float
    threshold: float
    unit: str
    finding: str
    remedy: str


class Overhead(msgspec.Struct, frozen=True, kw_only=True):
    """What the measuring itself cost.

    `processing_ns` is measured; `recording_ns` and `reading_ns` are estimates: a cost per record
    and per sampled reading, calibrated in this process (None where nothing could be calibrated),
    times their number. `share` is of the observed time, 0.0-1.0.
    """

    processing_ns: int
    recording_ns: int | None = None
    reading_ns: int | None = None
    records: int = 0
    readings: int = 0
    share: float | None = None

    @property
    def total_ns(self) -> int:
        """All of it, in ns."""
        return self.processing_ns + (self.recording_ns or 0) + (self.reading_ns or 0)


class PerformanceReport(msgspec.Struct, frozen=True, kw_only=True):
    """All a profiler knows. `histograms` holds (bucket, count) pairs, see `DurationHistogram`."""

    schema_version: int = SCHEMA_VERSION
    observed_ns: int
    sampling_rate: float
    plugins: tuple[AggregateMetrics, ...] = ()
    hooks: tuple[HookMetrics, ...] = ()
    bottlenecks: tuple[Bottleneck, ...] = ()
    flame_graph: FlameGraphNode
    overhead: Overhead
    estimates: tuple[str, ...] = ()
    recent: dict[str, tuple[ExecutionMetrics, ...]] = {}
    histograms: dict[str, tuple[tuple[int, int], ...]] = {}
    inside: tuple[InsideProfile, ...] = ()


class PluginStats(msgspec.Struct, frozen=True, kw_only=True):
    """The life of one plugin. `uptime_percent` is the share of time loaded since first seen."""

    plugin_id: str
    load_count: int = 0
    unload_count: int = 0
    execution_count: int = 0
    error_count: int = 0
    hook_call_count: int = 0
    success_rate: float | None = None
    average_load_time_ns: float | None = None
    average_execution_time_ns: float | None = None
    total_execution_time_ns: int = 0
    peak_concurrency: int = 0
    first_seen_timestamp_ns: int
    last_activity_timestamp_ns: int
    uptime_percent: float = 0.0


class TrendDirection(StrEnum):
    """Which way a metric goes."""

    INCREASING = "increasing"
    DECREASING = "decreasing"
    STABLE = "stable"


class TrendAnalysis(msgspec.Struct, frozen=True, kw_only=True):
    """The recent half of a sample against the half before it.

    `p_value` is that of the Mann-Whitney U test over the two halves; `significant` says that it
    is under 0.05. None where there are too few values for a test.
    """

    plugin_id: str
    metric: str
    direction: TrendDirection
    change_percent: float
    recent_average: float
    previous_average: float
    sample_size: int
    p_value: float | None
    significant: bool


class AnalyticsReport(msgspec.Struct, frozen=True, kw_only=True):
    """All an analytics engine knows, without the events themselves."""

    schema_version: int = SCHEMA_VERSION
    observed_ns: int
    plugins: tuple[PluginStats, ...] = ()
    event_counts: dict[str, int] = {}
    stored_events: int = 0
    evicted_events: int = 0
    trends: tuple[TrendAnalysis, ...] = ()


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Where and with what a report was made."""

    pluginhost: str
    pluggy: str
    python: str
    platform: str
    hostname: str
    cpu_count: int
    pid: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one observation; `history_id` is that of the run which a history keeps live."""

    schema_version: int = SCHEMA_VERSION
    name: str
    created_timestamp_ns: int
    observed_ns: int
    environment: Environment
    plugins: tuple[PluginInfo, ...] = ()
    performance: PerformanceReport | None = None
    analytics: AnalyticsReport | None = None
    costs: CostReport | None = None
    suite: SuiteReport | None = None
    series: tuple[Series, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    verification: Verification | None = None
    history_id: str | None = None


class PluginList(msgspec.Struct, frozen=True, kw_only=True):
    """The plugins that sources have, as far as that is known without importing any."""

    schema_version: int = SCHEMA_VERSION
    sources: tuple[str, ...]
    plugins: tuple[PluginInfo, ...] = ()


Record = TypeVar("Record", bound=msgspec.Struct)


class _Versioned(msgspec.Struct):
    schema_version: int = SCHEMA_VERSION


def encode(record: msgspec.Struct) -> str:
    """Return any of these records as indented JSON.

    Lone surrogates, such as file names that are not text have, become Python escapes.
    """
    try:
        raw = msgspec.json.encode(record)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(record), ensure_ascii=False)
        raw = re.sub("[\ud800-\udfff]", lambda m: f"\\\\u{ord(m[0]):04x}", text).encode()
    return msgspec.json.format(raw, indent=2).decode()


def decode(text: str | bytes, kind: type[Record], *, origin: str = "the report") -> Record:
    """Return the record that `text` holds, validated; `origin` names it in errors."""
    try:
        version = msgspec.json.decode(text, type=_Versioned).schema_version
        if version == SCHEMA_VERSION:
            return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ReportFileError(
            f"{origin} is not a report: {error}",
            remedy="give a file written by 'pluginhost run --save'",
        ) from error
    raise ReportFileError(
        f"{origin} has schema version {version}, this program reads {SCHEMA_VERSION}",
        remedy="read it with the version that wrote it, or save the run again with this one",
    )


def read_report(path: str | Path) -> Report:
    """Return the report saved in the file at `path`."""
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise ReportFileError(
            f"{path} cannot be read: {reason_of(error)}", remedy="check the path"
        ) from error
    return decode(content, Report, origin=str(path))


def write_report(report: Report, path: str | Path) -> None:
    """Save `report` at `path`, whole or not at all; a device or a pipe is written to as it is."""
    write_file(encode(report), path)


def json_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one of these records."""
    found: dict[str, Any] = _tidy(msgspec.json.schema(kind))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | found


def _tidy(part: Any) -> Any:
    """Return a part of a schema, its texts indented as Python 3.13 does: cut to the margin."""
    if isinstance(part, dict):
        return {k: cleandoc(v) if k == "description" else _tidy(v) for k, v in part.items()}
    return [_tidy(each) for each in part] if isinstance(part, list) else part
