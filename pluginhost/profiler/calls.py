"""Who called whom, and how long: the totals of every call path, and the flame graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import msgspec

from pluginhost.calltree import CallPath, CallSite, EventKind
from pluginhost.capture import CallRecord, SiteRecord
from pluginhost.histogram import DurationHistogram
from pluginhost.journal import CPU_SHIFT, Detail, PathGroup
from pluginhost.profiler.tally import Tally
from pluginhost.reading import RawReading, resident_bytes

if TYPE_CHECKING:  # a process that is only recorded does not pay for events and reports
    from pluginhost.costs import FlameGraphNode
    from pluginhost.events import EventBatch
    from pluginhost.report import HookMetrics


_COUNT = (1 << CPU_SHIFT) - 1
_SPREAD = frozenset({EventKind.HOOK_CALL, EventKind.HOOK_AWAIT, EventKind.SECTION})
"""Kinds whose durations are kept, and how they are spread."""


class CallTally(Tally):
    """Of one call path, also CPU, errors, memory, and how often nothing was returned."""

    __slots__ = ("cpu_ns", "min_ns", "returned_none", "rss_bytes")

    def __init__(self) -> None:
        super().__init__()
        self.cpu_ns: int | None = None
        self.min_ns = 1 << 62
        self.returned_none = self.rss_bytes = 0

    def add(self, group: PathGroup) -> None:
        """Count the records of a group."""
        super().add(group)
        extras = group.extras or []
        wall_ns = group.total_ns
        if group.has_details:
            details = [(i, extra) for i, extra in enumerate(extras) if isinstance(extra, Detail)]
            self.errors += sum(detail.failure is not None for _, detail in details)
            known = [(i, detail.cpu_ns) for i, detail in details if detail.cpu_ns is not None]
            self._add_cpu([cpu_ns for _, cpu_ns in known])
            wall_ns -= sum(group.durations_ns[i] for i, _ in details)
        kind = group.path.site.kind
        if kind in _SPREAD:
            self.min_ns = min(self.min_ns, min(group.durations_ns))  # noqa: PLW3301  # it copies
            if group.has_details or (extras and extras[0] is None):
                extras = [extra for extra in extras if isinstance(extra, int)]
            self._add_calls(cast("list[int]", extras), wall_ns)
        elif kind is EventKind.MODULE_IMPORT:
            readings = cast("list[RawReading]", [e for e in extras if isinstance(e, tuple)])
            self._add_cpu([reading[0] for reading in readings])
            self.rss_bytes += sum(resident_bytes(r[2]) - resident_bytes(r[1]) for r in readings)

    def _add_calls(self, extras: list[int], wall_ns: int) -> None:
        """Add what calls that returned carry; together they took `wall_ns`."""
        if extras:
            packed = sum(extras)
            self.returned_none += packed & _COUNT
            if type(extras[0]) is not bool:
                self._add_cpu([wall_ns + (packed >> CPU_SHIFT)])

    def _add_cpu(self, used: list[int]) -> None:
        if used:
            self.cpu_ns = (self.cpu_ns or 0) + sum(used)


class CallTotals:
    """Inclusive time and calls of each call path.

    Self time is inclusive time less that of the children. Children that ran side by side may take
    longer together than their parent: then it is a bound, and their parent's path is `concurrent`.
    """

    def __init__(self) -> None:
        self._tallies: dict[CallPath, CallTally] = {}
        self._child_ns: defaultdict[CallPath, int] = defaultdict(int)
        self._histograms: defaultdict[CallSite, DurationHistogram] = defaultdict(DurationHistogram)

    def observe(self, batch: EventBatch) -> None:
        """Take a batch from a bus."""
        for group in batch.groups:
            self.add(group)

    def add(self, group: PathGroup) -> None:
        """Add the records of one call path."""
        path = group.path
        tally = self._tallies.get(path)
        if tally is None:
            tally = self._tallies[path] = CallTally()
        tally.add(group)
        kind = path.site.kind
        if kind in _SPREAD:
            self._histograms[path.site].add_all(group.durations_ns)
        if path.parent is not None and kind is not EventKind.HOOK_AWAIT:
            self._child_ns[path.parent] += group.total_ns

    def records(self) -> tuple[tuple[CallRecord, ...], tuple[SiteRecord, ...]]:
        """Return all paths, callers first, and all sites of hook calls, as plain records."""
        found: list[CallRecord] = []
        positions: dict[CallPath | None, int] = {}
        tallies = dict(self._tallies)
        sites: dict[CallSite, list[tuple[CallTally, int]]] = {}
        for path in _callers_first(tallies):
            tally = tallies.get(path) or CallTally()
            site, above = path.site, positions.get(path.parent, -1)
            positions[path] = len(found)
            found.append(
                CallRecord(
                    above, site.kind, site.plugin_id, site.hook, tally.count, tally.total_ns,
                    tally.cpu_ns, tally.errors, tally.rss_bytes,
                )
            )  # fmt: skip
            if path.untimed or path.spared:
                found[-1] = _with_untimed(found[-1], path)
            if tally.count and site in self._histograms:
                sites.setdefault(site, []).append((tally, path.untimed))
        return tuple(found), tuple(self._site(site, group) for site, group in sites.items())

    def _site(self, site: CallSite, parts: list[tuple[CallTally, int]]) -> SiteRecord:
        (first, _), *others = parts
        min_ns, max_ns, none = first.min_ns, first.max_ns, 0
        for tally, _ in others:  # most are called from one place only
            min_ns, max_ns = min(min_ns, tally.min_ns), max(max_ns, tally.max_ns)
        for tally, untimed in parts:
            none += _scaled(tally.returned_none, tally.count, untimed)
        buckets = self._histograms[site].buckets()
        return SiteRecord(site.kind, site.plugin_id, site.hook, min_ns, max_ns, none, buckets)

    def count(self, path: CallPath) -> int:
        """Return how many calls of one path were added."""
        tally = self._tallies.get(path)
        return tally.count if tally is not None else 0

    def total_ns(self, path: CallPath) -> int:
        """Return the inclusive time of all calls of one path."""
        tally = self._tallies.get(path)
        return tally.total_ns if tally is not None else 0

    def self_ns(self, path: CallPath) -> int:
        """Return the time spent in this path alone, at least 0."""
        return max(0, self._tallies[path].total_ns - self._child_ns.get(path, 0))

    def of_executions(self) -> dict[str, tuple[int, bool]]:
        """Return each plugin's self time over all its executions, and whether it is a bound."""
        found: dict[str, tuple[int, bool]] = {}
        for path in self._tallies:
            if path.site.kind is EventKind.PLUGIN_EXECUTE:
                total_ns, concurrent = found.get(path.site.plugin_id, (0, False))
                total_ns += self.self_ns(path)
                found[path.site.plugin_id] = total_ns, concurrent or path.concurrent
        return found

    def cut_paths(self) -> int:
        """Return how many calls lost their callers: too deep, or too many different ones."""
        return sum(tree.cut_paths for tree in {path.tree for path in self._tallies})

    def forget(self, plugin_id: str) -> None:
        """Drop the paths that end at one plugin; its callers' self time stays what it was."""
        for path in [p for p in self._tallies if p.site.plugin_id == plugin_id]:
            del self._tallies[path]
            self._child_ns.pop(path, None)

    def hooks(self) -> tuple[HookMetrics, ...]:
        """Return all that is not an execution, by plugin and hook, the costliest first."""
        rows: dict[CallSite, list[CallPath]] = defaultdict(list)
        for path in self._tallies:
            if path.site.kind is not EventKind.PLUGIN_EXECUTE and path.site.plugin_id:
                rows[path.site].append(path)
        metrics = [self._hook(site, paths) for site, paths in rows.items()]
        return tuple(sorted(metrics, key=lambda m: (-m.self_time_ns, m.plugin_id, m.hook)))

    def flame_graph(self, name: str) -> FlameGraphNode:
        """Return the tree of all calls under a root that is called `name`."""
        below: dict[tuple[str, ...], list[int]] = {}
        for path, tally in self._tallies.items():
            sums = below.setdefault(path.names(), [0, 0, 0])
            sums[0] += tally.total_ns
            sums[1] += self.self_ns(path)
            sums[2] += tally.count
        for names in list(below):  # a caller that has not returned yet has no record
            for depth in range(1, len(names)):
                below.setdefault(names[:depth], [0, 0, 0])
        children: defaultdict[tuple[str, ...], list[FlameGraphNode]] = defaultdict(list)
        for names in sorted(below, key=len, reverse=True):
            total_ns, self_ns, count = below[names]
            children[names[:-1]].append(
                _node(names[-1], total_ns, self_ns, count, children.pop(names, []))
            )
        return _node(name, 0, 0, 0, children[()])

    def _hook(self, site: CallSite, paths: list[CallPath]) -> HookMetrics:
        from pluginhost.report import HookMetrics

        tallies = [self._tallies[path] for path in paths]
        count = sum(tally.count for tally in tallies)
        total_ns = sum(tally.total_ns for tally in tallies)
        return HookMetrics(
            plugin_id=site.plugin_id,
            hook=site.hook,
            call_count=count,
            error_count=sum(tally.errors for tally in tallies),
            total_time_ns=total_ns,
            self_time_ns=sum(self.self_ns(path) for path in paths),
            average_duration_ns=total_ns / count,
            max_duration_ns=max(tally.max_ns for tally in tallies),
        )


