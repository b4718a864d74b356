"""Captures in, a cost report out: rows that add up to the whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pluginhost.attribution.advice import remedy_for
from pluginhost.attribution.distributions import Distributions
from pluginhost.attribution.owners import Owners, Unit
from pluginhost.attribution.partition import Node, Partition
from pluginhost.calltree import AFTER_YIELD, AWAITED, EventKind
from pluginhost.capture import ENTRY_POINT, Capture, SeenManager
from pluginhost.costs import (
    ApplicationCost,
    CostReport,
    ImportCost,
    MeasuringCost,
    PluginCost,
    PluginKind,
    ProcessCost,
)

NEGLIGIBLE = 0.01
"""Of a run: where imports took less, who else would need them makes no difference to anybody."""

_SHOWN_IMPORTS = 10


class Parted(msgspec.Struct, frozen=True):
    """Captures taken apart: `parts` has a partition for each."""

    managers: list[SeenManager]
    installed: Distributions
    owners: Owners
    parts: list[Partition]


def costs_of(
    captures: Sequence[Capture],
    *,
    command: tuple[str, ...] = (),
    started_ns: int | None = None,
    exited_ns: int | None = None,
    exit_code: int | None = None,
    ended: str | None = None,
    incomplete: tuple[str, ...] = (),
    folder: str | None = None,
    parted: Parted | None = None,
    unasked: frozenset[str] = frozenset(),
    least_share: float = 0.0,
    in_full: bool = True,
) -> CostReport:
    """Return what the plugins cost in the program that left `captures[0]`, and in its children.

    `started_ns` and `exited_ns` are the launcher's readings around the program; without them the
    whole is what was observed. Names of files are shown relative to `folder`, by default the
    current one. `parted` are the captures, if they were taken apart already.
    What running without one of `unasked`, or a conftest, would save is not worked out. Imports of a
    plugin that took less than `least_share` of the whole are taken for saved, whoever needs them.
    Only with `in_full` there are rows for each hook, candidates, and the flame graph.
    """
    parted = parted or parted_of(captures, folder=folder)
    owners, parts = parted.owners, parted.parts
    recorded = list(zip(captures, parts, strict=True))
    nodes = [node for part in parts for node in part.nodes]
    spans = _spans(captures, started_ns, exited_ns)
    wall_ns = sum(end - start for start, end in spans)
    savings = _import_savings(captures, nodes, owners, unasked, round(least_share * wall_ns))
    plugins = _plugins(owners, nodes, savings, wall_ns)
    launched = captures[0].spawned_ns is not None or started_ns is not None
    measuring = MeasuringCost(
        setup_ns=_setup_ns(captures, launched=launched),
        processing_ns=sum(part.processing_ns for part in parts),
        recording_ns=sum(part.recording_ns + part.recorded_at_top_ns for part in parts),
        records=sum(capture.record_count for capture in captures),
    )
    name = max(parted.managers, key=_size).project if parted.managers else "application"
    application = _application(name, recorded, plugins, measuring, wall_ns)
    rows_ns = application.self_ns + sum(row.self_ns for row in plugins) + measuring.total_ns
    report = CostReport(
        command=command,
        wall_ns=wall_ns,
        elapsed_ns=spans[0][1] - spans[0][0],
        cpu_ns=sum(capture.cpu_ns for capture in captures),
        main_cpu_ns=sum(capture.main_cpu_ns for capture in captures),
        application=application,
        plugins=plugins,
        measuring=measuring,
        unattributed_ns=wall_ns - rows_ns,
        processes=_processes(captures, spans),
        ended=ended or captures[0].ended,
        exit_code=exit_code,
        incomplete=incomplete,
        notes=_notes(captures, name, nodes, least_share, launched=launched),
    )
    return _in_full(report, captures, parted) if in_full else report


def _in_full(report: CostReport, captures: Sequence[Capture], parted: Parted) -> CostReport:
    """Return a report with all that a short one does without."""
    from pluginhost.attribution.candidates import candidates_among
    from pluginhost.attribution.flames import flame_graph
    from pluginhost.attribution.hooks import hook_costs

    by_process = [part.nodes for part in parted.parts]
    name = " ".join(report.command) or report.application.name
    hooks = hook_costs(captures, [node for nodes in by_process for node in nodes])
    return msgspec.structs.replace(
        report,
        hooks=hooks,
        candidates=candidates_among(report.plugins, hooks, parted.installed),
        flame_graph=flame_graph(name, by_process, report.wall_ns),
    )


def parted_of(captures: Sequence[Capture], *, folder: str | None = None) -> Parted:
    """Return captures taken apart: what is whose, path by path."""
    managers = [manager for capture in captures for manager in capture.managers]
    installed = Distributions(captures[0].searched)
    owners = Owners(managers, installed, folder=folder or str(Path.cwd()))
    return Parted(managers, installed, owners, [Partition(each, owners) for each in captures])


def _spans(
    captures: Sequence[Capture], started_ns: int | None, exited_ns: int | None
) -> list[tuple[int, int]]:
    """Return when each process was started and had ended, as far as that is known."""
    spans = [(capture.spawned_ns or capture.observed_ns, capture.ended_ns) for capture in captures]
    start, end = spans[0]
    spans[0] = (
        start if started_ns is None else started_ns,
        end if exited_ns is None else exited_ns,
    )
    return spans


def _setup_ns(captures: Sequence[Capture], *, launched: bool) -> int:
    """Return how long it took to begin recording, where that is part of the whole."""
    return sum(
        capture.observed_ns - capture.begun_ns
        for position, capture in enumerate(captures)
        if capture.spawned_ns is not None or (launched and position == 0)
    )


def _application(
    name: str,
    recorded: Sequence[tuple[Capture, Partition]],
    plugins: Sequence[PluginCost],
    measuring: MeasuringCost,
    wall_ns: int,
) -> ApplicationCost:
    """Return the row of what is left of the observed time, with that of the built-in plugins."""
    nodes = [node for _, part in recorded for node in part.nodes]
    own = [node for node in nodes if node.unit is None and node.apart is None]
    self_ns = sum(node.self_ns for node in own)
    for capture, part in recorded:
        self_ns += capture.ended_ns - capture.observed_ns - part.top_ns - part.recorded_at_top_ns
    self_ns = max(0, self_ns)
    cpu_ns = None
    if any(node.self_cpu_ns is not None for node in nodes):
        taken_ns = sum(row.cpu_ns or 0 for row in plugins)
        taken_ns += measuring.processing_ns + measuring.recording_ns
        main_ns = sum(capture.main_cpu_ns for capture, _ in recorded)
        cpu_ns = min(self_ns, max(0, main_ns - taken_ns))
    return ApplicationCost(
        name=name,
        self_ns=self_ns,
        cpu_ns=cpu_ns,
        import_ns=sum(node.self_ns for node in own if _is_import(node)),
        share=self_ns / wall_ns if wall_ns else 0.0,
    )


def _size(manager: SeenManager) -> tuple[int, int]:
    """Return what tells the manager that a program is about from those of its libraries."""
    return len(manager.plugins), len(manager.implementations)


def _processes(
    captures: Sequence[Capture], spans: Sequence[tuple[int, int]]
) -> tuple[ProcessCost, ...]:
    return tuple(
        ProcessCost(
            pid=capture.pid,
            parent_pid=capture.parent_pid,
            arguments=capture.arguments,
            wall_ns=end - start,
            ended=capture.ended,
        )
        for capture, (start, end) in zip(captures, spans, strict=True)
    )


class _Sums:
    """What adds up for one unit."""

    def __init__(self) -> None:
        self.figures: defaultdict[str, int] = defaultdict(int)
        self.has_cpu = False
        self.imports: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])

    def add(self, node: Node, *, counted: bool) -> None:
        """Add one path; calls are `counted` where they are of this unit, and no part of one."""
        record, figures = node.record, self.figures
        if node.apart is not None:
            figures["other_threads_ns"] += node.self_ns
        if _is_import(node):
            figures["import_rss_bytes"] += record.rss_bytes if node.outermost else 0
            if not record.hook.startswith(ENTRY_POINT):
                self.imports[record.hook][0] += record.total_ns
                self.imports[record.hook][1] += node.self_ns
        elif counted and record.kind is EventKind.HOOK_CALL and not _continues(node):
            figures["calls"] += record.count
            figures["errors"] += record.errors
        if node.apart is None and record.kind is not EventKind.HOOK_AWAIT:
            which = "import_ns" if _is_import(node) else "hooks_self_ns"
            figures[which] += node.self_ns
            if node.outermost and not _is_import(node):
                figures["hooks_inclusive_ns"] += record.total_ns
            if node.self_cpu_ns is not None:
                self.has_cpu = True
                figures["cpu_ns"] += node.self_cpu_ns


def _plugins(
    owners: Owners,
    nodes: Iterable[Node],
    saved_by: dict[str, tuple[int, dict[str, str]]],
    wall_ns: int,
) -> tuple[PluginCost, ...]:
    sums: defaultdict[str, _Sums] = defaultdict(_Sums)
    for node in nodes:
        if node.unit is not None:
            mine = owners.of_plugin(node.record.plugin) == node.unit
            sums[node.unit].add(node, counted=mine)
        if node.fixture_of not in (None, node.unit) and node.apart is None:
            sums[str(node.fixture_of)].figures["for_fixtures_ns"] += node.self_ns
    rows = [
        _row(unit, sums[unit.name], saved_by.get(unit.name), wall_ns)
        for unit in owners.units.values()
        if unit.kind is not PluginKind.BUILT_IN
    ]
    return tuple(sorted(rows, key=lambda row: (-row.self_ns, row.name)))


def _row(
    unit: Unit, sums: _Sums, saved: tuple[int, dict[str, str]] | None, wall_ns: int
) -> PluginCost:
    figures: Any = sums.figures
    self_ns = figures["import_ns"] + figures["hooks_self_ns"]
    saved_ns, kept = saved if saved is not None else (None, {})
    imports = sorted(sums.imports.items(), key=lambda item: -item[1][0])[:_SHOWN_IMPORTS]
    return PluginCost(
        name=unit.name,
        kind=unit.kind,
        distribution=unit.distribution,
        version=unit.version,
        parts=unit.parts,
        calls=figures["calls"],
        errors=figures["errors"],
        import_ns=figures["import_ns"],
        import_saved_ns=saved_ns,
        import_rss_bytes=figures["import_rss_bytes"],
        hooks_inclusive_ns=figures["hooks_inclusive_ns"],
        hooks_self_ns=figures["hooks_self_ns"],
        self_ns=self_ns,
        cpu_ns=figures["cpu_ns"] if sums.has_cpu else None,
        share=self_ns / wall_ns if wall_ns else 0.0,
        saving_ns=None
        if saved_ns is None
        else saved_ns + figures["hooks_self_ns"] + figures["for_fixtures_ns"],
        other_threads_ns=figures["other_threads_ns"],
        remedy=remedy_for(unit),
        imports=tuple(
            ImportCost(module=name, inclusive_ns=ns, self_ns=self_ns, kept_by=kept.get(name))
            for name, (ns, self_ns) in imports
        ),
    )


def _import_savings(
    captures: Sequence[Capture],
    nodes: Sequence[Node],
    owners: Owners,
    unasked: frozenset[str],
    least_ns: int,
) -> dict[str, tuple[int, dict[str, str]]]:
    """Return for each unit what of its imports would be saved, and by whom modules are kept."""
    unasked |= {name for name, unit in owners.units.items() if unit.kind is PluginKind.CONFTEST}
    paid: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for node in nodes:
        if node.unit is None or node.unit in unasked:
            continue
        if _is_import(node) and node.apart is None:
            paid[node.unit][node.record.hook] += node.self_ns
    found: dict[str, tuple[int, dict[str, str]]] = {
        name: (0, {}) for name in owners.units if name not in unasked
    }
    found |= {unit: (modules.total(), {}) for unit, modules in paid.items()}
    looked_at = [unit for unit in paid if found[unit][0] >= least_ns]
    if not looked_at:
        return found
    from pluginhost.attribution.import_graph import ImportGraph  # for few runs, and large

    files = {name: file for capture in captures for name, file in capture.modules.items()}
    graph = ImportGraph(files, {name for unit in looked_at for name in paid[unit]})
    for unit in looked_at:
        modules = paid[unit]
        others = {name for other in paid.keys() - {unit} for name in paid[other]} - modules.keys()
        others |= owners.modules_of_others(unit)
        kept = graph.kept({name for name in modules if name in files}, others)
        saved_ns = sum(ns for name, ns in modules.items() if name not in kept)
        found[unit] = saved_ns, kept
    return found


def _notes(
    captures: Sequence[Capture],
    name: str,
    nodes: Iterable[Node],
    least_share: float,
    *,
    launched: bool,
) -> tuple[str, ...]:
    notes = ["import memory: growth of the resident set, an estimate"]
    saved = "savings of imports are estimates: a module that others import, too, is not saved"
    if least_share:
        saved += f" (not looked at where a plugin's imports took under {100 * least_share:g} % of the run)"
    notes.append(saved)
    if launched:
        notes.append("modules that the measuring itself needs are part of its own cost")
    if any(node.record.untimed for node in nodes):
        notes.append(
            f"of many calls within {name} itself only some are timed: their rows are estimates"
        )
    cut = sum(capture.cut_paths for capture in captures)
    if cut:
        notes.append(f"call paths too deep or too many to keep their callers: {cut:,}")
    return (*notes, *(note for capture in captures for note in capture.notes))


def _is_import(node: Node) -> bool:
    return node.record.kind is EventKind.MODULE_IMPORT


def _continues(node: Node) -> bool:
    """Whether this is a later part of a call that has been counted."""
    return node.part in (AFTER_YIELD, AWAITED)
