"""What is left of a plugin after it was unloaded. Python frees nothing on request: say so."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

from pluginhost.host.holders import Code
from pluginhost.host.stacks import Place, stacks
from pluginhost.printable import printable


class Witness:
    """Remembers a plugin without keeping it alive; make it while the module is still imported.

    `abandoned` names the threads whose execution of it overran its deadline, `running` those in
    which calls of it went on when it was unloaded, `others` what else is known to be left.
    `own_module` says that the module is to go, too.
    """

    def __init__(
        self,
        plugin: object,
        module_name: str,
        *,
        abandoned: tuple[str, ...] = (),
        running: tuple[str, ...] = (),
        others: tuple[str, ...] = (),
        own_module: bool = False,
    ) -> None:
        self._module_name = module_name
        self._own_module = own_module
        self._running = running
        self._others = others
        self._code = Code(module_name)
        self._place = Place(sys.modules.get(module_name))
        self._type_name = type(plugin).__name__
        self._abandoned = abandoned
        try:
            self._alive: Callable[[], Any] = weakref.ref(plugin)
        except TypeError:  # a class with __slots__ and no __weakref__
            self._alive = _finder(id(plugin), weakref.ref(type(plugin)))

    def survivors(self, *, collected: bool = False) -> tuple[str, ...]:
        """Return the names of what is still there.

        Runs the garbage collector if need be, unless it has just run (`collected`): nothing else
        tells whether a module's code is gone.
        """
        names = list(self._others)
        names += [f"call in thread {name!r}" for name in self._running]
        names += [f"thread {t.name!r}" for t in self._threads() if t.name not in self._running]
        module = sys.modules.get(self._module_name)
        may_go = self._own_module and module is None and self._code.alive
        if not collected and (may_go or self._alive() not in (None, module)):
            gc.collect()
        plugin = self._alive()
        if plugin is not None and plugin is not module:
            names.append(f"instance of {self._type_name} ({_holders(plugin)})")
        left = may_go and self._code.alive
        names += self._code.handlers()
        if left or not self._own_module:  # else there is no code of it that could be anywhere
            names += self._code.patches(everywhere=left)
        if left:
            names += self._code.methods()
        if module is not None:
            names.append(f"module {self._module_name!r}")
        elif left and not names:
            names.append(f"code of the plugin ({_holders(self._code.kept())})")
        return tuple(map(printable, names))

    def _threads(self) -> list[threading.Thread]:
        """Return the threads that are of the plugin's making, or are running its code now."""
        running = _threads_within(self._place)
        return [
            thread
            for thread in threading.enumerate()
            if thread.ident in running or thread.name in self._abandoned or self._made(thread)
        ]

    def _made(self, thread: threading.Thread) -> bool:
        """Whether the thread's target, or the class it is made of, is the plugin's."""
        target = getattr(thread, "_target", None)
        names = type(thread).__module__, getattr(target, "__module__", None)
        return any(
            name == self._module_name or str(name).startswith(f"{self._module_name}.")
            for name in names
        )


def _threads_within(place: Place) -> set[int]:
    """Return the idents of the threads that have a call in `place` on their stacks."""
    return {ident for ident, calls in stacks().items() if any(place.has(c.path) for c in calls)}


def _finder(address: int, kind: weakref.ref[type]) -> Callable[[], Any]:
    """Return a function that looks for the object among all those that the collector knows."""

    def find() -> Any:
        found = (o for o in gc.get_objects() if id(o) == address and type(o) is kind())
        return next(found, None)

    return find


def _holders(plugin: object) -> str:
    """Return what kinds of object refer to it; frames by the name of their function."""
    own_frame = sys._getframe()
    kinds = set()
    for holder in gc.get_referrers(plugin):
        if isinstance(holder, dict) and getattr(plugin, "__globals__", None) is holder:
            continue  # a function's own module
        if not isinstance(holder, FrameType):
            kinds.add(type(holder).__name__)
        elif holder is not own_frame and holder is not own_frame.f_back:
            kinds.add(f"a call of {holder.f_code.co_name}()")
    return f"held by {', '.join(sorted(kinds)[:4])}" if kinds else "held by native code"
