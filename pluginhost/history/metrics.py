"""A history as metrics: all runs of one program on one host added up, and counted on as they come in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from pluginhost.calltree import EventKind
from pluginhost.exporters.families import Measured
from pluginhost.exporters.view import Row, tidied
from pluginhost.history.cells import Cell
from pluginhost.history.places import Place
from pluginhost.history.reader import History
from pluginhost.history.records import StoredRun

_KINDS = {
    EventKind.PLUGIN_EXECUTE.value: "execution",
    EventKind.HOOK_CALL.value: "hook",
    EventKind.PLUGIN_LOAD.value: "hook",
    EventKind.PLUGIN_UNLOAD.value: "hook",
}

_RUNS_AT_ONCE = 50
_Site = tuple[str, str, str]
_Group = tuple[str, str]


class _Sum(msgspec.Struct):
    """All runs of one program on one host, as far as they were added."""

    cells: dict[_Site, Cell] = {}
    run_count: int = 0
    lost_count: int = 0
    observed_ns: int = 0
    last_ns: int = 0

    def copy(self) -> _Sum:
        """Return a sum that can be added to without changing this one."""
        cells = {site: cell.copy() for site, cell in self.cells.items()}
        return msgspec.structs.replace(self, cells=cells)

    def add(self, run: StoredRun, cells: Mapping[_Site, Cell]) -> None:
        """Add a run."""
        ended_ns = run.ended_timestamp_ns or run.last_timestamp_ns or 0
        self.run_count += 1
        self.lost_count += run.lost_count
        self.observed_ns += max(0, ended_ns - run.label.started_timestamp_ns)
        self.last_ns = max(self.last_ns, ended_ns, run.label.started_timestamp_ns)
        for site, cell in cells.items():
            if site[1] in _KINDS and cell.count:
                self.cells.setdefault(site, Cell()).add(cell)


class HistoryMetrics:
    """Reads a history again and again, of all programs or of one `name`.

    A run that has ended does not change, so it is read once and remembered as a part of a sum;
    those that go on are read each time. For one thread.
    """

    def __init__(self, place: Place, *, name: str | None = None) -> None:
        self._place = place
        self._name = name
        self._begin()

    def _begin(self) -> None:
        self._ended: dict[int, str] = {}
        self._sums: dict[_Group, _Sum] = {}

    def read(self) -> list[Measured]:
        """Return what there is for each program (label `run`) and `host`, by name.

        Raises `HistoryError` where the history cannot be read.
        """
        with History(self._place) as history:
            runs = {run.number: run for run in history.runs(name=self._name)}
            known = {number: run.label.id for number, run in runs.items()}
            if not self._ended.items() <= known.items():
                self._begin()  # another history is in its place
            new = [run for number, run in runs.items() if number not in self._ended]
            ended = [run for run in new if run.ended_timestamp_ns is not None]
            for run, cells in _with_cells(history, ended):
                self._sums.setdefault(_group(run), _Sum()).add(run, cells)
                self._ended[run.number] = run.label.id
            shown = dict(self._sums)
            going_on = [run for run in new if run.ended_timestamp_ns is None]
            for run, cells in _with_cells(history, going_on):
                group = _group(run)
                if shown.get(group) is self._sums.get(group):
                    shown[group] = self._sums[group].copy() if group in self._sums else _Sum()
                shown[group].add(run, cells)
        return [_measured(group, shown[group]) for group in sorted(shown)]


def _group(run: StoredRun) -> _Group:
    return run.label.name, run.label.host


def _with_cells(
    history: History, runs: Sequence[StoredRun]
) -> Iterator[tuple[StoredRun, Mapping[_Site, Cell]]]:
    """Yield (run, its cells), a few runs at once: histograms of thousands take much memory."""
    for start in range(0, len(runs), _RUNS_AT_ONCE):
        some = runs[start : start + _RUNS_AT_ONCE]
        cells = history.cells_of_runs([run.number for run in some])
        for run in some:
            yield run, cells.get(run.number, {})


def _measured(group: _Group, added: _Sum) -> Measured:
    return Measured(
        created_timestamp_ns=added.last_ns,
        whole_ns=added.observed_ns,
        rows=[*_rows(added.cells)],
        labels={"source": "history", "run": group[0], "host": group[1]},
        self_times=False,
        run_count=added.run_count,
        lost_count=added.lost_count,
    )


def _rows(cells: Mapping[_Site, Cell]) -> Iterator[Row]:
    for (plugin, kind, hook), cell in sorted(cells.items()):
        counts: Sequence[tuple[str, int]] = (
            ("success", cell.count - cell.errors - cell.timeouts - cell.cancelled),
            ("error", cell.errors),
            ("timeout", cell.timeouts),
            ("cancelled", cell.cancelled),
        )
        yield Row(
            plugin=tidied(plugin),
            hook=tidied(hook),
            kind=_KINDS[kind],
            statuses=tuple((status, count) for status, count in counts if count > 0),
            total_ns=cell.total_ns,
            self_ns=cell.total_ns,
            cpu_ns=cell.cpu_ns * cell.count // cell.sampled if cell.sampled else None,
            cpu_estimated=bool(cell.sampled),
            histogram=cell.histogram.buckets(),
        )
