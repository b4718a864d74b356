"""`pluginhost bisect`: which plugin, or which together, make a program fail or slow?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from pluginhost.cli import exits

if TYPE_CHECKING:
    from pluginhost.launcher.bisecting import Finding
    from pluginhost.rendering.lines import Line


@click.command("bisect", epilog=exits.HELP, context_settings={"allow_interspersed_args": False})
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="PROGRAM...")
@click.option(
    "-m",
    "module",
    metavar="MODULE",
    help="Run a module, as 'python -m' does; what follows are its arguments.",
)
@click.option("--slow", is_flag=True, help="Look for what makes it slow, not for what fails.")
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    metavar="N",
    help="How often to run it with all plugins (with --slow: with all, and with none) before"
    " looking.  [default: 3; with --slow, 6]",
)
def command(
    *, program: tuple[str, ...], module: str | None, slow: bool, repeat: int | None
) -> None:
    """Find the plugin, or the pair, that makes a program fail or slow.

    PROGRAM is as in 'pluginhost profile'. It is run once as it is, and then without input and output
    again and again, with some of its plugins left out: with '-p no:NAME' for pytest, else blocked in
    the plugin manager. Trouble is the exit code of the first run or, with --slow, time. Exits with 1
    when nothing is found.

    \b
    Examples:
      pluginhost bisect -- pytest -x tests
      pluginhost bisect --slow -- datasette --version
    """  # noqa: D301  # click reads the escape as: keep these lines as they are
    from pluginhost.cli.console import Console
    from pluginhost.errors import LaunchError
    from pluginhost.launcher.bisecting import (
        FailureJudge,
        Judge,
        Runs,
        SlownessJudge,
        bisected,
        suspects_of,
    )
    from pluginhost.launcher.plan import plan_of
    from pluginhost.launcher.running import observed

    words = program if module is None else ("-m", module, *program)
    if not words:
        raise click.UsageError("Missing argument 'PROGRAM...'")
    plan = plan_of(words)
    outcome = observed(plan, cpu=False)
    if not outcome.captures:
        raise LaunchError(
            "; ".join(outcome.missing), remedy="it must end by itself, and use pluggy"
        )
    if not slow and outcome.exit_code == 0:
        raise LaunchError("it did not fail", remedy="look for what makes it slow with --slow")
    runs, suspects = Runs(plan), suspects_of(plan, outcome)
    judge: Judge = (
        SlownessJudge(runs, suspects, repeat=repeat or 6)
        if slow
        else FailureJudge(runs, suspects, outcome.exit_code, repeat=repeat or 3)
    )
    try:
        found = bisected(suspects, judge, runs, lambda text: click.echo(f"  {text}", err=True))
    except LaunchError as error:
        raise click.ClickException(str(error)) from error  # nothing is to be found: exit code 1
    Console(sys.stdout).show(_lines(found, "slow" if slow else "fail"))


def _lines(found: Finding, trouble: str) -> Iterator[Line]:
    from pluginhost.cli.lines import indented
    from pluginhost.printable import printable

    names = [printable(culprit.name, 60) for culprit in found.culprits]
    verb = "makes" if len(names) == 1 else "together make"
    yield ((f"{' and '.join(names)} {verb} it {trouble}", "title"),)
    how = [word for culprit in found.culprits for word in culprit.options]
    if how:
        yield from indented(f"leave out with: {printable(' '.join(how), 300)}", "", margin=2)
    if len(names) > 1:
        yield from indented("with any of them left out, it does not", "", margin=2)
    yield from indented(
        f"found among {found.suspects} plugins in {found.runs} runs", "dim", margin=2
    )
    for doubt in found.doubts:
        yield from indented(doubt, "bad", margin=2, first="!")
