"""The tap into a pluggy manager: a bare manager beside it must not differ in anything."""

from __future__ import annotations

import gc
import inspect
import itertools
import sys
import threading
import traceback
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pluggy
import pytest
from hypothesis import given, settings, strategies as st

from pluginhost import (
    Event,
    EventKind,
    Host,
    PluginHost,
    PluginInfo,
    Status,
    hookimpl,
    hookspec,
    observe,
)
from pluginhost.bus import EventBus
from pluginhost.host.sources import Candidate
from pluginhost.instrumentation.by_context import ContextNesting
from pluginhost.instrumentation.calls import CallTimer
from pluginhost.instrumentation.nesting import frame_variable
from pluginhost.instrumentation.tap import HookTapSource
from tests.examples import examples

HostOf = Callable[..., PluginHost]
EventsOf = Callable[..., Callable[[], list[Event]]]

spec, impl = pluggy.HookspecMarker("t"), pluggy.HookimplMarker("t")


class Specs:
    """One hook of each kind."""

    @spec(firstresult=True)
    def first(self, x: int, y: int) -> Any:
        """Answer, whoever can."""

    @spec
    def many(self, x: int, y: int) -> Any:
        """Answer, all of you."""

    @spec(historic=True)
    def late(self, x: int) -> Any:
        """Answer, even if you come later."""


def _manager(*plugins: object) -> pluggy.PluginManager:
    manager = pluggy.PluginManager("t")
    manager.add_hookspecs(Specs)
    for plugin in plugins:
        manager.register(plugin, name=getattr(plugin, "name", None))
    return manager


