"""What a worker sends is checked, never run: garbage, floods, lies, and processes that are no worker."""

from __future__ import annotations

import struct
import sys
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from pluginhost import PluginState
from pluginhost.errors import InvalidValueError, PluginHostError, WorkerCrashedError
from pluginhost.host.runners.frames import (
    MAX_FRAME_BYTES,
    Execute,
    FrameError,
    FrameParser,
    Returned,
    Used,
    answer_of,
    frame_of,
    request_of,
)
from pluginhost.host.runners.workers import WorkerOptions
from tests.examples import examples

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary()
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip

EXECUTE = "@hookimpl\ndef execute(payload):\n"


@given(bodies=st.lists(st.binary(max_size=200)), cuts=st.lists(st.integers(1, 50)))
def test_frames_come_out_as_they_went_in(bodies, cuts):
    """However the bytes are cut on their way."""
    stream = b"".join(struct.pack(">I", len(body)) + body for body in bodies)
    parser, found, position = FrameParser(), [], 0
    for size in [*cuts, len(stream)]:
        parser.feed(stream[position : position + size])
        position += size
        found += parser.bodies()
    parser.feed(stream[position:])
    found += parser.bodies()
    assert found == bodies


@given(payload=plain)
def test_plain_values_arrive_as_they_were(payload):
    """Both ways."""
    body = frame_of(Execute(payload, {}))[4:]
    assert request_of(body) == Execute(payload, {})
    used = Used(1, 2, 3, 4, 5, 6, 7)
    assert answer_of(frame_of(Returned(payload, used))[4:]) == Returned(payload, used)


@settings(max_examples=examples(500))
@given(data=st.binary(max_size=500) | plain.map(msgspec.msgpack.encode))
def test_garbage_is_refused_and_nothing_else_happens(data):
    """Any bytes are a message of ours or a `FrameError`."""
    with suppress(FrameError):
        answer_of(data)
    parser = FrameParser()
    parser.feed(data)
    with suppress(FrameError):
        for body in parser.bodies():
            assert len(body) <= len(data)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\x91" * 100_000 + b"\xc0", id="depth"),
        pytest.param(b"\xdd\xff\xff\xff\xff", id="array of 4 billion"),
        pytest.param(b"\xdf\xff\xff\xff\xff", id="map of 4 billion"),
        pytest.param(b"\xdb\xff\xff\xff\xff", id="text of 4 GiB"),
        pytest.param(b"", id="empty"),
        pytest.param(msgspec.msgpack.encode({"type": "returned"}), id="fields missing"),
        pytest.param(msgspec.msgpack.encode({"type": "execute"}), id="of the other side"),
        pytest.param(
            msgspec.msgpack.encode({"type": "hello", "version": 1, "cookie": "", "more": 1}),
            id="fields too many",
        ),
    ],
)
def test_hostile_documents_are_refused(body):
    """Before memory is taken for what they promise."""
    with pytest.raises(FrameError):
        answer_of(body)


FIND = """
    import gc, socket
    mine = [o for o in gc.get_objects() if isinstance(o, socket.socket) and o.fileno() > 2][0]
    mine.setblocking(True)
"""


@pytest.mark.parametrize(
    ("sending", "reason"),
    [
        pytest.param("mine.sendall(b'\\0\\0\\0\\5hello')", "no message", id="garbage"),
        pytest.param("mine.sendall(b'\\xff' * 100)", "at most 16777216", id="endless frame"),
        pytest.param("mine.sendall(b'\\0\\0\\0\\0')", "no message", id="empty frame"),
        pytest.param(
            "import msgspec; body = msgspec.msgpack.encode({'type': 'done'});"
            "mine.sendall(len(body).to_bytes(4, 'big') + body)",
            "another question",
            id="answer to another question",
        ),
    ],
)
def test_a_plugin_that_writes_to_the_connection_is_killed(make_apart, sending, reason):
    """Whatever it sends, the caller has an error that says so, and the plugin is started again."""
    host = make_apart({"p.py": EXECUTE + "    if payload is None: return 1\n" + FIND
                       + f"    {sending}\n    import time; time.sleep(3600)"})  # fmt: skip
    with pytest.raises(WorkerCrashedError, match=reason):
        host.execute("p", 1, deadline=20.0)
    assert host.execute("p") == 1


