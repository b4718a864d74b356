"""Foreign text made safe to show: names, metadata and errors come from strangers."""

from __future__ import annotations

from unicodedata import combining, east_asian_width

ELLIPSIS = "…"
_ASCII = str.maketrans({"█": "#", "↑": "^", "↓": "v", "→": ">", "…": "~", "·": ".", "—": "-"})


def printable(text: object, limit: int = 200) -> str:
    """Return `text` on one line, with nothing a terminal would obey, at most `limit` characters.

    Control characters (ANSI escapes, newlines), bidirectional overrides and lone surrogates are
    shown as Python escapes. The argument may be any object: one whose `__str__` raises is shown
    by its type.
    """
    if type(text) is str and len(text) <= limit and text.isprintable():
        return text  # as nearly always
    raw = text if isinstance(text, str) else _text_of(text)
    raw = raw[: limit + 1]
    if not raw.isprintable():
        raw = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in raw)
    return raw if len(raw) <= limit else raw[: limit - 1] + ELLIPSIS


def in_a_line(text: object, limit: int = 200) -> str:
    """Return text of several lines as `printable` does, but with "; " between the lines."""
    raw = text if isinstance(text, str) else _text_of(text)
    lines = (line.strip() for line in raw[: 4 * limit].split("\n"))
    return printable("; ".join(filter(None, lines)), limit)


def _text_of(value: object) -> str:
    try:
        return str(value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # a plugin's __str__ is a plugin's code, and may even raise SystemExit
        return f"<{type(value).__name__} that cannot be shown>"


def width_of(text: str) -> int:
    """Return how many terminal columns `text` takes: wide characters take two (UAX #11)."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def can_encode(text: str, encoding: str) -> bool:
    """Whether an encoding has all characters of a text."""
    if text.isascii():
        return True
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def encodable(text: str, encoding: str, *, others: str) -> str:
    """Return `text` in characters that an encoding has: ASCII for our own signs.

    `others` says what becomes of all else, as the error handlers of `str.encode` are called.
    """
    if can_encode(text, encoding):
        return text
    return text.translate(_ASCII).encode(encoding, others).decode(encoding)


def fitted(text: str, width: int) -> str:
    """Return `text` made safe and cut or padded to exactly `width` columns."""
    shown = printable(text)
    if width_of(shown) > width:
        while width_of(shown) > width - 1:
            shown = shown[:-1]
        shown += ELLIPSIS
    return shown + " " * (width - width_of(shown))
