"""Recording a whole process: any number of pluggy managers, and all imports, into one capture."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

import msgspec
import pluggy

from pluginhost.calltree import CallPath, CallTree
from pluginhost.capture import Capture
from pluginhost.instrumentation.by_thread import ThreadNesting
from pluginhost.instrumentation.calls import CallTimer
from pluginhost.instrumentation.fixtures import FixtureSource
from pluginhost.instrumentation.imports import ConftestSource, ImportSource
from pluginhost.instrumentation.readings import ThreadCpu
from pluginhost.instrumentation.sparing import Sparer
from pluginhost.instrumentation.tap import HookTapSource, Timed
from pluginhost.instrumentation.watched import WatchedManager
from pluginhost.printable import printable
from pluginhost.profiler.calls import CallTotals
from pluginhost.profiler.in_place import InPlace

if TYPE_CHECKING:  # who only wants sums does not pay for a bus
    from pluginhost.bus import EventBus, Source

MAX_PATHS, MAX_DEPTH = 200_000, 1_000
"""Deep enough for the imports of large programs, and still a bound."""

CPU_GAP_NS = 100_000
"""How often at most the CPU clock is read, unless wanted otherwise."""

_TICK_NS = 5_000_000  # how often at most it is looked whether to add up, without a CPU clock
_LONGEST_NAME = 500  # of a module


class Recorder:
    """Watches pluggy managers, and all imports meanwhile, for one thread whose time adds up.

    That thread is the one that makes the recorder. With a `bus`, its observers are told of every
    call in order; without, calls are only added up, which costs less.
    `cpu_gap_ns` is how often at most the CPU clock is read (see `ThreadCpu`; None: never), `imports`
    whether they are recorded. `begun_ns` and `spawned_ns` are what `Capture` says of them.
    With `sparing`, the application's own implementations, of all hooks or of those it names, are not
    all timed where calls are many (see `Sparer`); with `fixtures`, those of pytest's plugins are
    calls as well. `drained` is called now and then after calls were added up, in time that counts as
    measuring.
    After `close()` nothing of it is left in the managers or in Python's import machinery.
    """

    def __init__(
        self,
        *,
        cpu_gap_ns: int | None = CPU_GAP_NS,
        imports: bool = True,
        bus: EventBus | None = None,
        begun_ns: int | None = None,
        spawned_ns: int | None = None,
        drained: Callable[[], None] | None = None,
        sparing: bool | Collection[str] = False,
        fixtures: bool = False,
    ) -> None:
        self._bus = bus
        self._thread_id = threading.get_ident()
        self.tree = tree = CallTree(
            MAX_PATHS,
            MAX_DEPTH,
            thread_id=self._thread_id,
            journal_of=partial(BusJournal, bus) if bus is not None else lambda _path: [],
        )
        self._totals = CallTotals()
        self._adding: InPlace | None = None
        if bus is not None:
            bus.tree = tree
            bus.subscribe(self._totals, live=False)
        else:
            self._adding = InPlace(tree, self._totals)
        self._drained = drained
        self._sparing = sparing
        self._sparers: list[Sparer] = []
        self._clock = clock = bus.clock if bus is not None else time.perf_counter_ns
        self._has_cpu = cpu_gap_ns is not None
        cpu = ThreadCpu(clock, gap_ns=cpu_gap_ns) if cpu_gap_ns is not None else None
        self.nesting = ThreadNesting(
            tree,
            clock,
            cpu or ThreadCpu(clock, gap_ns=_TICK_NS, thread_cpu=clock),
            self._tick,
        )
        self._sources: list[Source] = [ImportSource(self.nesting)] if imports else []
        self._fixtures = FixtureSource(self.nesting) if fixtures else None
        self._spawned_ns = spawned_ns
        self._begun_ns = begun_ns if begun_ns is not None else clock()
        self._observed_ns = self._begun_ns
        self._ended_ns: int | None = None
        self._main_cpu_ns, self._cpu_ns = _thread_cpu_ns(self._thread_id), time.process_time_ns()
        self._watched: list[WatchedManager] = []
        self._projects: dict[str, str] = {}
        self._costs_ns: tuple[float, float, float, float] | None = None
        self._calibrating = False

    def start(self) -> None:
        """Begin to record; what is watched later is recorded from then on."""
        for source in self._sources:
            source.start()
        self._observed_ns = self._clock()

    def watch(
        self,
        manager: pluggy.PluginManager,
        *,
        through: Callable[[Timed], Timed] = lambda timed: timed,
        like_own: Collection[str] = (),
    ) -> None:
        """Record every implementation's calls in `manager`, whenever it is registered.

        `through` is given what times an implementation, and returns what is to do so. The plugins
        named `like_own` are spared as the application's own implementations are.
        """
        if self._calibrating or any(known.manager() is manager for known in self._watched):
            return
        watched = WatchedManager(manager, self._projects)
        self._watched.append(watched)
        timer = CallTimer(self.nesting, name_of=watched.name_of)
        sparer = None
        if self._sparing:
            spares = None if self._sparing is True else self._sparing
            sparer = Sparer(
                self.nesting,
                lambda impl: impl.plugin_name in like_own or watched.is_own(impl),
                watched.name_of,
                spares,
            )
            self._sparers.append(sparer)
        if self._fixtures is not None:
            self._fixtures.watch(manager)
        for source in (
            HookTapSource(manager, through(timer.timed), sparer),
            ConftestSource(manager, self.nesting),
        ):
            self._sources.append(source)
            source.start()

    def managers(self) -> Iterator[pluggy.PluginManager]:
        """Yield the managers that are watched and still there."""
        for watched in self._watched:
            manager = watched.manager()
            if manager is not None:
                yield manager

    @property
    def added(self) -> int:
        """How many calls were added up so far; what came since is in the journals of their paths."""
        return self._adding.taken if self._adding is not None else 0

    def total_ns(self, path: CallPath) -> int:
        """Return the time of all calls of one path that have ended."""
        pending_ns: int = sum(path.journal[0::2])
        return self._totals.total_ns(path) + pending_ns

    def capture(self, ended: str = "exit") -> Capture:
        """Return all that was recorded until now, or until it was closed."""
        ended_ns = self._ended_ns if self._ended_ns is not None else self._clock()
        main_cpu_ns = _thread_cpu_ns(self._thread_id) - self._main_cpu_ns
        cpu_ns = time.process_time_ns() - (0 if self._spawned_ns is not None else self._cpu_ns)
        self._flush()
        for sparer in self._sparers:
            sparer.settle(self._totals.count)
        calls, sites = self._totals.records()
        if not self._has_cpu:
            calls = tuple(msgspec.structs.replace(call, cpu_ns=None) for call in calls)
        if self._costs_ns is None:
            from pluginhost.instrumentation.call_cost import call_costs_ns

            # With a manager of its own, which a launcher would have us watch:
            self._calibrating = True
            self._costs_ns = call_costs_ns(cpu=self._has_cpu, sparing=bool(self._sparing))
            self._calibrating = False
        inner_ns, outer_ns, spared_ns, import_ns = self._costs_ns
        return Capture(
            pid=os.getpid(),
            parent_pid=os.getppid(),
            executable=sys.executable,
            python=platform.python_version(),
            arguments=tuple(map(printable, sys.argv)),
            spawned_ns=self._spawned_ns,
            begun_ns=self._begun_ns,
            observed_ns=self._observed_ns,
            ended_ns=ended_ns,
            cpu_ns=cpu_ns,
            main_cpu_ns=main_cpu_ns,
            ended=ended,
            calls=calls,
            sites=sites,
            managers=tuple(watched.seen() for watched in self._watched),
            modules=_module_files(),
            searched=tuple(map(printable, sys.path)),
            record_count=self._record_count(),
            inner_ns=inner_ns,
            outer_ns=outer_ns,
            spared_ns=spared_ns,
            import_ns=import_ns,
            cut_paths=self.tree.cut_paths,
            notes=self._notes(),
        )

    def close(self) -> None:
        """Take everything out again; what was recorded can still be captured."""
        if self._ended_ns is None:
            self._ended_ns = self._clock()
            for watched in self._watched:
                watched.seen()  # what is registered now
            for source in self._sources:
                source.stop()
            if self._fixtures is not None:
                self._fixtures.stop()
            self._flush()
            if self._bus is not None:
                self._bus.close()

    def _notes(self) -> tuple[str, ...]:
        """Say what of the measuring itself went wrong."""
        adding = self._adding
        if adding is None or adding.error is None:
            return ()
        lost = f"{adding.dropped:,} records were lost: adding them up failed with"
        return (f"{lost} {printable(repr(adding.error))}",)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have no other thread in the middle of changing what is recorded: around a fork."""
        with ExitStack() as held:
            if self._adding is not None:
                held.enter_context(self._adding.lock)
            held.enter_context(self.tree.lock)
            yield

    def _tick(self) -> None:
        """Add up what is pending, and tell who wants to know of it."""
        self._flush()
        if self._drained is not None:
            self._drained()

    def _flush(self) -> None:
        """Add up what is pending."""
        if self._bus is not None:
            self._bus.flush()
        if self._adding is not None:
            self._adding.flush()

    def _record_count(self) -> int:
        """Return how many records were added up so far."""
        if self._adding is not None:
            return self._adding.records
        return self._bus.drained if self._bus is not None else 0


