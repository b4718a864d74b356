"""Waiting for what a plugin does while it is loaded, and for how long."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable
from typing import Any

from pluginhost.errors import PluginLoadError
from pluginhost.host.sources.importing import is_half_imported
from pluginhost.seconds import ns_of_seconds


class Patience:
    """Calls what may hang: in this thread, or, with a deadline in seconds, in one of its own.

    A thread that hangs cannot be stopped. While it does, the module is poisoned: whoever imports it
    would wait for the same lock, so it is refused at once.
    """

    def __init__(self, deadline: float | None) -> None:
        if deadline is not None:
            ns_of_seconds(deadline, "load_deadline")
        self._deadline = deadline
        self._hanging: dict[str, threading.Thread] = {}
        self._lost: set[str] = set()

    def after_fork(self, module_names: Iterable[str]) -> None:
        """Note which of these, or of those that hang, other threads were importing when it forked.

        Python never gives their locks back. To import one would be to wait for ever, or, in a thread
        that happens to have the number of the one that is gone, to get what was there by then.
        """
        self._lost.update(filter(is_half_imported, (*module_names, *self._hanging)))

    def call(self, function: Callable[[], Any], plugin_id: str, module_name: str, what: str) -> Any:
        """Return what `function` returns; raises `PluginLoadError` at the deadline."""
        if module_name in self._lost:
            raise PluginLoadError(
                "another thread was importing it when this process was forked: its lock is never"
                " given back",
                plugin_id=plugin_id,
                remedy="load it before forking, or give it a process of its own",
            )
        if self._deadline is None:
            return function()
        thread = self._hanging.get(module_name)
        if thread is not None and thread.is_alive():
            raise PluginLoadError(
                f"{thread.name}, which was abandoned, still hangs: its module is poisoned",
                plugin_id=plugin_id,
                remedy="restart the host, or give the plugin a process of its own",
            )
        outcome: list[Any] = []
        failure: list[BaseException] = []

        def work() -> None:
            try:
                outcome.append(function())
            except BaseException as error:  # handed to the caller, whatever it is
                failure.append(error)

        context = contextvars.copy_context()
        name = f"pluginhost-{plugin_id}: {what}"
        thread = threading.Thread(target=context.run, args=(work,), name=name, daemon=True)
        thread.start()
        thread.join(self._deadline)
        if failure:
            raise failure.pop()
        if outcome:
            return outcome.pop()
        self._hanging[module_name] = thread
        raise PluginLoadError(
            f"{what} did not end within {self._deadline:g} s; it goes on in thread {name!r} and"
            " cannot be stopped",
            plugin_id=plugin_id,
            remedy="find out what it waits for, or give the plugin a process of its own",
        )
