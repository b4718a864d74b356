"""Asynchronous executions: wall time over the await, CPU only while they run."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pluginhost import Event, PluginHost, Profiler, Status, hookimpl, observe
from pluginhost.bus import EventBus
from pluginhost.instrumentation.async_executions import timed_awaitable
from pluginhost.instrumentation.nesting import frame_variable
from pluginhost.instrumentation.sampling import Sampler

HostOf = Callable[..., PluginHost]
EventsOf = Callable[..., Callable[[], list[Event]]]

RATES = pytest.mark.parametrize("rate", [0.0, 1.0], ids="sampled {}".format)


class Awaits:
    """Awaits what its payload returns."""

    @hookimpl
    async def execute(self, payload: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return await payload()


def _burn(seconds: float) -> None:
    """Use that much CPU time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class Pause:
    """Suspends a coroutine until it is sent something."""

    def __await__(self) -> Generator[str, Any, Any]:
        return (yield "paused")


# Time


@RATES
def test_duration_is_from_the_first_step_to_the_last(
    host_of: HostOf, timed_bus: Any, events_of: EventsOf, clock: Any, rate: float
) -> None:
    """The time between the steps counts, that before the first and after the last does not."""

    async def work() -> None:
        clock.advance(5)
        await Pause()
        clock.advance(7)

    host = host_of(a=Awaits())
    bus = timed_bus(host, rate=rate)
    events = events_of(bus)
    coroutine = host.aexecute("a", work)
    clock.advance(1_000)
    assert coroutine.send(None) == "paused"
    clock.advance(300)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    clock.advance(1_000)
    assert [(e.start_ns, e.duration_ns) for e in events()] == [(10**9 + 1_000, 312)]
    bus.close()


def test_an_await_of_a_while_lasts_that_while(host_of: HostOf) -> None:
    """In a real loop: nearly all that the caller waits is the plugin's, none is its CPU."""
    host = host_of(a=Awaits())
    with observe(host, profiler=Profiler(sampling_rate=1.0)) as observation:
        started = time.perf_counter_ns()
        host.execute("a", lambda: asyncio.sleep(0.05))
        waited_ns = time.perf_counter_ns() - started
        assert observation.profiler is not None
        metrics = observation.profiler.get_metrics("a")
    assert 50_000_000 <= metrics.duration_ns <= waited_ns
    assert (metrics.cpu_time_ns or 0) < metrics.duration_ns / 5


def test_a_neighbours_cpu_time_is_not_counted(host_of: HostOf) -> None:
    """While the plugin waits, another task computes: its time passes, its CPU is its own."""

    async def work() -> None:
        _burn(0.02)
        await asyncio.sleep(0)
        _burn(0.02)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(host.aexecute("a", work))
            group.create_task(_async_burn(0.1))

    async def _async_burn(seconds: float) -> None:
        _burn(seconds)

    host = host_of(a=Awaits())
    with observe(host, profiler=Profiler(sampling_rate=1.0)) as observation:
        asyncio.run(main())
        assert observation.profiler is not None
        metrics = observation.profiler.get_metrics("a")
    assert metrics.cpu_time_ns is not None
    assert 40_000_000 <= metrics.cpu_time_ns < 60_000_000
    assert metrics.duration_ns >= 140_000_000
    assert metrics.overlapped is True
    assert metrics.tasks_at_start == 3


def test_nested_executions_share_their_cpu_time_like_their_wall_time(host_of: HostOf) -> None:
    """CPU is inclusive: a caller's contains that of what it awaits."""

    async def inner() -> None:
        _burn(0.02)

    host = host_of(a=Awaits(), b=Awaits())
    with observe(host, profiler=Profiler(sampling_rate=1.0)) as observation:
        host.execute("a", lambda: host.aexecute("b", inner))
        assert observation.profiler is not None
        outer = observation.profiler.get_metrics("a")
        nested = observation.profiler.get_metrics("b")
    assert 20_000_000 <= (nested.cpu_time_ns or 0) <= (outer.cpu_time_ns or 0) < 30_000_000


