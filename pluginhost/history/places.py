"""Where a history is: a database by URL, by default a file in the platform's data folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from pluginhost.errors import HistoryError
from pluginhost.extras import require

VARIABLE = "PLUGINHOST_HISTORY"
"""The environment variable that names the history where nobody else does."""

_FILE = "history.sqlite"
_POSTGRES = ("postgresql://", "postgres://", "postgresql+psycopg://")


class Place(msgspec.Struct, frozen=True):
    """One history: the URL as SQLAlchemy wants it, and the file where it is one."""

    url: str
    file: Path | None = None

    @property
    def shown(self) -> str:
        """How it is called in messages: as seen from the working folder, never with a password."""
        if self.file is not None:
            with suppress(OSError, ValueError):  # the folder is gone, or the file is elsewhere
                return str(self.file.relative_to(Path.cwd()))
            return str(self.file)
        from sqlalchemy import make_url

        return str(make_url(self.url).render_as_string(hide_password=True))


def place_of(where: str | Path | None = None) -> Place:
    """Return the history that is meant: a path, `sqlite:///PATH`, `postgresql://...`, or the default.

    None means what `PLUGINHOST_HISTORY` says, else the default file. Raises `HistoryError` for
    another database, `MissingExtraError` where an extra is missing.
    """
    require("sqlalchemy", "alembic", extra="history")
    text = str(where) if where else os.environ.get(VARIABLE, "")
    if not text:
        return Place(*_of_file(_default_file()))
    if text.startswith(_POSTGRES):
        require("psycopg", extra="postgres")
        return Place("postgresql+psycopg://" + text.partition("://")[2])
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Place(*_of_file(Path(text)))
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return Place(*_of_file(Path(rest[1:])))
    raise HistoryError(
        f"a history cannot be in {scheme}://...",
        remedy="give a file, sqlite:///FILE, or postgresql://USER@HOST/DATABASE",
    )


def _default_file() -> Path:
    require("platformdirs", extra="history")
    from platformdirs import user_data_path

    return user_data_path("pluginhost", appauthor=False) / _FILE


def _of_file(file: Path) -> tuple[str, Path]:
    if "\0" in str(file):
        raise HistoryError("the path of a history has a null character", remedy="check the path")
    path = file.expanduser().absolute()
    return f"sqlite:///{path}", path
