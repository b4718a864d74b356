"""What is kept of an exception: its kind and its words, never the object and its frames."""

from __future__ import annotations

import sys
from typing import Any

from pluginhost.errors import DeadlineExceededError, RemotePluginError
from pluginhost.events import Failure, Status
from pluginhost.printable import printable

MAX_MESSAGE = 1000


def failure_of(error: BaseException, plugin_id: str) -> Failure:
    """Return the record of `error`, which `plugin_id` let through; a broken `__str__` is survived.

    It is a timeout only for the plugin whose deadline it was: for its callers it is an error.
    """
    if isinstance(error, RemotePluginError) and error.plugin_id == plugin_id:
        message = printable(error.error_message, MAX_MESSAGE)
        return Failure(Status.ERROR, printable(error.error_type), message)
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    return Failure(_status_of(error, plugin_id), printable(name), _message_of(error))


def _message_of(error: BaseException) -> str:
    if isinstance(error, DeadlineExceededError):
        return printable(error.message, MAX_MESSAGE)
    return printable(error, MAX_MESSAGE)


def _status_of(error: BaseException, plugin_id: str) -> Status:
    if isinstance(error, DeadlineExceededError) and error.plugin_id == plugin_id:
        return Status.TIMEOUT
    asyncio: Any = sys.modules.get("asyncio")
    if isinstance(error, (GeneratorExit, KeyboardInterrupt)) or (
        asyncio is not None and isinstance(error, asyncio.CancelledError)
    ):
        return Status.CANCELLED
    return Status.ERROR
