"""Plugins that block an event loop: they are named while they do, and nobody else is."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
import types
from textwrap import dedent

import pytest

from pluginhost import observe
from pluginhost.errors import InvalidValueError, PluginStateError

THRESHOLD_S = 0.2
LONG_S = 60
HEAD = "import asyncio, threading, time\nfrom pluginhost import hookimpl\n"
WAITS = HEAD + "@hookimpl\nasync def execute(payload):\n    assert payload.wait(60)\n"


@pytest.fixture
def host_of(plugin_folder, make_host):
    """Return a function that loads plugins from their sources; loops are watched closely."""

    def load(files, **options):
        folder = plugin_folder({name: dedent(text) for name, text in files.items()})
        host = make_host(folder, **({"loop_block_seconds": THRESHOLD_S} | options))
        host.load_all()
        return host

    return load


@pytest.fixture
def noticed(wait_until):
    """Return a function that opens a gate once a plugin was noticed; threads are joined later."""
    threads = []

    def begin(host, plugin_id, gate, count=1):
        def wait():
            try:
                wait_until(
                    lambda: sum(b.count for b in host.plugins[plugin_id].loop_blocks) >= count
                )
            finally:
                gate.set()

        threads.append(threading.Thread(target=wait))
        threads[-1].start()

    yield begin
    for thread in threads:
        thread.join(LONG_S)


class Collector:
    """Keeps all events."""

    def __init__(self):
        self.events = []

    def observe(self, batch):
        self.events += batch


def test_it_is_named_while_it_blocks(host_of, noticed, capfd):
    """Plugin, hook and line are known before it returns; counted each time, logged once."""
    host, collector = host_of({"p.py": WAITS}), Collector()

    async def main():
        for number in (1, 2):
            gate = threading.Event()
            noticed(host, "p", gate, number)
            await host.aexecute("p", gate)  # returns, because the other thread has seen it

    with observe(host) as observation:
        observation.bus.subscribe(collector, live=False)
        asyncio.run(main())
        text = " ".join(observation.performance_report().split())
        row = observation.profiler.get_aggregates("p")
    (block,) = host.plugins["p"].loop_blocks
    assert (block.hook, block.count) == ("execute", 2)
    assert re.fullmatch(
        r"wait\(\) in threading\.py:\d+, called by execute\(\) in p\.py:5", block.where
    )
    assert block.total_ns >= block.longest_ns >= 1e9 * THRESHOLD_S
    events = [event for event in collector.events if event.kind == "loop_block"]
    assert [(e.plugin_id, e.hook, e.status) for e in events] == [("p", "execute", "success")] * 2
    assert all(e.metadata["where"] == block.where for e in events)
    assert max(e.duration_ns for e in events) == block.longest_ns == row.longest_loop_block_ns
    assert all(e.thread_id == threading.get_ident() for e in events)
    assert "BLOCKS_EVENT_LOOP: it blocked the event loop 2 times" in text
    assert row.total_time_ns == sum(e.duration_ns for e in collector.events if e.hook == "execute"
                                    and e.kind == "plugin_execute")  # fmt: skip
    told = [line for line in capfd.readouterr().err.splitlines() if "blocks the event loop" in line]
    assert len(told) == 1
    assert "plugin='p' hook='execute'" in told[0]
    assert "execute() in p.py:5" in told[0]


def test_sleeping_in_a_coroutine(host_of):
    """The usual mistake; the line is the plugin's, for `time.sleep` has none."""
    host = host_of({"p.py": HEAD + "@hookimpl\nasync def execute(): time.sleep(1.2)\n"})
    asyncio.run(host.aexecute("p"))
    assert [b.where for b in host.plugins["p"].loop_blocks] == ["execute() in p.py:4"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 shows a hundred threads")
def test_among_many_threads(host_of, noticed):
    """The oldest of them runs the loop."""
    host, gate, over = host_of({"p.py": WAITS}), threading.Event(), threading.Event()
    threads = [threading.Thread(target=over.wait) for _ in range(130)]
    for thread in threads:
        thread.start()
    try:
        noticed(host, "p", gate)
        asyncio.run(host.aexecute("p", gate))
    finally:
        over.set()
        for thread in threads:
            thread.join(LONG_S)
    (block,) = host.plugins["p"].loop_blocks
    assert block.where.endswith("called by execute() in p.py:5")


def test_who_waits_is_not_blamed(host_of):
    """The application blocks its own loop while plugins await, one of them in the same file."""
    host = host_of({"p.py": HEAD + "@hookimpl\nasync def execute(): await asyncio.sleep(0.9)\n"})

    async def main():
        waiting = asyncio.ensure_future(host.aexecute("p"))
        await asyncio.sleep(0.05)
        time.sleep(0.8)  # noqa: ASYNC251  # what this is about
        await waiting

    asyncio.run(main())
    assert host.plugins["p"].loop_blocks == ()


def test_one_that_computes_in_short_steps_is_not_blamed(host_of):
    """The loop comes round between them, however long it takes in all."""
    body = "    for _ in range(80):\n        time.sleep(0.01)\n        await asyncio.sleep(0)\n"
    host = host_of(
        {"p.py": HEAD + "@hookimpl\nasync def execute():\n" + body}, loop_block_seconds=0.6
    )
    asyncio.run(host.aexecute("p"))
    assert host.plugins["p"].loop_blocks == ()


def test_the_rest_of_a_watched_loop(host_of, noticed):
    """Plain executions, tasks of a plugin's own and the application's hooks are seen there, too."""
    gates = types.ModuleType("loop_gates")
    sys.modules["loop_gates"] = gates
    source = (
        HEAD
        + """
import loop_gates
def wait(): assert loop_gates.gate.wait(60)
class Plain:
    @hookimpl
    def execute(self): wait()
class Tasks:
    @hookimpl
    def execute(self): return asyncio.ensure_future(self.later())
    async def later(self): wait()
class Hooked:
    @hookimpl
    def setup(self): self.ready = True
    @hookimpl
    def on_start(self): wait()
"""
    )
    from pluginhost import hookspec

    class Spec:
        @hookspec
        def on_start(self):
            """Said once."""

    manifest = "\n".join(
        f"[plugins.{n.lower()}]\nentry = 'q:{n}'" for n in ("Plain", "Tasks", "Hooked")
    )
    try:
        host = host_of({"q.py": source, "pluginhost.toml": manifest}, load_deadline=None)
        host.close()
        host.add_hookspecs(Spec)
        host.load_all()

        async def main():
            host.watch_loop()
            for plugin_id, call in (
                ("plain", lambda: host.execute("plain")),
                ("tasks", lambda: host.execute("tasks")),
                ("hooked", host.hook.on_start),
            ):
                gates.gate = threading.Event()
                noticed(host, plugin_id, gates.gate)
                task = call()
                if plugin_id == "tasks":
                    await task

        asyncio.run(main())
        assert {i: [(b.hook, b.count) for b in info.loop_blocks] for i, info in host.plugins.items()} == {
            "plain": [("execute", 1)], "tasks": [("", 1)], "hooked": [("on_start", 1)],
        }  # fmt: skip
    finally:
        del sys.modules["loop_gates"]


def test_the_thread_is_there_only_while_loops_are_watched(host_of, wait_until):
    """None before the first asynchronous execution, none shortly after the last, none when closed."""

    def watching():
        return [t for t in threading.enumerate() if t.name == "pluginhost-loops"]

    plain = HEAD + "@hookimpl\ndef execute(): return 1\n"
    host = host_of({"p.py": HEAD + "@hookimpl\nasync def execute(): return 1\n", "q.py": plain})
    host.execute("q")
    host.execute("p")  # in a loop of its own, which holds up nobody
    assert not watching()

    async def main():
        await host.aexecute("p")
        (thread,) = watching()
        assert thread.daemon
        await asyncio.to_thread(wait_until, lambda: not watching())  # though the loop goes on
        await host.aexecute("p")
        assert watching()
        host.close()
        assert not watching()

    asyncio.run(main())


def test_without_a_threshold_nothing_is_watched(host_of):
    """Neither a thread nor a finding."""
    host = host_of({"p.py": HEAD + "@hookimpl\nasync def execute(): time.sleep(0.3)\n"},
                   loop_block_seconds=None)  # fmt: skip

    async def main():
        host.watch_loop()
        await host.aexecute("p")
        return [t.name for t in threading.enumerate()]

    assert "pluginhost-loops" not in asyncio.run(main())
    assert host.plugins["p"].loop_blocks == ()


def test_what_makes_no_sense_is_refused(host_of):
    """A threshold below zero, and a loop where there is none."""
    with pytest.raises(InvalidValueError):
        host_of({}, loop_block_seconds=-1)
    with pytest.raises(PluginStateError, match="no event loop is running"):
        host_of({}).watch_loop()


def test_an_implementation_that_raises_harms_nobody(host_of, noticed):
    """The application's own hook is told in the thread of the watch, and may fail."""
    from pluginhost import hookimpl

    told = []

    class Raises:
        @hookimpl
        def pluginhost_loop_block(self, plugin_id, block):
            told.append((plugin_id, block.count))
            raise SystemError("on purpose")

    host = host_of({"p.py": WAITS})
    host.lifecycle.register(Raises())

    async def main():
        for number in (1, 2):
            gate = threading.Event()
            noticed(host, "p", gate, number)
            await host.aexecute("p", gate)

    asyncio.run(main())
    assert told == [("p", 1)] * 2


def test_a_host_that_is_closed_meanwhile_tells_what_is_known(host_of, wait_until):
    """The loop may never come round."""
    host, gate, told = host_of({"p.py": WAITS}, drain_seconds=0.0), threading.Event(), []
    from pluginhost import hookimpl

    class Hears:
        @hookimpl
        def pluginhost_loop_block(self, plugin_id, block, thread_id):
            told.append((plugin_id, thread_id))

    host.lifecycle.register(Hears())
    thread = threading.Thread(target=lambda: asyncio.run(host.aexecute("p", gate)))
    thread.start()
    try:
        wait_until(lambda: host.plugins["p"].loop_blocks)
        host.close()
        assert told == [("p", thread.ident)]
    finally:
        gate.set()
        thread.join(LONG_S)


FORKS = """
import asyncio, os, sys, threading, time, warnings
from pluginhost import PluginHost
warnings.simplefilter("ignore", DeprecationWarning)  # that this forks with threads
host = PluginHost("test", sources=[sys.argv[1]], loop_block_seconds=0.2)
host.load_all()
async def parent():
    await host.aexecute("p", 0.0)
    assert "pluginhost-loops" in [t.name for t in threading.enumerate()]
    return os.fork()
pid = asyncio.run(parent())
if pid:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
asyncio.run(host.aexecute("p", 1.2))
(block,) = host.plugins["p"].loop_blocks
assert block.count == 1, block
host.close()
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_watches_its_own(plugin_folder):
    """The thread is not there; another is started when it is needed."""
    source = HEAD + "@hookimpl\nasync def execute(payload): time.sleep(payload)\n"
    folder = plugin_folder({"p.py": source})
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(folder)], check=False, capture_output=True, text=True,
        timeout=LONG_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
