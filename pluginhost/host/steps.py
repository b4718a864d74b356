"""The host's own implementation of the lifecycle hooks: what really loads, runs and unloads."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import pluggy
from msgspec.structs import replace

from pluginhost.errors import PluginHostError, PluginLoadError
from pluginhost.footprint import LoopBlock
from pluginhost.hookspecs import Host, Task, hookimpl
from pluginhost.host.locking import Trust
from pluginhost.host.ordering import check_api, check_peers
from pluginhost.host.patience import Patience
from pluginhost.host.placing import Placement
from pluginhost.host.registration import (
    call_with_host,
    implementation,
    is_async,
    one_plugin_caller,
    register,
    unregister,
)
from pluginhost.host.runners import RemoteRunner, Runner
from pluginhost.host.sources import Candidate
from pluginhost.host.sources.importing import forget
from pluginhost.host.surroundings import Surroundings, changes, surroundings
from pluginhost.host.survivors import Witness
from pluginhost.host.takings import Takings
from pluginhost.printable import in_a_line, printable
from pluginhost.report import PluginInfo, PluginState


class PluginRecord:
    """One plugin as the host keeps it; `runner` is there while it is loaded and can execute.

    `remote` is it too, whether it can execute or not, when the host has not imported the plugin.
    `running` names the threads in which calls went on when it was unloaded, `before` is how the
    process stood when it was loaded, `left` can tell what is left of it after the last unloading,
    `blocks` are where its code has blocked event loops, by hook and place, `takings` what it took of
    the host's process since it was last loaded.
    """

    __slots__ = (
        "before",
        "blocks",
        "candidate",
        "fresh",
        "info",
        "left",
        "object",
        "remote",
        "runner",
        "running",
        "takings",
        "teardown",
    )

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.info = candidate.info
        self.fresh = False
        self.before: Surroundings | None = None
        self.left: Witness | None = None
        self.takings = Takings()
        self.blocks: dict[tuple[str, str], LoopBlock] = {}
        self._clear()

    def _clear(self) -> None:
        self.object: object = None
        self.runner: Runner | None = None
        self.remote: RemoteRunner | None = None
        self.teardown: pluggy.HookImpl | None = None
        self.running: tuple[str, ...] = ()

    def stand(self, state: PluginState, **changes: Any) -> PluginInfo:
        """Note the plugin's new state and return what is known of it now."""
        cleared: dict[str, Any] = {"error": None, "remedy": None, "survivors": ()}
        self.info = replace(self.info, state=state, **(cleared | changes))
        return self.info

    def witness(self) -> None:
        """Let go of the plugin object, leaving what can tell whether it is really gone."""
        abandoned = self.runner.abandoned if self.runner is not None else ()
        others = self.remote.abandoned if self.remote is not None else ()
        candidate = self.candidate
        self.left = Witness(
            self.object,
            candidate.module_name,
            abandoned=abandoned,
            running=self.running,
            others=others,
            own_module=candidate.own_module,
        )
        self._clear()

    def after_fork(self) -> None:
        """Begin anew in a child process, whatever state it is in: what runs it is the parent's."""
        for runner in {id(each): each for each in (self.runner, self.remote) if each}.values():
            runner.after_fork()

    def shown(self) -> PluginInfo:
        """Return what is known of it now: it may have got into quarantine while it is loaded."""
        info, remote = self.info, self.remote
        blocks = tuple(sorted(self.blocks.copy().values(), key=lambda block: -block.longest_ns))
        resources = self.takings.balances
        if blocks or resources:
            info = replace(info, loop_blocks=blocks, resources=resources)
        if remote is None or remote.trouble is None or info.state is not PluginState.LOADED:
            return info
        error = remote.trouble
        return replace(
            info, state=PluginState.QUARANTINED, error=error.message, remedy=error.remedy
        )

    def changed(self) -> tuple[str, ...]:
        """Return what of the process is not as it was before the plugin was loaded."""
        if self.before is None:
            return ()
        return changes(self.before, surroundings(), self.candidate.module_name)

    def unloaded(self, *, collected: bool = False) -> PluginInfo:
        """Note that it is unloaded, with all that is left; see `Witness.survivors`."""
        survivors = self.left.survivors(collected=collected) if self.left is not None else ()
        taken = [name for name in self.takings.left() if name not in survivors]
        survivors = (*survivors, *map(printable, taken))
        still = set(self.changed()) if self.info.dirty else set()
        dirty = tuple(line for line in self.info.dirty if line in still)
        return self.stand(PluginState.UNLOADED, survivors=survivors, dirty=dirty)


class Managing(Host, Protocol):
    """What the steps ask of the host besides."""

    manager: pluggy.PluginManager
    api_version: str


