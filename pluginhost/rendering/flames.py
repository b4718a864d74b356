"""A flame graph as indented rows with bars."""

from __future__ import annotations

from collections.abc import Iterator

from pluginhost.costs import FlameGraphNode
from pluginhost.figures import percent, short
from pluginhost.printable import fitted, printable
from pluginhost.rendering.lines import Line, more, section

_FLAME_DEPTH = 6
_FLAME_ROWS = 16
_BAR = 26


def flames(root: FlameGraphNode) -> Iterator[Line]:
    """Yield the widest nodes of a flame graph, each below its caller."""
    yield from section("Where the time went (who called whom, inclusive)")
    nodes = list(_walk(root))
    smallest = root.duration_ns / 500  # less than that is not where the time went
    rows = [(d, node) for d, node in nodes if d <= _FLAME_DEPTH and node.duration_ns >= smallest]
    largest = sorted(range(len(rows)), key=lambda i: -rows[i][1].duration_ns)[:_FLAME_ROWS]
    for depth, node in (rows[i] for i in sorted(largest)):  # callers take as long: they are there
        share = node.duration_ns / root.duration_ns
        bar = "█" * round(min(max(share, 0.0), 1.0) * _BAR)
        name = fitted("  " * depth + "~" * node.sampled + printable(node.name), 34)
        yield ((f"{name}{short(node.duration_ns):>9} {percent(share):>8} ", ""), (bar, "bar"))
    yield from more(len(nodes) - len(largest), "node")


def _walk(root: FlameGraphNode) -> Iterator[tuple[int, FlameGraphNode]]:
    """Yield (depth, node) from the top down, each before its children."""
    waiting = [(0, root)]
    while waiting:
        depth, node = waiting.pop()
        yield depth, node
        waiting += ((depth + 1, child) for child in reversed(node.children))
