"""A run of events as columns: 21 bytes each, two more once they were asked for by plugin."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from operator import le
from typing import overload

from pluginhost.analytics.records import AnalyticsEvent
from pluginhost.calltree import CallPath, EventKind
from pluginhost.journal import Detail, Status

STATUSES = tuple(Status)
STATUS_CODE = {status: code for code, status in enumerate(STATUSES)}
ERROR_BIT = 0x80
"""Set in a mark when the row is the `plugin_error` event of a failure."""


class EventColumns(Sequence[AnalyticsEvent]):
    """Events in columns; `paths` gives the call path for a code.

    Times are monotonic; `epoch_offset_ns` makes them wall-clock. `details` is sparse. Events are
    kept in the order they came in until somebody asks by time: ends that were read on different
    threads may come in a little out of order.
    """

    __slots__ = (
        "_by_code",
        "_indexed",
        "_paths",
        "codes",
        "details",
        "durations_ns",
        "epoch_offset_ns",
        "in_order",
        "marks",
        "times_ns",
    )

    def __init__(self, paths: Sequence[CallPath], epoch_offset_ns: int) -> None:
        self._paths = paths
        self.epoch_offset_ns = epoch_offset_ns
        self.times_ns = array("q")
        self.durations_ns = array("q")
        self.codes = array("I")
        self.marks = bytearray()
        self.details: dict[int, Detail] = {}
        self.in_order = True
        self._by_code: dict[int, array[int]] = {}
        self._indexed = 0

    def extend(
        self,
        times_ns: list[int],
        durations_ns: list[int],
        codes: Sequence[int],
        marks: bytes,
        *,
        in_order: bool = False,
    ) -> None:
        """Append rows given as equally long columns; `in_order` says that the times ascend."""
        late = bool(self.times_ns) and self.times_ns[-1] > times_ns[0]
        if late or not (in_order or all(map(le, times_ns, times_ns[1:]))):
            self.in_order = False
        self.times_ns.fromlist(times_ns)
        self.durations_ns.fromlist(durations_ns)
        self.codes += codes if isinstance(codes, array) else array("I", codes)
        self.marks += marks

    def between(self, start_ns: int, end_ns: int) -> range:
        """Return the positions of the events with start <= time < end."""
        self.sort()
        return range(bisect_left(self.times_ns, start_ns), bisect_left(self.times_ns, end_ns))

    def positions_of(self, codes: Iterable[int]) -> list[int]:
        """Return the positions of the events with any of these codes, in time order."""
        self.sort()
        index = self._by_code
        for position in range(self._indexed, len(self.codes)):
            code = self.codes[position]
            known = index.get(code)
            if known is None:
                known = index[code] = array("H")
            known.append(position)
        self._indexed = len(self.codes)
        found = [index[code] for code in codes if code in index]
        return list(found[0]) if len(found) == 1 else sorted(i for f in found for i in f)

    def sort(self) -> None:
        """Put the events in time order, if they are not."""
        if self.in_order:
            return
        order = sorted(range(len(self.times_ns)), key=self.times_ns.__getitem__)
        moved = self.subset(order)
        self.times_ns, self.durations_ns = moved.times_ns, moved.durations_ns
        self.codes, self.marks, self.details = moved.codes, moved.marks, moved.details
        self.in_order = True
        self._by_code, self._indexed = {}, 0

    def subset(self, positions: Sequence[int]) -> EventColumns:
        """Return a copy of the rows at `positions`, in that order."""
        copied = EventColumns(self._paths, self.epoch_offset_ns)
        copied.times_ns.extend(map(self.times_ns.__getitem__, positions))
        copied.durations_ns.extend(map(self.durations_ns.__getitem__, positions))
        copied.codes.extend(map(self.codes.__getitem__, positions))
        copied.marks.extend(map(self.marks.__getitem__, positions))
        if self.details:
            for new, old in enumerate(positions):
                if old in self.details:
                    copied.details[new] = self.details[old]
        return copied

    def append_all(self, other: EventColumns) -> None:
        """Append the rows of `other`."""
        moved = len(self)
        if self.times_ns and other.times_ns and self.times_ns[-1] > other.times_ns[0]:
            self.in_order = False
        self.in_order = self.in_order and other.in_order
        self.times_ns += other.times_ns
        self.durations_ns += other.durations_ns
        self.codes += other.codes
        self.marks += other.marks
        self.details |= {moved + i: detail for i, detail in other.details.items()}

    def __len__(self) -> int:
        return len(self.times_ns)

    def __iter__(self) -> Iterator[AnalyticsEvent]:
        return map(self.event, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> AnalyticsEvent: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[AnalyticsEvent]: ...
    def __getitem__(self, index: int | slice) -> AnalyticsEvent | Sequence[AnalyticsEvent]:
        if isinstance(index, slice):
            return [self.event(i) for i in range(len(self))[index]]
        return self.event(range(len(self))[index])

    def event(self, position: int) -> AnalyticsEvent:
        """Return one row as an event."""
        path, mark = self._paths[self.codes[position]], self.marks[position]
        detail = self.details.get(position, _NO_DETAIL)
        failure = detail.failure
        return AnalyticsEvent(
            kind=EventKind.PLUGIN_ERROR if mark & ERROR_BIT else path.site.kind,
            plugin_id=path.site.plugin_id,
            timestamp_ns=self.times_ns[position] + self.epoch_offset_ns,
            duration_ns=self.durations_ns[position],
            hook=path.site.hook,
            status=STATUSES[mark & ~ERROR_BIT],
            error_type=failure.error_type if failure else None,
            error_message=failure.error_message if failure else None,
            metadata=detail.metadata or {},
            parent=path.caller,
        )

    def nbytes(self) -> int:
        """Return the size of the columns and of the index in bytes; details are not counted."""
        index = sum(2 * len(positions) for positions in self._by_code.values())
        return index + len(self.marks) + 4 * len(self.codes) + 16 * len(self.times_ns)


_NO_DETAIL = Detail()
