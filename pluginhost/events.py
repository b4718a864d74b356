"""What happened: the records that travel from the instrumentation over the bus to the observers.

On the way in, an occurrence is five scalars in a journal (see `RECORD_WIDTH`); on the way out it
is an `EventBatch`, which gives whole `Event` objects to those who want them and columns to those
who are in a hurry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import ge, itemgetter, sub
from typing import Any, Generic, Self, TypeVar, overload

import msgspec

from pluginhost.calltree import CallPath, EventKind
from pluginhost.journal import Detail, Extra, PathGroup, Status

Value = TypeVar("Value")

RECORD_WIDTH = 5
"""A journal record: call path, start ns, end ns, thread ident, and an extra (see `Extra`)."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    `timestamp_ns` is the wall-clock time of its end, since the epoch; `start_ns` and `duration_ns`
    are monotonic. `parent` is the id of the plugin it was called from (None at the top),
    `path` names every call from the top down to this one.
    """

    kind: EventKind
    plugin_id: str
    hook: str
    timestamp_ns: int
    start_ns: int
    duration_ns: int
    status: Status = Status.SUCCESS
    error_type: str | None = None
    error_message: str | None = None
    metadata: Mapping[str, str] = {}
    parent: str | None = None
    path: tuple[str, ...] = ()
    thread_id: int = 0
    task: str | None = None


class _Kept(Generic[Value]):
    """A property that is worked out once.

    `functools.cached_property` has a lock in Python 3.11, which a forked child may find held by a
    thread that it does not have.
    """

    def __init__(self, work: Callable[[Any], Value]) -> None:
        self.__doc__ = work.__doc__
        self._work = work

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, batch: None, owner: type) -> Self: ...

    @overload
    def __get__(self, batch: object, owner: type) -> Value: ...

    def __get__(self, batch: object | None, owner: type) -> Self | Value:
        if batch is None:
            return self
        value = vars(batch)[self._name] = self._work(batch)
        return value


class EventBatch(Sequence[Event]):
    """Occurrences in the order in which they ended: columns of equal length, and events on demand.

    `paths` (call paths), `starts_ns`, `ends_ns`, `durations_ns` (monotonic ns), `thread_ids`, and
    `extras` (None, a `RawReading` or a `Detail`; `is_plain` when all are None). A failed occurrence
    is followed, when the batch is read as events, by a `plugin_error` event at the moment of failure.
    """

    def __init__(self, records: list[Any], epoch_offset_ns: int) -> None:
        self.paths: list[CallPath] = records[0::RECORD_WIDTH]
        self.starts_ns: list[int] = records[1::RECORD_WIDTH]
        self.ends_ns: list[int] = records[2::RECORD_WIDTH]
        self.thread_ids: list[int] = records[3::RECORD_WIDTH]
        self.extras: list[Extra] = records[4::RECORD_WIDTH]
        self.durations_ns: list[int] = list(map(sub, self.ends_ns, self.starts_ns))
        self.epoch_offset_ns = epoch_offset_ns
        self.is_plain = self.extras.count(None) == len(self.extras)
        kinds: set[type] = set() if self.is_plain else set(map(type, self.extras))
        self.has_details = Detail in kinds
        self._rich = kinds & {Detail, tuple}
        self._events: tuple[Event, ...] | None = None

    @_Kept
    def groups(self) -> tuple[PathGroup, ...]:
        """The batch by call path, worked out once for all observers."""
        return tuple(_grouped(self))

    @_Kept
    def executions(self) -> dict[str, PathGroup]:
        """The executions by plugin, from wherever they were called, in the order of their ends."""
        by_plugin: dict[str, list[PathGroup]] = {}
        for group in self.groups:
            if group.path.site.kind is EventKind.PLUGIN_EXECUTE:
                by_plugin.setdefault(group.path.site.plugin_id, []).append(group)
        return {plugin_id: _merged(groups) for plugin_id, groups in by_plugin.items()}

    @_Kept
    def in_turn(self) -> bool:
        """Whether each occurrence began after the one before it had ended, so none overlapped."""
        return all(map(ge, self.starts_ns[1:], self.ends_ns))

    @property
    def occurrences(self) -> int:
        """How many journal records the batch holds: its events less the derived errors."""
        return len(self.paths)

    @_Kept
    def carrying(self) -> list[int]:
        """The positions of the records that carry readings or a detail."""
        if not self._rich:
            return []
        return [i for i, extra in enumerate(self.extras) if type(extra) in self._rich]

    @property
    def readings(self) -> int:
        """How many records carry readings."""
        return len(self.carrying) - sum(detail.reading is None for _, detail in self.detailed())

    def detailed(self) -> Iterator[tuple[int, Detail]]:
        """Yield (position, detail) of the records that carry one."""
        if self.has_details:
            for position in self.carrying:
                extra = self.extras[position]
                if isinstance(extra, Detail):
                    yield position, extra

    def event(self, position: int) -> Event:
        """Return the record at `position` as an event."""
        path, extra = self.paths[position], self.extras[position]
        detail = extra if isinstance(extra, Detail) else _NO_DETAIL
        failure = detail.failure
        return Event(
            kind=path.site.kind,
            plugin_id=path.site.plugin_id,
            hook=path.site.hook,
            timestamp_ns=self.ends_ns[position] + self.epoch_offset_ns,
            start_ns=self.starts_ns[position],
            duration_ns=self.durations_ns[position],
            status=failure.status if failure else Status.SUCCESS,
            error_type=failure.error_type if failure else None,
            error_message=failure.error_message if failure else None,
            metadata=detail.metadata or (detail.process.as_text() if detail.process else {}),
            parent=path.caller,
            path=path.names(),
            thread_id=self.thread_ids[position],
            task=detail.task,
        )

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[Event]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        return self._all()[index]

    def _all(self) -> tuple[Event, ...]:
        if self._events is None:
            events = []
            for position in range(len(self.paths)):
                event = self.event(position)
                events.append(event)
                if event.status.is_error:
                    events.append(error_event(event))
            self._events = tuple(events)
        return self._events


def _grouped(batch: EventBatch) -> Iterator[PathGroup]:
    extras, paths = None if batch.is_plain else batch.extras, batch.paths
    if not paths:
        return
    first, details = paths[0], batch.has_details
    # Counting is quicker than a dict, but only where nearly all are the same.
    if paths[-1] is first and paths[len(paths) // 2] is first and paths.count(first) == len(paths):
        yield PathGroup(first, batch.ends_ns, batch.durations_ns, extras, has_details=details)
        return
    positions: dict[CallPath, list[int]] = {path: [] for path in dict.fromkeys(paths)}
    for position, path in enumerate(paths):
        positions[path].append(position)
    for path, where in positions.items():
        picked = (
            itemgetter(slice(where[0], where[0] + 1)) if len(where) == 1 else itemgetter(*where)
        )
        ends_ns, durations_ns = list(picked(batch.ends_ns)), list(picked(batch.durations_ns))
        part = list(picked(extras)) if extras else None
        yield PathGroup(path, ends_ns, durations_ns, part, has_details=batch.has_details)


def _merged(groups: list[PathGroup]) -> PathGroup:
    """Return the records of several paths as one group, by their ends."""
    if len(groups) == 1:
        return groups[0]
    rows: list[tuple[int, int, Extra]] = []
    for group in groups:
        extras = group.extras or [None] * len(group.ends_ns)
        rows += zip(group.ends_ns, group.durations_ns, extras, strict=True)
    rows.sort(key=itemgetter(0))
    ends_ns, durations_ns, extras = map(list, zip(*rows, strict=True))
    plain = all(group.extras is None for group in groups)
    return PathGroup(
        groups[0].path,
        ends_ns,
        durations_ns,
        None if plain else extras,
        has_details=groups[0].has_details,
    )


def error_event(event: Event) -> Event:
    """Return the `plugin_error` event of a failed one: a point in time, at its end."""
    return msgspec.structs.replace(
        event,
        kind=EventKind.PLUGIN_ERROR,
        start_ns=event.start_ns + event.duration_ns,
        duration_ns=0,
    )


_NO_DETAIL = Detail()
