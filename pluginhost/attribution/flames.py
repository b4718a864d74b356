"""The nesting of all calls of the observed thread as a flame graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pluginhost.attribution.partition import Node
from pluginhost.calltree import EventKind
from pluginhost.capture import ENTRY_POINT
from pluginhost.costs import FlameGraphNode


def flame_graph(name: str, processes: Sequence[Sequence[Node]], wall_ns: int) -> FlameGraphNode:
    """Return the calls of all processes below a root called `name` that lasted `wall_ns`."""
    tops = [child for nodes in processes for child in _tops(nodes)]
    inside_ns = sum(child.duration_ns for child in tops)
    return FlameGraphNode(
        name=name,
        duration_ns=max(wall_ns, inside_ns),
        self_ns=max(0, wall_ns - inside_ns),
        call_count=len(processes),
        children=_sorted(tops),
    )


def _tops(nodes: Sequence[Node]) -> list[FlameGraphNode]:
    """Return the calls that nothing recorded surrounds, each with all below it."""
    below: defaultdict[int, list[FlameGraphNode]] = defaultdict(list)
    for node in reversed(nodes):  # callers come first, so what they call is ready before them
        if node.apart is None and node.record.kind is not EventKind.HOOK_AWAIT:
            children = below.pop(node.position, [])
            below[node.record.parent].append(
                FlameGraphNode(
                    name=_label(node),
                    duration_ns=node.self_ns + sum(child.duration_ns for child in children),
                    self_ns=node.self_ns,
                    call_count=node.record.count,
                    children=_sorted(children),
                )
            )
    return below[-1]


def _label(node: Node) -> str:
    record = node.record
    if record.kind is EventKind.MODULE_IMPORT:
        return record.hook if record.hook.startswith(ENTRY_POINT) else f"import {record.hook}"
    return f"{record.plugin}:{record.hook}" if record.plugin else record.hook


def _sorted(nodes: Sequence[FlameGraphNode]) -> tuple[FlameGraphNode, ...]:
    return tuple(sorted(nodes, key=lambda node: (-node.duration_ns, node.name)))
