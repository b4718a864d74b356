"""Who called whom: across threads, tasks and interleavings, against a model."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pluginhost import (
    Event,
    EventKind,
    Host,
    Observation,
    PluginHost,
    Profiler,
    hookimpl,
    hookspec,
    observe,
)
from pluginhost.calltree import CallPath
from tests.examples import examples

HostOf = Callable[..., PluginHost]
EventsOf = Callable[..., Callable[[], list[Event]]]

RATES = pytest.mark.parametrize("rate", [0.0, 1.0], ids="sampled {}".format)


class Calls:
    """Calls its payload."""

    @hookimpl
    def execute(self, payload: Callable[[], Any]) -> Any:
        return payload()


class Awaits:
    """Awaits what its payload returns."""

    @hookimpl
    async def execute(self, payload: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return await payload()


def _paths(events: list[Event]) -> Counter[tuple[str, ...]]:
    return Counter(event.path for event in events if event.kind is EventKind.PLUGIN_EXECUTE)


def _watching(host: PluginHost, rate: float = 0.0) -> Observation:
    return observe(host, profiler=Profiler(sampling_rate=rate))


# One thread


@RATES
def test_calls_within_calls_have_their_callers_path(
    host_of: HostOf, events_of: EventsOf, rate: float
) -> None:
    """Parent and path name every caller; the innermost call ends first."""
    host = host_of(a=Calls(), b=Calls(), c=Calls())
    with _watching(host, rate) as observation:
        events = events_of(observation)
        for _ in range(3):
            host.execute("a", lambda: host.execute("b", lambda: host.execute("c", int)))
        host.execute("c", int)
    assert [(e.path, e.parent) for e in events()] == [
        (("a", "b", "c"), "b"),
        (("a", "b"), "a"),
        (("a",), None),
    ] * 3 + [(("c",), None)]


@RATES
def test_a_plugin_that_calls_itself_is_its_own_parent(
    host_of: HostOf, events_of: EventsOf, rate: float
) -> None:
    """Recursion is nesting, however often the same plugin ran just before."""
    host = host_of(a=Calls())
    with _watching(host, rate) as observation:
        events = events_of(observation)
        host.execute("a", int)
        host.execute("a", int)
        host.execute("a", lambda: (host.execute("a", int), host.execute("a", int)))
        host.execute("a", int)
    assert [e.path for e in events()] == [("a",), ("a",), ("a", "a"), ("a", "a"), ("a",), ("a",)]


@RATES
def test_a_failed_call_is_no_parent_of_what_comes_after(
    host_of: HostOf, events_of: EventsOf, rate: float
) -> None:
    """An exception ends an execution just as a result does."""

    def fail() -> None:
        raise ValueError

    def outer() -> None:
        with pytest.raises(ValueError):
            host.execute("b", fail)
        host.execute("c", int)

    host = host_of(a=Calls(), b=Calls(), c=Calls())
    with _watching(host, rate) as observation:
        events = events_of(observation)
        host.execute("a", outer)
    assert _paths(events()) == {("a",): 1, ("a", "b"): 1, ("a", "c"): 1}


def test_loads_unloads_and_hook_calls_are_parents_too(host_of: HostOf, events_of: EventsOf) -> None:
    """What a setup, a teardown or a hook implementation executes is filed under it."""

    class Specs:
        @hookspec
        def greet(self) -> None:
            """Say hello."""

    class Nosy:
        @hookimpl
        def setup(self, host: Host) -> None:
            host.execute("a", int)

        @hookimpl
        def greet(self) -> None:
            host.execute("a", int)

        @hookimpl
        def teardown(self, host: Host) -> None:
            host.execute("a", int)

    host = host_of(specs=Specs, load=False, a=Calls(), nosy=Nosy())
    host.load("a")
    with _watching(host) as observation:
        events = events_of(observation)
        host.load("nosy")
        host.hook.greet()
        host.unload("nosy")
    assert _paths(events()) == {
        ("nosy:load", "a"): 1,
        ("nosy:greet", "a"): 1,
        ("nosy:unload", "a"): 1,
    }


def test_recursion_beyond_the_depth_of_paths_loses_no_execution(
    host_of: HostOf, events_of: EventsOf
) -> None:
    """Paths stop at 64 names; counts go on."""

    def deep(levels: int) -> None:
        if levels:
            host.execute("a", lambda: deep(levels - 1))

    host = host_of(a=Calls())
    with _watching(host) as observation:
        events = events_of(observation)
        deep(70)
    found = _paths(events())
    assert found.total() == 70
    assert max(map(len, found)) == 64
    assert observation.bus.tree.cut_paths > 0


# Threads


@RATES
def test_a_thread_with_a_copy_of_the_context_works_for_the_caller(
    host_of: HostOf, events_of: EventsOf, rate: float
) -> None:
    """The copy carries the parent along; a thread without one starts at the top."""

    def outer() -> None:
        for target, args in (
            (contextvars.copy_context().run, (host.execute, "b", int)),
            (host.execute, ("c", int)),
        ):
            thread = threading.Thread(target=target, args=args)
            thread.start()
            thread.join()

    host = host_of(a=Calls(), b=Calls(), c=Calls())
    with _watching(host, rate) as observation:
        events = events_of(observation)
        host.execute("a", outer)
    assert _paths(events()) == {("a",): 1, ("a", "b"): 1, ("c",): 1}


@RATES
def test_a_thread_that_outlives_its_caller_starts_at_the_top(
    host_of: HostOf, events_of: EventsOf, rate: float
) -> None:
    """What has ended is nobody's parent, even in a copy of its context."""
    go_on, threads = threading.Event(), []

    def work() -> None:
        go_on.wait(20)
        host.execute("b", int)

    def outer() -> None:
        threads.append(threading.Thread(target=contextvars.copy_context().run, args=(work,)))
        threads[0].start()

    host = host_of(a=Calls(), b=Calls())
    with _watching(host, rate) as observation:
        events = events_of(observation)
        host.execute("a", outer)
        go_on.set()
        threads[0].join()
    assert _paths(events()) == {("a",): 1, ("b",): 1}


