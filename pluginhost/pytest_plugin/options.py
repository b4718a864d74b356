"""Where editable installations made before `pluginhost_pytest` was there have their entry point."""

from pluginhost_pytest import plugin_host as plugin_host, pytest_addoption as pytest_addoption