class HostSteps:
    """Registered `trylast` on the lifecycle manager, so that any wrapper sees the whole step."""

    def __init__(
        self,
        host: Managing,
        records: dict[str, PluginRecord],
        trust: Trust,
        placement: Placement,
        patience: Patience,
    ) -> None:
        self._host = host
        self._trust = trust
        self._placement = placement
        self._patience = patience
        self._manager = host.manager
        self._records = records
        self._unloading_many = False

    @hookimpl(trylast=True)
    def pluginhost_load(self, plugin_id: str) -> PluginInfo:
        """Import the plugin, register it, find its implementations, and call its setup."""
        record = self._records[plugin_id]
        check_api(record.info, self._host.api_version)
        check_peers(record.info, {i: r.info for i, r in self._records.items()})
        try:
            if self._placement.is_remote(record.info):
                self._load_elsewhere(record)
            else:
                self._load_here(record)
        except BaseException:
            self.discard(record)
            raise
        return record.stand(PluginState.LOADED)

    @hookimpl(trylast=True)
    def pluginhost_execute(self, task: Task) -> Any:
        """Hand the task to the plugin's runner."""
        return task.run(task)

    @hookimpl(trylast=True)
    def pluginhost_execute_elsewhere(self, task: Task) -> Any:
        """Hand the task to the plugin's runner, which works in a thread of its own."""
        return task.run(task)

    @hookimpl(trylast=True)
    def pluginhost_aexecute(self, task: Task) -> Awaitable[Any]:
        """Hand the task to the plugin's runner, which answers with an awaitable."""
        awaitable: Awaitable[Any] = task.run(task)
        return awaitable

    @hookimpl(trylast=True)
    def pluginhost_unload(self, plugin_id: str) -> PluginInfo:
        """Call the plugin's teardown, unregister it, and look for what is left of it."""
        record = self._records[plugin_id]
        try:
            if record.remote is not None:
                record.remote.teardown()
            call_with_host(record.teardown, self._host)
        finally:
            self.discard(record)
            if self._unloading_many:
                record.stand(PluginState.UNLOADED)
            else:
                record.unloaded()
        return record.info

    @contextmanager
    def unloading(self, plugin_ids: Sequence[str]) -> Iterator[None]:
        """Unload many within: what is left of them is looked for once all are gone.

        The collector, which takes as long for one as for all, then runs once.
        """
        self._unloading_many = True
        loaded = tuple(plugin_ids)
        try:
            yield
        finally:
            self._unloading_many = False
            if loaded:
                gc.collect()
            for plugin_id in loaded:
                record = self._records.get(plugin_id)
                if record is not None and record.info.state is PluginState.UNLOADED:
                    record.unloaded(collected=True)

    def discard(self, record: PluginRecord) -> None:
        """Take out all there is of the plugin; `record.left` can tell whether it is really gone."""
        plugin_id, candidate = record.info.id, record.candidate
        if record.object is not None and self._manager.get_plugin(plugin_id) is record.object:
            unregister(self._manager, plugin_id)
        if record.remote is not None:
            record.remote.close()
        record.witness()
        if candidate.own_module:
            forget(candidate.module_name)

    def after_fork(self, midway: Sequence[PluginRecord]) -> None:
        """Take out what other threads were loading or unloading; they are not in the child."""
        self._patience.after_fork(record.candidate.module_name for record in midway)
        for record in midway:
            with suppress(Exception):
                self.discard(record)

    def _load_here(self, record: PluginRecord) -> None:
        plugin_id, module_name = record.info.id, record.candidate.module_name
        record.object = self._patience.call(
            lambda: _imported(record, self._trust), plugin_id, module_name, "importing it"
        )
        register(self._manager, record.object, plugin_id)
        setup = self._bind(record, plugin_id)
        if setup is not None:
            self._patience.call(
                lambda: call_with_host(setup, self._host), plugin_id, module_name, "its setup"
            )

    def _load_elsewhere(self, record: PluginRecord) -> None:
        remote = self._placement.remote(record.candidate, self._trust.expected(record.candidate))
        record.remote = remote
        remote.start()
        if remote.executes:
            record.runner = remote

    def _bind(self, record: PluginRecord, plugin_id: str) -> pluggy.HookImpl | None:
        """Find the plugin's implementations; return the one of `setup`, which is called once."""
        setup, record.teardown, execute = (
            implementation(self._manager, record.object, hook, plugin_id)
            for hook in ("setup", "teardown", "execute")
        )
        if execute is not None:
            call = one_plugin_caller(execute)
            record.runner = self._placement.local(
                record.candidate, call, is_async=is_async(execute)
            )
        return setup


def _imported(record: PluginRecord, trust: Trust) -> object:
    plugin_id, fresh = record.info.id, record.fresh
    record.fresh = False
    try:
        return trust.load(record.candidate, fresh=fresh)
    except (PluginLoadError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PluginLoadError(
            f"importing {record.info.location} failed: {described(error)}",
            plugin_id=plugin_id,
            remedy=_import_remedy(error),
        ) from error


def as_load_error(plugin_id: str, cause: BaseException) -> PluginHostError:
    """Return what stopped a plugin's loading as an error that names it."""
    if isinstance(cause, PluginLoadError):
        if cause.plugin_id is None:
            cause.plugin_id = plugin_id
        if cause.plugin_id == plugin_id:
            return cause
    return PluginLoadError(
        f"loading it failed: {described(cause)}",
        plugin_id=plugin_id,
        remedy="the traceback is this error's cause",
    )


def described(error: BaseException) -> str:
    """Return the type and the words of what a plugin raised, whatever its `__str__` does."""
    return f"{type(error).__name__}: {in_a_line(error, 1000)}"


def _import_remedy(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install what provides the module {error.name!r}"
    if isinstance(error, SyntaxError):
        return f"correct line {error.lineno} of {error.filename}"
    if isinstance(error, SystemExit):
        return "the plugin must not exit the program when it is imported"
    return "the traceback is this error's cause"
