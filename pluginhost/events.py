"""What happened: the records that travel from the instrumentation over the bus to the observers.

On the way in, an occurrence is five scalars in a journal (see `RECORD_WIDTH`); on the way out it
is an `EventBatch`, which gives whole `Event` objects to those who want them and columns to those
who are in a hurry.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from operator import ge, itemgetter, sub
from typing import Any, overload

import msgspec

from pluginhost.reading import RawReading

RECORD_WIDTH = 5
"""A journal record: call path, start ns, end ns, thread ident, and an extra.

The extra is None, a `RawReading` or a `Detail`.

Most records carry nothing in the last place; a `Detail` says more than readings alone can.
"""


class EventKind(StrEnum):
    """What an event is about."""

    __hash__ = str.__hash__  # at C speed: kinds are keys wherever events are counted

    PLUGIN_LOAD = "plugin_load"
    PLUGIN_EXECUTE = "plugin_execute"
    PLUGIN_ERROR = "plugin_error"
    PLUGIN_UNLOAD = "plugin_unload"
    HOOK_CALL = "hook_call"


class Status(StrEnum):
    """How it ended."""

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"

    @property
    def is_error(self) -> bool:
        """Whether it counts as an error: being cancelled is nobody's fault."""
        return self is Status.ERROR or self is Status.TIMEOUT


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why something ended badly: the status, the error's type by qualified name, its message."""

    status: Status
    error_type: str | None
    error_message: str | None


class Detail(msgspec.Struct, frozen=True):
    """What only some records carry: a failure, readings, metadata, the asyncio task's name."""

    failure: Failure | None = None
    reading: RawReading | None = None
    metadata: Mapping[str, str] | None = None
    task: str | None = None


Extra = RawReading | Detail | None


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


class CallSite:
    """One plugin's part in one kind of occurrence; compared by identity, so make each once."""

    __slots__ = ("hook", "kind", "plugin_id")

    def __init__(self, kind: EventKind, plugin_id: str, hook: str) -> None:
        self.kind = kind
        self.plugin_id = plugin_id
        self.hook = hook

    def __repr__(self) -> str:
        return f"<CallSite {self.kind} {self.plugin_id}:{self.hook}>"


class CallPath(dict["str | CallSite", "CallPath"]):
    """A node of the calling-context tree: a call site together with everything it was called from.

    The node is the mapping of its own children, so that the instrumentation finds the node for a
    nested call with one subscript: `path[plugin_id]` for an execution, `path[site]` otherwise.
    """

    __slots__ = ("concurrent", "depth", "parent", "site", "tree")

    def __init__(self, tree: CallTree, parent: CallPath | None, site: CallSite) -> None:
        super().__init__()
        self.tree = tree
        self.parent = parent
        self.site = site
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.concurrent = False
        """Whether calls made from here were seen to run side by side, in tasks or threads."""

    def __missing__(self, key: str | CallSite) -> CallPath:
        return self.tree.grow(self, key)

    # A node, not a value. With all of object's own slots, and only then, look-ups and searches by
    # node stay at C speed.
    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __lt__: Any = vars(object)["__lt__"]
    __le__: Any = vars(object)["__le__"]
    __gt__: Any = vars(object)["__gt__"]
    __ge__: Any = vars(object)["__ge__"]

    def __repr__(self) -> str:
        return f"<CallPath {' > '.join(self.names())}>"

    def names(self) -> tuple[str, ...]:
        """Return the names of all calls from the top to this one."""
        here: CallPath | None = self
        names: list[str] = []
        while here is not None and here.parent is not None:
            names.append(label_of(here.site))
            here = here.parent
        return tuple(reversed(names))

    @property
    def caller(self) -> str | None:
        """The id of the plugin this was called from, None at the top."""
        above = self.parent
        return above.site.plugin_id if above is not None and above.parent is not None else None


