"""Which schema a history has, and bringing an older one up to date."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from pluginhost.errors import HistoryError, NewerHistoryError
from pluginhost.history.places import Place

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

HEAD = "0002"
"""The newest revision, which this version writes."""

REVISIONS = ("0001", "0002")
_LOCK = 0x706C7567  # any number that is ours, for PostgreSQL's advisory lock
_VERSION = text("SELECT version_num FROM alembic_version")


def revision_of(connection: Connection) -> str | None:
    """Return the revision of the schema, None where there is none.

    Raises `HistoryError` where there are other people's tables, `NewerHistoryError` for a newer
    version's.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    if "alembic_version" not in tables or "occurrences" not in tables:
        raise HistoryError(
            "this database is not a history: there are other tables in it",
            remedy="name another file or database",
        )
    found = connection.execute(_VERSION).scalar()
    if found not in REVISIONS:
        raise NewerHistoryError(
            f"this history has the schema {found}, and this version knows {HEAD} at most: nothing"
            " is changed in it",
            remedy="upgrade pluginhost, or name another history",
        )
    return str(found)


def bring_up_to_date(connection: Connection, place: Place, *, until: str = HEAD) -> None:
    """Upgrade the schema within the transaction that `connection` is in; do nothing if it is new.

    Whatever stops it, even the end of the process, leaves the old schema. Who else wants to do the
    same waits. A file is copied first, beside itself.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    found = revision_of(connection)
    if found == until:
        return
    if found is not None and place.file is not None:
        _back_up(place.file, found)
    _upgrade(connection, found, until)


def _upgrade(connection: Connection, found: str | None, until: str) -> None:
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    script = _script()
    context = MigrationContext.configure(connection)
    steps = list(script.iterate_revisions(until, found or "base"))
    with Operations.context(context):
        for step in reversed(steps):
            step.module.upgrade()
            context.stamp(script, step.revision)


def _script() -> ScriptDirectory:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def _back_up(file: Path, revision: str) -> None:
    """Copy the database, whole or not at all; a connection of its own reads beside ours."""
    copy = file.with_name(f"{file.name}.backup-{revision}")
    draft = copy.with_name(copy.name + ".part")
    with suppress(FileNotFoundError):
        draft.unlink()
    source = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
    try:
        target = sqlite3.connect(draft)
        try:
            source.backup(target)
        finally:
            target.close()
    finally:
        source.close()
    draft.replace(copy)
