"""A bounded store of events: segments of columns, searched by time, plugin or kind without a scan.

Times divide the store by bisection over whole segments and within one; plugins and kinds are
found through an index that a segment makes of itself when it is first asked. Old events leave a
whole segment at a time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import attrgetter

from pluginhost.analytics.columns import ERROR_BIT, STATUS_CODE, STATUSES, EventColumns
from pluginhost.analytics.records import AnalyticsEvent
from pluginhost.calltree import CallPath, EventKind
from pluginhost.journal import Detail, Status

_LONGEST_SEGMENT = 16_384
_SHORTEST_SEGMENT = 256


class EventStore:
    """Holds the last `capacity` events. Not locked: its owner is.

    Times are monotonic ns; `epoch_offset_ns` is what makes them wall-clock times in events.
    """

    def __init__(self, capacity: int, epoch_offset_ns: int) -> None:
        self.capacity = capacity
        self.epoch_offset_ns = epoch_offset_ns
        self._length = max(_SHORTEST_SEGMENT, min(_LONGEST_SEGMENT, capacity // 4))
        self._paths: list[CallPath] = []
        self._codes: dict[CallPath, int] = {}
        self._codes_by_plugin: dict[str, list[int]] = {}
        self._segments = [EventColumns(self._paths, self.epoch_offset_ns)]
        self._latest_ns: list[int] = []  # of each full segment and all before it
        self._earliest_ns: list[int] = []  # of each full segment and the full ones after it
        self._base = 0  # the serial number of the first event in the first segment
        self.added = 0

    def __len__(self) -> int:
        return min(self.capacity, self.added)

    @property
    def evicted(self) -> int:
        """How many events have left."""
        return self.added - len(self)

    def begin_at(self, epoch_offset_ns: int) -> None:
        """Set the offset of an empty store."""
        self.epoch_offset_ns = self._segments[-1].epoch_offset_ns = epoch_offset_ns

    def extend(
        self,
        times_ns: list[int],
        durations_ns: list[int],
        codes: Sequence[int],
        marks: bytes,
        details: dict[int, Detail],
        *,
        in_order: bool = False,
    ) -> None:
        """Append rows given as equally long columns; `details` is by position among them."""
        done, count = 0, len(times_ns)
        while done < count:
            segment = self._segments[-1]
            before = len(segment)
            step = min(count - done, self._length - before)
            if step == count:
                segment.extend(times_ns, durations_ns, codes, marks, in_order=in_order)
            else:
                part = slice(done, done + step)
                segment.extend(times_ns[part], durations_ns[part], codes[part], marks[part])
            for position, detail in details.items():
                if done <= position < done + step:
                    segment.details[before + position - done] = detail
            done += step
            if len(segment) == self._length:
                self._begin_segment()
        self.added += count

    def codes_of(self, paths: list[CallPath]) -> list[int]:
        """Return the codes that the column of call paths is stored as."""
        try:
            return list(map(self._codes.__getitem__, paths))
        except KeyError:
            return [self._code(path) for path in paths]

    def between(self, start_ns: int, end_ns: int) -> EventColumns:
        """Return the events with start <= time < end (wall-clock ns), in time order."""
        start_ns, end_ns = start_ns - self.epoch_offset_ns, end_ns - self.epoch_offset_ns
        found = EventColumns(self._paths, self.epoch_offset_ns)
        first, last = bisect_left(self._latest_ns, start_ns), bisect_left(self._earliest_ns, end_ns)
        for number in chain(range(first, last), (len(self._segments) - 1,)):
            segment = self._segments[number]
            within = segment.between(start_ns, end_ns)
            part = range(max(within.start, self._oldest(number)), within.stop)
            if part:
                found.append_all(segment.subset(part))
        found.sort()
        return found

    def of_plugin(self, plugin_id: str) -> list[AnalyticsEvent]:
        """Return a plugin's events in time order."""
        return self._matching(self._codes_by_plugin.get(plugin_id, ()))

    def of_kind(self, kind: EventKind) -> list[AnalyticsEvent]:
        """Return the events of one kind in time order."""
        if kind is EventKind.PLUGIN_ERROR:
            return [event for event in self._with_details() if event.kind is kind]
        codes = [code for code, path in enumerate(self._paths) if path.site.kind is kind]
        return [event for event in self._matching(codes) if event.kind is kind]

    def latest(self, count: int) -> list[AnalyticsEvent]:
        """Return the last `count` events, oldest first."""
        rows = self._last(count, lambda segment: range(len(segment)))
        return [self._segments[number].event(position) for _, number, position in rows]

    def latest_executions(self, plugin_id: str, count: int) -> list[tuple[int, Status]]:
        """Return (duration in ns, status) of a plugin's last `count` executions, oldest first."""
        codes = [
            code
            for code in self._codes_by_plugin.get(plugin_id, ())
            if self._paths[code].site.kind is EventKind.PLUGIN_EXECUTE
        ]

        def executions(segment: EventColumns) -> list[int]:
            latest = segment.positions_of(codes)[-2 * count :]  # each may have failed: two rows
            return [position for position in latest if not segment.marks[position] & ERROR_BIT]

        found = []
        for _, number, position in self._last(count, executions):
            segment = self._segments[number]
            found.append((segment.durations_ns[position], STATUSES[segment.marks[position]]))
        return found

    def nbytes(self) -> int:
        """Return the size of all columns in bytes; details are not counted."""
        return sum(segment.nbytes() for segment in self._segments)

    def _begin_segment(self) -> None:
        full = self._segments[-1]
        full.sort()
        earliest_ns, latest_ns = full.times_ns[0], full.times_ns[-1]
        self._latest_ns.append(max([latest_ns, *self._latest_ns[-1:]]))
        self._earliest_ns.append(earliest_ns)
        before = len(self._earliest_ns) - 2
        while before >= 0 and self._earliest_ns[before] > earliest_ns:
            self._earliest_ns[before] = earliest_ns
            before -= 1
        self._segments.append(EventColumns(self._paths, self.epoch_offset_ns))
        while (len(self._segments) - 2) * self._length >= self.capacity:
            del self._segments[0], self._latest_ns[0], self._earliest_ns[0]
            self._base += self._length

    def _oldest(self, number: int) -> int:
        """Return the position of the first event in a segment that is still within capacity."""
        return max(0, self.evicted - self._base - number * self._length)

    def _code(self, path: CallPath) -> int:
        code = self._codes.get(path)
        if code is None:
            code = self._codes[path] = len(self._paths)
            self._paths.append(path)
            self._codes_by_plugin.setdefault(path.site.plugin_id, []).append(code)
        return code

    def _last(
        self, count: int, pick: Callable[[EventColumns], Sequence[int]]
    ) -> list[tuple[int, int, int]]:
        """Return (time, segment, position) of the last `count` rows that `pick` finds, in order.

        It goes back through the segments until what is left is earlier than all that was found.
        """
        rows: list[tuple[int, int, int]] = []
        for number in range(len(self._segments) - 1, -1, -1):
            if len(rows) == count and self._latest_ns[number] <= rows[0][0]:
                break
            segment, oldest = self._segments[number], self._oldest(number)
            segment.sort()
            latest = (p for p in pick(segment)[-count:] if p >= oldest)
            rows += [(segment.times_ns[position], number, position) for position in latest]
            rows = sorted(rows)[-count:]
        return rows

    def _matching(self, codes: Iterable[int]) -> list[AnalyticsEvent]:
        return self._events(lambda segment: segment.positions_of(codes))

    def _with_details(self) -> list[AnalyticsEvent]:
        """Return the events that carry a detail, among which are all failures."""
        return self._events(lambda segment: sorted(segment.details))

    def _events(self, pick: Callable[[EventColumns], Sequence[int]]) -> list[AnalyticsEvent]:
        """Return the rows that `pick` finds in each segment as events in time order."""
        found: list[AnalyticsEvent] = []
        for number, segment in enumerate(self._segments):
            segment.sort()
            oldest = self._oldest(number)
            found += [segment.event(position) for position in pick(segment) if position >= oldest]
        return sorted(found, key=attrgetter("timestamp_ns"))


def mark_of(status: Status, *, error_event: bool = False) -> int:
    """Return the byte that stands for a status in the column of marks."""
    return STATUS_CODE[status] | (ERROR_BIT if error_event else 0)
