"""The public API as a type checker sees it: mypy runs over this file, nothing executes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, assert_type

import pluggy

from pluginhost import (
    AnalyticsEngine,
    AnalyticsEvent,
    Event,
    EventBatch,
    EventBus,
    EventKind,
    Host,
    Observation,
    Observer,
    PluginHost,
    PluginHostError,
    PluginInfo,
    PluginState,
    Profiler,
    Report,
    Status,
    Thresholds,
    hookimpl,
    hookspec,
    observe,
)
from pluginhost.analytics.records import AnalyticsWindow
from pluginhost.costs import FlameGraphNode
from pluginhost.report import (
    AggregateMetrics,
    Bottleneck,
    ExecutionMetrics,
    PerformanceReport,
    PerformanceSample,
    PluginStats,
    TrendAnalysis,
)
from pluginhost.subscription import Subscription


class Specs:
    """A host application's own hooks."""

    @hookspec
    def greet(self, name: str) -> str:
        """Return a greeting."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def choose(self, names: Sequence[str]) -> str | None:
        """Return one of `names`."""


class Plugin:
    """A plugin keeps the types of its own functions, and is given a `Host`."""

    @hookimpl
    def setup(self, host: Host) -> None:
        assert_type(host.name, str)
        assert_type(host.hook, pluggy.HookRelay)
        assert_type(host.execute("other", 1, deadline=0.5, option="x"), Any)

    @hookimpl
    async def execute(self, payload: bytes, host: Host, options: Mapping[str, Any]) -> int:
        assert_type(await host.aexecute("other", payload), Any)
        return len(payload)

    @hookimpl(trylast=True)
    def greet(self, name: str) -> str:
        return name


assert_type(Plugin().greet("you"), str)


class Listener:
    """An observer needs nothing but this method."""

    def observe(self, batch: EventBatch) -> None:
        assert_type(batch[0], Event)
        assert_type(batch[:2], Sequence[Event])
        assert_type(batch.durations_ns, list[int])
        for event in batch:
            assert_type(event, Event)
            assert_type(event.kind, EventKind)
            assert_type(event.status, Status)
            assert_type(event.duration_ns, int)
            assert_type(event.parent, str | None)
            assert_type(event.path, tuple[str, ...])
            assert_type(event.metadata, Mapping[str, str])


observer: Observer = Listener()


def hosts() -> None:
    """Find, load, run, let go."""
    with PluginHost("app", sources=["plugins", "module:x"], api_version="1.0") as host:
        assert_type(host, PluginHost)
        host.add_hookspecs(Specs)
        assert_type(host.discover(), tuple[PluginInfo, ...])
        assert_type(host.load_all(), tuple[PluginInfo, ...])
        assert_type(host.load("a"), PluginInfo)
        assert_type(host.plugins, Mapping[str, PluginInfo])
        assert_type(host.plugins["a"].state, PluginState)
        assert_type(host.plugins["a"].error, str | None)
        assert_type(host.execute("a", b"", deadline=1.0, option=1), Any)
        assert_type(host.hook, pluggy.HookRelay)
        assert_type(host.reload("a"), PluginInfo)
        assert_type(host.unload("a").survivors, tuple[str, ...])
        as_plugins_see_it: Host = host
        as_plugins_see_it.execute("a")


async def asynchronous(host: PluginHost) -> None:
    """Await one execution."""
    assert_type(await host.aexecute("a", 1, deadline=1.0), Any)


def observations(host: PluginHost) -> None:
    """Observe, read, report."""
    with observe(host, profiler=Profiler(sampling_rate=0.5), analytics=False) as observation:
        assert_type(observation, Observation)
        assert_type(observation.profiler, Profiler | None)
        assert_type(observation.analytics, AnalyticsEngine | None)
        assert_type(observation.bus, EventBus)
        assert_type(observation.report(), Report)
        assert_type(observation.performance_report(), str)
        assert_type(observation.analytics_summary(), str)
        subscription = observation.bus.subscribe(observer, live=False)
        assert_type(subscription, Subscription)
        assert_type(subscription.delivered, int)
        assert_type(subscription.error, BaseException | None)
    manager: AbstractContextManager[Observation] = observe(host)
    del manager


def profiling() -> None:
    """Every question to a profiler has an answer of a known type."""
    profiler = Profiler(
        100, 0.1, cost_budget=0.02, thresholds=Thresholds(error_rate=0.1, memory_bytes=1 << 20)
    )
    profiler.record_execution("a", 0.5, success=False, error=ValueError())
    assert_type(profiler.get_metrics("a"), ExecutionMetrics)
    assert_type(profiler.get_metrics("a").cpu_time_ns, int | None)
    assert_type(profiler.get_history("a", 5), tuple[ExecutionMetrics, ...])
    assert_type(profiler.get_samples("a"), tuple[PerformanceSample, ...])
    assert_type(profiler.get_aggregates("a"), AggregateMetrics)
    assert_type(profiler.get_aggregates("a").p99_duration_ns, float)
    assert_type(profiler.get_all_aggregates(), tuple[AggregateMetrics, ...])
    assert_type(profiler.get_slow_plugins(1.0), tuple[AggregateMetrics, ...])
    assert_type(profiler.get_failed_plugins(0.1), tuple[AggregateMetrics, ...])
    assert_type(profiler.get_memory_hogs(), tuple[AggregateMetrics, ...])
    assert_type(profiler.get_bottlenecks(), tuple[Bottleneck, ...])
    assert_type(profiler.generate_flame_graph(), FlameGraphNode)
    assert_type(profiler.generate_flame_graph().children, tuple[FlameGraphNode, ...])
    assert_type(profiler.report(), PerformanceReport)
    assert_type(profiler.export_metrics_json(), str)
    assert_type(profiler.get_performance_report(), str)


def analysing() -> None:
    """Every question to an analytics engine has an answer of a known type."""
    engine = AnalyticsEngine(max_events=100)
    engine.record_event(
        AnalyticsEvent(kind=EventKind.PLUGIN_EXECUTE, plugin_id="a", timestamp_ns=1)
    )
    assert_type(engine.get_events(0, 1.5), tuple[AnalyticsEvent, ...])
    assert_type(engine.get_plugin_events("a"), tuple[AnalyticsEvent, ...])
    assert_type(engine.get_events_by_type("plugin_load"), tuple[AnalyticsEvent, ...])
    assert_type(engine.get_plugin_stats("a"), PluginStats)
    assert_type(engine.get_all_plugin_stats(), dict[str, PluginStats])
    assert_type(engine.get_most_used_plugins(3), tuple[PluginStats, ...])
    assert_type(engine.get_most_reliable_plugins(2), tuple[PluginStats, ...])
    assert_type(engine.analyze_trends("a", 10), TrendAnalysis)
    assert_type(engine.create_time_window(60), AnalyticsWindow)
    assert_type(engine.export_analytics_json(), str)
    assert_type(engine.get_analytics_summary(), str)


def errors(error: PluginHostError) -> None:
    """Errors say who, where and what to do."""
    assert_type(error.plugin_id, str | None)
    assert_type(error.hook, str | None)
    assert_type(error.remedy, str | None)
    assert_type(error.docs_slug, str)


def refused(host: PluginHost, event: Event) -> None:
    """What makes no sense is an error already here: strict mypy wants each ignore to be needed."""
    host.execute(plugin_id="a")  # type: ignore[call-arg]
    Profiler(100, 0.1, 0.02)  # type: ignore[call-arg]
    Thresholds(0.5)  # type: ignore[call-arg]
    observe(42)  # type: ignore[arg-type]
    host.plugins["a"] = PluginInfo(id="a")  # type: ignore[index]
    event.duration_ns = 1  # type: ignore[misc]
