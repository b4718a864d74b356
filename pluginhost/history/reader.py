"""Reading a history: runs, plugins, series over runs, versions and time, and whole runs by reference."""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, RowMapping, func, select

from pluginhost.calltree import EventKind
from pluginhost.errors import HistoryError
from pluginhost.history.answers import run_of, totals_of
from pluginhost.history.cells import DAY, RUN, Cell
from pluginhost.history.engines import engine_of
from pluginhost.history.places import Place, place_of
from pluginhost.history.records import PluginTotals, StoredRun
from pluginhost.history.rollups import cell_of
from pluginhost.history.schema import HEAD, revision_of
from pluginhost.history.storable import LABEL_BYTES, shown_name, stored_name, stored_text
from pluginhost.history.tables import ANOMALIES, ROLLUPS, RUN_PLUGINS, RUNS, SITES
from pluginhost.history.troubles import words_of
from pluginhost.report import Report, decode
from pluginhost.series import Anomaly, AnomalyKind

WORK = (EventKind.PLUGIN_EXECUTE.value, EventKind.HOOK_CALL.value)
"""The kinds of occurrences that a plugin's time is told by."""

_RUN_COLUMNS = [column for column in RUNS.c if column.name != "report"]
_REFERENCE = re.compile(r"last(?::(?P<count>\d+))?")


class RunCell:
    """What one plugin did in one run."""

    def __init__(
        self, run: StoredRun, version: str | None, cell: Cell, totals: Mapping[Any, Any]
    ) -> None:
        self.run = run
        self.version = version
        self.cell = cell
        self.totals = totals


