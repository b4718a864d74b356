"""One observer's place on the bus: its queue, its account, and the handing over."""

from __future__ import annotations

import _thread
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import msgspec

from pluginhost.events import EventBatch
from pluginhost.printable import printable
from pluginhost.warning import warn as logged

PATIENCE_S = 5.0
"""How long whoever must have a delivery over waits for one that another thread is about."""

_PAUSE_S = 0.002


@runtime_checkable
class Observer(Protocol):
    """Anything that wants to know what happened.

    One that has a method `after_fork()` and is not live stays subscribed in a forked child process,
    where that method is called before anything is delivered; others are dropped there.
    """

    def observe(self, batch: EventBatch) -> None:
        """Take one batch; iterate over it for `Event` objects. Called by one thread at a time."""


class Account(msgspec.Struct, frozen=True):
    """What became of the records that were published while an observer was subscribed.

    `published == delivered + failed + dropped + queued`, always. `failed` were in the batches at
    which the observer raised, `dropped` did not fit into its queue or were left when it ended,
    `queued` wait in the journal or the queue, or are being handed over now.
    """

    observer: str
    published: int
    delivered: int
    failed: int
    dropped: int
    queued: int


class Carrier(Protocol):
    """What a subscription asks of its bus. No observer is ever called with `lock` held."""

    lock: threading.RLock
    drained: int
    subscriptions: tuple[Subscription, ...]

    @property
    def pending(self) -> int:
        """Records in the journal."""

    def unsubscribe(self, subscription: Subscription) -> None:
        """Deliver what is pending, then drop it."""

    def disconnect(self, subscription: Subscription) -> None:
        """Drop it at once."""

    def serve(self, subscription: Subscription, timeout_s: float) -> bool:
        """Hand over what was published so far; return whether that was done in time."""


