"""What of the whole process a plugin changes by being loaded: looked at before and after."""

from __future__ import annotations

import builtins
import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pluginhost.host.sources.importing import OWN_MODULE_PREFIX
from pluginhost.printable import printable

Surroundings = Mapping[str, Any]


def surroundings() -> Surroundings:
    """Return the state of the process that everybody in it shares, by the names people give it.

    Reading it changes nothing and imports nothing.
    """
    return {name: read() for name, read in _ASPECTS.items()}


def changes(before: Surroundings, after: Surroundings, own_module: str = "") -> tuple[str, ...]:
    """Return what differs, a line each; the plugin's own module may come and go.

    Environment variables are named without their values, which may be secrets.
    """
    lines: list[str] = []
    for name, old in before.items():
        new = after[name]
        if type(old) is type(new) is dict:
            lines += _changed_entries(name, old, new, own_module)
        elif type(old) is type(new) is tuple:
            lines += _changed_items(name, old, new)
        elif old is not new and (type(old) not in _PLAIN or old != new):
            lines.append(f"{name}: {_shown(old)} -> {_shown(new)}")
    return tuple(printable(line) for line in lines)


_PLAIN = (str, int, float, bool, type(None))


def _changed_entries(
    name: str, old: dict[str, Any], new: dict[str, Any], own_module: str
) -> Iterator[str]:
    for key in old.keys() | new.keys() if name != "module" else old.keys():
        if old.get(key) is new.get(key) or (
            name == "environment variable" and old.get(key) == new.get(key)
        ):
            continue
        if name == "module" and (key.startswith(OWN_MODULE_PREFIX) or key == own_module):
            continue
        what = "added" if key not in old else "removed" if key not in new else "changed"
        yield f"{name} {key}: {what}"


def _changed_items(name: str, old: tuple[Any, ...], new: tuple[Any, ...]) -> Iterator[str]:
    if len(old) == len(new) and all(a is b or _same(a, b) for a, b in zip(old, new, strict=True)):
        return
    added = [item for item in new if not any(item is o or _same(item, o) for o in old)]
    gone = [item for item in old if not any(item is n or _same(item, n) for n in new)]
    parts = [f"+{_shown(item)}" for item in added] + [f"-{_shown(item)}" for item in gone]
    yield f"{name}: {', '.join(parts) or 'another order'}"


def _same(one: Any, other: Any) -> bool:
    """Whether two plain values are equal; foreign objects are not asked."""
    return type(one) is type(other) and type(one) in (*_PLAIN, tuple) and bool(one == other)


def _shown(value: Any) -> str:
    if type(value) in _PLAIN:
        return str(value)
    if type(value) is tuple:
        return "(" + ", ".join(map(_shown, value)) + ")"
    name = getattr(value, "__qualname__", None)
    module = getattr(value, "__module__", None)
    if isinstance(name, str) and isinstance(module, str):
        return f"{module}.{name}"
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def _working_directory() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:
        return None  # it was removed


def _umask() -> str | None:
    """Return what the kernel tells: asking the usual way would set it for a moment."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return next((line.split()[1] for line in status.splitlines() if line[:6] == "Umask:"), None)


def _signal_handlers() -> dict[str, Any]:
    return {number.name: signal.getsignal(number) for number in signal.Signals}


def _of_logging(read: Callable[[Any], Any], default: Any) -> Callable[[], Any]:
    """Return a function that reads of `logging`, or gives what it begins with."""

    def found() -> Any:
        logging = sys.modules.get("logging")
        return default if logging is None else read(logging)

    return found


def _locale() -> str | None:
    module = sys.modules.get("locale")
    return None if module is None else str(module.setlocale(module.LC_ALL))


def _socket_timeout() -> float | None:
    module = sys.modules.get("socket")
    return None if module is None else module.getdefaulttimeout()


_ASPECTS: Mapping[str, Callable[[], Any]] = {
    "working directory": _working_directory,
    "umask": _umask,
    "environment variable": lambda: dict(os.environ),
    "locale": _locale,
    "signal handler": _signal_handlers,
    "recursion limit": sys.getrecursionlimit,
    "switch interval": sys.getswitchinterval,
    "sys.path": lambda: tuple(sys.path),
    "sys.meta_path": lambda: tuple(sys.meta_path),
    "sys.path_hooks": lambda: tuple(sys.path_hooks),
    "module": lambda: dict(sys.modules),
    "builtin": lambda: dict(vars(builtins)),
    "sys.stdin": lambda: sys.stdin,
    "sys.stdout": lambda: sys.stdout,
    "sys.stderr": lambda: sys.stderr,
    "sys.excepthook": lambda: sys.excepthook,
    "sys.unraisablehook": lambda: sys.unraisablehook,
    "sys.displayhook": lambda: sys.displayhook,
    "threading.excepthook": lambda: threading.excepthook,
    "trace function": sys.gettrace,
    "profile function": sys.getprofile,
    "garbage collection": lambda: (gc.isenabled(), *gc.get_threshold()),
    "gc.callbacks": lambda: tuple(gc.callbacks),
    "warnings filter": lambda: tuple(warnings.filters),
    "logging.disable": _of_logging(lambda logging: logging.root.manager.disable, 0),
    "level of the root logger": _of_logging(lambda logging: logging.root.level, 30),
    "handler of the root logger": _of_logging(lambda logging: tuple(logging.root.handlers), ()),
    "socket timeout": _socket_timeout,
}
