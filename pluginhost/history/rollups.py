"""The roll-ups of one run as its keeper holds them: whole cells, so that writing one twice is once."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from pluginhost.history.cells import MINUTE, RESOLUTIONS, RUN, Cell, packed, unpacked
from pluginhost.history.storable import stored_count
from pluginhost.history.tables import ROLLUPS

Key = tuple[int, int, int]
"""Site, seconds, and the start in seconds since the epoch."""

_KEPT_S = 600
_KEYS = ("site", "seconds", "start_s", "run")
_FIELDS = (
    *("count", "errors", "timeouts", "cancelled"),
    *("total_ns", "min_ns", "max_ns", "sampled", "cpu_ns"),
)


class RollUps:
    """All cells of one run that may still grow.

    `grown` works out what cells become, and changes nothing; `accept` is for when that was
    committed. So a transaction that failed leaves no trace. No cell is ever changed, so one stands
    for all stretches of time that hold the same: in its first hour the run, the day and the hour.
    """

    def __init__(self) -> None:
        self._cells: dict[Key, Cell] = {}
        self._newest_s = 0

    def grown(
        self, connection: Connection, run: int, minutes: Mapping[tuple[int, int], Cell]
    ) -> dict[Key, Cell]:
        """Return what all concerned cells are with `minutes` added, by (site, minute)."""
        grown: dict[Key, Cell] = {}
        sums: dict[tuple[int, int], tuple[Cell, Cell]] = {}
        for (site, minute), cell in minutes.items():
            for seconds in RESOLUTIONS:
                start_s = 0 if seconds == RUN else minute * MINUTE // seconds * seconds
                key = site, seconds, start_s
                known = grown.get(key) or self._known(connection, run, key)
                if known is None:
                    grown[key] = cell
                    continue
                both = id(known), id(cell)
                if both not in sums:
                    # What was known is kept with it, or another could have its identity.
                    sums[both] = known, known.plus(cell)
                grown[key] = sums[both][1]
        return grown

    def accept(self, grown: Mapping[Key, Cell]) -> None:
        """Take over what was committed; forget what is long over."""
        self._cells.update(grown)
        newest = max((start for _, seconds, start in grown if seconds == MINUTE), default=0)
        if newest > self._newest_s:
            self._newest_s = newest
            for key in [key for key in self._cells if self._is_over(key)]:
                del self._cells[key]

    def _known(self, connection: Connection, run: int, key: Key) -> Cell | None:
        known = self._cells.get(key)
        if known is None and self._is_over(key):
            return stored_cell(connection, run, key)
        return known

    def _is_over(self, key: Key) -> bool:
        _, seconds, start_s = key
        return seconds != RUN and start_s + seconds + _KEPT_S < self._newest_s


def stored_cell(connection: Connection, run: int, key: Key) -> Cell:
    """Return a cell as it is stored, an empty one where it is not."""
    table = ROLLUPS.c
    site, seconds, start_s = key
    where = (
        table.site == site,
        table.seconds == seconds,
        table.start_s == start_s,
        table.run == run,
    )
    row = connection.execute(select(ROLLUPS).where(*where)).mappings().first()
    return cell_of(row) if row is not None else Cell()


def cell_of(row: Mapping[Any, Any]) -> Cell:
    """Return the cell that a row of the table holds."""
    return Cell(**{name: int(row[name]) for name in _FIELDS}, histogram=unpacked(row["histogram"]))


def write_cells(connection: Connection, run: int, cells: Mapping[Key, Cell]) -> None:
    """Insert cells, or put them in the place of what was stored of them."""
    distinct = {id(cell): cell for cell in cells.values()}
    fields = {each: _stored(cell) for each, cell in distinct.items()}
    rows = [
        {
            "site": site,
            "seconds": seconds,
            "start_s": stored_count(start_s),
            "run": run,
            **fields[id(cell)],
        }
        for (site, seconds, start_s), cell in sorted(cells.items(), key=itemgetter(0))
    ]
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(ROLLUPS)
    changed = {name: insert.excluded[name] for name in (*_FIELDS, "histogram")}
    connection.execute(insert.on_conflict_do_update(index_elements=list(_KEYS), set_=changed), rows)


def _stored(cell: Cell) -> dict[str, object]:
    counts = {name: stored_count(getattr(cell, name)) for name in _FIELDS}
    return {**counts, "histogram": packed(cell.histogram)}
