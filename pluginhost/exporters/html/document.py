"""What the page shows, of whatever kind of report: an answer, figures, tables, graphs.

The page's own script draws these records and knows nothing of reports. Values are in the unit that
their `kind` names: ns, bytes, count, share (0.0-1.0), number or text. None is shown as not measured.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A single figure with what it is."""

    label: str
    value: float | str | None
    kind: str = "ns"
    note: str = ""
    estimate: bool = False


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that stands out, and what to do about it."""

    text: str
    remedy: str = ""
    severe: bool = False


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the whole, which all parts add up to."""

    name: str
    value: int


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a table: its heading, the kind of its values, whether they are estimates."""

    label: str
    kind: str = "text"
    note: str = ""
    estimate: bool = False


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that can be sorted and searched; at first by column `sort`, the largest value first."""

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    sort: int | None = None
    note: str = ""


class Flame(msgspec.Struct, frozen=True, kw_only=True):
    """A flame graph, a column for each property: row n of each is one node, callers first.

    `names` are positions in `texts`, `parents` rows (-1 for the root), `sampled` rows that are
    estimates.
    """

    title: str
    texts: tuple[str, ...]
    names: tuple[int, ...]
    parents: tuple[int, ...]
    values: tuple[int, ...]
    own: tuple[int, ...]
    calls: tuple[int, ...]
    sampled: tuple[int, ...] = ()
    kind: str = "ns"
    note: str = ""


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """A line over runs or time: (label, value, low, high) for each point, with marks at some."""

    title: str
    kind: str
    points: tuple[tuple[str, float | None, float | None, float | None], ...]
    marks: tuple[tuple[int, str], ...] = ()
    forecast: tuple[float, float, float] | None = None
    note: str = ""


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """How durations are spread: (ns, count) in ascending order, and (name, ns) of quantiles."""

    name: str
    points: tuple[tuple[float, int], ...]
    quantiles: tuple[tuple[str, float], ...] = ()


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """All that is on the page, the answer first."""

    title: str
    subtitle: str
    created_ms: int
    answer: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    missing: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    parts: tuple[Part, ...] = ()
    tables: tuple[Table, ...] = ()
    flames: tuple[Flame, ...] = ()
    trends: tuple[Trend, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    measuring: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