@RATES
def test_an_execution_is_no_parent_of_a_thread_that_was_there_before_it(
    host_of: HostOf, events_of: EventsOf, rate: float
) -> None:
    """A thread that copied the context between two executions belongs to neither of them."""
    go_on, done = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(20)
        host.execute("b", int)
        done.set()

    host = host_of(a=Calls(), b=Calls())
    with _watching(host, rate) as observation:
        events = events_of(observation)
        host.execute("a", int)
        thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
        thread.start()
        host.execute("a", lambda: (go_on.set(), done.wait(20)))
        thread.join()
    assert _paths(events()) == {("a",): 2, ("b",): 1}


def test_threads_of_a_pool_keep_their_callers_apart(host_of: HostOf, events_of: EventsOf) -> None:
    """Many callers at once, each with children in a shared pool: every child has its own."""

    def fan_out() -> None:
        copies = [contextvars.copy_context() for _ in range(5)]
        for job in [pool.submit(c.run, host.execute, "leaf", int) for c in copies]:
            job.result()

    callers = {f"caller{n}": Calls() for n in range(4)}
    host = host_of(leaf=Calls(), **callers)
    with (
        ThreadPoolExecutor(4) as pool,
        ThreadPoolExecutor(4) as front,
        _watching(host) as observation,
    ):
        events = events_of(observation)
        for job in [
            front.submit(host.execute, caller, fan_out) for caller in callers for _ in "xyz"
        ]:
            job.result()
    expected = {(caller,): 3 for caller in callers} | {(caller, "leaf"): 15 for caller in callers}
    assert _paths(events()) == expected


def test_a_deadline_does_not_lose_the_caller(host_of: HostOf, events_of: EventsOf) -> None:
    """Executions with a deadline run in a thread, and still have their parent and children."""
    host = host_of(a=Calls(), b=Calls(), c=Calls())
    with _watching(host) as observation:
        events = events_of(observation)
        host.execute(
            "a",
            lambda: host.execute("b", lambda: host.execute("c", int), deadline=20),
            deadline=20,
        )
    assert _paths(events()) == {("a",): 1, ("a", "b"): 1, ("a", "b", "c"): 1}


# asyncio