class Subscription:
    """One observer's place on the bus; `close()` gives it up.

    `delivered`, `failed` and `dropped` count records; see `Account`. When the observer raises it is
    disconnected, and `error` is set. (When the user's Ctrl-C arrives in an observer, its batch
    counts as failed too, but it stays connected.)
    """

    def __init__(self, bus: Carrier, observer: Observer, *, live: bool, max_queued: int) -> None:
        self._bus = bus
        self.observer = observer
        self.live = live
        self.max_queued = max_queued
        self.error: BaseException | None = None
        self.courier: Courier | None = None
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what was queued and counted; what is published from now on counts."""
        self.delivered = 0
        self.failed = 0
        self.dropped = 0
        self._began = self._bus.drained
        self._ended: int | None = None
        self._queue: deque[EventBatch] = deque()
        self._in_queue = 0
        self._busy = _thread.allocate_lock()
        self._telling: int | None = None  # the thread that logs why it is disconnected
        self._offered = 0
        self._settled = 0
        self._stuck_at = -1

    @property
    def active(self) -> bool:
        """Whether events still reach the observer."""
        return self in self._bus.subscriptions

    @property
    def queued(self) -> int:
        """Records that were published for the observer and are not accounted for yet."""
        return self.account().queued

    def account(self) -> Account:
        """Return what became of all records so far; exact whatever other threads do."""
        with self._bus.lock:
            pending = self._bus.pending if self._ended is None else 0
            until = self._bus.drained if self._ended is None else self._ended
            return Account(
                observer=printable(type(self.observer).__name__),
                published=until + pending - self._began,
                delivered=self.delivered,
                failed=self.failed,
                dropped=self.dropped,
                queued=self._in_queue + pending,
            )

    def flush(self, timeout_s: float = PATIENCE_S) -> bool:
        """Wait until the observer has had all that was published before; return whether it has."""
        return self._bus.serve(self, timeout_s)

    def close(self) -> None:
        """Deliver what is pending, then stop; closing twice does nothing."""
        self._bus.unsubscribe(self)

    # What the bus does with it

    def offer(self, batch: EventBatch) -> None:
        """Queue a batch, or drop it when there is no room; with the bus's lock held."""
        if self._queue and self._in_queue + batch.occurrences > self.max_queued:
            self.dropped += batch.occurrences
            return
        self._in_queue += batch.occurrences
        self._offered += 1
        self._queue.append(batch)
        if self.courier is not None:
            self.courier.wake()

    def end(self) -> None:
        """Count nothing more as published for the observer; with the bus's lock held."""
        if self._ended is None:
            self._ended = self._bus.drained
        if self.courier is not None:
            self.courier.finish()

    def deliver(self) -> KeyboardInterrupt | None:
        """Hand over what is queued, unless another call is about it; return the user's Ctrl-C.

        No more than is there at the beginning, lest a thread deliver for all the others for ever.
        """
        busy = self._busy  # a fork meanwhile puts another in its place
        if not busy.acquire(blocking=False):
            return None
        interrupt = None
        try:
            left = len(self._queue)
            while self._queue and (left > 0 or self._ended is not None):
                left -= 1
                interrupt = self._hand_over(self._queue[0]) or interrupt
        finally:
            busy.release()
        return interrupt

    def caught_up(self, timeout_s: float) -> bool:
        """Wait until all that was offered before is settled, and told; return whether it is settled.

        An observer that was waited for in vain is not waited for again until it has moved.
        """
        target, end = self._offered, time.monotonic() + timeout_s
        while self._telling not in (None, _thread.get_ident()) or (
            self._settled < target and self._queue and self._stuck_at != self._settled
        ):
            if time.monotonic() >= end:
                self._stuck_at = self._settled
                break
            time.sleep(_PAUSE_S)
            if not self.live:
                interrupt = self.deliver()
                if interrupt is not None:
                    raise interrupt
        return self._settled >= target

    def abandon(self) -> int:
        """Drop what is still queued; return how many records that is."""
        with self._bus.lock:
            left = self._in_queue
            self._queue.clear()
            self._in_queue = 0
            self.dropped += left
            return left

    def _hand_over(self, batch: EventBatch) -> KeyboardInterrupt | None:
        try:
            self.observer.observe(batch)
        except KeyboardInterrupt as interrupt:  # the user's doing, not the observer's
            self._settle(batch, failed=True)
            return interrupt
        except BaseException as error:
            self.error = error
            self._telling = _thread.get_ident()
            self._bus.disconnect(self)
            self._settle(batch, failed=True)
            self.abandon()
            try:
                warn(
                    "observer disconnected: it raised",
                    self.observer,
                    error_type=printable(type(error).__name__),
                    error=printable(error),
                )
            finally:
                self._telling = None
        else:
            self._settle(batch, failed=False)
        return None

    def _settle(self, batch: EventBatch, *, failed: bool) -> None:
        with self._bus.lock:
            if not self._queue or self._queue[0] is not batch:
                return  # it was given up meanwhile, and counted as dropped; or this is a child
            self._queue.popleft()
            self._in_queue -= batch.occurrences
            self._settled += 1
            if failed:
                self.failed += batch.occurrences
            else:
                self.delivered += batch.occurrences


class Courier(threading.Thread):
    """Takes a step whenever it is woken, and at an interval, until it is told to finish.

    Waking is safe wherever Python code can run, signal handlers and the collector's callbacks
    included: there is nothing in it that waits.
    """

    def __init__(self, name: str, step: Callable[[], None], interval_s: float) -> None:
        super().__init__(name=name, daemon=True)
        self._step = step
        self._interval_s = interval_s
        self._finished = False
        self._bell = _thread.allocate_lock()
        self._bell.acquire()

    def run(self) -> None:
        """Take steps; one more after the end was announced."""
        finished = False
        while not finished:
            self._bell.acquire(timeout=self._interval_s)
            finished = self._finished
            try:
                self._step()
            except KeyboardInterrupt:  # the program's business; others stay served
                _thread.interrupt_main()

    def wake(self) -> None:
        """Have it take a step soon."""
        with contextlib.suppress(RuntimeError):  # it was rung already
            self._bell.release()

    def finish(self) -> None:
        """Have it take one more step, and end."""
        self._finished = True
        self.wake()


def warn(what: str, observer: object, **details: object) -> None:
    """Log a warning about an observer; see `pluginhost.warning.warn`."""
    logged(what, observer=printable(type(observer).__name__), **details)
