"""Processes of plugins that end by themselves: only what they were doing fails."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pluginhost import PluginState, observe
from pluginhost.errors import (
    PluginHostError,
    PluginLoadError,
    QuarantinedPluginError,
    WorkerCrashedError,
)
from pluginhost.host.runners.quarantine import CrashPolicy
from pluginhost.host.runners.workers import WorkerOptions

SERVE = """
import os
@hookimpl
def execute(payload):
    if payload == 'pid': return os.getpid()
    exec(payload)
"""
OVERFLOW = """
import resource, sys
resource.setrlimit(resource.RLIMIT_STACK, (150_000, resource.getrlimit(resource.RLIMIT_STACK)[1]))
sys.setrecursionlimit(10**6)
class C: pass
C.__repr__ = lambda self: repr(self)
repr(C())
"""
DEATHS = {
    "os._exit": ("import os; os._exit(3)", "exit code 3"),
    "os._exit(0)": ("import os; os._exit(0)", "exit code 0"),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "abort": ("import os; os.abort()", "SIGABRT"),
    "stack overflow": (OVERFLOW, "SIGSEGV"),
    "killed": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    "process group killed": ("import os; os.killpg(0, 9)", "SIGKILL"),
}

each_death = pytest.mark.parametrize(
    ("code", "status"), [pytest.param(*death, id=name) for name, death in DEATHS.items()]
)


@each_death
def test_only_its_own_execution_fails(make_apart, code, status):
    """The error names how it ended, the other plugin never notices, and it is started again."""
    host = make_apart({"bad.py": SERVE, "good.py": SERVE})
    good = host.execute("good", "pid")
    with pytest.raises(WorkerCrashedError, match=f"ended with {status}") as caught:
        host.execute("bad", code)
    assert caught.value.exit_status == status
    assert caught.value.plugin_id == "bad"
    assert host.execute("good", "pid") == good
    assert host.execute("bad", "pid") != good
    assert host.plugins["bad"].state is PluginState.LOADED


def test_out_of_memory_is_the_plugins_own(make_apart):
    """Within its limit on address space it gets a MemoryError, and the host nothing of it."""
    manifest = "[plugins.p]\n[plugins.p.limits]\naddress_space_bytes = 600_000_000\n"
    host = make_apart({"p.py": SERVE, "pluginhost.toml": manifest})
    with pytest.raises(PluginHostError, match="MemoryError"):
        host.execute("p", "bytearray(2_000_000_000)")
    assert host.execute("p", "pid")


@pytest.mark.parametrize(
    ("limit", "code", "error"),
    [
        pytest.param("cpu_seconds = 1", "while True: pass", "SIGXCPU|SIGKILL", id="cpu"),
        pytest.param("open_files = 20", "f = [open('/dev/null') for _ in range(50)]",
                     "Too many open files", id="files"),
        pytest.param(
            "address_space_bytes = 600_000_000",
            "import threading; over = threading.Event()\n"
            "for _ in range(500): threading.Thread(target=over.wait, daemon=True).start()",
            "can't start new thread", id="threads"),
        pytest.param(
            "file_bytes = 1000",
            "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            "import tempfile; f = tempfile.TemporaryFile(); f.write(b'x' * 9999); f.flush()",
            "File too large", id="file size"),
    ],
)  # fmt: skip
def test_the_kernel_holds_it_to_its_limits(make_apart, limit, code, error):
    """What is over a limit is refused or ends the process; the host is not touched."""
    manifest = f"[plugins.p]\n[plugins.p.limits]\n{limit}\n"
    host = make_apart({"p.py": SERVE, "pluginhost.toml": manifest})
    with pytest.raises(PluginHostError, match=error):
        host.execute("p", code)
    assert host.execute("p", "pid")


def test_the_environment_is_what_the_manifest_names(make_apart, monkeypatch):
    """A secret of the host's environment is not there."""
    monkeypatch.setenv("THE_SECRET", "42")
    monkeypatch.setenv("THE_OTHER", "43")
    look = "@hookimpl\ndef execute(payload):\n    import os\n    return os.environ.get(payload)\n"
    manifest = "[plugins.p]\n[plugins.p.limits]\nenvironment = ['THE_OTHER']\n"
    host = make_apart({"p.py": look, "q.py": look, "pluginhost.toml": manifest})
    assert host.execute("p", "THE_SECRET") is None
    assert host.execute("p", "THE_OTHER") == "43"
    assert host.execute("q", "THE_SECRET") == "42"


def test_one_that_ends_while_idle_costs_nobody_an_execution(make_apart, wait_until):
    """The next execution finds a new process."""
    host = make_apart({"p.py": SERVE})
    pid = host.execute("p", "pid")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: host._runners["p"].pid is None)
    assert host.execute("p", "pid") != pid


