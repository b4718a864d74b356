"""Adding calls up where they are recorded: each path has a journal, and no batch is ever sorted.

A bus hands its observers what happened in the order in which it did. Where nobody wants to know more
than sums, that order is not worth its price.
"""

from __future__ import annotations

import threading
from operator import sub
from typing import Any

from pluginhost.calltree import CallPath, CallTree
from pluginhost.events import RECORD_WIDTH, PathGroup
from pluginhost.profiler.calls import CallTotals

HIGH_WATER = 256 * RECORD_WIDTH
"""How much the journal of one path holds before it is added up."""


class InPlace:
    """Moves records from the journals of a tree's paths to `totals`.

    If adding ever fails, that is our fault, and not the program's business: `error` says so, what
    comes later is dropped and counted.
    """

    def __init__(self, totals: CallTotals) -> None:
        self._totals = totals
        self._lock = threading.RLock()
        self._adding = False
        self.records = 0
        self.dropped = 0
        self.error: Exception | None = None

    def drain(self, path: CallPath) -> None:
        """Add the records of one path, unless somebody is adding: then they wait."""
        if self._adding or not self._lock.acquire(blocking=False):
            return
        try:
            self._add(path)
        finally:
            self._lock.release()

    def flush(self, tree: CallTree) -> None:
        """Add everything that was recorded before the call."""
        with self._lock:
            for path in tree.paths():
                self._add(path)

    def _add(self, path: CallPath) -> None:
        journal = path.journal
        if self._adding or not journal:
            return
        self._adding = True  # first: making a slice may run the garbage collector's callbacks
        try:
            records = journal[:]
            del journal[: len(records)]
            count = len(records) // RECORD_WIDTH
            if self.error is None:
                self._totals.add(_group(path, records))
                self.records += count
            else:
                self.dropped += count
        except Exception as error:
            self.error = error
            self.dropped += count
        finally:
            self._adding = False


def _group(path: CallPath, records: list[Any]) -> PathGroup:
    ends_ns, extras = records[2::RECORD_WIDTH], records[4::RECORD_WIDTH]
    durations_ns = list(map(sub, ends_ns, records[1::RECORD_WIDTH]))
    try:
        sum(extras)  # all of them numbers: this is the quickest way to know
        details = False
    except TypeError:
        details = True
    return PathGroup(path, ends_ns, durations_ns, extras, has_details=details)
