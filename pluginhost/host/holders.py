"""Who still holds code of a plugin that was unloaded: handlers, patches, and whatever else."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import FunctionType, MethodType
from typing import Any
from weakref import ref

HOOKS = ("excepthook", "unraisablehook", "displayhook", "breakpointhook")


class Code:
    """The functions and classes of one plugin's modules, watched without keeping them alive.

    Make it while the modules are still imported.
    """

    def __init__(self, module_name: str) -> None:
        self._module_name = module_name
        self._watched: list[Callable[[], Any]] = []
        for name, module in list(sys.modules.items()):
            if name == module_name or name.startswith(f"{module_name}."):
                values = list(getattr(module, "__dict__", {}).values())
                self._watched += [
                    ref(value)
                    for value in values
                    if isinstance(value, FunctionType | type) and self._is_of(value)
                ]

    @property
    def alive(self) -> bool:
        """Whether any of it is left."""
        return any(watched() is not None for watched in self._watched)

    def handlers(self) -> Iterator[str]:
        """Yield where the interpreter keeps some of it: at exit, for signals, as hooks."""
        for callback in atexit_callbacks():
            if self.made(callback):
                yield f"atexit handler {_name_of(callback)}"
        for number in signal.Signals:
            if self.made(signal.getsignal(number)):
                yield f"handler of {number.name}: {_name_of(signal.getsignal(number))}"
        places = [(sys, name) for name in HOOKS] + [(threading, "excepthook")]
        for module, name in places:
            if self.made(getattr(module, name, None)):
                yield f"{module.__name__}.{name}: {_name_of(getattr(module, name))}"
        for kind, objects in self._listed().items():
            for found in objects:
                if self.made(found):
                    yield f"{kind}: {_name_of(found)}"

    def patches(self, *, everywhere: bool) -> Iterator[str]:
        """Yield the attributes of modules that are the plugin's functions or classes.

        Those of the standard library, which nobody imports a plugin's code into by chance; with
        `everywhere` those of all modules.
        """
        for name, module in list(sys.modules.items()):
            space = getattr(module, "__dict__", None)
            wanted = everywhere or name.partition(".")[0] in sys.stdlib_module_names
            if not wanted or space is None or name == "__main__" or self._is_inside(name):
                continue
            for attribute, value in list(space.items()):
                kind = type(value)
                if kind is FunctionType:
                    if value.__globals__ is space:  # at home, as nearly all are
                        continue
                elif kind is not MethodType and kind is not partial and kind is not type:
                    continue
                if self.made(value):
                    yield f"{name}.{attribute}, which is its {_name_of(value)}"

    def methods(self) -> Iterator[str]:
        """Yield the attributes of others' classes that are the plugin's functions."""
        functions = [found for w in self._watched if isinstance(found := w(), FunctionType)]
        spaces = {id(f.__globals__): f.__globals__ for f in functions}
        for space in spaces.values():
            functions += [f for f in gc.get_referrers(space) if isinstance(f, FunctionType)]
        for holder in gc.get_referrers(*functions) if functions else ():
            if isinstance(holder, dict):
                owners = [o for o in gc.get_referrers(holder) if isinstance(o, type)]
                for owner in owners:
                    if not self._is_of(owner) and "__module__" in holder:
                        yield from self._methods_of(owner)

    def kept(self) -> object:
        """Return one of the functions or classes that are left, None when there is none."""
        return next((found for w in self._watched if (found := w()) is not None), None)

    def made(self, value: Any) -> bool:
        """Whether a callable, or the class of an object, is the plugin's."""
        while isinstance(value, partial):
            value = value.func
        if isinstance(value, MethodType):
            return self.made(value.__func__) or self._is_of(type(value.__self__))
        return self._is_of(value if isinstance(value, FunctionType | type) else type(value))

    def _methods_of(self, owner: type) -> Iterator[str]:
        for name, value in list(vars(owner).items()):
            if isinstance(value, FunctionType) and self._is_of(value):
                place = f"{owner.__module__}.{owner.__qualname__}"
                yield f"{place}.{name}, which is its {_name_of(value)}"

    def _listed(self) -> Mapping[str, list[Any]]:
        logging = sys.modules.get("logging")
        handlers = [found() for found in getattr(logging, "_handlerList", ())]
        return {
            "gc callback": list(gc.callbacks),
            "import finder": list(sys.meta_path),
            "logging handler": [handler for handler in handlers if handler is not None],
        }

    def _is_of(self, value: Any) -> bool:
        space = value.__globals__ if isinstance(value, FunctionType) else vars(value)
        name = space.get("__name__" if isinstance(value, FunctionType) else "__module__")
        return isinstance(name, str) and self._is_inside(name)

    def _is_inside(self, name: str) -> bool:
        return name == self._module_name or name.startswith(f"{self._module_name}.")


class _Ear:
    """Equal to nothing, but hears of everything that it is compared with."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def __eq__(self, other: object) -> bool:
        self.heard.append(other)
        return False

    __hash__ = None  # type: ignore[assignment]


def atexit_callbacks() -> list[Any]:
    """Return the functions registered with `atexit`, taking none out.

    There is no way to ask for them; but `unregister` compares its argument with each.
    """
    ear = _Ear()
    with suppress(Exception):  # whatever a callback's own comparison does
        atexit.unregister(ear)  # type: ignore[arg-type]
    return ear.heard


def _name_of(value: Any) -> str:
    if isinstance(value, partial):
        return _name_of(value.func)
    found = getattr(value, "__name__", None) if callable(value) else None
    return f"{found}()" if isinstance(found, str) else f"a {type(value).__name__}"
