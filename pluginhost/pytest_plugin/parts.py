"""Which part of a suite each call path belongs to: every nanosecond to one, and to one only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import msgspec

from pluginhost.attribution import Parted
from pluginhost.attribution.owners import Unit
from pluginhost.attribution.partition import Node
from pluginhost.calltree import EventKind
from pluginhost.capture import CallRecord, Capture
from pluginhost.costs import CostReport, PluginKind
from pluginhost.pytest_plugin.hooks_of_pytest import COLLECTION, REPORTING, REPORTING_MODULES
from pluginhost.pytest_plugin.sections import (
    BODIES,
    COLLECTING,
    ENDING,
    REWRITING,
    SETTING_UP,
    TEARING_DOWN,
)
from pluginhost.suite import PartCost, SuitePart

OURS = ("pluginhost", "pluginhost-profile", "pluginhost.pytest_plugin")
"""Under which names this plugin is registered."""

_SECTIONS = {
    BODIES: SuitePart.TESTS,
    SETTING_UP: SuitePart.FIXTURES,
    TEARING_DOWN: SuitePart.FIXTURES,
    COLLECTING: SuitePart.COLLECTION,
    ENDING: SuitePart.EXIT,
}
_WAITING = ("xdist.dsession", "xdist.remote")  # the process of the user, and a worker
_OF_PYTEST = (SuitePart.PYTEST, SuitePart.REPORTING)


class Placed(msgspec.Struct, frozen=True, gc=False):
    """A call path with the part it belongs to, and how much of it is waiting for others."""

    node: Node
    part: SuitePart
    idle_ns: int = 0


class Parts:
    """The paths of all processes, placed, and what they come to."""

    def __init__(
        self,
        captures: Sequence[Capture],
        parted: Parted,
        costs: CostReport,
        earlier_cpu_ns: int = 0,
    ) -> None:
        self._parted = parted
        self._modules = {
            plugin.name: plugin.module for manager in parted.managers for plugin in manager.plugins
        }
        self._waiting = {n for n, module in self._modules.items() if module.startswith(_WAITING)}
        self.placed = [
            list(self._place(capture, part.nodes))
            for capture, part in zip(captures, parted.parts, strict=True)
        ]
        """For each process, its call paths."""
        self._earlier_cpu_ns = earlier_cpu_ns  # before anything was recorded
        self._captures = captures
        self._costs = costs

    def __iter__(self) -> Iterator[Placed]:
        return chain.from_iterable(self.placed)

    def nodes(self) -> Iterator[Node]:
        """Yield all paths, of whatever part."""
        return (each.node for each in self)

    @property
    def has_cpu(self) -> bool:
        """Whether CPU times were read."""
        records = (node.record for node in self.nodes())
        return any(r.cpu_ns is not None and not r.estimated for r in records)

    def wall_ns(self, position: int) -> int:
        """Return how long one process was there."""
        capture = self._captures[position]
        begun_ns = capture.observed_ns if capture.spawned_ns is None else capture.spawned_ns
        return capture.ended_ns - begun_ns

    def startup_ns(self, position: int) -> int:
        """Return the time of one process before anything was recorded."""
        capture = self._captures[position]
        return capture.begun_ns - capture.spawned_ns if capture.spawned_ns is not None else 0

    def unrecorded_ns(self, position: int) -> int:
        """Return the same with the imports that were estimated of it."""
        calls = self._captures[position].calls
        estimated = (call.total_ns for call in calls if call.estimated and call.parent == -1)
        return self.startup_ns(position) + sum(estimated)

    def idle_ns(self, position: int) -> int:
        """Return how long one process waited for others."""
        return sum(each.idle_ns for each in self.placed[position] if _adds_up(each.node))

    def costs(self) -> tuple[PartCost, ...]:
        """Return all parts; they add up to the whole."""
        self_ns: Counter[SuitePart] = Counter()
        cpu_ns: Counter[SuitePart] = Counter()
        for each in self:
            node, part, idle_ns = each.node, each.part, each.idle_ns
            if not _adds_up(node):
                continue
            self_ns[part] += node.self_ns - idle_ns
            if idle_ns:
                self_ns[SuitePart.IDLE] += idle_ns
            if node.self_cpu_ns is not None:
                cpu_ns[part] += node.self_cpu_ns
        measuring = self._costs.measuring
        cpu_ns[SuitePart.MEASURING] += measuring.recording_ns
        cpu_ns[SuitePart.MEASURING] += sum(part.processing_cpu_ns for part in self._parted.parts)
        self_ns[SuitePart.MEASURING] += measuring.total_ns
        self_ns[SuitePart.STARTUP] += sum(map(self.startup_ns, range(len(self._captures))))
        whole_ns = self._costs.wall_ns
        self_ns[SuitePart.UNATTRIBUTED] = whole_ns - sum(self_ns.values())
        cpu_ns[SuitePart.STARTUP] += self._earlier_cpu_ns
        used_ns = self._costs.main_cpu_ns + self._earlier_cpu_ns
        found = _within(cpu_ns, self_ns, used_ns) if self.has_cpu else {}
        return tuple(
            PartCost(
                part=part,
                self_ns=self_ns[part],
                cpu_ns=found.get(part),
                share=self_ns[part] / whole_ns if whole_ns else 0.0,
            )
            for part in SuitePart
        )

    def _place(self, capture: Capture, nodes: Sequence[Node]) -> Iterator[Placed]:
        parts: dict[int, SuitePart] = {-1: SuitePart.PYTEST}
        for node in nodes:
            record = node.record
            above = parts.get(record.parent, SuitePart.PYTEST)
            part = parts[node.position] = self._part_of(node, above)
            yield Placed(node, part, _waited_ns(node) if record.plugin in self._waiting else 0)

    def _part_of(self, node: Node, above: SuitePart) -> SuitePart:
        record = node.record
        if record.kind is EventKind.SECTION:
            return next(
                (part for name, part in _SECTIONS.items() if record.hook.startswith(name)), above
            )
        unit = None
        if node.unit is not None:
            if node.unit in OURS:
                return SuitePart.MEASURING
            unit = self._parted.owners.units.get(node.unit)
        if record.kind is EventKind.MODULE_IMPORT:
            return self._part_of_import(record, unit, above)
        if unit is not None:
            return SuitePart.PLUGINS
        return self._part_of_pytest(node, above)

    def _part_of_import(self, record: CallRecord, unit: Unit | None, above: SuitePart) -> SuitePart:
        """Return the part of an import: of a plugin, of a conftest or test file, or of pytest."""
        if unit is not None and unit.kind is not PluginKind.CONFTEST:
            return SuitePart.PLUGINS
        if record.hook == REWRITING:
            return SuitePart.REWRITING
        if unit is None and record.estimated:
            return SuitePart.STARTUP
        if unit is None and above in _OF_PYTEST:
            return above
        return SuitePart.IMPORTS

    def _part_of_pytest(self, node: Node, above: SuitePart) -> SuitePart:
        """Return the part of what pytest itself does, or of what nobody does."""
        plugin, hook = node.key
        if not plugin:
            return above
        module = self._modules.get(plugin, "")
        if hook in REPORTING or module.startswith(REPORTING_MODULES):
            return SuitePart.REPORTING
        return SuitePart.COLLECTION if hook in COLLECTION else SuitePart.PYTEST


def _waited_ns(node: Node) -> int:
    """Return how much of a call of pytest-xdist is waiting for other processes."""
    if node.self_cpu_ns is None:  # it hardly does anything else in this hook
        return node.self_ns if node.key[1] == "pytest_runtestloop" else 0
    return max(0, node.self_ns - node.self_cpu_ns)


def _adds_up(node: Node) -> bool:
    """Whether the time of a path is part of the whole, and of no other path's."""
    return node.apart is None and node.record.kind is not EventKind.HOOK_AWAIT


def _within(
    cpu_ns: Mapping[SuitePart, int], self_ns: Mapping[SuitePart, int], whole_ns: int
) -> dict[SuitePart, int]:
    """Return the CPU times of all parts, none longer than the part, that come to the whole.

    What no part has is between those that are known least, as far as there is room.
    """
    found = {part: min(cpu_ns.get(part, 0), max(0, self_ns.get(part, 0))) for part in SuitePart}
    for part in (SuitePart.UNATTRIBUTED, SuitePart.STARTUP, SuitePart.MEASURING):
        left_ns = whole_ns - sum(found.values())
        found[part] += max(0, min(left_ns, self_ns.get(part, 0) - found[part]))
    return found
