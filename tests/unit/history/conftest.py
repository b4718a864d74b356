"""Fixtures of the history's tests: batches by hand, keepers, and a place for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pluginhost.calltree import CallTree, EventKind
from pluginhost.events import EventBatch
from pluginhost.history.keeper import HistoryKeeper
from pluginhost.history.labels import label_of_run
from pluginhost.history.places import Place, place_of
from pluginhost.history.records import RunLabel
from pluginhost.journal import Detail, Failure, Status
from pluginhost.report import Environment

NOW_NS = 1_767_225_600_000_000_000  # 2026-01-01 00:00 UTC
HERE = Environment(
    pluginhost="0.1.0",
    pluggy="1.6.0",
    python="3.12.1",
    platform="Linux",
    hostname="tower",
    cpu_count=4,
    pid=100,
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A history that is not there yet."""
    return place_of(tmp_path / "history.sqlite")


@pytest.fixture
def label() -> Callable[..., RunLabel]:
    """Return `make(name="demo", started_ns=...)`, which makes a label of a new run."""
    return lambda name="demo", started_ns=NOW_NS: label_of_run(name, HERE, started_ns)


@pytest.fixture
def keeper(place: Place, label: Callable[..., RunLabel]) -> Iterator[Callable[..., HistoryKeeper]]:
    """Return `make(...)`, which makes keepers that are closed after the test."""
    made: list[HistoryKeeper] = []

    def make(where: Place = place, *, name: str = "demo", **options: Any) -> HistoryKeeper:
        options.setdefault("interval_s", 0.01)
        made.append(HistoryKeeper(where, label=label(name), **options))
        return made[-1]

    yield make
    for one in made:
        one.close(1.0)


class Batches:
    """Makes batches whose occurrences end one after the other, 1 ms apart."""

    def __init__(self) -> None:
        self.tree = CallTree()
        self.at_ns = 0

    def of(
        self,
        plugin: str,
        durations_ns: Sequence[int],
        *,
        failures: int = 0,
        message: str = "no",
        metadata: dict[str, str] | None = None,
        kind: EventKind = EventKind.PLUGIN_EXECUTE,
        hook: str = "execute",
        extra: Any = None,
    ) -> EventBatch:
        """Return one batch of a plugin's executions, the first of which fail."""
        path = self.tree.root[self.tree.site(kind, plugin, hook)]
        records: list[Any] = []
        for number, duration in enumerate(durations_ns):
            self.at_ns += 1_000_000
            carried = extra
            if number < failures:
                carried = Detail(Failure(Status.ERROR, "ValueError", message), None, metadata)
            elif metadata:
                carried = Detail(None, None, metadata)
            records += (path, self.at_ns - duration, self.at_ns, 1, carried)
        return EventBatch(records, NOW_NS)


@pytest.fixture
def batches() -> Batches:
    """Return a maker of batches."""
    return Batches()
