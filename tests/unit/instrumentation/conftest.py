"""Fixtures of the instrumentation's tests: plugins given as objects, clocks by hand, events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from pluginhost import Event, EventBatch, Observation, PluginHost, PluginInfo
from pluginhost.bus import EventBus
from pluginhost.host.sources import Candidate
from pluginhost.instrumentation.lifecycle import LifecycleSource
from pluginhost.instrumentation.nesting import frame_variable
from pluginhost.instrumentation.sampling import Sampler


class _Objects:
    """A source of plugins that are there already."""

    def __init__(self, plugins: dict[str, object]) -> None:
        self._plugins = plugins

    def discover(self) -> Iterator[Candidate]:
        for plugin_id, plugin in self._plugins.items():
            yield Candidate(
                info=PluginInfo(id=plugin_id, version="1.5"),
                load=lambda _fresh, plugin=plugin: plugin,
                module_name="",
            )


@pytest.fixture
def host_of() -> Callable[..., PluginHost]:
    """Return `make(**plugins)`, which makes a host of the plugin objects given and loads them.

    `specs` are further hookspecs; `load=False` leaves the plugins to be loaded by the test. The
    hosts are not closed: they hold nothing but the objects.
    """

    def make(*, specs: type | None = None, load: bool = True, **plugins: object) -> PluginHost:
        host = PluginHost("test", sources=[_Objects(plugins)])
        if specs is not None:
            host.add_hookspecs(specs)
        if load:
            host.load_all()
        return host

    return make


class _Collector:
    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._events: list[Event] = []
        bus.subscribe(self, live=False)

    def observe(self, batch: EventBatch) -> None:
        self._events += batch

    def __call__(self) -> list[Event]:
        self._bus.flush()
        return self._events


@pytest.fixture
def events_of() -> Callable[[Observation | EventBus], Callable[[], list[Event]]]:
    """Return `watch(observation or bus)`, whose result returns all events since, in order."""

    def watch(watched: Observation | EventBus) -> Callable[[], list[Event]]:
        return _Collector(watched if isinstance(watched, EventBus) else watched.bus)

    return watch


class Clock:
    """A clock that moves only by hand."""

    def __init__(self) -> None:
        self.now_ns = 10**9

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, ns: int) -> None:
        self.now_ns += ns


@pytest.fixture
def clock() -> Clock:
    """A clock that moves only by `clock.advance(ns)`."""
    return Clock()


@pytest.fixture
def timed_bus(clock: Clock) -> Callable[..., EventBus]:
    """Return `make(host, rate=0.0)`: a bus with that host's lifecycle, timed by `clock`."""

    def make(host: Any, *, rate: float = 0.0) -> EventBus:
        bus = EventBus(clock=clock, wall_clock=lambda: 0)
        current = frame_variable(bus.tree)
        bus.add_source(
            LifecycleSource(host, bus, Sampler(rate), current, lambda _plugin_id: nullcontext())
        )
        return bus

    return make
