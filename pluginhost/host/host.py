"""`PluginHost`: finds plugins, loads them in order, runs them one at a time, lets them go."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from inspect import isawaitable
from pathlib import Path
from threading import get_ident
from time import monotonic
from types import MappingProxyType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import pluggy

from pluginhost.errors import (
    InvalidValueError,
    PluginHostError,
    PluginStateError,
)
from pluginhost.hookspecs import API_VERSION, PROJECT_NAME, LifecycleSpec, PluginSpec, Task
from pluginhost.host.blocking import THRESHOLD_S, LoopBlocks
from pluginhost.host.calls import CallsUnderWay
from pluginhost.host.catalogue import Catalogue, cut_short, failed, refuse_midway
from pluginhost.host.locking import Trust, read_lock
from pluginhost.host.ordering import (
    check_host_version,
    dependants,
    unloading_order,
)
from pluginhost.host.patience import Patience
from pluginhost.host.placing import Placement, Runners
from pluginhost.host.runners import deadline_of
from pluginhost.host.runners.inline import in_thread
from pluginhost.host.sources import PluginSource, sources_of
from pluginhost.host.steps import HostSteps
from pluginhost.host.takings import Accounts, takings_by_id
from pluginhost.host.transitions import Transitions
from pluginhost.processes import follow_forks
from pluginhost.report import PluginInfo, PluginState
from pluginhost.seconds import ns_of_seconds

if TYPE_CHECKING:
    from pluginhost.host.runners.workers import WorkerOptions

DEFAULT_GROUP = "pluginhost.plugins"


class PluginHost:
    """A host of plugins for the application `name`.

    `sources` are `PluginSource` objects, paths of folders, or a text form: a folder, `module:NAME`,
    `entry-points` (of `entry_point_group`) or `entry-points:GROUP`. `api_version` is what plugins'
    `api` specifiers are checked against. Loading and unloading take `lifecycle_lock`, changing
    what wraps the lifecycle hooks takes `wrappers_lock` (within which no other lock is ever
    taken), executing takes neither. Unloading waits `drain_seconds` for calls under way. Only plugins
    among `only`, and whose code is what the lock file `lock` says, are loaded. `runners` maps plugin
    ids ("*": all others) to "inline", "process" or an executor, and goes before what manifests say;
    `state_file` keeps crashes of plugins in processes of their own (None: in the platform's folder,
    "": nowhere). An import inline, or a setup, may take `load_deadline` seconds. A plugin that blocks an
    event loop for `loop_block_seconds` (None: no matter how long) is told; see `watch_loop`. What
    plugins take of this process is looked at around loading and unloading, with `track_resources`
    around each execution, too. A context manager.
    """

    def __init__(
        self,
        name: str,
        *,
        sources: Iterable[PluginSource | str | os.PathLike[str]] = ("entry-points",),
        entry_point_group: str = DEFAULT_GROUP,
        api_version: str = API_VERSION,
        drain_seconds: float = 5.0,
        only: Iterable[str] | None = None,
        lock: str | Path | None = None,
        runners: Runners = MappingProxyType({}),
        worker_options: WorkerOptions | None = None,
        state_file: str | Path | None = None,
        load_deadline: float | None = None,
        loop_block_seconds: float | None = THRESHOLD_S,
        track_resources: bool = False,
    ) -> None:
        check_host_version(api_version)
        ns_of_seconds(drain_seconds, "drain_seconds")
        self.name = name
        self.api_version = api_version
        self._placement = Placement(name, runners, worker_options, state_file)
        self.lifecycle_lock = threading.RLock()
        self.wrappers_lock = threading.Lock()
        self.manager = pluggy.PluginManager(PROJECT_NAME)
        self.manager.add_hookspecs(PluginSpec)
        self.lifecycle = pluggy.PluginManager(PROJECT_NAME)
        self.lifecycle.add_hookspecs(LifecycleSpec)
        hook = self.lifecycle.hook
        self._hook_execute: Callable[..., Any] = hook.pluginhost_execute
        self._hook_execute_elsewhere: Callable[..., Any] = hook.pluginhost_execute_elsewhere
        self._hook_aexecute: Callable[..., Awaitable[Any]] = hook.pluginhost_aexecute
        self._catalogue = Catalogue(
            name, sources_of(sources, group=entry_point_group), self._placement
        )
        self._calls = CallsUnderWay(drain_seconds)
        self._threads = self._calls.threads
        self._trust = Trust(only, None if lock is None else read_lock(lock))
        self._steps = HostSteps(
            self, self._catalogue.records, self._trust, self._placement, Patience(load_deadline)
        )
        self.lifecycle.register(self._steps, name=PROJECT_NAME)
        self._accounts = Accounts(takings_by_id(self._catalogue.records))
        if track_resources:
            self._hook_execute = self._accounts.around(self._hook_execute)
            self._hook_execute_elsewhere = self._accounts.around(self._hook_execute_elsewhere)
            self._hook_aexecute = self._accounts.around_awaiting(self._hook_aexecute)
        self._transitions = Transitions(
            self.lifecycle, self._catalogue, self._steps, self._calls, self._accounts
        )
        self._loaded, self._runners = self._transitions.loaded, self._transitions.runners
        self._loops = LoopBlocks(
            self.lifecycle, self.manager, self._catalogue.records, self._calls, loop_block_seconds
        )
        follow_forks(self)

    # What is known

    @property
    def plugins(self) -> Mapping[str, PluginInfo]:
        """Every plugin by id, as it stands now."""
        return self._catalogue.shown

    @property
    def rejected(self) -> Sequence[PluginInfo]:
        """What was found but could not be told apart: later claims to an id that was taken."""
        return self._catalogue.rejected

    @property
    def executable(self) -> tuple[str, ...]:
        """The ids of the loaded plugins that implement `execute`, in the order they were loaded."""
        return tuple(plugin_id for plugin_id in self._loaded if plugin_id in self._runners)

    @property
    def hook(self) -> pluggy.HookRelay:
        """The application's own 1:N hooks: `host.hook.NAME(...)` calls every implementation."""
        return self.manager.hook

    def add_hookspecs(self, specifications: ModuleType | type) -> None:
        """Add hooks marked with `pluginhost.hookspec`; do so before plugins are loaded."""
        with self.lifecycle_lock:
            try:
                self.manager.add_hookspecs(specifications)
            except ValueError as error:
                raise InvalidValueError(
                    f"hooks cannot be added: {error}",
                    remedy="mark new hooks with @pluginhost.hookspec, each in one place only",
                ) from error

    # Finding and loading

    def discover(self) -> tuple[PluginInfo, ...]:
        """Look for plugins in all sources, importing none; return all that are known.

        The first to claim an id has it. What is loaded stays as it is, and so does what is known
        of a plugin that is still described as before; a source that cannot be read fails alone.
        """
        with self.lifecycle_lock:
            self._catalogue.discover()
            return (*self.plugins.values(), *self.rejected)

    def refusal(self, plugin_id: str) -> PluginHostError | None:
        """Return why `only` or `lock` forbid to load the plugin, None if they do not."""
        return self._trust.refusal(self._catalogue.find(plugin_id).candidate)

    def load(self, plugin_id: str) -> PluginInfo:
        """Load one plugin and, before it, the peers it requires.

        Raises `PluginLoadError` (or one of its kinds) with the reason, which stays in `plugins`.
        """
        with self.lifecycle_lock:
            known = self._catalogue.records.get(plugin_id)
            if known is None or known.candidate.info.state is PluginState.FAILED:
                self.discover()
            refuse_midway(self._catalogue.find(plugin_id).info)
            for error in self._transitions.load_in_order(self._catalogue.with_required(plugin_id)):
                if error.plugin_id == plugin_id:
                    raise error
            return self._catalogue.find(plugin_id).shown()

    def load_all(self) -> tuple[PluginInfo, ...]:
        """Load every plugin that can be loaded, in order of their requirements; return all.

        A broken plugin fails alone; those that require it are skipped and say so.
        """
        with self.lifecycle_lock:
            self.discover()
            allowed = {
                i: info for i, info in self._catalogue.infos.items() if self._trust.allows(i)
            }
            self._transitions.load_in_order(allowed)
            return (*self.plugins.values(), *self.rejected)

    # Running

    def execute(
        self,
        plugin_id: str,
        payload: Any = None,
        /,
        *,
        deadline: float | None = None,
        **options: Any,
    ) -> Any:
        """Run the plugin's work on `payload` and return its result; its exceptions pass through.

        With a `deadline` in seconds, `DeadlineExceededError` is raised once it is over. Work in a
        process of its own is killed then; in this process it cannot be stopped. An asynchronous
        plugin gets an event loop.
        """
        try:
            threads = self._threads[plugin_id]
        except KeyError:
            raise self._catalogue.not_executable(plugin_id) from None
        me = get_ident()
        threads.append(me)  # first: an unload looks at this after it has taken the runner away
        try:
            runner = self._runners.get(plugin_id)
            if runner is None:
                raise self._catalogue.not_executable(plugin_id)
            if deadline is not None or runner.elsewhere:
                deadline = deadline_of(runner, deadline)
                task = Task(runner.run_with_deadline, payload, options, self, deadline)
                return self._hook_execute_elsewhere(plugin_id=plugin_id, task=task)
            task = Task(runner.run, payload, options, self, None)
            return self._hook_execute(plugin_id=plugin_id, task=task)
        finally:
            threads.remove(me)

    async def aexecute(
        self,
        plugin_id: str,
        payload: Any = None,
        /,
        *,
        deadline: float | None = None,
        **options: Any,
    ) -> Any:
        """Run the plugin's work without blocking the event loop; see `execute`.

        A plugin that is not asynchronous runs in a worker thread; if it returns an awaitable, that
        is awaited here. One that blocks the event loop all the same is told; see `watch_loop`.
        """
        if plugin_id not in self._threads:
            raise self._catalogue.not_executable(plugin_id)
        with self._calls.one(plugin_id), self._loops.watching():
            runner = self._runners.get(plugin_id)
            if runner is None:
                raise self._catalogue.not_executable(plugin_id)
            deadline = deadline_of(runner, deadline)
            if runner.is_async:
                task = Task(runner.arun, payload, options, self, deadline)
                return await self._hook_aexecute(plugin_id=plugin_id, task=task)
            until = None if deadline is None else monotonic() + deadline
            result = await in_thread(
                lambda: self.execute(plugin_id, payload, deadline=deadline, **options)
            )
            if not isawaitable(result):
                return result
            left = None if until is None else max(0.0, until - monotonic())
            return await runner.awaited(result, Task(runner.run, payload, options, self, left))

    def watch_loop(self) -> None:
        """Have the running event loop watched until it or the host is closed.

        Without that it is while asynchronous executions are under way on it. If it does not come
        round for `loop_block_seconds`, because a plugin's code (of any hook, or a task of its own)
        does not return, the plugin is named in a warning, in `loop_blocks` of `plugins`, and to
        `pluginhost_loop_block`. Raises `PluginStateError` where no event loop runs.
        """
        self._loops.keep()

    # Letting go

    def unload(self, plugin_id: str) -> PluginInfo:
        """Tear the plugin down and unregister it; `survivors` of the result names what is left.

        Calls under way are waited for, for `drain_seconds`; new ones are refused meanwhile.
        Raises `PluginStateError` when loaded plugins require it, and what its teardown raises (it is
        unregistered all the same).
        """
        with self.lifecycle_lock:
            record = self._catalogue.find(plugin_id)
            users = dependants(plugin_id, self._catalogue.infos.values())
            if users:
                raise PluginStateError(
                    f"plugins {', '.join(users)} require it",
                    plugin_id=plugin_id,
                    remedy="unload those first",
                )
            return self._transitions.unload(record)

    def reload(self, plugin_id: str) -> PluginInfo:
        """Unload the plugin and load it again from the code and the manifest on disk now.

        Its dependants stay loaded. Modules that it imports are not read again, but those of its
        own package in a folder are. `survivors` are what the unloading left.
        """
        with self.lifecycle_lock:
            record = self._catalogue.find(plugin_id)
            refuse_midway(record.info)
            record.fresh = True  # also for a load after an unload that fails here
            survivors: tuple[str, ...] = ()
            if record.info.state is PluginState.LOADED:
                survivors = self._transitions.unload(record).survivors
            self.discover()
            self._catalogue.find(plugin_id).fresh = True
            self.load(plugin_id)
            record = self._catalogue.find(plugin_id)
            record.stand(PluginState.LOADED, survivors=survivors)
            return record.shown()

    def release(self, plugin_id: str) -> None:
        """Forget that the plugin crashed, so that it is no longer in quarantine."""
        self._placement.release(self._catalogue.find(plugin_id).info.id)

    def close(self) -> None:
        """Unload every plugin, users before their peers and the last loaded first.

        What teardowns raise is raised together at the end; a Ctrl-C meanwhile, too.
        """
        errors: list[BaseException] = []
        interrupt: KeyboardInterrupt | None = None
        with self.lifecycle_lock, self._calls.one_patience(), self._steps.unloading(self._loaded):
            for plugin_id in unloading_order(self._loaded, self._catalogue.infos):
                try:
                    if plugin_id in self._loaded:  # unless another's teardown has unloaded it
                        self._transitions.unload(self._catalogue.find(plugin_id))
                except KeyboardInterrupt as error:
                    interrupt = error
                except BaseException as error:
                    errors.append(error)
            self._placement.close()
            self._loops.close()
        group = BaseExceptionGroup("plugins failed to unload", errors) if errors else None
        if interrupt is not None:
            raise interrupt from group
        if group is not None:
            raise group

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def after_fork(self) -> None:
        """Begin anew in a child process: other threads are gone, whatever they were doing."""
        self.wrappers_lock = threading.Lock()
        self._calls.after_fork()
        self._placement.after_fork()
        self._loops.after_fork()
        self._accounts.after_fork()
        for record in self._catalogue.records.values():
            record.after_fork()
        if self.lifecycle_lock._is_owned():  # type: ignore[attr-defined]
            return  # it is a plugin's setup or teardown that forks, and it goes on here
        self.lifecycle_lock = threading.RLock()
        midway = self._catalogue.midway()
        self._steps.after_fork(midway)
        for record in midway:
            record.info = failed(record.info, cut_short(record.info))
