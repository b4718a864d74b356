"""Processes that run tests for another (pytest-xdist): how they hand over what they recorded.

What travels with pytest-xdist are plain values. A capture travels as bytes, and what one process has
counted is added to what others have: nothing is averaged, nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from pluginhost.capture import Capture
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
        from pluginhost.errors import named

        output[_FAILED] = named(error)
    profile.stop()


class Workers:
    """The processes that run tests for this one: what each has left, or why it has left nothing."""

    def __init__(self) -> None:
        self._running: dict[str, None] = {}
        self._ended: list[SuiteCapture | WorkerCost] = []

    def __iter__(self) -> Iterator[SuiteCapture | WorkerCost]:
        yield from self._ended
        for name in self._running:
            yield WorkerCost(id=name, missing="the session ended before it handed over anything")

    def started(self, node: Any) -> None:
        """Expect to be told of the end of one."""
        self._running[_name_of(node)] = None

    def ended(self, node: Any, error: Any) -> None:
        """Take what one has left."""
        self._running.pop(_name_of(node), None)
        self._ended.append(taken_from(node, error))


def taken_from(node: Any, error: Any) -> SuiteCapture | WorkerCost:
    """Return what a process has left, or in a row without figures why it has left nothing."""
    name = _name_of(node)
    output = getattr(node, "workeroutput", None)
    if not output:
        why = f"it crashed ({printable(error, 100)})" if error else "it ended without a word"
        return WorkerCost(id=name, missing=why)
    if _KEY not in output:
        why = printable(output.get(_FAILED, "it did not record"), 300)
        return WorkerCost(id=name, missing=why)
    try:
        captured = msgspec.msgpack.decode(output[_KEY], type=SuiteCapture)
    except msgspec.MsgspecError as failure:
        return WorkerCost(id=name, missing=f"not readable: {printable(failure, 200)}")
    return msgspec.structs.replace(
        captured, worker=name, elsewhere=_is_elsewhere(node), capture=_named(captured.capture)
    )


def _name_of(node: Any) -> str:
    return printable(getattr(getattr(node, "gateway", None), "id", "?"), 50)


def _is_elsewhere(node: Any) -> bool:
    """Whether a process may run on another machine, whose clock is another."""
    spec = getattr(getattr(node, "gateway", None), "spec", None)
    return spec is not None and not (spec.popen and not spec.via)


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
