"""What a plugin manager has, and ever had while it was watched: plugins, implementations, whose."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import pluggy

from pluginhost.capture import Implementation, SeenManager, SeenPlugin
from pluginhost.headers import headers_of
from pluginhost.instrumentation.named import Naming
from pluginhost.printable import printable

_NOBODYS = frozenset({"", "__main__", "pluggy", "builtins"})


class WatchedManager:
    """A manager, and all plugins and implementations that were ever seen in it.

    `projects` has the project of every plugin's name in the records. A name that another project
    has taken gets its own project in front.
    """

    def __init__(self, manager: pluggy.PluginManager, projects: dict[str, str]) -> None:
        self.manager: Callable[[], pluggy.PluginManager | None] = weakref.ref(manager)
        self.project = printable(manager.project_name)
        self._class_module = printable(type(manager).__module__)
        self._specification: str | None = None
        self._projects = projects
        self._plugins: dict[str, SeenPlugin] = {}
        self._names: dict[str, str] = {}
        """What the records call plugins that were noted, by their registered names."""
        self._implementations: dict[tuple[str, str], Implementation] = {}

    def name_of(self, impl: pluggy.HookImpl) -> str:
        """Return what the plugin of `impl` is called in records, and note what it is."""
        return self._note(impl.plugin_name, impl.plugin)

    def is_own(self, impl: pluggy.HookImpl) -> bool:
        """Whether the plugin of `impl` is of the package that the manager's class is from."""
        package = self._class_module.partition(".")[0]
        module = module_name_of(impl.plugin).partition(".")[0]
        return module == package and package not in _NOBODYS

    def seen(self) -> SeenManager:
        """Return what is known, with all that is registered now if the manager is still there."""
        manager = self.manager()
        if manager is not None:
            self._look(manager)
            naming = Naming(manager)
            self._plugins = {name: naming.told(each) for name, each in self._plugins.items()}
        return SeenManager(
            project=self.project,
            class_module=self._class_module,
            specification=self._specification,
            plugins=tuple(self._plugins.values()),
            implementations=tuple(self._implementations.values()),
        )

    def _look(self, manager: pluggy.PluginManager) -> None:
        distributions = {id(plugin): found for plugin, found in manager.list_plugin_distinfo()}
        for registered_name, plugin in manager.list_name_plugin():
            if plugin is None:
                name = self._named(printable(registered_name))
                self._plugins[name] = SeenPlugin(
                    name=name, registered_name=printable(registered_name), module="", blocked=True
                )
            else:
                self._note(registered_name, plugin, distributions.get(id(plugin)))
        for hook, caller in list(vars(manager.hook).items()):
            if not isinstance(caller, pluggy.HookCaller):
                continue
            if self._specification is None and caller.spec is not None:
                self._specification = module_name_of(caller.spec.namespace)
            shown = printable(hook)
            for impl in caller.get_hookimpls():
                name = self._note(impl.plugin_name, impl.plugin)
                self._implementations[name, hook] = Implementation(name, shown, _style_of(impl))

    def _note(self, registered_name: str, plugin: object, distribution: Any = None) -> str:
        """Note a plugin unless it is known, or is known without its distribution."""
        if distribution is None and registered_name in self._names:
            return self._names[registered_name]
        module = module_name_of(plugin)
        shown = printable(registered_name, 500)
        nameless = registered_name == str(id(plugin))  # that says nothing, and differs every time
        if nameless:
            shown = f"{module}.{printable(_class_of(plugin).__qualname__)}"
        name = self._named(shown)
        if not nameless:
            self._names[registered_name] = name
        noted = self._plugins.get(name)
        if noted is None or (noted.distribution is None and distribution is not None):
            known = sys.modules.get(module)
            distribution_name, version = _name_and_version(distribution)
            file = getattr(plugin if _is_module(plugin) else known, "__file__", None)
            self._plugins[name] = SeenPlugin(
                name=name,
                registered_name=printable(registered_name, 500),
                module=module,
                file=printable(file, 1000) if isinstance(file, str) else None,
                is_module=_is_module(plugin),
                distribution=distribution_name,
                version=version,
            )
        return name

    def _named(self, shown: str) -> str:
        """Return what the records call the plugin that is shown so in this manager."""
        taken = self._projects.setdefault(shown, self.project)
        return shown if taken == self.project else f"{self.project}/{shown}"


def _style_of(impl: pluggy.HookImpl) -> str:
    return "wrapper" if impl.wrapper else "hookwrapper" if impl.hookwrapper else "function"


def _is_module(plugin: object) -> bool:
    return isinstance(plugin, type(sys))


def _class_of(plugin: object) -> type:
    return plugin if isinstance(plugin, type) else type(plugin)


def module_name_of(thing: object) -> str:
    """Return the module that `thing` is, or the one its class is from."""
    if _is_module(thing):
        return printable(getattr(thing, "__name__", ""), 500)
    return printable(getattr(_class_of(thing), "__module__", ""), 500)


def _name_and_version(distribution: Any) -> tuple[str | None, str | None]:
    """Return what a distribution says of itself; pluggy's facade passes the question on."""
    if distribution is None:
        return None, None
    try:
        headers = headers_of(distribution)
    except Exception:  # metadata are whatever lies on the disk
        return None, None
    return printable(headers.name) or None, printable(headers.version) or None
