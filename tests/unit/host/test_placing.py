"""Who decides where a plugin runs, and what runs there: processes, executors."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

from pluginhost import PluginState, hookspec, observe
from pluginhost.errors import (
    DeadlineExceededError,
    InvalidValueError,
    PluginLoadError,
    PluginStateError,
    RemotePluginError,
    UntrustedPluginError,
    WorkerCrashedError,
)

HEAD = "from pluginhost import hookimpl\n"
PID = HEAD + "import os\n@hookimpl\ndef execute(): return os.getpid()\n"
RAISE = HEAD + "@hookimpl\ndef execute(): raise LookupError('no such thing')\n"
MANIFEST = "[plugins.p]\nrunner = 'process'\n"


@pytest.fixture
def host_of(plugin_folder, make_host):
    """Return a function that makes a host of these files, loaded, which keeps no state."""

    def make(files, **options):
        host = make_host(plugin_folder(files), state_file="", **options)
        host.load_all()
        return host

    return make


@pytest.fixture
def processes():
    """Return a pool of one process that was not forked from this one."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def threads():
    """Return a pool of one thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="pool") as pool:
        yield pool


@pytest.mark.parametrize(
    ("runners", "runner"),
    [
        pytest.param({}, "process", id="manifest"),
        pytest.param({"*": "inline"}, "inline", id="host, for all"),
        pytest.param({"*": "process", "p": "inline"}, "inline", id="host, for this one"),
        pytest.param({"other": "inline"}, "process", id="host, for another"),
    ],
)
def test_who_decides(host_of, runners, runner):
    """What the host says of a plugin goes before what it says of all, and that before the manifest."""
    host = host_of({"p.py": PID, "pluginhost.toml": MANIFEST}, runners=runners)
    assert host.plugins["p"].runner == runner
    assert (host.execute("p") == os.getpid()) == (runner == "inline")


def test_a_runner_that_there_is_not(make_host):
    """The mistake is told when the host is made."""
    with pytest.raises(InvalidValueError, match="no runner 'proces' for 'p'"):
        make_host(runners={"p": "proces"})


def test_a_manifest_with_a_runner_that_there_is_not(host_of):
    """The plugin fails alone."""
    host = host_of({"p.py": PID, "pluginhost.toml": "[plugins.p]\nrunner = 'proces'\n"})
    assert "Invalid enum value 'proces'" in host.plugins["p"].error


def test_setup_execute_teardown_in_one_process(host_of, tmp_path):
    """All three run there, once each, with options and the host's name."""
    text = (
        HEAD
        + f"""
import os
seen = []
@hookimpl
def setup(host): seen.append([host.name, os.getpid()])
@hookimpl
def execute(payload, options): return [*seen, os.getpid(), payload, options]
@hookimpl
def teardown(): open({str(tmp_path / "down")!r}, "w").write(str(os.getpid()))
"""
    )
    host = host_of({"p.py": text}, runners={"*": "process"})
    (name, first), second, payload, options = host.execute("p", [1], size=2)
    assert (name, payload, options) == ("test", [1], {"size": 2})
    assert first == second != os.getpid()
    host.unload("p")
    assert (tmp_path / "down").read_text() == str(first)


def test_asynchronous_plugins_and_callers(host_of):
    """`async def` runs in a loop there, and `aexecute` does not block the loop here."""
    text = f"{HEAD}import asyncio\n@hookimpl\nasync def execute(payload):\n"
    text += "    await asyncio.sleep(0)\n    return payload\n"
    host = host_of({"p.py": text}, runners={"*": "process"})
    assert host.execute("p", 1) == 1

    async def both():
        return await asyncio.gather(host.aexecute("p", 2), host.aexecute("p", 3))

    assert asyncio.run(both()) == [2, 3]


def test_exceptions_arrive_as_words(host_of):
    """With type, message and traceback; records name the plugin's own exception."""
    host = host_of({"p.py": RAISE}, runners={"*": "process"})
    with observe(host) as observation, pytest.raises(RemotePluginError) as caught:
        host.execute("p")
    error = caught.value
    assert (error.error_type, error.error_message) == ("LookupError", "no such thing")
    assert "p.py" in error.remote_traceback
    row = observation.profiler.get_aggregates("p")
    assert row.last_error == "LookupError: no such thing"
    assert row.failure_count == 1


@pytest.mark.parametrize("exit_", ["raise SystemExit(3)", "raise KeyboardInterrupt"])
def test_an_exit_is_an_exception_there(host_of, exit_):
    """It ends neither the process nor the host."""
    host = host_of(
        {"p.py": HEAD + f"@hookimpl\ndef execute(): {exit_}\n"}, runners={"*": "process"}
    )
    pid = host._runners["p"].pid
    with pytest.raises(RemotePluginError):
        host.execute("p")
    assert host._runners["p"].pid == pid


@pytest.mark.parametrize(
    "code", ["host.execute('q')", "host.hook", "import asyncio; asyncio.run(host.aexecute('q'))"]
)
def test_calls_back_are_refused_with_a_remedy(host_of, code):
    """What is not supported says so."""
    text = HEAD + f"@hookimpl\ndef execute(host): {code}\n"
    host = host_of({"p.py": text, "q.py": PID}, runners={"p": "process"})
    with pytest.raises(PluginStateError, match=r"process of its own .* run it inline"):
        host.execute("p")


