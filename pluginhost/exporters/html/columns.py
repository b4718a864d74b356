"""Columns of tables, by the kind of their values."""

from __future__ import annotations

from pluginhost.exporters.html.document import Column, Table

CPU = Column(label="CPU", kind="ns")
SELF = Column(label="self", kind="ns", note="without what it called")
TOTAL = Column(label="total", kind="ns", note="with what it called")


def text(label: str) -> Column:
    """Return a column of texts."""
    return Column(label=label)


def ns(label: str, note: str = "", *, estimate: bool = False) -> Column:
    """Return a column of times."""
    return Column(label=label, kind="ns", note=note, estimate=estimate)


def count(label: str) -> Column:
    """Return a column of counts."""
    return Column(label=label, kind="count")


def share(label: str, *, estimate: bool = False) -> Column:
    """Return a column of shares."""
    return Column(label=label, kind="share", estimate=estimate)


def size(label: str, note: str = "", *, estimate: bool = False) -> Column:
    """Return a column of sizes."""
    return Column(label=label, kind="bytes", note=note, estimate=estimate)


def filled(table: Table) -> Table:
    """Return the table without the columns that have nothing to say."""
    kept = [
        n
        for n in range(len(table.columns))
        if n == table.sort or any(row[n] not in (None, "", 0) for row in table.rows)
    ]
    return Table(
        id=table.id,
        title=table.title,
        columns=tuple(table.columns[n] for n in kept),
        rows=tuple(tuple(row[n] for n in kept) for row in table.rows),
        sort=kept.index(table.sort) if table.sort in kept else None,
        note=table.note,
    )
