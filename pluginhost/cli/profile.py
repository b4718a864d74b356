"""`pluginhost profile`: run any program on pluggy, report what its plugins cost."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from pluginhost.cli import exits
from pluginhost.cli.files import check_writable
from pluginhost.cli.options import FILE, history_option

if TYPE_CHECKING:
    from pluginhost.history.places import Place
    from pluginhost.launcher.plan import Plan
    from pluginhost.launcher.running import Outcome
    from pluginhost.rendering.lines import Line
    from pluginhost.report import Report


@click.command("profile", epilog=exits.HELP, context_settings={"allow_interspersed_args": False})
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="PROGRAM...")
@click.option(
    "-m",
    "module",
    metavar="MODULE",
    help="Run a module, as 'python -m' does; what follows are its arguments.",
)
@click.option(
    "--hooks",
    is_flag=True,
    help="Show every hook of every plugin, and time each call of the application's own, too.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=15,
    show_default=True,
    metavar="N",
    help="How many plugins to show.",
)
@click.option("--follow", is_flag=True, help="Observe child processes that run Python as well.")
@click.option(
    "--wall-only",
    is_flag=True,
    help="Read no CPU clock: a little faster, but waiting and working look alike.",
)
@click.option(
    "--verify",
    metavar="PLUGIN",
    help="Then run the program with and without this plugin, in turn, and tell what that saves."
    " These runs get no input, and what they print is discarded.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=2),
    default=10,
    show_default=True,
    metavar="N",
    help="How many pairs of runs to verify with.",
)
@click.option(
    "--output", type=FILE, metavar="FILE", help="Write the report there, not to standard error."
)
@click.option(
    "--save",
    type=FILE,
    metavar="FILE",
    help="Keep the run for 'pluginhost report' and 'pluginhost compare'.",
)
@history_option
@click.option(
    "--json", "json_file", type=FILE, metavar="FILE", help="Write the report as JSON, too."
)
@click.option(
    "--html", type=FILE, metavar="FILE", help="Write the report as a page that needs nothing else."
)
@click.option(
    "--speedscope",
    type=FILE,
    metavar="FILE",
    help="Write the flame graph for speedscope.app. For other formats, 'pluginhost export' a run"
    " that was saved.",
)
def command(
    *,
    program: tuple[str, ...],
    module: str | None,
    hooks: bool,
    top: int,
    follow: bool,
    wall_only: bool,
    verify: str | None,
    rounds: int,
    output: str | None,
    save: str | None,
    history: str | None,
    json_file: str | None,
    html: str | None,
    speedscope: str | None,
) -> None:
    """Run any program on pluggy, and report what its plugins cost.

    PROGRAM is a console script, the path of a script, or a Python interpreter, with its
    arguments. Options for pluginhost stand before it. Its input, output, signals and exit code
    are its own; the report follows on standard error when it has ended. The exit codes below are
    those of pluginhost itself, when there was no run.

    \b
    Examples:
      pluginhost profile -- pytest -q
      pluginhost profile --save today.json -- datasette --version
      pluginhost profile --verify xdist -- python -m pytest tests
    """  # noqa: D301  # click reads the escape as: keep these lines as they are
    from pluginhost.launcher.plan import plan_of
    from pluginhost.launcher.running import observed

    for file in {output, save, json_file, html, speedscope} - {None}:
        check_writable(str(file))
    place = _place(history) if history is not None else None
    words = program if module is None else ("-m", module, *program)
    if not words:
        raise click.UsageError("Missing argument 'PROGRAM...'")
    plan = plan_of(words)
    outcome = observed(plan, follow=follow, cpu=not wall_only, sparing=not hooks)
    if outcome.captures:
        report = _report_of(plan, outcome)
        try:
            _show(report, output, hooks=hooks, top=top)
            if verify is not None:
                report = _verified(
                    report, plan, outcome, plugin=verify, rounds=rounds, output=output
                )
        finally:
            if place is not None:
                report = _recorded(report, place, output)
            _write(report, save, json_file, html=html, speedscope=speedscope)
    else:
        for text in outcome.missing:
            click.echo(f"Error: {text}", err=True)
    _end_as(outcome)


def _report_of(plan: Plan, outcome: Outcome) -> Report:
    import msgspec

    from pluginhost.environment import environment
    from pluginhost.launcher.running import costs
    from pluginhost.report import Report

    program, found = outcome.captures[0], costs(plan, outcome)
    return Report(
        name=plan.name,
        created_timestamp_ns=time.time_ns(),
        observed_ns=found.wall_ns,
        environment=msgspec.structs.replace(environment(), python=program.python, pid=program.pid),
        costs=found,
    )


def _show(report: Report, output: str | None, *, hooks: bool, top: int) -> None:
    from pluginhost.rendering.costs import cost_lines

    assert report.costs is not None
    _tell(cost_lines(report.costs, hooks=hooks, top=top), output, mode="w")


def _tell(lines: Iterable[Line], output: str | None, *, mode: Literal["w", "a"]) -> None:
    """Write lines to standard error, or to a file."""
    from pluginhost.cli.console import Console

    if output is None:
        Console(sys.stderr).show(lines)
        return
    try:
        with Path(output).open(mode, encoding="utf-8") as file:
            Console(file).show(lines)
    except OSError as error:
        text = f"{output!r} cannot be written: {error.strerror}"
        raise exits.BrokenFileError(text) from error


def _verified(
    report: Report, plan: Plan, outcome: Outcome, *, plugin: str, rounds: int, output: str | None
) -> Report:
    """Return `report` with what came of running the program with and without the plugin."""
    import msgspec

    from pluginhost.cli.lines import indented
    from pluginhost.cli.progress import ProgressBar
    from pluginhost.launcher.verifying import comparable, verified
    from pluginhost.rendering.costs import verification_lines

    assert report.costs is not None
    comparison = comparable(plan, outcome, report.costs, plugin)
    click.echo(
        f"verifying {plugin}: {2 * rounds} more runs, without input, their output discarded",
        err=True,
    )
    progress = ProgressBar(sys.stderr)
    try:
        found = verified(comparison, rounds=rounds, progress=progress.update)
    finally:
        progress.close()
    _tell(verification_lines(found.verification), output, mode="a")
    for doubt in found.doubts:
        _tell(indented(doubt, "bad", margin=2, first="!"), output, mode="a")
    costs = msgspec.structs.replace(report.costs, notes=(*report.costs.notes, *found.doubts))
    return msgspec.structs.replace(report, costs=costs, verification=found.verification)


def _place(history: str) -> Place:
    """Return the history that is meant; raises before the program is run in vain."""
    from pluginhost.extras import require

    require("sqlalchemy", "alembic", extra="history")
    from pluginhost.history.places import place_of

    return place_of(history or None)


def _recorded(report: Report, place: Place, output: str | None) -> Report:
    """Put the run into the history; return it with what the history knows of its plugins."""
    from pluginhost.cli.lines import indented
    from pluginhost.errors import HistoryError
    from pluginhost.history.course import with_course
    from pluginhost.history.git import checkout_of
    from pluginhost.history.reader import History
    from pluginhost.history.recorded import record
    from pluginhost.rendering.series import course_lines

    try:
        number, _ = record(report, place, checkout=checkout_of(Path.cwd()))
        with History(place) as history:
            report = with_course(report, history)
    except HistoryError as error:
        _tell(indented(str(error), "bad", margin=2, first="!"), output, mode="a")
        return report
    _tell(course_lines(report.series), output, mode="a")
    note = f"kept as run {number} in {place.shown}"
    _tell(indented(note, "dim", margin=6, first="note"), output, mode="a")
    return report


def _write(report: Report, *files: str | None, **exported: str | None) -> None:
    """Save the report in files, and in others what their names say: html, speedscope."""
    from pluginhost.report import write_report

    for file in files:
        if file is not None:
            write_report(report, file)
    for format_name, file in exported.items():
        if file is not None:
            from pluginhost.exporters import export
            from pluginhost.saving import write_file

            write_file(export(format_name, report), file)


def _end_as(outcome: Outcome) -> None:
    """Exit with the program's code, or by the signal that ended it, so that a caller sees the same."""
    if outcome.returncode < 0:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        _end_by(-outcome.returncode)
    click.get_current_context().exit(outcome.exit_code)


def _end_by(number: int) -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the program has left a core, if wanted
    with suppress(OSError, ValueError):  # SIGKILL takes no handler
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
