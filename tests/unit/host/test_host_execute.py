"""Running plugins through the host: from sync and async code, with deadlines, one of many."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import threading

import pluggy
import pytest

from pluginhost import hookimpl
from pluginhost.errors import (
    DeadlineExceededError,
    InvalidValueError,
    PluginNotFoundError,
    PluginStateError,
)

HEAD = "from pluginhost import hookimpl\n@hookimpl\n"
ECHO = HEAD + "def execute(payload): return payload\n"
AECHO = "import asyncio\n" + HEAD + (
    "async def execute(payload):\n    await asyncio.sleep(0)\n    return payload\n"
)  # fmt: skip
RAISING = HEAD + "def execute(payload): raise payload\n"
ARAISING = HEAD + "async def execute(payload): raise payload\n"


@pytest.fixture
def host_with(plugin_folder, make_host):
    """Return a function that loads one plugin 'p' from source and returns its host."""

    def load(source):
        host = make_host(plugin_folder({"p.py": source}))
        host.load("p")
        return host

    return load


def synchronously(host, *args, **kwargs):
    """Execute from plain code."""
    return host.execute(*args, **kwargs)


def asynchronously(host, *args, **kwargs):
    """Execute from a coroutine on a loop of its own."""
    return asyncio.run(host.aexecute(*args, **kwargs))


both_ways = pytest.mark.parametrize("run", [synchronously, asynchronously])
both_kinds = pytest.mark.parametrize("source", [ECHO, AECHO], ids=["sync", "async"])


@both_kinds
@both_ways
@pytest.mark.parametrize("deadline", [None, 30])
def test_the_result_is_the_plugins(host_with, run, source, deadline):
    """The very object that the plugin returned, whichever way it was asked for."""
    payload = object()
    assert run(host_with(source), "p", payload, deadline=deadline) is payload


@both_kinds
@both_ways
@pytest.mark.parametrize("value", [None, False, 0, ""])
def test_nothing_is_a_result_too(host_with, run, source, value):
    """A result that is false or None comes back as it is."""
    assert run(host_with(source), "p", value) is value


class Boom(Exception):
    """Something that a plugin raises."""


@both_ways
@pytest.mark.parametrize("source", [RAISING, ARAISING], ids=["sync", "async"])
@pytest.mark.parametrize("deadline", [None, 30])
@pytest.mark.parametrize(
    "kind",
    [Boom, KeyError, TimeoutError, concurrent.futures.CancelledError, SystemExit, ExceptionGroup],
    ids=lambda kind: kind.__name__,
)
def test_exceptions_pass_through(host_with, run, source, deadline, kind):
    """The same object, with the plugin's own frame in its traceback."""
    error = kind("several", [Boom()]) if kind is ExceptionGroup else kind("reason")
    with pytest.raises(kind) as caught:
        run(host_with(source), "p", error, deadline=deadline)
    assert caught.value is error
    assert caught.traceback[-1].path.name == "p.py"


def test_stop_iteration_passes_through(host_with):
    """It means something to Python, and nothing to us."""
    error = StopIteration(7)
    with pytest.raises(StopIteration) as caught:
        host_with(RAISING).execute("p", error)
    assert caught.value is error


@pytest.mark.parametrize("source", [RAISING, ARAISING], ids=["sync", "async"])
def test_stop_iteration_in_a_coroutine(host_with, source):
    """Python makes a `RuntimeError` of it there; what matters is that the caller is not stuck."""

    async def main(host, error):
        await asyncio.wait_for(host.aexecute("p", error), 30)

    error = StopIteration(7)
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        asyncio.run(main(host_with(source), error))
    assert caught.value.__cause__ is error


def test_the_plugin_is_told_what_was_asked(host_with):
    """Payload, options and host arrive by the names that the plugin uses."""
    host = host_with(HEAD + "def execute(host, options, payload): return host, options, payload\n")
    assert host.execute("p", 1, size=2) == (host, {"size": 2}, 1)


def test_options_may_have_any_name(host_with):
    """Those of the host's own parameters too, except the deadline."""
    host = host_with(HEAD + "def execute(options): return options\n")
    options = {"payload": 1, "plugin_id": 2, "self": 3, "host": 4}
    assert host.execute("p", **options) == options
    assert asyncio.run(host.aexecute("p", **options)) == options


def test_the_payload_may_be_left_out(host_with):
    """It is None then."""
    assert host_with(ECHO).execute("p") is None


