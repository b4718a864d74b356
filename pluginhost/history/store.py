"""One writer's connection to a history: runs, sites, occurrences, each step whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pluginhost.history.bulk import insert_occurrences
from pluginhost.history.cells import Cell
from pluginhost.history.engines import WAL_BYTES, engine_of
from pluginhost.history.places import Place
from pluginhost.history.records import RunLabel
from pluginhost.history.rollups import Key, write_cells
from pluginhost.history.rows import Rows
from pluginhost.history.schema import bring_up_to_date
from pluginhost.history.storable import LABEL_BYTES, stored_count, stored_name, stored_text
from pluginhost.history.tables import ANOMALIES, DETAILS, OCCURRENCES, RUN_PLUGINS, RUNS, SITES
from pluginhost.report import PluginInfo
from pluginhost.series import Anomaly

SiteKey = tuple[str, str, str]
"""Plugin, kind and hook, as they are."""


class Store:
    """A connection that is open until it is closed; one thread uses it, the one that opened it.

    Raises what SQLAlchemy and the driver raise: who calls decides what that means.
    """

    def __init__(self, place: Place, *, mode: str | None = None) -> None:
        self.place = place
        self._engine = engine_of(place, writing=True, mode=mode)
        if place.file is not None:
            place.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.connection = self._engine.connect()
        try:
            with self.connection.begin():
                bring_up_to_date(self.connection, place)
        except BaseException:
            self.close()
            raise

    def register(self, label: RunLabel) -> int:
        """Return the number of a run; the first time it is asked for, it gets one."""
        texts: dict[str, str | None] = {
            name: stored_text(getattr(label, name), LABEL_BYTES)
            for name in (
                "id",
                "name",
                "origin",
                "host",
                "python",
                "pluginhost",
                "pluggy",
                "platform",
            )
        }
        for name in ("revision", "branch"):
            value = getattr(label, name)
            texts[name] = None if value is None else stored_text(value, LABEL_BYTES)
        values = {
            **texts,
            "pid": label.pid,
            "started_ns": stored_count(label.started_timestamp_ns),
            "occurrences": 0,
            "lost": 0,
        }
        with self.connection.begin():
            statement = self._insert(RUNS).values(values)
            self.connection.execute(statement.on_conflict_do_nothing(index_elements=["id"]))
            found = self.connection.execute(select(RUNS.c.number).where(RUNS.c.id == texts["id"]))
            return int(found.scalar_one())

    def number_of(self, identity: str) -> int | None:
        """Return the number of the run with this id, None where there is none."""
        stored = stored_text(identity, LABEL_BYTES)
        with self.connection.begin():
            query = select(RUNS.c.number).where(RUNS.c.id == stored)
            number = self.connection.execute(query).scalar()
        return None if number is None else int(number)

    def site_ids(self, keys: Iterable[SiteKey]) -> dict[SiteKey, int]:
        """Return the ids of sites, in a transaction of its own; new ones get one.

        They come in one order in every process, so that no two wait for each other.
        """
        found: dict[SiteKey, int] = {}
        with self.connection.begin():
            for plugin, kind, hook in sorted(set(keys)):
                stored = {
                    "plugin": stored_name(plugin),
                    "kind": stored_name(kind),
                    "hook": stored_name(hook),
                }
                same = [SITES.c[name] == value for name, value in stored.items()]
                query = select(SITES.c.id).where(*same)
                number = self.connection.execute(query).scalar()
                if number is None:
                    statement = self._insert(SITES).values(stored).on_conflict_do_nothing()
                    self.connection.execute(statement)
                    number = self.connection.execute(query).scalar_one()
                found[plugin, kind, hook] = int(number)
        return found

    def has(self, occurrence: int) -> bool:
        """Whether this occurrence is kept: what of one transaction is there, is all there."""
        with self.connection.begin():
            query = select(OCCURRENCES.c.id).where(OCCURRENCES.c.id == occurrence)
            return self.connection.execute(query).scalar() is not None

    def write(self, rows: Rows, meanwhile: Callable[[], None]) -> None:
        """Write occurrences, within a transaction; see `insert_occurrences`."""
        insert_occurrences(self.connection, rows, meanwhile)
        if rows.details:
            names = ("id", "error_type", "error_message", "metadata", "task")
            self.connection.execute(
                insert(DETAILS), [dict(zip(names, row, strict=True)) for row in rows.details]
            )

    def roll_up(
        self, run: int, rows: Rows, cells: Mapping[Key, Cell], lost: Mapping[str, int]
    ) -> None:
        """Write the cells that occurrences have changed, within the same transaction."""
        write_cells(self.connection, run, cells)
        counted = RUNS.c.occurrences + len(rows.ids)
        self._update_run(run, lost, occurrences=counted, last_ns=max(rows.ends_ns))

    def describe(self, run: int, plugins: Iterable[PluginInfo]) -> None:
        """Write down which plugins there are, in which versions; in a transaction of its own."""
        with self.connection.begin():
            self.write_plugins(run, {info.id: _described(info) for info in plugins})

    def write_plugins(self, run: int, plugins: Mapping[str, Mapping[str, object]]) -> None:
        """Put the plugins of a run in the place of those that were stored of it."""
        rows = [
            {"run": run, "plugin": stored_name(plugin_id), **_EMPTY, **values}
            for plugin_id, values in plugins.items()
        ]
        self.connection.execute(delete(RUN_PLUGINS).where(RUN_PLUGINS.c.run == run))
        if rows:
            statement = self._insert(RUN_PLUGINS).on_conflict_do_nothing()
            self.connection.execute(statement, rows)

    def write_anomalies(self, run: int, anomalies: Iterable[Anomaly]) -> None:
        """Put the anomalies of a run in the place of those that were stored; in a transaction."""
        rows = [
            {
                "run": run,
                "plugin": stored_name(found.plugin),
                "hook": stored_name(found.hook),
                "kind": found.kind.value,
                "first_ns": stored_count(found.first_timestamp_ns),
                "last_ns": stored_count(found.last_timestamp_ns),
                "count": found.count,
                "usual": found.usual,
                "seen": found.seen,
                "score": found.score,
            }
            for found in anomalies
        ]
        with self.connection.begin():
            self.connection.execute(delete(ANOMALIES).where(ANOMALIES.c.run == run))
            if rows:
                statement = self._insert(ANOMALIES).on_conflict_do_nothing()
                self.connection.execute(statement, rows)

    def finish(self, run: int, ended_ns: int, lost: Mapping[str, int]) -> None:
        """Write down that a run is over, and what of it was lost."""
        with self.connection.begin():
            self._update_run(run, lost, ended_ns=stored_count(ended_ns))

    def tidy(self) -> None:
        """Bring a write-ahead log that readers have kept growing back to its size."""
        file = self.place.file
        if file is None:
            return
        log = file.with_name(file.name + "-wal")
        if log.is_file() and log.stat().st_size > WAL_BYTES:
            self.pragma("wal_checkpoint(TRUNCATE)")

    def pragma(self, name: str) -> int:
        """Run a pragma of SQLite outside of a transaction and return the first figure of its answer."""
        connection = self.connection.connection.driver_connection
        assert connection is not None
        rows = connection.execute(f"PRAGMA {name}").fetchall()
        return int(rows[0][0]) if rows else 0

    def close(self) -> None:
        """Give the connection up; what was not committed is not kept."""
        try:
            self.connection.close()
        finally:
            self._engine.dispose()

    def _update_run(self, run: int, lost: Mapping[str, int], **values: object) -> None:
        if lost:
            values |= {"lost": sum(lost.values()), "lost_reasons": json.dumps(dict(lost))}
        self.connection.execute(update(RUNS).where(RUNS.c.number == run).values(**values))

    def _insert(self, table: Table) -> Any:
        """Return an insert that may say what to do about a conflict, in words that both know."""
        dialect = postgresql if self.connection.dialect.name == "postgresql" else sqlite
        return dialect.insert(table)


_EMPTY = dict.fromkeys(("version", "distribution", "state", "self_ns", "import_ns"))


def _described(info: PluginInfo) -> dict[str, object]:
    return {
        "version": None if info.version is None else stored_text(info.version, LABEL_BYTES),
        "distribution": (
            None if info.distribution is None else stored_text(info.distribution, LABEL_BYTES)
        ),
        "state": info.state.value,
    }
