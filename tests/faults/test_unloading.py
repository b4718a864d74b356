"""What unloading waits for, what it cannot take back, and what loading has changed: all is named."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path
from textwrap import dedent

import pytest

from pluginhost.errors import PluginLoadError, PluginStateError

LONG_S = 20.0

WAITS = """
from pluginhost import hookimpl

@hookimpl
def execute(payload):
    begun, stop = payload
    begun.set()
    stop.wait()
    return "done"

@hookimpl
def teardown(host):
    host.diary.append("teardown")
"""


@pytest.fixture
def working(plugin_folder, make_host):
    """Return a function that makes a host with plugin `a` in a call of another thread.

    It returns the host, what lets the call end, and the thread, whose results are `host.diary`.
    """
    stops, threads = [], []

    def begin(source=WAITS, **options):
        host = make_host(plugin_folder({"a.py": source}), **options)
        host.diary = []
        host.load("a")
        begun, stop = threading.Event(), threading.Event()

        def call():
            host.diary.append(host.execute("a", (begun, stop)))

        thread = threading.Thread(target=call, name="caller", daemon=True)
        stops.append(stop)
        threads.append(thread)
        thread.start()
        assert begun.wait(LONG_S)
        return host, stop, thread

    yield begin
    for stop in stops:
        stop.set()
    for thread in threads:
        thread.join(LONG_S)


@pytest.mark.parametrize("how", ["unload", "reload", "close"])
def test_a_call_under_way_ends_before_the_teardown(working, how):
    """Whoever takes the plugin out waits for it, and new calls are refused meanwhile."""
    host, stop, _ = working(drain_seconds=LONG_S)
    action = host.close if how == "close" else lambda: getattr(host, how)("a")
    unloading = threading.Thread(target=action, daemon=True)
    unloading.start()
    end = time.monotonic() + LONG_S
    while host.plugins["a"].state != "unloading":
        assert time.monotonic() < end
        time.sleep(0.001)
    with pytest.raises(PluginStateError, match="it is being loaded or unloaded"):
        host.execute("a", None)
    assert host.diary == []
    stop.set()
    unloading.join(LONG_S)
    assert host.diary in (["done", "teardown"], ["teardown", "done"])  # two threads append
    assert host.plugins["a"].survivors == ()


@pytest.mark.parametrize("how", ["unload", "close"])
def test_a_call_that_does_not_end_is_named(working, how):
    """After a bounded wait it is torn down all the same, and the thread that goes on is named."""
    host, _, _ = working(drain_seconds=0.05)
    host.close() if how == "close" else host.unload("a")
    assert host.plugins["a"].survivors[0] == "call in thread 'caller'"
    assert host.diary == ["teardown"]


def test_closing_waits_once_for_all(plugin_folder, make_host):
    """Ten plugins that do not end take as long as one."""
    host = make_host(plugin_folder({f"p{n}.py": WAITS for n in range(10)}), drain_seconds=0.5)
    host.diary = []
    host.load_all()
    stop = threading.Event()
    for n in range(10):
        begun = threading.Event()
        arguments = f"p{n}", (begun, stop)
        threading.Thread(target=host.execute, args=arguments, daemon=True).start()
        assert begun.wait(LONG_S)
    started = time.monotonic()
    host.close()
    took_s = time.monotonic() - started
    stop.set()
    assert [len(info.survivors) >= 1 for info in host.plugins.values()] == [True] * 10
    assert took_s < 10 * 0.5


def test_asynchronous_calls_are_waited_for_from_another_thread(plugin_folder, make_host):
    """An await under way counts like any other call."""
    source = """
        import asyncio
        from pluginhost import hookimpl

        @hookimpl
        async def execute(payload, host):
            payload.set()
            await asyncio.sleep(0.1)
            host.diary.append("done")

        @hookimpl
        def teardown(host): host.diary.append("teardown")
    """
    host, begun = make_host(plugin_folder({"a.py": source})), threading.Event()
    host.diary = []
    host.load("a")
    thread = threading.Thread(target=lambda: asyncio.run(host.aexecute("a", begun)))
    thread.start()
    assert begun.wait(LONG_S)
    assert host.unload("a").survivors == ()
    thread.join()
    assert host.diary == ["done", "teardown"]


SURVIVORS = {
    "an atexit handler": (
        "import atexit\ndef mine(): pass\natexit.register(mine)",
        "atexit handler mine()",
    ),
    "an atexit handler that is a lambda": (
        "import atexit\natexit.register(lambda: None)",
        "atexit handler <lambda>()",
    ),
    "an atexit handler of its instance": (
        "import atexit\nclass C:\n    def close(self): pass\nkept = C()\natexit.register(kept.close)",
        "atexit handler close()",
    ),
    "a monkeypatch": (
        "import json\ndef mine(o): return ''\njson.dumps = mine",
        "json.dumps, which is its mine()",
    ),
    "a patched method": (
        "from fractions import Fraction\ndef mine(self): return 1\nFraction.conjugate = mine",
        "fractions.Fraction.conjugate, which is its mine()",
    ),
    "a signal handler": (
        "import signal\ndef mine(*a): pass\nsignal.signal(signal.SIGUSR1, mine)",
        "handler of SIGUSR1: mine()",
    ),
    "an excepthook": (
        "import sys\ndef mine(*a): pass\nsys.excepthook = mine",
        "sys.excepthook: mine()",
    ),
    "a thread's excepthook": (
        "import threading\ndef mine(a): pass\nthreading.excepthook = mine",
        "threading.excepthook: mine()",
    ),
    "a gc callback": (
        "import gc\ndef mine(*a): pass\ngc.callbacks.append(mine)",
        "gc callback: mine()",
    ),
    "an import finder": (
        "import sys\nclass Mine:\n    def find_spec(self, *a): return None\nsys.meta_path.append(Mine())",
        "import finder: a Mine",
    ),
    "a logging handler": (
        "import logging\nclass Mine(logging.Handler): pass\nlogging.getLogger('x').addHandler(Mine())",
        "logging handler: a Mine",
    ),
    "a thread": (
        """\
        import threading as t, time
        def mine(): time.sleep(3600)
        t.Thread(target=mine, name='T', daemon=True).start()
        """,
        "thread 'T'",
    ),
    "a callback in a list": (
        "import sys\ndef mine(): pass\nsys.callbacks = [mine]",
        "code of the plugin (held by list)",
    ),
    "a subclass that is registered": (
        "import sys\nclass Mine: pass\nsys.registry = {'mine': Mine}",
        "code of the plugin (held by",
    ),
}

IN_A_PROCESS = """
import os, sys
from pluginhost import PluginHost
host, out = PluginHost("test", sources=[sys.argv[1]]), sys.stdout
info = host.load("a")
host.execute("a")
for line in info.dirty: print("dirty:", line, file=out)
info = host.unload("a")
for line in info.survivors: print("left:", line, file=out)
for line in info.dirty: print("still:", line, file=out)
out.flush()
os._exit(0)
"""

TAIL = "\nfrom pluginhost import hookimpl\n@hookimpl\ndef execute(): return 1\n"


def told(folder):
    """Load, execute and unload plugin `a` of the folder in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, str(folder)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", SURVIVORS)
