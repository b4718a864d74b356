"""The composition root: `observe(target)` puts instrumentation, bus, profiler and analytics together."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import pluggy

from pluginhost.analytics.anomalies import AnomalyDetector
from pluginhost.analytics.engine import AnalyticsEngine
from pluginhost.attribution import costs_of
from pluginhost.bus import EventBus
from pluginhost.costs import CostReport
from pluginhost.environment import environment
from pluginhost.errors import InvalidValueError
from pluginhost.host.host import PluginHost
from pluginhost.inside import Inside
from pluginhost.instrumentation.by_context import ContextNesting
from pluginhost.instrumentation.calls import CallTimer
from pluginhost.instrumentation.cost import CostMeter
from pluginhost.instrumentation.inside import InsideSource
from pluginhost.instrumentation.lifecycle import LifecycleSource
from pluginhost.instrumentation.nesting import frame_variable
from pluginhost.instrumentation.sampling import Sampler
from pluginhost.instrumentation.tap import HookTapSource
from pluginhost.printable import printable
from pluginhost.profiler.inside import with_inside
from pluginhost.profiler.profiler import Profiler
from pluginhost.recording import Recorder
from pluginhost.rendering.analytics import analytics_text
from pluginhost.rendering.costs import cost_text
from pluginhost.rendering.performance import performance_text
from pluginhost.report import (
    Overhead,
    PerformanceReport,
    PluginInfo,
    PluginState,
    Report,
)

if TYPE_CHECKING:
    from pluginhost.history.keeper import HistoryKeeper

_CAPACITY = 10_000  # records of a manager between two rounds of adding up; about 1 MB


class Watched(Protocol):
    """What an observation is of, attached to: a bus, and what only the target knows."""

    name: str
    bus: EventBus

    def plugins(self) -> tuple[PluginInfo, ...]:
        """Return all plugins, loaded or not."""

    def overhead(self, observed_ns: int) -> Overhead:
        """Return the cost of all measuring so far, as a share of `observed_ns`."""

    def costs(self) -> CostReport | None:
        """Return rows that add up to the whole, where the whole is known."""

    def inside(self, report: PerformanceReport) -> PerformanceReport:
        """Return the report with what was sampled inside of a plugin."""

    def close(self) -> None:
        """Deliver what is pending and detach."""


class Observation:
    """What is being learnt of one host or plugin manager; a context manager that stops on leaving.

    `profiler` and `analytics` hold the knowledge (None where they were not wanted), `bus` takes
    further observers. `history` is who keeps it, and what became of it is in `history.account()`.
    After `close()` everything learnt can still be read.
    """

    def __init__(
        self,
        watched: Watched,
        *,
        profiler: Profiler | None,
        analytics: AnalyticsEngine | None,
        anomalies: AnomalyDetector | None = None,
        history: str | Path | None = None,
    ) -> None:
        self.profiler = profiler
        self.analytics = analytics
        self.anomalies = anomalies
        self.history: HistoryKeeper | None = None
        self.bus = watched.bus
        self._watched = watched
        self._started_ns = self.bus.clock()
        self._ended_ns: int | None = None
        with ExitStack() as undo:
            undo.callback(watched.close)
            if profiler is not None:
                profiler.connect(self.bus.reading, watched.overhead)
                undo.callback(profiler.disconnect)
            if analytics is not None:
                analytics.connect(self.bus.reading)
                undo.callback(analytics.disconnect)
            for part in (profiler, analytics):
                if part is not None:
                    self.bus.subscribe(part, live=False)
            if anomalies is not None:
                self._watching = self.bus.subscribe(anomalies)
            if history is not None:
                self.history = _keeper(history, watched, anomalies)
                self._keeping = self.history.attach(self.bus)
            undo.pop_all()

    def report(self) -> Report:
        """Return everything that is known now."""
        self.bus.flush()
        ended_ns = self._ended_ns if self._ended_ns is not None else self.bus.clock()
        # Before the profiler's: its first report calibrates, which is not time observed.
        analytics = self.analytics.report() if self.analytics else None
        costs = self._watched.costs()
        if self.anomalies is not None:
            self._watching.flush()
        return Report(
            name=self._watched.name,
            created_timestamp_ns=time.time_ns(),
            observed_ns=ended_ns - self._started_ns,
            environment=environment(),
            plugins=self._watched.plugins(),
            performance=self._performance() if self.profiler else None,
            analytics=analytics,
            costs=costs,
            anomalies=self.anomalies.anomalies() if self.anomalies else (),
            history_id=self.history.label.id if self.history is not None else None,
        )

    def performance_report(self) -> str:
        """Return as text what the plugins cost: of a pluggy manager rows that add up to 100 %."""
        costs = self._watched.costs()
        if costs is not None:
            return cost_text(costs)
        return performance_text(self._performance())

    def _performance(self) -> PerformanceReport:
        return self._watched.inside(_there(self.profiler, "profiler").report())

    def analytics_summary(self) -> str:
        """Return the analytics engine's report as text."""
        return analytics_text(_there(self.analytics, "analytics").report())

    def export(self, format_name: str, file: str | Path) -> None:
        """Save everything that is known now in the format of another tool, such as "pprof".

        `pluginhost.exporters.EXPORTERS` lists the formats; `export` there returns text or bytes.
        """
        from pluginhost.exporters import export
        from pluginhost.saving import write_file

        write_file(export(format_name, self.report()), file)

    def close(self) -> None:
        """Deliver what is pending and detach; all is as it was. Closing twice does nothing."""
        if self._ended_ns is None:
            self._ended_ns = self.bus.clock()
            try:
                self._watched.close()
                if self.history is not None:
                    self.history.close()
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
    target: PluginHost | pluggy.PluginManager,
    *,
    profiler: Profiler | bool | None = True,
    analytics: AnalyticsEngine | bool | None = True,
    anomalies: AnomalyDetector | bool | None = None,
    history: str | Path | bool | None = None,
    inside: Inside | None = None,
) -> Observation:
    """Observe what the plugins of `target` do, and what each of them costs.

    Of a `PluginHost`, that is every load, execution, unload and hook call. Of any other pluggy
    manager it is every call of a hook implementation, and every import meanwhile; `report().costs`
    has rows that add up to the time observed, for the thread that observes.

    Give a `Profiler` or an `AnalyticsEngine` to choose their settings, True for the defaults,
    False or None to do without. With `anomalies`, an `AnomalyDetector` tells what is not as it was
    before. With `history`, a file or URL (True: the default), everything is kept in it as a run;
    needs the extra `history`. Without any observer nothing is attached to a host and nothing is
    slower. `inside` says which plugin of a host to look into with a sampling profiler.
    """
    chosen = Profiler() if profiler is True else profiler or None
    if isinstance(target, PluginHost):
        watched: Watched = _Host(target, chosen, inside)
    elif isinstance(target, pluggy.PluginManager):
        if inside is not None:
            raise InvalidValueError(
                "only executions by a PluginHost can be looked into",
                remedy="leave out inside=, and profile the program with pyinstrument or memray",
            )
        watched = _Manager(target)
    else:
        raise InvalidValueError(
            f"a {type(target).__name__} cannot be observed",
            remedy="give a PluginHost or a pluggy.PluginManager",
        )
    engine = AnalyticsEngine() if analytics is True else analytics or None
    detector = AnomalyDetector() if anomalies is True else anomalies or None
    where = "" if history is True else history or None
    return Observation(
        watched, profiler=chosen, analytics=engine, anomalies=detector, history=where
    )