class BusJournal:
    """The journal of one path where observers want to know of every call: records go to a bus."""

    def __init__(self, bus: EventBus, path: CallPath) -> None:
        self._bus = bus
        self._path = path

    def extend(self, record: tuple[int, Any]) -> None:
        """Take a duration that ends now and an extra; atomic, as that of a list is."""
        duration_ns, extra = record
        bus, end = self._bus, self._bus.clock()
        bus.journal.extend((self._path, end - duration_ns, end, threading.get_ident(), extra))
        if len(bus.journal) > bus.high_water:
            bus.drain()


def _thread_cpu_ns(thread_id: int) -> int:
    """Return the CPU time of a thread of this process, from any other where that is possible."""
    if hasattr(time, "pthread_getcpuclockid"):
        return time.clock_gettime_ns(time.pthread_getcpuclockid(thread_id))
    return time.thread_time_ns()


def _module_files() -> dict[str, str]:
    modules = dict(sys.modules)
    files = map(getattr, modules.values(), repeat("__file__"), repeat(None))
    found = {name: file for name, file in zip(modules, files, strict=True) if isinstance(file, str)}
    texts = (*found, *found.values())
    if all(map(str.isprintable, texts)) and max(map(len, texts), default=0) < _LONGEST_NAME:
        return found  # as always
    return {printable(name, _LONGEST_NAME): printable(file, 1000) for name, file in found.items()}