def test_a_synchronous_plugin_does_not_block_the_loop(host_with):
    """Awaited, it runs in a worker thread while the loop goes on."""
    host = host_with(HEAD + "def execute(payload):\n    return payload.wait(30)\n")
    event = threading.Event()

    async def main():
        waiting = asyncio.ensure_future(host.aexecute("p", event))
        await asyncio.sleep(0)
        event.set()
        return await waiting

    assert asyncio.run(main()) is True


def test_awaited_executions_run_side_by_side(host_with):
    """Each of an asynchronous plugin's executions may wait for the other."""
    host = host_with(
        HEAD + "async def execute(payload):\n    mine, other = payload\n    mine.set()\n"
        "    await other.wait()\n    return True\n"
    )

    async def main():
        one, two = asyncio.Event(), asyncio.Event()
        return await asyncio.wait_for(
            asyncio.gather(host.aexecute("p", (one, two)), host.aexecute("p", (two, one))), 30
        )

    assert asyncio.run(main()) == [True, True]


def test_cancelling_an_awaited_execution_cancels_the_plugin(host_with):
    """The plugin sees the cancellation, and the caller gets it back."""
    host = host_with(
        "import asyncio\n" + HEAD + "async def execute(payload):\n"
        "    try:\n        await asyncio.Event().wait()\n"
        "    except asyncio.CancelledError:\n        payload.append('cancelled')\n        raise\n"
    )
    seen = []

    async def main():
        waiting = asyncio.ensure_future(host.aexecute("p", seen))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await waiting

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert seen == ["cancelled"]


@pytest.mark.parametrize("deadline", [None, 30])
def test_an_asynchronous_plugin_does_not_run_inside_a_loop(host_with, deadline):
    """`execute` in a coroutine would block the loop: the error names what to use instead."""
    host = host_with(AECHO)

    async def main():
        host.execute("p", 1, deadline=deadline)

    with pytest.raises(PluginStateError, match="event loop is running") as caught:
        asyncio.run(main())
    assert "await host.aexecute" in str(caught.value)


RETURNS_AWAITABLES = (
    HEAD
    + """
def execute(payload):
    async def later():
        if payload == "wait": await asyncio.sleep(3600)
        return payload, threading.current_thread() is threading.main_thread()
    class Own:
        def __await__(self): return later().__await__()
    return Own() if payload == "own" else later()
"""
)


@pytest.mark.parametrize("payload", ["coroutine", "own"])
@pytest.mark.parametrize("deadline", [None, 30])
def test_what_a_plain_function_returns_is_awaited(host_with, payload, deadline):
    """In the loop of the caller, though nobody could see that the function is asynchronous."""
    host = host_with("import asyncio, threading\n" + RETURNS_AWAITABLES)
    assert asynchronously(host, "p", payload, deadline=deadline) == (payload, True)


def test_awaiting_it_has_what_is_left_of_the_deadline(host_with):
    """It is cancelled like any other."""
    host = host_with("import asyncio, threading\n" + RETURNS_AWAITABLES)
    with pytest.raises(DeadlineExceededError, match="it was cancelled"):
        asynchronously(host, "p", "wait", deadline=0.1)


@pytest.mark.parametrize("runner", ["process", "executor"])
@both_ways
def test_it_is_awaited_elsewhere_too(plugin_folder, make_host, runner, run):
    """In a process of its own, and in an executor, where a coroutine would be of no use."""
    source = (
        HEAD + "def execute(payload):\n    async def later(): return payload\n    return later()\n"
    )
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        host = make_host(
            plugin_folder({"p.py": source}),
            runners={"p": pool if runner == "executor" else runner},
            state_file="",
        )
        host.load("p")
        assert run(host, "p", 7) == 7
        host.close()


@both_ways
def test_a_deadline_that_passes(host_with, run):
    """The caller is back, the error says who, and the thread that goes on is named."""
    host = host_with(HEAD + "def execute(payload): payload.wait()\n")
    event = threading.Event()
    try:
        with pytest.raises(DeadlineExceededError) as caught:
            run(host, "p", event, deadline=0.02)
        assert (caught.value.plugin_id, caught.value.hook) == ("p", "execute")
        assert host._runners["p"].abandoned == ("pluginhost-p",)
    finally:
        event.set()


