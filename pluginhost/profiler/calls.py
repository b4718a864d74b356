"""Who called whom, and how long: the totals of every call path, and the flame graph."""

from __future__ import annotations

from collections import defaultdict

from pluginhost.calltree import CallPath, CallSite, EventKind
from pluginhost.costs import FlameGraphNode
from pluginhost.events import Detail, PathGroup
from pluginhost.profiler.profile import Tally
from pluginhost.report import HookMetrics


class CallTotals:
    """Inclusive time and calls of each call path.

    Self time is inclusive time less that of the children. Children that ran side by side may take
    longer together than their parent: then it is a bound, and their parent's path is `concurrent`.
    """

    def __init__(self) -> None:
        self._tallies: dict[CallPath, Tally] = {}
        self._child_ns: defaultdict[CallPath, int] = defaultdict(int)

    def add(self, group: PathGroup) -> None:
        """Add the records of one call path."""
        path = group.path
        tally = self._tallies.get(path)
        if tally is None:
            tally = self._tallies[path] = Tally()
        tally.add(group)
        if group.has_details:
            details = (extra for extra in group.extras or () if isinstance(extra, Detail))
            tally.errors += sum(detail.failure is not None for detail in details)
        if path.parent is not None:
            self._child_ns[path.parent] += group.total_ns

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
            if path.site.kind is not EventKind.PLUGIN_EXECUTE:
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


def _node(
    name: str, total_ns: int, self_ns: int, count: int, children: list[FlameGraphNode]
) -> FlameGraphNode:
    return FlameGraphNode(
        name=name,
        duration_ns=max(total_ns, sum(child.duration_ns for child in children)),
        self_ns=self_ns,
        call_count=count,
        children=tuple(sorted(children, key=lambda c: (-c.duration_ns, c.name))),
    )
