"""The measured part of `pluginhost run`: plugins take turns, whatever happens in them."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import msgspec

from pluginhost.errors import PluginHostError
from pluginhost.history.places import Place
from pluginhost.history.records import HistoryAccount
from pluginhost.host.host import PluginHost
from pluginhost.inside import ANY, Inside
from pluginhost.observation import observe
from pluginhost.printable import printable
from pluginhost.profiler.profiler import Profiler
from pluginhost.report import PluginState, Report


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run: the plugins (empty: all), on what, how often, and how closely to look.

    `inside` is which plugin to look into.
    """

    plugin_ids: tuple[str, ...] = ()
    payloads: tuple[Path | None, ...] = (None,)
    repeat: int = 1
    deadline: float | None = None
    sampling_rate: float = 1.0
    cost_budget: float | None = 0.05
    inside: Inside | None = None
    history: str | None = None
    anomalies: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    `idle` are plugins that were loaded but have nothing to execute, `left_behind` is what went
    wrong when plugins were unloaded, a line each.
    """

    report: Report
    done: int
    total: int
    interrupted: bool
    idle: tuple[str, ...]
    left_behind: tuple[str, ...]
    history: HistoryAccount | None = None


def measure(host: PluginHost, plan: Plan, on_progress: Callable[[int, int], None]) -> Outcome:
    """Load, execute and unload under observation; Ctrl-C ends it early, with a report all the same.

    What plugins print goes to standard error. `on_progress(done, total)` is called between
    executions. Raises `PluginNotFoundError` for an unknown plugin, before any is loaded.
    """
    profiler = Profiler(sampling_rate=plan.sampling_rate, cost_budget=plan.cost_budget)
    rounds = Rounds(host, plan, on_progress)
    _known(host, plan.inside)
    history = True if plan.history == "" else plan.history
    observing = observe(
        host,
        profiler=profiler,
        anomalies=plan.anomalies,
        history=history,
        inside=plan.inside,
    )
    with observing as observation, redirect_stdout(sys.stderr):
        with Stoppable() as run:
            rounds.begin(loaded(host, plan.plugin_ids))
            rounds.run(lambda: run.stopped)
        left_behind: list[str] = []
        with Stoppable():
            left_behind = unloaded(host)
        report = observation.report()
    account = None
    if observation.history is not None:
        account = observation.history.account()
        report = _with_course(report, observation.history.place)
    return Outcome(
        report=report,
        done=rounds.done,
        total=rounds.total,
        interrupted=run.stopped,
        idle=tuple(rounds.idle),
        left_behind=tuple(left_behind),
        history=account,
    )


def _with_course(report: Report, place: Place) -> Report:
    """Return the report with what the history knows of its plugins, if it can be asked."""
    from pluginhost.history.course import with_course
    from pluginhost.history.reader import History

    try:
        with History(place) as history:
            return with_course(report, history)
    except PluginHostError:
        return report


def _known(host: PluginHost, inside: Inside | None) -> None:
    """Refuse to look into a plugin that there is not."""
    if inside is not None and inside.plugin_id != ANY:
        host.discover()
        if inside.plugin_id not in host.plugins:
            host.load(inside.plugin_id)  # raises, and names those that are near


def loaded(host: PluginHost, wanted: Sequence[str]) -> list[str]:
    """Load the plugins that are wanted (none: all) and return those that now are.

    The reasons of the others stay in `host.plugins`.
    """
    if not wanted:
        host.load_all()
        return [i for i, info in host.plugins.items() if info.state is PluginState.LOADED]
    host.discover()
    for plugin_id in wanted:
        if plugin_id not in host.plugins:
            host.load(plugin_id)  # raises, and names those that are near
    for plugin_id in wanted:
        try:
            host.load(plugin_id)
        except PluginHostError:
            continue
    return [i for i in wanted if host.plugins[i].state is PluginState.LOADED]


class Rounds:
    """Executes each plugin on each payload, again and again; the plugins take turns.

    A machine that gets slower meanwhile slows them all alike. What plugins raise is counted by
    those who observe the host and is of no further concern here.
    """

    def __init__(
        self, host: PluginHost, plan: Plan, on_progress: Callable[[int, int], None]
    ) -> None:
        self._host = host
        self._plan = plan
        self._on_progress = on_progress
        self._active: list[str] = []
        self.idle: list[str] = []
        self.done = 0

    def begin(self, plugin_ids: Sequence[str]) -> None:
        """Take the plugins that are to be executed; those that cannot be are `idle`."""
        able = set(self._host.executable)
        self._active = [plugin_id for plugin_id in plugin_ids if plugin_id in able]
        self.idle = [plugin_id for plugin_id in plugin_ids if plugin_id not in able]

    @property
    def total(self) -> int:
        """How many executions there are to be."""
        return len(self._active) * self._plan.repeat * len(self._plan.payloads)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Execute everything, or until `stopped()`."""
        for _ in range(self._plan.repeat):
            for payload in self._plan.payloads:
                for plugin_id in self._active:
                    if stopped():
                        return
                    self._execute(plugin_id, payload)

    def _execute(self, plugin_id: str, payload: Path | None) -> None:
        try:
            self._host.execute(plugin_id, payload, deadline=self._plan.deadline)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: S110  # SystemExit too: one plugin must not end the run
            pass
        self.done += 1
        self._on_progress(self.done, self.total)


def unloaded(host: PluginHost) -> list[str]:
    """Unload every plugin and return what their teardowns raise, a line each."""
    try:
        host.close()
    except BaseExceptionGroup as group:
        return [printable(f"{type(error).__name__}: {error}") for error in group.exceptions]
    return []


class Stoppable:
    """A `with` block that Ctrl-C leaves early and quietly; `stopped` says that it did.

    A plugin that swallows `KeyboardInterrupt` is stopped after its execution, by `stopped`.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._installed = False

    def __enter__(self) -> Self:
        default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if default and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._stop)
            self._installed = True
        return self

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True
        raise KeyboardInterrupt

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if isinstance(error, KeyboardInterrupt):
            self.stopped = True
            return True
        return False
