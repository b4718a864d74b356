"""Fixtures of the profiler's tests: hosts of plugins that are given as objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pluginhost import PluginHost, PluginInfo
from pluginhost.host.sources import Candidate


class _Objects:
    """A source of plugins that are there already."""

    def __init__(self, plugins: dict[str, object]) -> None:
        self._plugins = plugins

    def discover(self) -> Iterator[Candidate]:
        for plugin_id, plugin in self._plugins.items():
            yield Candidate(
                info=PluginInfo(id=plugin_id),
                load=lambda _fresh, plugin=plugin: plugin,
                module_name="",
            )


@pytest.fixture
def host_of(make_host: Callable[..., PluginHost]) -> Callable[..., PluginHost]:
    """Return `make(specs=None, **plugins)`, which makes a host and loads the plugins given."""

    def make(*, specs: type | None = None, **plugins: object) -> PluginHost:
        host = make_host(_Objects(plugins))
        if specs is not None:
            host.add_hookspecs(specs)
        host.load_all()
        return host

    return make
