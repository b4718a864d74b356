"""Rows as they are inserted, and roll-ups against a calculation of their own."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, strategies as st
from sqlalchemy import Connection, create_engine, select

from pluginhost.calltree import CallTree
from pluginhost.events import EventBatch
from pluginhost.histogram import DurationHistogram
from pluginhost.history.bulk import insert
from pluginhost.history.cells import RESOLUTIONS, Cell
from pluginhost.history.rollups import Key, RollUps, cell_of, write_cells
from pluginhost.history.rows import cells_of, rows_of
from pluginhost.history.tables import METADATA, OCCURRENCES, ROLLUPS
from pluginhost.journal import Detail, Extra, Failure, Status

EPOCH_NS = 1_767_225_600_000_000_000  # 2026-01-01 00:00 UTC
SECOND_NS = 1_000_000_000
NUMBERS = count(1)
PATHS = [CallTree().root[name] for name in ("one", "two", "three")]
SITES = dict(zip(PATHS, (7, 8, 7), strict=True))
"""Two ways to call the same plugin are one site."""


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    """A database in memory with the tables of a history."""
    engine = create_engine("sqlite://")
    METADATA.create_all(engine)
    with engine.connect() as made:
        yield made
    engine.dispose()


class Happened(NamedTuple):
    """One occurrence: `ended_s` after the epoch of the test, with the status and the CPU time."""

    path: int
    ended_s: int
    duration_ns: int
    status: Status
    cpu_ns: int | None

    def extra(self) -> Extra:
        """Return what a record of it carries."""
        reading = None if self.cpu_ns is None else (self.cpu_ns, 1, 2, 0, 1, 1, 0, 0)
        if self.status is Status.SUCCESS:
            return reading
        return Detail(Failure(self.status, "ValueError", "no"), reading)


HAPPENED = st.builds(
    Happened,
    st.integers(0, 2),
    st.integers(0, 200) | st.integers(0, 200_000),  # some minutes, or some days
    st.integers(0, 10**10),
    st.sampled_from(Status),
    st.none() | st.integers(0, 10**9),
)
TRANSACTIONS = st.lists(st.tuples(st.lists(HAPPENED, min_size=1, max_size=12), st.booleans()))


def batch_of(happened: list[Happened]) -> EventBatch:
    """Return them as the bus hands them over."""
    records: list[object] = []
    for one in happened:
        end = one.ended_s * SECOND_NS
        records += (PATHS[one.path], end - one.duration_ns, end, 1, one.extra())
    return EventBatch(records, EPOCH_NS)


def expected(happened: list[Happened]) -> dict[Key, Cell]:
    """Return all cells, each added up from the occurrences that belong into it."""
    within: dict[Key, list[Happened]] = defaultdict(list)
    for one in happened:
        second = EPOCH_NS // SECOND_NS + one.ended_s
        for seconds in RESOLUTIONS:
            start_s = second - second % seconds if seconds else 0
            within[SITES[PATHS[one.path]], seconds, start_s].append(one)
    cells = {}
    for key, some in within.items():
        statuses = [one.status for one in some]
        durations = [one.duration_ns for one in some]
        cpu_ns = [one.cpu_ns for one in some if one.cpu_ns is not None]
        histogram = DurationHistogram()
        histogram.add_all(durations)
        cells[key] = Cell(
            count=len(some),
            errors=statuses.count(Status.ERROR),
            timeouts=statuses.count(Status.TIMEOUT),
            cancelled=statuses.count(Status.CANCELLED),
            total_ns=sum(durations),
            min_ns=min(durations),
            max_ns=max(durations),
            sampled=len(cpu_ns),
            cpu_ns=sum(cpu_ns),
            histogram=histogram,
        )
    return cells


def comparable(cells: dict[Key, Cell]) -> dict[Key, tuple[object, ...]]:
    """Return cells as tuples; two histograms are the same when their buckets are."""
    names = Cell.__struct_fields__[:-1]
    return {
        key: (*(getattr(cell, name) for name in names), cell.histogram.buckets())
        for key, cell in cells.items()
    }


@given(TRANSACTIONS)
def test_roll_ups_add_up_whatever_fails(
    connection: Connection, transactions: list[tuple[list[Happened], bool]]
) -> None:
    """At every resolution, over minutes, hours and days, also where a transaction is tried twice."""
    run, rollups, sequence = next(NUMBERS), RollUps(), 0
    kept: list[Happened] = []
    for happened, fails in transactions:
        for attempt in range(1 + fails):
            batches = [batch_of(happened[:5]), batch_of(happened[5:])]
            minutes = cells_of(rows_of(batches, run, sequence, SITES))
            with connection.begin() as transaction:
                grown = rollups.grown(connection, run, minutes)
                write_cells(connection, run, grown)
                if attempt < fails:
                    transaction.rollback()
        rollups.accept(grown)
        sequence += len(happened)
        kept += happened
    with connection.begin():
        query = select(ROLLUPS).where(ROLLUPS.c.run == run)
        rows = connection.execute(query).mappings().all()
    found = {(row["site"], row["seconds"], row["start_s"]): cell_of(row) for row in rows}
    assert comparable(found) == comparable(expected(kept))


@pytest.mark.parametrize("size", [1, 49, 50, 51, 100, 1_234])
def test_rows_are_inserted_whole_and_once(connection: Connection, size: int) -> None:
    """Whatever their number, and in their order; what is there already is an error."""
    random = Random(size)
    first = next(NUMBERS) << 40
    columns = (
        range(first, first + size),
        [random.randrange(1, 2**31) for _ in range(size)],
        [random.randrange(-(2**63), 2**63) for _ in range(size)],
        [random.randrange(-(2**63), 2**63) for _ in range(size)],
        [random.randrange(4) for _ in range(size)],
    )
    query = select(OCCURRENCES).where(OCCURRENCES.c.id >= first).order_by(OCCURRENCES.c.id)
    with connection.begin():
        insert(connection, "occurrences", "qiqqh", columns)
    with connection.begin():
        assert [tuple(row) for row in connection.execute(query)] == [*zip(*columns, strict=True)]
    again = tuple(column[-1:] for column in columns)
    with pytest.raises(sqlite3.IntegrityError), connection.begin():
        insert(connection, "occurrences", "qiqqh", again)
