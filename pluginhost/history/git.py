"""Which revision of which branch a folder holds, read from git's own files: no process is started."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_BRANCH_VARIABLES = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME")
_LARGEST = 1_000_000


class Checkout(msgspec.Struct, frozen=True):
    """A revision and its branch; None where there is none, or it cannot be told."""

    revision: str | None = None
    branch: str | None = None


def checkout_of(folder: Path, environment: Mapping[str, str] = os.environ) -> Checkout:
    """Return what is checked out in `folder` or above it; a CI's variables name a detached branch."""
    with suppress(OSError, ValueError):
        git = _git_folder(folder.absolute())
        if git is not None:
            head = _text(git / "HEAD")
            if not head.startswith("ref: "):
                branch = next((b for v in _BRANCH_VARIABLES if (b := environment.get(v))), None)
                return Checkout(head if _HASH.fullmatch(head) else None, branch)
            reference = head.removeprefix("ref: ")
            return Checkout(_resolved(git, reference), reference.removeprefix("refs/heads/"))
    return Checkout()


def _git_folder(folder: Path) -> Path | None:
    for place in (folder, *folder.parents):
        git = place / ".git"
        if git.is_dir():
            return git
        if git.is_file():  # a worktree or a submodule
            return (place / _text(git).removeprefix("gitdir: ")).resolve()
    return None


def _resolved(git: Path, reference: str) -> str | None:
    places = [git]
    with suppress(OSError):
        places.append((git / _text(git / "commondir")).resolve())
    for place in places:
        with suppress(OSError):
            found = _text(place / reference)
            if _HASH.fullmatch(found):
                return found
        with suppress(OSError):
            for line in _text(place / "packed-refs").splitlines():
                found, _, name = line.partition(" ")
                if name == reference and _HASH.fullmatch(found):
                    return found
    return None


def _text(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_LARGEST).strip()