def _keeper(
    where: str | Path, watched: Watched, anomalies: AnomalyDetector | None
) -> HistoryKeeper:
    """Return who keeps what is observed; raises when an extra is missing, and not later."""
    from pluginhost.extras import require

    require("sqlalchemy", "alembic", extra="history")
    from pluginhost.history.keeper import HistoryKeeper
    from pluginhost.history.labels import label_of_run

    return HistoryKeeper(
        where or None,
        label=label_of_run(watched.name, environment(), time.time_ns()),
        plugins=watched.plugins,
        anomalies=anomalies.anomalies if anomalies is not None else None,
    )


class _Host:
    """A host, and what is attached to it while the bus has observers."""

    def __init__(self, host: PluginHost, profiler: Profiler | None, inside: Inside | None) -> None:
        self._host = host
        self.name = host.name
        self.bus = EventBus()
        sampler = Sampler(
            profiler.sampling_rate if profiler else 0.0,
            budget=profiler.cost_budget if profiler else None,
        )
        current = frame_variable(self.bus.tree)
        tap = HookTapSource(host.manager, CallTimer(ContextNesting(self.bus, current)).timed)
        self.bus.add_source(LifecycleSource(host, self.bus, sampler, current, tap.letting_go))
        self.bus.add_source(tap)
        self._inside = InsideSource(host, inside) if inside is not None else None
        if self._inside is not None:
            self.bus.add_source(
                self._inside
            )  # the last to be attached stands outside of the others
        self.overhead = CostMeter(self.bus, sampler).overhead
        self.close = self.bus.close

    def plugins(self) -> tuple[PluginInfo, ...]:
        """Return all plugins, loaded or not."""
        return (*self._host.plugins.values(), *self._host.rejected)

    def costs(self) -> CostReport | None:
        """Return nothing: time between executions is nobody's."""
        return None

    def inside(self, report: PerformanceReport) -> PerformanceReport:
        """Return the report with what was sampled inside of a plugin."""
        profile = self._inside.profile() if self._inside is not None else None
        return report if profile is None else with_inside(report, profile)


class _Manager:
    """A pluggy manager of any application, recorded from now on."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self.name = printable(manager.project_name)
        self.bus = EventBus(capacity=_CAPACITY, drain_chunk=_CAPACITY)
        self._recorder = Recorder(bus=self.bus)
        self._recorder.watch(manager)
        self._recorder.start()
        self.close = self._recorder.close

    def plugins(self) -> tuple[PluginInfo, ...]:
        """Return the plugins that are not the application's own."""
        return tuple(
            PluginInfo(
                id=row.name,
                state=PluginState.LOADED,
                source=str(row.kind),
                version=row.version,
                distribution=row.distribution,
            )
            for row in self.costs().plugins
        )

    def overhead(self, observed_ns: int) -> Overhead:
        """Return the cost of all measuring so far, as a share of `observed_ns`."""
        cost = self.costs().measuring
        return Overhead(
            processing_ns=cost.setup_ns + cost.processing_ns,
            recording_ns=cost.recording_ns,
            records=cost.records,
            share=cost.total_ns / observed_ns if observed_ns else None,
        )

    def costs(self) -> CostReport:
        """Return rows that add up to the time observed."""
        return costs_of([self._recorder.capture("observed")])

    def inside(self, report: PerformanceReport) -> PerformanceReport:
        """Return the report as it is: no plugin is looked into."""
        return report


def _there(part: Any, name: str) -> Any:
    if part is None:
        raise InvalidValueError(
            f"this observation has no {name}", remedy=f"leave out {name}=None in observe()"
        )
    return part
