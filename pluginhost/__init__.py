"""A plugin host on pluggy that knows what each plugin costs.

PYTEST_DONT_REWRITE: pytest rewrites the assertions of its plugins, and there are none here.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pluginhost.analytics.engine import AnalyticsEngine as AnalyticsEngine
    from pluginhost.analytics.records import AnalyticsEvent as AnalyticsEvent
    from pluginhost.bus import EventBus as EventBus
    from pluginhost.calltree import EventKind as EventKind
    from pluginhost.errors import PluginHostError as PluginHostError
    from pluginhost.events import Event as Event, EventBatch as EventBatch
    from pluginhost.hookspecs import Host as Host, hookimpl as hookimpl, hookspec as hookspec
    from pluginhost.host.host import PluginHost as PluginHost
    from pluginhost.inside import Inside as Inside
    from pluginhost.journal import Status as Status
    from pluginhost.observation import Observation as Observation, observe as observe
    from pluginhost.profiler.profiler import Profiler as Profiler
    from pluginhost.profiler.rules import Thresholds as Thresholds
    from pluginhost.report import (
        PluginInfo as PluginInfo,
        PluginState as PluginState,
        Report as Report,
    )
    from pluginhost.subscription import Observer as Observer

_HOMES = {
    "analytics.engine": "AnalyticsEngine", "analytics.records": "AnalyticsEvent",
    "bus": "EventBus", "calltree": "EventKind", "subscription": "Observer",
    "errors": "PluginHostError",
    "events": "Event EventBatch", "journal": "Status", "hookspecs": "Host hookimpl hookspec",
    "host.host": "PluginHost", "inside": "Inside", "observation": "Observation observe",
    "profiler.profiler": "Profiler", "profiler.rules": "Thresholds",
    "report": "PluginInfo PluginState Report",
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_HOME_OF)  # noqa: PLE0605  # names are looked up when first used


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'pluginhost' has no attribute {name!r}")
    return getattr(import_module(f"pluginhost.{_HOME_OF[name]}"), name)
