"""What is left of a plugin after it was unloaded. Python frees nothing on request: say so."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any


class Witness:
    """Remembers a plugin without keeping it alive.

    `abandoned` names the threads whose execution of it overran its deadline.
    """

    def __init__(
        self, plugin: object, module_name: str, *, abandoned: tuple[str, ...] = ()
    ) -> None:
        self._module_name = module_name
        self._type_name = type(plugin).__name__
        self._abandoned = abandoned
        try:
            self._alive: Callable[[], Any] = weakref.ref(plugin)
        except TypeError:  # a class with __slots__ and no __weakref__
            self._alive = _finder(id(plugin), type(plugin))

    def survivors(self) -> tuple[str, ...]:
        """Return the names of what is still there; runs the garbage collector only if need be."""
        names = [f"thread {t.name!r}" for t in self._threads()]
        module = sys.modules.get(self._module_name)
        plugin = self._alive()
        if plugin is not None and plugin is not module:
            plugin = None
            gc.collect()
            plugin = self._alive()
        if plugin is not None and plugin is not module:
            names.append(f"instance of {self._type_name} ({_holders(plugin)})")
        if module is not None:
            names.append(f"module {self._module_name!r}")
        return tuple(names)

    def _threads(self) -> list[threading.Thread]:
        """Return the threads that are of the plugin's making, or are running its code now."""
        running = {i for i, frame in sys._current_frames().items() if self._runs_in(frame)}
        return [
            thread
            for thread in threading.enumerate()
            if thread.ident in running or thread.name in self._abandoned or self._made(thread)
        ]

    def _made(self, thread: threading.Thread) -> bool:
        """Whether the thread's target, or the class it is made of, is the plugin's."""
        target = getattr(thread, "_target", None)
        return self._owns(type(thread).__module__) or self._owns(
            getattr(target, "__module__", None)
        )

    def _runs_in(self, frame: FrameType | None) -> bool:
        while frame is not None:
            if self._owns(frame.f_globals.get("__name__")):
                return True
            frame = frame.f_back
        return False

    def _owns(self, module_name: object) -> bool:
        return isinstance(module_name, str) and (
            module_name == self._module_name or module_name.startswith(f"{self._module_name}.")
        )


def _finder(address: int, kind: type) -> Callable[[], Any]:
    """Return a function that looks for the object among all those that the collector knows."""

    def find() -> Any:
        found = (o for o in gc.get_objects() if id(o) == address and type(o) is kind)
        return next(found, None)

    return find


def _holders(plugin: object) -> str:
    """Return what kinds of object refer to it; frames by the name of their function."""
    own_frame = sys._getframe()
    kinds = set()
    for holder in gc.get_referrers(plugin):
        if not isinstance(holder, FrameType):
            kinds.add(type(holder).__name__)
        elif holder is not own_frame and holder is not own_frame.f_back:
            kinds.add(f"a call of {holder.f_code.co_name}()")
    return f"held by {', '.join(sorted(kinds)[:4])}" if kinds else "held by native code"
