"""`observe(host)`: everything put together, attached, detached, and read."""

from __future__ import annotations

import itertools
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pluggy
import pytest

from pluginhost import (
    AnalyticsEngine,
    EventBatch,
    Observation,
    PluginHost,
    PluginInfo,
    Profiler,
    Report,
    hookimpl,
    hookspec,
    observe,
)
from pluginhost.errors import InvalidValueError
from pluginhost.host.sources import Candidate
from pluginhost.observation import environment
from pluginhost.report import decode, encode


class Specs:
    """The hooks of an application."""

    @hookspec
    def greet(self) -> str:
        """Say hello."""
        raise NotImplementedError


class Plugin:
    """Calls its payload, and greets."""

    @hookimpl
    def execute(self, payload: Callable[[], Any]) -> Any:
        return payload()

    @hookimpl
    def greet(self) -> str:
        return "hello"


class Objects:
    """A source of two plugins that are there already, and one claim to an id too many."""

    def discover(self) -> Iterator[Candidate]:
        for plugin_id in ("a", "b", "a"):
            yield Candidate(
                info=PluginInfo(id=plugin_id, version="1.0"),
                load=lambda _fresh: Plugin(),
                module_name="",
            )


class Counter:
    """Counts what it is told of."""

    def __init__(self) -> None:
        self.occurrences = 0

    def observe(self, batch: EventBatch) -> None:
        self.occurrences += batch.occurrences


@pytest.fixture
def host() -> PluginHost:
    """A host with the plugins a and b."""
    made = PluginHost("the application", sources=[Objects()])
    made.add_hookspecs(Specs)
    made.load_all()
    return made


def _attached(host: PluginHost) -> tuple[object, ...]:
    """Return all that an observation could leave behind in a host."""
    lifecycle = host.lifecycle
    return (
        {name: caller.get_hookimpls() for name, caller in vars(lifecycle.hook).items()},
        set(lifecycle.get_plugins()),
        host.manager._inner_hookexec,
        lifecycle._inner_hookexec,
        {name: caller.get_hookimpls() for name, caller in vars(host.manager.hook).items()},
    )


# Attaching and detaching


def test_an_observation_leaves_the_host_as_it_was(host: PluginHost) -> None:
    """Wrappers and tap are there meanwhile, and nothing of them afterwards."""
    before = _attached(host)
    with observe(host):
        during = _attached(host)
        host.execute("a", int)
    assert during != before
    assert _attached(host) == before


def test_whoever_only_looks_attaches_nothing(host: PluginHost) -> None:
    """Without an observer nothing is registered, so nothing is slower, and nothing recorded."""
    before = _attached(host)
    with observe(host, profiler=None, analytics=False) as observation:
        host.execute("a", int)
        assert _attached(host) == before
        assert observation.bus.published == 0
        counter = Counter()
        subscription = observation.bus.subscribe(counter, live=False)
        assert _attached(host) != before
        host.execute("a", int)
        subscription.close()
        assert _attached(host) == before
        host.execute("a", int)
    assert counter.occurrences == 1


def test_without_sampling_nothing_can_be_sampled(host: PluginHost) -> None:
    """A rate of 0 takes the wrapper that has no readings at all."""
    with observe(host, profiler=Profiler(sampling_rate=0.0)) as observation:
        for _ in range(100):
            host.execute("a", int)
    assert observation.profiler is not None
    assert observation.profiler.get_aggregates("a").sampled_count == 0


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_observations_of_one_host_end_in_any_order(
    host: PluginHost, order: tuple[int, ...]
) -> None:
    """Each hears all until it is closed, and after the last the host is as it was."""
    before = _attached(host)
    observations = [observe(host) for _ in range(3)]
    expected = [0, 0, 0]
    for turn, number in enumerate(order):
        host.execute("a", int)
        host.hook.greet()
        for still in order[turn:]:
            expected[still] += 1
        observations[number].close()
    host.execute("a", int)
    for observation, count in zip(observations, expected, strict=True):
        assert observation.profiler is not None
        assert observation.profiler.get_aggregates("a").execution_count == count
        hooks = {(row.plugin_id, row.hook): row for row in observation.profiler.report().hooks}
        assert hooks["b", "greet"].call_count == count
    assert _attached(host) == before


