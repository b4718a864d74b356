"""What is kept of an exception."""

from __future__ import annotations

import asyncio
import concurrent.futures

import pytest

from pluginhost.errors import DeadlineExceededError, PluginLoadError
from pluginhost.instrumentation.failures import MAX_MESSAGE, failure_of
from pluginhost.journal import Failure, Status


class OwnError(Exception):
    """An error of this module."""

    class Inner(Exception):
        """One within it."""


class Unspeakable(Exception):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise SystemExit(3)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(ValueError("no"), Status.ERROR, id="an error"),
        pytest.param(SystemExit(3), Status.ERROR, id="SystemExit"),
        pytest.param(KeyboardInterrupt(), Status.CANCELLED, id="Ctrl-C"),
        pytest.param(TimeoutError("slow"), Status.ERROR, id="a timeout of the plugin's own"),
        pytest.param(concurrent.futures.CancelledError(), Status.ERROR, id="a cancelled future"),
        pytest.param(asyncio.CancelledError(), Status.CANCELLED, id="a cancelled task"),
        pytest.param(GeneratorExit(), Status.CANCELLED, id="an abandoned coroutine"),
        pytest.param(
            DeadlineExceededError("late", plugin_id="a"), Status.TIMEOUT, id="its own deadline"
        ),
        pytest.param(
            DeadlineExceededError("late", plugin_id="b"), Status.ERROR, id="another's deadline"
        ),
    ],
)
def test_an_exception_is_an_error_a_timeout_or_a_cancellation(
    error: BaseException, status: Status
) -> None:
    """Only the host's deadline is a timeout, and only for the plugin whose deadline it was.

    Stopped from outside, by its caller or by the user, it has not failed."""
    assert failure_of(error, "a").status is status


@pytest.mark.parametrize(
    ("error", "name"),
    [
        pytest.param(ValueError(), "ValueError", id="a built-in one"),
        pytest.param(OwnError(), f"{__name__}.OwnError", id="one of a module"),
        pytest.param(OwnError.Inner(), f"{__name__}.OwnError.Inner", id="a nested one"),
        pytest.param(PluginLoadError("x"), "pluginhost.errors.PluginLoadError", id="one of ours"),
        pytest.param(
            type("\x1b[2J", (Exception,), {})(), f"{__name__}.\\x1b[2J", id="a hostile one"
        ),
    ],
)
def test_an_error_is_named_by_module_and_qualified_name(error: Exception, name: str) -> None:
    """Built-in errors go by their name alone, and no name reaches a terminal raw."""
    assert failure_of(error, "a").error_type == name


@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param(ValueError("no\x1b[31m\n"), "no\\x1b[31m\\n", id="hostile"),
        pytest.param(ValueError(), "", id="empty"),
        pytest.param(KeyError("k"), "'k'", id="as str shows it"),
        pytest.param(Unspeakable(), "<Unspeakable that cannot be shown>", id="broken __str__"),
        pytest.param(
            DeadlineExceededError("late\x07", plugin_id="a", remedy="hurry"),
            "late\\x07",
            id="a deadline without its remedy",
        ),
    ],
)
def test_words_are_kept_in_printable_form(error: Exception, message: str) -> None:
    """The message is what `str` gives, made safe."""
    assert failure_of(error, "a").error_message == message


def test_a_long_message_is_cut() -> None:
    """An error that quotes its whole input does not fill the memory."""
    failure = failure_of(ValueError("x" * 10**6), "a")
    assert failure == Failure(Status.ERROR, "ValueError", "x" * (MAX_MESSAGE - 1) + "…")


def test_the_users_interrupt_while_an_error_is_shown_comes_through() -> None:
    """Ctrl-C within a foreign `__str__` is the user's."""

    class Interrupted(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failure_of(Interrupted(), "a")
