"""What a history answers with: runs, and plugins over many runs, from what is stored of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import RowMapping

from pluginhost.history.cells import Cell
from pluginhost.history.records import PluginTotals, RunLabel, StoredRun

_LABEL = (
    *("id", "name", "origin", "host", "pid", "python"),
    *("pluginhost", "pluggy", "platform", "revision", "branch"),
)


def run_of(row: RowMapping, plugin_count: int) -> StoredRun:
    """Return the run that a row of the table holds."""
    try:
        lost = json.loads(row["lost_reasons"] or "{}")
    except ValueError:
        lost = {}
    return StoredRun(
        number=row["number"],
        label=RunLabel(
            started_timestamp_ns=row["started_ns"], **{name: row[name] for name in _LABEL}
        ),
        ended_timestamp_ns=row["ended_ns"],
        last_timestamp_ns=row["last_ns"],
        occurrence_count=row["occurrences"],
        lost_count=row["lost"],
        lost=lost,
        plugin_count=plugin_count,
    )


def totals_of(
    plugin_id: str,
    kind: str,
    cells: Sequence[tuple[int, Cell]],
    runs: Mapping[int, StoredRun],
    versions: Mapping[tuple[int, str], str | None],
) -> PluginTotals:
    """Return all that one plugin did, of cells by the numbers of their runs."""
    whole = Cell()
    numbers = sorted({run for run, _ in cells})
    for _, cell in cells:
        whole.add(cell)
    p50, p95, p99 = whole.histogram.quantiles_ns((0.5, 0.95, 0.99))
    named = dict.fromkeys(v for run in numbers if (v := versions.get((run, plugin_id))))
    return PluginTotals(
        plugin=plugin_id,
        kind=kind,
        run_count=len(numbers),
        host_count=len({runs[run].label.host for run in numbers if run in runs}),
        versions=tuple(named),
        count=whole.count,
        error_count=whole.error_count,
        total_ns=whole.total_ns,
        min_ns=whole.min_ns if whole.count else 0,
        max_ns=whole.max_ns,
        p50_ns=p50,
        p95_ns=p95,
        p99_ns=p99,
        average_cpu_ns=whole.cpu_ns / whole.sampled if whole.sampled else None,
    )
