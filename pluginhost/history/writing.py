"""Writing the batches of one run, whatever befalls the database: each is kept once, or told as lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from pluginhost.calltree import CallPath
from pluginhost.events import EventBatch
from pluginhost.history.cells import Cell
from pluginhost.history.places import Place
from pluginhost.history.quarantine import identity_of, quarantine
from pluginhost.history.records import RunLabel
from pluginhost.history.retention import Forgetter, Reserve, Retention
from pluginhost.history.rollups import Key, RollUps
from pluginhost.history.rows import cells_of, rows_of
from pluginhost.history.store import Store
from pluginhost.history.tables import SEQUENCE_BITS
from pluginhost.history.troubles import Trouble, trouble_of, words_of
from pluginhost.report import PluginInfo
from pluginhost.series import Anomaly
from pluginhost.subscription import warn

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 5.0
_FORGET_EVERY_S = 600.0
_TRIES = 3
_PATIENCE_S = 2.0


class Writer:
    """Used by one thread. `trouble` and `words` say what keeps it from writing just now."""

    def __init__(
        self,
        place: Place,
        label: RunLabel,
        *,
        retention: Retention,
        mode: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._place = place
        self._label = label
        self._retention = retention
        self._mode = mode
        self._clock = clock
        self._wall_clock = wall_clock
        self._store: Store | None = None
        self._abandoned = False
        self._identity: tuple[int, int] | None = None
        self._reserve = Reserve(place.file) if place.file is not None else None
        self._sequence = 0
        self._told: Trouble | None = None
        self._forget_at = 0.0
        self.trouble: Trouble | None = None
        self.words = ""
        self.refusal: str = Trouble.REFUSED
        self.wait_s: float | None = None
        self.remarks: list[str] = []
        self.in_doubt: list[EventBatch] = []
        self._next_try = 0.0
        self._tries = 0
        self._begin()

    def _begin(self) -> None:
        """Know nothing of the database, because it is another."""
        self._run = 0
        self._sites: dict[CallPath, int] = {}
        self._rollups = RollUps()
        self._grown: dict[Key, Cell] = {}

    def write(self, batches: list[EventBatch], lost: Mapping[str, int]) -> bool | None:
        """Write batches in one transaction: True when committed, False when given up for good.

        None means that nothing is known to be written, and the same batches are to be given again.
        """
        if self.trouble is not None and self._clock() < self._next_try:
            return None
        if self.trouble is not None and self.trouble.is_final:
            self.refusal = self.trouble
            return False
        try:
            self._open()
            if self.in_doubt and self._is_there():
                self._settled(batches)
                return True
            self._write(batches, lost)
        except Exception as error:
            return self._failed(error, batches)
        self._settled(batches)
        return True

    def rest(self) -> None:
        """Do what is due while there is nothing to write."""
        if self._store is None or self.trouble is not None:
            return
        try:
            self._forget_when_due()
        except Exception as error:
            self._failed(error, [])

    def finish(
        self, lost: Mapping[str, int], plugins: Iterable[PluginInfo], anomalies: Iterable[Anomaly]
    ) -> None:
        """Write down the end of the run, as far as that is possible, and close."""
        try:
            self._open()
            if self._store is not None:
                self._store.finish(self._run, self._wall_clock(), lost)
                self._store.describe(self._run, plugins)
                self._store.write_anomalies(self._run, anomalies)
                self._forget_when_due()
        except Exception as error:
            self.remarks.append(f"the end of the run could not be written: {words_of(error)}")
        finally:
            if self._reserve is not None and self._store is not None:
                self._reserve.give_up()
            self._close()

    def abandon(self) -> None:
        """Let go of a connection that is the parent process's, without a word to the database."""
        store, self._store, self._abandoned = self._store, None, True
        if store is not None:
            _leak(store)

    # How

    def _open(self) -> None:
        if self._store is None and not self._abandoned:
            if self._place.file is not None:
                self._identity = identity_of(self._place.file)
            self._store = Store(self._place, mode=self._mode)
            if self._place.file is not None:
                self._identity = identity_of(self._place.file)
        if self._store is not None and not self._run:
            self._run = self._store.register(self._label)
            if self._reserve is not None:
                self._reserve.take()

    def _write(self, batches: list[EventBatch], lost: Mapping[str, int]) -> None:
        store = self._store
        assert store is not None
        new = {path for b in batches for path in set(b.paths)} - self._sites.keys()
        if new:
            keys = {p: (p.site.plugin_id, p.site.kind.value, p.site.hook) for p in new}
            ids = store.site_ids(keys.values())
            self._sites |= {path: ids[key] for path, key in keys.items()}
        rows = rows_of(batches, self._run, self._sequence, self._sites)
        minutes: dict[tuple[int, int], Cell] = {}
        connection = store.connection
        with connection.begin():
            store.write(rows, lambda: minutes.update(cells_of(rows)))
            self._grown = self._rollups.grown(connection, self._run, minutes)
            store.roll_up(self._run, rows, self._grown, lost)
            self.in_doubt = batches  # from here on, an error does not mean that it is not there

    def _is_there(self) -> bool:
        """Whether the transaction in doubt was committed, all of it, as transactions are."""
        assert self._store is not None
        return self._store.has((self._run << SEQUENCE_BITS) + self._sequence)

    def _settled(self, batches: list[EventBatch]) -> None:
        self._rollups.accept(self._grown)
        self._sequence += sum(batch.occurrences for batch in batches)
        self.in_doubt, self._grown = [], {}
        if self.trouble is not None:
            self.remarks.append(f"written again after: {self.trouble}")
        self.trouble, self.wait_s, self._tries, self._told = None, None, 0, None
        try:
            if self._store is not None:
                self._store.tidy()
                self._forget_when_due()
                if self._reserve is not None:
                    self._reserve.take()
        except Exception as error:
            self._failed(error, [])

    def _forget_when_due(self) -> None:
        if self._store is None or self._clock() < self._forget_at:
            return
        self._forget_at = self._clock() + _FORGET_EVERY_S
        self._forget()

    def _forget(self) -> int:
        assert self._store is not None
        until = self._clock() + _PATIENCE_S
        forgetter = Forgetter(self._store, self._retention, lambda: self._clock() > until)
        done = forgetter.run(self._wall_clock())
        return done.occurrences + done.rollups + done.reports

    def _failed(self, error: Exception, batches: list[EventBatch]) -> bool | None:
        """Draw the consequences; return False where the batches are to be given up, else None."""
        trouble = trouble_of(error)
        self.words = f"{trouble}: {words_of(error)}"
        if trouble is Trouble.FULL and self._made_room():
            self.trouble, self._next_try = trouble, 0.0
            return None
        if trouble is Trouble.CORRUPT:
            return self._begin_anew(error)
        if trouble is Trouble.REFUSED and batches and self._store is not None:
            self._tries += 1
            if self._tries >= _TRIES:
                self._tries = 0
                self._skip(batches)
                self._close()
                self.refusal = trouble
                return False
        self._close()
        self.trouble = trouble
        self.wait_s = min(_LONGEST_WAIT_S, 2 * (self.wait_s or _FIRST_WAIT_S / 2))
        self._next_try = self._clock() + self.wait_s
        if self._told is not trouble:
            self._told = trouble
            warn("the history cannot be written", self, place=self._place.shown, why=self.words)
        if trouble.is_final and batches:
            self.refusal = trouble
            return False
        return None

    def _skip(self, batches: list[EventBatch]) -> None:
        """Leave out their numbers, which may be in the database after all."""
        self._sequence += sum(batch.occurrences for batch in batches)
        self.in_doubt, self._grown = [], {}

    def _made_room(self) -> bool:
        """Forget what may be forgotten, with the room of the reserve for the journal."""
        freed = self._reserve is not None and self._reserve.give_up()
        try:
            self._close()  # with the transaction that failed
            self._open()
            return bool(self._forget()) or freed
        except Exception:
            self._close()
            return freed

    def _begin_anew(self, error: Exception) -> bool | None:
        """Set a corrupt file aside; what was given is written into a fresh one."""
        self._close()
        file = self._place.file
        self.trouble = Trouble.CORRUPT
        self.wait_s = _LONGEST_WAIT_S
        self._next_try = self._clock() + self.wait_s
        if file is None:
            return None
        try:
            aside = quarantine(file, self._identity)
        except OSError as problem:
            self.words = f"{Trouble.CORRUPT}, and cannot be set aside: {words_of(problem)}"
            return None
        self._begin()
        self.in_doubt, self._grown = [], {}
        self._next_try = 0.0
        if aside is not None:
            remark = f"the history was corrupt, a fresh one was begun; the old one is {aside.name}"
            self.remarks.append(remark)
            warn(remark, self, place=self._place.shown, why=words_of(error))
        return None

    def _close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            with suppress(Exception):
                store.close()


def _leak(store: Store) -> None:
    """Keep a connection for ever: closing what another process uses may harm its locks."""
    import ctypes

    for kept in (store, store.connection.connection.driver_connection):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
