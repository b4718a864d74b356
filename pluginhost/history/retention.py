"""Forgetting: by age and by size, in small steps, also when the disk is full."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from sqlalchemy import func, select, text

from pluginhost.errors import InvalidValueError
from pluginhost.history.cells import DAY, HOUR, MINUTE
from pluginhost.history.store import Store
from pluginhost.history.tables import OCCURRENCES, ROLLUPS, RUNS, SEQUENCE_BITS

_PIECE = 5_000
_SMALLEST_PIECE = 50
_RESERVE_BYTES = 4 * 1024 * 1024
_SHARE = 16
_ROW_BYTES = 86  # of an occurrence with its index, in PostgreSQL
_NS = 1_000_000_000


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept for how long, None for ever; roll-ups of days and of runs are kept in any case.

    `max_bytes` bounds what is stored: beyond it the oldest occurrences go first, then roll-ups of
    minutes, then whole reports of the oldest runs.
    """

    occurrence_days: float | None = 30
    minute_days: float | None = 30
    hour_days: float | None = 365
    max_bytes: int | None = 1024**3

    def __post_init__(self) -> None:
        for name in ("occurrence_days", "minute_days", "hour_days", "max_bytes"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise InvalidValueError(f"{name} is {value!r}", remedy="give 0 or more, or None")


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """What a round of retention has removed."""

    occurrences: int = 0
    rollups: int = 0
    reports: int = 0
    stored_bytes: int = 0


class Forgetter:
    """Applies a retention to a store, one small transaction after the other.

    `stop` is asked between them. Each takes so little room for its journal that a reserve of a few
    pages is enough; see `Reserve`.
    """

    def __init__(self, store: Store, retention: Retention, stop: Callable[[], bool]) -> None:
        self._store = store
        self._retention = retention
        self._stop = stop
        self._piece = _PIECE

    def run(self, now_ns: int) -> Forgotten:
        """Forget what is too old and too much.

        Age is counted from `now_ns` or from the newest occurrence, whichever is earlier: a clock that was
        wrong must not cost the whole history.
        """
        wanted = self._retention
        now_ns = min(now_ns, self._newest_ns())
        occurrences = rollups = 0
        if wanted.occurrence_days is not None:
            occurrences = self._old_occurrences(_before(now_ns, wanted.occurrence_days))
        for seconds, days in ((MINUTE, wanted.minute_days), (HOUR, wanted.hour_days)):
            if days is not None:
                rollups += self._old_rollups(seconds, _before(now_ns, days) // _NS)
        reports = 0
        if wanted.max_bytes is not None:
            limit = wanted.max_bytes
            occurrences += self._until(limit, self._oldest_occurrences)
            rollups += self._until(limit, self._oldest_minutes)
            reports = self._until(limit, self._oldest_report)
        if occurrences + rollups + reports:
            self._give_back()
        return Forgotten(
            occurrences=occurrences,
            rollups=rollups,
            reports=reports,
            stored_bytes=stored_bytes(self._store),
        )

    def _newest_ns(self) -> int:
        with self._store.connection.begin():
            newest = self._store.connection.execute(
                select(func.max(func.coalesce(RUNS.c.last_ns, RUNS.c.started_ns)))
            ).scalar()
        return int(newest) if newest is not None else 0

    def _old_occurrences(self, before_ns: int) -> int:
        """Remove what ended before; within a run, occurrences come in the order of their ends."""
        with self._store.connection.begin():
            runs = self._store.connection.execute(
                select(RUNS.c.number).where(RUNS.c.started_ns < before_ns).order_by(RUNS.c.number)
            ).scalars()
            numbers = list(runs)
        removed = 0
        for number in numbers:
            first, end = number << SEQUENCE_BITS, (number + 1) << SEQUENCE_BITS
            until = self._first_since(first, end, before_ns)
            removed += self._remove(first, until)
        return removed

    def _first_since(self, low: int, high: int, before_ns: int) -> int:
        """Return the id from which on nothing in [low, high) ended before; by bisection of ids."""
        with self._store.connection.begin():
            execute = self._store.connection.execute
            ids = OCCURRENCES.c.id
            span = execute(select(func.min(ids), func.max(ids)).where(ids >= low, ids < high)).one()
            if span[0] is None:
                return low
            low, high = span[0], span[1] + 1
            query = select(OCCURRENCES.c.ended_ns, ids).order_by(ids).limit(1)
            while low < high:
                middle = (low + high) // 2
                row = execute(query.where(ids >= middle)).first()
                if row is not None and row[0] < before_ns:
                    low = row[1] + 1
                else:
                    high = middle
            return low

    def _remove(self, first: int, until: int) -> int:
        removed = 0
        while not self._stop():
            n = self._piecewise(lambda piece: self._remove_piece(first, until, piece))
            removed += n
            if not n:
                break
        return removed

    def _remove_piece(self, first: int, until: int, piece: int) -> int:
        connection = self._store.connection
        with connection.begin():
            ids = OCCURRENCES.c.id
            within = select(ids).where(ids >= first, ids < until).order_by(ids).limit(piece)
            last = connection.execute(select(func.max(within.subquery().c.id))).scalar()
            if last is None:
                return 0
            bounds = {"first": first, "last": last}
            for table in ("details", "readings"):
                connection.execute(
                    text(f"DELETE FROM {table} WHERE id >= :first AND id <= :last"),  # noqa: S608
                    bounds,
                )
            done = connection.execute(
                text("DELETE FROM occurrences WHERE id >= :first AND id <= :last"), bounds
            )
            return int(done.rowcount)

    def _old_rollups(self, seconds: int, before_s: int) -> int:
        def piece(count: int) -> int:
            return self._remove_rollups(seconds, before_s, count)

        removed = 0
        while not self._stop() and (n := self._piecewise(piece)):
            removed += n
        return removed

    def _remove_rollups(self, seconds: int, before_s: int, count: int) -> int:
        connection = self._store.connection
        table = ROLLUPS.c
        keys = (table.site, table.seconds, table.start_s, table.run)
        where = (table.seconds == seconds, table.start_s < before_s - seconds)
        with connection.begin():
            rows = connection.execute(select(*keys).where(*where).limit(max(1, count // 50))).all()
            if rows:
                connection.execute(
                    text(
                        "DELETE FROM rollups WHERE site = :site AND seconds = :seconds"
                        " AND start_s = :start_s AND run = :run"
                    ),
                    [dict(row._mapping) for row in rows],
                )
            return len(rows)

    def _until(self, limit: int, remove: Callable[[int], int]) -> int:
        """Remove until no more than `limit` bytes are stored, with some room to grow again."""
        removed, target, exact = 0, limit, self._store.place.file is not None
        stored = stored_bytes(self._store)
        while not self._stop() and stored > target:
            target = limit * 9 // 10
            n = self._piecewise(remove)
            if not n:
                break
            removed += n
            stored = stored_bytes(self._store) if exact else stored - n * _ROW_BYTES
        return removed

    def _oldest_occurrences(self, piece: int) -> int:
        return self._remove_piece(0, 2**63 - 1, piece)

    def _oldest_minutes(self, piece: int) -> int:
        return self._remove_rollups(MINUTE, 2**62, piece)

    def _oldest_report(self, _piece: int) -> int:
        with self._store.connection.begin():
            done = self._store.connection.execute(
                text(
                    "UPDATE runs SET report = NULL WHERE number ="
                    " (SELECT min(number) FROM runs WHERE report IS NOT NULL)"
                )
            )
            return int(done.rowcount)

    def _piecewise(self, remove: Callable[[int], int]) -> int:
        """Remove a piece; where the journal has no room for it, a smaller one."""
        while True:
            try:
                return remove(self._piece)
            except Exception:
                if self._piece <= _SMALLEST_PIECE:
                    raise
                self._piece //= 4

    def _give_back(self) -> None:
        """Return free pages to the file system, where there is room to do so."""
        if self._store.place.file is not None:
            with suppress(Exception):
                self._store.pragma("incremental_vacuum(2000)")


class Reserve:
    """A file that keeps room on the disk, to be given up when it is full: deleting needs room, too."""

    def __init__(self, file: Path) -> None:
        self._file = file.with_name(file.name + ".reserve")
        self._size = 0

    def take(self) -> None:
        """Occupy the room, if there is plenty of it."""
        with suppress(OSError):
            if self._file.exists():
                return
            stat = os.statvfs(self._file.parent)
            free = stat.f_bavail * stat.f_frsize
            # As much as the first time: on a disk that is full, there is only what was given up.
            self._size = self._size or min(_RESERVE_BYTES, free // _SHARE)
            if stat.f_frsize <= self._size <= free:
                self._file.write_bytes(bytes(self._size))

    def give_up(self) -> bool:
        """Free the room; return whether there was any."""
        try:
            self._file.unlink()
        except OSError:
            return False
        return True


def stored_bytes(store: Store) -> int:
    """Return how many bytes a history takes, without what is free in its file.

    In PostgreSQL, where a table does not shrink when rows are deleted, it is estimated from the
    number of rows.
    """
    if store.place.file is not None:
        used = store.pragma("page_count") - store.pragma("freelist_count")
        return used * store.pragma("page_size")
    with store.connection.begin():
        execute = store.connection.execute
        rows = execute(select(func.count()).select_from(OCCURRENCES)).scalar_one()
        return int(rows) * _ROW_BYTES + int(
            execute(text("SELECT pg_total_relation_size('rollups')")).scalar_one()
        )


def _before(now_ns: int, days: float) -> int:
    return now_ns - round(days * DAY) * _NS
