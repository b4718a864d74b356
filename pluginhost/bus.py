"""The event bus: one journal in, any number of observers out.

The hot path is `bus.journal.extend(record)`, atomic under the GIL, with a high-water check.
Everything else happens in batches, when the journal is full, when someone reads, or, for live
observers, in a background thread.
"""

from __future__ import annotations

import _thread
import contextlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from pluginhost.calltree import CallTree
from pluginhost.errors import InvalidValueError
from pluginhost.events import RECORD_WIDTH, EventBatch
from pluginhost.printable import printable


@runtime_checkable
class Observer(Protocol):
    """Anything that wants to know what happened."""

    def observe(self, batch: EventBatch) -> None:
        """Take one batch; iterate over it for `Event` objects. Called by one thread at a time."""


class Source(Protocol):
    """Something that feeds the journal, and only while someone listens."""

    def start(self) -> None:
        """Begin to record: the bus has its first observer."""

    def stop(self) -> None:
        """Leave no trace: the bus has lost its last observer."""


class Subscription:
    """One observer's place on the bus; `close()` gives it up.

    `delivered` counts occurrences handed over without an exception, `failed` those of the batch at
    which the observer raised, after which it is disconnected and `error` is set. (When the user's
    Ctrl-C arrives in an observer, its batch counts as failed too, but it stays connected.)
    """

    def __init__(self, bus: EventBus, observer: Observer, live: bool) -> None:
        self._bus = bus
        self.observer = observer
        self.live = live
        self.delivered = 0
        self.failed = 0
        self.error: BaseException | None = None

    @property
    def active(self) -> bool:
        """Whether events still reach the observer."""
        return self in self._bus.subscriptions

    def close(self) -> None:
        """Deliver what is pending, then stop; closing twice does nothing."""
        self._bus.unsubscribe(self)