def test_an_exception_within_detaches_too(host: PluginHost) -> None:
    """The error comes through, and what was learnt can be read."""
    before = _attached(host)
    observation = observe(host)

    def use() -> None:
        with observation:
            host.execute("a", int)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        use()
    assert _attached(host) == before
    assert observation.profiler is not None
    assert observation.profiler.get_aggregates("a").execution_count == 1


def test_an_interrupt_while_closing_detaches_too(host: PluginHost) -> None:
    """Ctrl-C in an observer's last delivery is raised, but the host is free."""

    class Interrupted:
        def observe(self, batch: EventBatch) -> None:
            raise KeyboardInterrupt

    before = _attached(host)
    observation = observe(host)
    observation.bus.subscribe(Interrupted(), live=False)
    host.execute("a", int)
    with pytest.raises(KeyboardInterrupt):
        observation.close()
    assert _attached(host) == before
    observation.close()
    assert observation.profiler is not None
    assert observation.profiler.get_aggregates("a").execution_count == 1


def test_observations_come_and_go_while_plugins_run(host: PluginHost) -> None:
    """Executions in other threads never fail for it, and nothing is left at the end."""
    before, stop = _attached(host), threading.Event()
    failures: list[BaseException] = []
    runs = [0] * 3

    def work(number: int) -> None:
        try:
            while not stop.is_set():
                host.execute("ab"[number % 2], host.hook.greet)
                runs[number] += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for _ in range(40):
            with observe(host) as observation:
                time.sleep(0.002)
                assert observation.profiler is not None
                observation.profiler.get_all_aggregates()
        stop.set()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switching)
    assert failures == []
    assert min(runs) > 0
    assert _attached(host) == before


def test_closing_while_a_plugin_that_is_being_loaded_reads_is_no_deadlock() -> None:
    """One thread holds the lifecycle lock and wants the bus, the other the other way round."""
    inside = threading.Event()

    class Nosy:
        @hookimpl
        def setup(self) -> None:
            inside.set()
            time.sleep(0.05)  # until the other thread is closing
            assert observation.profiler is not None
            observation.profiler.get_all_aggregates()

    class Source:
        def discover(self) -> Iterator[Candidate]:
            yield Candidate(info=PluginInfo(id="n"), load=lambda _fresh: Nosy(), module_name="")

    host = PluginHost("test", sources=[Source()])
    observation = observe(host)
    observation.bus.subscribe(Counter())
    loading = threading.Thread(target=host.load_all, daemon=True)
    closing = threading.Thread(target=observation.close, daemon=True)
    loading.start()
    assert inside.wait(20)
    closing.start()
    loading.join(20)
    closing.join(20)
    assert not loading.is_alive()
    assert not closing.is_alive()
    assert host.plugins["n"].state == "loaded"


@pytest.mark.usefixtures("quiet")
def test_the_background_threads_are_there_for_live_observers_only(host: PluginHost) -> None:
    """Profiler and analytics are read on demand and need none."""
    before = threading.active_count()
    with observe(host) as observation:
        assert threading.active_count() == before
        observation.bus.subscribe(Counter())
        assert threading.active_count() == before + 2
    deadline = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


# Reading


