"""Limits on a process of a plugin's own: how many processes it starts, and where it may write."""

from __future__ import annotations

import sys
import threading
from textwrap import dedent

import pytest

from pluginhost import PluginState, observe
from pluginhost.errors import WorkerCrashedError
from pluginhost.host.runners import sweeping

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits of Linux")

ALLOWED, BOMBS = 15, 250
"""How many are allowed, and how many the bombs here could start at most, if nobody stopped them."""

BOMB = """
import os, subprocess, sys, time
from pluginhost import hookimpl

def tokens():
    read, write = os.pipe()
    os.write(write, b"x" * {BOMBS})
    os.set_blocking(read, False)
    return read

def another(read):
    try: return bool(os.read(read, 1))
    except BlockingIOError: return False

def bomb(read):
    while another(read):
        {fork}
    time.sleep(60)

@hookimpl
def execute(payload):
    if payload == "bomb": bomb(tokens())
    if payload == "few":
        children = [subprocess.Popen(["sleep", "60"]) for _ in range(10)]
        time.sleep(1.5)
        for child in children: child.kill(); child.wait()
    return os.getpid()
"""
FORKS = {
    "forks": "os.fork()",
    "in sessions of their own": "if not os.fork(): os.setsid()",
    "whose parents end": """
        if not os.fork():
            os.setsid()
            if os.fork(): os._exit(0)
    """,
    "other programs": "subprocess.Popen(['sleep', '60'], start_new_session=True)",
}


def manifest(*limits):
    """Return a manifest with these limits."""
    return "\n".join(["[plugins.p]", "[plugins.p.limits]", *limits])


@pytest.mark.parametrize("kind", FORKS)
def test_a_fork_bomb_is_stopped_and_named(make_apart, heartbeat, wait_until, figure, kind):
    """All of it is killed, the host goes on, its neighbour too, and it is started again."""
    fork = dedent(FORKS[kind]).strip().replace("\n", "\n        ")
    source = BOMB.replace("{fork}", fork).replace("{BOMBS}", str(BOMBS))
    host = make_apart(
        {"p.py": source, "q.py": source, "pluginhost.toml": manifest(f"descendants = {ALLOWED}")}
    )
    good, mark = host.execute("q"), host._runners["p"]._worker._mark
    with observe(host) as observation:
        with heartbeat() as heart, pytest.raises(WorkerCrashedError) as caught:
            host.execute("p", "bomb")
        assert observation.profiler.get_aggregates("p").last_exit_status == "SIGKILL"
    assert "had started more processes than the 15 that may run at once" in caught.value.message
    assert "was killed with all of them" in caught.value.message
    wait_until(lambda: sweeping.marked(mark) == [])
    figure(f"a bomb ({kind}): longest stall of the host's heartbeat", 1000 * heart.longest_s, "ms")
    assert host.execute("q") == good
    assert host.execute("p") != good
    assert host.plugins["p"].state is PluginState.LOADED


def test_fewer_than_allowed_are_left_alone(make_apart):
    """Also those that the threads of others may be mistaken for."""
    source = BOMB.replace("{fork}", "os.fork()").replace("{BOMBS}", "0")
    host = make_apart({"p.py": source, "pluginhost.toml": manifest("descendants = 10")})
    pid, over = host.execute("p"), threading.Event()
    threads = [threading.Thread(target=over.wait) for _ in range(40)]
    for thread in threads:
        thread.start()
    try:
        assert host.execute("p", "few") == pid
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_nobody_counts_without_the_limit(make_apart):
    """And when the worker has ended, nobody counts any more."""
    source = BOMB.replace("{fork}", "os.fork()").replace("{BOMBS}", "0")
    host = make_apart(
        {"p.py": source, "q.py": source, "pluginhost.toml": manifest("descendants = 3")}
    )

    def counting():
        return [t for t in threading.enumerate() if t.name == "pluginhost-counting"]

    assert len(counting()) == 1
    host.unload("p")
    for thread in counting():
        thread.join(60)
    assert host.execute("q")
    assert not counting()


def test_a_bomb_that_goes_off_when_it_is_imported(make_apart, wait_until):
    """It is not loaded, and the reason says why."""
    source = (
        BOMB.replace("{fork}", "os.fork()").replace("{BOMBS}", str(BOMBS)) + "\nbomb(tokens())\n"
    )
    host = make_apart({"p.py": source, "pluginhost.toml": manifest(f"descendants = {ALLOWED}")})
    info = host.plugins["p"]
    assert info.state is PluginState.FAILED
    assert "had started more processes than the 15 that may run at once" in info.error