class EventBus:
    """Carries occurrences from the instrumentation to the observers.

    `capacity` is how many records the journal holds before a recording thread drains it itself;
    `drain_chunk` how many are handed over at once (it bounds the pause); `drain_interval_s` how
    long a live observer waits at most. Exact at all times:
    `published == drained + pending`, and per subscription `delivered + failed` of what was
    drained since it subscribed. `meter`, if set, is told of every batch and of the ns its delivery
    took, but is no observer: it does not keep the sources recording.
    """

    def __init__(
        self,
        *,
        capacity: int = 1000,
        drain_chunk: int = 1000,
        drain_interval_s: float = 0.05,
        clock: Callable[[], int] = time.perf_counter_ns,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        if capacity < 1 or drain_chunk < 1 or not drain_interval_s > 0:
            raise InvalidValueError(
                "a bus needs a capacity, a drain chunk and a drain interval above zero"
            )
        self.journal: list[Any] = []
        self.high_water = capacity * RECORD_WIDTH
        self.tree = CallTree(journal=self.journal)
        self.clock = clock
        self.epoch_offset_ns = wall_clock() - clock()
        self.drained = 0
        self.drain_ns = 0
        self.own_threads = 0
        self.subscriptions: tuple[Subscription, ...] = ()
        self._chunk = drain_chunk * RECORD_WIDTH
        self._interval_s = drain_interval_s
        self._lock = threading.RLock()
        self._draining = False
        self._sources: tuple[Source, ...] = ()
        self._running = False
        self.meter: Callable[[EventBatch, int], None] | None = None
        self._drainer: _Drainer | None = None
        self._closed = False

    @property
    def pending(self) -> int:
        """Records in the journal that no observer has seen yet."""
        return len(self.journal) // RECORD_WIDTH

    @property
    def published(self) -> int:
        """All records ever taken."""
        with self._lock:  # while a batch is made, its records are in neither
            return self.drained + self.pending

    def subscribe(self, observer: Observer, *, live: bool = True) -> Subscription:
        """Hand every later batch to `observer`.

        A live observer hears of an event within the drain interval even when nothing else
        happens; one that is only ever read after `flush()` says `live=False` and saves the
        background thread.
        """
        if not isinstance(observer, Observer):
            raise InvalidValueError(
                f"{type(observer).__name__} cannot observe",
                remedy="give it a method observe(batch)",
            )
        with self._lock:
            if self._closed:
                raise InvalidValueError("the bus is closed", remedy="observe the host again")
            self.flush()
            subscription = Subscription(self, observer, live)
            self.subscriptions = (*self.subscriptions, subscription)
            self._match()
            return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Deliver what is pending to all, then drop this one."""
        with self._lock:
            if subscription not in self.subscriptions:
                return
            if self.subscriptions == (subscription,):
                self._run_sources(wanted=False)  # before the flush, so that nothing comes after it
            try:
                self.flush()
            finally:  # also when the user's Ctrl-C arrives in an observer
                self._drop(subscription)

    def add_source(self, source: Source) -> None:
        """Have `source` record while there are observers."""
        with self._lock:
            self._sources = (*self._sources, source)
            if self._running:
                source.start()

    def drain(self) -> None:
        """Hand over one chunk unless a drain is under way; what a recording thread calls."""
        if self._draining or not self._lock.acquire(blocking=False):
            return
        try:
            self._hand_over(self._chunk)
        finally:
            self._lock.release()

    def flush(self) -> None:
        """Hand over all that was recorded before the call; what a reader calls."""
        with self._lock:
            remaining = len(self.journal)
            while remaining > 0 and not self._draining:
                self._hand_over(min(self._chunk, remaining))
                remaining -= self._chunk

    def close(self) -> None:
        """Flush, drop every observer and stop the sources; closing twice does nothing."""
        with self._lock:
            self._closed = True
            self._match()  # before the flush, so that nothing comes after it
            try:
                self.flush()
            finally:
                self.subscriptions = ()

    def _hand_over(self, length: int) -> None:
        if self._draining or not self.journal:
            return
        self._draining = True  # first: making the slice may run the garbage collector's callbacks
        started = self.clock()
        try:
            records = self.journal[:length]
            del self.journal[: len(records)]
            batch = EventBatch(records, self.epoch_offset_ns)
            self.drained += batch.occurrences
            interrupts = [self._deliver(subscription, batch) for subscription in self.subscriptions]
        finally:
            self._draining = False
            spent = self.clock() - started
            self.drain_ns += spent
        if self.meter is not None:
            self.meter(batch, spent)
        for interrupt in filter(None, interrupts):
            raise interrupt

    def _deliver(self, subscription: Subscription, batch: EventBatch) -> KeyboardInterrupt | None:
        """Hand `batch` to one observer; return the user's Ctrl-C if it came just then."""
        try:
            subscription.observer.observe(batch)
        except KeyboardInterrupt as interrupt:  # the user's doing, not the observer's
            subscription.failed += batch.occurrences
            return interrupt
        except BaseException as error:
            subscription.failed += batch.occurrences
            subscription.error = error
            self._drop(subscription)
            _log_disconnected(subscription.observer, error)
        else:
            subscription.delivered += batch.occurrences
        return None

    def _drop(self, subscription: Subscription) -> None:
        self.subscriptions = tuple(s for s in self.subscriptions if s is not subscription)
        self._match()

    def _run_sources(self, *, wanted: bool) -> None:
        if self._running is not wanted:
            self._running = wanted
            for source in self._sources:
                if wanted:
                    source.start()
                else:
                    source.stop()

    def _match(self) -> None:
        """Have the sources and the background thread run exactly while somebody needs them."""
        served = () if self._closed else self.subscriptions
        self._run_sources(wanted=bool(served))
        wanted = any(subscription.live for subscription in served)
        if wanted and self._drainer is None:
            self._drainer = _Drainer(self.flush, self._interval_s)
            self._drainer.start()
            self.own_threads = 1
        elif not wanted and self._drainer is not None:
            self._drainer.finish()
            self._drainer = None
            self.own_threads = 0


class _Drainer(threading.Thread):
    """Flushes the bus at an interval, for live observers."""

    def __init__(self, flush: Callable[[], None], interval_s: float) -> None:
        super().__init__(name="pluginhost-drain", daemon=True)
        self._flush = flush
        self._interval_s = interval_s
        self._finished = threading.Event()

    def run(self) -> None:
        while not self._finished.wait(self._interval_s):
            try:
                self._flush()
            except KeyboardInterrupt:  # the program's business; the other observers stay served
                _thread.interrupt_main()

    def finish(self) -> None:
        self._finished.set()


def _log_disconnected(observer: Observer, error: BaseException) -> None:
    import structlog  # deferred: it costs far more to import than the bus itself

    if structlog.is_configured():
        logger = structlog.get_logger("pluginhost")
    elif sys.stderr is not None:  # an application's standard output is not ours to write to
        logger = structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
    else:
        return
    with contextlib.suppress(Exception):  # a log that fails must not cost the others their events
        logger.warning(
            "observer disconnected: it raised",
            observer=printable(type(observer).__name__),
            error_type=printable(type(error).__name__),
            error=printable(error),
        )
