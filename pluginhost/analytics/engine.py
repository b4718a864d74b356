"""`AnalyticsEngine`: an observer that knows how plugins are used and how well they do."""

from __future__ import annotations

import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from pluginhost.analytics.by_hand import detail_of, in_order_of_ends
from pluginhost.analytics.records import AnalyticsEvent, AnalyticsExport, AnalyticsWindow
from pluginhost.analytics.store import EventStore, mark_of
from pluginhost.analytics.trends import trend_of
from pluginhost.analytics.usage import PluginUsage
from pluginhost.calltree import CallPath, CallTree, EventKind
from pluginhost.errors import InvalidValueError, PluginNotFoundError, check_count
from pluginhost.events import RECORD_WIDTH, EventBatch
from pluginhost.journal import Detail, Status
from pluginhost.printable import printable
from pluginhost.processes import RenewedLock
from pluginhost.rendering.analytics import analytics_text
from pluginhost.report import SCHEMA_VERSION, AnalyticsReport, PluginStats, TrendAnalysis, encode
from pluginhost.seconds import ns_of_seconds

WINDOWS_KEPT = 100
EVENTS_IN_EXPORT = 50
TREND_SAMPLE = 100
_PENDING_LENGTH = 500 * RECORD_WIDTH
_LONGEST_NS = 366 * 86_400 * 1_000_000_000
_LATEST_NS = 1 << 62
_SUCCESS = Status.SUCCESS
_PLAIN_KINDS = (EventKind.PLUGIN_EXECUTE, EventKind.HOOK_CALL)


