"""Statistics of the numeric columns of a CSV file whose first row holds the names."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from math import isfinite
from pathlib import Path
from statistics import fmean, stdev

from pluginhost import hookimpl


@dataclass(frozen=True)
class Column:
    """What one column amounts to; `stdev` is that of a sample, None for a single value."""

    count: int
    mean: float
    stdev: float | None
    min: float
    max: float


@hookimpl
def execute(payload: Path) -> dict[str, Column] | None:
    """Return the numeric columns of a `.csv` file by name, None for any other.

    Empty cells are left out; a column with a cell that is not a number is not numeric.
    """
    if payload.suffix.lower() != ".csv":
        return None
    with payload.open(encoding="utf-8-sig", newline="") as file:
        columns = zip_longest(*csv.reader(file), fillvalue="")
        return {name: _column(values) for name, *cells in columns if (values := _numbers(cells))}


def _numbers(cells: Iterable[str]) -> list[float]:
    try:
        return [number for cell in cells if cell.strip() and isfinite(number := float(cell))]
    except ValueError:
        return []


def _column(values: list[float]) -> Column:
    spread = stdev(values) if len(values) > 1 else None
    return Column(len(values), fmean(values), spread, min(values), max(values))
