"""`pluginhost gate`: fail a build when a plugin is over its budget."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pluginhost.cli import exits
from pluginhost.cli.options import FILE

if TYPE_CHECKING:
    from pluginhost.comparison import Gate
    from pluginhost.report import Report

_SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


@click.command("gate", epilog=exits.HELP)
@click.argument("run", default="", type=click.Path())
@click.option(
    "--baseline",
    required=True,
    multiple=True,
    metavar="REF",
    help="What to judge against: a saved run, or one in the history: last, last:5, branch:NAME,"
    " branch:NAME:5, revision:HEX, or a run's number. May be repeated, the oldest first: with three"
    " or more, a plugin must be slower than in each of them.",
)
@click.option(
    "--history",
    metavar="URL",
    help="The history that REF is of.  [default: PLUGINHOST_HISTORY, else a file in your data"
    " folder]",
)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    metavar="[PLUGIN=]AMOUNT",
    help="By how much a plugin may get slower (PLUGIN=10%), or what it may take (PLUGIN=20ms);"
    " without PLUGIN, all that have none of their own. May be repeated.  [default: 10%]",
)
@click.option(
    "--alpha",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    metavar="P",
    help="How likely a plugin may be blamed by chance, over all plugins together.",
)
@click.option(
    "--min-difference",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="The smallest difference that counts.  [default: 0.000001 for executions, 0.001 for"
    " programs]",
)
@click.option("--relative", is_flag=True, help="Judge against what most plugins have in common.")
@click.option(
    "--summary",
    "summaries",
    multiple=True,
    type=FILE,
    metavar="FILE",
    help="Append the answer as Markdown; with 'github', to the summary of the GitHub step.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def command(
    *,
    run: str,
    baseline: tuple[str, ...],
    history: str | None,
    budgets: tuple[str, ...],
    alpha: float,
    min_difference: float | None,
    relative: bool,
    summaries: tuple[str, ...],
    as_json: bool,
) -> None:
    """Fail when a plugin is over its budget, for continuous integration.

    RUN is what '--save FILE' of 'pluginhost run' or 'pluginhost profile' has written, or a run in
    the history, by default the latest, which is never its own baseline. Exits with 1
    when a plugin is over its budget, fails more often, or cannot be loaded any more. Of a host's
    run, the median execution counts, and noise is told from change as in 'pluginhost compare'; of a
    program's, all that a plugin took.

    \b
    Examples:
      pluginhost gate now.json --baseline main.json --budget 10%
      pluginhost gate now.json --baseline main.json --budget words=5% --budget 20%
    """  # noqa: D301  # click reads the escape as: keep these lines as they are
    from pluginhost.cli.console import Console
    from pluginhost.comparison import DEFAULT_BUDGETS, budget_of, gate_lines, gate_summary, judge
    from pluginhost.report import encode
    from pluginhost.seconds import ns_of_seconds

    chosen = tuple(map(budget_of, budgets)) or DEFAULT_BUDGETS
    files = [_summary_file(name) for name in summaries]
    least_ns = None
    if min_difference is not None:
        least_ns = ns_of_seconds(min_difference, "the minimum difference")
    current, runs = _chosen(run or "last", baseline, history)
    gate = judge(
        runs,
        current,
        chosen,
        alpha=alpha,
        min_difference_ns=least_ns,
        relative=relative,
    )
    for file in files:
        _append(gate, file)
    if as_json:
        Console().data(encode(gate))
    else:
        Console().show(gate_lines(gate))
    if not gate.passed:
        if as_json:
            click.echo(gate_summary(gate), err=True)
        click.get_current_context().exit(exits.NO)


def _chosen(run: str, baseline: Sequence[str], history: str | None) -> tuple[Report, list[Report]]:
    """Return the run to judge, and those to judge it against: files, or runs in the history.

    What looks like a path is one, and is missed where it is not there.
    """
    from pluginhost.report import read_report

    files = {name: read_report(name) for name in (run, *baseline) if _is_path(name)}
    if len(files) == len({run, *baseline}):
        return files[run], [files[name] for name in baseline]
    from pluginhost.extras import require

    require("sqlalchemy", "alembic", extra="history")
    from pluginhost.history.reader import History
    from pluginhost.history.reports import report_of_run

    with History(history) as kept:
        number = None
        current = files.get(run)
        if current is None:
            found = kept.resolve(run)[-1]
            current, number = report_of_run(kept, found), found.number
        runs = []
        for name in baseline:
            if name in files:
                runs.append(files[name])
            else:
                before = kept.resolve(name, name=current.name, but=number)
                runs += [report_of_run(kept, one) for one in before]
        return current, runs


def _is_path(name: str) -> bool:
    return Path(name).is_file() or name.endswith(".json") or os.sep in name.partition(":")[0]


def _summary_file(name: str) -> str:
    if name != "github":
        return name
    found = os.environ.get(_SUMMARY_VARIABLE)
    if not found:
        raise click.UsageError(f"--summary github: {_SUMMARY_VARIABLE} is not set, name a file")
    return found


def _append(gate: Gate, file: str) -> None:
    from pluginhost.comparison import gate_markdown

    try:
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(gate_markdown(gate))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise exits.BrokenFileError(f"{file!r} cannot be written: {reason}") from error
