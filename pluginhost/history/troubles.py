"""What it means when a database fails: wait and try again, begin anew, or give up."""

from __future__ import annotations

from enum import StrEnum
from errno import ENOSPC

from pluginhost.errors import HistoryError, NewerHistoryError
from pluginhost.printable import printable


class Trouble(StrEnum):
    """Why nothing can be written, in the words in which losses are counted."""

    FULL = "disk full"
    READ_ONLY = "not writable"
    LOCKED = "locked by another process"
    AWAY = "database away"
    DISK = "disk error"
    CORRUPT = "database corrupt"
    NEWER = "schema of a newer version"
    NOT_OURS = "not a history"
    REFUSED = "refused by the database"

    @property
    def is_final(self) -> bool:
        """Whether trying again cannot help."""
        return self in (Trouble.NEWER, Trouble.NOT_OURS)


_SQLITE = (
    ("SQLITE_FULL", Trouble.FULL),
    ("SQLITE_CORRUPT", Trouble.CORRUPT),
    ("SQLITE_NOTADB", Trouble.CORRUPT),
    ("SQLITE_BUSY", Trouble.LOCKED),
    ("SQLITE_LOCKED", Trouble.LOCKED),
    ("SQLITE_READONLY", Trouble.READ_ONLY),
    ("SQLITE_CANTOPEN", Trouble.READ_ONLY),
    ("SQLITE_PERM", Trouble.READ_ONLY),
    ("SQLITE_IOERR", Trouble.DISK),
)
_STATES = {"53": Trouble.FULL, "57": Trouble.AWAY, "08": Trouble.AWAY, "40": Trouble.LOCKED}
_STATES |= {"25": Trouble.READ_ONLY, "55": Trouble.LOCKED, "28": Trouble.AWAY, "3D": Trouble.AWAY}


def trouble_of(error: BaseException) -> Trouble:
    """Return what kind of trouble an error of a history is."""
    if isinstance(error, HistoryError):
        return Trouble.NEWER if isinstance(error, NewerHistoryError) else Trouble.NOT_OURS
    if isinstance(error, OSError):
        return Trouble.FULL if error.errno == ENOSPC else Trouble.READ_ONLY
    cause = getattr(error, "orig", None) or error
    name = getattr(cause, "sqlite_errorname", None)
    if name is not None:
        return next((t for prefix, t in _SQLITE if name.startswith(prefix)), Trouble.REFUSED)
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return _STATES.get(state[:2], Trouble.REFUSED)
    # Psycopg's errors without a state say that the connection is gone.
    away = type(cause).__name__ in ("OperationalError", "InterfaceError", "ConnectionTimeout")
    return Trouble.AWAY if away else Trouble.REFUSED


def words_of(error: BaseException) -> str:
    """Return an error in one line."""
    cause = getattr(error, "orig", None) or error
    return printable(f"{type(cause).__name__}: {cause}", 300)
