"""Files that commands write."""

from __future__ import annotations

import os
from pathlib import Path

import click


def check_writable(file: str) -> None:
    """Raise before a long run rather than after it."""
    path = Path(file)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise click.UsageError(f"{file!r} cannot be written: name a file in a folder of yours")
