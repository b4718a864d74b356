"""What travels between the host and a worker process: frames of limited size, and their messages.

A frame is its length in four bytes, then a MessagePack document. Nothing that is received is ever
run: documents are checked against the messages below, and what a plugin returned consists of plain
values (None, bool, int, float, str, bytes, list, dict).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from pluginhost.host.manifest import Limits

VERSION = 2
"""Of these messages; a worker of another version is refused."""

MAX_FRAME_BYTES = 16 * 2**20

_HEADER = struct.Struct(">I")

Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class FrameError(ValueError):
    """What was to be sent or was received is no frame, or no message that is expected."""


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=str.lower):
    """What a frame holds."""


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which plugin a worker imports, and from where; see `Candidate`.

    With `path` it is the file or folder there, read anew, whose files must be what `digests` (by
    path relative to it) says; else an installed module.
    """

    plugin_id: str
    module_name: str
    attribute: str = ""
    path: str | None = None
    checked: bool = True
    digests: dict[str, str] | None = None


class Load(Message, frozen=True):
    """To a worker: import this plugin and set it up, within these limits.

    `writable` is what the host lets every plugin write to, if not to everything.
    """

    order: Order
    host_name: str
    limits: Limits | None = None
    writable: tuple[str, ...] | None = None


class Execute(Message, frozen=True):
    """To a worker: execute the plugin."""

    payload: Any
    options: dict[str, Any]


class Teardown(Message, frozen=True):
    """To a worker: tear the plugin down."""


class Hello(Message, frozen=True):
    """From a worker, once it runs: that it is the one that was started."""

    version: int
    cookie: str


class Used(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From a worker: what the execution took, and the CPU time of the process until now."""

    cpu_ns: Count
    total_cpu_ns: Count
    peak_rss_bytes: Count | None
    rss_before_bytes: Count | None
    rss_after_bytes: Count | None
    threads_before: Count
    threads_after: Count


class Ready(Message, frozen=True):
    """From a worker: the plugin is there; whether it can be executed."""

    executes: bool
    total_cpu_ns: Count


class Done(Message, frozen=True):
    """From a worker: the plugin was torn down."""


class Returned(Message, frozen=True):
    """From a worker: what the plugin returned."""

    result: Any
    used: Used


class Raised(Message, frozen=True):
    """From a worker: what the plugin raised, in words.

    `ours` says that the reason is one of the host's, to be told with `hook` and `remedy`.
    """

    error_type: str
    message: str
    traceback: str = ""
    ours: bool = False
    hook: str | None = None
    remedy: str | None = None
    used: Used | None = None


Request = Load | Execute | Teardown
Answer = Hello | Ready | Done | Returned | Raised

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def frame_of(message: Message) -> bytes:
    """Return the message as a frame; raises `FrameError` with the reason when it cannot be one."""
    try:
        body = _encoder.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError, NotImplementedError) as error:
        raise FrameError(f"it cannot be sent to another process: {error}") from error
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(
            f"it is too large to be sent to another process: {len(body)} bytes, "
            f"at most {MAX_FRAME_BYTES}"
        )
    return _HEADER.pack(len(body)) + body


def body_of(frame: bytes) -> bytes:
    """Return what a whole frame of ours holds, without its length."""
    return frame[_HEADER.size :]


def request_of(body: bytes) -> Request:
    """Return what a frame to a worker holds."""
    return _requests.decode(body)


def answer_of(body: bytes) -> Answer:
    """Return what a frame from a worker holds; raises `FrameError` if it is no message of these."""
    try:
        return _answers.decode(body)
    except (ValueError, OverflowError, RecursionError, TypeError) as error:
        raise FrameError(f"it is no message: {error}") from error


class FrameParser:
    """Takes bytes as they come, and gives the bodies of whole frames."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._pending += data

    def bodies(self) -> Iterator[bytes]:
        """Yield the frames that are complete, taking them out.

        Raises `FrameError` at a length that is over the limit, before memory is taken for it.
        """
        while len(self._pending) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._pending)
            if length > MAX_FRAME_BYTES:
                raise FrameError(f"a frame of {length} bytes, at most {MAX_FRAME_BYTES} are taken")
            end = _HEADER.size + length
            if len(self._pending) < end:
                return
            body = bytes(self._pending[_HEADER.size : end])
            del self._pending[:end]
            yield body
