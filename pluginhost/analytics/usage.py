"""The life of one plugin in figures that do not depend on which events are still stored."""

from __future__ import annotations

from collections.abc import Sequence

from pluginhost.analytics.concurrency import PeakConcurrency
from pluginhost.calltree import EventKind
from pluginhost.journal import Status
from pluginhost.report import PluginStats


class PluginUsage:
    """Counts and times of one plugin, and since when it has been loaded."""

    def __init__(self, plugin_id: str, first_seen_ns: int) -> None:
        self.plugin_id = plugin_id
        self.first_seen_ns = first_seen_ns
        self.last_activity_ns = first_seen_ns
        self._counts = dict.fromkeys(EventKind, 0)
        self._total_ns = dict.fromkeys(EventKind, 0)
        self._bad_executions = 0
        self._concurrency = PeakConcurrency()
        self._loaded_since_ns: int | None = None
        self._assumed = False
        self._loaded_ns = 0

    def add(self, kind: EventKind, count: int, total_ns: int, last_end_ns: int) -> None:
        """Count occurrences of one kind, whatever their outcome."""
        self._counts[kind] += count
        self._total_ns[kind] += total_ns
        self.last_activity_ns = max(self.last_activity_ns, last_end_ns)

    def add_failure(self, kind: EventKind, status: Status) -> None:
        """Note that one of the occurrences that were counted ended badly."""
        if kind is EventKind.PLUGIN_EXECUTE:
            self._bad_executions += 1
        if status.is_error:
            self._counts[EventKind.PLUGIN_ERROR] += 1

    def add_intervals(
        self, ends_ns: Sequence[int], durations_ns: Sequence[int], *, in_turn: bool
    ) -> None:
        """Note when executions ran, in the order of their ends."""
        self._concurrency.add_all(ends_ns, durations_ns, in_turn=in_turn)

    def seen(self, at_ns: int) -> None:
        """Note that the plugin was there at a time that may be before it was first seen."""
        if at_ns < self.first_seen_ns:
            if self._assumed and self._loaded_since_ns == self.first_seen_ns:
                self._loaded_since_ns = at_ns
            self.first_seen_ns = at_ns

    def assume_loaded(self) -> None:
        """Take it that the plugin has been loaded since it was first seen: it was at work then."""
        self._loaded_since_ns, self._assumed = self.first_seen_ns, True

    def loaded(self, started_ns: int, ended_ns: int, *, success: bool) -> None:
        """Note a load. What the plugin was seen doing during it did not mean that it was loaded."""
        since_ns = self._loaded_since_ns
        if since_ns is not None and self._assumed and started_ns <= since_ns:
            since_ns = self._loaded_since_ns = None
        if success and since_ns is None:
            self._loaded_since_ns, self._assumed = ended_ns, False

    def unloaded(self, at_ns: int) -> None:
        """Note that the plugin was unloaded."""
        if self._loaded_since_ns is not None:
            self._loaded_ns += max(0, at_ns - self._loaded_since_ns)
            self._loaded_since_ns = None

    def stats(self, now_ns: int) -> PluginStats:
        """Return all of it as a record, with the uptime until `now_ns`."""
        loads, executions = self._counts[EventKind.PLUGIN_LOAD], self._executions
        total_ns = self._total_ns[EventKind.PLUGIN_EXECUTE]
        return PluginStats(
            plugin_id=self.plugin_id,
            load_count=loads,
            unload_count=self._counts[EventKind.PLUGIN_UNLOAD],
            execution_count=executions,
            error_count=self._counts[EventKind.PLUGIN_ERROR],
            hook_call_count=self._counts[EventKind.HOOK_CALL],
            success_rate=1 - self._bad_executions / executions if executions else None,
            average_load_time_ns=self._total_ns[EventKind.PLUGIN_LOAD] / loads if loads else None,
            average_execution_time_ns=total_ns / executions if executions else None,
            total_execution_time_ns=total_ns,
            peak_concurrency=self._concurrency.peak,
            first_seen_timestamp_ns=self.first_seen_ns,
            last_activity_timestamp_ns=self.last_activity_ns,
            uptime_percent=self._uptime_percent(now_ns),
        )

    @property
    def _executions(self) -> int:
        return self._counts[EventKind.PLUGIN_EXECUTE]

    def _uptime_percent(self, now_ns: int) -> float:
        known_ns = now_ns - self.first_seen_ns
        loaded_ns = self._loaded_ns
        if self._loaded_since_ns is not None:
            loaded_ns += max(0, now_ns - self._loaded_since_ns)
        return min(100.0, 100 * loaded_ns / known_ns) if known_ns > 0 else 0.0