def test_hooks_of_the_application_are_refused(host_of, make_host, plugin_folder):
    """A plugin that implements one cannot be called through it from there."""

    class Specs:
        @hookspec
        def menu(self):
            """Offer entries."""

    folder = plugin_folder({"p.py": PID + "@hookimpl\ndef menu(): pass\n"})
    host = make_host(folder, runners={"*": "process"}, state_file="")
    host.add_hookspecs(Specs)
    with pytest.raises(PluginLoadError, match="no hooks but 'setup', 'execute' and 'teardown'"):
        host.load("p")


def test_what_is_in_main_cannot_run_elsewhere(make_host):
    """It is told at once."""
    host = make_host("module:__main__:Plugin", runners={"*": "process"}, state_file="")
    with pytest.raises(PluginLoadError, match="the module '__main__'"):
        host.load("Plugin")


def test_the_lock_holds_there_too(plugin_folder, make_host, tmp_path):
    """What is compiled in the process is what was locked."""
    from pluginhost.host.locking import lock_of, write_lock
    from pluginhost.host.sources.folders import FolderSource

    folder = plugin_folder({"p.py": PID})
    write_lock(lock_of(FolderSource(folder).discover())[0], tmp_path / "lock")
    options = {"runners": {"*": "process"}, "state_file": "", "lock": tmp_path / "lock"}
    host = make_host(folder, **options)
    host.load("p")
    assert host.execute("p") != os.getpid()
    pid = host.execute("p")
    plugin_folder({"p.py": PID + "# changed\n"})
    os.kill(pid, 9)
    while host._runners["p"].pid is not None:
        pass
    with pytest.raises(UntrustedPluginError):  # a new process reads the file anew
        host.execute("p")
    with pytest.raises(UntrustedPluginError, match=r"p\.py was changed"):
        make_host(folder, **options).load("p")


def test_reload_runs_what_is_on_disk(host_of, plugin_folder):
    """In a new process."""
    host = host_of({"p.py": PID}, runners={"*": "process"})
    first = host.execute("p")
    plugin_folder({"p.py": PID.replace("os.getpid()", "[os.getpid()]")})
    host.reload("p")
    assert host.execute("p") != [first]
    assert isinstance(host.execute("p"), list)


def test_a_forked_child_has_processes_of_its_own(host_of):
    """And leaves the parent's alone."""
    host = host_of({"p.py": PID}, runners={"*": "process"})
    pid = host.execute("p")
    child = os.fork()
    if not child:
        try:
            own = host.execute("p")
            host.close()
            os._exit(0 if own != pid else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert host.execute("p") == pid


def test_threads_of_an_executor(host_of, threads):
    """The plugin is the host's own object, and its exceptions are the very objects."""
    name = f"{HEAD}import threading\n@hookimpl\ndef execute():\n"
    name += "    return threading.current_thread().name\n"
    host = host_of({"p.py": name, "q.py": RAISE}, runners={"*": threads})
    with observe(host) as observation:
        assert host.execute("p").startswith("pool")
        with pytest.raises(LookupError):
            host.execute("q")
        assert observation.profiler.get_aggregates("p").exact_count == 1
    assert host.plugins["p"].runner == "executor"


def test_a_deadline_in_an_executor_stops_nothing(host_of, threads):
    """The caller is told that it goes on; one that was not begun never is."""
    import sys
    import types

    module = types.ModuleType("placing_gate")
    module.gate = threading.Event()
    sys.modules["placing_gate"] = module
    text = HEAD + "@hookimpl\ndef execute():\n    from placing_gate import gate; gate.wait()\n"
    try:
        host = host_of({"p.py": text}, runners={"*": threads}, drain_seconds=0.0)
        with pytest.raises(DeadlineExceededError, match="goes on in the executor"):
            host.execute("p", deadline=0.05)
        with pytest.raises(DeadlineExceededError, match="never begun"):
            host.execute("p", deadline=0.05)
        assert host._runners["p"].abandoned == ("1 executions in the ThreadPoolExecutor",)
    finally:
        module.gate.set()
        del sys.modules["placing_gate"]


def test_processes_of_an_executor(host_of, processes):
    """They import the plugin themselves; what is raised there arrives as words."""
    host = host_of({"p.py": PID, "q.py": RAISE, "r.py": HEAD}, runners={"*": processes})
    with observe(host) as observation:
        assert host.execute("p") != os.getpid()
        with pytest.raises(RemotePluginError, match="LookupError: no such thing"):
            host.execute("q")
        (first,) = observation.profiler.get_history("p")
        assert first.exact
        assert first.rss_bytes is None
    assert host.plugins["r"].state is PluginState.FAILED
    assert "implements no hook" in host.plugins["r"].error


def test_an_executor_that_is_broken(host_of, processes):
    """It says so, for every plugin that runs in it: that is what such a pool does."""
    text = HEAD + "import os\n@hookimpl\ndef execute(): os._exit(1)\n"
    host = host_of({"p.py": text, "q.py": PID}, runners={"*": processes})
    for plugin_id in ("p", "q"):
        with pytest.raises(WorkerCrashedError, match="the ProcessPoolExecutor it runs in"):
            host.execute(plugin_id)
