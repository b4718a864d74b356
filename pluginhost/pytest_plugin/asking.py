"""What can be asked of the pytest plugin, and whether it is."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

ON, OFF = "--plugin-profile", "--no-plugin-profile"
FILES = {
    "json": "Write the profile as JSON.",
    "html": "Write it as a page that needs nothing else.",
    "speedscope": "Write who called whom for speedscope.app.",
    "markdown": "Write a summary in GitHub's Markdown; it is added to a file that is there.",
    "save": "Keep the run for 'pluginhost report' and 'pluginhost compare'.",
    "baseline": "Compare with a run that was kept; see --plugin-profile-fail-over.",
}
REPORT_FILES = ("json", "save", "html", "speedscope")
"""Those of `FILES` that the whole report is written to."""

VALUES = {
    "fail-over": (
        "SHARE",
        None,
        "Fail when a plugin, fixture or file takes so much longer than in the baseline: 10%%.",
    ),
    "memory": (
        None,
        ("rss", "exact"),
        "Memory of each test: rss, that of the process at its end; exact, by tracemalloc (slow).",
    ),
    "imports": (
        None,
        ("estimate", "none"),
        "Of what was imported earlier: estimate it in another process (default), or leave it.",
    ),
}
FLAGS = {
    "wall-only": "Read no CPU clock: a little faster, but waiting and working look alike.",
    "junit": "Add properties to the file of --junit-xml.",
}


def ini_of(name: str) -> str:
    """Return the key of the configuration file that stands for an option."""
    return f"plugin_profile_{name.replace('-', '_')}"


def add_options(parser: pytest.Parser, config: Any) -> bool:
    """Add the options to those of pytest; return whether they are used."""
    group = parser.getgroup("plugin-profile", "where the suite's time goes (pluginhost)")
    add = group.addoption
    add(ON, action="store_true", default=False, help="Tell where the suite's time goes.")
    add(OFF, action="store_false", dest="plugin_profile", help="Do not, whatever else is set.")
    for name, text in FILES.items():
        add(f"{ON}-{name}", metavar="FILE", help=text)
    for name, (metavar, choices, text) in VALUES.items():
        add(f"{ON}-{name}", metavar=metavar, choices=choices, help=text)
    for name, text in FLAGS.items():
        add(f"{ON}-{name}", action="store_true", default=False, help=text)
    return is_wanted(config, words_of(config))


def rewrite_none_of_ours(hook: Any) -> None:
    """Have pytest import our modules as they are; it rewrites those of all plugins, by default.

    There are no assertions of tests in them, and most are imported at the end: after a suite that
    has left something broken in the collector, parsing may fail (CPython issue 106905), and where
    no byte code is kept, the suite would seem to have more to rewrite than it has.
    """
    with suppress(AttributeError, TypeError):  # private, and not there in a dummy
        hook._must_rewrite.discard("pluginhost")
        hook._marked_for_rewrite_cache.clear()


def words_of(config: Any) -> list[str]:
    """Return all words that pytest is given: from the environment, the configuration, the line."""
    words = [*shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *config.getini("addopts")]
    return [*words, *map(str, config.invocation_params.args)]


def is_wanted(config: Any, words: Sequence[str]) -> bool:
    """Whether the words that pytest is given, or a configuration file, ask for a profile.

    A process that runs tests for another has its options before they are parsed.
    """
    if vars(config.option).get("plugin_profile"):
        return True
    found = [word for word in words if word.startswith((ON, OFF))]
    if found and found[-1] == OFF:
        return False
    return bool(found) or bool(config.getini("plugin_profile"))
