"""The hosts and hooks that are measured: plugins that do nothing, so that only the rest is seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pluggy

from pluginhost import AnalyticsEngine, PluginHost, Profiler, hookimpl
from pluginhost.bus import EventBus
from pluginhost.hookspecs import PROJECT_NAME, LifecycleSpec
from pluginhost.instrumentation.cost import CostMeter
from pluginhost.instrumentation.lifecycle import sampled_wrapper, wall_wrapper
from pluginhost.instrumentation.nesting import frame_variable
from pluginhost.instrumentation.sampling import Sampler

EMPTY_PLUGIN = """\
from pluginhost import hookimpl

@hookimpl
def execute(payload):
    return payload
"""


class NoOpWrapper:
    """The least a wrapper can do: it asks for the plugin and passes the result on."""

    @hookimpl(wrapper=True, tryfirst=True)
    def pluginhost_execute(self, plugin_id: str) -> Iterator[Any]:
        """Pass the result on."""
        return (yield)


@contextmanager
def empty_host(count: int = 1) -> Iterator[PluginHost]:
    """Yield a host with plugins `p0`, `p1`, ... that return their payload."""
    with TemporaryDirectory() as folder:
        for number in range(count):
            Path(folder, f"p{number}.py").write_text(EMPTY_PLUGIN)
        with PluginHost("benchmark", sources=[folder]) as host:
            host.load_all()
            yield host


def lifecycle_hook(*wrappers: object) -> Any:
    """Return a hook with one implementation that returns its argument, and these wrappers."""

    class Implementation:
        @hookimpl(trylast=True)
        def pluginhost_execute(self, task: object) -> object:
            return task

    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(LifecycleSpec)
    manager.register(Implementation())
    for wrapper in wrappers:
        manager.register(wrapper)
    return manager.hook.pluginhost_execute


def observed_hook(rate: float) -> tuple[Any, EventBus]:
    """Return such a hook, recorded in full: journal, aggregates, histogram, event store."""
    bus, sampler = EventBus(), Sampler(rate)
    current = frame_variable(bus.tree)
    wrapper = sampled_wrapper(bus, sampler, current) if rate else wall_wrapper(bus, current)
    CostMeter(bus, sampler)
    bus.subscribe(Profiler(sampling_rate=rate), live=False)
    bus.subscribe(AnalyticsEngine(), live=False)
    return lifecycle_hook(wrapper), bus
