"""The SHA-256 of any file, however large."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pluginhost import hookimpl


@hookimpl
def execute(payload: Path) -> str:
    """Return the checksum in hexadecimal; the file is read in chunks, never whole."""
    with payload.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