# How it ends


@RATES
def test_being_cancelled_is_nobodys_fault(
    host_of: HostOf, events_of: EventsOf, rate: float
) -> None:
    """The execution ends as cancelled, without an error event, and stays cancelled."""

    async def main() -> None:
        task = asyncio.create_task(host.aexecute("a", lambda: asyncio.sleep(60)))
        await asyncio.sleep(0.01)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        assert task.cancelled()

    host = host_of(a=Awaits())
    with observe(host, profiler=Profiler(sampling_rate=rate)) as observation:
        events = events_of(observation)
        asyncio.run(main())
        assert observation.profiler is not None
        sums = observation.profiler.get_aggregates("a")
    assert [(e.kind, e.status) for e in events()] == [("plugin_execute", Status.CANCELLED)]
    assert (sums.cancelled_count, sums.failure_count, sums.error_rate) == (1, 0, 0.0)


@RATES
@pytest.mark.parametrize("how", ["execute", "aexecute"])
def test_a_deadline_that_passes_is_a_timeout(
    host_of: HostOf, events_of: EventsOf, rate: float, how: str
) -> None:
    """The plugin is cancelled, and the execution is told as timed out, with an error event."""
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)

    def run(host: PluginHost) -> None:
        if how == "execute":
            host.execute("a", work, deadline=0.02)
        else:
            asyncio.run(host.aexecute("a", work, deadline=0.02))

    host = host_of(a=Awaits())
    with observe(host, profiler=Profiler(sampling_rate=rate)) as observation:
        events = events_of(observation)
        with pytest.raises(TimeoutError):
            run(host)
    assert cleaned == [True]
    assert [(e.kind, e.status) for e in events()] == [
        ("plugin_execute", Status.TIMEOUT),
        ("plugin_error", Status.TIMEOUT),
    ]


def test_the_callers_own_timeout_cancels_the_plugin(host_of: HostOf, events_of: EventsOf) -> None:
    """A limit that the application sets around it is a cancellation of the plugin."""

    async def main() -> None:
        async with asyncio.timeout(0.01):
            await host.aexecute("a", lambda: asyncio.sleep(60))

    host = host_of(a=Awaits())
    with observe(host) as observation:
        events = events_of(observation)
        with pytest.raises(TimeoutError):
            asyncio.run(main())
    assert [e.status for e in events()] == [Status.CANCELLED]


@RATES
def test_a_plugin_may_refuse_to_be_cancelled(
    host_of: HostOf, events_of: EventsOf, rate: float
) -> None:
    """One that catches the cancellation and returns has succeeded."""

    async def stubborn() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return "anyway"

    async def main() -> str:
        task = asyncio.create_task(host.aexecute("a", stubborn))
        await asyncio.sleep(0.01)
        task.cancel()
        result: str = await task
        return result

    host = host_of(a=Awaits())
    with observe(host, profiler=Profiler(sampling_rate=rate)) as observation:
        events = events_of(observation)
        assert asyncio.run(main()) == "anyway"
    assert [e.status for e in events()] == [Status.SUCCESS]


@RATES
def test_an_abandoned_coroutine_counts_as_cancelled(
    host_of: HostOf, events_of: EventsOf, rate: float
) -> None:
    """Closed before its end, it is told once, and is no parent any more."""
    host = host_of(a=Awaits(), b=Awaits())

    async def pause() -> None:
        await Pause()

    async def nothing() -> None:
        """Return at once."""

    with observe(host, profiler=Profiler(sampling_rate=rate)) as observation:
        events = events_of(observation)
        coroutine = host.aexecute("a", pause)
        coroutine.send(None)
        coroutine.close()
        with pytest.raises(StopIteration):
            host.aexecute("b", nothing).send(None)
    assert [(e.plugin_id, e.status, e.parent) for e in events()] == [
        ("a", Status.CANCELLED, None),
        ("b", Status.SUCCESS, None),
    ]


