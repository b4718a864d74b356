"""Batches of made-up executions, to be kept in a history."""

from __future__ import annotations

import time
from itertools import cycle, islice
from random import Random
from typing import Any

from pluginhost.calltree import CallTree
from pluginhost.environment import environment
from pluginhost.events import EventBatch
from pluginhost.history.labels import label_of_run
from pluginhost.history.records import RunLabel

STEP_NS = 100_000


def label(name: str) -> RunLabel:
    """Return the label of a new run."""
    return label_of_run(name, environment(), time.time_ns())


class BatchMaker:
    """Makes batches of plugins that take turns, one execution each 0.1 ms, from `begin_ns` on."""

    def __init__(self, plugins: int = 20, *, begin_ns: int | None = None) -> None:
        tree = CallTree()
        self._paths = cycle([tree.root[f"plugin{n}"] for n in range(plugins)])
        self._epoch_ns = time.time_ns() if begin_ns is None else begin_ns
        self._at_ns = 0
        self._made = 0
        random = Random(1)  # the same for all
        self._durations = [int(random.lognormvariate(13, 0.5)) for _ in range(10_007)]

    def of(self, size: int = 1000) -> EventBatch:
        """Return a batch whose durations are those of a lognormal distribution."""
        durations = islice(cycle(self._durations), self._made % 10_007, None)
        return self._batch(list(islice(durations, size)))

    def numbered(self, size: int) -> EventBatch:
        """Return a batch whose durations are 1, 2, 3, ..., going on where the last one ended."""
        return self._batch(list(range(self._made + 1, self._made + size + 1)))

    def _batch(self, durations_ns: list[int]) -> EventBatch:
        records: list[Any] = []
        for path, duration in zip(
            islice(self._paths, len(durations_ns)), durations_ns, strict=True
        ):
            self._at_ns += STEP_NS
            records += (path, self._at_ns - duration, self._at_ns, 1, None)
        self._made += len(durations_ns)
        return EventBatch(records, self._epoch_ns)
