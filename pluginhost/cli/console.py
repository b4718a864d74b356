"""Output: styled lines on a terminal, plain text and JSON everywhere else, and never a crash.

Colours need the extra `cli` (rich); without it, in a pipe, with NO_COLOR, or on a dumb terminal
everything reads the same in plain text.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, TextIO

from pluginhost.cli import exits
from pluginhost.printable import can_encode, encodable, width_of

if TYPE_CHECKING:
    from pluginhost.rendering.lines import Line

STYLES = {
    "title": "bold",
    "head": "bold cyan",
    "bad": "bold red",
    "good": "green",
    "dim": "dim",
    "bar": "cyan",
    "": "",
}
"""What the styles of report lines are in rich."""

_INDENT = 4


class Console:
    """Writes lines and JSON to `stream`, by default the standard output of the moment."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout

    def show(self, lines: Iterable[Line]) -> None:
        """Write lines of (text, style) spans: in colour where that is wanted and possible.

        On a terminal narrower than a line, the line goes on, indented, below.
        """
        if is_terminal(self._stream):
            width = shutil.get_terminal_size().columns
            lines = (part for line in lines for part in folded(line, width))
        if wants_colour(self._stream) and self._show_in_colour(lines):
            return
        for line in lines:
            text = "".join(text for text, _ in trimmed(line))
            self._write(self._encodable(text) + "\n")
        self._flush()

    def data(self, json: str) -> None:
        """Write JSON. What a terminal might obey, or cannot be encoded, is escaped as JSON does."""
        if not (json.isascii() and json.replace("\n", "").isprintable()):
            json = "".join(
                c if c == "\n" or (c.isprintable() and self._can_encode(c)) else _json_escape(c)
                for c in json
            )
        self._write(json + "\n")
        self._flush()

    def raw(self, content: bytes) -> None:
        """Write bytes as they are."""
        with self._errors_told():
            self._stream.flush()
            self._stream.buffer.write(content)
        self._flush()

    def _show_in_colour(self, lines: Iterable[Line]) -> bool:
        try:
            from rich.console import Console as RichConsole
            from rich.text import Text
        except ImportError:
            return False
        rich = RichConsole(file=self._stream, force_terminal=True)
        with self._errors_told():
            for line in lines:
                spans = [(self._encodable(text), STYLES[style]) for text, style in trimmed(line)]
                rich.print(Text.assemble(*spans), soft_wrap=True)
        self._flush()
        return True

    def _encodable(self, text: str) -> str:
        """Return `text` in what the stream can encode: ASCII for our own signs, escapes for others."""
        return encodable(text, self._encoding, others="backslashreplace")

    def _can_encode(self, text: str) -> bool:
        return can_encode(text, self._encoding)

    @property
    def _encoding(self) -> str:
        return self._stream.encoding or "ascii"

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        """Turn a failure to write, such as a full disk, into one message; a closed pipe stays."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            abandon(self._stream)
            text = f"the output cannot be written: {error.strerror}"
            raise exits.BrokenFileError(text) from error

    def _write(self, text: str) -> None:
        with self._errors_told():
            self._stream.write(text)

    def _flush(self) -> None:
        with self._errors_told():
            self._stream.flush()


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at `stream` as it is written."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def wants_colour(stream: TextIO) -> bool:
    """Whether `stream` takes colours: a terminal that is not dumb, or FORCE_COLOR; not NO_COLOR."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return is_terminal(stream) and os.environ.get("TERM", "") not in ("dumb", "unknown")


def abandon(stream: TextIO) -> None:
    """Let what is still to be written go nowhere, so that the exit of Python stays silent."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return  # not a file: nothing is flushed into it at exit
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def trimmed(line: Line) -> Line:
    """Return `line` without the spaces at its end."""
    while line and not line[-1][0].rstrip():
        line = line[:-1]
    return (*line[:-1], (line[-1][0].rstrip(), line[-1][1])) if line else ()


def folded(line: Line, width: int) -> Iterator[Line]:
    """Yield `line` in parts of at most `width` columns, broken at spaces where there are any."""
    line = trimmed(line)
    if width_of("".join(text for text, _ in line)) <= width:
        yield line
        return
    width = max(width, 3 * _INDENT)
    cells = [(c, style) for part, style in line for c in part]
    indent = 0
    while cells:
        end = _break(cells, width - indent)
        margin = ((" " * indent, ""),) if indent else ()
        yield (*margin, *_spans(cells[:end]))
        rest = end
        while rest < len(cells) and cells[rest][0] == " ":
            rest += 1
        cells = cells[rest:]
        indent = _INDENT


def _spans(cells: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for style, group in groupby(cells, key=itemgetter(1)):
        yield "".join(character for character, _ in group), style


def _break(cells: list[tuple[str, str]], width: int) -> int:
    """Return how many cells go on this line of `width` columns: at least one."""
    used = 0
    last_space = 0
    for position, (character, _) in enumerate(cells):
        used += width_of(character)
        if used > width:
            return last_space or max(1, position)
        if character == " " and any(c != " " for c, _ in cells[:position]):
            last_space = position
    return len(cells)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
