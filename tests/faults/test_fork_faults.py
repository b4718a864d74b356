"""A child process has the locks of its parent as they were, without the threads that had them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

PRELUDE = """
import faulthandler, gc, os, signal, sys, tempfile, threading, time, types
from pathlib import Path
import pluggy
from pluginhost import AnalyticsEngine, AnalyticsEvent, Inside, PluginHost, Profiler, observe
from pluginhost.errors import PluginLoadError
from pluginhost.recording import Recorder

folder = Path(sys.argv[1])
PLUGIN = "from pluginhost import hookimpl\\n@hookimpl\\ndef execute(): ...\\n"
(folder / "work.py").write_text(PLUGIN)
made = threading.Event()

def fork_while(another_thread, child, afterwards=lambda: None):
    "Print how a child process ends that calls `child()`, made once that thread has set `made`."
    threading.Thread(target=another_thread, daemon=True).start()
    made.wait()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            faulthandler.register(signal.SIGALRM, chain=True)
            signal.alarm(20)  # one that hangs is killed by it, and says where
            child()
            code = 0
        except BaseException:
            import traceback
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    print("the child ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    afterwards()
    os._exit(0)
"""

LOCKS = """
KINDS = type(threading.Lock()), type(threading.RLock())

def locks_of(*roots):
    "Return all locks that can be reached from these, and from the modules of pluginhost."
    queue = [*roots, *(m for name, m in sys.modules.items() if name.startswith("pluginhost"))]
    seen, locks = {}, []
    while queue:
        found = queue.pop()
        if id(found) in seen or isinstance(found, (threading.Thread, types.FrameType, type)):
            continue
        seen[id(found)] = found
        if isinstance(found, KINDS):
            locks.append(found)
        elif isinstance(found, types.ModuleType):
            if found.__name__.startswith("pluginhost"):
                queue += vars(found).values()
        elif isinstance(found, types.FunctionType):
            queue += found.__closure__ or ()
        else:
            queue += gc.get_referents(found)
    return locks

def hold(*roots):
    def held():
        taken = [lock.acquire(blocking=False) for lock in locks_of(*roots)]
        print(sum(taken), "locks held,", end=" ")
        made.set()
        time.sleep(3600)
    return held
"""

HOST = """
runners = {{"work": "process"}} if {remote} else {{}}
host = PluginHost("test", sources=[folder], runners=runners, state_file="", track_resources=True)
host.load_all()
observation = observe(host, {options})
for _ in range(5):
    host.execute("work")
observation.report()

def child():
    host.execute("work")
    observation.report()
    observation.performance_report()
    host.reload("work")
    host.unload("work")
    host.load("work")
    observation.close()
    with observe(host, {options}) as again:
        host.execute("work")
        assert again.profiler.get_aggregates("work").execution_count == 1
        again.report()
    host.close()

fork_while(hold(host, observation), child)
"""

MANAGER = """
class Spec:
    @pluggy.HookspecMarker("test")
    def work(self): ...
    @pluggy.HookspecMarker("test")
    def other(self): ...
class Plugin:
    @pluggy.HookimplMarker("test")
    def work(self): ...
    @pluggy.HookimplMarker("test")
    def other(self): ...

manager = pluggy.PluginManager("test")
manager.add_hookspecs(Spec)
manager.register(Plugin())
"""

OBSERVED = """
observation = observe(manager)
manager.hook.work()

def child():
    manager.hook.work()
    manager.hook.other()
    import this_module_is_new
    observation.report()
    observation.performance_report()
    observation.close()
    with observe(manager) as again:
        manager.hook.other()
        again.report()

(folder / "this_module_is_new.py").touch()
sys.path.insert(0, str(folder))
fork_while(hold(observation), child)
"""

RECORDED = """
recorder = Recorder(fixtures=True)
recorder.watch(manager)
recorder.start()
manager.hook.work()

def child():
    before = recorder.capture().record_count
    manager.hook.work()
    manager.hook.other()
    assert recorder.capture().record_count >= before + 2
    recorder.close()

fork_while(hold(recorder), child)
"""

BY_HAND = """
profiler, analytics = Profiler(), AnalyticsEngine()

def record():
    profiler.record_execution("work", 0.1, success=True)
    now_ns = time.time_ns()
    analytics.record_event(
        AnalyticsEvent(kind="plugin_execute", plugin_id="work", timestamp_ns=now_ns)
    )

def child():
    assert profiler.get_aggregates("work").execution_count == 1
    record()
    profiler.record_execution("other", 0.1, success=True)
    assert profiler.get_aggregates("work").execution_count == 2
    assert analytics.report().plugins

record()
fork_while(hold(profiler, analytics), child)
"""


@pytest.fixture
def ending(tmp_path):
    """Return a function that runs a program and returns what it said, and what went wrong."""

    def run(program: str) -> tuple[str, str]:
        code = PRELUDE + program
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, str(tmp_path)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout, done.stderr[-3000:]

    return run


@pytest.mark.parametrize(
    ("program", "fewest"),
    [
        pytest.param(HOST.format(options="", remote=False), 16, id="plain"),
        pytest.param(HOST.format(options="", remote=True), 22, id="process"),
        pytest.param(HOST.format(options="anomalies=True", remote=False), 17, id="anomalies"),
        pytest.param(
            HOST.format(options="history=f'{folder}/history.db'", remote=False), 19, id="history"
        ),
        pytest.param(HOST.format(options="inside=Inside('work')", remote=False), 17, id="inside"),
        pytest.param(BY_HAND, 7, id="by hand"),
        pytest.param(MANAGER + OBSERVED, 10, id="manager"),
        pytest.param(MANAGER + RECORDED, 5, id="recorder"),
    ],
)
def test_a_child_waits_for_no_lock_of_ours(ending, program, fewest):
    """Another thread has every lock there is when the process forks, and none comes back."""
    said, error = ending(LOCKS + program)
    held, _, end = said.partition(" locks held, ")
    assert end == "the child ended with 0\n", error
    assert int(held) >= fewest


TEMPORARY = """
(folder / "other.py").write_text(PLUGIN)
host = PluginHost("test", sources=[folder], runners={"other": "process"}, state_file="")
host.load_all()

def child():
    for name in ("work", "other"):
        host.execute(name)
        host.unload(name)
        host.load(name)
    host.close()

def default():
    made.set()
    time.sleep(3600)

tempfile.tempdir, tempfile._get_default_tempdir = None, default
fork_while(tempfile.gettempdir, child)
"""

IMPORTING = """
sys.path.insert(0, str(folder))
sys.made = made
(plugins := folder / "plugins").mkdir()
(folder / "work.py").rename(plugins / "work.py")
(folder / "slow.py").write_text("import sys, time\\nsys.made.set()\\ntime.sleep(3600)\\n" + PLUGIN)
host = PluginHost("test", sources=["module:slow", plugins], load_deadline={deadline})

def child():
    assert host.plugins["slow"].state == "failed"
    try:
        host.load("slow")
    except PluginLoadError as error:
        assert "was importing it when this process was forked" in str(error), error
    else:
        raise AssertionError("it has loaded half a module")
    host.load("work")
    host.execute("work")

fork_while(lambda: host.load("slow"), child)
"""


UNLOADING = """
sys.made = made
TEARDOWN = "@hookimpl\\ndef teardown(): "
(folder / "work.py").write_text(PLUGIN + TEARDOWN + "import sys, time; sys.made.set(); time.sleep(9)")
host = PluginHost("test", sources=[folder], state_file="")
host.load_all()

def unloading():
    with host._catalogue.records["work"].runner._lock:  # as when it is asked for what it left behind
        host.unload("work")

def child():
    assert host.plugins["work"].state == "failed"
    host.load("work")
    host.execute("work")

fork_while(unloading, child)
"""

ENDING = """
begun, ended = folder / "begun", folder / "ended"
TEARDOWN = f"@hookimpl\\ndef teardown(): import time, pathlib; pathlib.Path({str(begun)!r}).touch(); "
TEARDOWN += f"time.sleep(1); pathlib.Path({str(ended)!r}).touch()"
(folder / "work.py").write_text(PLUGIN + TEARDOWN)
host = PluginHost("test", sources=[folder], runners={"work": "process"}, state_file="")
host.load_all()
unloading = threading.Thread(target=lambda: host.unload("work"))

def watching():
    unloading.start()
    while not begun.exists():
        time.sleep(0.01)
    made.set()

def child():
    assert host.plugins["work"].state == "failed"

def afterwards():
    unloading.join()
    print(ended.exists(), host.plugins["work"].state, flush=True)  # `_exit` writes nothing

fork_while(watching, child, afterwards)
"""


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="uses temporary files")
def test_a_child_needs_no_temporary_file(ending):
    """The first to ask where they go holds a lock of Python's own, which a child waits for in vain."""
    assert ending(TEMPORARY) == ("the child ended with 0\n", "")


@pytest.mark.parametrize("deadline", [None, 600])
def test_what_another_thread_was_importing_is_refused(ending, deadline):
    """Python never gives the lock of that module back; with some luck, half of it could be had."""
    assert ending(IMPORTING.format(deadline=deadline)) == ("the child ended with 0\n", "")


def test_what_another_thread_was_unloading_is_let_go(ending):
    """Whatever lock of its runner that thread had."""
    assert ending(UNLOADING) == ("the child ended with 0\n", "")


def test_a_process_that_is_being_ended_is_the_parents(ending):
    """The child lets go of it; the plugin goes on with its teardown."""
    assert ending(ENDING) == ("the child ended with 0\nTrue unloaded\n", "")
