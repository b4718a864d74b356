"""The entry point: all that every run of pytest pays for, in one module.

What the options mean is in `asking`, which is imported where they are used, as is all else.

PYTEST_DONT_REWRITE: pytest would compile the module a second time, to rewrite assertions.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pluginhost.pytest_plugin.tested import TestedHosts

_FILES_AND_VALUES = "json html speedscope markdown save baseline fail-over memory imports"
_FLAGS = "wall-only junit"


def pytest_addoption(parser: "pytest.Parser", pluginmanager: "pytest.PytestPluginManager") -> None:
    """Add the options; where they are used, begin to record at once, before others are imported."""
    for name in _FILES_AND_VALUES.split():
        parser.addini(f"plugin_profile_{name.replace('-', '_')}", f"see --plugin-profile-{name}")
    for name in _FLAGS.split():
        key = f"plugin_profile_{name.replace('-', '_')}"
        parser.addini(key, f"see --plugin-profile-{name}", "bool", False)
    parser.addini("plugin_profile", "see --plugin-profile", "bool", False)
    config: Any = pluginmanager.get_plugin("pytestconfig")
    try:
        asked = config.getini("plugin_profile")
    except (TypeError, ValueError, pytest.UsageError) as error:
        text = f"plugin_profile: {error}: true and false are allowed"
        raise pytest.UsageError(text) from None
    words = [*os.environ.get("PYTEST_ADDOPTS", "").split(), *config.getini("addopts")]
    words += map(str, config.invocation_params.args)
    # Options are dear to add, compared with all else that a run without us should pay for.
    if (
        any("-plugin-profile" in word or word in ("-h", "--help") for word in words)
        or asked
        or "plugin_profile" in vars(config.option)
        or "_ARGCOMPLETE" in os.environ
    ):
        from pluginhost.pytest_plugin.asking import add_options, rewrite_none_of_ours

        if add_options(parser, config):
            rewrite_none_of_ours(pluginmanager.rewrite_hook)
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