class Collector:
    """Keeps all events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def observe(self, batch: Any) -> None:
        self.events += batch


@contextmanager
def _tapped(
    manager: pluggy.PluginManager, *, clock: Callable[[], int] | None = None
) -> Iterator[tuple[EventBus, Collector]]:
    bus = EventBus(clock=clock) if clock is not None else EventBus()
    collector = Collector()
    bus.add_source(
        HookTapSource(manager, CallTimer(ContextNesting(bus, frame_variable(bus.tree))).timed)
    )
    bus.subscribe(collector, live=False)
    try:
        yield bus, collector
    finally:
        bus.close()


def _calls(collector: Collector) -> Counter[tuple[str, str]]:
    events = (e for e in collector.events if e.kind is EventKind.HOOK_CALL)
    return Counter((event.plugin_id, event.hook) for event in events)


# Anything that can be registered, called both ways


class Plan(msgspec.Struct, frozen=True):
    """How one implementation behaves."""

    kind: str
    hook: str
    order: str
    arguments: str
    before: str
    after: str
    error: type[BaseException]


_PLANS = st.builds(
    Plan,
    kind=st.sampled_from(["plain", "plain", "new", "old"]),
    hook=st.sampled_from(["first", "many"]),
    order=st.sampled_from(["", "tryfirst", "trylast"]),
    arguments=st.sampled_from(["", "x", "y", "xy"]),
    before=st.sampled_from(["go on", "go on", "go on", "go on", "raise", "stop"]),
    after=st.sampled_from(["pass", "pass", "replace", "swallow", "raise", "exchange"]),
    error=st.sampled_from([ValueError, KeyError, StopIteration, SystemExit, GeneratorExit]),
)


def _seen(outcome: object) -> object:
    """Return what can be compared of a result or an exception."""
    if isinstance(outcome, pluggy.Result):
        return "result", _seen(outcome.exception), outcome.exception is None and outcome._result
    if isinstance(outcome, BaseException):
        chain = _seen(outcome.__cause__), _seen(outcome.__context__)
        return type(outcome), outcome.args, *chain, _frames(outcome)
    return outcome


def _frames(error: BaseException) -> list[tuple[str, str, int | None]]:
    """Return what a traceback shows: of each frame the file, the function and the line."""
    shown = traceback.walk_tb(error.__traceback__)
    return [(frame.f_code.co_filename, frame.f_code.co_name, line) for frame, line in shown]


class Planned:
    """A plugin with one implementation that follows a plan, and tells `log` what it does."""

    def __init__(self, name: str, plan: Plan, log: list[Any]) -> None:
        self.name, self.plan, self._log = name, plan, log
        body = {"plain": self._plain, "new": self._new, "old": self._old}[plan.kind]
        call: dict[str, Any] = {"body": body}
        names = ", ".join(plan.arguments)
        if plan.kind == "plain":
            exec(f"def function({names}): return body([{names}])", call)
        else:
            exec(f"def function({names}): return (yield from body([{names}]))", call)
        options = {plan.order: True} if plan.order else {}
        options |= {"new": {"wrapper": True}, "old": {"hookwrapper": True}}.get(plan.kind, {})
        setattr(self, plan.hook, impl(**options)(call["function"]))

    def _tell(self, *what: object) -> None:
        self._log.append((self.name, *what))

    def _error(self) -> BaseException:
        return self.plan.error(self.name, len(self._log))

    def _plain(self, arguments: list[int]) -> object:
        self._tell("call", arguments)
        if self.plan.before == "raise":
            raise self._error()
        return None if self.plan.before == "stop" else (self.name, len(self._log))

    def _begin(self, arguments: list[int]) -> bool:
        self._tell("before", arguments)
        if self.plan.before == "raise":
            raise self._error()
        return self.plan.before == "go on"

    def _new(self, arguments: list[int]) -> Generator[None, Any, Any]:
        if not self._begin(arguments):
            return "stopped"
        try:
            result = yield
        except BaseException as error:
            self._tell("after", _seen(error))
            if self.plan.after == "swallow":
                return "swallowed"
            if self.plan.after == "exchange":
                raise self._error() from error
            if self.plan.after == "pass":
                raise
        else:
            self._tell("after", _seen(result))
        if self.plan.after == "raise":
            raise self._error()
        return result if self.plan.after == "pass" else "replaced"

    def _old(self, arguments: list[int]) -> Generator[None, Any, None]:
        if not self._begin(arguments):
            return
        outcome = yield
        self._tell("after", _seen(outcome))
        if self.plan.after == "replace":
            outcome.force_result("forced")
        elif self.plan.after == "exchange":
            outcome.force_exception(self._error())
        elif self.plan.after == "swallow":
            outcome.get_result()  # raises what the others raised
        elif self.plan.after == "raise":
            raise self._error()


Watching = Callable[[pluggy.PluginManager], AbstractContextManager[Any]]


def _run(
    plans: list[Plan], steps: list[tuple[str, int]], watching: Watching
) -> tuple[list[object], list[Any], Any]:
    """Register and call as the steps say, watched; return outcomes, log and who watched."""
    log: list[Any] = []
    plugins = [Planned(f"p{number}", plan, log) for number, plan in enumerate(plans)]
    manager = _manager(*plugins)
    outcomes: list[object] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with watching(manager) as watcher:
            for step, number in steps:
                plugin = plugins[number % len(plugins)]
                if step == "toggle" and manager.is_registered(plugin):
                    manager.unregister(plugin)
                elif step == "toggle":
                    manager.register(plugin, name=plugin.name)
                else:
                    outcomes.append(_outcome(partial(getattr(manager.hook, step), x=number, y=2)))
    outcomes += [(warning.category, str(warning.message)) for warning in warned]
    return outcomes, log, watcher


def _outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except BaseException as error:
        return _seen(error)


@settings(max_examples=examples(250), deadline=None)
@given(
    plans=st.lists(_PLANS, min_size=1, max_size=6),
    steps=st.lists(
        st.tuples(st.sampled_from(["first", "many", "many", "toggle"]), st.integers(0, 5)),
        min_size=1,
        max_size=6,
    ),
)
def test_a_tapped_manager_behaves_as_a_bare_one(
    plans: list[Plan], steps: list[tuple[str, int]]
) -> None:
    """Results, exceptions with their chains and tracebacks, warnings and the order of calls.

    And what was called is what was recorded, for the plugin and hook that it was.
    """
    outcomes, log, _ = _run(plans, steps, nullcontext)
    observed_outcomes, observed_log, _ = _run(plans, steps, observe)
    tapped_outcomes, tapped_log, (_, collector) = _run(plans, steps, _tapped)
    assert tapped_outcomes == observed_outcomes == outcomes
    assert tapped_log == observed_log == log
    hook_of = {f"p{number}": plan.hook for number, plan in enumerate(plans)}
    suffix = {"call": "", "before": " (before yield)", "after": " (after yield)"}
    expected = Counter((entry[0], hook_of[entry[0]] + suffix[entry[1]]) for entry in log)
    assert _calls(collector) == expected


@settings(max_examples=examples(120), deadline=None)
@given(plans=st.lists(_PLANS, min_size=1, max_size=5), hook=st.sampled_from(["first", "many"]))
def test_a_failure_is_blamed_on_who_raised_it(plans: list[Plan], hook: str) -> None:
    """Wrappers that let an exception pass have not failed; those that raise another have."""
    plans = [
        plan
        # Python exchanges a StopIteration that passes a generator; a GeneratorExit is no failure
        if plan.error not in (StopIteration, GeneratorExit)
        else msgspec.structs.replace(plan, error=ValueError)
        for plan in plans
    ]
    _, log, (_, collector) = _run(plans, [(hook, 0)], _tapped)
    raised = {"call": " raise", "before": " raise"}
    expected: Counter[tuple[str, str]] = Counter()
    for name, phase, what in log:
        plan = plans[int(name[1:])]
        if phase in raised:
            failed, where = plan.before == "raise", "" if phase == "call" else " (before yield)"
        else:
            where = " (after yield)"
            thrown = isinstance(what, tuple) and what and isinstance(what[0], type)
            failed = plan.after == "raise" or (
                plan.kind == "new" and plan.after == "exchange" and bool(thrown)
            )
        if failed:
            expected[name, plan.hook + where] += 1
    found = Counter(
        (e.plugin_id, e.hook) for e in collector.events if e.kind is EventKind.PLUGIN_ERROR
    )
    assert found == expected


# One thing at a time


class YieldsTwice:
    """Wrappers of both kinds that do what none may."""

    name = "twice"

    @impl(wrapper=True)
    def first(self) -> Generator[None, Any, Any]:
        yield
        yield

    @impl(hookwrapper=True)
    def many(self) -> Generator[None, Any, None]:
        yield
        yield


class YieldsNever:
    """Wrappers of both kinds that do not wrap anything."""

    name = "never"

    @impl(wrapper=True)
    def first(self) -> Generator[None, Any, Any]:
        return
        yield

    @impl(hookwrapper=True)
    def many(self) -> Generator[None, Any, None]:
        return
        yield


@pytest.mark.parametrize("hook", ["first", "many"])
@pytest.mark.parametrize(
    ("plugin", "words"), [(YieldsTwice, "has second yield"), (YieldsNever, "did not yield")]
)
def test_a_wrapper_that_is_none_is_refused_in_pluggys_words(
    hook: str, plugin: type, words: str
) -> None:
    """Its function and line are named as without the tap."""
    manager = _manager(plugin())
    call = partial(getattr(manager.hook, hook), x=1, y=2)
    bare = _outcome(call)
    with _tapped(manager):
        assert _outcome(call) == bare
    assert words in str(bare)
    assert Path(__file__).name in str(bare)


class Greets:
    """Answers with its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    @impl
    def many(self, x: int) -> str:
        return f"{self.name}{x}"


