"""Who may ask."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pluginhost.errors import InvalidValueError
from pluginhost.serving.guard import Answer, Guard, Request, checked_address, host_of

TOKEN = "abcdefghijklmnop"
HOST = ("host", "localhost:9810")
KNOWN = ("authorization", f"Bearer {TOKEN}")


def refusal(*headers: tuple[str, str], method: str = "GET", target: str = "/metrics") -> int | None:
    guard = Guard(token=TOKEN, hosts=("Tower.lan",), paths=("/metrics",))
    found = guard.refusal(Request(method, target, headers))
    return None if found is None else found.status


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "127.0.0.1:9810", "[::1]", "[::1]:9810", "tower.LAN.:80"],
)
def test_names_of_this_machine_are_allowed(host: str) -> None:
    """With any port, in any case."""
    assert refusal(("host", host), KNOWN) is None


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("evil.example", id="another name"),
        pytest.param("localhost.evil.example", id="a longer name"),
        pytest.param("0.0.0.0", id="any address"),
        pytest.param("", id="empty"),
        pytest.param("[::1", id="no bracket"),
        pytest.param("[::1]x", id="more than a port"),
        pytest.param("localhost:x", id="no port"),
        pytest.param("localhost:", id="an empty port"),
        pytest.param("user@localhost", id="a user"),
        pytest.param("localhost,evil.example", id="a list"),
    ],
)
def test_others_are_not(host: str) -> None:
    """A page of somebody else, whose name was made to lead here, learns nothing, token or not."""
    assert refusal(("host", host), KNOWN) == 421


def test_a_host_that_is_said_twice_is_none() -> None:
    """Whoever is in between may take the other one."""
    assert refusal(HOST, HOST, KNOWN) == 421
    assert refusal(KNOWN) == 421


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param("", id="nothing"),
        pytest.param("Bearer", id="no token"),
        pytest.param(f"Bearer {TOKEN}x", id="longer"),
        pytest.param(f"Bearer {TOKEN[:-1]}", id="shorter"),
        pytest.param(f"Basic {TOKEN}", id="another scheme"),
        pytest.param(TOKEN, id="no scheme"),
        pytest.param("Bearer \u00e4\u20ac\udc80", id="not ASCII"),
    ],
)
def test_the_token_must_be_right(authorization: str) -> None:
    """As a bearer token, and nothing else."""
    assert refusal(HOST, ("authorization", authorization)) == 401


def test_the_token_may_not_be_elsewhere() -> None:
    """Queries end up in logs; two headers are nobody's word."""
    assert refusal(HOST, target=f"/metrics?token={TOKEN}") == 401
    assert refusal(HOST, KNOWN, KNOWN) == 401
    assert refusal(HOST, ("authorization", f"bearer  {TOKEN} ")) is None


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get", "TRACE"])
def test_only_get_is_answered(method: str) -> None:
    """Nothing can be changed."""
    assert refusal(HOST, KNOWN, method=method) == 405


@pytest.mark.parametrize("target", ["/", "/metrics/", "//metrics", "/../metrics", "*", "http://x/"])
def test_there_is_one_path(target: str) -> None:
    """Anything else is not there."""
    assert refusal(HOST, KNOWN, target=target) == 404


def test_a_query_is_ignored() -> None:
    """Some scrapers add one."""
    assert refusal(HOST, KNOWN, target="/metrics?name[]=x") is None


def test_without_a_token_everybody_may_ask() -> None:
    """But not by any name."""
    guard = Guard(token=None, hosts=(), paths=("/metrics",))
    assert guard.refusal(Request("GET", "/metrics", (HOST,))) is None
    refused = guard.refusal(Request("GET", "/metrics", (("host", "evil.example"),)))
    assert isinstance(refused, Answer)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1"])
def test_without_a_token_only_this_machine_is_listened_to(address: str) -> None:
    """An address that others reach asks for a token."""
    with pytest.raises(InvalidValueError, match="without a token everybody"):
        checked_address(address, token=None)
    assert checked_address(address, token=TOKEN) == address


def test_loopback_needs_none() -> None:
    """Neither does another of this machine's own addresses; a name is no address."""
    for address in ("127.0.0.1", "::1", "127.8.9.10"):
        assert checked_address(address, token=None) == address
    with pytest.raises(InvalidValueError, match="is no IP address"):
        checked_address("localhost", token=TOKEN)


@given(st.text())
def test_nothing_but_these_names_is_let_in(header: str) -> None:
    """Whatever a Host header has in it."""
    if refusal(("host", header), KNOWN) is None:
        assert host_of(header) in ("localhost", "127.0.0.1", "::1", "tower.lan")
