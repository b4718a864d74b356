"""Plugins that do not return: in a process of their own they are killed, inline they are left."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import pytest

from pluginhost import PluginState, observe
from pluginhost.errors import DeadlineExceededError, PluginLoadError, PluginStateError
from pluginhost.host.runners.workers import WorkerOptions

HANGS = {
    "Python loop": "while True: pass",
    "C loop that holds the GIL": "import itertools; sum(itertools.repeat(1, 10**12))",
    "regular expression": "import re; re.match('(a+)+$', 'a' * 60 + 'b')",
    "sleep": "import time; time.sleep(3600)",
    "deadlock": "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "swallowing BaseException": """
        while True:
            try:
                while True: pass
            except BaseException: pass
    """,
    "foreign call that holds the GIL": "import ctypes; ctypes.PyDLL(None).sleep(3600)",
}
BODY = "@hookimpl\ndef execute(payload):\n    if payload is None: return 'alive'\n"
DEADLINE_S = 0.2
ALLOWED_S = 0.25


def plugin(body):
    """Return a plugin that answers None, and otherwise does what `body` says."""
    lines = body.strip("\n").splitlines()
    margin = len(lines[0]) - len(lines[0].lstrip())
    return BODY + "".join(f"    {line[margin:]}\n" for line in lines)


def late_by(host, plugin_id, payload=1):
    """Execute what hangs; return how much later than the deadline the caller got its error."""
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError) as caught:
        host.execute(plugin_id, payload, deadline=DEADLINE_S)
    late_s = time.monotonic() - started - DEADLINE_S
    assert "was killed" in str(caught.value)
    return late_s


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_whatever_it_does_it_is_killed(make_apart, heartbeat, is_running, figure, rounds):
    """Seven kinds of hang: the process is gone, the host never stalls, the plugin works again."""
    names = [f"hang{i}" for i in range(len(HANGS))]
    host = make_apart(
        {f"{name}.py": plugin(body) for name, body in zip(names, HANGS.values(), strict=True)}
    )
    late, gaps = [], []
    for name in names:
        for _ in range(rounds):
            assert host.execute(name) == "alive"
            pid = host._runners[name].pid
            with heartbeat() as heart:
                late.append(late_by(host, name))
            gaps.append(heart.longest_s)
            assert not is_running(pid)
    figure(f"{len(HANGS)} kinds of hang x {rounds}: stopped", len(late))
    figure("latest after its deadline", 1000 * max(late), "ms")
    figure("longest stall of the host's 10 ms heartbeat", 1000 * max(gaps), "ms")
    assert len(late) == rounds * len(HANGS)


@pytest.mark.parametrize(
    "starting",
    [
        pytest.param("subprocess.Popen(['sleep', '3600'])", id="child"),
        pytest.param("subprocess.Popen(['sleep', '3600'], start_new_session=True)", id="session"),
        pytest.param(
            "subprocess.run(['sh', '-c', 'setsid sleep 3600 & echo $!'],"
            " stdout=open(payload + '.daemon', 'w'))",
            id="daemon",
        ),
    ],
)
def test_what_it_has_started_dies_with_it(make_apart, tmp_path, wait_until, is_running, starting):
    """Children, those in sessions of their own, and those whose parent has ended."""
    host = make_apart(
        {
            "p.py": f"""
import subprocess, time
@hookimpl
def execute(payload):
    process = {starting}
    pid = getattr(process, "pid", None) or open(payload + ".daemon").read()
    open(payload, "w").write(str(pid))
    time.sleep(3600)
"""
        }
    )
    file = tmp_path / "pid"
    with pytest.raises(DeadlineExceededError):
        host.execute("p", str(file), deadline=1.0)
    pid = int(file.read_text())
    wait_until(lambda: not is_running(pid), 2.0)


def test_the_place_is_named(make_apart):
    """The error says in which line it hung, also where the GIL was held."""
    host = make_apart({"p.py": plugin(HANGS["C loop that holds the GIL"])})
    with pytest.raises(DeadlineExceededError, match=r"killed in execute\(\) in p\.py:5"):
        host.execute("p", 1, deadline=DEADLINE_S)


def test_the_deadline_of_the_manifest(make_apart):
    """An execution for which the caller gives none has the plugin's own."""
    manifest = "[plugins.p]\nrunner = 'process'\ndeadline = 0.2\n"
    host = make_apart({"p.py": plugin("while True: pass"), "pluginhost.toml": manifest}, runners={})
    assert host.plugins["p"].runner == "process"
    with pytest.raises(DeadlineExceededError, match=r"within 0\.2 s"):
        host.execute("p", 1)


def test_a_stopped_process_is_killed(make_apart):
    """One that was sent SIGSTOP heeds no signal but one."""
    host = make_apart({"p.py": plugin("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")})
    late_by(host, "p")
    assert host.execute("p") == "alive"


