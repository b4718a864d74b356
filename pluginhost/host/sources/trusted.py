"""Reading a plugin's files only where nobody else has a say in what they hold.

This is no sandbox: what is loaded may do all that the host may. It makes sure that it is what its
owner put there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from importlib.machinery import all_suffixes
from pathlib import Path

from pluginhost.errors import UntrustedPluginError
from pluginhost.host.manifest import FILE_NAME

Reader = Callable[[Path], bytes]


def read_trusted(path: Path) -> bytes:
    """Return what the file holds, if it is a plain file that only its owner and root may write to.

    The questions are asked of the open file, so that it cannot be exchanged between question and
    reading. Raises `UntrustedPluginError`, and `OSError` when it cannot be read at all.
    """
    # A pipe is opened without waiting for its other end; without O_NOFOLLOW (Windows) links are.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink():
        raise _untrusted(path.name, "is a symbolic link", "put the file itself there")
    with os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
        check_status(path.name, os.fstat(file.fileno()))
        return file.read()


def check_unit(unit: Path) -> None:
    """Check a plugin's file, or its folder with the code in it; see `read_trusted`."""
    _check(unit)
    if unit.is_dir():
        for path in code_below(unit):
            _check(path)


def check_folder(folder: Path) -> None:
    """Check a folder of plugins, and that nobody else may put another in its place."""
    place = folder.resolve()
    check_status(str(place), place.stat())
    for above in place.parents:
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise _untrusted(str(above), "may be written to by everybody", "chmod o-w")


def check_status(name: str, status: os.stat_result) -> None:
    """Raise `UntrustedPluginError` unless it is a plain file or folder of ours, or of root."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise _untrusted(name, "is neither a file nor a folder", "take it away")
    if not hasattr(os, "geteuid"):
        return  # Windows keeps rights in another way
    if status.st_uid not in (0, os.geteuid()):
        raise _untrusted(name, "belongs to another user", "chown it, if it is what you expect")
    if status.st_mode & stat.S_IWOTH:
        raise _untrusted(name, "may be written to by everybody", "chmod o-w")
    if status.st_mode & stat.S_IWGRP and status.st_gid not in (0, os.getegid()):
        raise _untrusted(name, "may be written to by another group", "chmod g-w")


def code_below(folder: Path) -> Iterator[Path]:
    """Yield the folders and the files of code, and manifests, below `folder`, in order."""
    for path in sorted(folder.iterdir()):
        if path.name == "__pycache__":
            continue
        if path.is_dir() and not path.is_symlink():
            yield path
            yield from code_below(path)
        elif path.name.endswith(tuple(all_suffixes())) or path.name == FILE_NAME or (path.is_dir()):
            yield path


def _check(path: Path) -> None:
    if path.is_symlink():
        raise _untrusted(path.name, "is a symbolic link", "put what it leads to there")
    check_status(path.name, path.stat())


def _untrusted(name: str, what: str, remedy: str) -> UntrustedPluginError:
    return UntrustedPluginError(f"{name} {what}", remedy=remedy)
