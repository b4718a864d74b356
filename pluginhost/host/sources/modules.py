"""Plugins named by the module that holds them."""

from __future__ import annotations

from collections.abc import Iterator

from pluginhost.host.manifest import PluginEntry
from pluginhost.host.sources import Candidate, found_candidate
from pluginhost.host.sources.importing import import_installed, plugin_object

KIND = "module"


class ModuleSource:
    """Finds the plugins `module` or `module:attribute` that the host names itself.

    The id is the attribute, or the last part of the module's name.
    """

    def __init__(self, *names: str) -> None:
        self.names = names

    def discover(self) -> Iterator[Candidate]:
        """Yield one candidate for each name; whether the module exists shows on loading."""
        for name in self.names:
            yield _candidate(name)


def _candidate(name: str) -> Candidate:
    module_name, _, attribute = name.partition(":")
    plugin_id = attribute or module_name.rpartition(".")[2]

    def load(fresh: bool) -> object:
        return plugin_object(import_installed(module_name, fresh=fresh), attribute)

    return found_candidate(
        plugin_id,
        PluginEntry(),
        load,
        source=KIND,
        location=name,
        module_name=module_name,
        attribute=attribute,
    )