def test_ten_threads_of_a_thousand_executions_are_counted_exactly(host: PluginHost) -> None:
    """Profiler, analytics and a further observer agree to the last one."""
    counter = Counter()
    with observe(host) as observation:
        observation.bus.subscribe(counter)
        threads = [
            threading.Thread(target=lambda: [host.execute("a", int) for _ in range(1000)])
            for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert observation.profiler is not None
        assert observation.analytics is not None
        assert observation.profiler.get_aggregates("a").execution_count == 10_000
        assert observation.analytics.get_plugin_stats("a").execution_count == 10_000
        assert observation.bus.published == 10_000
    assert counter.occurrences == 10_000


def test_reading_needs_no_waiting(host: PluginHost) -> None:
    """What has happened is in the very next answer, without flush or close."""
    with observe(host) as observation:
        assert observation.profiler is not None
        assert observation.analytics is not None
        for count in range(1, 4):
            host.execute("a", int)
            assert observation.profiler.get_aggregates("a").execution_count == count
            assert observation.analytics.get_plugin_stats("a").execution_count == count
            report = observation.report().performance
            assert report is not None
            assert report.plugins[0].execution_count == count


def test_all_that_was_learnt_can_be_read_after_the_end(host: PluginHost) -> None:
    """Closing delivers what is pending; closing twice does nothing."""
    observation = observe(host)
    host.execute("a", int)
    observation.close()
    host.execute("a", int)
    observation.close()
    assert observation.profiler is not None
    assert observation.profiler.get_aggregates("a").execution_count == 1
    assert "the application" in encode(observation.report())
    assert "a" in observation.performance_report()
    assert "a" in observation.analytics_summary()


def test_a_report_says_who_where_when_and_all_that_is_known(host: PluginHost) -> None:
    """Name, machine, plugins (rejected ones, too), and both reports within the time observed."""
    started_ns = time.time_ns()
    with observe(host) as observation:
        host.execute("a", lambda: time.sleep(0.01))
        report = observation.report()
    assert isinstance(report, Report)
    assert report.name == "the application"
    assert started_ns <= report.created_timestamp_ns <= time.time_ns()
    assert 10_000_000 <= report.observed_ns <= time.time_ns() - started_ns
    assert [info.id for info in report.plugins] == ["a", "b", "a"]
    assert report.performance is not None
    assert report.analytics is not None
    assert [row.plugin_id for row in report.performance.plugins] == ["a"]
    assert [row.execution_count for row in report.analytics.plugins] == [1]


def test_a_report_survives_its_file_format(host: PluginHost) -> None:
    """What is written as JSON is read as the same record."""
    with observe(host) as observation:
        host.execute("a", int)
        host.hook.greet()
        report = observation.report()
    assert decode(encode(report), Report) == report


def test_the_observed_time_ends_with_the_observation(host: PluginHost) -> None:
    """A report that is made later does not dilute its figures."""
    with observe(host) as observation:
        host.execute("a", int)
    first = observation.report()
    time.sleep(0.02)
    second = observation.report()
    assert first.observed_ns == second.observed_ns
    assert first.performance is not None
    assert second.performance is not None
    assert first.performance.observed_ns == second.performance.observed_ns


def test_the_environment_is_this_process(host: PluginHost) -> None:
    """Versions, machine and process are those that the standard library knows."""
    found = environment()
    assert (found.python, found.pluggy) == (platform.python_version(), pluggy.__version__)
    assert (found.hostname, found.pid) == (platform.node(), os.getpid())
    assert found.cpu_count >= 1
    with observe(host) as observation:
        assert observation.report().environment == found


@pytest.mark.parametrize(
    ("options", "missing", "remedy"),
    [
        pytest.param(
            {"profiler": None}, Observation.performance_report, "leave out profiler", id="profiler"
        ),
        pytest.param(
            {"analytics": False},
            Observation.analytics_summary,
            "leave out analytics",
            id="analytics",
        ),
    ],
)
def test_a_part_that_was_not_wanted_is_not_there(
    host: PluginHost,
    options: dict[str, Any],
    missing: Callable[[Observation], str],
    remedy: str,
) -> None:
    """Its text is refused with what to do; the report of the rest is made without it."""
    with observe(host, **options) as observation:
        host.execute("a", int)
        with pytest.raises(InvalidValueError, match=remedy):
            missing(observation)
        report = observation.report()
    assert (report.performance is None) is ("profiler" in options)
    assert (report.analytics is None) is ("analytics" in options)


def test_parts_that_are_given_are_used_as_they_are(host: PluginHost) -> None:
    """Their settings hold, and the objects can be read without the observation."""
    profiler, analytics = Profiler(max_history=2, sampling_rate=1.0), AnalyticsEngine(max_events=3)
    with observe(host, profiler=profiler, analytics=analytics) as observation:
        assert (observation.profiler, observation.analytics) == (profiler, analytics)
        for _ in range(5):
            host.execute("a", int)
    assert len(profiler.get_history("a")) == 2
    assert profiler.get_aggregates("a").sampled_count == 5
    assert len(analytics.get_plugin_events("a")) == 3


def test_a_profiler_may_go_from_one_observation_to_the_next(host: PluginHost) -> None:
    """What it learns adds up."""
    profiler = Profiler()
    for _ in range(2):
        with observe(host, profiler=profiler):
            host.execute("a", int)
    assert profiler.get_aggregates("a").execution_count == 2


@pytest.mark.parametrize("target", [None, 42, "host"], ids=repr)
def test_what_is_no_host_cannot_be_observed(target: Any) -> None:
    """The error says what to give instead."""
    with pytest.raises(InvalidValueError, match="cannot be observed - give a PluginHost"):
        observe(target)
