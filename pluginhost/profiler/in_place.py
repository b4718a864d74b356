"""Adding calls up where they are recorded: each path has a journal, and no batch is ever sorted.

A bus hands its observers what happened in the order in which it did. Where nobody wants to know more
than sums, that order is not worth its price.
"""

from __future__ import annotations

import threading
from typing import Any

from pluginhost.calltree import CallPath, CallTree
from pluginhost.journal import PathGroup
from pluginhost.processes import follow_forks
from pluginhost.profiler.calls import CallTotals


class InPlace:
    """Moves records from the journals of a tree's paths to `totals`.

    If adding ever fails, that is our fault, and not the program's business: `error` says so, what
    comes later is dropped and counted.
    """

    def __init__(self, tree: CallTree, totals: CallTotals) -> None:
        self._tree = tree
        self._totals = totals
        self.records = 0
        self.dropped = 0
        self.taken = 0
        """How many records have left the journals, whatever became of them."""
        self.error: Exception | None = None
        self.after_fork()
        follow_forks(self)

    def after_fork(self) -> None:
        """Go on in a child process, where nobody else is adding."""
        self.lock = threading.RLock()
        self._adding = False

    def flush(self) -> None:
        """Add what was recorded before the call, unless somebody is adding: then it waits."""
        lock = self.lock  # a fork meanwhile puts another in its place
        if self._adding or not lock.acquire(blocking=False):
            return
        try:
            for path in self._tree.grown:
                if path.journal:
                    self._add(path)
        finally:
            lock.release()

    def _add(self, path: CallPath) -> None:
        journal = path.journal
        if self._adding or not journal:  # it may have been added meanwhile
            return
        self._adding = True  # first: making a slice may run the garbage collector's callbacks
        try:
            records = journal[:]
            del journal[: len(records)]
            count = len(records) // 2
            self.taken += count
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
    durations_ns, extras = records[0::2], records[1::2]
    try:
        sum(extras)  # all of them numbers: this is the quickest way to know
        details = False
    except TypeError:
        details = True
    return PathGroup(path, [], durations_ns, extras, has_details=details)
