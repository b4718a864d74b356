"""A secret in a file that only its owner may read: made once, never derived, never shown."""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from pluginhost.errors import InvalidValueError

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,}=*")
_LARGEST = 4_096


def default_token_file() -> Path:
    """Return where the token is unless somebody says otherwise: in the platform's data folder."""
    from platformdirs import user_data_path

    return user_data_path("pluginhost", appauthor=False) / "metrics.token"


def token_of(file: Path) -> str:
    """Return the token in a file; where there is no file, one is made with a new random token.

    Raises `InvalidValueError` for a file that is no token, cannot be read or made, or that others
    than its owner and group may read or its group may change.
    """
    try:
        if not file.exists():
            _make(file)
        return _read(file)
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidValueError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidValueError(
            f"the token file {file} cannot be used: {reason}",
            remedy="check the path, or name another with --token-file",
        ) from error


def _make(file: Path) -> None:
    """Write a new token beside `file` and link it there, so that nobody reads half of one."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(secrets.token_urlsafe(32) + "\n")
        with suppress(FileExistsError):  # another process was first: its token counts
            os.link(draft, file)
    finally:
        draft.unlink()


def _read(file: Path) -> str:
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # nobody waits for a pipe
    with os.fdopen(os.open(file, flags), "rb") as opened:
        about = os.fstat(opened.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError(0, "it is no regular file")
        if os.name == "posix" and about.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
            raise InvalidValueError(
                f"others may read or change the token file {file}", remedy=f"chmod 600 {file}"
            )
        token = opened.read(_LARGEST).decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise InvalidValueError(
            f"the token file {file} holds no token",
            remedy="write 16 or more letters and digits into it, or remove it to have one made",
        )
    return token