def test_every_implementation_is_counted_for_its_plugin() -> None:
    """One call of a hook is one call of each implementation."""
    manager = _manager(Greets("a"), Greets("b"))
    with _tapped(manager) as (_, collector):
        for _ in range(3):
            assert manager.hook.many(x=1, y=2) == ["b1", "a1"]
    assert _calls(collector) == {("a", "many"): 3, ("b", "many"): 3}
    assert {e.status for e in collector.events} == {Status.SUCCESS}


def test_implementations_are_timed_apart_and_wrappers_on_both_sides(clock: Any) -> None:
    """A wrapper is charged for its own two parts, not for what runs in between."""

    class Wraps:
        name = "wraps"

        @impl(wrapper=True)
        def many(self) -> Generator[None, Any, Any]:
            clock.advance(1)
            result = yield
            clock.advance(20)
            return result

    class WrapsTheOldWay:
        name = "old"

        @impl(hookwrapper=True)
        def many(self) -> Generator[None, Any, None]:
            clock.advance(300)
            yield
            clock.advance(4_000)

    class Works:
        name = "works"

        @impl
        def many(self) -> None:
            clock.advance(50_000)

    manager = _manager(Wraps(), WrapsTheOldWay(), Works())
    with _tapped(manager, clock=clock) as (_, collector):
        manager.hook.many(x=1, y=2)
    assert [(e.plugin_id, e.hook, e.duration_ns) for e in collector.events] == [
        ("old", "many (before yield)", 300),
        ("wraps", "many (before yield)", 1),
        ("works", "many", 50_000),
        ("wraps", "many (after yield)", 20),
        ("old", "many (after yield)", 4_000),
    ]


