"""A bounded store of events: segments of columns, searched by time, plugin or kind without a scan.

Times divide the store by bisection over whole segments and within one; plugins and kinds are
found through an index that a segment makes of itself when it is first asked. Old events leave a
whole segment at a time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from operator import attrgetter

from pluginhost.analytics.columns import ERROR_BIT, STATUS_CODE, EventColumns
from pluginhost.analytics.records import AnalyticsEvent
from pluginhost.events import CallPath, Detail, EventKind, Status

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
        self._segments = [EventColumns(self._paths, self.epoch_offset_ns)]
        self._latest_ns: list[int] = []  # of each full segment and all before it
        self._ordered = True  # whether each full segment begins where the one before ends, or later
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
        codes: list[int],
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
        in_order = self._in_order()
        for number in range(bisect_left(self._latest_ns, start_ns), len(self._segments)):
            segment = self._segments[number]
            positions = segment.between(start_ns, end_ns)
            if in_order and segment.times_ns and segment.times_ns[0] >= end_ns:
                break
            part = segment.subset(range(max(positions.start, self._oldest(number)), positions.stop))
            if part:
                found.append_all(part)
        found.in_order = in_order
        found.sort()
        return found

    def of_plugin(self, plugin_id: str) -> list[AnalyticsEvent]:
        """Return a plugin's events in time order."""
        return self._matching(lambda path: path.site.plugin_id == plugin_id)

    def of_kind(self, kind: EventKind) -> list[AnalyticsEvent]:
        """Return the events of one kind in time order."""
        if kind is EventKind.PLUGIN_ERROR:
            return [event for event in self._with_details() if event.kind is kind]
        found = self._matching(lambda path: path.site.kind is kind)
        return [event for event in found if event.kind is kind]

    def latest(self, count: int) -> list[AnalyticsEvent]:
        """Return the last `count` events, oldest first."""
        if not self._in_order():
            every = range(len(self._segments))
            return self._sorted([e for n in every for e in self._kept(n)])[-count:]
        found: list[AnalyticsEvent] = []
        for number in range(len(self._segments) - 1, -1, -1):
            segment = self._segments[number]
            oldest = max(self._oldest(number), len(segment) - (count - len(found)))
            found[:0] = [segment.event(position) for position in range(oldest, len(segment))]
            if len(found) == count:
                break
        return found

    def latest_executions(self, plugin_id: str, count: int) -> list[tuple[int, Status]]:
        """Return (duration in ns, status) of a plugin's last `count` executions, oldest first."""
        codes = self._codes_where(
            lambda p: p.site.plugin_id == plugin_id and p.site.kind is EventKind.PLUGIN_EXECUTE
        )
        found: list[tuple[int, Status]] = []
        statuses = tuple(Status)
        for number in range(len(self._segments) - 1, -1, -1):
            segment, oldest = self._segments[number], self._oldest(number)
            for position in reversed(segment.positions_of(codes)):
                if len(found) == count or position < oldest:
                    break
                if not segment.marks[position] & ERROR_BIT:
                    found.append(
                        (segment.durations_ns[position], statuses[segment.marks[position]])
                    )
        return found[::-1]

    def nbytes(self) -> int:
        """Return the size of all columns in bytes; details are not counted."""
        return sum(segment.nbytes() for segment in self._segments)

    def _begin_segment(self) -> None:
        full = self._segments[-1]
        full.sort()
        latest_ns = full.times_ns[-1]
        if self._latest_ns:
            self._ordered = self._ordered and self._latest_ns[-1] <= full.times_ns[0]
            latest_ns = max(latest_ns, self._latest_ns[-1])
        self._latest_ns.append(latest_ns)
        self._segments.append(EventColumns(self._paths, self.epoch_offset_ns))
        while (len(self._segments) - 2) * self._length >= self.capacity:
            del self._segments[0], self._latest_ns[0]
            self._base += self._length

    def _oldest(self, number: int) -> int:
        """Return the position of the first event in a segment that is still within capacity."""
        return max(0, self.evicted - self._base - number * self._length)

    def _code(self, path: CallPath) -> int:
        code = self._codes.get(path)
        if code is None:
            code = self._codes[path] = len(self._paths)
            self._paths.append(path)
        return code

    def _codes_where(self, wanted: Callable[[CallPath], bool]) -> list[int]:
        return [code for code, path in enumerate(self._paths) if wanted(path)]

    def _in_order(self) -> bool:
        """Put the open segment in order; return whether each segment begins after those before."""
        newest = self._segments[-1]
        newest.sort()
        before = self._latest_ns
        return self._ordered and not (before and newest and newest.times_ns[0] < before[-1])

    def _sorted(self, events: list[AnalyticsEvent]) -> list[AnalyticsEvent]:
        return events if self._in_order() else sorted(events, key=attrgetter("timestamp_ns"))

    def _kept(self, number: int) -> Iterator[AnalyticsEvent]:
        segment = self._segments[number]
        segment.sort()
        return map(segment.event, range(self._oldest(number), len(segment)))

    def _matching(self, wanted: Callable[[CallPath], bool]) -> list[AnalyticsEvent]:
        codes = self._codes_where(wanted)
        found = []
        for number, segment in enumerate(self._segments):
            oldest = self._oldest(number)
            found += [segment.event(p) for p in segment.positions_of(codes) if p >= oldest]
        return self._sorted(found)

    def _with_details(self) -> list[AnalyticsEvent]:
        """Return the events that carry a detail, among which are all failures."""
        found = []
        for number, segment in enumerate(self._segments):
            segment.sort()
            oldest = self._oldest(number)
            found += [segment.event(p) for p in sorted(segment.details) if p >= oldest]
        return self._sorted(found)


def mark_of(status: Status, *, error_event: bool = False) -> int:
    """Return the byte that stands for a status in the column of marks."""
    return STATUS_CODE[status] | (ERROR_BIT if error_event else 0)
