"""A PostgreSQL server of our own for as long as it is needed: Debian's, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp


class Server:
    """A running server; `url` names one of its databases."""

    def __init__(self, binaries: Path, folder: Path, port: int, *, durable: bool) -> None:
        self._durable = durable
        self._binaries = binaries
        self._folder = folder
        self._port = port

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    def create(self, database: str) -> str:
        """Make an empty database and return its URL."""
        host = ("-h", "127.0.0.1", "-p", str(self._port), "-U", "postgres")
        self._as_owner([str(self._binaries / "createdb"), *host, database])
        return self.url(database)

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        options += (
            "" if self._durable else " -c fsync=off"
        )  # a crash of the server is none of Linux
        self._control("start", "-l", str(self._folder / "log"), "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        """Stop; `immediate` is without a chance to say good-bye, as in a crash."""
        self._control("stop", "-m", mode)

    def _control(self, *words: str) -> None:
        self._as_owner([str(self._binaries / "pg_ctl"), "-D", str(self._folder), "-w", *words])

    def _as_owner(self, words: Sequence[str]) -> None:
        run_as_owner(words, self._folder)


def run_as_owner(words: Sequence[str], folder: Path) -> None:
    """Run a command as the user that the server runs as, which may not be root."""
    lead = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with (folder.parent / "output").open("ab") as output:
        subprocess.run([*lead, *words], check=True, stdout=output, stderr=output, cwd="/")


def binaries() -> Path | None:
    """Return the folder with the newest server's programs, None where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return found[-1].parent if found else None


@contextmanager
def temporary_server(*, durable: bool = False) -> Iterator[Server]:
    """Yield a running server, which is stopped and removed afterwards; a durable one waits for disks."""
    programs = binaries()
    if programs is None:
        raise RuntimeError("no PostgreSQL server is installed (apt-get install postgresql)")
    top = Path(mkdtemp(prefix="postgres-"))
    top.chmod(0o755)
    folder = top / "data"
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    try:
        initialise = [str(programs / "initdb"), "-D", str(folder), "-A", "trust", "-U", "postgres"]
        run_as_owner([*initialise, "--no-sync", "-E", "UTF8", "--locale=C"], folder)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = Server(programs, folder, port, durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(top, ignore_errors=True)
