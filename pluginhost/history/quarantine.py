"""Setting a corrupt database aside, with all that belongs to it, so that a fresh one can begin."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

COMPANIONS = ("", "-wal", "-shm", "-journal")


def quarantine(
    file: Path, identity: tuple[int, int] | None, clock: Callable[[], float] = time.time
) -> Path | None:
    """Rename a database and its companions; return the new path, None if somebody else did so.

    `identity` is that of the file which was found corrupt (see `identity_of`): another one in its
    place is a fresh one. Raises `OSError` where renaming is not possible.
    """
    with _alone(file):
        if identity is None or identity_of(file) != identity:
            return None
        stem = f"{file.name}.corrupt-{clock():.0f}"
        aside, number = file.with_name(stem), 1
        while aside.exists():
            number += 1
            aside = file.with_name(f"{stem}-{number}")
        for companion in COMPANIONS:
            with suppress(FileNotFoundError):
                file.with_name(file.name + companion).rename(
                    aside.with_name(aside.name + companion)
                )
        return aside


def identity_of(file: Path) -> tuple[int, int] | None:
    """Return which file is there, None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Have one process at a time; where the system has no such locks, do without."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with file.with_name(file.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
