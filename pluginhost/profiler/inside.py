"""What was sampled inside of a plugin, joined to its nodes in the flame graph."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pluginhost.costs import FlameGraphNode
from pluginhost.inside import InsideFrame, InsideProfile, Kind
from pluginhost.report import PerformanceReport


def with_inside(report: PerformanceReport, profile: InsideProfile) -> PerformanceReport:
    """Return the report with the profile; one of time also below the plugin in the flame graph."""
    root = report.flame_graph
    if profile.kind is Kind.TIME and profile.value > 0:
        root = joined(root, profile)
    note = f"inside of {profile.plugin_id}: sampled by {profile.profiler}, scaled to its self time"
    estimates = report.estimates
    if profile.kind is Kind.TIME and profile.frames:
        estimates = (*estimates, note)
    return msgspec.structs.replace(
        report, inside=(*report.inside, profile), flame_graph=root, estimates=estimates
    )


def joined(node: FlameGraphNode, profile: InsideProfile) -> FlameGraphNode:
    """Return the tree with `profile.frames` below each execution of the plugin.

    They share out its self time in proportion; what they leave stays the plugin's own, so that the
    tree adds up to what it was.
    """
    children = tuple(joined(child, profile) for child in node.children)
    own_ns = node.self_ns
    if node.name == profile.plugin_id and not node.sampled and own_ns > 0:
        sampled = _scaled(profile.frames, own_ns / profile.value)
        own_ns -= sum(child.duration_ns for child in sampled)
        children = (*sampled, *children)
    return msgspec.structs.replace(node, self_ns=own_ns, children=children)


def _scaled(frames: Iterable[InsideFrame], scale: float) -> tuple[FlameGraphNode, ...]:
    found = []
    for frame in frames:
        children = _scaled(frame.children, scale)
        own_ns = int(frame.self_value * scale)
        found.append(
            FlameGraphNode(
                name=frame.label,
                duration_ns=own_ns + sum(child.duration_ns for child in children),
                self_ns=own_ns,
                children=children,
                sampled=True,
            )
        )
    return tuple(found)