def test_a_coroutine_that_an_implementation_returns_is_timed_whenever_it_runs(clock: Any) -> None:
    """The call, each step of the coroutine, and, in the end, all of its time with the waiting."""

    class Answers:
        name = "a"

        @impl
        async def many(self) -> str:
            clock.advance(500)
            await _Pause()
            clock.advance(20)
            return "done"

    manager = _manager(Answers())
    with _tapped(manager, clock=clock) as (_, collector):
        (coroutine,) = manager.hook.many(x=1, y=2)
        assert inspect.iscoroutine(coroutine)
        assert coroutine.__qualname__.endswith("Answers.many")
        assert coroutine.send(None) == "paused"
        clock.advance(3_000)
        with pytest.raises(StopIteration, match="done"):
            coroutine.send(None)
    assert [(e.kind, e.hook, e.duration_ns) for e in collector.events] == [
        ("hook_call", "many", 0),
        ("hook_call", "many (awaited)", 500),
        ("hook_call", "many (awaited)", 20),
        ("hook_await", "many (awaited)", 3_520),
    ]


def test_a_coroutine_that_is_never_awaited_says_so_once() -> None:
    """As it would have without a tap."""

    class Answers:
        name = "a"

        @impl
        async def many(self) -> str:
            return "done"

    manager = _manager(Answers())
    with _tapped(manager), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        manager.hook.many(x=1, y=2)
        gc.collect()
    assert [str(w.message) for w in caught if w.category is RuntimeWarning] == [
        f"coroutine '{Answers.many.__qualname__}' was never awaited"
    ]


class _Pause:
    """Suspends whoever awaits it, once."""

    def __await__(self) -> Iterator[str]:
        yield "paused"


def test_calls_within_calls_have_their_callers_path() -> None:
    """An implementation that calls another hook is its parent; a wrapper only in its parts."""

    class Outer:
        name = "outer"

        @impl
        def first(self) -> Any:
            return manager.hook.many(x=1, y=2)

    class Around:
        name = "around"

        @impl(wrapper=True)
        def first(self) -> Generator[None, Any, Any]:
            manager.hook.many(x=1, y=2)
            return (yield)

    manager = _manager(Outer(), Around(), Greets("leaf"))
    with _tapped(manager) as (_, collector):
        manager.hook.first(x=1, y=2)
    assert Counter(e.path for e in collector.events if e.plugin_id == "leaf") == {
        ("outer:first", "leaf:many"): 1,
        ("around:first (before yield)", "leaf:many"): 1,
    }


def test_plugins_that_come_and_go_between_calls_are_noticed() -> None:
    """The next call is timed for whoever is registered then."""
    a, b, c = map(Greets, "abc")
    manager = _manager(a)
    with _tapped(manager) as (_, collector):
        manager.hook.many(x=1, y=2)
        manager.register(b, name="b")
        manager.hook.many(x=1, y=2)
        manager.unregister(a)
        manager.register(c, name="c")
        assert manager.hook.many(x=1, y=2) == ["c1", "b1"]
    assert _calls(collector) == {("a", "many"): 2, ("b", "many"): 2, ("c", "many"): 1}


def test_what_is_registered_is_never_touched() -> None:
    """Whoever looks at implementations sees the plugins' own functions."""
    plugin = Greets("a")
    manager = _manager(plugin)
    before = manager.hook.many.get_hookimpls()
    with _tapped(manager):
        manager.hook.many(x=1, y=2)
        during = manager.hook.many.get_hookimpls()
    assert [id(one) for one in during] == [id(one) for one in before]
    assert during[0].function == plugin.many


def test_an_argument_with_a_default_gets_what_is_given() -> None:
    """From pluggy 1.7 on such arguments are passed by name."""

    class Defaults:
        name = "d"

        @impl
        def many(self, x: int = 7, y: int = 8) -> tuple[int, int]:
            return x, y

        @impl(wrapper=True)
        def first(self, x: int = 7) -> Generator[None, Any, Any]:
            yield
            return x

    bare, manager = _manager(Defaults()), _manager(Defaults())
    with _tapped(manager):
        assert manager.hook.many(x=1, y=2) == bare.hook.many(x=1, y=2)
        assert manager.hook.first(x=1, y=2) == bare.hook.first(x=1, y=2)


