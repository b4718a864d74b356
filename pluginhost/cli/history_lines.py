"""What `pluginhost history` shows, as report lines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from pluginhost.figures import compact, of, short
from pluginhost.history.records import HistoryAccount, PluginTotalsList, RunList, StoredRun
from pluginhost.printable import fitted, printable
from pluginhost.rendering.lines import WIDTH, Line, paragraph

_PLUGINS = 40


def run_list_lines(found: RunList, total: int) -> Iterator[Line]:
    """Yield a table of runs, the newest first, and under each what of it was lost."""
    yield ((printable(f"{of(total, 'run')} in {found.place}", WIDTH), "title"),)
    if not found.runs:
        return
    heading = f"{'run':>5}  {'name':<18}{'begun (UTC)':<18}{'kept':>8}{'plugins':>8}  "
    yield ((f"{heading}{'host':<10}revision", "head"),)
    for run in found.runs:
        label = run.label
        revision = (label.revision or "-")[:10]
        cells = f"{compact(run.occurrence_count):>8}{run.plugin_count:>8}  "
        yield (
            (f"{run.number:>5}  {fitted(label.name, 17)} ", ""),
            (f"{when(label.started_timestamp_ns):<18}{cells}{fitted(label.host, 9)} ", ""),
            (revision, ""),
        )
        yield from _remarks(run)


def _remarks(run: StoredRun) -> Iterator[Line]:
    if run.lost_count:
        reasons = ", ".join(f"{reason}: {n}" for reason, n in run.lost.items())
        yield from paragraph(f"lost {run.lost_count}: {reasons}", "bad", lead="       ! ")
    if run.ended_timestamp_ns is None:
        yield (("       was not ended in an orderly way, or goes on", "dim"),)


def plugin_totals_lines(found: PluginTotalsList) -> Iterator[Line]:
    """Yield a table of plugins, who took the most time first."""
    yield ((printable(f"{of(len(found.plugins), 'plugin')} in {found.place}", WIDTH), "title"),)
    heading = f"{'plugin':<21}{'runs':>5}{'hosts':>6}{'count':>8}{'failed':>7}"
    yield ((f"{heading}{'total':>9}{'median':>8}{'p99':>8}  versions", "head"),)
    for row in found.plugins[:_PLUGINS]:
        versions = row.versions[-1] if row.versions else "-"
        if len(row.versions) > 1:
            versions += f" +{len(row.versions) - 1}"
        cells = f"{row.run_count:>5}{row.host_count:>6}{compact(row.count):>8}"
        cells += f"{compact(row.error_count):>7}{short(row.total_ns):>9}"
        cells += f"{short(row.p50_ns):>8}{short(row.p99_ns):>8}"
        yield ((fitted(row.plugin, 20) + " ", ""), (f"{cells}  {fitted(versions, 6)}", ""))
    hidden = len(found.plugins) - _PLUGINS
    if hidden > 0:
        yield ((f"... and {of(hidden, 'more plugin')}, all in the JSON", "dim"),)


def account_sentence(account: HistoryAccount) -> str:
    """Return what became of everything that was to be kept."""
    text = f"history: {account.kept:,} of {account.received:,} occurrences kept in {account.place}"
    if account.lost_count:
        text += f"; lost {account.lost_count:,}: "
        text += ", ".join(f"{reason} {n:,}" for reason, n in account.lost.items())
    if account.trouble is not None:
        text += f" ({account.trouble})"
    return "; ".join((text, *account.remarks))


def when(timestamp_ns: int) -> str:
    """Return a time in minutes, in UTC."""
    try:
        return f"{datetime.fromtimestamp(timestamp_ns / 1e9, UTC):%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return "at no known time"