@RATES
def test_tasks_and_gather_keep_their_callers_apart(
    host_of: HostOf, events_of: EventsOf, rate: float
) -> None:
    """Executions that take turns in one loop each have their own children."""

    async def children(numbers: list[int]) -> None:
        for turns in numbers:
            await host.aexecute("leaf", lambda turns=turns: _turns(turns))

    async def main() -> None:
        await asyncio.gather(
            host.aexecute("a", lambda: children([1, 2, 3])),
            host.aexecute("b", lambda: children([2, 1])),
            host.aexecute("leaf", lambda: _turns(2)),
        )

    async def _turns(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    host = host_of(a=Awaits(), b=Awaits(), leaf=Awaits())
    with _watching(host, rate) as observation:
        events = events_of(observation)
        asyncio.run(main())
    assert _paths(events()) == {
        ("a",): 1,
        ("b",): 1,
        ("leaf",): 1,
        ("a", "leaf"): 3,
        ("b", "leaf"): 2,
    }


def test_a_plugins_own_tasks_work_for_it(host_of: HostOf, events_of: EventsOf) -> None:
    """Children in tasks of a task group are nested, side by side or not."""

    async def outer() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(host.aexecute("leaf", lambda: asyncio.sleep(0)))

    host = host_of(a=Awaits(), leaf=Awaits())
    with _watching(host) as observation:
        events = events_of(observation)
        host.execute("a", outer)
    assert _paths(events()) == {("a",): 1, ("a", "leaf"): 3}


@RATES
def test_work_in_a_thread_of_the_loop_is_nested(
    host_of: HostOf, events_of: EventsOf, rate: float
) -> None:
    """`asyncio.to_thread`, and `aexecute` of a plugin that is not async, carry the caller along."""

    async def outer() -> None:
        await asyncio.to_thread(host.execute, "b", int)
        await host.aexecute("b", lambda: host.execute("c", int))

    host = host_of(a=Awaits(), b=Calls(), c=Calls())
    with _watching(host, rate) as observation:
        events = events_of(observation)
        host.execute("a", outer)
    assert _paths(events()) == {("a",): 1, ("a", "b"): 2, ("a", "b", "c"): 1}


def test_a_task_that_outlives_its_caller_starts_at_the_top(
    host_of: HostOf, events_of: EventsOf
) -> None:
    """A task left behind is no child of what has returned, nor of what is executed next."""

    async def main() -> None:
        go_on, tasks = asyncio.Event(), []

        async def later() -> None:
            await go_on.wait()
            await host.aexecute("b", lambda: asyncio.sleep(0))

        async def outer() -> None:
            tasks.append(asyncio.create_task(later()))

        async def next_one() -> None:
            go_on.set()
            await tasks[0]

        await host.aexecute("a", outer)
        await host.aexecute("a", next_one)

    host = host_of(a=Awaits(), b=Awaits())
    with _watching(host) as observation:
        events = events_of(observation)
        asyncio.run(main())
    assert _paths(events()) == {("a",): 2, ("b",): 1}


def test_a_chain_of_tasks_keeps_no_chain_of_ended_executions(host_of: HostOf) -> None:
    """Each task starts the next and ends: what is kept for nesting does not grow with them."""

    def kept_frames() -> int:
        gc.collect()
        lists = (o for o in gc.get_objects() if type(o) is list and o)
        return sum(type(o[-1]) is CallPath for o in lists)

    async def kept_after(links: int) -> int:
        tasks: list[asyncio.Task[Any]] = []
        kept = asyncio.get_running_loop().create_future()

        async def link(left: int) -> None:
            if left:
                tasks[:] = [asyncio.create_task(host.aexecute("a", lambda: link(left - 1)))]
                await asyncio.sleep(0)  # until it has begun, so that this one is its caller
            else:
                await asyncio.sleep(0)
                await asyncio.sleep(0)  # until the one before has ended
                kept.set_result(kept_frames())

        await host.aexecute("a", lambda: link(links))
        result: int = await kept
        await tasks[0]
        return result

    host = host_of(a=Awaits())
    with _watching(host):
        short, long = asyncio.run(kept_after(5)), asyncio.run(kept_after(200))
    assert short > 0
    assert long <= short + 3


# Children that ran side by side


@pytest.mark.parametrize(
    ("how", "concurrent"),
    [
        pytest.param("in turn", False, id="sync, in turn"),
        pytest.param("awaited", False, id="async, in turn"),
        pytest.param("gather", True, id="gather"),
        pytest.param("thread", True, id="a thread"),
        pytest.param("sync beside task", True, id="sync beside a task"),
    ],
)
def test_children_side_by_side_are_noted_at_their_caller(
    host_of: HostOf, how: str, *, concurrent: bool
) -> None:
    """Only then is the caller's self time a bound, and its aggregates say so."""

    async def outer() -> None:
        if how == "in turn":
            host.execute("b", int)
            host.execute("b", int)
        elif how == "awaited":
            await host.aexecute("leaf", lambda: asyncio.sleep(0))
            await host.aexecute("leaf", lambda: asyncio.sleep(0))
            host.execute("b", int)
        elif how == "gather":
            await asyncio.gather(
                *(host.aexecute("leaf", lambda: asyncio.sleep(0)) for _ in range(2))
            )
        elif how == "thread":
            await asyncio.to_thread(host.execute, "b", int)
        else:
            task = asyncio.create_task(host.aexecute("leaf", lambda: asyncio.sleep(0)))
            await asyncio.sleep(0)
            host.execute("b", int)
            await task

    host = host_of(a=Awaits(), b=Calls(), leaf=Awaits())
    with _watching(host) as observation:
        host.execute("a", outer)
        host.execute("a", outer)
        assert observation.profiler is not None
        assert observation.profiler.get_aggregates("a").concurrent_children is concurrent


# Any interleaving at all, against a model


class Step(msgspec.Struct, frozen=True):
    """What a plugin does next: pause, call another, spawn a task, or execute one that is sync."""

    kind: str
    plugin: str
    script: tuple[Step, ...] = ()


_NAMES = st.sampled_from(["a", "b"])
_LEAVES = st.one_of(
    st.just(Step("pause", "")), st.builds(Step, st.just("sync"), st.sampled_from(["s", "t"]))
)
_SCRIPTS = st.recursive(
    st.lists(_LEAVES, max_size=3).map(tuple),
    lambda inner: st.lists(
        st.one_of(
            _LEAVES, st.builds(Step, st.sampled_from(["call", "spawn"]), _NAMES, script=inner)
        ),
        max_size=4,
    ).map(tuple),
    max_leaves=12,
)


class Pause:
    """Suspends a coroutine until the scheduler steps it again."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Running:
    """An execution as the model sees it."""

    def __init__(self, path: tuple[str, ...]) -> None:
        self.path = path
        self.ended = False


Chain = tuple[Running, ...]
"""The executions that a piece of code was called or started from, outermost first."""


class Scheduler:
    """Steps coroutines one at a time, each in its own context, and keeps the model's account."""

    def __init__(self, host: PluginHost, turns: list[int]) -> None:
        self.host = host
        self.expected: list[tuple[str, ...]] = []
        self._turns = itertools.cycle(turns)
        self._ready: list[tuple[contextvars.Context, Coroutine[Any, Any, Any]]] = []

    def spawn(self, step: Step, chain: Chain) -> None:
        self._ready.append((contextvars.copy_context(), self._call(step, chain)))

    def run(self) -> None:
        while self._ready:
            turn = next(self._turns) % len(self._ready)
            context, coroutine = self._ready[turn]
            try:
                context.run(coroutine.send, None)
            except StopIteration:
                del self._ready[turn]

    def _begin(self, plugin: str, chain: Chain) -> Running:
        caller = next((above.path for above in reversed(chain) if not above.ended), ())
        return Running((*caller, plugin))

    async def _call(self, step: Step, chain: Chain) -> None:
        async def work() -> None:
            own = self._begin(step.plugin, chain)
            for inner in step.script:
                await self._do(inner, (*chain, own))
            self.expected.append(own.path)
            own.ended = True

        await self.host.aexecute(step.plugin, work)

    async def _do(self, step: Step, chain: Chain) -> None:
        if step.kind == "pause":
            await Pause()
        elif step.kind == "sync":
            self.expected.append(self._begin(step.plugin, chain).path)
            self.host.execute(step.plugin, int)
        elif step.kind == "spawn":
            self.spawn(step, chain)
        else:
            await self._call(step, chain)


@RATES
@settings(
    max_examples=examples(80),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    scripts=st.lists(_SCRIPTS, min_size=1, max_size=3),
    turns=st.lists(st.integers(0, 5), min_size=1, max_size=30),
)
def test_any_interleaving_has_the_callers_that_the_model_says(
    host_of: HostOf,
    events_of: EventsOf,
    rate: float,
    scripts: list[tuple[Step, ...]],
    turns: list[int],
) -> None:
    """Tasks that call, spawn and outlive each other in any order: every path is right.

    The parent of an execution is the innermost one of its context, or of the one that was copied,
    that is still running when it begins.
    """
    host = host_of(a=Awaits(), b=Awaits(), s=Calls(), t=Calls())
    with _watching(host, rate) as observation:
        events = events_of(observation)
        scheduler = Scheduler(host, turns)
        for number, script in enumerate(scripts):
            scheduler.spawn(Step("spawn", "ab"[number % 2], script), ())
        contextvars.copy_context().run(scheduler.run)
        assert [event.path for event in events()] == scheduler.expected
        ends = [event.start_ns + event.duration_ns for event in events()]
        assert all(first <= second for first, second in itertools.pairwise(ends))
