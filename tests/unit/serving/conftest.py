"""A server in a thread, and a client that says exactly what it is told to."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from pluginhost.serving.guard import Answer, Guard
from pluginhost.serving.http import HttpServer, Limits, listening_at

TOKEN = "abcdefghijklmnop"
GET = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
PATIENCE_S = 60


class Client:
    """Connections to one server."""

    def __init__(self, port: int, stack: ExitStack) -> None:
        self.port = port
        self._stack = stack

    def connect(self, said: bytes = b"") -> socket.socket:
        """Return a connection on which this was said."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        self._stack.enter_context(connection)
        connection.sendall(said)
        return connection

    def ask(self, said: bytes = GET) -> bytes:
        """Return all that is answered to this."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as connection:
            connection.sendall(said)
            return heard(connection)

    def get(self, path: str = "/metrics", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and content of the answer to a GET with these headers."""
        given = {"Host": "localhost", "Authorization": f"Bearer {TOKEN}"} | headers
        lines = [f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in given.items() if v), "", ""]
        head, _, content = self.ask("\r\n".join(lines).encode()).partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        return int(first.split()[1]), dict(line.split(": ", 1) for line in rest), content


def heard(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


@contextmanager
def running(
    answer: Callable[..., Answer], *, limits: Limits | None = None, **guarded: Any
) -> Iterator[tuple[Client, HttpServer]]:
    """Run a server in a thread of its own."""
    given: dict[str, Any] = {"token": TOKEN, "hosts": (), "paths": ("/metrics",)} | guarded
    server = HttpServer(Guard(**given), answer, limits=limits)
    listening = listening_at("127.0.0.1", 0)
    port = listening.getsockname()[1]
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        found["loop"], found["stop"] = asyncio.get_running_loop(), asyncio.Event()
        ready.set()
        await server.run(listening, found["stop"])

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(PATIENCE_S)
    try:
        with ExitStack() as stack:
            yield Client(port, stack), server
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.fixture
def serving() -> Callable[..., Any]:
    """Return `running(answer, limits=..., token=...)`, a context manager that gives a client."""
    return running