def test_what_stays_behind_is_named(plugin_folder, kind):
    """Whatever keeps the plugin's code alive, or runs it later, is in the list."""
    source, expected = SURVIVORS[kind]
    lines = told(plugin_folder({"a.py": dedent(source) + TAIL}))
    assert [line for line in lines if line.startswith(f"left: {expected}")], lines


def test_nothing_is_named_of_a_plugin_that_leaves_nothing(plugin_folder):
    """Classes, closures, caches and decorators of its own are gone with it, and nothing is said."""
    source = """
        import abc, dataclasses, enum, functools, logging, threading
        log = logging.getLogger(__name__)
        lock = threading.Lock()

        @dataclasses.dataclass
        class Record:
            x: int = 0

        class Colour(enum.Enum):
            RED = 1

        class Base(abc.ABC):
            @abc.abstractmethod
            def f(self): ...

        class Child(Base):
            def f(self): return super().__class__

        @functools.lru_cache
        def cached(x): return Record(x)

        def outer():
            kept = []
            return lambda: kept

        inner = outer()
        cached(3)
    """
    assert told(plugin_folder({"a.py": dedent(source) + TAIL})) == []


def test_what_a_plugin_has_registered_and_taken_back_is_not_named(plugin_folder):
    """Its teardown undid it."""
    source = dedent("""
        import atexit, os, signal
        from pluginhost import hookimpl
        def mine(*_): pass

        @hookimpl
        def setup():
            global old, where
            where = os.getcwd()
            os.chdir("/")
            atexit.register(mine)
            old = signal.signal(signal.SIGUSR1, mine)

        @hookimpl
        def teardown():
            os.chdir(where)
            atexit.unregister(mine)
            signal.signal(signal.SIGUSR1, old)
    """)
    lines = told(plugin_folder({"a.py": dedent(source) + TAIL}))
    assert [line.split(":")[1].strip() for line in lines] == [
        "working directory",
        "signal handler SIGUSR1",
    ]
    assert all(line.startswith("dirty:") for line in lines)