class CallTree:
    """All call paths seen; it stops growing at `max_paths`, and each path at `max_depth`.

    Beyond that a call is filed at the top level, without its callers, and counted in `cut_paths`:
    reports say so.
    """

    def __init__(self, max_paths: int = 20_000, max_depth: int = 64) -> None:
        self.max_paths = max_paths
        self.max_depth = max_depth
        self.cut_paths = 0
        self.path_count = 1
        self._lock = threading.RLock()
        self._sites: dict[tuple[EventKind, str, str], CallSite] = {}
        self.root = CallPath(self, None, self.site(EventKind.HOOK_CALL, "", ""))

    def site(self, kind: EventKind, plugin_id: str, hook: str) -> CallSite:
        """Return the one call site of these three."""
        with self._lock:
            key = (kind, plugin_id, hook)
            found = self._sites.get(key)
            if found is None:
                found = self._sites[key] = CallSite(kind, plugin_id, hook)
            return found

    def execution_site(self, plugin_id: str) -> CallSite:
        """Return the call site that the key `plugin_id` stands for."""
        return self.site(EventKind.PLUGIN_EXECUTE, plugin_id, "execute")

    def grow(self, parent: CallPath, key: str | CallSite) -> CallPath:
        """Add and return the child of `parent` under `key`; called when it is not there yet."""
        with self._lock:
            found = parent.get(key)
            if found is not None:
                return found
            full = self.path_count >= self.max_paths or parent.depth >= self.max_depth
            if full and parent is not self.root:
                self.cut_paths += 1
                return self.root[key]
            site = self.execution_site(key) if isinstance(key, str) else key
            path = parent[key] = CallPath(self, parent, site)
            self.path_count += 1
            return path


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
        found = () if self.is_plain else enumerate(self.extras)
        self.carrying = [position for position, extra in found if extra is not None]
        """The positions of the records that carry an extra."""
        self.has_details = Detail in {type(self.extras[i]) for i in self.carrying}
        self._events: tuple[Event, ...] | None = None

    @cached_property
    def groups(self) -> tuple[PathGroup, ...]:
        """The batch by call path, worked out once for all observers."""
        return tuple(_grouped(self))

    @cached_property
    def executions(self) -> dict[str, PathGroup]:
        """The executions by plugin, from wherever they were called, in the order of their ends."""
        by_plugin: dict[str, list[PathGroup]] = {}
        for group in self.groups:
            if group.path.site.kind is EventKind.PLUGIN_EXECUTE:
                by_plugin.setdefault(group.path.site.plugin_id, []).append(group)
        return {plugin_id: _merged(groups) for plugin_id, groups in by_plugin.items()}

    @cached_property
    def in_turn(self) -> bool:
        """Whether each occurrence began after the one before it had ended, so none overlapped."""
        return all(map(ge, self.starts_ns[1:], self.ends_ns))

    @property
    def occurrences(self) -> int:
        """How many journal records the batch holds: its events less the derived errors."""
        return len(self.paths)

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
            metadata=detail.metadata or {},
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


class PathGroup:
    """The records of one call path within a batch, with the sums every observer asks for.

    `extras` is a column like the others, or None when no record of the batch carries any;
    `has_details` tells whether it may hold a `Detail`.
    """

    def __init__(
        self,
        path: CallPath,
        ends_ns: list[int],
        durations_ns: list[int],
        extras: list[Extra] | None,
        *,
        has_details: bool,
    ) -> None:
        self.path = path
        self.has_details = has_details
        self.ends_ns = ends_ns
        self.durations_ns = durations_ns
        self.extras = extras
        self.total_ns = sum(durations_ns)
        self.max_ns = max(durations_ns)

    def first_start_ns(self) -> int:
        """Return when the earliest of them began."""
        starts_ns: Iterator[int] = map(sub, self.ends_ns, self.durations_ns)
        return min(starts_ns)


def _grouped(batch: EventBatch) -> Iterator[PathGroup]:
    distinct = dict.fromkeys(batch.paths)
    extras = None if batch.is_plain else batch.extras
    if len(distinct) == 1:
        first, details = batch.paths[0], batch.has_details
        yield PathGroup(first, batch.ends_ns, batch.durations_ns, extras, has_details=details)
        return
    positions: dict[CallPath, list[int]] = {path: [] for path in distinct}
    for position, path in enumerate(batch.paths):
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


def label_of(site: CallSite) -> str:
    """Return the short name of a call: the plugin, and the hook where it is not plain execute."""
    return site.plugin_id if site.hook == "execute" else f"{site.plugin_id}:{site.hook}"


_NO_DETAIL = Detail()
