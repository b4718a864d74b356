"""Environments of their own for programs that nobody here wrote, made once and kept in `.cache/`.

uv makes them where it is installed, which takes seconds; pip does otherwise.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "proof"
_OTHERS = Path.home() / ".pyenv" / "versions"


class Environment(NamedTuple):
    """A virtual environment with its requirements, and with this project, editable."""

    folder: Path

    @property
    def python(self) -> str:
        """The path of its interpreter."""
        return str(self.folder / "bin" / "python")

    def script(self, name: str) -> str:
        """Return the path of a console script."""
        return str(self.folder / "bin" / name)

    def run(
        self,
        words: Sequence[str],
        *,
        cwd: Path,
        given: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as in this environment once it is activated, and return how it ended."""
        return subprocess.run(
            words,
            cwd=cwd,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            env=self.variables() | dict(environment or {}),
        )

    def variables(self) -> dict[str, str]:
        """Return the environment variables of a terminal of 80 columns in which it is active.

        Python may write byte code, so that only the first run pays for it.
        """
        kept = ("HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")
        found = {name: os.environ[name] for name in kept if name in os.environ}
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return found | {"PATH": path, "VIRTUAL_ENV": str(self.folder), "COLUMNS": "80"}


def environment(
    name: str, requirements: Sequence[str], *, python: str = sys.executable
) -> Environment:
    """Return the environment with `requirements`, made if there is none of this name that has them.

    `python` is the interpreter it is made with, ours if none is given.
    """
    version = sys.version if python == sys.executable else python
    wanted = "\n".join((*requirements, version, str(ROOT)))
    folder = CACHE / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    with _alone(folder):
        if not (folder / "ready").exists():
            _make(folder, (*requirements, "-e", str(ROOT)), python)
            (folder / "ready").touch()
    return Environment(folder)


def interpreter(version: str) -> str | None:
    """Return the path of a Python of `version`, such as 3.12; None if there is none."""
    found = [shutil.which(f"python{version}"), *map(str, _OTHERS.glob(f"{version}.*/bin/python"))]
    code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    for candidate in filter(None, found):
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return candidate
    return None


def source_of(requirement: str) -> Path:
    """Return the folder with the unpacked source distribution of `requirement`, as `NAME==VERSION`."""
    folder = CACHE / "sources" / requirement.replace("==", "-")
    with _alone(folder):
        if not folder.exists():
            pip = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--no-binary",
                ":all:",
            ]
            _run([*pip, "-d", str(folder.parent), requirement])
            _unpack(next(_archives(folder)), folder)
    return folder


def _archives(folder: Path) -> Iterator[Path]:
    name, _, version = folder.name.rpartition("-")
    for each in folder.parent.glob(f"*-{version}.tar.gz"):
        if each.name.lower().replace("-", "_").startswith(name.lower().replace("-", "_") + "_"):
            yield each


def _unpack(archive: Path, folder: Path) -> None:
    draft = folder.with_name(folder.name + ".part")
    with tarfile.open(archive) as file:
        file.extractall(draft, filter="data")
    (only,) = draft.iterdir()
    only.rename(folder)
    draft.rmdir()


def _make(folder: Path, requirements: Sequence[str], python: str) -> None:
    if find_spec("uv") is not None:
        uv = [sys.executable, "-m", "uv"]
        _run([*uv, "venv", "-q", "--clear", "-p", python, str(folder)])
        _run([*uv, "pip", "install", "-q", "-p", str(folder / "bin" / "python"), *requirements])
    else:
        _run([python, "-m", "venv", "--clear", str(folder)])
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *requirements])


def _run(words: Sequence[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Have no other process make `folder` meanwhile."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
