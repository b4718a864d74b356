"""In the launched process, before its program: record, or block plugins, as ordered."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pluginhost.launcher.orders import Orders, claims_to_be_first


def begin(folder: str, begun_ns: int) -> None:
    """Do what the orders in `folder` say; `begun_ns` is when our code first ran in this process."""
    if _is_resource_tracker():
        return
    orders = Orders.read(folder)
    if not orders.follow:
        orders.undo(os.environ)
    spawned_ns = orders.spawned_ns if claims_to_be_first(folder) else None
    if orders.record:
        from pluginhost.launcher.recorded import ProcessRecording

        recording = ProcessRecording(
            folder, cpu=orders.cpu, follow=orders.follow, sparing=orders.sparing
        )
        on_each_manager(recording.watch)
        recording.begin(begun_ns=begun_ns, spawned_ns=spawned_ns)
    else:
        on_each_manager(functools.partial(_block, blocked=orders.blocked))


def _is_resource_tracker() -> bool:
    """Whether this is the process that multiprocessing starts to clean up after the others.

    It runs nothing of the program's, and ends when all of them have ended: maybe after the report.
    """
    return any("from multiprocessing.resource_tracker import main" in a for a in sys.orig_argv)


def on_each_manager(made: Callable[[Any], None]) -> None:
    """Call `made` with every plugin manager that is made from now on, before its first plugin."""
    import pluggy

    from pluginhost.instrumentation.failures import without_caller

    original = pluggy.PluginManager.__init__

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807
        try:
            original(self, *args, **options)
        except BaseException as error:
            without_caller(error)
            raise
        made(self)

    pluggy.PluginManager.__init__ = __init__  # type: ignore[method-assign]


def _block(manager: Any, blocked: Sequence[tuple[str, str]]) -> None:
    for project, name in blocked:
        if project == manager.project_name:
            manager.set_blocked(name)
