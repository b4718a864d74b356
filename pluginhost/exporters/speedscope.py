"""The flame graph in the file format of speedscope (https://www.speedscope.app).

See https://github.com/jlfwong/speedscope/wiki/Importing-from-custom-sources; the JSON schema of the
format is published with the npm package `speedscope`.
"""

from __future__ import annotations

import json

from pluginhost.exporters.view import View, stacks, view_of
from pluginhost.report import Report

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def speedscope_text(report: Report) -> str:
    """Return one profile whose samples are the call paths, each as heavy as its self time in ns."""
    view = view_of(report)
    frames: dict[str, int] = {}
    samples: list[list[int]] = []
    weights: list[int] = []
    for names, self_ns in _weighted(view):
        samples.append([frames.setdefault(name, len(frames)) for name in names])
        weights.append(self_ns)
    profile = {
        "type": "sampled",
        "name": f"{view.name}: wall time",
        "unit": "nanoseconds",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": samples,
        "weights": weights,
    }
    return json.dumps(
        {
            "$schema": _SCHEMA,
            "exporter": f"pluginhost@{report.environment.pluginhost}",
            "name": view.name,
            "activeProfileIndex": 0,
            "shared": {"frames": [{"name": name} for name in frames]},
            "profiles": [profile],
        },
        ensure_ascii=False,
    )


def _weighted(view: View) -> list[tuple[tuple[str, ...], int]]:
    if view.tree is None:
        return []
    return [(names, node.self_ns) for names, node in stacks(view.tree) if node.self_ns > 0]
