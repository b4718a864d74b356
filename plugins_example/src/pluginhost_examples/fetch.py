"""Downloads a file over HTTP, from a server that runs for as long as the plugin is loaded.

Shows an asynchronous `execute`, and `setup` and `teardown` around what must be given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_urlsafe
from threading import Thread
from typing import Any

from pluginhost import hookimpl

ADDRESS = "127.0.0.1"


class Fetch:
    """Serves, to this machine alone, the files that are being fetched at the moment."""

    @hookimpl
    def setup(self) -> None:
        """Start the server, on any port that is free."""
        self._offers: dict[str, Path] = {}
        self._server = _FileServer((ADDRESS, 0), partial(_FileHandler, self._offers))
        self._thread = Thread(target=self._server.serve, name="fetch", daemon=True)
        self._thread.start()

    @hookimpl
    async def execute(self, payload: Path) -> int:
        """Return how many bytes were downloaded; takes every file.

        Raises `ConnectionError` when they are not as many as the file has.
        """
        with self._offered(payload) as (path, size):
            received = len(await _download(self._server.server_port, path))
        if received != size:
            raise ConnectionError(f"{payload.name}: received {received} of {size} bytes")
        return received

    @hookimpl
    def teardown(self) -> None:
        """Stop the server and wait until its threads are gone."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextmanager
    def _offered(self, file: Path) -> Iterator[tuple[str, int]]:
        """Put `file` on offer for a while, under a path that nobody guesses; gives path and size."""
        path = f"/{token_urlsafe()}"
        self._offers[path] = file
        try:
            yield path, file.stat().st_size
        finally:
            del self._offers[path]


class _FileServer(ThreadingHTTPServer):
    """Answers each request in a thread of its own, and waits for all of them when it is closed."""

    daemon_threads = False
    request_queue_size = 128

    def serve(self) -> None:
        """Answer requests until `shutdown`, which is noticed within 0.05 s."""
        self.serve_forever(poll_interval=0.05)


class _FileHandler(SimpleHTTPRequestHandler):
    """Gives out the files that are on offer, and nothing else; keeps no log."""

    timeout = 5  # seconds: a client that says nothing must not hold up the unloading for ever

    def __init__(self, offers: Mapping[str, Path], *connection: Any) -> None:
        self._offers = offers
        super().__init__(*connection)

    def translate_path(self, path: str) -> str:
        """Return the file that a request is for; an empty name is answered with "not found"."""
        return str(self._offers.get(path, ""))

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


async def _download(port: int, path: str) -> bytes:
    """Return what the server has under `path`; raises `ConnectionError` when it refuses."""
    reader, writer = await asyncio.open_connection(ADDRESS, port)
    with closing(writer):
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    await writer.wait_closed()
    status = head.partition(b"\r\n")[0].decode()
    if " 200 " not in status:
        raise ConnectionError(f"the server answered {status!r}")
    return body
