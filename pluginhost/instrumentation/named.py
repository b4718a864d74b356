"""Which plugins pytest was told to load by name, with `-p`: to leave one out, its name is taken out.

`-p no:NAME` would not do: before `-p NAME` it does nothing, and after it the plugin is imported already.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pluggy

from pluginhost.capture import SeenPlugin


class Naming:
    """What a manager of pytest was told, from wherever; of other managers, nothing."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        config = manager.get_plugin("pytestconfig")
        known: Any = getattr(config, "known_args_namespace", None)
        words = getattr(known, "plugins", None) or ()
        self._names = {str(word) for word in words}
        self._finds = not (
            getattr(known, "disable_plugin_autoload", False)
            or os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
        )

    def told(self, plugin: SeenPlugin) -> SeenPlugin:
        """Return a plugin with whether it was named, and whether it would be loaded all the same."""
        if plugin.registered_name not in self._names or plugin.blocked:
            return plugin
        found = self._finds and plugin.distribution is not None
        return msgspec.structs.replace(plugin, named=True, found=found)