def _with_untimed(record: CallRecord, path: CallPath) -> CallRecord:
    """Return a record that also counts calls which were not timed, as like those that were."""
    return msgspec.structs.replace(
        record,
        count=record.count + path.untimed,
        errors=_scaled(record.errors, record.count, path.untimed),
        untimed=path.untimed,
        spared=path.spared,
    )


def _scaled(some: int, timed: int, untimed: int) -> int:
    """Return how many of all calls it is that are `some` of those that were timed."""
    return some + round(some * untimed / timed) if untimed else some


def _callers_first(paths: Iterable[CallPath]) -> list[CallPath]:
    """Return `paths` and all their callers, callers first; without the root."""
    found: dict[CallPath, None] = {}
    for path in paths:
        if path.parent in found:
            found[path] = None
            continue
        chain = []
        here: CallPath | None = path
        while here is not None and here.parent is not None and here not in found:
            chain.append(here)
            here = here.parent
        found.update(dict.fromkeys(reversed(chain)))
    return list(found)


def _node(
    name: str, total_ns: int, self_ns: int, count: int, children: list[FlameGraphNode]
) -> FlameGraphNode:
    from pluginhost.costs import FlameGraphNode

    return FlameGraphNode(
        name=name,
        duration_ns=max(total_ns, sum(child.duration_ns for child in children)),
        self_ns=self_ns,
        call_count=count,
        children=tuple(sorted(children, key=lambda c: (-c.duration_ns, c.name))),
    )
