"""What the plugins of any program cost: rows that add up to the whole run, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pluginhost.costs import CostReport, HookCost, ImportCost, PluginCost, Verification
from pluginhost.figures import apportioned, compact, duration, of, percent, short
from pluginhost.printable import fitted, printable, width_of
from pluginhost.rendering.flames import flames
from pluginhost.rendering.lines import (
    WIDTH,
    Line,
    Span,
    labelled,
    more,
    paragraph,
    plain,
    section,
    within_width,
)

_FINDINGS = 5
_CANDIDATES = 5
_HOOK_ROWS = 10
_IMPORT_ROWS = 5
_NOTABLE = 0.01  # of the run: nobody does anything about less
_MOSTLY = 0.5
_FIGURES = 8  # columns of a figure
_NONE: Span = (f"{'-':>{_FIGURES}}", "dim")


def cost_text(costs: CostReport) -> str:
    """Return a cost report as plain text."""
    return plain(cost_lines(costs))


def cost_lines(costs: CostReport, *, hooks: bool = False, top: int = 15) -> Iterator[Line]:
    """Yield who is to blame, rows of plugins that add up to 100 % of the run, and what to do.

    `top` plugins have rows of their own, the others one together. With `hooks`, every hook of
    every plugin has a row, else the costliest have.
    """
    return map(within_width, _costs(costs, hooks=hooks, top=top))


def detail_lines(costs: CostReport) -> Iterator[Line]:
    """Yield what is behind the rows: slow imports, the costliest hooks, who called whom."""
    return map(within_width, _details(costs, hooks=False))


def verification_lines(found: Verification) -> Iterator[Line]:
    """Yield what running without a plugin saved, how sure that is, and what was predicted."""
    return map(within_width, _verification(found))


class _Row(NamedTuple):
    """A line of the ranked table; a time of None has nothing to say in its column."""

    name: str
    self_ns: int
    import_ns: int | None = None
    hooks_ns: int | None = None
    cpu_ns: int | None = None
    calls: int | None = None
    style: str = ""


def _costs(costs: CostReport, *, hooks: bool, top: int) -> Iterator[Line]:
    yield from _title(costs)
    for text in costs.incomplete:
        yield from paragraph(f"! {text}", "bad", indent=2)
    yield from _answer(costs)
    yield ()
    yield from _table(costs, top)
    yield from _what_to_do(costs)
    yield from _details(costs, hooks=hooks)
    yield from _processes(costs)
    yield ()
    yield from _measuring(costs)
    yield from _elsewhere(costs)
    for note in costs.notes:
        yield from labelled("note", note)


def _details(costs: CostReport, *, hooks: bool) -> Iterator[Line]:
    yield from _imports(costs)
    yield from _all_hooks(costs) if hooks else _top_hooks(costs)
    if costs.flame_graph is not None and costs.flame_graph.children:
        yield from flames(costs.flame_graph)


def _title(costs: CostReport) -> Iterator[Line]:
    what = " ".join(costs.command) or costs.application.name
    ended = "" if costs.exit_code is None else f", exit code {costs.exit_code}"
    if costs.ended not in ("exit", "running"):
        ended += f" ({printable(costs.ended, 30)})"
    took = f": {duration(costs.elapsed_ns)}{ended}"
    name = printable(what)
    if width_of(name + took) > WIDTH:
        name = fitted(name, WIDTH - width_of(took))
    yield ((name + took, "title"),)


def _answer(costs: CostReport) -> Iterator[Line]:
    """Yield the costliest plugin with what to do, and the whole in its parts."""
    whole = costs.wall_ns or 1
    first = max(costs.plugins, key=lambda row: row.self_ns, default=None)
    if first is None:
        yield (("no plugin but the application's own was registered", "dim"),)
    elif first.self_ns:
        text = f"most time: {first.title}, {duration(first.self_ns)}, {percent(first.share)}"
        yield from paragraph(text, "title", indent=2)
        yield from paragraph(_advice(first, whole), lead="  -> ")
    hooks_ns = sum(row.hooks_self_ns for row in costs.plugins)
    parts = (
        (costs.application.self_ns, f"{printable(costs.application.name, 30)} itself"),
        (hooks_ns, "hooks of plugins"),
        (sum(row.import_ns for row in costs.plugins), "their imports"),
        (costs.measuring.total_ns, "measuring"),
        (costs.unattributed_ns, "unattributed"),
    )
    said = [f"{percent(ns / whole)} {what}" for ns, what in parts]
    yield from paragraph(f"all: {', '.join(said)}", indent=2)


def _advice(row: PluginCost, whole: int) -> str:
    """Return what to do about a plugin, and what that would save."""
    if row.remedy is None:
        return "it is of your own: see below what takes its time"
    if not row.saving_ns:
        return f"without it alone nothing would be saved{_kept(row)}"
    saving = f"{duration(row.saving_ns)}, {percent(row.saving_ns / whole)}"
    how = row.remedy.replace("leave out", "leaving out", 1)
    return f"{how} would save {saving} (predicted)"


def _table(costs: CostReport, top: int) -> Iterator[Line]:
    """Yield a row for each plugin, and rows for all else, which together are 100 %."""
    rows = [_row_of(row.title, (row,)) for row in costs.plugins[:top]]
    rest = costs.plugins[top:]
    if rest:
        rows.append(_row_of(f"({of(len(rest), 'more plugin')})", rest))
    own = costs.application
    kept = printable(own.name, 22)
    rows += [
        _Row(f"({kept} itself)", own.self_ns, own.import_ns, None, own.cpu_ns),
        _Row("(measuring)", costs.measuring.total_ns),
        _Row("(unattributed)", costs.unattributed_ns),
    ]
    shares = apportioned([row.self_ns for row in rows], 1000)
    whole = _Row("the whole run", costs.wall_ns, cpu_ns=costs.main_cpu_ns, style="title")
    name_width = min(
        WIDTH - 5 * _FIGURES - 7, max(width_of(row.name) for row in (*rows, whole)) + 1
    )
    headings = ("import", "hooks", "self", "CPU", "calls")
    yield (
        (
            f"{'plugin':<{name_width}}{''.join(f'{h:>{_FIGURES}}' for h in headings)}{'%':>7}",
            "head",
        ),
    )
    for row, share in zip((*rows, whole), (*shares, sum(shares)), strict=True):
        cells = (row.import_ns, row.hooks_ns, row.self_ns, row.cpu_ns)
        yield (
            (fitted(row.name, name_width - 1) + " ", row.style),
            *(_figure(ns) for ns in cells),
            _NONE if row.calls is None else (f"{compact(row.calls):>{_FIGURES}}", ""),
            (f"{share / 10:>7.1f}", row.style),
        )


def _row_of(name: str, plugins: Sequence[PluginCost]) -> _Row:
    cpu = [row.cpu_ns for row in plugins if row.cpu_ns is not None]
    return _Row(
        name,
        sum(row.self_ns for row in plugins),
        sum(row.import_ns for row in plugins),
        sum(row.hooks_inclusive_ns for row in plugins),
        sum(cpu) if cpu else None,
        sum(row.calls for row in plugins),
    )


def _figure(ns: int | None) -> Span:
    return _NONE if ns is None else (f"{short(ns) if ns else '0':>{_FIGURES}}", "")


def _what_to_do(costs: CostReport) -> Iterator[Line]:
    """Yield the plugins that cost most with what running without them would save, and how."""
    whole = costs.wall_ns or 1
    unwanted = {found.plugin for found in costs.candidates}
    found = [row for row in costs.plugins if row.name not in unwanted]
    found = [row for row in found if max(row.saving_ns or 0, row.self_ns) >= _NOTABLE * whole]
    found.sort(key=lambda row: (-(row.saving_ns or 0), -row.self_ns))
    if found:
        yield from section("What leaving a plugin out would save (predicted), and how")
    for row in found[:_FINDINGS]:
        yield from _finding(row, whole)
    yield from more(len(found) - _FINDINGS, "plugin")
    if costs.candidates:
        yield from section("Nobody seems to have chosen these, nor to miss them")
    for each in sorted(costs.candidates, key=lambda each: -(each.saving_ns or 0))[:_CANDIDATES]:
        saving = "" if each.saving_ns is None else f", saves {duration(each.saving_ns)}"
        yield from paragraph(f"{printable(each.plugin, 40)}: {each.reason}", lead="  ")
        yield from paragraph(f"{each.remedy}{saving}", lead="    -> ")
    yield from more(len(costs.candidates) - _CANDIDATES, "plugin")


def _finding(row: PluginCost, whole: int) -> Iterator[Line]:
    saving_ns = row.saving_ns or 0
    how = row.remedy or "of your own: see its hooks"
    if row.remedy is not None and saving_ns < _NOTABLE * whole:
        how = "little: others need its imports"
    saved = ("-", "-") if row.remedy is None else (short(saving_ns), percent(saving_ns / whole))
    text = f"  {fitted(printable(row.name), 25)}{saved[0]:>9}{saved[1]:>9}  "
    if width_of(text) + width_of(printable(how)) <= WIDTH:
        yield ((text + printable(how), ""),)
    else:
        yield ((text.rstrip(), ""),)
        yield from paragraph(how, lead="    -> ")
    stays_ns = row.import_ns - (row.import_saved_ns or 0)
    if stays_ns >= _NOTABLE * whole:
        text = f"{duration(stays_ns)} of its imports would stay{_kept(row)}"
        yield from paragraph(text, "dim", lead="    ")
    if row.cpu_ns is not None and row.self_ns - row.cpu_ns > _MOSTLY * row.self_ns:
        waiting = duration(row.self_ns - row.cpu_ns)
        yield from paragraph(f"waits: {waiting} of its time is no CPU time", lead="    ")


def _kept(row: PluginCost) -> str:
    kept = max(
        (each for each in row.imports if each.kept_by not in (None, each.module)),
        key=lambda each: each.self_ns,
        default=None,
    )
    return f": {kept.module}, for {kept.kept_by}" if kept is not None else ""


def _imports(costs: CostReport) -> Iterator[Line]:
    """Yield the longest imports, each plugin's own longest."""
    longest = [
        (row, max(row.imports, key=lambda each: each.inclusive_ns))
        for row in costs.plugins
        if row.imports
    ]
    whole = costs.wall_ns or 1
    slow = [pair for pair in longest if pair[1].inclusive_ns >= _NOTABLE * whole]
    slow.sort(key=lambda pair: -pair[1].inclusive_ns)
    if slow:
        yield from section(f"{'Slow imports':<46}{'with all below':>16}{'self':>9}")
    for row, each in slow[:_IMPORT_ROWS]:
        name = fitted(f"{printable(row.name, 40)}: {printable(each.module)}", 45) + " "
        yield ((f"{name}{short(each.inclusive_ns):>16}{short(each.self_ns):>9}", ""),)
        yield from _below(row, each)
    yield from more(len(slow) - _IMPORT_ROWS, "plugin")


