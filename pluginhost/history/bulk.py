"""Many rows at once: `executemany` for SQLite, binary COPY for PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from struct import Struct
from typing import Any

from sqlalchemy import Connection

from pluginhost.history.rows import Rows

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_CODES = {"q": 8, "i": 4, "h": 2}
_PIECE = 2_000
_TOGETHER = 50  # rows of five columns: older versions of SQLite take 999 parameters


def insert_occurrences(connection: Connection, rows: Rows, meanwhile: Callable[[], None]) -> None:
    """Insert all occurrences with their readings; a row that is there already is an error.

    `meanwhile` is called once, while a server is about it; it may not use the connection.
    """
    columns: tuple[Sequence[int], ...] = (
        rows.ids,
        rows.sites,
        rows.ends_ns,
        rows.durations_ns,
        rows.statuses,
    )
    insert(connection, "occurrences", "qiqqh", columns, meanwhile)
    if rows.readings:
        insert(connection, "readings", "qqqqh", tuple(zip(*rows.readings, strict=True)))


def insert(
    connection: Connection,
    table: str,
    types: str,
    columns: Sequence[Sequence[int]],
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Insert columns of integers into all columns of a table, in order; `types` as `struct` has them."""
    cursor: Any
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        for rows, parameters in _statements(columns):
            marks = ",".join(["(" + ",".join("?" * len(columns)) + ")"] * rows)
            statement = f"INSERT INTO {table} VALUES {marks}"  # noqa: S608  # the names are ours
            # By the driver itself, which takes parameters as they are made and keeps none.
            driver.executemany(statement, parameters).close()
        meanwhile()
        return
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy:
        for piece in copy_pieces(types, columns):
            copy.write(piece)
        meanwhile()


def _statements(
    columns: Sequence[Sequence[int]],
) -> Iterable[tuple[int, Iterable[tuple[int, ...]]]]:
    """Yield how many rows one statement inserts, and the parameters of all such statements.

    A statement for each row would take nearly twice as long: most of it is spent between them.
    """
    whole = len(columns[0]) // _TOGETHER * _TOGETHER
    for rows, start, end in ((_TOGETHER, 0, whole), (1, whole, len(columns[0]))):
        values = chain.from_iterable(zip(*(column[start:end] for column in columns), strict=True))
        yield rows, zip(*[values] * (rows * len(columns)), strict=True)


def copy_pieces(types: str, columns: Sequence[Sequence[int]]) -> Iterable[bytes]:
    """Yield PostgreSQL's binary COPY format: a count of fields, then the size and value of each.

    In pieces, so that the server works on one while the next is made.
    """
    pack = Struct("!h" + "".join(f"i{code}" for code in types)).pack
    yield _HEADER
    for start in range(0, len(columns[0]), _PIECE):
        fields: list[Iterable[int]] = [repeat(len(types))]
        for code, column in zip(types, columns, strict=True):
            fields += [repeat(_CODES[code]), column[start : start + _PIECE]]
        yield b"".join(map(pack, *fields))
    yield _TRAILER