def test_an_execution_is_told_with_its_tasks_name(host_of: HostOf, events_of: EventsOf) -> None:
    """Events of asynchronous executions say which task they ran in."""

    async def main() -> None:
        await asyncio.create_task(host.aexecute("a", lambda: asyncio.sleep(0)), name="the one")

    host = host_of(a=Awaits())
    with observe(host) as observation:
        events = events_of(observation)
        asyncio.run(main())
    assert [e.task for e in events()] == ["the one"]


def test_loops_in_several_threads_are_counted_exactly(host_of: HostOf) -> None:
    """Four threads with a loop each, fifty tasks in each loop."""

    async def main() -> None:
        await asyncio.gather(*(host.aexecute("a", lambda: asyncio.sleep(0)) for _ in range(50)))

    host = host_of(a=Awaits())
    with observe(host, profiler=Profiler(sampling_rate=0.5)) as observation:
        threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert observation.profiler is not None
        sums = observation.profiler.get_aggregates("a")
    assert (sums.execution_count, sums.success_count) == (200, 200)
    assert 0 < sums.sampled_count < 200


# The protocol: nothing between the loop and the plugin may notice


class Scripted:
    """An awaitable that answers by script: `yield`s, and reacts to what is thrown in."""

    def __init__(self, steps: list[str], heard: list[object]) -> None:
        self._steps = steps
        self._heard = heard

    def __await__(self) -> Generator[Any, Any, Any]:
        for number, step in enumerate(self._steps):
            try:
                if step == "raise":
                    raise ValueError(number)
                self._heard.append((yield number))
            except (KeyError, GeneratorExit) as error:
                self._heard.append(type(error))
                if step == "stubborn":
                    self._heard.append((yield "stubborn"))
                elif step == "replace":
                    raise OSError(number) from error
                elif step == "return":
                    return "early"
                else:
                    raise
        return "end"


class Plain:
    """An awaitable whose iterator can be neither sent nor thrown anything."""

    def __init__(self, steps: list[str], heard: list[object]) -> None:
        self._count = len(steps)

    def __await__(self) -> Iterator[Any]:
        return iter(range(self._count))


class Bare:
    """What `timed_awaitable` is to be like."""

    def __init__(self, awaitable: Any) -> None:
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self._awaitable.__await__())


def _driven(awaitable: Any, actions: list[Any]) -> list[object]:
    """Return what a driver sees that does these actions."""
    steps, seen = awaitable.__await__(), []
    for action in [None, *actions]:
        try:
            if action == "throw":
                seen.append(steps.throw(KeyError("thrown")))
            elif action == "close":
                seen.append(steps.close())
            else:
                seen.append(steps.send(action))
        except BaseException as error:
            seen.append((type(error), error.args, type(error.__cause__)))
    with contextlib.suppress(BaseException):
        steps.close()
    return seen


@pytest.mark.parametrize("kind", [Scripted, Plain])
@RATES
@given(
    steps=st.lists(
        st.sampled_from(["yield", "raise", "stubborn", "replace", "return"]), max_size=5
    ),
    actions=st.lists(st.sampled_from([None, None, 7, "throw", "close"]), max_size=6),
)
def test_every_awaitable_behaves_as_if_awaited_directly(
    kind: type, rate: float, steps: list[str], actions: list[Any]
) -> None:
    """Whatever is sent, thrown or closed, driver and plugin see what `yield from` shows them."""
    bus = EventBus()
    heard: tuple[list[object], list[object]] = [], []
    timed = timed_awaitable(
        kind(steps, heard[0]), "a", bus, Sampler(rate), frame_variable(bus.tree)
    )
    assert _driven(timed, actions) == _driven(Bare(kind(steps, heard[1])), actions)
    assert heard[0] == heard[1]
    assert bus.pending == 1
