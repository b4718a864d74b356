"""Foreign text is shown on one line, within its limit, and never obeyed."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, strategies as st

from pluginhost.printable import ELLIPSIS, fitted, in_a_line, printable, width_of

_ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too


class _Raises:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __str__(self) -> str:
        raise self._error


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        pytest.param("\x1b[31mred", "\\x1b[31mred", id="ANSI escape"),
        pytest.param("\x9b31m", "\\x9b31m", id="one-byte ANSI escape"),
        pytest.param("a\nb\r\tc", "a\\nb\\r\\tc", id="line ends and tabs"),
        pytest.param("a\u2028b\u2029c", "a\\u2028b\\u2029c", id="Unicode line ends"),
        pytest.param("a\u202eb", "a\\u202eb", id="bidirectional override"),
        pytest.param("a\u200bb", "a\\u200bb", id="zero-width space"),
        pytest.param("a\ud800b", "a\\ud800b", id="lone surrogate"),
        pytest.param("\x00\x07\x08", "\\x00\\x07\\x08", id="NUL, bell and backspace"),
        pytest.param("Grüße, 漢字 🙂", "Grüße, 漢字 🙂", id="harmless text stays"),
        pytest.param("C:\\new", "C:\\new", id="backslashes stay"),
        pytest.param("", "", id="nothing"),
        pytest.param(42, "42", id="a number"),
        pytest.param(None, "None", id="None"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(raw: object, shown: str) -> None:
    """Controls, overrides and surrogates become Python escapes; all else stays."""
    assert printable(raw) == shown


@given(_ANY_TEXT, st.integers(1, 60))
def test_shown_text_is_printable_and_within_the_limit(raw: str, limit: int) -> None:
    """Whatever the text and the limit, the result can be shown and fits."""
    shown = printable(raw, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    shown.encode()  # no surrogates left


@given(_ANY_TEXT)
def test_harmless_text_is_not_changed_and_harmful_text_is(raw: str) -> None:
    """Text is kept exactly when it was printable and short enough."""
    assert (printable(raw) == raw) == (raw.isprintable() and len(raw) <= 200)


@pytest.mark.parametrize(
    ("raw", "limit", "shown"),
    [
        pytest.param("abcdef", 6, "abcdef", id="exactly at the limit"),
        pytest.param("abcdefg", 6, f"abcde{ELLIPSIS}", id="one over it"),
        pytest.param("\n\n\n\n", 6, f"\\n\\n\\{ELLIPSIS}", id="over it once escaped"),
        pytest.param("\n\n\n", 6, "\\n\\n\\n", id="at it once escaped"),
    ],
)
def test_long_text_ends_in_an_ellipsis(raw: str, limit: int, shown: str) -> None:
    """What is cut says so within its limit."""
    assert printable(raw, limit) == shown


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), GeneratorExit()], ids=repr)
def test_an_object_that_cannot_be_shown_is_named_by_its_type(error: BaseException) -> None:
    """A `__str__` that raises, even SystemExit, is survived."""
    assert printable(_Raises(error)) == "<_Raises that cannot be shown>"


def test_the_users_interrupt_is_not_swallowed() -> None:
    """Ctrl-C while a foreign `__str__` runs still stops the program."""
    with pytest.raises(KeyboardInterrupt):
        printable(_Raises(KeyboardInterrupt()))


def test_a_hostile_type_name_is_escaped_too() -> None:
    """The stand-in for what cannot be shown is itself made safe."""
    hostile = type("\x1b[2J", (_Raises,), {})(ValueError())
    assert printable(hostile) == "<\\x1b[2J that cannot be shown>"


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        pytest.param("plain", 5, id="ASCII"),
        pytest.param("é", 1, id="one code point with its accent"),
        pytest.param("e\u0301", 1, id="letter and combining accent"),
        pytest.param("漢字", 4, id="wide"),
        pytest.param("\uff46\uff55", 4, id="full-width"),
        pytest.param("ﾊ", 1, id="half-width"),
        pytest.param("", 0, id="nothing"),
    ],
)
def test_width_is_counted_in_columns(text: str, columns: int) -> None:
    """Wide characters take two columns and combining ones none."""
    assert width_of(text) == columns


@given(_ANY_TEXT, st.integers(1, 40))
def test_fitted_text_takes_exactly_its_columns(raw: str, width: int) -> None:
    """Cells of a table are as wide as asked, whatever they hold."""
    cell = fitted(raw, width)
    columns = sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in ("W", "F"))
        for c in cell
    )
    assert columns == width
    assert cell.isprintable()


@pytest.mark.parametrize(
    ("text", "width", "cell"),
    [
        pytest.param("ab", 4, "ab  ", id="padded"),
        pytest.param("abcd", 4, "abcd", id="as it is"),
        pytest.param("abcde", 4, f"abc{ELLIPSIS}", id="cut"),
        pytest.param("漢字漢字", 4, f"漢{ELLIPSIS} ", id="cut between two wide characters"),
    ],
)
def test_text_is_cut_or_padded_to_fit(text: str, width: int, cell: str) -> None:
    """A cut cell ends in an ellipsis; padding comes last."""
    assert fitted(text, width) == cell


@given(_ANY_TEXT, st.integers(1, 300))
def test_text_of_several_lines_is_one_printable_line(text: str, limit: int) -> None:
    """Whatever it is, it is safe, within the limit, and has no escaped line ends of its own."""
    shown = in_a_line(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    assert "\\n" in text or "\\n" not in shown


def test_lines_are_set_apart() -> None:
    """Empty lines and indentation go, the words stay."""
    assert in_a_line("one\n\n  two: \r\n") == "one; two:"
