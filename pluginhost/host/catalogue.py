"""What the host has found: every plugin by id, who claimed which id, and who came too late."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from msgspec.structs import replace

from pluginhost.errors import (
    DuplicatePluginError,
    PluginHostError,
    PluginNotFoundError,
    PluginSkippedError,
    PluginStateError,
    QuarantinedPluginError,
)
from pluginhost.host.ordering import LIVE, required_ids
from pluginhost.host.placing import Placement
from pluginhost.host.sources import Candidate, PluginSource, failed_candidate
from pluginhost.host.steps import PluginRecord
from pluginhost.report import PluginInfo, PluginState


class Catalogue:
    """The records of all plugins that `sources` have; only changed under the lifecycle lock."""

    def __init__(
        self,
        host_name: str,
        sources: Iterable[PluginSource],
        placement: Placement | None = None,
    ) -> None:
        self.records: dict[str, PluginRecord] = {}
        self.rejected: tuple[PluginInfo, ...] = ()
        self._host_name = host_name
        self._sources = tuple(sources)
        self._placement = placement

    @property
    def infos(self) -> Mapping[str, PluginInfo]:
        """What is known of every plugin now, by id."""
        return MappingProxyType({i: record.info for i, record in self.records.copy().items()})

    @property
    def shown(self) -> Mapping[str, PluginInfo]:
        """The same, for those who ask the host; see `PluginRecord.shown`."""
        return MappingProxyType({i: record.shown() for i, record in self.records.copy().items()})

    def discover(self) -> None:
        """Read all sources; see `PluginHost.discover`."""
        claimed: dict[str, PluginInfo] = {}
        rejected: list[PluginInfo] = []
        for candidate in self._candidates():
            info = candidate.info
            if info.id not in claimed:
                claimed[info.id] = info
                self._take(candidate)
            elif info.state is PluginState.FAILED:
                rejected.append(info)
            else:
                rejected.append(failed(info, _duplicate(info.id, claimed[info.id])))
        self.rejected = tuple(rejected)
        for plugin_id, record in self.infos.items():
            if plugin_id not in claimed and record.state not in (*LIVE, PluginState.UNLOADED):
                del self.records[plugin_id]

    def find(self, plugin_id: str) -> PluginRecord:
        """Return the plugin's record; raises `PluginNotFoundError` that suggests near names."""
        try:
            return self.records[plugin_id]
        except KeyError:
            near = get_close_matches(plugin_id[:100], self.records, n=3, cutoff=0.5)
            raise PluginNotFoundError(
                f"there is no such plugin in {self._host_name!r}",
                plugin_id=plugin_id,
                remedy=f"did you mean {' or '.join(map(repr, near))}?"
                if near
                else "discover(), or 'pluginhost list', shows what there is",
            ) from None

    def not_executable(self, plugin_id: str) -> PluginHostError:
        """Return the error that says why the plugin cannot be executed now."""
        try:
            record = self.find(plugin_id)
        except PluginNotFoundError as error:
            return error
        state = record.info.state
        if state is PluginState.LOADED and record.runner is None:
            message, remedy = "it has no 'execute'", "implement the hook 'execute' in it"
        elif state in LIVE:
            message, remedy = "it is being loaded or unloaded", "try again when that is done"
        elif record.info.error:
            message, remedy = f"it is {state}: {record.info.error}", record.info.remedy or ""
        else:
            message, remedy = f"it is {state}", f"call load({plugin_id!r}) first"
        return PluginStateError(message, plugin_id=plugin_id, hook="execute", remedy=remedy)

    def midway(self) -> list[PluginRecord]:
        """Return the plugins that are being loaded or unloaded."""
        states = PluginState.LOADING, PluginState.UNLOADING
        return [record for record in self.records.values() if record.info.state in states]

    def with_required(self, plugin_id: str) -> dict[str, PluginInfo]:
        """Return the plugin and, of those that it requires directly or not, the ones there are."""
        wanted: dict[str, PluginInfo] = {}
        pending = [plugin_id]
        while pending:
            record = self.records.get(pending.pop())
            if record is not None and record.info.id not in wanted:
                wanted[record.info.id] = record.info
                pending += required_ids(record.info)
        return wanted

    def _candidates(self) -> Iterable[Candidate]:
        for source in self._sources:
            try:
                for found in source.discover():
                    yield found if self._placement is None else self._placement.placed(found)
            except Exception as error:  # a source may be anybody's: it fails alone
                kind = type(source).__name__
                yield failed_candidate(
                    f"source {kind}",
                    error,
                    source=kind,
                    location="",
                    remedy="mend the source, or leave it out",
                )

    def _take(self, candidate: Candidate) -> None:
        known = self.records.get(candidate.info.id)
        if known is None:
            self.records[candidate.info.id] = PluginRecord(candidate)
        elif known.info.state in LIVE:
            pass  # what it was loaded from stays until it is unloaded
        elif known.candidate.info == candidate.info:
            known.candidate = candidate
        else:
            self.records[candidate.info.id] = PluginRecord(candidate)


_STATES = {
    PluginSkippedError: PluginState.SKIPPED,
    QuarantinedPluginError: PluginState.QUARANTINED,
}


def failed(info: PluginInfo, error: PluginHostError) -> PluginInfo:
    """Return `info` as it stands after `error`."""
    return replace(
        info,
        state=next(
            (s for kind, s in _STATES.items() if isinstance(error, kind)), PluginState.FAILED
        ),
        error=error.message if error.hook is None else f"{error.hook}: {error.message}",
        remedy=error.remedy,
    )


def cut_short(info: PluginInfo) -> PluginStateError:
    """Return what to say of a plugin whose loading or unloading was lost in a fork."""
    return PluginStateError(
        f"the process was forked while it was {info.state}",
        plugin_id=info.id,
        remedy="load it before forking, or in the child",
    )


def refuse_midway(info: PluginInfo) -> None:
    """Refuse what a plugin's own setup or teardown may not ask for."""
    if info.state in (PluginState.LOADING, PluginState.UNLOADING):
        raise PluginStateError(
            f"it is {info.state}",
            plugin_id=info.id,
            remedy="do not load or reload a plugin from its own setup or teardown",
        )


def _duplicate(plugin_id: str, kept: PluginInfo) -> DuplicatePluginError:
    return DuplicatePluginError(
        f"the id is taken by {kept.location or kept.source}",
        plugin_id=plugin_id,
        remedy="rename one of the two, or leave its source out",
    )
