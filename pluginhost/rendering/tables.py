"""Tables with a row for each plugin of a host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from pluginhost.printable import fitted, printable, width_of
from pluginhost.rendering.lines import WIDTH, Line, Span, more
from pluginhost.report import AggregateMetrics, PluginStats

Row = TypeVar("Row", AggregateMetrics, PluginStats)
Column = tuple[str, int, Callable[[Row], Span]]
"""Heading, width, and what a row has to say in it."""

_ROWS = 20


def table(rows: Sequence[Row], columns: Sequence[Column[Row]], flagged: set[str]) -> Iterator[Line]:
    """Yield a heading and the first rows; the names get the width that the columns leave."""
    shown = rows[:_ROWS]
    longest = max(width_of(printable(row.plugin_id)) for row in shown)
    left = WIDTH - sum(width for _, width, _ in columns)
    name_width = min(left, max(longest, len("plugin")) + 1)
    headings = "".join(f"{heading:>{width}}" for heading, width, _ in columns)
    yield ((f"{'plugin':<{name_width}}{headings}", "head"),)
    for row in shown:
        name = fitted(row.plugin_id, name_width - 1) + " "
        spans = [(name, "bad" if row.plugin_id in flagged else "")]
        for _, width, cell in columns:
            text, style = cell(row)
            spans.append((f"{text:>{width}}", style))
        yield tuple(spans)
    yield from more(len(rows) - _ROWS, "plugin")