class AnalyticsEngine:
    """Stores events and counts what they say; safe to use from many threads.

    `max_events` bounds what is stored; statistics are exact for all events ever seen. Times given
    by hand are in seconds (since the epoch, or a duration), as `time.time()` has them.
    """

    def __init__(
        self, max_events: int = 10_000, *, wall_clock: Callable[[], int] = time.time_ns
    ) -> None:
        check_count(max_events, "max_events")
        self.max_events = max_events
        self._wall_clock = wall_clock
        self._lock = RenewedLock()
        self._reading: Callable[[], AbstractContextManager[None]] = nullcontext
        self._pending: list[Any] = []
        self._windows: deque[AnalyticsWindow] = deque(maxlen=WINDOWS_KEPT)
        self._reset()

    def _reset(self) -> None:
        self._ended_ns: int | None = None
        offset_ns = self._wall_clock() - time.perf_counter_ns()
        self._store = EventStore(self.max_events, offset_ns)
        self._pending.clear()
        self._by_hand = CallTree()
        self._paths_by_hand: dict[tuple[str, str, str | None, EventKind], CallPath] = {}
        self._usage: dict[str, PluginUsage] = {}
        self._kinds: Counter[str] = Counter()
        self._windows.clear()
        self._started_ns = self._wall_clock()

    # Events in

    def connect(self, reading: Callable[[], AbstractContextManager[None]]) -> None:
        """Have whatever is read here be read within `reading()`, which delivers what is pending.

        Raises `InvalidValueError` while another observation has it.
        """
        if self._reading is not nullcontext:
            raise InvalidValueError(
                "this analytics engine is part of another observation",
                remedy="give each observation one of its own, or close the other first",
            )
        self._reading = reading
        self._ended_ns = None

    def disconnect(self) -> None:
        """Let go of what `connect` was given; uptime is counted until now."""
        self._reading = nullcontext
        self._ended_ns = self._wall_clock()

    def after_fork(self) -> None:
        """Begin anew in a child process: nothing has happened there yet."""
        self._reset()

    def observe(self, batch: EventBatch) -> None:
        """Take a batch from the bus."""
        offset_ns = batch.epoch_offset_ns
        with self._lock.lock:
            for group in batch.groups:
                site, count = group.path.site, len(group.durations_ns)
                usage = self._usage.get(site.plugin_id)
                if usage is None:
                    seen_ns = group.first_start_ns() + offset_ns
                    usage = self._begin_usage(site.plugin_id, seen_ns, site.kind)
                elif group.ends_ns[0] - group.max_ns + offset_ns < usage.first_seen_ns:
                    usage.seen(group.first_start_ns() + offset_ns)
                usage.add(site.kind, count, group.total_ns, group.ends_ns[-1] + offset_ns)
                self._kinds[site.kind] += count
            for plugin_id, executions in batch.executions.items():
                self._usage[plugin_id].add_intervals(
                    executions.ends_ns, executions.durations_ns, in_turn=batch.in_turn
                )
            self._add_to_store(batch)

    def record_event(self, event: AnalyticsEvent) -> None:
        """Store an event by hand, as if it had come over the bus.

        As there, an event that failed brings a `plugin_error` event of its own: do not record that
        as well. Raises `InvalidValueError` for times that cannot be and names that cannot be shown.
        """
        duration_ns, end_ns = event.duration_ns, event.timestamp_ns
        try:
            path = self._paths_by_hand[event.plugin_id, event.hook, event.parent, event.kind]
        except KeyError:
            path = self._path_by_hand(event)
        if not (0 <= duration_ns <= _LONGEST_NS and 0 <= end_ns < _LATEST_NS) or (
            type(duration_ns) is not int or type(end_ns) is not int
        ):
            raise InvalidValueError(
                f"its duration is {duration_ns!r} ns at {end_ns!r} ns",
                plugin_id=event.plugin_id,
                remedy="give whole ns: a duration from 0 to a year, a time since the epoch",
            )
        detail = None
        if (
            event.status is not _SUCCESS
            or event.metadata
            or event.error_message
            or path.site.kind not in _PLAIN_KINDS
        ):
            detail = detail_of(event)
        pending = self._pending
        pending.extend((path, end_ns - duration_ns, end_ns, 0, detail))
        if len(pending) >= _PENDING_LENGTH:
            self._take_pending()

    # Knowledge out

    def get_events(self, start: float, end: float) -> tuple[AnalyticsEvent, ...]:
        """Return the stored events with start <= time < end (seconds since the epoch)."""
        with self._read():
            found = self._store.between(_epoch_ns(start, "start"), _epoch_ns(end, "end"))
        return tuple(found)

    def get_plugin_events(self, plugin_id: str) -> tuple[AnalyticsEvent, ...]:
        """Return the stored events of one plugin in time order."""
        with self._read():
            return tuple(self._store.of_plugin(plugin_id))

    def get_events_by_type(self, kind: EventKind | str) -> tuple[AnalyticsEvent, ...]:
        """Return the stored events of one kind in time order."""
        try:
            wanted = EventKind(kind)
        except ValueError:
            raise InvalidValueError(
                f"there is no event kind {kind!r}", remedy=f"one of: {', '.join(EventKind)}"
            ) from None
        with self._read():
            return tuple(self._store.of_kind(wanted))

    def get_plugin_stats(self, plugin_id: str) -> PluginStats:
        """Return one plugin's statistics; raises `PluginNotFoundError` if it was never seen."""
        with self._read():
            return self._seen(plugin_id).stats(self._now_ns())

    def get_all_plugin_stats(self) -> dict[str, PluginStats]:
        """Return every plugin's statistics by id."""
        with self._read():
            return self._all_stats()

    def get_most_used_plugins(self, limit: int = 10) -> tuple[PluginStats, ...]:
        """Return the plugins with the most executions, at most `limit`."""
        rows = self.get_all_plugin_stats().values()
        return tuple(sorted(rows, key=lambda r: (-r.execution_count, r.plugin_id)))[: max(0, limit)]

    def get_most_reliable_plugins(self, min_executions: int = 1) -> tuple[PluginStats, ...]:
        """Return plugins with at least `min_executions`, the highest success rate first."""
        rows = [
            row
            for row in self.get_all_plugin_stats().values()
            if row.execution_count >= max(1, min_executions)
        ]
        return tuple(
            sorted(rows, key=lambda r: (-(r.success_rate or 0), -r.execution_count, r.plugin_id))
        )

    def analyze_trends(
        self, plugin_id: str, sample_size: int = TREND_SAMPLE, *, metric: str = "duration_ns"
    ) -> TrendAnalysis:
        """Compare the recent half of the last `sample_size` executions with the half before.

        `metric` is `duration_ns` or `error_rate`; see `trend_of` for the test.
        """
        if metric not in ("duration_ns", "error_rate") or sample_size < 2:
            raise InvalidValueError(
                f"no trend of {metric!r} over {sample_size!r} executions",
                plugin_id=plugin_id,
                remedy="metric is 'duration_ns' or 'error_rate', the sample 2 or more",
            )
        with self._read():
            self._seen(plugin_id)
            return self._trend(plugin_id, sample_size, metric)

    def create_time_window(self, duration: float) -> AnalyticsWindow:
        """Return a snapshot of the last `duration` seconds; the last 100 windows are kept."""
        duration_ns = ns_of_seconds(duration, "the duration")
        with self._read():
            end_ns = self._wall_clock() + 1  # an event that ends this very moment belongs to it
            start_ns = end_ns - duration_ns
            window = AnalyticsWindow(
                start_timestamp_ns=start_ns,
                end_timestamp_ns=end_ns,
                events=self._store.between(start_ns, end_ns),
            )
            self._windows.append(window)
            return window

    @property
    def windows(self) -> tuple[AnalyticsWindow, ...]:
        """The windows that are kept, oldest first."""
        with self._lock.lock:
            return tuple(self._windows)

    def report(self) -> AnalyticsReport:
        """Return all that is known but the events themselves."""
        with self._read():
            stats = self._all_stats()
            rows = tuple(sorted(stats.values(), key=lambda r: (-r.execution_count, r.plugin_id)))
            return AnalyticsReport(
                observed_ns=max(0, self._now_ns() - self._started_ns),
                plugins=rows,
                event_counts=self._counts_by_kind(),
                stored_events=len(self._store),
                evicted_events=self._store.evicted,
                trends=tuple(
                    self._trend(row.plugin_id, TREND_SAMPLE, "duration_ns")
                    for row in rows
                    if row.execution_count >= 2
                ),
            )

    def export_analytics_json(self) -> str:
        """Return statistics, event counts and the last 50 events as JSON (`AnalyticsExport`)."""
        with self._read():
            stats = self._all_stats()
            return encode(
                AnalyticsExport(
                    schema_version=SCHEMA_VERSION,
                    plugin_stats=stats,
                    event_counts=self._counts_by_kind(),
                    recent_events=tuple(self._store.latest(EVENTS_IN_EXPORT)),
                )
            )

    def get_analytics_summary(self) -> str:
        """Return a text report, at most 80 columns wide."""
        return analytics_text(self.report())

    def clear_analytics(self) -> None:
        """Forget everything."""
        with self._read():
            self._reset()

    # The rest is how

    @contextmanager
    def _read(self) -> Iterator[None]:
        """Have the bus deliver, then hold the lock: not before, for the bus has its own."""
        with self._reading(), self._lock.lock:
            self._take_pending()
            yield

    def _take_pending(self) -> None:
        """Take what was recorded by hand since the last time."""
        with self._lock.lock:
            records = self._pending[:]
            del self._pending[: len(records)]
            if records:
                self.observe(EventBatch(in_order_of_ends(records), 0))

    def _path_by_hand(self, event: AnalyticsEvent) -> CallPath:
        for text in (event.plugin_id, event.hook, event.parent or ""):
            if printable(text) != text or not event.plugin_id:
                raise InvalidValueError(
                    f"{text!r} is not a name", remedy="give one of 1 to 200 printable characters"
                )
        tree = self._by_hand
        above = tree.root if event.parent is None else tree.root[event.parent]
        path = above[tree.site(EventKind(event.kind), event.plugin_id, event.hook)]
        self._paths_by_hand[event.plugin_id, event.hook, event.parent, event.kind] = path
        return path

    def _add_to_store(self, batch: EventBatch) -> None:
        store = self._store
        if not store.added:
            store.begin_at(batch.epoch_offset_ns)
        shift_ns = batch.epoch_offset_ns - store.epoch_offset_ns
        ends_ns = [end + shift_ns for end in batch.ends_ns] if shift_ns else batch.ends_ns
        if batch.has_details:
            self._add_detailed(batch, ends_ns)
            return
        count = len(ends_ns)
        one = len(batch.groups) == 1
        codes: Sequence[int] = store.codes_of(batch.paths[:1] if one else batch.paths)
        if one:
            codes = array("I", codes) * count
        marks = bytes(count)
        store.extend(ends_ns, batch.durations_ns, codes, marks, {}, in_order=batch.in_turn)

    def _add_detailed(self, batch: EventBatch, ends_ns: list[int]) -> None:
        """Store a batch that has failures, loads or unloads among its records."""
        rows: list[tuple[int, int, int]] = []  # position in the batch, duration, mark
        details: dict[int, Detail] = {}
        for position, extra in enumerate(batch.extras):
            detail = extra if isinstance(extra, Detail) else None
            failure = detail.failure if detail is not None else None
            status = failure.status if failure is not None else Status.SUCCESS
            is_error = batch.paths[position].site.kind is EventKind.PLUGIN_ERROR
            if detail is not None and (failure is not None or detail.metadata or is_error):
                details[len(rows)] = Detail(failure, None, detail.metadata)
            rows.append((position, batch.durations_ns[position], mark_of(status)))
            site = batch.paths[position].site
            usage = self._usage[site.plugin_id]
            if status is not Status.SUCCESS and site.kind is not EventKind.PLUGIN_ERROR:
                usage.add_failure(site.kind, status)
            derived = status.is_error and site.kind is not EventKind.PLUGIN_ERROR
            if failure is not None and derived:
                details[len(rows)] = Detail(failure)
                rows.append((position, 0, mark_of(status, error_event=True)))
                self._kinds[EventKind.PLUGIN_ERROR] += 1
            ended_ns = batch.ends_ns[position] + batch.epoch_offset_ns
            if site.kind is EventKind.PLUGIN_LOAD:
                started_ns = ended_ns - batch.durations_ns[position]
                usage.loaded(started_ns, ended_ns, success=status is Status.SUCCESS)
            elif site.kind is EventKind.PLUGIN_UNLOAD:
                usage.unloaded(ended_ns)
        self._store.extend(
            [ends_ns[position] for position, _, _ in rows],
            [duration for _, duration, _ in rows],
            self._store.codes_of([batch.paths[position] for position, _, _ in rows]),
            bytes(mark for _, _, mark in rows),
            details,
        )

    def _begin_usage(self, plugin_id: str, seen_ns: int, kind: EventKind) -> PluginUsage:
        usage = self._usage[plugin_id] = PluginUsage(plugin_id, seen_ns)
        if kind not in (EventKind.PLUGIN_LOAD, EventKind.PLUGIN_ERROR):
            usage.assume_loaded()  # it runs, so it was loaded before anybody looked
        return usage

    def _seen(self, plugin_id: str) -> PluginUsage:
        try:
            return self._usage[plugin_id]
        except KeyError:
            raise PluginNotFoundError(
                "no event of it was seen",
                plugin_id=plugin_id,
                remedy=f"seen were: {', '.join(sorted(self._usage)) or 'none'}",
            ) from None

    def _now_ns(self) -> int:
        return self._wall_clock() if self._ended_ns is None else self._ended_ns

    def _all_stats(self) -> dict[str, PluginStats]:
        now_ns = self._now_ns()
        return {i: usage.stats(now_ns) for i, usage in sorted(self._usage.items()) if i}

    def _counts_by_kind(self) -> dict[str, int]:
        return {kind.value: self._kinds[kind] for kind in EventKind}

    def _trend(self, plugin_id: str, sample_size: int, metric: str) -> TrendAnalysis:
        latest = self._store.latest_executions(plugin_id, sample_size)
        if metric == "duration_ns":
            values = [float(duration) for duration, _ in latest]
        else:
            values = [float(s.is_error) for _, s in latest]
        return trend_of(values, plugin_id=plugin_id, metric=metric)


def _epoch_ns(value: float, what: str) -> int:
    return ns_of_seconds(value, what, limit_s=1e10)
