"""From found to loaded and from loaded to unloaded: a plugin's way through its states, or back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

import pluggy
from msgspec.structs import replace

from pluginhost.errors import PluginHostError, PluginStateError
from pluginhost.host.calls import CallsUnderWay
from pluginhost.host.catalogue import Catalogue, failed
from pluginhost.host.ordering import LIVE, loading_order
from pluginhost.host.runners import Runner
from pluginhost.host.steps import HostSteps, PluginRecord, as_load_error
from pluginhost.host.surroundings import surroundings
from pluginhost.host.takings import LOAD, UNLOAD, Accounts, Takings
from pluginhost.report import PluginInfo, PluginState


class Transitions:
    """Has plugins take the lifecycle's steps; only called under the lifecycle lock.

    `loaded` are the ids in the order in which they were loaded, `runners` those of what can execute.
    """

    def __init__(
        self,
        lifecycle: pluggy.PluginManager,
        catalogue: Catalogue,
        steps: HostSteps,
        calls: CallsUnderWay,
        accounts: Accounts,
    ) -> None:
        self.loaded: list[str] = []
        self.runners: dict[str, Runner] = {}
        self._hook = lifecycle.hook
        self._catalogue = catalogue
        self._steps = steps
        self._calls = calls
        self._accounts = accounts

    def load_in_order(self, wanted: Mapping[str, PluginInfo]) -> list[PluginHostError]:
        """Load what is not loaded yet; return the errors, each naming its plugin."""
        order, in_cycles = loading_order(wanted)
        errors: list[PluginHostError] = list(in_cycles.values())
        records = self._catalogue.records
        for plugin_id, error in in_cycles.items():
            if records[plugin_id].info.state not in LIVE:
                records[plugin_id].info = failed(records[plugin_id].info, error)
        for plugin_id in order:
            record = records.get(plugin_id)  # a setup may have discovered anew
            if record is not None and record.info.state not in LIVE:
                try:
                    self._load(record)
                except PluginHostError as error:
                    errors.append(error)
        return errors

    def _load(self, record: PluginRecord) -> None:
        before = record.info
        record.before = surroundings()
        record.takings = Takings()
        info = record.stand(PluginState.LOADING, dirty=())
        try:
            with self._step(record, LOAD):
                self._hook.pluginhost_load(plugin_id=info.id, info=info)
        except KeyboardInterrupt:
            self._steps.discard(record)
            record.info = before
            raise
        except BaseException as cause:
            self._steps.discard(record)  # the step has done so, unless a wrapper failed after it
            error = as_load_error(info.id, cause)
            record.info = replace(failed(info, error), dirty=record.changed())
            if error is cause:
                raise
            raise error from cause
        record.info = replace(record.info, dirty=record.changed())
        self.loaded.append(info.id)
        if record.runner is not None:
            self._calls.loaded(info.id)
            self.runners[info.id] = record.runner

    def _step(self, record: PluginRecord, step: str) -> AbstractContextManager[None]:
        elsewhere = record.candidate.info.runner == "process"
        return self._accounts.step(None if elsewhere else record.takings, step)

    def unload(self, record: PluginRecord) -> PluginInfo:
        """Unload one plugin; raises what its teardown raises, when it is unloaded all the same."""
        info = record.info
        if info.state is not PluginState.LOADED:
            raise PluginStateError(
                f"it is {info.state}", plugin_id=info.id, remedy="only a loaded plugin is unloaded"
            )
        record.stand(PluginState.UNLOADING)
        self.runners.pop(info.id, None)
        self.loaded.remove(info.id)
        try:
            record.running = self._calls.drain(info.id)
            with self._step(record, UNLOAD):
                self._hook.pluginhost_unload(plugin_id=info.id, info=info)
        finally:
            if record.info.state is PluginState.UNLOADING:  # a wrapper failed before the step
                self._steps.discard(record)
                record.unloaded()
        return record.shown()
