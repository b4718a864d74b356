"""Running one implementation: in the calling thread, under a deadline, on an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import threading
import time
import weakref

import pytest

from pluginhost.errors import DeadlineExceededError, PluginStateError
from pluginhost.hookspecs import Task
from pluginhost.host.runners import Runner
from pluginhost.host.runners.inline import InlineRunner

SOON = 0.02
"""A deadline in seconds for what never returns by itself."""

AMPLE = 30.0
"""A deadline in seconds for what returns at once."""


def runner_of(function, *, is_async=False):
    """Return a runner of `function(payload)`."""
    return InlineRunner("p", lambda task: function(task.payload), is_async=is_async)


def task(payload=None, *, deadline=None):
    """Return a task as the host makes it."""
    return Task(run=None, payload=payload, options={}, host=None, deadline=deadline)


def wait_until(condition):
    """Wait until something that is bound to happen has happened."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen within 30 s")


@pytest.fixture
def gate():
    """Return an event that executions wait for; it is set in the end, so that no thread stays."""
    event = threading.Event()
    before = set(threading.enumerate())
    yield event
    event.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(30)


class Boom(Exception):
    """Something that a plugin raises."""


def raise_boom(payload):
    """Raise the payload."""
    raise payload


def test_a_runner_is_a_runner():
    """The inline runner has all that the protocol asks for."""
    runner: Runner = runner_of(str)
    assert {"is_async", "run", "run_with_deadline", "arun"} <= set(dir(runner))


def test_without_a_deadline_it_runs_in_the_calling_thread():
    """There is nothing between the caller and the implementation."""
    runner = runner_of(lambda _: threading.current_thread())
    assert runner.run(task()) is threading.current_thread()


def test_with_a_deadline_it_runs_in_a_thread_that_says_whose():
    """The thread is named for the plugin, and does not keep the program from ending."""
    thread = runner_of(lambda _: threading.current_thread()).run_with_deadline(task(deadline=AMPLE))
    assert thread is not threading.current_thread()
    assert thread.name == "pluginhost-p"
    assert thread.daemon


def test_the_thread_sees_the_callers_context():
    """Context variables are read as the caller set them."""
    variable = contextvars.ContextVar("variable", default="default")
    variable.set("caller's")
    runner = runner_of(lambda _: variable.get())
    assert runner.run_with_deadline(task(deadline=AMPLE)) == "caller's"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Boom(), id="own"),
        pytest.param(SystemExit(3), id="exit"),
        pytest.param(KeyboardInterrupt(), id="interrupt"),
        pytest.param(TimeoutError("the plugin's own"), id="timeout"),
        pytest.param(StopIteration(7), id="stop-iteration"),
    ],
)
def test_exceptions_pass_through_a_deadline(error):
    """Whatever is raised in the thread is raised to the caller, the same object."""
    with pytest.raises(type(error)) as caught:
        runner_of(raise_boom).run_with_deadline(task(error, deadline=AMPLE))
    assert caught.value is error


def test_exceptions_do_not_linger():
    """Once an exception has been handled it is freed, with all that its frames hold."""

    def fail(payload):
        raise Boom

    gc.collect()
    gc.disable()
    try:
        try:
            runner_of(fail).run_with_deadline(task(deadline=AMPLE))
        except Boom as error:
            watched = weakref.ref(error)
        wait_until(lambda: watched() is None)  # the thread may need a moment to end
    finally:
        gc.enable()


def test_the_caller_gets_back_at_the_deadline(gate):
    """The error is both ours and a `TimeoutError`, and says what goes on."""
    runner = runner_of(lambda _: gate.wait())
    with pytest.raises(DeadlineExceededError, match=r"within 0.02 s") as caught:
        runner.run_with_deadline(task(deadline=SOON))
    assert isinstance(caught.value, TimeoutError)
    assert "cannot be stopped" in caught.value.message
    assert (caught.value.plugin_id, caught.value.hook) == ("p", "execute")


def test_what_overran_is_named_while_it_runs(gate):
    """Each abandoned thread is listed until it ends by itself."""
    runner = runner_of(lambda _: gate.wait())
    assert runner.abandoned == ()
    for _ in range(3):
        with pytest.raises(DeadlineExceededError):
            runner.run_with_deadline(task(deadline=SOON))
    assert runner.abandoned == ("pluginhost-p",) * 3
    gate.set()
    wait_until(lambda: runner.abandoned == ())


def test_finished_threads_are_not_kept(gate):
    """A host that never asks for `abandoned` does not gather dead threads either."""
    runner = runner_of(lambda _: gate.wait())
    with pytest.raises(DeadlineExceededError):
        runner.run_with_deadline(task(deadline=SOON))
    (first,) = (weakref.ref(thread) for thread in runner._abandoned)
    gate.set()
    wait_until(lambda: first() is None or not first().is_alive())
    gate.clear()
    with pytest.raises(DeadlineExceededError):
        runner.run_with_deadline(task(deadline=SOON))
    gc.collect()
    assert first() is None


def test_an_interrupted_wait_still_counts_the_thread(gate, monkeypatch):
    """Ctrl-C while waiting leaves the work running, and it is named."""
    join, waited = threading.Thread.join, []

    def interrupted(thread, timeout=None):
        if thread.name == "pluginhost-p" and not waited:
            waited.append(thread)
            raise KeyboardInterrupt
        join(thread, timeout)

    runner = runner_of(lambda _: gate.wait())
    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.run_with_deadline(task(deadline=AMPLE))
    assert runner.abandoned == ("pluginhost-p",)