def test_nothing_is_unpickled(make_apart, tmp_path):
    """An object that would run code when it is unpickled does not come through."""
    canary = tmp_path / "canary"
    host = make_apart({"p.py": f"""
class Canary:
    def __reduce__(self): return open, ({str(canary)!r}, "w")
@hookimpl
def execute(payload):
    if payload == "raise": raise RuntimeError(Canary())
    return Canary()
"""})  # fmt: skip
    for payload in ("raise", "return"):
        with pytest.raises(PluginHostError):
            host.execute("p", payload)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        pytest.param("b'x' * (2**24)", "too large", id="16 MiB"),
        pytest.param("object()", "unsupported", id="object"),
        pytest.param("2**70", "serialize ints", id="huge int"),
        pytest.param("'\\ud800'", "surrogates", id="surrogate"),
        pytest.param("nest()", "recursion", id="depth"),
    ],
)
def test_results_that_cannot_be_sent_are_told(make_apart, result, reason):
    """It is an error of that execution alone: the process goes on."""
    nest = "def nest():\n    x = []\n    for _ in range(10**5): x = [x]\n    return x\n"
    host = make_apart({"p.py": f"{nest}import os\n{EXECUTE}    if payload: return os.getpid()\n"
                       f"    return {result}\n"})  # fmt: skip
    pid = host.execute("p", 1)
    with pytest.raises(PluginHostError, match=reason):
        host.execute("p")
    assert host.execute("p", 1) == pid


def test_a_payload_that_cannot_be_sent_is_told(make_apart):
    """Before anything is sent, with what would do."""
    host = make_apart({"p.py": f"{EXECUTE}    return len(payload)"})
    for payload in (object(), "x" * MAX_FRAME_BYTES, 2**70):
        with pytest.raises(InvalidValueError, match="the payload or an option"):
            host.execute("p", payload)
    assert host.execute("p", b"x" * (MAX_FRAME_BYTES - 100)) == MAX_FRAME_BYTES - 100


@pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "-0.0", "b'\\0\\xff'", "{1: 2}"])
def test_odd_values_come_through(make_apart, value):
    """They are nobody's fault."""
    host = make_apart({"p.py": f"{EXECUTE}    return [payload, {value}]"})
    given_, made = host.execute("p", eval(value))
    assert repr(given_) == repr(made) == repr(eval(value))


NO_WORKERS = {
    "silent": ("import time; time.sleep(3600)", "did not answer in time"),
    "ends": ("pass", "ended with exit code 0 before it said anything"),
    "garbage": (
        (
            "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); s.send(b'\\0\\0\\0\\1x');"
            "import time; time.sleep(3600)"
        ),
        "does not talk like one",
    ),
    "another version": (
        (
            "import msgspec, socket, sys, time; s = socket.socket(fileno=int(sys.argv[1]));"
            "b = msgspec.msgpack.encode({'type': 'hello', 'version': 0, 'cookie': sys.argv[5]});"
            "s.send(len(b).to_bytes(4, 'big') + b); time.sleep(3600)"
        ),
        "of another version",
    ),
    "another cookie": (
        (
            "import msgspec, socket, sys, time; s = socket.socket(fileno=int(sys.argv[1]));"
            "b = msgspec.msgpack.encode({'type': 'hello', 'version': 1, 'cookie': 'x'});"
            "s.send(len(b).to_bytes(4, 'big') + b); time.sleep(3600)"
        ),
        "not the one that was started",
    ),
}


@pytest.mark.parametrize("name", NO_WORKERS)
def test_a_process_that_is_no_worker_is_refused(make_apart, tmp_path, name):
    """It is killed, and the plugin has failed with what was wrong."""
    code, reason = NO_WORKERS[name]
    fake = tmp_path / "python"
    fake.write_text(f"#!{sys.executable}\nimport sys\ndel sys.argv[1:3]\n{code}\n")
    fake.chmod(0o755)
    options = WorkerOptions(interpreter=str(fake), start_timeout_s=1.0)
    host = make_apart({"p.py": f"{EXECUTE}    return 1"}, worker_options=options)
    info = host.plugins["p"]
    assert info.state is PluginState.FAILED
    assert reason in info.error


def test_no_interpreter(make_apart):
    """The plugin fails, with the reason of the system."""
    options = WorkerOptions(interpreter="/nowhere/python")
    host = make_apart({"p.py": f"{EXECUTE}    return 1"}, worker_options=options)
    assert "no process can be started for it" in host.plugins["p"].error
