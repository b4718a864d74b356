"""The tables of what the plugins of a program cost."""

from __future__ import annotations

from typing import Any

from pluginhost.costs import CostReport, PluginCost
from pluginhost.exporters.html.columns import CPU, SELF, TOTAL, count, filled, ns, share, size, text
from pluginhost.exporters.html.document import Table


def cost_tables(costs: CostReport) -> list[Table]:
    """Return plugins, candidates, hooks and imports."""
    return [
        filled(_plugins(costs)),
        _candidates(costs),
        filled(_hooks(costs)),
        filled(_imports(costs)),
    ]


def _plugins(costs: CostReport) -> Table:
    return Table(
        id="plugins",
        title="Plugins",
        columns=(
            text("plugin"),
            text("version"),
            text("kind"),
            SELF,
            share("share"),
            ns("imports", "the first importer pays"),
            ns("hooks", "without what they called"),
            CPU,
            count("calls"),
            count("errors"),
            ns("saved without it", "predicted", estimate=True),
            size("memory of imports", "growth of the process", estimate=True),
            ns("other threads"),
            text("to run without it"),
        ),
        rows=tuple(map(_plugin_row, costs.plugins)),
        sort=3,
        note=f"Self times add up, with {costs.application.name}, measuring and what is"
        " unattributed, to the whole.",
    )


def _candidates(costs: CostReport) -> Table:
    return Table(
        id="candidates",
        title="Probably nobody would miss",
        columns=(
            text("plugin"),
            text("distribution"),
            text("why"),
            ns("saves", estimate=True),
            text("how"),
        ),
        rows=tuple(
            (c.plugin, c.distribution or "", c.reason, c.saving_ns, c.remedy)
            for c in costs.candidates
        ),
        sort=3,
    )


def _plugin_row(row: PluginCost) -> tuple[Any, ...]:
    return (
        row.name,
        row.version or "",
        str(row.kind).replace("_", "-"),
        row.self_ns,
        row.share,
        row.import_ns,
        row.hooks_self_ns,
        row.cpu_ns,
        row.calls,
        row.errors,
        row.saving_ns,
        row.import_rss_bytes,
        row.other_threads_ns,
        row.remedy or "",
    )


def _hooks(costs: CostReport) -> Table:
    return Table(
        id="hooks",
        title="Hooks",
        columns=(
            text("plugin"),
            text("hook"),
            text("style"),
            count("calls"),
            count("errors"),
            SELF,
            TOTAL,
            CPU,
            ns("p50", "at most 0.4 % off", estimate=True),
            ns("p95", "at most 0.4 % off", estimate=True),
            ns("max"),
            count("returned None"),
        ),
        rows=tuple(
            (
                h.plugin,
                h.hook,
                h.style,
                h.calls,
                h.errors,
                h.self_ns,
                h.inclusive_ns,
                h.cpu_ns,
                h.p50_ns,
                h.p95_ns,
                h.max_ns,
                h.returned_none,
            )
            for h in costs.hooks
        ),
        sort=5,
    )


def _imports(costs: CostReport) -> Table:
    return Table(
        id="imports",
        title="Imports",
        columns=(
            text("module"),
            text("on behalf of"),
            SELF,
            TOTAL,
            text("kept by"),
        ),
        rows=tuple(
            (each.module, row.name, each.self_ns, each.inclusive_ns, each.kept_by or "")
            for row in costs.plugins
            for each in row.imports
        ),
        sort=3,
        note="Kept by: who would import it, too, if the plugin were gone.",
    )
