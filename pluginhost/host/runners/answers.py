"""What is sent to another process for a task, and what its answers mean here: results and errors."""

from __future__ import annotations

from pluginhost.errors import (
    InvalidValueError,
    ManifestError,
    PluginHostError,
    PluginLoadError,
    PluginStateError,
    RemotePluginError,
    UntrustedPluginError,
)
from pluginhost.hookspecs import Task
from pluginhost.host.runners.frames import Answer, Execute, FrameError, Raised, frame_of
from pluginhost.printable import printable

_MAX_MESSAGE = 2_000
_LOAD_ERRORS = {kind.__name__: kind for kind in (ManifestError, UntrustedPluginError)}


def execution_of(task: Task, plugin_id: str) -> bytes:
    """Return the frame that asks for the task's execution.

    Raises `InvalidValueError` when the payload cannot be sent.
    """
    try:
        return frame_of(Execute(task.payload, dict(task.options)))
    except FrameError as error:
        raise InvalidValueError(
            f"the payload or an option: {error}",
            plugin_id=plugin_id,
            hook="execute",
            remedy="give plain values (None, bool, int, float, str, bytes, list, dict), "
            "large ones in a file",
        ) from error


def error_of(answer: Raised, plugin_id: str, hook: str) -> PluginHostError:
    """Return what a plugin raised in another process as an error of this one.

    Its text is taken, never its type: making objects of what is received would run its code.
    """
    message = printable(answer.message, _MAX_MESSAGE)
    if answer.ours:
        return PluginStateError(message, plugin_id=plugin_id, hook=hook, remedy=answer.remedy)
    kind = printable(answer.error_type)
    error = RemotePluginError(
        f"{kind}: {message}" if message else kind,
        error_type=kind,
        error_message=message,
        remote_traceback=answer.traceback,
        plugin_id=plugin_id,
        hook=hook,
        remedy="its traceback is in remote_traceback",
    )
    error.add_note(answer.traceback)
    return error


def load_error_of(answer: Answer, plugin_id: str) -> PluginLoadError:
    """Return why a plugin could not be loaded in another process."""
    if not isinstance(answer, Raised):
        return PluginLoadError("its process answered another question", plugin_id=plugin_id)
    message = printable(answer.message, _MAX_MESSAGE)
    kind = answer.error_type.rpartition(".")[2]
    if answer.ours:
        return _LOAD_ERRORS.get(kind, PluginLoadError)(
            message, plugin_id=plugin_id, hook=answer.hook, remedy=answer.remedy
        )
    error = PluginLoadError(
        f"loading it in a process of its own failed: {printable(kind)}: {message}",
        plugin_id=plugin_id,
        remedy="the traceback is this error's cause",
    )
    error.__cause__ = error_of(answer, plugin_id, "setup")
    return error
