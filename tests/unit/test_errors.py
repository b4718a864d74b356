"""Errors say who, what and what to do, in text that is safe to show, and travel whole."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from pluginhost import errors
from pluginhost.errors import DeadlineExceededError, PluginHostError

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, PluginHostError)
]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def made(kind):
    """Return an error of this kind with all that it can say."""
    return kind("it broke", plugin_id="resize", hook="setup", remedy="mend it")


def test_all_parts_are_shown():
    """Plugin, hook, message and remedy make one sentence."""
    error = PluginHostError("it broke", plugin_id="resize", hook="setup", remedy="mend it")
    assert str(error) == "plugin 'resize': setup: it broke - mend it"


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        pytest.param({}, "it broke", id="message-only"),
        pytest.param({"plugin_id": "a"}, "plugin 'a': it broke", id="plugin"),
        pytest.param({"hook": "execute"}, "execute: it broke", id="hook"),
        pytest.param({"remedy": "mend it"}, "it broke - mend it", id="remedy"),
        pytest.param({"plugin_id": ""}, "plugin '': it broke", id="empty-id"),
    ],
)
def test_what_is_not_known_is_left_out(known, shown):
    """The sentence reads well with any part missing."""
    assert str(PluginHostError("it broke", **known)) == shown


def test_hostile_text_is_made_safe():
    """No part of it reaches a terminal as it is; the attributes keep what was given."""
    escape = "\x1b[31mred\r\n\u202e\udcff"
    error = PluginHostError(escape, plugin_id=escape, hook=escape, remedy=escape)
    assert str(error).isprintable()
    assert str(error).count("red") == 4
    assert (error.message, error.plugin_id, error.remedy) == (escape, escape, escape)


def test_endless_text_is_cut():
    """An error is read by people."""
    endless = "x" * 1_000_000
    assert (
        len(str(PluginHostError(endless, plugin_id=endless, hook=endless, remedy=endless))) < 5_000
    )


@each_kind
def test_errors_travel_whole(kind):
    """Between processes and through copies every part stays."""
    error = made(kind)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert vars(again) == vars(error)


@each_kind
def test_every_error_has_a_page(kind):
    """The slug is the class's name, and a class of its own has a slug of its own."""
    assert kind.docs_slug == kind.__name__.lower()


@each_kind
def test_every_error_is_documented(kind):
    """Its docstring is its own, not its parent's."""
    assert "__doc__" in vars(kind)
    assert kind.__doc__.strip().endswith(".") or "\n" in kind.__doc__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        pytest.param(errors.PluginNotFoundError, LookupError, id="not-found"),
        pytest.param(errors.DeadlineExceededError, TimeoutError, id="deadline"),
        pytest.param(errors.InvalidValueError, ValueError, id="invalid-value"),
    ],
)
def test_errors_are_what_python_would_raise(kind, builtin):
    """Code that knows only the builtin kinds catches ours."""
    assert issubclass(kind, builtin)


def test_a_deadline_is_no_system_error():
    """`TimeoutError` is an `OSError`; ours has no number of one."""
    assert made(DeadlineExceededError).errno is None
