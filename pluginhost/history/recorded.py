"""Putting saved runs into a history, to stand beside those that were observed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from sqlalchemy import select, update

from pluginhost.calltree import EventKind
from pluginhost.errors import HistoryError
from pluginhost.histogram import DurationHistogram
from pluginhost.history.cells import DAY, RUN, Cell
from pluginhost.history.git import Checkout
from pluginhost.history.labels import label_of_report
from pluginhost.history.places import Place
from pluginhost.history.rollups import write_cells
from pluginhost.history.storable import stored_count, stored_text
from pluginhost.history.store import SiteKey, Store
from pluginhost.history.tables import RUNS
from pluginhost.history.troubles import words_of
from pluginhost.report import Report, encode

_LEVEL = 6
_NS = 1_000_000_000
_FINITE = 0x7F80


def record(report: Report, place: Place, *, checkout: Checkout | None = None) -> tuple[int, bool]:
    """Keep a saved run in a history; return its number, and whether it was not there before.

    Its whole report is kept with it, and one cell for each plugin and hook. A run that this history
    has kept while it happened is there already. Raises `HistoryError` when the history cannot be
    written.
    """
    label = label_of_report(report, checkout or Checkout())
    try:
        store = Store(place)
    except HistoryError:
        raise
    except Exception as error:
        raise _not_written(place, error) from error
    try:
        observed = None if report.history_id is None else store.number_of(report.history_id)
        if observed is not None:
            return observed, False
        run = store.register(label)
        with store.connection.begin():
            known = store.connection.execute(
                select(RUNS.c.ended_ns).where(RUNS.c.number == run)
            ).scalar()
        if known is not None:
            return run, False
        _write(store, run, report)
    except Exception as error:
        raise _not_written(place, error) from error
    else:
        return run, True
    finally:
        store.close()


def _not_written(place: Place, error: Exception) -> HistoryError:
    return HistoryError(
        f"{place.shown} cannot be written: {words_of(error)}",
        remedy="check that it is there, that you may write to it, and that the disk is not full",
    )


def _write(store: Store, run: int, report: Report) -> None:
    cells = {key: cell for key, cell in _cells(report) if cell.count}
    ids = store.site_ids(cells)
    created_ns = stored_count(report.created_timestamp_ns)
    day_s = created_ns // _NS // DAY * DAY
    rows = {}
    for key, cell in cells.items():
        rows[ids[key], RUN, 0] = cell
        rows[ids[key], DAY, day_s] = cell
    raw = zlib.compress(encode(report).encode("utf-8", "backslashreplace"), _LEVEL)
    with store.connection.begin():
        write_cells(store.connection, run, rows)
        store.write_plugins(run, _plugins(report))
        store.connection.execute(
            update(RUNS)
            .where(RUNS.c.number == run)
            .values(
                ended_ns=created_ns,
                last_ns=created_ns,
                occurrences=sum(cell.count for cell in cells.values()),
                report=raw,
            )
        )


def _cells(report: Report) -> Iterator[tuple[SiteKey, Cell]]:
    if report.costs is not None:
        for hook in report.costs.hooks:
            cell = _cell(hook.histogram, hook.calls, hook.inclusive_ns)
            cell.errors = min(hook.errors, cell.count)
            cell.min_ns, cell.max_ns = hook.min_ns or 0, hook.max_ns or 0
            yield (hook.plugin, EventKind.HOOK_CALL.value, hook.hook), cell
    if report.performance is None:
        return
    for row in report.performance.plugins:
        histogram = report.performance.histograms.get(row.plugin_id, ())
        cell = _cell(histogram, row.execution_count, row.total_time_ns)
        cell.errors, cell.timeouts = row.failure_count, row.timeout_count
        cell.cancelled = row.cancelled_count
        cell.min_ns, cell.max_ns = row.min_duration_ns, row.max_duration_ns
        if row.average_cpu_time_ns is not None:
            cell.sampled = row.sampled_count
            cell.cpu_ns = round(row.sampled_count * row.average_cpu_time_ns)
        yield (row.plugin_id, EventKind.PLUGIN_EXECUTE.value, "execute"), cell


def _cell(buckets: tuple[tuple[int, int], ...], count: int, total_ns: int) -> Cell:
    kept = ((b, n) for b, n in buckets if 0 <= b < _FINITE and 0 < n < 2**53)
    return Cell(count=count, total_ns=total_ns, histogram=DurationHistogram(kept))


def _plugins(report: Report) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for info in report.plugins:
        found[info.id] = {
            "version": _text(info.version),
            "distribution": _text(info.distribution),
            "state": info.state.value,
        }
    for row in report.costs.plugins if report.costs is not None else ():
        found[row.name] = {
            "version": _text(row.version),
            "distribution": _text(row.distribution),
            "state": row.kind.value,
            "self_ns": stored_count(row.self_ns),
            "import_ns": stored_count(row.import_ns),
        }
    return found


def _text(value: str | None) -> str | None:
    return None if value is None else stored_text(value, 1_000)