def test_it_may_ignore_all_signals(make_apart):
    """Also that by which it is asked where it is."""
    body = """
        import signal, time
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        time.sleep(3600)
    """
    host = make_apart({"p.py": plugin(body)})
    late_by(host, "p")


def test_who_waits_for_a_turn_waits_no_longer_than_its_deadline(make_apart):
    """One execution at a time: another's deadline passes, and the first is left alone."""
    host = make_apart({"p.py": plugin("import time; time.sleep(payload); return 'slept'")})
    results = []
    first = threading.Thread(target=lambda: results.append(host.execute("p", 1.0)))
    first.start()
    time.sleep(0.2)
    with pytest.raises(DeadlineExceededError, match="busy"):
        host.execute("p", 0.0, deadline=DEADLINE_S)
    first.join()
    assert results == ["slept"]


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_it_is_waited_for(make_apart):
    """The answer that comes too late is not taken for that to the next question."""
    host = make_apart({"p.py": plugin("import time; time.sleep(payload); return 'late'")})
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        host.execute("p", 5.0)
    assert host.execute("p") == "alive"


def test_an_import_that_hangs_is_killed(make_apart):
    """In its own process an import has a deadline, and nobody else waits for it."""
    host = make_apart(
        {"bad.py": "import time\ntime.sleep(3600)", "good.py": plugin("pass")},
        worker_options=WorkerOptions(load_timeout_s=0.5),
    )
    bad, good = host.plugins["bad"], host.plugins["good"]
    assert (bad.state, good.state) == (PluginState.FAILED, PluginState.LOADED)
    assert "was not loaded within 0.5 s" in bad.error
    assert "bad.py:3" in bad.error


@pytest.mark.parametrize("place", ["import", "setup"])
def test_inline_a_hanging_import_poisons_its_module(plugin_folder, make_host, place):
    """With a deadline the caller is told, and a second load is refused at once, not hung."""
    wait = "from hang_gate import gate; gate.wait()\n"
    code = {"import": wait, "setup": f"@hookimpl\ndef setup():\n    {wait}"}[place]
    import sys
    import types

    module = types.ModuleType("hang_gate")
    module.gate = threading.Event()
    sys.modules["hang_gate"] = module
    before = set(threading.enumerate())
    try:
        head = "from pluginhost import hookimpl\n"
        host = make_host(plugin_folder({"p.py": head + code + BODY}), load_deadline=0.2)
        with pytest.raises(
            PluginLoadError, match=r"did not end within 0\.2 s; it goes on in thread"
        ):
            host.load("p")
        started = time.monotonic()
        with pytest.raises(PluginLoadError, match="poisoned"):
            host.load("p")
        assert time.monotonic() - started < 0.2  # not waited for
        module.gate.set()
        for thread in set(threading.enumerate()) - before:
            thread.join(30)
        host.load("p")  # it hangs no more
        assert host.execute("p") == "alive"
    finally:
        module.gate.set()
        del sys.modules["hang_gate"]


def test_inline_it_goes_on_and_is_counted(plugin_folder, make_host):
    """The caller gets its thread back, and the runaway is named; a plugin gets eight of them."""
    import sys
    import types

    module = types.ModuleType("hang_gate")
    module.gate = threading.Event()
    sys.modules["hang_gate"] = module
    text = f"from pluginhost import hookimpl\n{BODY}    from hang_gate import gate; gate.wait()\n"
    before = set(threading.enumerate())
    try:
        host = make_host(plugin_folder({"p.py": text}), drain_seconds=0.0)
        host.load("p")
        with observe(host) as observation:
            for _ in range(8):
                with pytest.raises(DeadlineExceededError, match="goes on in the background"):
                    host.execute("p", 1, deadline=0.02)
            with pytest.raises(PluginStateError, match=r"8 executions .* still go on"):
                host.execute("p", 1, deadline=0.02)
            assert observation.profiler.get_aggregates("p").timeout_count == 8
            text = " ".join(observation.performance_report().split())
            assert "8 executions overran; inline, that stops no plain function: it goes on" in text
        assert host.execute("p") == "alive"  # without a deadline it is the caller's own risk
        survivors = host.unload("p").survivors
        assert any("pluginhost-p" in name for name in survivors)
    finally:
        module.gate.set()
        del sys.modules["hang_gate"]
        for thread in set(threading.enumerate()) - before:
            thread.join(30)


def test_asyncio_one_that_swallows_cancellation_does_not_hold_the_host(plugin_folder, make_host):
    """`asyncio.wait_for` would wait for it for ever."""
    host = make_host(
        plugin_folder(
            {
                "p.py": """
                import asyncio
                from pluginhost import hookimpl
                @hookimpl
                async def execute():
                    while True:
                        try: await asyncio.sleep(3600)
                        except asyncio.CancelledError: pass
                """
            }
        )
    )
    host.load("p")

    async def main():
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            await host.aexecute("p", deadline=0.05)
        return time.monotonic() - started

    assert asyncio.run(main()) < 30