async def double(payload):
    """Return twice the payload, a moment later."""
    await asyncio.sleep(0)
    return payload * 2


def test_an_asynchronous_one_gets_a_loop():
    """Without a running loop, `run` makes one."""
    assert runner_of(double, is_async=True).run(task(21)) == 42


def test_an_asynchronous_one_under_a_deadline():
    """It returns its result if it makes it."""
    runner = runner_of(double, is_async=True)
    assert runner.run_with_deadline(task(21, deadline=AMPLE)) == 42


@pytest.mark.parametrize("deadline", [None, AMPLE])
def test_a_running_loop_is_refused(deadline):
    """Blocking the loop is never what was meant: the error says what to use."""
    runner = runner_of(double, is_async=True)

    async def main():
        run = runner.run if deadline is None else runner.run_with_deadline
        run(task(21, deadline=deadline))

    with pytest.raises(PluginStateError, match="an event loop is running") as caught:
        asyncio.run(main())
    assert "await host.aexecute" in caught.value.remedy


def test_an_awaited_one_is_cancelled_at_the_deadline():
    """The coroutine is told, may clean up, and the error says so."""
    seen = []

    async def endless(payload):
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cleaned up")

    runner = runner_of(endless, is_async=True)
    with pytest.raises(DeadlineExceededError, match="it was cancelled"):
        asyncio.run(runner.arun(task(deadline=SOON)))
    assert seen == ["cleaned up"]
    assert runner.abandoned == ()


def test_an_asynchronous_one_is_cancelled_without_a_loop_too():
    """`run_with_deadline` cancels it like `arun`: no thread goes on in the background."""
    seen = []

    async def endless(payload):
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cleaned up")

    runner = runner_of(endless, is_async=True)
    with pytest.raises(DeadlineExceededError):
        runner.run_with_deadline(task(deadline=SOON))
    wait_until(lambda: seen == ["cleaned up"])
    wait_until(lambda: runner.abandoned == ())


@pytest.mark.parametrize("awaited", [True, False], ids=["awaited", "run"])
@pytest.mark.parametrize("again", [True, False], ids=["each", "once"])
def test_a_cancellation_that_is_swallowed(awaited, again):
    """The caller is back all the same, and the coroutine is not driven any further."""
    seen = []

    async def stubborn(payload):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("cancelled")
        while again:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                seen.append("again")
        try:
            await asyncio.sleep(3600)
        finally:
            seen.append("left")

    runner = runner_of(stubborn, is_async=True)

    async def main():
        await asyncio.wait_for(runner.arun(task(deadline=SOON)), 30)

    with pytest.raises(DeadlineExceededError, match="it was cancelled"):
        asyncio.run(main()) if awaited else runner.run_with_deadline(task(deadline=SOON))
    assert seen == (["cancelled"] if again else ["cancelled", "left"])
    wait_until(lambda: runner.abandoned == ())


def test_a_deadline_does_not_get_in_the_way_of_awaiting():
    """Futures, tasks, timeouts and groups inside the plugin work as without a deadline."""

    async def busy(payload):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(double(i)) for i in range(3)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        future = asyncio.get_running_loop().create_future()
        future.set_result(7)
        return [t.result() for t in tasks], await future, await asyncio.to_thread(sum, [1, 2])

    runner = runner_of(busy, is_async=True)
    assert asyncio.run(runner.arun(task(deadline=AMPLE))) == ([0, 2, 4], 7, 3)


def test_cancelling_from_outside_is_no_deadline():
    """A caller that is cancelled itself gets its cancellation, and so does the plugin."""
    seen = []

    async def endless(payload):
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cleaned up")

    async def main():
        running = asyncio.ensure_future(
            runner_of(endless, is_async=True).arun(task(deadline=AMPLE))
        )
        await asyncio.sleep(0.01)
        running.cancel()
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert seen == ["cleaned up"]


def test_an_asynchronous_one_that_blocks_is_abandoned(gate):
    """What never lets go of the loop cannot be cancelled: the caller returns all the same."""

    async def blocking(payload):
        gate.wait()

    runner = runner_of(blocking, is_async=True)
    with pytest.raises(DeadlineExceededError, match="goes on in the background"):
        runner.run_with_deadline(task(deadline=SOON))
    assert runner.abandoned == ("pluginhost-p",)


@pytest.mark.parametrize("deadline", [None, AMPLE])
@pytest.mark.parametrize(
    "error", [pytest.param(Boom(), id="own"), pytest.param(TimeoutError("own"), id="timeout")]
)
def test_exceptions_pass_through_the_loop(error, deadline):
    """Also one that looks like a deadline, but is the plugin's."""

    async def failing(payload):
        raise error

    with pytest.raises(type(error)) as caught:
        asyncio.run(runner_of(failing, is_async=True).arun(task(deadline=deadline)))
    assert caught.value is error


@pytest.mark.parametrize("deadline", [None, AMPLE])
def test_a_decorator_may_have_run_the_coroutine(deadline):
    """What looks asynchronous but returns a plain result is taken at its result."""

    @functools.wraps(double)
    def synchronous(payload):
        return payload * 2

    runner = runner_of(synchronous, is_async=True)
    assert asyncio.run(runner.arun(task(21, deadline=deadline))) == 42
    assert runner.run(task(21)) == 42
