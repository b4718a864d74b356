"""Who may ask: by the name of the host that is asked for, by method, by path, and by token."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hmac import compare_digest
from ipaddress import ip_address
from typing import NamedTuple

from pluginhost.errors import InvalidValueError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104  # what is not to be asked for


class Request(NamedTuple):
    """What was asked for; names of headers are in lower case."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str:
        """Return the value of a header that is there once, else nothing."""
        found = [value for key, value in self.headers if key == name]
        return found[0] if len(found) == 1 else ""


class Answer(NamedTuple):
    """What is answered. Nothing that was asked for is ever repeated in it."""

    status: int
    content: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: Sequence[tuple[str, str]] = ()


class Guard:
    """Refuses what may not be asked; without a token, everybody may ask."""

    def __init__(
        self, *, token: str | None, hosts: Collection[str], paths: Collection[str]
    ) -> None:
        self._token = None if token is None else token.encode()
        named = {host.lower().removesuffix(".") for host in (*LOOPBACK_NAMES, *hosts)}
        self._hosts = named - {"", *_ANYWHERE}
        self._paths = frozenset(paths)

    def refusal(self, request: Request) -> Answer | None:
        """Return how a request is refused, None if it is not."""
        if host_of(request.header("host")) not in self._hosts:
            # A page of somebody else may have a name that leads here (DNS rebinding).
            return Answer(421, b"this host name is not allowed: see --allow-host\n")
        if request.method != "GET":
            return Answer(405, b"only GET is answered\n", headers=(("Allow", "GET"),))
        if request.path not in self._paths:
            return Answer(404, b"there is nothing here\n")
        if self._token is not None and not self._knows(request.header("authorization")):
            words = b"the token is missing or wrong\n"
            return Answer(401, words, headers=(("WWW-Authenticate", "Bearer"),))
        return None

    def _knows(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        assert self._token is not None
        same = compare_digest(given.strip().encode("utf-8", "surrogatepass"), self._token)
        return same and scheme.lower() == "bearer"


def host_of(header: str) -> str:
    """Return the host that a Host header names, in lower case and without its port."""
    name = header.strip().lower()
    if name.startswith("["):
        host, bracket, rest = name[1:].partition("]")
        return host if bracket and (not rest or _is_port(rest)) else ""
    host, colon, port = name.partition(":")
    return host.removesuffix(".") if not colon or _is_port(colon + port) else ""


def _is_port(text: str) -> bool:
    return text[0] == ":" and text[1:].isascii() and text[1:].isdigit()


def checked_address(address: str, *, token: str | None) -> str:
    """Return an IP address to listen at; without a token, only one of this machine's own is allowed."""
    try:
        found = ip_address(address)
    except ValueError as error:
        raise InvalidValueError(
            f"{address!r} is no IP address", remedy="bind to 127.0.0.1, ::1, or another address"
        ) from error
    if token is None and not found.is_loopback:
        raise InvalidValueError(
            f"without a token everybody who reaches {address} could read along",
            remedy="leave out --no-token, or bind to 127.0.0.1",
        )
    return address
