"""Processes that run tests for another (pytest-xdist): how they hand over what they recorded.

What travels with pytest-xdist are plain values. A capture travels as bytes, and what one process has
counted is added to what others have: nothing is averaged, nothing is lost.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from pluginhost.capture import Capture
from pluginhost.errors import named
from pluginhost.printable import printable
from pluginhost.pytest_plugin.suite_capture import SuiteCapture
from pluginhost.suite import WorkerCost

_KEY, _FAILED = "pluginhost_profile", "pluginhost_failed"
_SENT, _REMOTE = "__channelexec__", "xdist.remote"


class Recorded(Protocol):
    """Who has recorded a process."""

    config: Any

    def capture(self) -> SuiteCapture:
        """Return all that was recorded."""

    def stop(self) -> None:
        """Record no more."""


def hand_over(profile: Recorded) -> None:
    """Leave what was recorded to the process that this one runs tests for."""
    output = profile.config.workeroutput
    try:
        output[_KEY] = msgspec.msgpack.encode(profile.capture())
    except Exception as error:  # the tests' outcomes must arrive
        output[_FAILED] = named(error)
    profile.stop()


def taken_from(node: Any, error: Any) -> SuiteCapture | WorkerCost:
    """Return what a process has left, or in a row without figures why it has left nothing."""
    name = printable(getattr(getattr(node, "gateway", None), "id", "?"), 50)
    output = getattr(node, "workeroutput", None)
    if not output:
        why = f"crashed ({printable(error, 100)})" if error else "ended without a word"
        return WorkerCost(id=name, missing=f"{why}: its share is missing")
    if _KEY not in output:
        why = printable(output.get(_FAILED, "it did not record"), 300)
        return WorkerCost(id=name, missing=why)
    try:
        captured = msgspec.msgpack.decode(output[_KEY], type=SuiteCapture)
    except msgspec.MsgspecError as failure:
        return WorkerCost(id=name, missing=f"not readable: {printable(failure, 200)}")
    return msgspec.structs.replace(captured, worker=name, capture=_named(captured.capture))


def _named(capture: Capture) -> Capture:
    """Return a capture in which pytest-xdist's part has its name: it is sent over as mere text."""
    replace = msgspec.structs.replace
    managers = tuple(
        replace(
            manager,
            plugins=tuple(
                replace(plugin, module=_REMOTE) if plugin.module == _SENT else plugin
                for plugin in manager.plugins
            ),
        )
        for manager in capture.managers
    )
    return replace(capture, managers=managers)
