"""What is kept of an exception: its kind and its words, never the object and its frames.

And what is done to it: whoever stands between a caller and what is called takes itself out of its
traceback, so that everybody reads what the program alone would have shown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pluginhost.journal import Failure, Status
from pluginhost.printable import printable

MAX_MESSAGE = 1000


_traceback_of: Callable[[BaseException], TracebackType | None]
_traceback_of = vars(BaseException)["__traceback__"].__get__  # an exception may have one of its own


def failure_of(error: BaseException, plugin_id: str) -> Failure:
    """Return the record of `error`, which `plugin_id` let through; a broken `__str__` is survived.

    It is a timeout only for the plugin whose deadline it was: for its callers it is an error.
    """
    try:
        return _failure_of(error, plugin_id)
    except Exception:  # an exception's attributes are a plugin's code as well
        return Failure(Status.ERROR, printable(type(error).__qualname__), "")


def _failure_of(error: BaseException, plugin_id: str) -> Failure:
    known: Any = error
    if _is(error, "RemotePluginError") and known.plugin_id == plugin_id:
        message = printable(known.error_message, MAX_MESSAGE)
        return Failure(Status.ERROR, printable(known.error_type), message)
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    late = _is(error, "DeadlineExceededError")
    message = printable(known.message if late else error, MAX_MESSAGE)
    if late and known.plugin_id == plugin_id:
        status = Status.TIMEOUT
    else:
        status = Status.CANCELLED if _is_cancelled(error) else Status.ERROR
    return Failure(status, printable(name), message)


def without_caller(error: BaseException) -> None:
    """Take the function that calls this, and is about to raise `error` again, out of its traceback.

    A plain `raise` adds no new entry. Exceptions may refuse attributes (frozen dataclasses do).
    """
    traceback = _traceback_of(error)
    if traceback is not None and traceback.tb_frame is sys._getframe(1):
        BaseException.with_traceback(error, traceback.tb_next)


def is_closing(error: BaseException) -> bool:
    """Whether a generator was closed, and not thrown what a plugin has raised; without its frame."""
    return type(error) is GeneratorExit and _traceback_of(error) is None


def _is_cancelled(error: BaseException) -> bool:
    stopped = issubclass(type(error), (GeneratorExit, KeyboardInterrupt))
    return stopped or _is(error, "CancelledError", "asyncio")


def _is(error: BaseException, kind: str, module: str = "pluginhost.errors") -> bool:
    """Whether `error` is of a class of a module: of one that nobody has imported, nothing is."""
    found = getattr(sys.modules.get(module), kind, None)
    return found is not None and issubclass(type(error), found)
