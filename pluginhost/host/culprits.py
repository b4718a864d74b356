"""Whose code a thread is running: told from its stack and from where the plugins' modules are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import pluggy

from pluginhost.host.stacks import Call, Place, shown_path, stack_of
from pluginhost.host.steps import PluginRecord
from pluginhost.printable import printable
from pluginhost.report import PluginState


class Blame(NamedTuple):
    """A plugin whose code is running: in which of its hooks ("" in none), and where."""

    plugin_id: str
    hook: str
    where: str


class Culprits:
    """Finds the loaded plugins of one host on the stacks of threads.

    `under_way(plugin_id, ident)` says whether a thread is in a call of the plugin's `execute`.
    """

    def __init__(
        self,
        manager: pluggy.PluginManager,
        records: Mapping[str, PluginRecord],
        under_way: Callable[[str, int], bool],
    ) -> None:
        self._manager = manager
        self._records = records
        self._under_way = under_way

    def seen(self, ident: int) -> tuple[Blame, ...]:
        """Return the plugins of whose code the thread is running the innermost part.

        It is one, but for plugins that share a file.
        """
        calls = stack_of(ident)
        suspects = list(self._suspects())
        for depth, call in enumerate(calls):
            own = [s for s in suspects if s.place.has(call.path) or s.has(call)]
            if own:
                names = self._narrowed(own, calls[depth:], ident)
                return tuple(
                    Blame(s.plugin_id, self._hook_of(s, calls, ident), _where(calls, depth))
                    for s in names
                )
        return ()

    def _suspects(self) -> Iterator[_Suspect]:
        for plugin_id, record in list(self._records.items()):
            if record.object is not None and record.info.state is not PluginState.UNLOADED:
                yield _Suspect(self._manager, plugin_id, record)

    def _narrowed(self, own: list[_Suspect], calls: tuple[Call, ...], ident: int) -> list[_Suspect]:
        """Return those to whom the code belongs, of plugins whose modules have the innermost call.

        A file may have several plugins, and the application's own code beside them: then a plugin's
        is what its functions are.
        """
        sure = [s for s in own if any(s.has(call) for call in calls)]
        if not sure:
            sure = [s for s in own if s.alone]
        busy = [s for s in sure if self._under_way(s.plugin_id, ident)]
        return busy if len(sure) > 1 and busy else sure

    def _hook_of(self, suspect: _Suspect, calls: tuple[Call, ...], ident: int) -> str:
        for hook, code in suspect.hooks:
            if any(_within(code, call) for call in calls):
                return hook
        return "execute" if self._under_way(suspect.plugin_id, ident) else ""


class _Suspect:
    """A loaded plugin, and where its code is."""

    def __init__(self, manager: pluggy.PluginManager, plugin_id: str, record: PluginRecord) -> None:
        candidate = record.candidate
        self.plugin_id = plugin_id
        self.place = Place(sys.modules.get(candidate.module_name))
        self.alone = (
            candidate.own_module
            or candidate.info.distribution is not None
            or isinstance(record.object, ModuleType)
        )
        self._object = record.object
        self._manager = manager

        self.hooks = tuple(self._hooks())
        """The plugin's hooks, and the code of its implementations."""
        space = self._object if isinstance(self._object, type) else type(self._object)
        codes = [code for value in list(vars(space).values()) for code in _codes_of(value)]
        self._codes = (*codes, *(code for _, code in self.hooks))

    def has(self, call: Call) -> bool:
        """Whether a call is of one of the plugin's own functions."""
        return any(_within(code, call) for code in self._codes)

    def _hooks(self) -> Iterator[tuple[str, CodeType]]:
        for caller in self._manager.get_hookcallers(self._object) or ():
            for impl in caller.get_hookimpls():
                if impl.plugin is self._object:
                    for code in _codes_of(impl.function):
                        yield caller.name, code


def _codes_of(value: Any) -> Iterator[CodeType]:
    """Yield the code of a function, also of one that a decorator is around."""
    for _ in range(20):
        inner = getattr(value, "__func__", value)
        code = getattr(inner, "__code__", None)
        if isinstance(code, CodeType):
            yield code
        value = getattr(inner, "__wrapped__", None)
        if value is None:
            return


def _within(code: CodeType, call: Call) -> bool:
    return shown_path(code.co_filename) == call.path and (
        code.co_firstlineno <= call.line <= _last_line(code)
    )


def _last_line(code: CodeType) -> int:
    """Return the last line of a function, with those that it defines."""
    inner = [_last_line(c) for c in code.co_consts if isinstance(c, CodeType)]
    return max([code.co_firstlineno, *(line for *_, line in code.co_lines() if line), *inner])


def _where(calls: tuple[Call, ...], depth: int) -> str:
    """Return the innermost call and, if that is another's, the plugin's own that led there."""
    where = str(calls[0]) if depth == 0 else f"{calls[0]}, called by {calls[depth]}"
    return printable(where)