@pytest.mark.parametrize("deaths", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_random_deaths_hurt_nobody_else(make_apart, is_running, figure, deaths):
    """Workers are killed at random under load: 0 collateral failures, 0 orphans, 0 zombies."""
    import psutil

    quick = "import os\n@hookimpl\ndef execute(payload): return [os.getpid(), payload]\n"
    host = make_apart({f"p{i}.py": quick for i in range(6)})
    rng = random.Random(20)
    victims, pids = ["p0", "p1", "p2"], set()
    over, collateral, own, calls = threading.Event(), [], [], [0]

    def load(plugin_id):
        while not over.is_set():
            try:
                pid, payload = host.execute(plugin_id, plugin_id)
                assert payload == plugin_id
                pids.add(pid)
                calls[0] += 1
            except WorkerCrashedError as error:
                (own if plugin_id in victims and error.plugin_id == plugin_id
                 else collateral).append(error)  # fmt: skip
            except BaseException as error:
                collateral.append(error)

    threads = [threading.Thread(target=load, args=(f"p{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    killed = 0
    while killed < deaths:
        victim = rng.choice(victims)
        worker = host._runners[victim]._worker
        if worker is not None and not worker.has_ended:
            os.kill(worker.pid, rng.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM]))
            killed += 1
        time.sleep(rng.random() * 0.02)
    over.set()
    for thread in threads:
        thread.join()
    assert collateral == []
    for victim in victims:
        assert host.execute(victim, 1)[1] == 1
    host.close()
    left = [pid for pid in pids if is_running(pid)]
    zombies = [p for p in psutil.Process().children() if p.status() == psutil.STATUS_ZOMBIE]
    figure(f"{killed} random worker deaths: executions that failed of others", len(collateral))
    figure("  of the victims' own, under way at the time", len(own))
    figure("  orphans, zombies", f"{len(left)}, {len(zombies)}")
    assert left == []
    assert zombies == []


def test_a_crash_loop_ends_in_quarantine(make_apart, tmp_path):
    """Three crashes: it is not started any more, a new host knows, and release() lets it go."""
    options = {"worker_options": WorkerOptions(crashes=CrashPolicy(backoff_s=0.01))}
    host = make_apart({"bad.py": SERVE, "good.py": SERVE}, **options)
    for _ in range(3):
        with pytest.raises(WorkerCrashedError):
            host.execute("bad", "import os; os._exit(1)")
    with pytest.raises(QuarantinedPluginError, match=r"quarantine for .* after 3 crashes"):
        host.execute("bad", "pid")
    info = host.plugins["bad"]
    assert info.state is PluginState.QUARANTINED
    assert "exit code 1" in info.error
    assert host.execute("good", "pid")
    host.close()
    again = make_apart({}, **options)
    assert again.plugins["bad"].state is PluginState.QUARANTINED
    assert again.plugins["good"].state is PluginState.LOADED
    with pytest.raises(PluginLoadError, match="quarantine"):
        again.load("bad")
    again.release("bad")
    again.load("bad")
    assert again.execute("bad", "pid")


def test_an_import_that_crashes_counts(make_apart):
    """A loop of failing starts ends in quarantine, too."""
    options = {"worker_options": WorkerOptions(crashes=CrashPolicy(backoff_s=0.01))}
    host = make_apart({"bad.py": "import os\nos._exit(7)"}, **options)
    assert "ended with exit code 7" in host.plugins["bad"].error
    for _ in range(2):
        with pytest.raises(PluginLoadError, match="exit code 7"):
            host.load("bad")
    with pytest.raises(QuarantinedPluginError):
        host.load("bad")
    assert host.plugins["bad"].state is PluginState.QUARANTINED


def test_one_probe_after_the_quarantine(make_apart):
    """One execution is tried: if it does well, all is forgotten."""
    policy = CrashPolicy(max_crashes=1, quarantine_s=0.2)
    host = make_apart({"p.py": SERVE}, worker_options=WorkerOptions(crashes=policy))
    with pytest.raises(WorkerCrashedError):
        host.execute("p", "import os; os._exit(1)")
    with pytest.raises(QuarantinedPluginError):
        host.execute("p", "pid")
    time.sleep(0.25)
    with pytest.raises(WorkerCrashedError):  # the probe crashes: twice as long
        host.execute("p", "import os; os._exit(1)")
    time.sleep(0.25)
    with pytest.raises(QuarantinedPluginError):
        host.execute("p", "pid")
    time.sleep(0.25)
    assert host.execute("p", "pid")
    assert host.plugins["p"].state is PluginState.LOADED


HOST = """
import os, sys, threading
from pathlib import Path
from pluginhost import PluginHost
host = PluginHost("t", sources=[sys.argv[1]], runners={"*": "process"}, state_file="")
host.load_all()
threading.Thread(target=lambda: host.execute("c"), daemon=True).start()
print(os.getpid(), *[host.execute(name, "start") for name in ("a", "b")],
      host._runners["c"]._worker.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.slow)])
def test_nobody_outlives_a_host_that_is_killed(
    plugin_folder, figure, wait_until, is_running, kills
):
    """SIGKILL: workers, one in C code that holds the GIL, and what they have started, are gone."""
    daemon = """
    import os, subprocess
    from pluginhost import hookimpl
    @hookimpl
    def execute(payload):
        process = subprocess.Popen(["sleep", "3600"], start_new_session=True)
        return f"{os.getpid()} {process.pid}"
    """
    spin = """
    import itertools
    from pluginhost import hookimpl
    @hookimpl
    def execute(payload): sum(itertools.repeat(1, 10**12))
    """
    folder = plugin_folder({"a.py": daemon, "b.py": daemon, "c.py": spin})

    def one(_):
        with subprocess.Popen(
            [sys.executable, "-c", HOST, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            pids = list(map(int, process.stdout.readline().split()))
            assert len(pids) == 6
            assert all(map(is_running, pids))
            process.kill()
            process.wait()
            started = time.monotonic()
            wait_until(lambda: not any(map(is_running, pids)), 2.0)
            return time.monotonic() - started

    with ThreadPoolExecutor(2) as pool:
        slowest = max(pool.map(one, range(kills)))
    figure(f"{kills} hosts killed by SIGKILL: orphans after 2 s", 0)
    figure("  the last of them was gone after", 1000 * slowest, "ms")


def test_threads_that_end_do_not_take_workers_along(make_apart):
    """The kernel ends a process when the thread that started it ends: that thread must stay."""
    host = make_apart({"p.py": SERVE})
    pids = []
    for _ in range(3):  # each restart is asked for by a thread that then ends
        with pytest.raises(WorkerCrashedError):
            host.execute("p", "import os; os._exit(1)")
        thread = threading.Thread(target=lambda: pids.append(host.execute("p", "pid")))
        thread.start()
        thread.join()
    time.sleep(0.2)
    assert host.execute("p", "pid") == pids[-1]


def test_figures_come_from_where_the_work_ran(make_apart):
    """CPU, peak memory and exit status are those of the process, exact, and marked so."""
    work = """
    import os, time
    @hookimpl
    def execute(payload):
        if payload == "crash":
            os._exit(3)
        if payload == "spin":
            while True: pass
        block = bytearray(50_000_000)
        end = time.process_time() + 0.2
        while time.process_time() < end: pass
        return len(block)
    """.replace("\n    ", "\n")
    host = make_apart({"p.py": work})
    with observe(host) as observation:
        host.execute("p")
        for payload, kind in (("crash", WorkerCrashedError), ("spin", TimeoutError)):
            with pytest.raises(kind):
                host.execute("p", payload, deadline=0.5)
        first, crash, spin = observation.profiler.get_history("p")
        row = observation.profiler.get_aggregates("p")
        text = " ".join(observation.performance_report().split())
    assert first.exact
    assert 180e6 < first.cpu_time_ns < 5e9
    assert first.peak_rss_bytes > first.rss_bytes + 40_000_000
    assert first.exit_status is None
    assert (crash.exit_status, crash.exact) == ("exit code 3", True)
    assert (spin.exit_status, spin.status) == ("SIGKILL", "timeout")
    assert spin.cpu_time_ns > 10e6  # what was burnt until it was killed: little where others work
    assert (row.exact_count, row.exit_count, row.last_exit_status) == (3, 2, "SIGKILL")
    assert row.peak_rss_bytes >= first.peak_rss_bytes
    assert "In processes of their own" in text
    assert "2 ended the process, the last with SIGKILL" in text


def test_unloading_is_a_true_release(make_apart, is_running):
    """The process is gone, with the threads and exit handlers that would hold it up."""
    stay = """
    import atexit, os, threading, time
    threading.Thread(target=time.sleep, args=(3600,)).start()
    atexit.register(time.sleep, 3600)
    @hookimpl
    def execute(): return os.getpid()
    @hookimpl
    def teardown(): open(os.environ["TORN_DOWN"], "w").close()
    """.replace("\n    ", "\n")
    torn_down = Path(str(id(stay)))
    os.environ["TORN_DOWN"] = str(torn_down.absolute())
    try:
        host = make_apart({"p.py": stay})
        pid = host.execute("p")
        info = host.unload("p")
        assert info.survivors == ()
        assert info.state is PluginState.UNLOADED
        assert not is_running(pid)
        assert torn_down.exists()
    finally:
        del os.environ["TORN_DOWN"]
        torn_down.unlink(missing_ok=True)
