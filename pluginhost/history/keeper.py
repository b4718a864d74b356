"""The observer that keeps a history: what happened is handed to a thread that writes it in batches."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pluginhost.bus import EventBus
from pluginhost.errors import InvalidValueError
from pluginhost.events import EventBatch
from pluginhost.history.places import Place, place_of
from pluginhost.history.records import HistoryAccount, RunLabel
from pluginhost.history.retention import Retention
from pluginhost.history.writing import Writer
from pluginhost.processes import follow_exit, follow_forks
from pluginhost.report import PluginInfo
from pluginhost.series import Anomaly
from pluginhost.subscription import PATIENCE_S, Subscription, warn

BATCH, SERVER_BATCH = 20_000, 50_000
"""How many occurrences at most one transaction writes: into a file, and into a server."""

MAX_PENDING = 200_000
INTERVAL_S = 0.5

T = TypeVar("T")

LATE, OVERFLOW = "not written before the end", "queue full"


class HistoryKeeper:
    """Writes occurrences into a history, off the hot path, and never at the host's expense.

    What it is handed waits in a queue of at most `max_pending` occurrences for a thread that
    writes up to `batch` of them in one transaction, at least every `interval_s` seconds. Only what
    was committed counts as kept. While nothing can be written (see `Trouble`), it is tried again, and
    what finds the queue full is lost, counted, and told at the end. Where `mode` is given it is the
    journal mode of SQLite, by default the one that is safe with the SQLite at hand.
    """

    def __init__(
        self,
        where: str | Path | Place | None = None,
        *,
        label: RunLabel,
        plugins: Callable[[], Iterable[PluginInfo]] | None = None,
        anomalies: Callable[[], Iterable[Anomaly]] | None = None,
        retention: Retention | None = None,
        batch: int | None = None,
        interval_s: float = INTERVAL_S,
        max_pending: int = MAX_PENDING,
        mode: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        if (batch is not None and batch < 1) or max_pending < 1 or not interval_s > 0:
            raise InvalidValueError("a keeper needs a batch, a bound and an interval above zero")
        self.place = where if isinstance(where, Place) else place_of(where)
        self.label = label
        self._writer = Writer(
            self.place,
            label,
            retention=retention or Retention(),
            mode=mode,
            clock=clock,
            wall_clock=wall_clock,
        )
        self._plugins = plugins
        self._anomalies = anomalies
        own = BATCH if self.place.file is not None else SERVER_BATCH
        self._batch = own if batch is None else batch
        self._interval_s = interval_s
        self._max_pending = max_pending
        self._clock = clock
        self._wall_clock = wall_clock
        self._thread: threading.Thread | None = None
        self._pid_is_ours = True
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._queue: deque[EventBatch] = deque()
        self._received = self._kept = self._pending = 0
        self._lost: Counter[str] = Counter()
        self._closing_at: float | None = None
        self._closed = False

    def attach(self, bus: EventBus) -> Subscription:
        """Observe a bus from now on; the process's end and its forks are seen to."""
        subscription = bus.subscribe(self)
        follow_forks(self)
        follow_exit(self)  # after the bus, which hands over first
        return subscription

    def observe(self, batch: EventBatch) -> None:
        """Take a batch; waits for nothing but the lock of the queue."""
        count = batch.occurrences
        with self._lock:
            self._received += count
            if self._closed:
                self._lost[LATE] += count
                return
            if self._pending + count > self._max_pending:
                trouble = self._writer.trouble
                self._lost[trouble.value if trouble is not None else OVERFLOW] += count
                return
            self._queue.append(batch)
            self._pending += count
            full = self._pending >= self._batch
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="pluginhost-history", daemon=True
                )
                self._thread.start()
        if full:
            self._bell.set()

    def account(self) -> HistoryAccount:
        """Return what became of all occurrences so far; exact at any moment."""
        with self._lock:
            trouble = self._writer.trouble
            return HistoryAccount(
                place=self.place.shown,
                run=self.label.id,
                received=self._received,
                kept=self._kept,
                pending=self._pending,
                lost=dict(self._lost),
                trouble=None if trouble is None else self._writer.words,
                remarks=tuple(self._writer.remarks),
            )

    def flush(self, timeout_s: float = PATIENCE_S) -> bool:
        """Wait until all that was handed over before is committed or lost; return whether it is."""
        end = self._clock() + timeout_s
        with self._lock:
            target = self._received
        while True:
            with self._lock:
                if self._kept + self._lost.total() >= target:
                    return True
            if self._clock() >= end:
                return False
            self._bell.set()
            time.sleep(0.002)

    def close(self, timeout_s: float = PATIENCE_S) -> HistoryAccount:
        """Write what is left, within `timeout_s` seconds; return what became of all. Also twice."""
        with self._lock:
            thread = self._thread
            if not self._closed and self._closing_at is None:
                self._closing_at = self._clock() + timeout_s
            if thread is None and not self._closed and self._pid_is_ours:
                thread = self._thread = threading.Thread(
                    target=self._run, name="pluginhost-history", daemon=True
                )
                thread.start()
        self._bell.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s + 0.5)
        with self._lock:
            first = not self._closed
            self._closed = True
            if self._pending:  # the thread is stuck in the database
                self._lost[LATE] += self._pending
                self._pending = 0
                self._queue.clear()
        account = self.account()
        if first and account.lost_count:
            reasons = ", ".join(f"{reason}: {n}" for reason, n in account.lost.items())
            warn("the history is not complete", self, kept=account.kept, lost=reasons)
        return account

    def at_exit(self, timeout_s: float) -> None:
        """Close because the interpreter ends."""
        if not self._closed:
            self.close(timeout_s)

    def after_fork(self) -> None:
        """Keep nothing in a child: neither the queue nor the connection is its own."""
        self._begin()
        self._closed = True
        self._pid_is_ours = False
        self._thread = None
        self._writer.abandon()

    # In the thread

    def _run(self) -> None:
        while True:
            closing = self._closing_at
            if closing is None:
                self._bell.wait(self._pause_s())
                self._bell.clear()
            batches = self._next()
            if batches:
                self._store(batches)
            elif closing is not None:
                break
            else:
                self._writer.rest()
            if closing is not None and self._clock() >= closing:
                break
            if closing is not None and self._writer.trouble is not None:
                time.sleep(min(0.05, self._writer.wait_s or 0.05))
        with self._lock:
            if self._pending:
                trouble = self._writer.trouble
                self._lost[trouble.value if trouble is not None else LATE] += self._pending
                self._pending = 0
                self._queue.clear()
            lost = dict(self._lost)
        self._writer.finish(lost, _asked(self._plugins), _asked(self._anomalies))

    def _pause_s(self) -> float:
        return self._writer.wait_s or self._interval_s

    def _next(self) -> list[EventBatch]:
        """Return the batches for one transaction; they stay in the queue until they are settled."""
        taken: list[EventBatch] = []
        count = 0
        with self._lock:
            for batch in self._queue:
                if taken and count + batch.occurrences > self._batch:
                    break
                taken.append(batch)
                count += batch.occurrences
        # A transaction whose outcome is not known is tried again as it was.
        return self._writer.in_doubt or taken

    def _store(self, batches: list[EventBatch]) -> None:
        with self._lock:
            lost = dict(self._lost)
        settled = self._writer.write(batches, lost)
        if settled is None:
            return  # trouble: they stay where they are
        count = sum(batch.occurrences for batch in batches)
        with self._lock:
            if not self._pending:
                return  # given up meanwhile, and counted as lost
            for _ in batches:
                self._queue.popleft()
            self._pending -= count
            if settled:
                self._kept += count
            else:
                self._lost[self._writer.refusal] += count
            more = self._pending >= self._batch
        if more:
            self._bell.set()


def _asked(source: Callable[[], Iterable[T]] | None) -> tuple[T, ...]:
    """Return what a source says; one that fails says nothing."""
    with suppress(Exception):
        return () if source is None else tuple(source())
    return ()
