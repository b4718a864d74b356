"""The parts of reports: lines of (text, style) spans, sections, paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from textwrap import wrap

from pluginhost.figures import of
from pluginhost.printable import ELLIPSIS, fitted, printable, width_of

WIDTH = 80
Span = tuple[str, str]
Line = tuple[Span, ...]
"""Styles are words: `title`, `head`, `bad`, `good`, `dim`, `bar`, or empty."""

_BEFORE_UNIT = r"(?<=\d) (?=(?:[num]?s|[KMG]?i?B|%)(?!\w))"
_KEPT = "\N{NO-BREAK SPACE}"


def plain(lines: Iterable[Line]) -> str:
    """Return lines as text without styles."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines) + "\n"


def within_width(line: Line) -> Line:
    """Return `line` with nothing in it that a terminal would obey, cut to the width."""
    spans: list[Span] = []
    left = WIDTH
    for text, style in line:
        shown = printable(text)
        if width_of(shown) > left:
            shown = fitted(shown, left) if left > 1 else ELLIPSIS[:left]
        left -= width_of(shown)
        spans.append((shown, style))
    return tuple(spans)


def section(text: str) -> Iterator[Line]:
    """Yield a heading after an empty line."""
    yield ()
    yield ((text, "head"),)


def more(hidden: int, what: str) -> Iterator[Line]:
    """Yield how many things are not shown, if any."""
    if hidden > 0:
        yield ((f"... and {of(hidden, f'more {what}')}, all in the JSON", "dim"),)


def labelled(label: str, text: str) -> Iterator[Line]:
    """Yield a remark after what it is."""
    return paragraph(text, "dim", lead=f"  {label:<10}")


def paragraph(text: str, style: str = "", *, lead: str = "", indent: int = 0) -> Iterator[Line]:
    """Yield foreign text in at most three lines: after `lead`, then below it or at `indent`."""
    margin = " " * (indent or len(lead))
    lines = list(wrapped(printable(text, 1000), WIDTH - len(margin)))
    for number, line in enumerate(lines[:3]):
        yield ((f"{margin if number else lead}{line}", style),)
    if len(lines) > 3:
        yield ((f"{margin}...", "dim"),)


def wrapped(text: str, width: int) -> Iterator[str]:
    """Yield `text` in lines of at most `width` columns, which wide characters fill faster.

    A figure and its unit stay together.
    """
    for line in wrap(re.sub(_BEFORE_UNIT, _KEPT, text), width):
        rest = line.replace(_KEPT, " ")
        while width_of(rest) > width:
            cut = fitted(rest, width).rstrip().removesuffix(ELLIPSIS)
            yield cut
            rest = rest[len(cut) :]
        yield rest
