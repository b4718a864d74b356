"""The progress bar: where it shows, and that it stays out of the way."""

from __future__ import annotations

import io
import threading
from unittest.mock import patch

import pytest

from pluginhost.cli.progress import ProgressBar


class Terminal(io.StringIO):
    """A text stream in memory that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, in a list of one, that the bar believes it is."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return now


@pytest.fixture
def terminal() -> Terminal:
    """Return a terminal that holds what is written to it."""
    return Terminal()


def test_a_long_run_shows_how_far_it_is(clock: list[float], terminal: Terminal) -> None:
    """After a second, and again when a fifth of a second has passed."""
    bar = ProgressBar(terminal)
    bar.update(1, 40)
    assert terminal.getvalue() == ""
    clock[0] += 1.1
    bar.update(10, 40)
    bar.update(11, 40)
    assert "10/40" in terminal.getvalue()
    assert "11/40" not in terminal.getvalue()
    clock[0] += 0.3
    bar.update(12, 40)
    bar.close()
    assert "12/40" in terminal.getvalue()


def test_the_bar_is_gone_in_the_end(clock: list[float], terminal: Terminal) -> None:
    """The line is erased and the cursor is back."""
    bar = ProgressBar(terminal)
    clock[0] += 2
    bar.update(10, 40)
    bar.close()
    assert terminal.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K")


def test_the_bar_has_no_thread(clock: list[float], terminal: Terminal) -> None:
    """One would run beside every execution that is measured."""
    bar = ProgressBar(terminal)
    clock[0] += 2
    before = threading.active_count()
    bar.update(10, 40)
    assert threading.active_count() == before
    assert terminal.getvalue() != ""
    bar.close()


def test_without_a_terminal_there_is_no_bar(clock: list[float]) -> None:
    """Nothing is written to a file or a pipe."""
    stream = io.StringIO()
    bar = ProgressBar(stream)
    clock[0] += 100
    bar.update(10, 40)
    bar.close()
    assert stream.getvalue() == ""


def test_a_dumb_terminal_gets_no_bar(
    clock: list[float], terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not erase it."""
    monkeypatch.setenv("TERM", "dumb")
    bar = ProgressBar(terminal)
    clock[0] += 100
    bar.update(10, 40)
    assert terminal.getvalue() == ""


def test_without_rich_there_is_no_bar(clock: list[float], terminal: Terminal) -> None:
    """The run goes on without it."""
    with patch.dict("sys.modules", {"rich.console": None, "rich.progress": None}):
        bar = ProgressBar(terminal)
        clock[0] += 100
        bar.update(10, 40)
        bar.update(20, 40)
        bar.close()
    assert terminal.getvalue() == ""
