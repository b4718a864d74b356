"""What of the whole process a plugin changes by being loaded: looked at before and after."""

from __future__ import annotations

import builtins
import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pluginhost.host.sources.importing import OWN_MODULE_PREFIX
from pluginhost.printable import printable

Surroundings = Mapping[str, Any]


class Seen(NamedTuple):
    """An object by its name and identity: holding it would keep other plugins' things alive."""

    name: str
    identity: int


def surroundings() -> Surroundings:
    """Return the state of the process that everybody in it shares, by the names people give it.

    Reading it changes nothing and imports nothing, and the result holds no foreign object.
    """
    return {name: read() for name, read in _ASPECTS.items()}


def changes(before: Surroundings, after: Surroundings, own_module: str = "") -> tuple[str, ...]:
    """Return what differs, a line each; the plugin's own module may come and go.

    Environment variables are named without their values, which may be secrets.
    """
    lines: list[str] = []
    for name, old in before.items():
        new = after[name]
        if old == new:
            continue
        if isinstance(old, dict):
            lines += _changed_entries(name, old, new, own_module)
        elif isinstance(old, list):
            lines += _changed_items(name, old, new)
        else:
            lines.append(f"{name}: {_shown(old)} -> {_shown(new)}")
    return tuple(printable(line) for line in lines)


def _changed_entries(
    name: str, old: dict[str, Any], new: dict[str, Any], own_module: str
) -> Iterator[str]:
    # That modules are added is what imports are for.
    for key in sorted(old if name == "module" else old.keys() | new.keys()):
        if old.get(key) != new.get(key) and key != own_module:
            what = "added" if key not in old else "removed" if key not in new else "changed"
            yield f"{name} {key}: {what}"


def _changed_items(name: str, old: list[Any], new: list[Any]) -> Iterator[str]:
    parts = [f"+{_shown(item)}" for item in new if item not in old]
    parts += [f"-{_shown(item)}" for item in old if item not in new]
    yield f"{name}: {', '.join(parts) or 'another order'}"


def _seen(value: Any) -> Any:
    """Return what stands for a value: itself if it is plain, else its name and identity."""
    if type(value) in (str, int, float, bool, type(None)):
        return value
    if type(value) is tuple:
        return tuple(map(_seen, value))
    name = getattr(value, "__qualname__", None)
    module = getattr(value, "__module__", None)
    if not isinstance(name, str) or not isinstance(module, str):
        module, name = type(value).__module__, type(value).__qualname__
    return Seen(f"{module}.{name}", id(value))


def _shown(value: Any) -> str:
    if isinstance(value, Seen):
        return value.name
    return "(" + ", ".join(map(_shown, value)) + ")" if isinstance(value, tuple) else str(value)


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
    return {number.name: _seen(signal.getsignal(number)) for number in signal.Signals}


def _modules() -> dict[str, int]:
    loaded = list(sys.modules.items())
    return {name: id(module) for name, module in loaded if not name.startswith(OWN_MODULE_PREFIX)}


def _listed(values: Iterable[Any]) -> list[Any]:
    return [_seen(value) for value in list(values)]


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
    "sys.path": lambda: _listed(sys.path),
    "sys.meta_path": lambda: _listed(sys.meta_path),
    "sys.path_hooks": lambda: _listed(sys.path_hooks),
    "module": _modules,
    "builtin": lambda: {name: id(value) for name, value in list(vars(builtins).items())},
    "sys.stdin": lambda: _seen(sys.stdin),
    "sys.stdout": lambda: _seen(sys.stdout),
    "sys.stderr": lambda: _seen(sys.stderr),
    "sys.excepthook": lambda: _seen(sys.excepthook),
    "sys.unraisablehook": lambda: _seen(sys.unraisablehook),
    "sys.displayhook": lambda: _seen(sys.displayhook),
    "threading.excepthook": lambda: _seen(threading.excepthook),
    "trace function": lambda: _seen(sys.gettrace()),
    "profile function": lambda: _seen(sys.getprofile()),
    "garbage collection": lambda: (gc.isenabled(), *gc.get_threshold()),
    "gc.callbacks": lambda: _listed(gc.callbacks),
    "warnings filter": lambda: _listed(warnings.filters),
    "logging.disable": _of_logging(lambda logging: logging.root.manager.disable, 0),
    "level of the root logger": _of_logging(lambda logging: logging.root.level, 30),
    "handler of the root logger": _of_logging(lambda logging: _listed(logging.root.handlers), []),
    "socket timeout": _socket_timeout,
}
