"""The composition root: `observe(host)` puts instrumentation, bus, profiler and analytics together."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Self

from pluginhost.analytics.engine import AnalyticsEngine
from pluginhost.bus import EventBus
from pluginhost.errors import InvalidValueError
from pluginhost.host.host import PluginHost
from pluginhost.instrumentation.by_context import ContextNesting
from pluginhost.instrumentation.calls import CallTimer
from pluginhost.instrumentation.cost import CostMeter
from pluginhost.instrumentation.lifecycle import LifecycleSource
from pluginhost.instrumentation.nesting import frame_variable
from pluginhost.instrumentation.sampling import Sampler
from pluginhost.instrumentation.tap import HookTapSource
from pluginhost.profiler.profiler import Profiler
from pluginhost.rendering import analytics_text, performance_text
from pluginhost.report import Environment, Report


class Observation:
    """What is being learnt of one host; a context manager that stops on leaving.

    `profiler` and `analytics` hold the knowledge (None where they were not wanted), `bus` takes
    further observers. After `close()` everything learnt can still be read.
    """

    def __init__(
        self, host: PluginHost, *, profiler: Profiler | None, analytics: AnalyticsEngine | None
    ) -> None:
        self.host = host
        self.profiler = profiler
        self.analytics = analytics
        self.bus = EventBus()
        self._started_ns = self.bus.clock()
        self._ended_ns: int | None = None
        sampler = Sampler(
            profiler.sampling_rate if profiler else 0.0,
            budget=profiler.cost_budget if profiler else None,
        )
        current = frame_variable(self.bus.tree)
        tap = HookTapSource(host.manager, CallTimer(ContextNesting(self.bus, current)).timed)
        self.bus.add_source(LifecycleSource(host, self.bus, sampler, current, tap.letting_go))
        self.bus.add_source(tap)
        self._meter = CostMeter(self.bus, sampler)
        if profiler is not None:
            profiler.connect(self.bus.flush, self._meter.overhead)
            self.bus.subscribe(profiler, live=False)
        if analytics is not None:
            analytics.connect(self.bus.flush)
            self.bus.subscribe(analytics, live=False)

    def report(self) -> Report:
        """Return everything that is known now."""
        self.bus.flush()
        ended_ns = self._ended_ns if self._ended_ns is not None else self.bus.clock()
        # Before the profiler's: its first report calibrates, which is not time observed.
        analytics = self.analytics.report() if self.analytics else None
        return Report(
            name=self.host.name,
            created_timestamp_ns=time.time_ns(),
            observed_ns=ended_ns - self._started_ns,
            environment=environment(),
            plugins=(*self.host.plugins.values(), *self.host.rejected),
            performance=self.profiler.report() if self.profiler else None,
            analytics=analytics,
        )

    def performance_report(self) -> str:
        """Return the profiler's report as text."""
        return performance_text(_there(self.profiler, "profiler").report())

    def analytics_summary(self) -> str:
        """Return the analytics engine's report as text."""
        return analytics_text(_there(self.analytics, "analytics").report())

    def close(self) -> None:
        """Deliver what is pending and detach; the host is as it was. Closing twice does nothing."""
        if self._ended_ns is None:
            self._ended_ns = self.bus.clock()
            try:
                self.bus.close()
            finally:
                for part in (self.profiler, self.analytics):
                    if part is not None:
                        part.disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def observe(
    target: PluginHost,
    *,
    profiler: Profiler | bool | None = True,
    analytics: AnalyticsEngine | bool | None = True,
) -> Observation:
    """Observe every load, execution, unload and hook call of the plugins of `target`.

    Give a `Profiler` or an `AnalyticsEngine` to choose their settings, True for the defaults,
    False or None to do without. Without any observer nothing is attached and nothing is slower.
    """
    if not isinstance(target, PluginHost):
        raise InvalidValueError(
            f"a {type(target).__name__} cannot be observed", remedy="give a PluginHost"
        )
    return Observation(
        target,
        profiler=Profiler() if profiler is True else profiler or None,
        analytics=AnalyticsEngine() if analytics is True else analytics or None,
    )


def environment() -> Environment:
    """Return where and with what this process runs."""
    return Environment(
        pluginhost=_version("pluginhost"),
        pluggy=_version("pluggy"),
        python=platform.python_version(),
        platform=platform.platform(),
        hostname=platform.node(),
        cpu_count=os.cpu_count() or 1,
        pid=os.getpid(),
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


def _there(part: Any, name: str) -> Any:
    if part is None:
        raise InvalidValueError(
            f"this observation has no {name}", remedy=f"leave out {name}=None in observe()"
        )
    return part