def test_extra_and_historic_calls_and_subsets_are_timed_too() -> None:
    """All of pluggy's ways to call pass through the tap."""

    class Late:
        name = "late"

        @impl
        def late(self, x: int) -> int:
            return x + 1

    a, b, answers = Greets("a"), Greets("b"), []
    manager = _manager(a, b)
    with _tapped(manager) as (_, collector):
        manager.hook.late.call_historic(kwargs={"x": 1}, result_callback=answers.append)
        manager.register(Late(), name="late")
        assert manager.subset_hook_caller("many", [a])(x=1, y=2) == ["b1"]
        assert manager.hook.many.call_extra([lambda x: x], {"x": 5, "y": 6}) == [5, "b5", "a5"]
        assert manager.hook.many(x=1, y=2) == ["b1", "a1"]
    assert answers == [2]
    extra = {key: n for key, n in _calls(collector).items() if key[0] not in ("a", "b", "late")}
    assert list(extra.values()) == [1]
    assert _calls(collector) - Counter(extra) == {
        ("late", "late"): 1,
        ("a", "many"): 2,
        ("b", "many"): 3,
    }


def test_the_same_exception_object_comes_through() -> None:
    """With a traceback that ends in the plugin."""
    error = ValueError("no")

    class Fails:
        name = "fails"

        @impl
        def many(self) -> None:
            raise error

    manager = _manager(Fails())
    with _tapped(manager) as (_, collector), pytest.raises(ValueError, match="no") as caught:
        manager.hook.many(x=1, y=2)
    assert caught.value is error
    assert caught.traceback[-1].name == "many"
    assert [(e.kind, e.plugin_id, e.error_message) for e in collector.events] == [
        (EventKind.HOOK_CALL, "fails", "no"),
        (EventKind.PLUGIN_ERROR, "fails", "no"),
    ]


class NoTraceback(Exception):  # it is what it is
    """One that has something else under that name."""

    __traceback__ = "none"  # type: ignore[assignment]


class NoClass(Exception):
    """One whose class may not be asked for."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            raise OSError("no")
        return super().__getattribute__(name)


@pytest.mark.parametrize("kind", [NoTraceback, NoClass])
@pytest.mark.parametrize("watching", [_tapped, observe])
def test_exceptions_with_attributes_of_their_own_come_through(
    kind: type[Exception], watching: Watching
) -> None:
    """Whatever they do when they are looked at, nobody gets another one."""

    class Fails:
        @impl
        def many(self) -> None:
            raise kind("no")

    def raised() -> type[BaseException] | None:
        try:
            manager.hook.many(x=1, y=2)
        except BaseException as error:  # pytest.raises looks at them, too
            return type(error)
        return None

    manager = _manager(Fails())
    bare = raised()  # pluggy 1.5 raises another one instead of some
    with watching(manager):
        assert raised() is bare
    assert bare is kind or pluggy.__version__.startswith("1.5")


def test_failures_fill_the_journal_no_further_than_successes() -> None:
    """Neither those of an implementation nor those of a wrapper wait for ever."""

    class Fails:
        name = "fails"

        @impl
        def many(self) -> None:
            raise ValueError

        @impl(wrapper=True)
        def first(self) -> Generator[None, Any, Any]:
            yield
            raise ValueError

    manager = _manager(Fails())
    with _tapped(manager) as (bus, _):
        for hook in (manager.hook.many, manager.hook.first):
            for _ in range(1_200):
                with pytest.raises(ValueError):
                    hook(x=1, y=2)
            assert bus.pending <= 1_001


def test_a_hostile_name_is_made_safe() -> None:
    """Plugins may be registered under any text."""
    manager = _manager()
    manager.register(Greets("x"), name="\x1b[2J")
    with _tapped(manager) as (_, collector):
        manager.hook.many(x=1, y=2)
    assert [e.plugin_id for e in collector.events] == ["\\x1b[2J"]


def test_calls_from_many_threads_are_all_counted() -> None:
    """While plugins come and go in another thread, each call of each is recorded once."""
    called: dict[str, itertools.count[int]] = {name: itertools.count() for name in "ab"}

    class Counts(SimpleNamespace):
        @impl
        def many(self) -> None:
            next(called[self.name])

    a, b = Counts(name="a"), Counts(name="b")
    manager, ready = _manager(a), threading.Barrier(5)
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def call() -> None:
        ready.wait(20)
        for _ in range(400):
            manager.hook.many(x=1, y=2)

    def come_and_go() -> None:
        ready.wait(20)
        for _ in range(100):
            manager.register(b, name="b")
            manager.unregister(b)

    try:
        with _tapped(manager) as (_, collector):
            threads = [threading.Thread(target=call) for _ in range(4)]
            threads.append(threading.Thread(target=come_and_go))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(switching)
    found = _calls(collector)
    assert found["a", "many"] == next(called["a"]) == 1600
    assert found["b", "many"] == next(called["b"])


# Coming and going


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_taps_leave_in_any_order(order: tuple[int, ...]) -> None:
    """Whoever goes first, the others hear on, and at the end the manager is as it was."""
    manager = _manager(Greets("a"))
    before = manager._inner_hookexec
    taps = [_tapped(manager) for _ in range(3)]
    collectors = [tap.__enter__()[1] for tap in taps]
    heard = [0, 0, 0]
    for number in order:
        manager.hook.many(x=1, y=2)
        heard = [n + (i in order[order.index(number) :]) for i, n in enumerate(heard)]
        taps[number].__exit__(None, None, None)
    manager.hook.many(x=1, y=2)
    assert [len(collector.events) for collector in collectors] == heard
    assert manager._inner_hookexec == before


def test_a_monitor_that_came_later_may_stay() -> None:
    """pluggy's own monitoring above a tap that has left: calls are passed on, unrecorded."""
    manager, seen = _manager(Greets("a")), []
    before = manager._inner_hookexec
    with _tapped(manager) as (bus, collector):
        undo = manager.add_hookcall_monitoring(
            lambda *_: seen.append("before"), lambda *_: seen.append("after")
        )
        manager.hook.many(x=1, y=2)
    assert manager.hook.many(x=1, y=2) == ["a1"]
    assert seen == ["before", "after"] * 2
    assert (len(collector.events), bus.published) == (1, 1)
    undo()
    with _tapped(manager) as (_, collector):
        assert manager.hook.many(x=1, y=2) == ["a1"]
    assert len(collector.events) == 1
    assert manager._inner_hookexec == before


