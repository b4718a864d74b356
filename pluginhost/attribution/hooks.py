"""Plugin by hook: the parts of each implementation's calls put together, also of those never called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from pluginhost.attribution.partition import HookKey, Node
from pluginhost.calltree import AFTER_YIELD, AWAITED, BEFORE_YIELD, EventKind
from pluginhost.capture import Capture, SiteRecord
from pluginhost.costs import HookCost
from pluginhost.figures import apportioned
from pluginhost.histogram import DurationHistogram

_QUANTILES = (0.5, 0.9, 0.95, 0.99)


class _HookSums:
    def __init__(self) -> None:
        self.figures: defaultdict[str, int] = defaultdict(int)
        self.has_cpu = False
        self.sites: list[SiteRecord] = []

    def add(self, node: Node) -> None:
        """Add one path of this implementation's calls."""
        record, figures = node.record, self.figures
        if record.kind is EventKind.HOOK_AWAIT:
            figures["awaited_count"] += record.count
            figures["awaiting_ns"] += record.total_ns
            figures["errors"] += record.errors
            return
        figures[node.part + "_ns"] += record.total_ns
        if node.part in ("", BEFORE_YIELD):
            figures["calls"] += record.count
            figures["untimed"] += record.untimed
        if node.part != AWAITED:
            figures["errors"] += record.errors
        if node.apart is not None:
            figures["other_threads_ns"] += node.self_ns
            return
        figures["self_ns"] += node.self_ns
        if node.outermost_hook:
            figures["inclusive_ns"] += record.total_ns
        if node.self_cpu_ns is not None:
            self.has_cpu = True
            figures["cpu_ns"] += node.self_cpu_ns


def hook_costs(captures: Sequence[Capture], nodes: Iterable[Node]) -> tuple[HookCost, ...]:
    """Return a row for every implementation there was, the costliest first."""
    sums: defaultdict[HookKey, _HookSums] = defaultdict(_HookSums)
    for node in nodes:
        if node.record.plugin and node.record.kind is not EventKind.MODULE_IMPORT:
            sums[node.key].add(node)
    styles = {
        (each.plugin, each.hook): each.style
        for capture in captures
        for manager in capture.managers
        for each in manager.implementations
    }
    for capture in captures:
        for site in capture.sites:
            hook, part = site.hook, ""
            for ending in (BEFORE_YIELD, AFTER_YIELD, AWAITED):
                if hook.endswith(ending):
                    hook, part = hook.removesuffix(ending), ending
            if part != AWAITED and (site.plugin, hook) in sums:
                sums[site.plugin, hook].sites.append(site)
    keys = dict.fromkeys((*sums, *styles))
    rows = [_row(key, sums[key], styles.get(key)) for key in keys]
    return tuple(sorted(rows, key=lambda row: (-row.self_ns, row.plugin, row.hook)))


def _row(key: HookKey, sums: _HookSums, style: str | None) -> HookCost:
    figures: Any = sums.figures
    histogram = DurationHistogram.of(site.histogram for site in sums.sites)
    untimed = figures["untimed"]
    buckets = histogram.buckets()
    if untimed:
        buckets = _scaled(buckets, figures["calls"], figures["calls"] - untimed)
    wraps = BEFORE_YIELD + "_ns" in figures
    spread: dict[str, Any] = {}
    if sums.sites:
        p50, p90, p95, p99 = histogram.quantiles_ns(_QUANTILES)
        spread = {
            "min_ns": min(site.min_ns for site in sums.sites),
            "max_ns": max(site.max_ns for site in sums.sites),
            "p50_ns": p50,
            "p90_ns": p90,
            "p95_ns": p95,
            "p99_ns": p99,
        }
    return HookCost(
        plugin=key[0],
        hook=key[1],
        style=style or ("wrapper" if wraps else "function"),
        calls=figures["calls"],
        inclusive_ns=figures["inclusive_ns"],
        self_ns=figures["self_ns"],
        cpu_ns=figures["cpu_ns"] if sums.has_cpu else None,
        errors=figures["errors"],
        returned_none=sum(site.returned_none for site in sums.sites),
        before_yield_ns=figures[BEFORE_YIELD + "_ns"] if wraps else None,
        after_yield_ns=figures[AFTER_YIELD + "_ns"] if wraps else None,
        awaited_count=figures["awaited_count"],
        awaiting_ns=figures["awaiting_ns"],
        other_threads_ns=figures["other_threads_ns"],
        untimed=untimed,
        histogram=buckets,
        **spread,
    )


def _scaled(
    buckets: tuple[tuple[int, int], ...], calls: int, timed: int
) -> tuple[tuple[int, int], ...]:
    """Return buckets for `calls` that are like those of the `timed` ones among them."""
    counts = [count for _, count in buckets]
    wanted = apportioned(counts, sum(counts) * calls // timed)
    return tuple((bucket, n) for (bucket, _), n in zip(buckets, wanted, strict=True) if n)
