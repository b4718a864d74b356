"""One view of a report for all formats: rows that are flat, and one tree.

Reports of hosts, of programs and of test suites differ; here they are brought to the same rows, in
words that every format can hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import msgspec

from pluginhost.costs import CostReport, FlameGraphNode, HookCost, PluginCost
from pluginhost.report import AggregateMetrics, HookMetrics, PerformanceReport, Report

MAX_TEXT = 500
"""So many characters of a text are kept: enough for any name, too few to drown a reader."""

IMPORTS = "(imports)"
"""The hook of the rows that are a plugin's imports."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin's part in one hook, in its executions or in its imports, or what is nobody's.

    `kind` is execution, hook, built-in hook (of the application's own plugins), import,
    application (the rest of its time), measuring, or unattributed. `statuses` has how often it
    ended how; it adds up to `calls`. Times are in ns, None where they were not measured; `total_ns`
    is inclusive. `cpu_ns` is an estimate, from the executions that were sampled, where
    `cpu_estimated`. `histogram` has (bucket, count) pairs of durations, see
    `DurationHistogram`; where it is empty, it was not kept.
    """

    plugin: str
    hook: str
    kind: str
    statuses: tuple[tuple[str, int], ...] = ()
    total_ns: int = 0
    self_ns: int = 0
    cpu_ns: int | None = None
    cpu_estimated: bool = False
    min_ns: int | None = None
    p50_ns: float | None = None
    p95_ns: float | None = None
    p99_ns: float | None = None
    max_ns: int | None = None
    histogram: tuple[tuple[int, int], ...] = ()

    @property
    def calls(self) -> int:
        """How many calls there were, however they ended."""
        return sum(count for _, count in self.statuses)

    @property
    def errors(self) -> int:
        """How many of them failed or were too late: being cancelled is nobody's fault."""
        return sum(count for status, count in self.statuses if status in ("error", "timeout"))


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A report for all formats.

    Self times of `rows` add up to `whole_ns` where the report is of a program (`adds_up`). `tree`
    is the flame graph, None where nothing was called.
    """

    name: str
    created_timestamp_ns: int
    whole_ns: int
    adds_up: bool
    facts: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    tree: FlameGraphNode | None
    notes: tuple[str, ...] = ()


def view_of(report: Report) -> View:
    """Return what formats show of `report`; all its texts are `tidied`."""
    performance, costs = report.performance, report.costs
    rows = list(_cost_rows(costs)) if costs is not None else []
    if not rows and performance is not None:
        rows = list(_performance_rows(performance))
    tree = costs.flame_graph if costs is not None else None
    if tree is None and performance is not None:
        tree = performance.flame_graph
    notes = (costs.incomplete + costs.notes) if costs else ()
    whole_ns = costs.wall_ns if costs else report.observed_ns
    facts = [(name, str(value)) for name, value in msgspec.to_builtins(report.environment).items()]
    return View(
        name=tidied(report.name),
        created_timestamp_ns=report.created_timestamp_ns,
        whole_ns=whole_ns,
        adds_up=costs is not None,
        facts=tuple((name, tidied(value)) for name, value in facts),
        rows=tuple(rows),
        tree=tidied_tree(tree) if tree is not None and tree.children else None,
        notes=tuple(map(tidied, notes or (performance.estimates if performance else ()))),
    )


def tidied(text: str) -> str:
    r"""Return `text` as every format can hold it: lone surrogates as `\udc80`, `MAX_TEXT` at most.

    What is cut ends in `…` and eight digits of its sha256, so that two names stay two.
    """
    if len(text) > MAX_TEXT:
        digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        text = f"{text[: MAX_TEXT - 9]}…{digest}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def walked(root: FlameGraphNode) -> Iterator[tuple[int, int, FlameGraphNode]]:
    """Yield (number, number of the caller or -1, node), callers first, whatever the depth."""
    waiting = [(-1, root)]
    number = 0
    while waiting:
        above, node = waiting.pop()
        yield number, above, node
        waiting += ((number, child) for child in reversed(node.children))
        number += 1


def stacks(root: FlameGraphNode) -> Iterator[tuple[tuple[str, ...], FlameGraphNode]]:
    """Yield (names from the root down to the node, node), callers first."""
    waiting: list[tuple[tuple[str, ...], FlameGraphNode]] = [((root.name,), root)]
    while waiting:
        names, node = waiting.pop()
        yield names, node
        waiting += (((*names, child.name), child) for child in reversed(node.children))


def tidied_tree(root: FlameGraphNode) -> FlameGraphNode:
    """Return the tree with all names `tidied`."""
    nodes = list(walked(root))
    children: dict[int, list[FlameGraphNode]] = {}
    for number, above, node in reversed(nodes):
        below = tuple(reversed(children.pop(number, [])))
        name = tidied(node.name)
        if name != node.name or any(a is not b for a, b in zip(below, node.children, strict=True)):
            node = msgspec.structs.replace(node, name=name, children=below)  # noqa: PLW2901
        children.setdefault(above, []).append(node)
    return children[-1][0]


def _performance_rows(report: PerformanceReport) -> Iterator[Row]:
    for metrics in report.plugins:
        yield _execution_row(metrics, report.histograms.get(metrics.plugin_id, ()))
    for hook in report.hooks:
        yield _hook_row(hook)


def _execution_row(metrics: AggregateMetrics, histogram: tuple[tuple[int, int], ...]) -> Row:
    average = metrics.average_cpu_time_ns
    return Row(
        plugin=tidied(metrics.plugin_id),
        hook="execute",
        kind="execution",
        statuses=_counted(
            success=metrics.success_count,
            error=metrics.failure_count,
            timeout=metrics.timeout_count,
            cancelled=metrics.cancelled_count,
        ),
        total_ns=metrics.total_time_ns,
        self_ns=metrics.self_time_ns,
        cpu_ns=None if average is None else round(average * metrics.execution_count),
        cpu_estimated=average is not None,
        min_ns=metrics.min_duration_ns,
        p50_ns=metrics.p50_duration_ns,
        p95_ns=metrics.p95_duration_ns,
        p99_ns=metrics.p99_duration_ns,
        max_ns=metrics.max_duration_ns,
        histogram=histogram,
    )


def _hook_row(hook: HookMetrics) -> Row:
    return Row(
        plugin=tidied(hook.plugin_id),
        hook=tidied(hook.hook),
        kind="hook",
        statuses=_counted(success=hook.call_count - hook.error_count, error=hook.error_count),
        total_ns=hook.total_time_ns,
        self_ns=hook.self_time_ns,
        max_ns=hook.max_duration_ns,
    )


def _cost_rows(costs: CostReport) -> Iterator[Row]:
    """Yield rows whose self times add up to the whole: the built-in hooks are off the rest."""
    owners = {part: plugin.name for plugin in costs.plugins for part in plugin.parts}
    for hook in costs.hooks:
        yield _hook_cost_row(hook, owners.get(hook.plugin))
    for plugin in costs.plugins:
        if plugin.import_ns:
            yield _import_row(plugin)
    built_in = sum(hook.self_ns for hook in costs.hooks if hook.plugin not in owners)
    measuring = costs.measuring.total_ns
    rest = (
        ("application", costs.application.name, costs.application.self_ns - built_in),
        ("measuring", "(measuring)", measuring),
        ("unattributed", "(unattributed)", costs.unattributed_ns),
    )
    for kind, name, self_ns in rest:
        yield Row(plugin=tidied(name), hook="", kind=kind, total_ns=self_ns, self_ns=self_ns)


def _hook_cost_row(hook: HookCost, owner: str | None) -> Row:
    return Row(
        plugin=tidied(owner or hook.plugin),
        hook=tidied(hook.hook) + (f" ({tidied(hook.style)})" if hook.style != "function" else ""),
        kind="hook" if owner else "built-in hook",
        statuses=_counted(success=hook.calls - hook.errors, error=hook.errors),
        total_ns=hook.inclusive_ns,
        self_ns=hook.self_ns,
        cpu_ns=hook.cpu_ns,
        min_ns=hook.min_ns,
        p50_ns=hook.p50_ns,
        p95_ns=hook.p95_ns,
        p99_ns=hook.p99_ns,
        max_ns=hook.max_ns,
        histogram=hook.histogram,
    )


def _import_row(plugin: PluginCost) -> Row:
    return Row(
        plugin=tidied(plugin.name),
        hook=IMPORTS,
        kind="import",
        total_ns=plugin.import_ns,
        self_ns=plugin.import_ns,
    )


def _counted(**counts: int) -> tuple[tuple[str, int], ...]:
    return tuple((status, count) for status, count in counts.items() if count > 0)
