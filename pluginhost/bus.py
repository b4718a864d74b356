"""The event bus: one journal in, any number of observers out.

The hot path is `bus.journal.extend(record)`, atomic under the GIL, with a high-water check.
Everything else happens in batches: the journal is cut, the batch is put into each observer's queue,
and the queues are handed over, those of live observers each by a thread of its own. No observer is
called while a lock of the bus is held.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pluginhost.calltree import CallTree
from pluginhost.errors import InvalidValueError, check_count
from pluginhost.events import RECORD_WIDTH, EventBatch
from pluginhost.processes import follow_exit, follow_forks
from pluginhost.subscription import PATIENCE_S, Account, Courier, Observer, Subscription, warn

MAX_QUEUED = 1_000_000


class Source(Protocol):
    """Something that feeds the journal, and only while someone listens."""

    def start(self) -> None:
        """Begin to record: the bus has its first observer."""

    def stop(self) -> None:
        """Leave no trace: the bus has lost its last observer."""


class EventBus:
    """Carries occurrences from the instrumentation to the observers.

    `capacity` is how many records the journal holds before a recording thread cuts it itself;
    `drain_chunk` how many are handed over at once (it bounds the pause); `drain_interval_s` how
    long a live observer waits at most. Exact at all times: `published == drained + pending`, and
    the `Account` of each subscription. `meter`, if set, is told of every batch and of the ns its
    delivery took, but is no observer: it does not keep the sources recording.
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
        check_count(capacity, "capacity")
        check_count(drain_chunk, "drain_chunk")
        if not 0 < drain_interval_s <= threading.TIMEOUT_MAX:
            raise InvalidValueError(
                f"drain_interval_s is {drain_interval_s!r}", remedy="give seconds above 0"
            )
        self.journal: list[Any] = []
        self.high_water = capacity * RECORD_WIDTH
        self.tree = CallTree()
        self.clock = clock
        self.epoch_offset_ns = wall_clock() - clock()
        self.drained = 0
        self.drain_ns = 0
        self.own_threads = 0
        self.subscriptions: tuple[Subscription, ...] = ()
        self.lock = threading.RLock()
        self.meter: Callable[[EventBatch, int], None] | None = None
        self._chunk = drain_chunk * RECORD_WIDTH
        self._interval_s = drain_interval_s
        self._cutting = False
        self._inside: set[int] = set()  # threads in which an observer is being called
        self._sources: tuple[Source, ...] = ()
        self._running = False
        self._sweeper: Courier | None = None
        self._closed = False
        self._followed = False
        follow_forks(self)

    @property
    def pending(self) -> int:
        """Records in the journal, which are in no observer's queue yet."""
        return len(self.journal) // RECORD_WIDTH

    @property
    def published(self) -> int:
        """All records ever taken."""
        with self.lock:  # while a batch is made, its records are in neither
            return self.drained + self.pending

    @property
    def accounts(self) -> tuple[Account, ...]:
        """What became of all records, for each observer there is."""
        return tuple(subscription.account() for subscription in self.subscriptions)

    def subscribe(
        self, observer: Observer, *, live: bool = True, max_queued: int = MAX_QUEUED
    ) -> Subscription:
        """Hand every later batch to `observer`.

        A live observer is called in a thread of its own, within the drain interval: whatever it
        does, neither plugins nor other observers wait for it. One with `live=False` is called by
        whoever fills the journal or flushes the bus, has no thread, and must be quick. At most
        `max_queued` records wait for an observer; what comes then is dropped, and counted.
        """
        if not isinstance(observer, Observer):
            raise InvalidValueError(
                f"{type(observer).__name__} cannot observe",
                remedy="give it a method observe(batch)",
            )
        check_count(max_queued, "max_queued")
        with self.lock:
            if self._closed:
                raise InvalidValueError("the bus is closed", remedy="observe the host again")
            self._cut_all()  # what came before is for those who were there
            subscription = Subscription(self, observer, live=live, max_queued=max_queued)
            self.subscriptions = (*self.subscriptions, subscription)
            self._match()
            if not self._followed:
                self._followed = True
                follow_exit(self)
        self._deliver(self.subscriptions)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Deliver what is pending to all, then drop this one."""
        with self.lock:
            if subscription not in self.subscriptions:
                return
            if self.subscriptions == (subscription,):
                self._run_sources(wanted=False)  # first, so that nothing comes after it
            self._cut_all()
            self.disconnect(subscription)
        self._finish((subscription,), self.subscriptions, PATIENCE_S)

    def disconnect(self, subscription: Subscription) -> None:
        """Drop it at once; what is in its queue stays there."""
        with self.lock:
            subscription.end()
            self.subscriptions = tuple(s for s in self.subscriptions if s is not subscription)
            self._match()

    def add_source(self, source: Source) -> None:
        """Have `source` record while there are observers."""
        with self.lock:
            self._sources = (*self._sources, source)
            if self._running:
                source.start()

    def drain(self) -> None:
        """Hand over one chunk unless others are about it; what a recording thread calls."""
        lock = self.lock  # a fork meanwhile puts another in its place
        if threading.get_ident() in self._inside or not lock.acquire(blocking=False):
            return
        try:
            started = self.clock()
            batch = self._cut(self._chunk)
        finally:
            lock.release()
        if batch is not None:
            self._serve_all(batch, started)

    def flush(self) -> None:
        """Hand over all that was recorded before the call; what a reader calls.

        Live observers are not waited for: `Subscription.flush` does that. Another thread that is
        calling an observer is, for `PATIENCE_S` seconds at most. Within an observer it does nothing,
        nor where a signal handler has interrupted what the other thread needs to go on.
        """
        if not self._may_wait():
            return
        self._sweep()
        for subscription in self.subscriptions:
            if not subscription.live:
                subscription.caught_up(PATIENCE_S)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Flush, then have this thread wait for no observer: it reads under the lock of one.

        Whatever interrupts the reading, a signal handler for instance, and reads too, gets what
        was delivered before: a delivery that another thread is about may need that lock.
        """
        self.flush()
        with self._inside_observers():
            yield

    def serve(self, subscription: Subscription, timeout_s: float) -> bool:
        """Hand over to one observer what was published so far; return whether it was in time."""
        if not self._may_wait():
            return False
        self._sweep()
        return subscription.caught_up(timeout_s)

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """Flush, drop every observer and stop the sources; closing twice does nothing.

        Observers that have not had all after `timeout_s` seconds are given up, and a warning says
        what they have missed.
        """
        with self.lock:
            self._closed = True
            self._match()  # first, so that nothing comes after it
            self._cut_all()
            subscriptions, self.subscriptions = self.subscriptions, ()
            for subscription in subscriptions:
                subscription.end()
        self._finish(subscriptions, subscriptions, timeout_s)

    def at_exit(self, timeout_s: float) -> None:
        """Flush and close because the interpreter ends."""
        self.close(timeout_s)

    def after_fork(self) -> None:
        """Begin anew in a child process; see `Observer` for who stays subscribed."""
        self.lock = threading.RLock()
        self._cutting = False
        self._inside &= {threading.get_ident()}
        self._sweeper, self.own_threads = None, 0
        self.journal.clear()
        self.drained = self.drain_ns = 0
        stay = [s for s in self.subscriptions if not s.live and hasattr(s.observer, "after_fork")]
        for subscription in self.subscriptions:
            subscription.courier = None
            subscription.begin_anew()
            if subscription in stay:
                subscription.observer.after_fork()  # type: ignore[attr-defined]
            else:
                subscription.end()
        # The sources go on; what they record for nobody is thrown away when the journal is cut.
        self.subscriptions = tuple(stay)

    # The rest is how

    def _may_wait(self) -> bool:
        """Whether no frame of this thread holds up those who would be waited for."""
        interrupted: bool = self.lock._is_owned()  # type: ignore[attr-defined]  # as Condition does
        return not interrupted and threading.get_ident() not in self._inside

    def _cut(self, length: int) -> EventBatch | None:
        """Take records out of the journal and into every queue; with the lock held."""
        if self._cutting or not self.journal:
            return None
        self._cutting = True  # first: making the slice may run the garbage collector's callbacks
        try:
            records = self.journal[:length]
            del self.journal[: len(records)]
            batch = EventBatch(records, self.epoch_offset_ns)
            self.drained += batch.occurrences
            for subscription in self.subscriptions:
                subscription.offer(batch)
        finally:
            self._cutting = False
        return batch

    def _cut_all(self) -> None:
        """Cut what the journal holds now; with the lock held."""
        remaining = len(self.journal)
        while remaining > 0 and (batch := self._cut(min(self._chunk, remaining))) is not None:
            remaining -= self._chunk
            self._meter(batch, 0)

    def _sweep(self) -> None:
        """Hand over what the journal holds now, a chunk at a time, waiting for nobody."""
        remaining = len(self.journal)
        while remaining > 0:
            started = self.clock()
            with self.lock:
                batch = self._cut(min(self._chunk, remaining))
            if batch is None:
                break
            remaining -= self._chunk
            self._serve_all(batch, started)
        self._deliver(self.subscriptions)

    def _serve_all(self, batch: EventBatch, started: int) -> None:
        try:
            self._deliver(self.subscriptions)
        finally:
            with self.lock:
                self._meter(batch, self.clock() - started)

    def _meter(self, batch: EventBatch, spent: int) -> None:
        self.drain_ns += spent
        if self.meter is not None:
            self.meter(batch, spent)

    def _deliver(self, subscriptions: Iterable[Subscription]) -> None:
        """Hand their queues to those that have no thread; afterwards raise the user's Ctrl-C."""
        with self._inside_observers():
            interrupts = [s.deliver() for s in subscriptions if not s.live]
        for interrupt in filter(None, interrupts):
            raise interrupt

    @contextmanager
    def _inside_observers(self) -> Iterator[None]:
        """Have this thread neither drain nor flush from within the observers that it calls."""
        me = threading.get_ident()
        if me in self._inside:
            yield
            return
        self._inside.add(me)
        try:
            yield
        finally:
            self._inside.discard(me)

    def _finish(
        self,
        ending: tuple[Subscription, ...],
        others: tuple[Subscription, ...],
        timeout_s: float,
    ) -> None:
        """Hand over what is left; give up, and say so, after `timeout_s` seconds."""
        started = self.clock()
        try:
            self._deliver((*others, *ending))
        finally:
            with self.lock:
                self.drain_ns += self.clock() - started
        if threading.get_ident() in self._inside:
            return  # it cannot wait for itself: who calls that observer hands over the rest
        end = time.monotonic() + timeout_s
        try:
            for subscription in ending:
                subscription.caught_up(max(0.0, end - time.monotonic()))
        finally:  # also when the user's Ctrl-C comes
            for subscription in ending:
                subscription.abandon()
                if subscription.dropped and subscription.error is None:
                    lost = subscription.account()
                    warn(
                        "an observer did not get everything",
                        subscription.observer,
                        published=lost.published,
                        dropped=lost.dropped,
                    )

    def _run_sources(self, *, wanted: bool) -> None:
        if self._running is not wanted:
            self._running = wanted
            for source in self._sources:
                if wanted:
                    source.start()
                else:
                    source.stop()

    def _match(self) -> None:
        """Have the sources and the threads run exactly while somebody needs them; with the lock."""
        served = () if self._closed else self.subscriptions
        self._run_sources(wanted=bool(served))
        live = [subscription for subscription in served if subscription.live]
        for subscription in live:
            if subscription.courier is None:
                subscription.courier = self._courier_of(subscription)
                subscription.courier.start()
        if live and self._sweeper is None:
            self._sweeper = Courier("pluginhost-drain", self._sweep, self._interval_s)
            self._sweeper.start()
        elif not live and self._sweeper is not None:
            self._sweeper.finish()
            self._sweeper = None
        self.own_threads = len(live) + 1 if live else 0

    def _courier_of(self, subscription: Subscription) -> Courier:
        def step() -> None:
            with self.lock:  # the thread that does so for all may be held up by an observer
                self._cut_all()
            with self._inside_observers():
                interrupt = subscription.deliver()
            if interrupt is not None:
                raise interrupt

        name = f"pluginhost-observer-{type(subscription.observer).__name__}"
        return Courier(name, step, self._interval_s)
