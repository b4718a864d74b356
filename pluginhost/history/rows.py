"""Batches of events as the rows of tables: columns, because one makes them at the speed of C."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pluginhost.calltree import CallPath
from pluginhost.events import EventBatch
from pluginhost.history.cells import MINUTE, Cell
from pluginhost.history.storable import stored_count, stored_metadata, stored_text
from pluginhost.history.tables import SEQUENCE_BITS
from pluginhost.journal import Detail, Extra, Status
from pluginhost.reading import Reading

STATUSES = tuple(Status)
"""A status is stored as its place here."""

_CODES = {status: code for code, status in enumerate(STATUSES)}
_COUNTERS = {
    _CODES[Status.ERROR]: "errors",
    _CODES[Status.TIMEOUT]: "timeouts",
    _CODES[Status.CANCELLED]: "cancelled",
}
_NAME_BYTES = 500
_MINUTE_NS = MINUTE * 1_000_000_000


class Rows(NamedTuple):
    """What is written in one transaction: columns of occurrences, and rows of what few carry."""

    ids: range
    sites: list[int]
    ends_ns: list[int]
    durations_ns: list[int]
    statuses: list[int]
    details: list[tuple[int, str | None, str | None, str | None, str | None]]
    readings: list[tuple[int, int, int, int, int]]


def rows_of(
    batches: Sequence[EventBatch], run: int, first: int, site_of: Mapping[CallPath, int]
) -> Rows:
    """Return the rows of `batches`, numbered from `first` within the run."""
    begin = (run << SEQUENCE_BITS) + first
    count = sum(batch.occurrences for batch in batches)
    rows = Rows(range(begin, begin + count), [], [], [], [], [], [])
    for batch in batches:
        start = begin + len(rows.sites)
        rows.sites.extend(map(site_of.__getitem__, batch.paths))
        offset = batch.epoch_offset_ns
        rows.ends_ns.extend([end + offset for end in batch.ends_ns])
        rows.durations_ns.extend(batch.durations_ns)
        rows.statuses.extend([0] * batch.occurrences)
        for position in batch.carrying:
            _take(batch.extras[position], rows, start + position, start + position - begin)
    for column in (rows.ends_ns, rows.durations_ns):
        try:
            array("q", column)
        except OverflowError:
            column[:] = map(stored_count, column)
    return rows


def cells_of(rows: Rows) -> dict[tuple[int, int], Cell]:
    """Return what rows, at least one, add up to: cells by (site, minute since the epoch)."""
    minute = min(rows.ends_ns) // _MINUTE_NS
    durations: dict[tuple[int, int], list[int]]
    if minute == max(rows.ends_ns) // _MINUTE_NS:
        of_site: dict[int, list[int]] = {site: [] for site in set(rows.sites)}
        for site, duration in zip(rows.sites, rows.durations_ns, strict=True):
            of_site[site].append(duration)
        durations = {(site, minute): column for site, column in of_site.items()}
    else:
        durations = defaultdict(list)
        for site, end, duration in zip(rows.sites, rows.ends_ns, rows.durations_ns, strict=True):
            durations[site, end // _MINUTE_NS].append(duration)
    cells = {key: Cell.of(column) for key, column in durations.items()}
    for number, *_ in rows.details:
        field = _COUNTERS.get(rows.statuses[number - rows.ids.start])
        if field is not None:
            cell = cells[_key(rows, number)]
            setattr(cell, field, getattr(cell, field) + 1)
    for number, cpu_ns, *_ in rows.readings:
        cell = cells[_key(rows, number)]
        cell.sampled += 1
        cell.cpu_ns += cpu_ns
    return cells


def _key(rows: Rows, number: int) -> tuple[int, int]:
    position = number - rows.ids.start
    return rows.sites[position], rows.ends_ns[position] // _MINUTE_NS


def _take(extra: Extra, rows: Rows, number: int, position: int) -> None:
    """Put what only some records carry where it belongs."""
    raw = extra.reading if isinstance(extra, Detail) else extra
    if isinstance(extra, Detail):
        if extra.failure is not None:
            rows.statuses[position] = _CODES[extra.failure.status]
        if extra.failure is not None or extra.metadata:
            rows.details.append((number, *_detail(extra)))
    if isinstance(raw, tuple):
        rows.readings.append((number, *_reading(Reading.of(raw))))


def _detail(detail: Detail) -> tuple[str | None, str | None, str | None, str | None]:
    failure = detail.failure
    kind = failure.error_type if failure else None
    message = failure.error_message if failure else None
    return (
        None if kind is None else stored_text(kind, _NAME_BYTES),
        None if message is None else stored_text(message),
        stored_metadata(detail.metadata or {}),
        None if detail.task is None else stored_text(detail.task, _NAME_BYTES),
    )


def _reading(reading: Reading) -> tuple[int, int, int, int]:
    return (
        stored_count(reading.cpu_ns),
        stored_count(reading.rss_before_bytes),
        stored_count(reading.rss_after_bytes),
        int(reading.overlapped),
    )
