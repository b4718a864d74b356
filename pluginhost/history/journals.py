"""Which journal a SQLite file can have without harm: it depends on the SQLite that Python is linked with."""

from __future__ import annotations

MENDED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))
"""The versions without the WAL-reset bug: the first and all after it, and later ones of the others' lines."""

Version = tuple[int, ...]


def sqlite_version() -> Version:
    """Return the version of the SQLite that is linked, an empty one where Python has none."""
    try:
        import sqlite3
    except ImportError:
        return ()
    return sqlite3.sqlite_version_info


def has_wal_fix(version: Version) -> bool:
    """Whether this SQLite is without the WAL-reset bug, which can corrupt a database.

    It is in 3.7.0 to 3.51.2, and was mended in 3.51.3, and also in 3.50.7 and 3.44.6. See
    https://sqlite.org/wal.html#walresetbug.
    """
    first, *others = MENDED
    if version >= first:
        return True
    return any(version[:2] == mended[:2] and version >= mended for mended in others)


def journal_mode(version: Version | None = None) -> str:
    """Return the journal mode that is safe with this SQLite: WAL, or DELETE where that is not."""
    return "WAL" if has_wal_fix(sqlite_version() if version is None else version) else "DELETE"


def wal_warning() -> str | None:
    """Return what is to be known about the SQLite that is linked, None where there is nothing."""
    version = sqlite_version()
    if not version or has_wal_fix(version):
        return None
    mended = ", ".join(".".join(map(str, each)) for each in MENDED)
    return (
        f"SQLite {'.'.join(map(str, version))}, which this Python is linked with, has the WAL-reset"
        " bug: a database in WAL mode can become corrupt when two connections write or checkpoint at"
        f" once. It is mended in {mended}. Histories here use a rollback journal instead; plugins"
        " that keep a database in WAL mode are affected"
    )
