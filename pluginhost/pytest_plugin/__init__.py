"""The pytest plugin: where a suite's time goes. Imports little until it is asked for.

PYTEST_DONT_REWRITE: pytest would compile the module a second time, to rewrite assertions.
"""

from pluginhost.pytest_plugin.options import (
    plugin_host as plugin_host,
    pytest_addoption as pytest_addoption,
)
