"""Files that commands read and write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click


def check_writable(file: str) -> None:
    """Raise before a long run rather than after it."""
    path = Path(file)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise click.UsageError(f"{file!r} cannot be written: name a file in a folder of yours")


def files_of(inputs: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files that `inputs` stand for: those in a folder by name, hidden ones left out."""
    files: list[Path] = []
    for path in inputs:
        if not path.is_dir():
            files.append(path)
            continue
        try:
            inside = sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")
        except OSError as error:
            raise click.BadParameter(f"{str(path)!r} cannot be read: {error.strerror}") from error
        if not inside:
            raise click.BadParameter(f"there is no file in the folder {str(path)!r}")
        files += inside
    return tuple(files)
