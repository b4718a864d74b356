"""Output that suits where it goes: terminals, pipes, odd encodings, hostile text."""

from __future__ import annotations

import io
import json
from unittest.mock import patch

import click
import pytest
from hypothesis import given, strategies as st

from pluginhost.cli.console import Console, folded, wants_colour
from pluginhost.printable import width_of

LINES = (
    (("Title", "title"),),
    (("name ", "bad"), ("12 ms ", ""), ("██", "bar")),
    (("note: ", "dim"), ("↑ fast… ok", "good")),
    (),
)


class Terminal(io.TextIOWrapper):
    """A text stream in memory that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def _terminal(encoding: str = "utf-8") -> Terminal:
    return Terminal(io.BytesIO(), encoding=encoding, newline="\n")


def _pipe(encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode(stream.encoding)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the person running the tests prefers must not matter."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def test_a_pipe_gets_plain_text() -> None:
    """Not one escape, and no spaces at the ends of lines."""
    stream = _pipe()
    Console(stream).show(LINES)
    assert _text(stream) == "Title\nname 12 ms ██\nnote: ↑ fast… ok\n\n"


def test_a_terminal_gets_the_same_text_in_colour() -> None:
    """Each style is visible, and without the escapes the text is that of a pipe."""
    stream = _terminal()
    Console(stream).show(LINES)
    text = _text(stream)
    assert "\x1b[1;31mname \x1b[0m" in text
    assert "\x1b[1mTitle\x1b[0m" in text
    assert click.unstyle(text) == "Title\nname 12 ms ██\nnote: ↑ fast… ok\n\n"


@pytest.mark.parametrize(
    ("environment", "terminal", "colour"),
    [
        pytest.param({}, True, True, id="a terminal"),
        pytest.param({}, False, False, id="a pipe"),
        pytest.param({"NO_COLOR": "1"}, True, False, id="NO_COLOR"),
        pytest.param({"NO_COLOR": ""}, True, True, id="an empty NO_COLOR counts as none"),
        pytest.param({"TERM": "dumb"}, True, False, id="a dumb terminal"),
        pytest.param({"FORCE_COLOR": "1"}, False, True, id="FORCE_COLOR"),
        pytest.param({"FORCE_COLOR": "0"}, False, False, id="FORCE_COLOR off"),
        pytest.param({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False, id="both: no colour"),
    ],
)
def test_colour_is_there_where_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], terminal: bool, colour: bool
) -> None:
    """The conventions of NO_COLOR, FORCE_COLOR and TERM hold, in what is said and what is done."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = _terminal() if terminal else _pipe()
    Console(stream).show(LINES)
    assert wants_colour(stream) is colour
    assert ("\x1b[" in _text(stream)) is colour


def test_without_rich_a_terminal_gets_plain_text() -> None:
    """The core alone is enough to read a report."""
    stream = _terminal()
    with patch.dict("sys.modules", {"rich.console": None}):
        Console(stream).show(LINES)
    assert _text(stream) == "Title\nname 12 ms ██\nnote: ↑ fast… ok\n\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("stream_of", [_pipe, _terminal])
def test_signs_that_cannot_be_encoded_become_ascii(encoding: str, stream_of: object) -> None:
    """Bars and arrows have ASCII stand-ins of the same width."""
    stream = stream_of(encoding)
    Console(stream).show([(("██ ↑ ↓ →", "bar"),)])
    assert click.unstyle(_text(stream)) == "## ^ v >\n"


def test_foreign_letters_that_cannot_be_encoded_stay_distinct() -> None:
    """Two names never look the same: letters without a stand-in are escaped."""
    stream = _pipe("latin-1")
    Console(stream).show([(("é λ µ 日", ""),)])
    assert _text(stream) == "é \\u03bb µ \\u65e5\n"


def test_markup_in_foreign_text_means_nothing() -> None:
    """What looks like markup or an emoji name to rich is shown as it is."""
    stream = _terminal()
    Console(stream).show([(("[bold]x[/] :smile: http://a.b 123", ""),)])
    assert _text(stream) == "[bold]x[/] :smile: http://a.b 123\n"


def test_lines_go_on_below_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is cut off: what does not fit stands indented on the next line."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = _terminal()
    Console(stream).show([(("checksum   12   1.5ms ", ""), ("100%", "bad"))])
    assert _text(stream) == "checksum   12\n    1.5ms 100%\n"


def test_a_pipe_is_never_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or a pipe gets whole lines, however wide the terminal is."""
    monkeypatch.setenv("COLUMNS", "20")
    stream = _pipe()
    Console(stream).show([(("x" * 70, ""),)])
    assert _text(stream) == "x" * 70 + "\n"


@given(
    st.lists(st.tuples(st.text("ab 日é"), st.sampled_from(["", "bad", "dim"])), max_size=6),
    st.integers(1, 40),
)
def test_folding_loses_nothing_and_fits(line: list[tuple[str, str]], width: int) -> None:
    """Every part fits the width (12 at least), and all words are there, in order, in their style."""
    parts = list(folded(tuple(line), width))
    text = "".join(text for text, _ in line)
    if width_of(text.rstrip()) > width:
        assert all(width_of("".join(t for t, _ in part)) <= max(width, 12) for part in parts)
    cells = [(c, style) for text, style in line for c in text if c != " "]
    assert [(c, style) for part in parts for text, style in part for c in text if c != " "] == cells


def test_json_for_a_utf8_pipe_is_left_alone() -> None:
    """Letters stay letters."""
    stream = _pipe()
    Console(stream).data('{\n  "a": "é 日"\n}')
    assert _text(stream) == '{\n  "a": "é 日"\n}\n'


@given(st.text())
def test_json_reaches_no_terminal_raw_and_keeps_its_meaning(value: str) -> None:
    """Whatever a terminal would obey is escaped; the JSON still says the same."""
    stream = _pipe("latin-1")
    Console(stream).data(json.dumps({"a": value}, ensure_ascii=False, indent=2))
    text = _text(stream)
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == {"a": value}


def test_colours_do_not_break_lines_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is longer than any terminal stays one line for the program that reads it."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = _pipe()
    Console(stream).show([(("word " * 60, "bad"),)])
    assert click.unstyle(_text(stream)) == ("word " * 60).strip() + "\n"


def test_a_closed_pipe_is_left_to_the_caller() -> None:
    """It is no error to be told of."""

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        Console(Closed()).show(LINES)


def test_a_full_disk_is_one_message() -> None:
    """Writing that fails ends the command with a message, not with a traceback."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(click.ClickException, match="No space left") as caught:
        Console(Full()).show(LINES)
    assert caught.value.exit_code == 3
