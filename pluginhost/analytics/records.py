"""What the analytics engine takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from pluginhost.calltree import EventKind
from pluginhost.journal import Status
from pluginhost.report import PluginStats


class AnalyticsEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event as it is stored; `timestamp_ns` is the wall-clock time of its end."""

    kind: EventKind
    plugin_id: str
    timestamp_ns: int
    duration_ns: int = 0
    hook: str = "execute"
    status: Status = Status.SUCCESS
    error_type: str | None = None
    error_message: str | None = None
    metadata: Mapping[str, str] = {}
    parent: str | None = None


class AnalyticsWindow(msgspec.Struct, frozen=True, kw_only=True):
    """The events from `start_timestamp_ns` (included) to `end_timestamp_ns` (not), in time order.

    `events` is a sequence that makes its `AnalyticsEvent` objects when they are asked for.
    """

    start_timestamp_ns: int
    end_timestamp_ns: int
    events: Sequence[AnalyticsEvent]


class AnalyticsExport(msgspec.Struct, frozen=True, kw_only=True):
    """What `export_analytics_json` writes."""

    schema_version: int
    plugin_stats: dict[str, PluginStats]
    event_counts: dict[str, int]
    recent_events: tuple[AnalyticsEvent, ...]