def test_asking_for_atexit_handlers_takes_none_away():
    """They still run, in their order."""
    program = """
        import atexit
        from pluginhost.host.holders import atexit_callbacks
        def one(): print("one")
        def two(): print("two")
        atexit.register(one)
        atexit.register(two)
        found = atexit_callbacks()
        assert one in found and two in found, found
        assert len(atexit_callbacks()) == len(found)
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)], check=True, capture_output=True, text=True
    )
    assert done.stdout == "two\none\n"


# What loading changes

POLLUTERS = {
    "working directory": "import os; os.chdir('/')",
    "umask": "import os; os.umask(0o027)",
    "environment variable PATH": "import os; os.environ['PATH'] = 'secret'",
    "environment variable MINE": "import os; os.environ['MINE'] = 'secret'",
    "locale": "import locale; locale.setlocale(locale.LC_ALL, 'C.UTF-8')",
    "signal handler SIGTERM": "import signal; signal.signal(signal.SIGTERM, lambda *a: None)",
    "recursion limit": "import sys; sys.setrecursionlimit(12345)",
    "switch interval": "import sys; sys.setswitchinterval(0.1)",
    "sys.path": "import sys; sys.path.insert(0, '/mine')",
    "sys.meta_path": "import sys; sys.meta_path.insert(0, type('F', (), {'find_spec': print})())",
    "module json": "import json, sys, types; sys.modules['json'] = types.ModuleType('json')",
    "builtin open": "import builtins; builtins.open = print",
    "sys.stdout": "import sys; out = sys.stdout; sys.stdout = sys.stderr",
    "sys.excepthook": "import sys; sys.excepthook = print",
    "threading.excepthook": "import threading; threading.excepthook = print",
    "trace function": "import sys; sys.settrace(lambda *a: None)",
    "profile function": "import sys; sys.setprofile(lambda *a: None)",
    "garbage collection": "import gc; gc.disable()",
    "gc.callbacks": "import gc; gc.callbacks.append(lambda *a: None)",
    "warnings filter": "import warnings; warnings.simplefilter('ignore')",
    "logging.disable": "import logging; logging.disable(50)",
    "level of the root logger": "import logging; logging.getLogger().setLevel(10)",
    "handler of the root logger": "import logging; logging.basicConfig()",
    "socket timeout": "import socket; socket.setdefaulttimeout(3)",
}


@pytest.mark.parametrize("what", POLLUTERS)
def test_what_importing_changes_is_named(plugin_folder, what):
    """Each change of what the whole process shares is in `dirty`, and still there afterwards."""
    if what == "umask" and not Path("/proc/self/status").exists():
        pytest.skip("only Linux tells")
    source = POLLUTERS[what] + TAIL
    if what == "sys.stdout":
        source += "@hookimpl\ndef teardown(): sys.stdout = out\n"
    lines = told(plugin_folder({"a.py": source}))
    named = [line for line in lines if line.startswith(f"dirty: {what}")]
    assert named, lines
    assert "secret" not in "".join(lines)
    still = [line.removeprefix("still: ") for line in lines if line.startswith("still: ")]
    assert (named[0].removeprefix("dirty: ") in still) is (what != "sys.stdout")


def test_what_a_failed_import_has_changed_is_named(plugin_folder, make_host, monkeypatch):
    """A plugin that fails half way has changed the process all the same."""
    monkeypatch.setenv("HALF_WAY", "before")
    host = make_host(plugin_folder({"a.py": "import os\nos.environ['HALF_WAY'] = 'x'\n1 / 0\n"}))
    with pytest.raises(PluginLoadError):
        host.load("a")
    assert host.plugins["a"].dirty == ("environment variable HALF_WAY: changed",)


def test_a_clean_plugin_changes_nothing(plugin_folder):
    """Importing modules that nobody had imported is no change."""
    assert told(plugin_folder({"a.py": "import colorsys, csv, sqlite3, xml.dom\n" + TAIL})) == []


# Again and again

SOAK = """
import gc, os, sys, threading
from pluginhost import AnalyticsEngine, PluginHost, observe