def _below(row: PluginCost, top: ImportCost) -> Iterator[Line]:
    """Yield which module itself took longest, where that is another than the one at the top."""
    most = max(row.imports, key=lambda each: each.self_ns)
    if most is not top and most.self_ns > top.self_ns:
        kept = f", needed by {printable(most.kept_by, 30)} as well" if most.kept_by else ""
        text = f"most in {printable(most.module, 40)}: {short(most.self_ns)} itself{kept}"
        yield ((f"  {text}", "dim"),)


def _top_hooks(costs: CostReport) -> Iterator[Line]:
    built_in = _built_in(costs)
    rows = [row for row in costs.hooks if row.self_ns > 0 and not built_in(row)]
    if rows:
        yield from _hook_heading("Hooks of plugins")
    for row in rows[:_HOOK_ROWS]:
        yield from _hook(row, f"{printable(row.plugin)}:{printable(row.hook)}")
    if len(rows) > _HOOK_ROWS:
        yield ((f"... and {of(len(rows) - _HOOK_ROWS, 'more hook')}: --hooks, or the JSON", "dim"),)


def _all_hooks(costs: CostReport) -> Iterator[Line]:
    """Yield every hook of every plugin, plugins in the order of the table."""
    yield from _hook_heading("Hooks, by plugin")
    built_in = _built_in(costs)
    own = f"{costs.application.name} itself"
    groups = [
        (row.title, [h for h in costs.hooks if h.plugin in row.parts]) for row in costs.plugins
    ]
    for name, rows in (*groups, (own, [h for h in costs.hooks if built_in(h)])):
        if rows:
            yield ((printable(name, WIDTH), "title"),)
            yield from _parts(rows)


