"""The hook that adds the options, and a fixture; all else is imported when they are used.

PYTEST_DONT_REWRITE: pytest would compile the module a second time, to rewrite assertions.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pluginhost.pytest_plugin.asking import (
    FILES,
    FLAGS,
    OFF,
    ON,
    VALUES,
    ini_of,
    is_wanted,
    option_of,
    words_of,
)

if TYPE_CHECKING:
    from pluginhost.pytest_plugin.tested import TestedHosts


def pytest_addoption(parser: "pytest.Parser", pluginmanager: "pytest.PytestPluginManager") -> None:
    """Add the options; where they are used, begin to record at once, before others are imported.

    The plugin may come under two names, that of its entry point and that of its module; the second
    time there is nothing left to do.
    """
    for name in ("plugin_profile", *map(ini_of, (*FILES, *VALUES, *FLAGS))):
        flag = name in ("plugin_profile", *map(ini_of, FLAGS))
        parser.addini(name, f"the same as {option_of(name)}", **_BOOLEAN if flag else {})
    config: Any = pluginmanager.get_plugin("pytestconfig")
    words = words_of(config)
    wanted = is_wanted(config, words)
    # Options are dear to add, compared with all else that a run without us should pay for.
    if wanted or any(word.startswith(_NAMING) for word in words) or "_ARGCOMPLETE" in os.environ:
        try:
            _add_options(parser)
        except ValueError:
            return
    if wanted:
        from pluginhost.pytest_plugin.profile import begin

        begin(config)


_BOOLEAN: dict[str, Any] = {"type": "bool", "default": False}
_NAMING = (ON, OFF, "-h", "--help")


def _add_options(parser: "pytest.Parser") -> None:
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


@pytest.fixture
def plugin_host() -> "Iterator[TestedHosts]":
    """Make hosts with your pluginhost plugins loaded: `plugin_host(Plugin).execute("Plugin", 1)`.

    They count what is called, and tell costs as ratios. All are closed when the test is over.
    """
    from pluginhost.pytest_plugin.tested import hosts_under_test

    with hosts_under_test() as hosts:
        yield hosts