def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

host = PluginHost("soak", sources=[sys.argv[1]])
cycles, samples = int(sys.argv[2]), []

def measure(number):
    gc.collect()
    samples.append((number, rss(), len(os.listdir("/proc/self/fd")), threading.active_count(),
                    len(sys.modules), len(gc.get_objects())))

with observe(host, analytics=AnalyticsEngine(max_events=500)) as observation:
    for number in range(cycles):
        if number % (cycles // 20) == 0 and number >= cycles // 4:
            measure(number)
        host.load("a")
        assert host.execute("a", 3) == 9
        assert host.unload("a").survivors == (), host.plugins["a"]
    measure(cycles)
    assert observation.profiler.get_aggregates("a").execution_count == cycles
numbers, sizes = [s[0] for s in samples], [s[1] for s in samples]
mean_n, mean_s = sum(numbers) / len(numbers), sum(sizes) / len(sizes)
slope = sum((n - mean_n) * (s - mean_s) for n, s in zip(numbers, sizes)) / sum(
    (n - mean_n) ** 2 for n in numbers)
print(f"{cycles} cycles: RSS {slope:.0f} B a cycle, objects {samples[0][5]} -> {samples[-1][5]}")
assert len({s[2] for s in samples}) == 1, ("descriptors", samples)
assert len({s[3] for s in samples}) == 1, ("threads", samples)
assert len({s[4] for s in samples}) == 1, ("modules", samples)
assert samples[-1][5] - samples[0][5] < cycles // 10, ("objects", samples)
assert slope < 1024, ("bytes a cycle", slope, samples)
"""

WELL_BEHAVED = """
from pluginhost import hookimpl

class Plugin:
    @hookimpl
    def setup(self): self.factor = 3
    @hookimpl
    def execute(self, payload): return self.factor * payload
    @hookimpl
    def teardown(self): del self.factor
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_five_thousand_lives_leave_nothing(plugin_folder, figure):
    """No thread, descriptor, module or object more, and memory grows by less than 1 KB a cycle."""
    folder = plugin_folder(
        {"a.py": WELL_BEHAVED, "pluginhost.toml": "[plugins.a]\nentry = 'a:Plugin'\n"}
    )
    done = subprocess.run(
        [sys.executable, "-c", SOAK, str(folder), "5000"],
        check=False,
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figure("5000 load/execute/unload cycles", done.stdout.strip())
