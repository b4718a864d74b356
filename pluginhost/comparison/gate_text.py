"""A gate as report lines, 80 columns wide, and as Markdown for the summary of a CI run."""

from __future__ import annotations

from collections.abc import Iterator

from pluginhost.comparison.gate import Gate, GateRow, GateVerdict
from pluginhost.figures import count, of, short
from pluginhost.printable import fitted, printable
from pluginhost.rendering.lines import Line, paragraph, plain

_ROWS = 20
_MARKDOWN_ROWS = 50
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -,+%/()")
_STYLES = {GateVerdict.WITHIN: "good", GateVerdict.TOO_FEW: "dim", GateVerdict.FREE: "dim"}


def gate_lines(gate: Gate) -> Iterator[Line]:
    """Yield the answer, a row for each plugin (of many, the worst), notes and limits."""
    yield from paragraph(gate_summary(gate), "good" if gate.passed else "bad")
    against = f"against {of(gate.baseline_runs, 'baseline run')}; times are {_what(gate)}"
    yield ((against, "dim"),)
    if gate.rows:
        yield ()
        heading = f"{'plugin':<24}{'before':>9}{'after':>9}{'change':>8}{'budget':>10}"
        yield ((f"{heading}  verdict", "head"),)
    for row in gate.rows[:_ROWS]:
        style = "bad" if row.verdict.closes else _STYLES.get(row.verdict, "")
        cells = f"{_time(row.before_ns):>9}{_time(row.after_ns):>9}{_change(row):>8}"
        name, budget = fitted(row.plugin, 23), fitted(row.budget or "-", 9).strip()
        yield ((f"{name} ", style), (f"{cells}{budget:>10}", ""), (f"  {row.verdict}", style))
    hidden = len(gate.rows) - _ROWS
    if hidden > 0:
        yield ((f"... and {of(hidden, 'more plugin')}, all in the JSON", "dim"),)
    reasons = [row for row in gate.rows[:_ROWS] if row.reason]
    if reasons:
        yield ()
    for row in reasons:
        style = "bad" if row.verdict.closes else "dim"
        yield from paragraph(f"{printable(row.plugin, 40)}: {row.reason}", style, lead="! ")
    yield ()
    for note in gate.notes:
        yield from paragraph(note, lead="note  ")
    for limit in gate.limits:
        yield from paragraph(limit, "dim", lead="limit ")


def gate_text(gate: Gate) -> str:
    """Return the lines as plain text."""
    return plain(gate_lines(gate))


def gate_summary(gate: Gate) -> str:
    """Return the answer in one sentence, naming the culprits."""
    if gate.culprits:
        named = [f"{printable(row.plugin, 40)} ({_blame(row)})" for row in gate.culprits[:5]]
        more = len(gate.culprits) - len(named)
        return f"failed: {', '.join(named)}{f' and {more} more' if more > 0 else ''}"
    judged = sum(row.verdict is GateVerdict.WITHIN for row in gate.rows)
    if not judged:
        return "passed, but no plugin could be judged"
    return f"passed: {of(judged, 'plugin')} within budget"


def gate_markdown(gate: Gate, *, title: str = "Plugin budgets") -> str:
    """Return the gate in GitHub's Markdown; whatever plugins are called, nothing in it is obeyed."""
    mark = "✅" if gate.passed else "❌"
    runs = of(gate.baseline_runs, "baseline run")
    numbers = f"{count(gate.after.execution_count)} {_done(gate)} against"
    numbers += f" {count(gate.before.execution_count)} of {runs}"
    lines = [
        f"## {mark} {escaped(title)}",
        "",
        f"**{escaped(gate_summary(gate))}**",
        "",
        f"{escaped(gate.after.name)}: {numbers}. Times are {_what(gate)}.",
        "",
        "| | Plugin | Before | After | Change | Budget | Verdict |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for row in gate.rows[:_MARKDOWN_ROWS]:
        sign = "❌" if row.verdict.closes else "✅" if row.verdict is GateVerdict.WITHIN else "⚪"
        verdict = f"{row.verdict}: {printable(row.reason, 300)}" if row.reason else row.verdict
        times = f"{_time(row.before_ns)} | {_time(row.after_ns)} | {_change(row)}"
        budget = escaped(row.budget or "-")
        lines.append(
            f"| {sign} | {escaped(row.plugin)} | {times} | {budget} | {escaped(verdict)} |"
        )
    hidden = len(gate.rows) - _MARKDOWN_ROWS
    if hidden > 0:
        lines += ["", f"... and {of(hidden, 'more plugin')}."]
    remarks = [*gate.notes, *gate.limits]
    if remarks:
        lines += ["", *(f"- {escaped(remark)}" for remark in remarks)]
    return "\n".join(lines) + "\n"


def escaped(text: str, limit: int = 400) -> str:
    """Return foreign text for one cell of a Markdown table: what is not plain, as an entity.

    So it makes no markup, link or mention, and reads as it is.
    """
    shown = printable(text, limit)
    return "".join(c if c in _PLAIN or ord(c) > 0x2FF else f"&#{ord(c)};" for c in shown)


def _what(gate: Gate) -> str:
    return "medians of executions" if gate.measured == "execution" else "all that a plugin took"


def _done(gate: Gate) -> str:
    return "executions" if gate.measured == "execution" else "hook calls"


def _blame(row: GateRow) -> str:
    return _change(row) if row.verdict is GateVerdict.OVER and row.ratio else str(row.verdict)


def _time(ns: float | None) -> str:
    return "-" if ns is None else short(ns)


def _change(row: GateRow) -> str:
    if row.ratio is None:
        return "-"
    if row.ratio >= 10:
        return f"x{row.ratio:,.0f}" if row.ratio < 1e5 else "x>99999"
    return f"{100 * (row.ratio - 1):+.1f}%"
