"""Rows for spreadsheets: comma-separated values as in RFC 4180, in UTF-8."""

from __future__ import annotations

import csv
import io

from pluginhost.exporters.suite_rows import suite_rows
from pluginhost.exporters.view import Row, view_of
from pluginhost.report import Report

COLUMNS = (
    "plugin", "hook", "kind", "calls", "errors", "total_ns", "self_ns", "cpu_ns", "min_ns",
    "p50_ns", "p95_ns", "p99_ns", "max_ns",
)  # fmt: skip
"""All columns; a time that was not measured is empty."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "＝", "＋", "－", "＠")  # noqa: RUF001


def csv_text(report: Report) -> str:
    """Return a header and one row for each of the view's rows; of a test suite, also for its parts."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_MINIMAL)
    writer.writerow(COLUMNS)
    writer.writerows(_cells(row) for row in view_of(report).rows)
    if report.suite is not None:
        writer.writerows(_cells(row) for row in suite_rows(report.suite))
    return out.getvalue()


def guarded(text: str) -> str:
    """Return `text` so that no spreadsheet takes it for a formula.

    What begins like one gets an apostrophe in front, and so does what begins with an apostrophe:
    reading back, take one off.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def _cells(row: Row) -> list[object]:
    cells = [getattr(row, name) for name in COLUMNS]
    return ["" if c is None else guarded(c) if isinstance(c, str) else c for c in cells]