class History:
    """A history to read from; a context manager. What is asked for is read at once, not lazily.

    Raises `HistoryError` where there is none, or it cannot be read.
    """

    def __init__(self, where: str | Path | Place | None = None) -> None:
        self.place = where if isinstance(where, Place) else place_of(where)
        self._engine = engine_of(self.place, writing=False)
        with self._told():
            self._connection: Connection = self._engine.connect()
        with self._asking():
            found = revision_of(self._connection)
        if found != HEAD:
            self.close()
            raise HistoryError(
                f"the history {self.place.shown} has the schema {found}, of an older version",
                remedy="bring it up to date: pluginhost history upgrade",
            )

    def runs(
        self, *, limit: int | None = None, name: str | None = None, host: str | None = None
    ) -> tuple[StoredRun, ...]:
        """Return the newest runs, the newest first, of all programs or of one name, or of one host."""
        query = select(*_RUN_COLUMNS).order_by(RUNS.c.number.desc())
        for column, wanted in ((RUNS.c.name, name), (RUNS.c.host, host)):
            if wanted is not None:
                query = query.where(column == stored_text(wanted, LABEL_BYTES))
        if limit is not None:
            query = query.limit(limit)
        with self._asking() as connection:
            rows = connection.execute(query).mappings().all()
            counted = connection.execute(
                select(RUN_PLUGINS.c.run, func.count()).group_by(RUN_PLUGINS.c.run)
            )
            counts: dict[int, int] = {int(run): int(n) for run, n in counted}
        return tuple(run_of(row, counts.get(row["number"], 0)) for row in rows)

    def plugins(
        self, *, name: str | None = None, host: str | None = None
    ) -> tuple[PluginTotals, ...]:
        """Return all plugins over all runs (of one name, of one host), who took the most time first."""
        chosen = {run.number: run for run in self.runs(name=name, host=host)}
        versions = self._versions(None)
        found: dict[tuple[str, str], list[tuple[int, Cell]]] = defaultdict(list)
        for row in self._cells(None, RUN):
            if row["run"] in chosen and row["kind"] in WORK:
                found[row["plugin"], row["kind"]].append((row["run"], cell_of(row)))
        done = {plugin for plugin, kind in found if kind == WORK[0]}
        totals = [
            totals_of(shown_name(plugin), kind, cells, chosen, versions)
            for (plugin, kind), cells in found.items()
            if kind == WORK[0] or plugin not in done
        ]
        return tuple(sorted(totals, key=lambda row: (-row.total_ns, row.plugin)))

    def plugin(self, plugin_id: str) -> PluginTotals:
        """Return one plugin over all runs: read from the roll-ups, whatever the number of occurrences."""
        by_kind: dict[str, list[tuple[int, Cell]]] = defaultdict(list)
        for row in self._cells(plugin_id, RUN):
            if row["kind"] in WORK:
                by_kind[row["kind"]].append((row["run"], cell_of(row)))
        kind = WORK[0] if WORK[0] in by_kind else WORK[1]
        if kind not in by_kind:
            raise self._unknown(plugin_id)
        runs = {run.number: run for run in self.runs()}
        return totals_of(plugin_id, kind, by_kind[kind], runs, self._versions(plugin_id))

    def by_run(
        self,
        plugin_id: str,
        *,
        hook: str | None = None,
        name: str | None = None,
        host: str | None = None,
    ) -> tuple[RunCell, ...]:
        """Return what a plugin did in each run, the oldest first: its executions, else its hook calls.

        With `hook`, the calls of that hook alone.
        """
        runs = {run.number: run for run in self.runs(name=name, host=host)}
        cells: dict[int, dict[str, Cell]] = defaultdict(dict)
        for row in self._cells(plugin_id, RUN, hook=hook):
            if row["kind"] in WORK and row["run"] in runs:
                cells[row["run"]].setdefault(row["kind"], Cell()).add(cell_of(row))
        described = self._described(plugin_id)
        numbers = sorted(cells.keys() | (described.keys() & runs.keys() if hook is None else set()))
        if not numbers:
            raise self._unknown(plugin_id if hook is None else f"{plugin_id}:{hook}")
        found = []
        for number in numbers:
            kinds = cells.get(number, {})
            cell = kinds.get(WORK[0]) or kinds.get(WORK[1]) or Cell()
            about: Mapping[Any, Any] = described.get(number, {})
            found.append(RunCell(runs[number], about.get("version"), cell, about))
        return tuple(found)

    def by_time(
        self,
        plugin_id: str,
        seconds: int = DAY,
        *,
        hook: str | None = None,
        name: str | None = None,
        host: str | None = None,
    ) -> dict[int, Cell]:
        """Return what a plugin did in each minute, hour or day, over all runs and hosts, by its start.

        With `hook`, the calls of that hook alone; with `name` or `host`, runs of these alone.
        """
        runs = None
        if name is not None or host is not None:
            runs = {run.number for run in self.runs(name=name, host=host)}
        cells: dict[int, dict[str, Cell]] = defaultdict(dict)
        for row in self._cells(plugin_id, seconds, hook=hook):
            if row["kind"] in WORK and (runs is None or row["run"] in runs):
                cells[row["start_s"]].setdefault(row["kind"], Cell()).add(cell_of(row))
        if not cells:
            raise self._unknown(plugin_id)
        kind = WORK[0] if any(WORK[0] in kinds for kinds in cells.values()) else WORK[1]
        return {start: kinds[kind] for start, kinds in sorted(cells.items()) if kind in kinds}

    def plugin_ids(self) -> tuple[str, ...]:
        """Return the ids of all plugins that did anything, or were described."""
        with self._asking() as connection:
            seen = set(connection.execute(select(SITES.c.plugin).distinct()).scalars())
            seen |= set(connection.execute(select(RUN_PLUGINS.c.plugin).distinct()).scalars())
        return tuple(sorted(shown_name(name) for name in seen if name))

    def anomalies(self, run: int) -> tuple[Anomaly, ...]:
        """Return the anomalies that were seen in a run while it was observed."""
        query = select(ANOMALIES).where(ANOMALIES.c.run == run).order_by(ANOMALIES.c.first_ns)
        with self._asking() as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(
            Anomaly(
                plugin=shown_name(row["plugin"]),
                hook=shown_name(row["hook"]),
                kind=AnomalyKind(row["kind"]),
                first_timestamp_ns=row["first_ns"],
                last_timestamp_ns=row["last_ns"],
                **{name: row[name] for name in ("count", "usual", "seen", "score")},
            )
            for row in rows
        )

    def resolve(
        self, reference: str, *, name: str | None = None, but: int | None = None
    ) -> tuple[StoredRun, ...]:
        """Return the runs that `reference` means, the oldest first, of one name, without number `but`.

        It is `last` or `last:N`, `branch:NAME` or `branch:NAME:N` (the newest of a branch),
        `revision:HEX`, or the number or the beginning of the id of a run.
        """
        kind, _, rest = reference.partition(":")
        runs = [run for run in self.runs(name=name) if run.number != but]
        last = _REFERENCE.fullmatch(reference)
        if last is not None:
            chosen = tuple(runs[: int(last["count"] or 1)])
        elif kind == "branch":
            branch, _, count = rest.rpartition(":")
            if not count.isdigit():
                branch, count = rest, "1"
            chosen = tuple(run for run in runs if run.label.branch == branch)[: int(count)]
        elif kind in ("revision", "rev"):
            wanted = rest.lower()
            chosen = tuple(
                run for run in runs if wanted and (run.label.revision or "").startswith(wanted)
            )
        else:
            chosen = tuple(
                run
                for run in runs
                if reference == str(run.number)
                or (len(reference) >= 4 and run.label.id.startswith(reference))
            )
        if not chosen:
            raise HistoryError(
                f"{reference!r} is no file, and no run in {self.place.shown}",
                remedy="see 'pluginhost history runs'; or last, last:5, branch:NAME, revision:HEX",
            )
        return tuple(reversed(chosen))

    def report(self, number: int) -> Report | None:
        """Return the whole report of a run that was saved, None where there is none."""
        with self._asking() as connection:
            raw = connection.execute(select(RUNS.c.report).where(RUNS.c.number == number)).scalar()
        if raw is None:
            return None
        try:
            text = zlib.decompress(raw)
        except zlib.error as error:
            raise HistoryError(
                f"the report of run {number} is damaged", remedy="record it again"
            ) from error
        return decode(text, Report, origin=f"the report of run {number}")

    def cells_of_run(self, number: int) -> dict[tuple[str, str, str], Cell]:
        """Return what each plugin did in one run, by (plugin, kind, hook)."""
        return self.cells_of_runs([number]).get(number, {})

    def cells_of_runs(self, numbers: Sequence[int]) -> dict[int, dict[tuple[str, str, str], Cell]]:
        """Return what each plugin did in each of these runs, by (plugin, kind, hook)."""
        found: dict[int, dict[tuple[str, str, str], Cell]] = defaultdict(dict)
        for row in self._cells(None, RUN, runs=numbers) if numbers else ():
            site = shown_name(row["plugin"]), row["kind"], shown_name(row["hook"])
            found[row["run"]][site] = cell_of(row)
        return found

    def versions_of_run(self, number: int) -> dict[str, str | None]:
        """Return the versions of the plugins of one run."""
        return {
            plugin: row["version"] for (run, plugin), row in self._all_described() if run == number
        }

    def close(self) -> None:
        """Give the connection up."""
        self._connection.close()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # How

    def _cells(
        self,
        plugin_id: str | None,
        seconds: int,
        *,
        hook: str | None = None,
        runs: Sequence[int] | None = None,
    ) -> Sequence[RowMapping]:
        query = (
            select(ROLLUPS, SITES.c.plugin, SITES.c.kind, SITES.c.hook)
            .join(SITES, SITES.c.id == ROLLUPS.c.site)
            .where(ROLLUPS.c.seconds == seconds)
        )
        if plugin_id is not None:
            query = query.where(SITES.c.plugin == stored_name(plugin_id))
        if hook is not None:
            query = query.where(SITES.c.hook == stored_name(hook))
        if runs is not None:
            query = query.where(ROLLUPS.c.run.in_(runs))
        with self._asking() as connection:
            rows: Sequence[RowMapping] = connection.execute(query).mappings().all()
            return rows

    def _all_described(self) -> Iterator[tuple[tuple[int, str], RowMapping]]:
        with self._asking() as connection:
            rows = connection.execute(select(RUN_PLUGINS)).mappings().all()
        for row in rows:
            yield (row["run"], shown_name(row["plugin"])), row

    def _described(self, plugin_id: str) -> dict[int, RowMapping]:
        query = select(RUN_PLUGINS).where(RUN_PLUGINS.c.plugin == stored_name(plugin_id))
        with self._asking() as connection:
            return {row["run"]: row for row in connection.execute(query).mappings()}

    def _versions(self, plugin_id: str | None) -> dict[tuple[int, str], str | None]:
        if plugin_id is not None:
            rows = self._described(plugin_id)
            return {(run, plugin_id): row["version"] for run, row in rows.items()}
        return {key: row["version"] for key, row in self._all_described()}

    def _unknown(self, plugin_id: str) -> HistoryError:
        known = self.plugin_ids()
        return HistoryError(
            "nothing of it is in this history",
            plugin_id=plugin_id,
            remedy=f"there are: {', '.join(known[:20]) or 'none'}",
        )

    @contextmanager
    def _asking(self) -> Iterator[Connection]:
        """Read in a transaction that is over when the answer is there: nobody is held up."""
        with self._told(), self._connection.begin():
            yield self._connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except HistoryError:
            raise
        except Exception as error:
            raise HistoryError(
                f"the history {self.place.shown} cannot be read: {words_of(error)}",
                remedy="check that it is there, and that you may read it",
            ) from error
