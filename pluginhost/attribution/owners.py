"""Whose is it: which plugin a hook call or an import belongs to, and what is the application's own."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path

import msgspec

from pluginhost.attribution.distributions import Distributions
from pluginhost.capture import ENTRY_POINT, FIXTURE, SeenManager, SeenPlugin
from pluginhost.costs import PluginKind


class Unit(msgspec.Struct, frozen=True):
    """What has a row of its own: a plugin with all that it registered.

    `parts` are names of plugins in the records, `registered_name` is what its manager calls it.
    `named` and `found` are as in `SeenPlugin`.
    """

    name: str
    kind: PluginKind
    project: str
    registered_name: str
    distribution: str | None
    version: str | None
    parts: tuple[str, ...]
    named: bool = False
    found: bool = False


class Owners:
    """Knows the units of a program; None stands for the application itself.

    The application is the package of the manager's class and that of its first hook specification,
    with everything of the same distributions. Objects that an installed plugin registers beside
    itself are parts of it. Conftest files are known by their paths, for many may have one module name.
    """

    def __init__(
        self, managers: Sequence[SeenManager], installed: Distributions, *, folder: str
    ) -> None:
        self._installed = installed
        self._folder = folder
        self._own = frozenset(
            package
            for manager in managers
            for module in (manager.class_module, manager.specification or "")
            if (top := module.partition(".")[0]) not in _NOBODYS
            for package in installed.packages_with(top)
        )
        self.units: dict[str, Unit] = {}
        self._of_plugin: dict[str, str | None] = {}
        self._of_import: dict[str, str | None] = {}
        self._conftests: defaultdict[str, set[str]] = defaultdict(set)
        self._of_package: dict[str, str] = {}
        self._of_distribution: dict[tuple[str, str], str] = {}
        for manager in managers:
            self._place(manager)

    def of_plugin(self, name: str) -> str | None:
        """Return the unit of a plugin, or of a fixture's module, by its name in the records."""
        if name.startswith(FIXTURE) and name not in self._of_plugin:
            module = name.removeprefix(FIXTURE)
            conftests = self._conftests.get(module, ())
            unit = self._of_import.get(module) or self.of_package(module)
            unit = next(iter(conftests)) if len(conftests) == 1 else unit
            self._of_plugin[name] = unit
            if unit is not None:
                known = self.units[unit]
                self.units[unit] = msgspec.structs.replace(known, parts=(*known.parts, name))
        return self._of_plugin.get(name)

    def of_import(self, name: str, importer: str | None, *, by_module: bool) -> str | None:
        """Return the unit an import belongs to: its own if it is a plugin, else its importer's.

        What the application imports from within no module's import (`by_module` is False) and is
        from an installed plugin's packages belongs to that plugin: its fixtures and callbacks, which
        are called by the application, load parts of it.
        """
        if name.startswith(ENTRY_POINT):
            entry, _, value = name.removeprefix(ENTRY_POINT).partition(" = ")
            module = value.partition(":")[0].partition("[")[0].strip()
            if entry in self._of_plugin and module in self._of_import:
                return self._of_plugin[entry]
            name = module
        if importer is None and not by_module:
            importer = self.of_package(name)
        return self._of_import.get(name, importer)

    def modules_of_others(self, unit: str) -> set[str]:
        """Return the modules that are plugins of other units."""
        found = {name for name, other in self._of_import.items() if other not in (None, unit)}
        return found | {name for name, units in self._conftests.items() if units - {unit}}

    def of_package(self, module: str) -> str | None:
        """Return the unit of the plugin whose distribution has the top-level package of a module."""
        return self._of_package.get(_top(module))

    def is_own(self, module: str) -> bool:
        """Whether a module is the application's."""
        return module.partition(".")[0] in self._own

    def _place(self, manager: SeenManager) -> None:
        plugins = [plugin for plugin in manager.plugins if not plugin.blocked]
        loaded = {_top(plugin.module) for plugin in plugins if plugin.distribution is not None}
        units: list[tuple[SeenPlugin, PluginKind, list[SeenPlugin]]] = []
        for plugin in sorted(plugins, key=_heads_first):
            kind = self._kind(plugin, loaded)
            head = None
            if kind is PluginKind.INSTALLED and plugin.distribution is None:
                head = self._head(plugin, [unit for unit in units if unit[1] is kind])
            if head is not None:
                head.append(plugin)
            else:
                units.append((plugin, kind, [plugin]))
        for plugin, kind, parts in units:
            self._add(manager.project, plugin, kind, parts)

    def _add(
        self, project: str, head: SeenPlugin, kind: PluginKind, parts: list[SeenPlugin]
    ) -> None:
        name = self._shown(head, kind)
        if head.distribution is not None:  # one module in several managers is one plugin
            name = self._of_distribution.setdefault((head.distribution, head.module), name)
        found = self._installed.named(head.distribution) if head.distribution else None
        if kind is PluginKind.INSTALLED and found is None:
            found = self._installed.of_module(head.module)
        known = self.units.get(name)
        names = tuple(part.name for part in parts)
        self.units[name] = Unit(
            name,
            kind,
            project,
            head.registered_name,
            head.distribution or (found.name if found else None),
            head.version or (found.version if found else None),
            tuple(dict.fromkeys((*known.parts, *names))) if known is not None else names,
            head.named,
            head.found,
        )
        if kind is PluginKind.INSTALLED:
            packages = self._installed.packages_of(found.name) if found else frozenset()
            for package in (_top(head.module), *packages):
                self._of_package.setdefault(package, name)
        self._claim(parts, kind, name)

    def _claim(self, parts: Sequence[SeenPlugin], kind: PluginKind, name: str) -> None:
        """Keep which records are those of the parts of a unit."""
        unit = None if kind is PluginKind.BUILT_IN else name
        for part in parts:
            self._of_plugin[part.name] = unit
            if kind is PluginKind.CONFTEST:
                self._conftests[part.module].add(name)
            if part.is_module or part.distribution is not None:
                for key in _imported_as(part, kind):
                    self._of_import.setdefault(key, unit)
        for part in parts:
            if part.module.rpartition(".")[2] == _CONFTEST_MODULE:  # several may have that name
                continue
            if unit is not None and _top(part.module) not in sys.stdlib_module_names:
                self._of_import.setdefault(part.module, unit)

    def _kind(self, plugin: SeenPlugin, loaded: Container[str]) -> PluginKind:
        """Return where a plugin is from; `loaded` are the packages of entry points that were."""
        file = plugin.file or ""
        if plugin.is_module and file.endswith(_CONFTEST) and Path(file).name == _CONFTEST:
            return PluginKind.CONFTEST
        if self.is_own(plugin.module):
            return PluginKind.BUILT_IN
        if _top(plugin.module) in loaded or self._installed.of_module(plugin.module) is not None:
            return PluginKind.INSTALLED
        return PluginKind.LOCAL

    def _head(
        self, plugin: SeenPlugin, units: Iterable[tuple[SeenPlugin, PluginKind, list[SeenPlugin]]]
    ) -> list[SeenPlugin] | None:
        """Return the parts of the plugin, of the same distribution, whose module is the nearest."""
        heads = [(_in_common(plugin.module, head.module), head, parts) for head, _, parts in units]
        near = [each for each in heads if each[0]]
        if not near:
            mine = self._installed.of_module(plugin.module)
            near = [each for each in heads if self._installed.of_module(each[1].module) == mine]
        return max(near, key=lambda each: each[0])[2] if near else None

    def _shown(self, plugin: SeenPlugin, kind: PluginKind) -> str:
        if kind is PluginKind.CONFTEST and plugin.file is not None:
            file = Path(plugin.file)
            return str(
                file.relative_to(self._folder) if file.is_relative_to(self._folder) else file
            )
        return plugin.name


_CONFTEST, _CONFTEST_MODULE = "conftest.py", "conftest"
_NOBODYS = frozenset({"", "__main__", "pluggy", "builtins"})


def _imported_as(plugin: SeenPlugin, kind: PluginKind) -> Iterator[str]:
    """Yield the names of imports that are those of a plugin."""
    if kind is not PluginKind.CONFTEST or Path(plugin.registered_name).name != _CONFTEST:
        yield plugin.module
    else:
        yield plugin.registered_name  # pytest imports it by its path
    if plugin.file is not None:
        yield plugin.file


def _top(module: str) -> str:
    return module.partition(".")[0]


def _in_common(one: str, other: str) -> int:
    """Return how many parts two dotted names begin with in common."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _heads_first(plugin: SeenPlugin) -> tuple[bool, bool]:
    """Sort what was loaded from entry points first, then modules, then objects."""
    return plugin.distribution is None, not plugin.is_module
