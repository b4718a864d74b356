"""Connections to a history that are as safe as they can be made."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, NullPool, create_engine, event

from pluginhost.errors import HistoryError
from pluginhost.history.journals import journal_mode
from pluginhost.history.places import Place

BUSY_S = 2.0
"""How long one waits for another process that writes into the same file, before trying again."""

WAL_BYTES = 16 * 1024 * 1024
_CONNECT_S = 5


def engine_of(place: Place, *, writing: bool, mode: str | None = None) -> Engine:
    """Return an engine that keeps no connection; each transaction of a writer locks at its begin.

    `mode` is the journal mode of a file, by default the safe one.
    """
    if place.file is None:
        return _postgres(place.url)
    if not writing and not place.file.is_file():
        raise HistoryError(
            f"there is no history at {place.shown}",
            remedy="keep one first: pluginhost run --history, or pluginhost history record FILE",
        )
    engine = create_engine(place.url, poolclass=NullPool, connect_args={"timeout": BUSY_S})
    chosen = mode or journal_mode()

    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say so, see below
        pragmas = ["PRAGMA cache_size=-8000"]
        if writing:
            pragmas += [
                f"PRAGMA journal_mode={chosen}",
                "PRAGMA synchronous=FULL",  # what was acknowledged survives a power cut
                f"PRAGMA journal_size_limit={WAL_BYTES}",
            ]
        else:
            pragmas.append("PRAGMA query_only=ON")
        cursor = connection.cursor()
        try:
            if writing and not cursor.execute("PRAGMA page_count").fetchone()[0]:
                cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before there is anything
            for pragma in pragmas:
                cursor.execute(pragma)
        finally:
            cursor.close()

    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine


def _postgres(url: str) -> Engine:
    return create_engine(
        url,
        poolclass=NullPool,
        connect_args={"connect_timeout": _CONNECT_S, "application_name": "pluginhost"},
    )
