"""The server: what it answers, and whom it does not wait for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from pluginhost.errors import InvalidValueError
from pluginhost.serving.guard import Answer, Request
from pluginhost.serving.http import Limits, connections_there_may_be, listening_at
from tests.examples import examples
from tests.unit.serving.conftest import GET, TOKEN, heard, running

Serving = Callable[..., Any]
CALM = Limits(connections=64, header_s=600.0, answer_s=600.0, goodbye_s=600.0)


def hello(_request: Request) -> Answer:
    return Answer(200, b"hello\n")


def test_who_may_ask_is_answered(serving: Serving) -> None:
    """Whole, with headers that keep browsers from doing anything with it."""
    with serving(hello) as (client, _):
        status, headers, content = client.get()
    assert (status, content) == (200, b"hello\n")
    assert headers["Content-Length"] == "6"
    assert headers["Content-Security-Policy"] == "default-src 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert not headers.keys() & {"Server", "Access-Control-Allow-Origin"}


def test_who_may_not_is_refused_without_an_echo(serving: Serving) -> None:
    """With the same headers, and nothing of what was asked for."""
    with serving(hello) as (client, _):
        status, headers, content = client.get("/<script>", Authorization="Bearer <b>")
        assert status == 404
        assert client.get(Authorization="")[0] == 401
        assert client.get(Host="evil.example")[0] == 421
        said = b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n<script>x"
        assert client.ask(said).startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert headers["Content-Security-Policy"] == "default-src 'none'"
    assert b"<" not in content


@pytest.mark.parametrize(
    ("said", "status"),
    [
        pytest.param(b"\r\n\r\n\x16\x03\x01 TLS \r\n\r\n", 400, id="TLS"),
        pytest.param(b"GET /metrics HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, id="two hosts"),
        pytest.param(b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, id="no path"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 421, id="HTTP/2"),
        pytest.param(b"GET /metrics HTTP/1.0\r\n\r\n", 421, id="HTTP/1.0 without a host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 5_000, 431, id="too much"),
    ],
)
def test_what_is_no_request_is_told(said: bytes, status: int, serving: Serving) -> None:
    """Each with a status, and at once."""
    with serving(hello, limits=CALM._replace(goodbye_s=0.1)) as (client, _):
        assert client.ask(said).startswith(f"HTTP/1.1 {status} ".encode())


def test_nothing_gets_in_but_the_token() -> None:
    """Whatever bytes come, in whatever pieces, and the server goes on."""
    with running(hello, limits=CALM._replace(goodbye_s=0.01)) as (client, _):
        parts = st.sampled_from(
            [
                *(b"GET", b"POST", b" /metrics", b" HTTP/1.1", b"\r\n", b"Host: localhost", b"\n"),
                *(b"\0", b"Authorization: Bearer ", TOKEN[:-1].encode(), b": "),
                b"Transfer-Encoding: chunked",
            ]
        )
        said = st.lists(st.one_of(parts, st.binary(max_size=9)), max_size=12).map(b"".join)

        @settings(max_examples=examples(150), deadline=None)
        @given(said)
        def try_it(text: bytes) -> None:
            connection = client.connect(text)
            connection.shutdown(socket.SHUT_WR)
            answer = heard(connection)
            connection.close()
            assert not answer.startswith(b"HTTP/1.1 2")
            assert b"hello" not in answer

        try_it()
        assert client.get()[0] == 200


def test_a_request_may_come_in_pieces(serving: Serving) -> None:
    """And the client may be the first to stop talking."""
    with serving(hello) as (client, _):
        connection = client.connect()
        for byte in GET:
            connection.send(bytes((byte,)))
        connection.shutdown(socket.SHUT_WR)
        assert heard(connection).endswith(b"hello\n")


def test_slow_clients_do_not_hold_up_a_scrape(serving: Serving) -> None:
    """32 that have said half a request each, and go on being slow."""
    with serving(hello, limits=CALM) as (client, server):
        slow = [client.connect(GET[:40]) for _ in range(32)]
        for _ in range(3):
            assert client.get()[0] == 200
            for connection in slow:
                connection.send(b"x")
        assert len(server.connections) >= 32
        for connection in slow:  # none was dropped: each can still ask
            connection.sendall(b"\r\n\r\n")
            assert heard(connection).startswith(b"HTTP/1.1 400")


def test_idle_clients_make_room(serving: Serving) -> None:
    """However many there are: the oldest go, and who asks is answered."""
    with serving(hello, limits=CALM._replace(connections=8)) as (client, server):
        idle = [client.connect() for _ in range(100)]
        assert client.get()[0] == 200
        assert heard(idle[0]) == b""
        assert len(server.connections) <= 8
        idle[-1].sendall(GET)
        assert heard(idle[-1]).endswith(b"hello\n")


def test_who_dawdles_is_dropped(serving: Serving) -> None:
    """A byte now and then does not put it off."""
    with serving(hello, limits=CALM._replace(header_s=0.2)) as (client, _):
        connection = client.connect()
        with suppress(ConnectionError):
            for _ in range(6_000):
                connection.send(b"G")
                time.sleep(0.01)
            pytest.fail("it was let to dawdle for a minute")


def test_who_does_not_read_is_dropped(serving: Serving) -> None:
    """Others are answered meanwhile, and it does not get all."""
    large = 50_000_000
    limits = CALM._replace(answer_s=0.5)
    with serving(lambda _: Answer(200, bytes(large)), limits=limits) as (client, server):
        connection = client.connect(GET)
        while not server.connections:
            time.sleep(0.001)
        while server.connections:
            time.sleep(0.01)
        assert len(heard(connection)) < large


def test_one_answer_that_takes_long_holds_up_no_refusal(serving: Serving) -> None:
    """Answers are made one after the other, and nobody is worked for who went away."""
    begun, go_on = threading.Event(), threading.Event()
    made = []

    def slow(request: Request) -> Answer:
        made.append(request.target)
        begun.set()
        assert go_on.wait(60)
        return Answer(200, b"done")

    def get(path: bytes) -> bytes:
        return GET.replace(b"/metrics", b"/metrics?" + path)

    with serving(slow, limits=CALM) as (client, server):
        first = client.connect(get(b"first"))
        assert begun.wait(60)
        gone = client.connect(get(b"gone"))
        while len(server.connections) < 2:
            time.sleep(0.01)
        assert client.get(Authorization="")[0] == 401
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        gone.close()  # as a process that was killed
        while any(one.step.name == "ANSWERING" for one in list(server.connections)[1:]):
            time.sleep(0.01)
        last = client.connect(get(b"last"))
        go_on.set()
        assert heard(first).endswith(b"done")
        assert heard(last).endswith(b"done")
    assert made == ["/metrics?first", "/metrics?last"]


def test_when_all_are_being_answered_there_is_no_room(serving: Serving) -> None:
    """That is said."""
    go_on = threading.Event()

    def slow(_: Request) -> Answer:
        assert go_on.wait(60)
        return Answer(200, b"done")

    with serving(slow, limits=CALM._replace(connections=2)) as (client, server):
        asking = [client.connect(GET) for _ in range(2)]
        while sum(one.step.name == "ANSWERING" for one in list(server.connections)) < 2:
            time.sleep(0.01)
        assert client.ask().startswith(b"HTTP/1.1 503 ")
        go_on.set()
        assert all(heard(one).endswith(b"done") for one in asking)


def test_an_error_within_is_an_answer(serving: Serving) -> None:
    """Without a word about it."""

    def broken(_: Request) -> Answer:
        raise ValueError("secret")

    with serving(broken) as (client, _):
        status, _, content = client.get()
    assert status == 500
    assert b"secret" not in content


def test_a_server_that_stops_cuts_off() -> None:
    """It does not wait for anybody."""
    with running(hello, limits=CALM) as (client, _):
        idle = client.connect(GET[:10])
        assert client.get()[0] == 200
        idle.setblocking(True)
        other = idle.dup()
    with other:
        assert heard(other) == b""


def test_a_port_that_is_taken_is_told() -> None:
    """And one that there is not."""
    with listening_at("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(InvalidValueError, match=f"port {port} at 127.0.0.1 is taken"):
            listening_at("127.0.0.1", port)
    with pytest.raises(InvalidValueError, match="cannot be had"):
        listening_at("192.0.2.1", 0)


def test_few_files_mean_few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of open files leaves room for reading what is to be served."""
    resource = pytest.importorskip("resource")
    for files, expected in ((20, 4), (40, 8), (1024, 64), (resource.RLIM_INFINITY, 64)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert connections_there_may_be() == expected
