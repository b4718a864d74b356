"""One end of the connection between the host and a worker; it waits no longer than it is told."""

from __future__ import annotations

import select
import socket
import time

from pluginhost.host.runners.frames import FrameParser

_CHUNK = 1 << 16


class ChannelClosedError(EOFError):
    """The other end is gone."""


class Channel:
    """Sends frames and receives the bodies of frames.

    `ended` is a descriptor that becomes readable when the other process has ended: children of
    it may hold its end of the connection open. Times are those of `time.monotonic`.
    """

    def __init__(self, connection: socket.socket, *, ended: int | None = None) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._ended = ended
        self._parser = FrameParser()
        self._reading, self._writing = select.poll(), select.poll()
        self._reading.register(connection, select.POLLIN)
        self._writing.register(connection, select.POLLOUT)
        if ended is not None:
            self._reading.register(ended, select.POLLIN)
            self._writing.register(ended, select.POLLIN)

    def send(self, frame: bytes, *, until: float | None = None) -> None:
        """Send a whole frame; raises `TimeoutError` and `ChannelClosedError`."""
        rest = memoryview(frame)
        while rest:
            try:
                rest = rest[self._connection.send(rest) :]
            except BlockingIOError:
                self._wait(self._writing, until)
            except OSError as error:
                raise ChannelClosedError from error

    def receive(self, *, until: float | None = None) -> bytes:
        """Return the body of the next frame; raises like `send`, and `FrameError`.

        What the other end sent before it was gone is received first.
        """
        while True:
            for body in self._parser.bodies():
                return body
            try:
                data = self._connection.recv(_CHUNK)
            except BlockingIOError:
                self._wait(self._reading, until)
                continue
            except OSError as error:
                raise ChannelClosedError from error
            if not data:
                raise ChannelClosedError
            self._parser.feed(data)

    def close(self) -> None:
        """Close this end."""
        self._connection.close()

    def _wait(self, poll: select.poll, until: float | None) -> None:
        left_ms = None if until is None else max(0.0, 1000 * (until - time.monotonic()))
        ready = dict(poll.poll(left_ms))
        if not ready:
            raise TimeoutError
        if self._ended in ready and self._connection.fileno() not in ready:
            raise ChannelClosedError