@both_ways
def test_a_deadline_cancels_what_can_be_cancelled(host_with, run):
    """An asynchronous plugin is stopped at the deadline, and nothing goes on."""
    host = host_with(
        "import asyncio\n" + HEAD + "async def execute(payload):\n"
        "    try:\n        await asyncio.Event().wait()\n"
        "    finally:\n        payload.set()\n"
    )
    ended = threading.Event()
    with pytest.raises(DeadlineExceededError):
        run(host, "p", ended, deadline=0.02)
    assert ended.wait(30)


@both_kinds
@both_ways
@pytest.mark.parametrize(
    "deadline",
    [
        pytest.param(math.nan, id="nan"),
        pytest.param(math.inf, id="infinite"),
        pytest.param(-1, id="negative"),
        pytest.param(-0.001, id="barely-negative"),
        pytest.param(1e12, id="absurd"),
        pytest.param(True, id="bool"),
    ],
)
def test_deadlines_that_make_no_sense(host_with, run, source, deadline):
    """They are refused before anything runs, with the range that is allowed."""
    with pytest.raises(InvalidValueError) as caught:
        run(host_with(source), "p", 1, deadline=deadline)
    assert repr(deadline) in caught.value.message
    assert "between 0 and" in caught.value.remedy


@both_ways
def test_what_is_not_loaded_says_what_to_do(plugin_folder, make_host, run):
    """Found but not loaded, unloaded, without `execute`: each has its remedy."""
    host = make_host(
        plugin_folder({"found.py": ECHO, "gone.py": ECHO, "mute.py": HEAD + "def setup(): pass\n"})
    )
    host.load("gone")
    host.unload("gone")
    host.load("mute")
    remedies = {}
    for plugin_id in ("found", "gone", "mute"):
        with pytest.raises(PluginStateError) as caught:
            run(host, plugin_id)
        remedies[plugin_id] = caught.value.message, caught.value.remedy
    assert remedies == {
        "found": ("it is discovered", "call load('found') first"),
        "gone": ("it is unloaded", "call load('gone') first"),
        "mute": ("it has no 'execute'", "implement the hook 'execute' in it"),
    }


@both_ways
def test_an_unknown_plugin_is_suggested(host_with, run):
    """Executing what is not there suggests what is."""
    with pytest.raises(PluginNotFoundError, match="did you mean 'p'"):
        run(host_with(ECHO), "pp")


def test_while_it_is_loaded_or_unloaded(host_with, monkeypatch):
    """In between, the caller is told to come back, whatever the state shows by then."""
    host = host_with(ECHO)
    monkeypatch.setattr(host, "_runners", {})  # as in the moment before a load is complete
    with pytest.raises(PluginStateError) as caught:
        host.execute("p")
    assert "try again" in caught.value.remedy


def test_a_plugin_may_run_another(plugin_folder, make_host):
    """Through the host that it is given."""
    host = make_host(
        plugin_folder(
            {
                "inner.py": HEAD + "def execute(payload): return payload + 1\n",
                "outer.py": HEAD
                + "def execute(payload, host): return host.execute('inner', payload) * 2\n",
            }
        )
    )
    host.load_all()
    assert host.execute("outer", 20) == 42


def test_one_of_two_hundred(plugin_folder, make_host):
    """Executing a plugin calls its own implementation and none of the other 199."""
    counting = (
        "CALLS = []\n" + HEAD + "def execute(payload):\n    CALLS.append(1)\n    return CALLS\n"
    )
    names = [f"p{i:03}" for i in range(200)]
    host = make_host(plugin_folder({f"{name}.py": counting for name in names}))
    host.load_all()
    modules = {name: host.manager.get_plugin(name) for name in names}
    for _ in range(3):
        assert host.execute("p123") is modules["p123"].CALLS
    assert {name: len(module.CALLS) for name, module in modules.items() if module.CALLS} == {
        "p123": 3
    }


def test_a_wrapper_on_the_lifecycle_sees_every_execution(host_with):
    """Whoever wants to look on wraps the host's step, with the plugin's id as an argument."""
    seen = []

    class Onlooker:
        @hookimpl(wrapper=True)
        def pluginhost_execute(self, plugin_id, task):
            seen.append((plugin_id, task.payload))
            return (yield)

    host = host_with(ECHO)
    host.lifecycle.register(Onlooker())
    assert host.execute("p", 5) == 5
    assert seen == [("p", 5)]


def test_the_hook_call_is_pluggys_own(host_with):
    """The step is a plain pluggy hook of a public specification."""
    host = host_with(ECHO)
    assert isinstance(host.lifecycle, pluggy.PluginManager)
    assert host.lifecycle.hook.pluginhost_execute.spec.opts["firstresult"]
