"""The schema of a history: what migrations make, and what stops in the middle of one."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from pluginhost.errors import HistoryError
from pluginhost.history.engines import engine_of
from pluginhost.history.keeper import HistoryKeeper
from pluginhost.history.places import Place
from pluginhost.history.reader import History
from pluginhost.history.schema import HEAD, REVISIONS, bring_up_to_date, revision_of
from pluginhost.history.store import Store
from pluginhost.history.tables import METADATA


def at(place: Place, revision: str) -> None:
    """Make a history of an older version."""
    engine = engine_of(place, writing=True)
    with engine.connect() as connection, connection.begin():
        bring_up_to_date(connection, place, until=revision)
    engine.dispose()


def schema(place: Place) -> list[tuple[str, str]]:
    assert place.file is not None
    with closing(sqlite3.connect(place.file)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_migrations_make_the_tables_that_the_code_uses(place: Place) -> None:
    """Alembic finds no difference between the two."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    Store(place).close()
    engine = engine_of(place, writing=True)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_every_revision_is_known_by_name() -> None:
    """So that a history can be opened without importing alembic."""
    from pluginhost.history.schema import _script

    found = [step.revision for step in _script().walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS
    assert found[0] == HEAD


def test_an_older_schema_is_upgraded_after_a_copy(place: Place, keeper: Any, batches: Any) -> None:
    """A keeper does so when it opens; a reader asks for it."""
    at(place, REVISIONS[0])
    with pytest.raises(HistoryError, match="older version"):
        History(place)
    kept: HistoryKeeper = keeper()
    kept.observe(batches.of("words", [1_000]))
    assert kept.close().kept == 1
    assert place.file is not None
    copy = place.file.with_name(f"{place.file.name}.backup-{REVISIONS[0]}")
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [("0001",)]
    with History(place) as history:
        assert history.plugin("words").count == 1


@pytest.mark.parametrize("seen", range(6))
def test_a_migration_that_is_killed_leaves_the_old_schema(seen: int, place: Place) -> None:
    """Whatever statement of it the process ends at, the next one begins from what was."""
    at(place, REVISIONS[0])
    before = schema(place)
    pid = os.fork()
    if pid == 0:
        _upgrade_until(place, seen)
        os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (9, 1)
    if status == 9:
        assert schema(place) == before
    Store(place).close()
    engine = engine_of(place, writing=True)
    with engine.connect() as connection, connection.begin():
        assert revision_of(connection) == HEAD
    engine.dispose()


def _upgrade_until(place: Place, seen: int) -> None:
    """Upgrade, and end the process without ado before the statement of that number."""
    from sqlalchemy import event

    engine = engine_of(place, writing=True)
    left = [seen]

    def count(*_arguments: object) -> None:
        if left[0] == 0:
            os._exit(9)
        left[0] -= 1

    with engine.connect() as connection, connection.begin():
        event.listen(engine, "before_cursor_execute", count)
        bring_up_to_date(connection, place)
        event.remove(engine, "before_cursor_execute", count)


def test_two_that_begin_at_once_make_one_schema(place: Place) -> None:
    """The second waits for the first, and finds nothing left to do."""
    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                Store(place).close()
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0, 0]
