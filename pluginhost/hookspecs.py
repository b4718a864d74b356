"""The contract with plugin authors, and the lifecycle hooks around every plugin.

A plugin implements any of `PluginSpec` with `@pluginhost.hookimpl`, naming only the arguments it
needs. `LifecycleSpec` is where one looks on: wrap these to see each plugin load, run and leave.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import pluggy

from pluginhost.reading import ProcessReading

if TYPE_CHECKING:
    from pluginhost.footprint import LoopBlock
    from pluginhost.report import PluginInfo

PROJECT_NAME = "pluginhost"
API_VERSION = "1.0"
"""The version of this contract, which a plugin's `api` specifier is checked against."""

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


class Host(Protocol):
    """What a plugin may ask of the host it runs in."""

    name: str

    @property
    def hook(self) -> pluggy.HookRelay:
        """The host application's own 1:N hooks."""

    def execute(
        self,
        plugin_id: str,
        payload: Any = None,
        /,
        *,
        deadline: float | None = None,
        **options: Any,
    ) -> Any:
        """Run another plugin's work and return its result."""

    async def aexecute(
        self,
        plugin_id: str,
        payload: Any = None,
        /,
        *,
        deadline: float | None = None,
        **options: Any,
    ) -> Any:
        """Run another plugin's work without blocking the event loop."""


class Task(msgspec.Struct):
    """One execution on its way to a plugin: what `execute` was given, and the runner for it.

    A runner whose work is done elsewhere than in the calling thread notes in `cpu_ns` what CPU
    time it took there; one that works in a process of its own, in `reading` all it took.
    In another thread of this process it calls `within(run, task)`, where that is given, in place of
    `run(task)`: somebody wants to be around the work itself.
    """

    run: Callable[[Task], Any]
    payload: Any
    options: Mapping[str, Any]
    host: Host
    deadline: float | None
    cpu_ns: int | None = None
    reading: ProcessReading | None = None
    within: Callable[[Callable[[Task], Any], Task], Any] | None = None


class PluginSpec:
    """What a plugin can do for a host; every hook is optional."""

    @hookspec(firstresult=True)
    def setup(self, host: Host) -> None:
        """Prepare: called once after the plugin is registered, before it is executed."""

    @hookspec(firstresult=True)
    def execute(self, payload: Any, options: Mapping[str, Any], host: Host) -> Any:
        """Do the plugin's work on `payload`; may be `async def`."""

    @hookspec(firstresult=True)
    def teardown(self, host: Host) -> None:
        """Give back what was taken: called once before the plugin is unregistered."""


class LifecycleSpec:
    """The host's own steps, each for one plugin; the host implements them with `trylast`."""

    @hookspec(firstresult=True)
    def pluginhost_load(self, plugin_id: str, info: PluginInfo) -> PluginInfo:
        """Import, check, register and set up one plugin."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def pluginhost_execute(self, plugin_id: str, task: Task) -> Any:
        """Run one execution to its end and return its result."""

    @hookspec(firstresult=True)
    def pluginhost_execute_elsewhere(self, plugin_id: str, task: Task) -> Any:
        """Have one execution run elsewhere than in the calling thread; wait for its result."""

    @hookspec(firstresult=True)
    def pluginhost_aexecute(self, plugin_id: str, task: Task) -> Awaitable[Any]:
        """Return an awaitable that runs one asynchronous execution."""
        raise NotImplementedError

    @hookspec
    def pluginhost_loop_block(self, plugin_id: str, block: LoopBlock, thread_id: int) -> None:
        """Hear that one plugin's code has held up the event loop of a thread, which goes on now.

        Called in a thread of the host's own.
        """

    @hookspec(firstresult=True)
    def pluginhost_unload(self, plugin_id: str, info: PluginInfo) -> PluginInfo:
        """Tear down and unregister one plugin."""
        raise NotImplementedError