def _parts(rows: Sequence[HookCost]) -> Iterator[Line]:
    """Yield the hooks of what one distribution registered, part by part."""
    parts = dict.fromkeys(row.plugin for row in rows)
    for part in parts:
        mine = [row for row in rows if row.plugin == part]
        if len(parts) > 1:
            yield ((f"  {printable(part, 60)}", "head"),)
        for row in mine:
            if row.calls:
                yield from _hook(row, f"  {printable(row.hook)}")
        idle = [printable(row.hook, 60) for row in mine if not row.calls]
        if idle:
            yield from paragraph(f"never called: {', '.join(idle)}", "dim", lead="  ")


def _built_in(costs: CostReport) -> Callable[[HookCost], bool]:
    others = {part for row in costs.plugins for part in row.parts}
    return lambda row: row.plugin not in others


def _hook_heading(what: str) -> Iterator[Line]:
    yield from section(
        f"{what:<34}{'calls':>7}{'self':>8}{'CPU':>8}{'total':>8}{'max':>8}{'None':>7}"
    )


def _hook(row: HookCost, name: str) -> Iterator[Line]:
    """Yield a hook's figures; below them what only some hooks have."""
    none = f"{100 * row.returned_none / row.calls:.0f} %" if row.calls else "-"
    yield (
        (fitted(name, 33) + " ", ""),
        (f"{compact(row.calls):>7}", ""),
        *(_figure(ns) for ns in (row.self_ns, row.cpu_ns, row.inclusive_ns, row.max_ns)),
        (f"{none if row.style == 'function' else 'wraps':>7}", "dim"),
    )
    said = []
    if row.before_yield_ns and row.after_yield_ns:
        before, after = short(row.before_yield_ns), short(row.after_yield_ns)
        said.append(f"{before} before its yield, {after} after")
    if row.awaited_count:
        since = short(row.awaiting_ns)
        said.append(f"{of(row.awaited_count, 'result')} awaited, {since} first to last step")
    if row.untimed:
        said.append(f"estimated: {of(row.calls - row.untimed, 'call')} timed")
    if said:
        yield ((f"    {'; '.join(said)}", "dim"),)
    if row.errors:
        yield ((f"    raised {of(row.errors, 'error')}", "bad"),)


