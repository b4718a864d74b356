"""The hook that adds the options, and a fixture; all else is imported when they are used.

PYTEST_DONT_REWRITE: pytest would compile the module a second time, to rewrite assertions.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pluginhost.pytest_plugin.asking import FILES, FLAGS, OFF, ON, VALUES, is_wanted

if TYPE_CHECKING:
    from pluginhost.pytest_plugin.tested import TestedHosts


def pytest_addoption(parser: "pytest.Parser", pluginmanager: "pytest.PytestPluginManager") -> None:
    """Add the options; where they are used, begin to record at once, before others are imported.

    The plugin may come under two names, that of its entry point and that of its module; the second
    time there is nothing left to do.
    """
    group = parser.getgroup("plugin-profile", "where the suite's time goes (pluginhost)")
    add = group.addoption
    try:
        add(ON, action="store_true", default=False, help="Tell where the suite's time goes.")
    except ValueError:
        return
    add(OFF, action="store_false", dest="plugin_profile", help="Do not, whatever else is set.")
    for name, text in FILES.items():
        add(f"{ON}-{name}", metavar="FILE", help=text)
    for name, (metavar, choices, text) in VALUES.items():
        add(f"{ON}-{name}", metavar=metavar, choices=choices, help=text)
    for name, text in FLAGS.items():
        add(f"{ON}-{name}", action="store_true", default=False, help=text)
    parser.addini("plugin_profile", f"the same as {ON}", type="bool", default=False)
    for name in (*FILES, *VALUES):
        parser.addini(f"plugin_profile_{name.replace('-', '_')}", f"the same as {ON}-{name}")
    for name in FLAGS:
        ini = f"plugin_profile_{name.replace('-', '_')}"
        parser.addini(ini, f"the same as {ON}-{name}", type="bool", default=False)
    config: Any = pluginmanager.get_plugin("pytestconfig")
    if config is not None and is_wanted(config):
        from pluginhost.pytest_plugin.profile import begin

        begin(config)


@pytest.fixture
def plugin_host() -> "Iterator[TestedHosts]":
    """Make hosts with your pluginhost plugins loaded: `plugin_host(Plugin).execute("Plugin", 1)`.

    They count what is called, and tell costs as ratios. All are closed when the test is over.
    """
    from pluginhost.pytest_plugin.tested import hosts_under_test

    with hosts_under_test() as hosts:
        yield hosts
