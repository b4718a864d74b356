"""`pluginhost run`: load plugins, let them work on files, report what each one costs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pluginhost.cli import exits
from pluginhost.cli.files import check_writable, files_of
from pluginhost.cli.options import (
    FILE,
    complete_plugin,
    history_option,
    host_of,
    only_of,
    share,
    source_option,
    trust_options,
)

if TYPE_CHECKING:
    from pluginhost.cli.rounds import Outcome, Plan
    from pluginhost.host.host import PluginHost
    from pluginhost.inside import Inside
    from pluginhost.report import Report


@click.command("run", epilog=exits.HELP)
@click.argument("plugins", nargs=-1, metavar="[PLUGIN]...", shell_complete=complete_plugin)
@source_option
@trust_options
@click.option(
    "--input",
    "-i",
    "inputs",
    multiple=True,
    metavar="PATH",
    type=click.Path(exists=True, path_type=Path),
    help="A file to execute each plugin on, given to it as a pathlib.Path; may be repeated. A"
    " folder stands for the files in it that are not hidden. Without any, plugins get None.",
)
@click.option(
    "--repeat",
    "-n",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="How often to execute each plugin on each input. The plugins take turns.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up on an execution after so long, and count it as failed.",
)
@click.option(
    "--sampling-rate",
    type=share,
    default="100%",
    show_default=True,
    metavar="SHARE",
    help="Of how many executions to read CPU and memory; counts and durations are always exact.",
)
@click.option(
    "--cost-budget",
    type=share,
    default="5%",
    show_default=True,
    metavar="SHARE",
    help="Sample less where measuring would cost more than this share of the run time.",
)
@click.option(
    "--inside",
    metavar="PLUGIN[=KIND]",
    help="Look into this plugin with a sampling profiler: KIND is time, the default, or memory."
    " With '*' and --inside-over, into the first that takes too long.",
)
@click.option(
    "--inside-over",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Look into it only after an execution that took longer.",
)
@click.option(
    "--save",
    type=FILE,
    metavar="FILE",
    help="Keep the run for 'pluginhost report' and 'pluginhost compare'.",
)
@history_option
@click.option("--anomalies", is_flag=True, help="Tell what is not as it was earlier in this run.")
@click.option(
    "--json",
    "json_file",
    type=FILE,
    metavar="FILE",
    help="Write the report as JSON, too; with '-', to standard output in place of the text.",
)
@click.option(
    "--html", type=FILE, metavar="FILE", help="Write the report as a page that needs nothing else."
)
@click.option(
    "--fail-on-error",
    is_flag=True,
    help="Exit with 1 when an execution has failed or a plugin was not loaded.",
)
def command(
    *,
    plugins: tuple[str, ...],
    sources: tuple[str, ...],
    lock: str | None,
    safe_mode: bool,
    inputs: tuple[Path, ...],
    repeat: int,
    deadline: float | None,
    sampling_rate: float,
    cost_budget: float | None,
    inside: str | None,
    inside_over: float | None,
    save: str | None,
    history: str | None,
    anomalies: bool,
    json_file: str | None,
    html: str | None,
    fail_on_error: bool,
) -> None:
    """Load plugins, run them, and report what each one costs.

    Without PLUGIN, all that the sources have are run. A plugin that fails is counted, not fatal.
    Ctrl-C ends the run early and still reports what was measured.
    What plugins print goes to standard error.

    \b
    Examples:
      pluginhost run --input README.md --repeat 100
      pluginhost run words checksum --source ./plugins --input ./texts
      pluginhost run --input data.csv --repeat 500 --save today.json
    """  # noqa: D301  # click reads the escape as: keep these lines as they are
    from pluginhost.cli.rounds import Plan

    for file in {save, json_file, html} - {None, "-"}:
        check_writable(str(file))
    plan = Plan(
        plugin_ids=tuple(dict.fromkeys(plugins)),
        payloads=files_of(inputs) if inputs else (None,),
        repeat=repeat,
        deadline=_checked_deadline(deadline),
        sampling_rate=sampling_rate,
        cost_budget=cost_budget,
        inside=_inside(inside, inside_over),
        history=history,
        anomalies=anomalies,
    )
    host = host_of(sources, only=only_of(plugins, safe_mode=safe_mode), lock=lock)
    outcome = _measured(host, plan)
    where = ", ".join(sources)
    try:  # first of all, what is to be kept is kept
        _write(outcome.report, save, None if json_file == "-" else json_file, html=html)
    finally:
        _show(outcome, where, as_json=json_file == "-")
    code = _verdict(outcome, where, plan.plugin_ids, fail_on_error=fail_on_error)
    click.get_current_context().exit(code)


def _measured(host: PluginHost, plan: Plan) -> Outcome:
    from pluginhost.cli.progress import ProgressBar
    from pluginhost.cli.rounds import measure

    progress = ProgressBar(sys.stderr)
    try:
        return measure(host, plan, progress.update)
    finally:
        progress.close()


def _inside(text: str | None, over_s: float | None) -> Inside | None:
    """Return what `--inside` and `--inside-over` say."""
    if text is None:
        if over_s is not None:
            raise click.UsageError("--inside-over says when to look, --inside into what: name it")
        return None
    from pluginhost.inside import Inside, Kind

    plugin_id, equals, kind = text.rpartition("=")
    if not equals:
        plugin_id, kind = text, "time"
    if kind not in list(Kind):
        raise click.BadParameter(
            f"{kind!r} is no kind of profile; write PLUGIN=time or PLUGIN=memory",
            param_hint="--inside",
        )
    return Inside(plugin_id, kind=kind, over_s=over_s)


def _checked_deadline(deadline: float | None) -> float | None:
    if deadline is not None:
        from pluginhost.seconds import ns_of_seconds

        ns_of_seconds(deadline, "the deadline")  # raises, before anything has run in vain
    return deadline


def _show(outcome: Outcome, where: str, *, as_json: bool) -> None:
    from pluginhost.cli.console import Console
    from pluginhost.cli.lines import broken_lines, indented, nothing_found_lines, run_lines

    stderr = Console(sys.stderr)
    if as_json:
        from pluginhost.report import encode

        Console().data(encode(outcome.report))
        stderr.show(broken_lines(outcome.report.plugins))
    elif outcome.report.plugins:
        Console().show(run_lines(outcome.report))
    else:
        stderr.show(nothing_found_lines(where))
    for note in _notes(outcome):
        stderr.show(indented(note, "dim", margin=6, first="note"))


def _notes(outcome: Outcome) -> Iterator[str]:
    if outcome.idle:
        yield f"loaded, but with nothing to execute: {', '.join(outcome.idle)}"
    for text in outcome.left_behind:
        yield f"when it was unloaded, a plugin raised {text}"
    if outcome.history is not None:
        from pluginhost.cli.history_lines import account_sentence

        yield account_sentence(outcome.history)
    if outcome.interrupted:
        yield f"interrupted after {outcome.done:,} of {outcome.total:,} executions"


def _write(report: Report, *files: str | None, html: str | None) -> None:
    from pluginhost.report import write_report

    for file in files:
        if file is not None:
            write_report(report, file)
    if html is not None:
        from pluginhost.exporters import export
        from pluginhost.saving import write_file

        write_file(export("html", report), html)


def _verdict(outcome: Outcome, where: str, wanted: tuple[str, ...], *, fail_on_error: bool) -> int:
    """Return the exit code; say on standard error why it is not 0."""
    from pluginhost.cli.lines import broken
    from pluginhost.printable import printable

    if outcome.interrupted:
        return exits.INTERRUPTED
    if not outcome.done:
        click.echo(f"Error: nothing was run from {printable(where)}", err=True)
        return exits.NO
    if not fail_on_error or outcome.report.performance is None:
        return 0
    rows = outcome.report.performance.plugins
    culprits = [
        f"{row.plugin_id} ({row.execution_count - row.success_count} of {row.execution_count})"
        for row in rows
        if row.failure_count + row.timeout_count
    ]
    culprits += [
        f"{info.id} ({info.state})"
        for info in broken(outcome.report.plugins)
        if not wanted or info.id in wanted
    ]
    if culprits:
        click.echo(f"Error: failed: {printable(', '.join(culprits), 1000)}", err=True)
    return exits.NO if culprits else 0