def _processes(costs: CostReport) -> Iterator[Line]:
    if len(costs.processes) < 2:
        return
    yield from section(f"{len(costs.processes)} processes, added up above")
    for each in costs.processes[:_HOOK_ROWS]:
        what = fitted(" ".join(each.arguments) or "python", 46)
        yield ((f"{each.pid:>9} {what} {short(each.wall_ns):>9}  {printable(each.ended, 12)}", ""),)
    yield from more(len(costs.processes) - _HOOK_ROWS, "process")


def _measuring(costs: CostReport) -> Iterator[Line]:
    cost = costs.measuring
    text = f"measuring cost {duration(cost.total_ns)}: setting up {duration(cost.setup_ns)},"
    text += f" processing {duration(cost.processing_ns)}; estimated, and taken off the rows:"
    text += f" {of(cost.records, 'record')} {duration(cost.recording_ns)}"
    yield from paragraph(text, indent=2)
    cpu = f"CPU of the process {duration(costs.cpu_ns)}"
    yield from paragraph(f"{cpu}; what is left of self without CPU is waiting", indent=2)


def _elsewhere(costs: CostReport) -> Iterator[Line]:
    """Yield what other threads did, which is part of no row."""
    rows = [row for row in costs.plugins if row.other_threads_ns]
    if rows:
        rows.sort(key=lambda row: -row.other_threads_ns)
        named = [f"{printable(r.name, 30)} {duration(r.other_threads_ns)}" for r in rows[:3]]
        yield from paragraph(f"in other threads, not in the rows: {', '.join(named)}", indent=2)


def _verification(found: Verification) -> Iterator[Line]:
    pairs = of(len(found.with_ns), "pair")
    yield from section(f"Verified: {printable(found.plugin, 40)}, {pairs} of runs with and without")
    yield from paragraph(f"without it by: {found.method}", "dim", lead="  ")
    sure = f"{found.confidence:.0%} interval {_signed(found.low_ns)} to {_signed(found.high_ns)}"
    yield ((f"  saved      {_signed(found.saved_ns)} (median; {sure})", ""),)
    if found.predicted_ns is None:
        yield (("  predicted  nothing: what its imports would save is not known", "dim"),)
        return
    verdict, style = {
        True: (_agreeing(found), "good"),
        False: ("not what was saved", "bad"),
        None: ("too few pairs to tell", "dim"),
    }[found.agrees]
    yield ((f"  predicted  {_signed(found.predicted_ns)}: ", ""), (verdict, style))


def _agreeing(found: Verification) -> str:
    """Return in which of two ways a prediction agrees with what was saved."""
    near = abs((found.predicted_ns or 0) - found.saved_ns) <= abs(found.saved_ns) / 4
    return "within a quarter of it" if near else "within the noise of these runs"


def _signed(ns: float) -> str:
    return duration(ns) if ns >= 0 else f"-{duration(-ns)}"
