"""A comparison as report lines, 80 columns wide; the last line is the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from pluginhost.cli.lines import indented
from pluginhost.comparison import (
    Comparison,
    CostChange,
    ErrorChange,
    PluginChange,
    Run,
    Timing,
    Verdict,
)
from pluginhost.figures import count, duration, of, percent, short
from pluginhost.printable import fitted, printable
from pluginhost.rendering.lines import Line

_PLUGINS = 15
_STYLES = {Verdict.SLOWER: "bad", Verdict.FASTER: "good", Verdict.TOO_FEW: "dim"}


def comparison_lines(comparison: Comparison, before_name: str, after_name: str) -> Iterator[Line]:
    """Yield both runs, a row for each plugin, what else changed, notes, limits, and the answer.

    Of the many hooks of a program those have a row that changed.
    """
    what = "hooks" if comparison.costs else "plugins"
    yield ((f"Comparison of {count(len(comparison.changes))} {what}", "title"),)
    yield from indented(_run(comparison.before, before_name, what), margin=8, first="before")
    yield from indented(_run(comparison.after, after_name, what), margin=8, first="after")
    yield from _costs(comparison.costs)
    rows = comparison.changes
    if comparison.costs:
        rows = tuple(row for row in rows if row.is_regression or row.verdict is Verdict.FASTER)
    if rows:
        yield ()
        heading = f"{what[:-1]:<20}{'before':>8}{'after':>9}{'change':>8}{'95 % interval':>16}"
        yield ((f"{heading}{'p':>7}  verdict", "head"),)
    for change in rows:
        yield _row(change)
    if len(rows) < len(comparison.changes):
        rest = len(comparison.changes) - len(rows)
        yield ((f"{of(rest, 'other hook')}: no change, or too few calls to tell", "dim"),)
    yield from _details(comparison)
    yield ()
    for note in comparison.notes:
        yield from indented(note, margin=6, first="note")
    for limit in comparison.limits:
        yield from indented(limit, "dim", margin=6, first="limit")
    yield ()
    found = bool(comparison.regressions)
    yield from indented(summary(comparison), "bad" if found else "good", margin=0)


def _costs(changes: Sequence[CostChange]) -> Iterator[Line]:
    """Yield what the plugins of a program cost in all, the largest changes first."""
    if not changes:
        return
    yield ()
    heading = (
        f"{'plugin, in all (one run each: no test)':<40}{'before':>9}{'after':>9}{'change':>10}"
    )
    yield ((f"{heading}{'import':>10}", "head"),)
    for change in changes[:_PLUGINS]:
        version = change.version_after
        if change.version_before != change.version_after:
            version = f"{change.version_before or '-'} -> {change.version_after or '-'}"
        name = f"{printable(change.plugin)} {printable(version)}" if version else change.plugin
        imports_ns = (change.import_after_ns or 0) - (change.import_before_ns or 0)
        cells = f"{_in_all(change.self_before_ns):>9}{_in_all(change.self_after_ns):>9}"
        cells += f"{_signed(change.change_ns):>10}{_signed(imports_ns):>10}"
        yield ((fitted(name, 39) + " " + cells, ""),)
    if len(changes) > _PLUGINS:
        yield ((f"... and {of(len(changes) - _PLUGINS, 'more plugin')}, all in the JSON", "dim"),)


def _in_all(ns: int | None) -> str:
    return "-" if ns is None else short(ns)


def _signed(ns: int) -> str:
    return f"{'-' if ns < 0 else '+'}{short(abs(ns))}"


def summary(comparison: Comparison) -> str:
    """Return the answer in one line, naming the culprits."""
    found = comparison.regressions
    compared = sum(change.ratio is not None for change in comparison.changes)
    what = "hook" if comparison.costs else "plugin"
    done = "calls" if comparison.costs else "executions"
    if found:
        return f"worse: {', '.join(_blame(change) for change in found)}"
    if not compared:
        return f"no {what} could be compared: 10 or more {done} in both runs are needed"
    effect = percent(comparison.min_effect)
    return (
        f"no {what} of {count(compared)} compared is slower by {effect} or more,"
        " as far as can be told"
    )


def _blame(change: PluginChange) -> str:
    what = []
    if change.verdict is Verdict.SLOWER and change.ratio:
        what.append(_by(change.ratio))
    if change.errors is ErrorChange.MORE:
        what.append("fails more often")
    if change.reason is not None:
        what.append("not loaded")
    return f"{printable(change.plugin_id, 40)} ({', '.join(what)})"


def _run(run: Run, file: str, what: str) -> str:
    done = "call" if what == "hooks" else "execution"
    executions = f"{count(run.execution_count)} {done}s of {count(run.plugin_count)} {what}"
    return f"{_when(run.created_timestamp_ns)}, {executions}, {file}"


def _when(timestamp_ns: int) -> str:
    try:
        return f"{datetime.fromtimestamp(timestamp_ns / 1e9, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):  # whatever stands in a file
        return "at no known time"


def _row(change: PluginChange) -> Line:
    style = _STYLES.get(change.verdict, "")
    tested = change.ratio is not None and change.p_value is not None
    interval = p_value = by = "-"
    if tested:
        by = _by(change.ratio or 1.0)
        interval = f"{_by(change.ratio_low or 1.0)} .. {_by(change.ratio_high or 1.0)}"
        p_value = _p(change.p_value or 0.0)
    return (
        (fitted(change.plugin_id, 19) + " ", style),
        (f"{_median(change.before):>8}{_median(change.after):>9}", ""),
        (f"{by:>8}", style),
        (f"{interval:>16}{p_value:>7}", ""),
        (f"  {change.verdict}", style),
    )


def _median(timing: Timing | None) -> str:
    return "-" if timing is None else duration(timing.median_ns).replace(" ", "")


def _by(ratio: float) -> str:
    """Return a ratio as a change in percent, a very large one as a factor."""
    if ratio >= 10:
        return f"x{ratio:,.0f}" if ratio < 1e5 else f"x{ratio:.0e}"
    change = 100 * (ratio - 1)
    return f"{change:+.1f}%" if abs(change) < 9.95 else f"{change:+.0f}%"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _details(comparison: Comparison) -> Iterator[Line]:
    """Yield what the table has no column for: error rates, reasons, what would be needed."""
    lines: list[Line] = []
    for change in comparison.changes:
        name = printable(change.plugin_id, 40)
        if change.reason is not None:
            lines += indented(f"{name} was not loaded: {change.reason}", "bad", margin=2, first="!")
        if change.errors is not ErrorChange.SAME and change.before and change.after:
            rates = f"{percent(change.before.error_rate)} -> {percent(change.after.error_rate)}"
            worse = change.errors is ErrorChange.MORE
            text = (
                f"{name} fails {'more' if worse else 'less'} often: {rates} of executions"
                f" (p {_p(change.errors_p_value or 0.0)}); its times mix failures and successes"
            )
            lines += indented(text, "bad" if worse else "good", margin=2, first="!")
    if lines:
        yield ()
        yield from lines
