"""In which order plugins load: peers first, and what stands in the way of that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from heapq import heapify, heappop, heappush
from itertools import pairwise

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from pluginhost.errors import (
    DependencyError,
    IncompatiblePluginError,
    InvalidValueError,
    PluginSkippedError,
)
from pluginhost.report import PluginInfo, PluginState

LIVE = (PluginState.LOADING, PluginState.LOADED, PluginState.UNLOADING)
"""The states of a plugin that is registered, or is about to be."""


def required_ids(info: PluginInfo) -> tuple[str, ...]:
    """Return the ids of the peers that `info` cannot do without; malformed ones are left out.

    A plugin with one of those fails on its own when its turn to load comes.
    """
    ids = []
    for text in info.requires:
        try:
            ids.append(_requirement(info, text).name)
        except DependencyError:
            continue
    return tuple(ids)


def loading_order(
    plugins: Mapping[str, PluginInfo],
) -> tuple[tuple[str, ...], dict[str, DependencyError]]:
    """Return the ids in an order that honours `requires` and `after`, and those in cycles.

    The order depends on the ids alone, not on where plugins were found. An `after` that closes a
    cycle is dropped; plugins in a cycle of `requires` are left out and map to their error.
    """
    hard = {i: {r for r in required_ids(plugins[i]) if r in plugins} for i in sorted(plugins)}
    soft = {i: {a for a in plugins[i].after if a in plugins and a != i} for i in sorted(plugins)}
    broken: dict[str, DependencyError] = {}
    while True:
        sorter = TopologicalSorter({i: sorted(hard[i] | soft[i]) for i in hard})
        try:
            return tuple(sorter.static_order()), broken
        except CycleError as error:
            cycle: list[str] = error.args[1]
            if not _drop_soft(cycle, soft):
                for member in set(cycle):
                    broken[member] = _cycle_error(member, cycle)
                    del hard[member], soft[member]
                for peers in (*hard.values(), *soft.values()):
                    peers.difference_update(cycle)


def check_host_version(api_version: str) -> None:
    """Raise `InvalidValueError` unless plugins can be checked against this version."""
    try:
        Version(api_version)
    except InvalidVersion:
        raise InvalidValueError(
            f"the host's API version {api_version!r} is not valid",
            remedy="write it as in '1.0' (PEP 440)",
        ) from None


def check_api(info: PluginInfo, api_version: str) -> None:
    """Raise `IncompatiblePluginError` unless the host's API version is one the plugin accepts."""
    if info.requires_api is None:
        return
    try:
        accepted = SpecifierSet(info.requires_api).contains(api_version, prereleases=True)
    except InvalidSpecifier:
        raise IncompatiblePluginError(
            f"its API specifier {info.requires_api!r} is not valid",
            plugin_id=info.id,
            remedy="write it as in '>=1,<2' (PEP 440)",
        ) from None
    if not accepted:
        raise IncompatiblePluginError(
            f"it needs host API {info.requires_api}, this host has {api_version}",
            plugin_id=info.id,
            remedy="install a version of the plugin made for this host",
        )


def check_peers(info: PluginInfo, plugins: Mapping[str, PluginInfo]) -> None:
    """Raise unless every required peer is loaded, in an accepted version.

    `DependencyError` when it is not there, `PluginSkippedError` when it is not loaded,
    `IncompatiblePluginError` when it is the wrong version.
    """
    for text in info.requires:
        wanted = _requirement(info, text)
        peer = plugins.get(wanted.name)
        if peer is None:
            raise DependencyError(
                f"it requires plugin {text!r}, which was not found",
                plugin_id=info.id,
                remedy=f"install or add the plugin {wanted.name!r}",
            )
        if peer.state is not PluginState.LOADED:
            raise PluginSkippedError(
                f"it requires plugin {text!r}, which is {peer.state}",
                plugin_id=info.id,
                remedy=f"make plugin {wanted.name!r} load first",
            )
        if wanted.specifier and not _accepts(wanted, peer.version):
            raise IncompatiblePluginError(
                f"it requires plugin {text!r}, loaded is version {peer.version or 'unknown'}",
                plugin_id=info.id,
                remedy=f"install a version of {wanted.name!r} in that range",
            )


def dependants(plugin_id: str, plugins: Iterable[PluginInfo]) -> tuple[str, ...]:
    """Return the plugins that require `plugin_id` and are loaded or on the way."""
    return tuple(
        sorted(
            info.id for info in plugins if info.state in LIVE and plugin_id in required_ids(info)
        )
    )


def unloading_order(loaded: Sequence[str], plugins: Mapping[str, PluginInfo]) -> tuple[str, ...]:
    """Return the ids of `loaded`, given in the order of loading, so that users come before peers.

    The last loaded comes first, unless a plugin that requires it is still to come: a peer that
    was reloaded is younger than its users.
    """
    places = {plugin_id: place for place, plugin_id in enumerate(loaded)}
    peers = {i: {p for p in required_ids(plugins[i]) if p in places} for i in loaded}
    users = Counter(peer for own in peers.values() for peer in own)
    free = [-places[plugin_id] for plugin_id in loaded if not users[plugin_id]]
    heapify(free)
    order = []
    while free:
        order.append(loaded[-heappop(free)])
        for peer in peers[order[-1]]:
            users[peer] -= 1
            if not users[peer]:
                heappush(free, -places[peer])
    return tuple(order)


def _requirement(info: PluginInfo, text: str) -> Requirement:
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        wanted = None
    if wanted is None or wanted.extras or wanted.marker or wanted.url:
        raise DependencyError(
            f"its requirement {text!r} is not valid",
            plugin_id=info.id,
            remedy="write the peer's id and, if need be, a specifier, as in 'checksum>=1'",
        )
    return wanted


def _accepts(wanted: Requirement, version: str | None) -> bool:
    try:
        return version is not None and wanted.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def _drop_soft(cycle: list[str], soft: dict[str, set[str]]) -> bool:
    """Drop one `after` that takes part in the cycle; CycleError lists each node before its user."""
    for before, user in pairwise(cycle):
        if before in soft[user]:
            soft[user].discard(before)
            return True
    return False


def _cycle_error(member: str, cycle: list[str]) -> DependencyError:
    return DependencyError(
        f"it is in a cycle of requirements: {' -> '.join(reversed(cycle))}",
        plugin_id=member,
        remedy="take one 'requires' out of the cycle, or make it 'after'",
    )
