"""Which plugin runs where: what the host decides, else what the plugin's manifest asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluginhost.errors import InvalidValueError, PluginLoadError
from pluginhost.hookspecs import Task
from pluginhost.host.runners import RUNNERS, RemoteRunner, Runner, run_to_its_end
from pluginhost.host.runners.inline import InlineRunner
from pluginhost.host.sources import Candidate
from pluginhost.report import PluginInfo

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pluginhost.host.runners.frames import Load
    from pluginhost.host.runners.quarantine import Quarantine
    from pluginhost.host.runners.workers import WorkerOptions, Workers

EVERY = "*"
"""In place of a plugin id: all plugins for which nothing else is said."""

Runners = Mapping[str, "str | Executor"]


class Placement:
    """Makes the runners of one host's plugins; processes and what they need once one is to be made.

    `runners` maps plugin ids, or `EVERY`, to "inline", "process" or an executor. `state_file`
    is where crashes are kept: None for the platform's folder, "" for nowhere.
    """

    def __init__(
        self,
        host_name: str,
        runners: Runners,
        options: WorkerOptions | None,
        state_file: str | Path | None,
    ) -> None:
        for plugin_id, found in runners.items():
            if not hasattr(found, "submit") and found not in ("inline", "process"):
                raise InvalidValueError(
                    f"there is no runner {found!r} for {plugin_id!r}",
                    remedy=f"give 'inline', 'process' or an executor ({', '.join(RUNNERS)})",
                )
        self._host_name = host_name
        self._runners = dict(runners)
        self._options = options
        self._state_file = state_file
        self._made: tuple[Workers, Quarantine] | None = None

    def placed(self, candidate: Candidate) -> Candidate:
        """Return the candidate with what the host has decided of it."""
        from msgspec.structs import replace

        asked = self._runners.get(candidate.info.id, self._runners.get(EVERY))
        if asked is None:
            return candidate
        name = asked if isinstance(asked, str) else "executor"
        return replace(candidate, info=replace(candidate.info, runner=name))

    def is_remote(self, info: PluginInfo) -> bool:
        """Whether the plugin runs where the host's objects are not, so that it is imported there."""
        return info.runner == "process" or (
            info.runner == "executor" and not _has_threads(self._executor(info.id))
        )

    def local(self, candidate: Candidate, call: Callable[[Task], Any], *, is_async: bool) -> Runner:
        """Return the runner of a plugin that was imported here."""
        plugin_id, deadline = candidate.info.id, candidate.deadline
        if candidate.info.runner == "executor":
            from pluginhost.host.runners.executor import ExecutorRunner

            executor = self._executor(plugin_id)
            return ExecutorRunner(
                plugin_id, executor, call=run_to_its_end(call, is_async=is_async), deadline=deadline
            )
        return InlineRunner(plugin_id, call, is_async=is_async, deadline=deadline)

    def remote(self, candidate: Candidate, digests: Mapping[str, str] | None) -> RemoteRunner:
        """Return the runner of a plugin that is to be imported elsewhere; see `Trust.expected`."""
        from msgspec.structs import replace

        info, deadline = candidate.info, candidate.deadline
        if info.runner == "executor":
            from pluginhost.host.runners.executor import ExecutorRunner

            executor, load = self._executor(info.id), self._load(candidate, digests)
            load = replace(load, limits=None)  # its processes are others', too
            return ExecutorRunner(info.id, executor, load=load, deadline=deadline)
        from pluginhost.host.runners.process import ProcessRunner

        workers, quarantine = self._processes()
        load = replace(self._load(candidate, digests), writable=workers.options.writable)
        version = info.version or ""
        return ProcessRunner(load, workers, quarantine, version=version, deadline=deadline)

    def release(self, plugin_id: str) -> None:
        """Forget the plugin's crashes."""
        self._processes()[1].recovered(plugin_id)

    def close(self) -> None:
        """Give back what was needed to make processes; those themselves are ended before."""
        if self._made is not None:
            self._made[0].close()

    def after_fork(self) -> None:
        """Begin anew in a child process."""
        if self._made is not None:
            for part in self._made:
                part.after_fork()

    def _executor(self, plugin_id: str) -> Executor:
        found = self._runners.get(plugin_id, self._runners.get(EVERY))
        assert found is not None
        assert not isinstance(found, str)  # else it would not be placed in one
        return found

    def _processes(self) -> tuple[Workers, Quarantine]:
        if self._made is None:
            from pluginhost.host.runners.quarantine import Quarantine, state_path
            from pluginhost.host.runners.workers import WorkerOptions, Workers

            options, file = self._options or WorkerOptions(), self._state_file

            def path() -> Path | None:
                if file is None:
                    return state_path(self._host_name)
                return Path(file) if str(file) else None

            self._made = Workers(options), Quarantine(path, options.crashes)
        return self._made

    def _load(self, candidate: Candidate, digests: Mapping[str, str] | None) -> Load:
        from pluginhost.host.runners.frames import Load, Order

        plugin_id, root = candidate.info.id, candidate.root
        if candidate.attribute is None or candidate.module_name == "__main__":
            where = "its source" if candidate.attribute is None else "the module '__main__'"
            raise PluginLoadError(
                f"it cannot run in another process: {where} is not to be had there",
                plugin_id=plugin_id,
                remedy="run it inline, or put it into a file, a module or a distribution",
            )
        order = Order(
            plugin_id=plugin_id,
            module_name=candidate.module_name,
            attribute=candidate.attribute,
            path=None if root is None else str(root),
            checked=candidate.checked,
            digests=None if digests is None else dict(digests),
        )
        return Load(order, self._host_name, candidate.limits)


def _has_threads(executor: Executor) -> bool:
    from concurrent.futures import ThreadPoolExecutor

    return isinstance(executor, ThreadPoolExecutor)