def test_a_tap_can_start_again() -> None:
    """The first observer after the last has left finds it where it was."""
    manager = _manager(Greets("a"))
    before = manager._inner_hookexec
    with _tapped(manager) as (bus, first):
        manager.hook.many(x=1, y=2)
        bus.subscriptions[0].close()
        assert manager._inner_hookexec == before
        manager.hook.many(x=1, y=2)
        second = Collector()
        bus.subscribe(second, live=False)
        manager.hook.many(x=1, y=2)
    assert (len(first.events), len(second.events)) == (1, 1)


# In a host


class HostSpecs:
    """The hooks of an application."""

    @hookspec
    def greet(self, name: str) -> str:
        """Say hello."""
        raise NotImplementedError


class Polite:
    """Greets, and can be executed."""

    @hookimpl
    def greet(self, name: str) -> str:
        return f"hello {name}"

    @hookimpl
    def execute(self) -> str:
        return "done"

    @hookimpl
    def teardown(self, host: Host) -> None:
        host.hook.greet(name="the end")


def test_an_execution_is_no_hook_call(host_of: HostOf, events_of: EventsOf) -> None:
    """A plugin's work is told as an execution only; the application's hooks as calls."""
    host = host_of(specs=HostSpecs, a=Polite())
    with observe(host) as observation:
        events = events_of(observation)
        host.execute("a")
        assert host.hook.greet(name="you") == ["hello you"]
    assert [(e.kind, e.hook) for e in events()] == [
        (EventKind.PLUGIN_EXECUTE, "execute"),
        (EventKind.HOOK_CALL, "greet"),
    ]


def test_an_unloaded_plugin_is_freed_while_the_tap_is_on() -> None:
    """Nothing of it is kept, even if its own teardown calls the hook once more."""

    class Source:
        def discover(self) -> Iterator[Candidate]:
            yield Candidate(info=PluginInfo(id="a"), load=lambda _fresh: Polite(), module_name="")

    host = PluginHost("test", sources=[Source()])
    host.add_hookspecs(HostSpecs)
    host.load_all()
    alive = weakref.ref(host.manager.get_plugin("a"))
    with observe(host):
        host.hook.greet(name="you")
        assert host.unload("a").survivors == ()
        gc.collect()
        assert alive() is None
        host.load("a")
        assert host.hook.greet(name="you") == ["hello you"]
