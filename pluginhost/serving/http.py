"""A server of small answers by HTTP: a deadline for every step, and slow clients make room for others."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import Enum, auto
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, NamedTuple

import h11

from pluginhost.errors import InvalidValueError
from pluginhost.serving.guard import Answer, Guard, Request

_AT_ONCE = 16  # so many are taken in before those that are there are looked at again
_QUEUE = 128
_HEADER_BYTES = 16_384
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Connection", "close"),
    ("Content-Security-Policy", "default-src 'none'"),
    ("X-Content-Type-Options", "nosniff"),
)
_BUSY = Answer(503, b"too many are being answered, try again\n")
_BROKEN = Answer(500, b"this cannot be answered\n")


class Limits(NamedTuple):
    """How many connections there are at most, and how long a client may take for what."""

    connections: int = 64
    header_s: float = 10.0
    answer_s: float = 30.0
    goodbye_s: float = 1.0


class HttpServer:
    """Answers GET requests, one a connection; `answer` is called in a thread of its own, one at a time.

    When there are as many connections as there may be, a new one takes the place of the oldest one
    that has not asked yet. So it is not the one who asks that waits for those who do not.
    """

    def __init__(
        self,
        guard: Guard,
        answer: Callable[[Request], Answer],
        *,
        limits: Limits | None = None,
    ) -> None:
        self._guard = guard
        self._answer = answer
        self.limits = limits or Limits(connections=connections_there_may_be())
        self.connections: dict[_Connection, None] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="pluginhost-serving")

    async def run(self, listening: socket.socket, stop: asyncio.Event) -> None:
        """Serve at a socket until `stop` is set; then what is being answered is cut off."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_unless_out_of_files)
        server = await loop.create_server(
            lambda: _Connection(self), sock=listening, backlog=_AT_ONCE
        )
        listening.listen(_QUEUE)  # as before: asyncio has just said so few to the system as well
        try:
            await stop.wait()
        finally:
            server.close()
            for connection in list(self.connections):
                connection.drop()
            await asyncio.sleep(0)  # they are closed in the next round of the loop
            self._worker.shutdown(wait=False, cancel_futures=True)

    def admit(self, connection: _Connection) -> bool:
        """Take a connection in, if need be in the place of another; return whether it may stay."""
        if len(self.connections) >= self.limits.connections:
            oldest = _first(self.connections, _Step.READING) or _first(
                self.connections, _Step.LEAVING
            )
            if oldest is not None:
                oldest.drop()
        self.connections[connection] = None
        return len(self.connections) <= self.limits.connections

    def start(self, request: Request, connection: _Connection) -> None:
        """Begin to answer; the connection is told when it is done."""
        refusal = self._guard.refusal(request)
        if refusal is not None:
            connection.send(refusal)
            return
        loop = asyncio.get_running_loop()
        working = loop.run_in_executor(self._worker, self._made, request, connection)
        working.add_done_callback(lambda done: connection.send(_result_of(done)))

    def _made(self, request: Request, connection: _Connection) -> Answer:
        # Whoever went away while it waited for its turn is not worked for.
        return _BROKEN if connection.is_gone else self._answer(request)


class _Step(Enum):
    READING = auto()
    ANSWERING = auto()
    LEAVING = auto()


class _Connection(asyncio.Protocol):
    """One client: asks once, is answered once, and says goodbye, each within its time."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADER_BYTES)
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self.step = _Step.READING
        self.is_gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if self._server.admit(self):
            self._within(self._server.limits.header_s)
        else:
            self.send(_BUSY)

    def data_received(self, data: bytes) -> None:
        if self.step is not _Step.READING:
            return  # a body, or another request: of no interest
        try:
            self._parser.receive_data(data)
            event = self._parser.next_event()
        except h11.RemoteProtocolError as error:
            self.send(Answer(error.error_status_hint, b"this is no request\n"))
            return
        if isinstance(event, h11.Request):
            self.step = _Step.ANSWERING
            self._within(self._server.limits.answer_s)
            self._server.start(_request_of(event), self)

    def eof_received(self) -> bool:
        """Keep the way to the client open as long as there is something to say."""
        return self.step is _Step.ANSWERING

    def send(self, answer: Answer) -> None:
        """Answer, and see the client off."""
        if self.is_gone:
            return
        self.step = _Step.LEAVING
        headers = (
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.content))),
            *_HEADERS,
            *answer.headers,
        )
        # By a parser of its own: that of the request may be in an error, and knows no answer then.
        writer = h11.Connection(h11.SERVER)
        writer.receive_data(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        writer.next_event()
        parts = (
            h11.Response(
                status_code=answer.status,
                headers=list(headers),
                reason=HTTPStatus(answer.status).phrase,
            ),
            h11.Data(data=answer.content),
            h11.EndOfMessage(),
        )
        self._transport.write(b"".join(writer.send(part) or b"" for part in parts))
        if self._transport.can_write_eof():
            # Closing at once would take back what was said, if the client still says something.
            self._transport.write_eof()
        if self._transport.get_write_buffer_size():
            self._within(self._server.limits.answer_s)
        else:
            self._within(self._server.limits.goodbye_s)

    def drop(self) -> None:
        """Close at once, whatever is under way."""
        self._forget()
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()

    def _within(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.drop)

    def _forget(self) -> None:
        self.is_gone = True
        self._server.connections.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()


def _first(connections: dict[_Connection, None], step: _Step) -> _Connection | None:
    return next((one for one in connections if one.step is step), None)


def _request_of(event: h11.Request) -> Request:
    headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers]
    return Request(event.method.decode("ascii"), event.target.decode("ascii", "replace"), headers)


def _result_of(done: asyncio.Future[Answer]) -> Answer:
    if done.cancelled() or done.exception() is not None:
        return _BROKEN
    return done.result()


def _unless_out_of_files(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing when there is no file for one more connection: asyncio tries again in a second."""
    error = context.get("exception")
    if not (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)):
        loop.default_exception_handler(context)


def connections_there_may_be() -> int:
    """Return how many connections fit into the files that this process may open, 64 at most."""
    most = Limits().connections
    with suppress(ImportError, OSError, ValueError):
        import resource

        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if files != resource.RLIM_INFINITY:
            return max(4, min(most, files - 2 * _AT_ONCE))
    return most


def listening_at(address: str, port: int) -> socket.socket:
    """Return a socket that listens at one address; port 0 is any that is free.

    Raises `InvalidValueError` where the port is taken, or is not for everybody.
    """
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=_QUEUE)
    except (OSError, OverflowError) as error:
        taken = getattr(error, "errno", None) == errno.EADDRINUSE
        why = "is taken" if taken else f"cannot be had: {getattr(error, 'strerror', None) or error}"
        raise InvalidValueError(
            f"port {port} at {address} {why}", remedy="choose another with --port, or 0 for any"
        ) from error
