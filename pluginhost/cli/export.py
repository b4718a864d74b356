"""`pluginhost export`: a saved run in the format of another tool."""

from __future__ import annotations

import sys

import click

from pluginhost.cli import exits
from pluginhost.cli.files import check_writable
from pluginhost.cli.options import FILE
from pluginhost.exporters import EXPORTERS

_FORMATS = "\n".join(f"    {name:<12}{each.summary}" for name, each in EXPORTERS.items())
_HELP = f"""Turn a saved run into the format of another tool.

RUN is what '--save FILE' of 'pluginhost run' or 'pluginhost profile' has
written. Other distributions can bring formats of their own.

\b
Formats:
{_FORMATS}

\b
Examples:
  pluginhost export speedscope run.json -o run.speedscope.json
  pluginhost export csv run.json | column -s, -t
"""


class FormatName(click.types.StringParamType):
    """The name of a format; shells complete it."""

    name = "format"

    def shell_complete(
        self, _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Return the formats that begin so."""
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=each.summary)
            for name, each in EXPORTERS.items()
            if name.startswith(incomplete)
        ]


@click.command("export", epilog=exits.HELP, help=_HELP)
@click.argument("format_name", type=FormatName(), metavar="FORMAT")
@click.argument("run", type=click.Path())
@click.option(
    "--output",
    "-o",
    type=FILE,
    metavar="FILE",
    help="Write there, not to standard output.",
)
def command(*, format_name: str, run: str, output: str | None) -> None:
    """Turn a saved run into the format of another tool."""
    from pluginhost.cli.console import is_terminal
    from pluginhost.exporters import exporter_named
    from pluginhost.report import read_report

    exporter = exporter_named(format_name)
    if output is not None:
        check_writable(output)
    elif exporter.binary and is_terminal(sys.stdout):
        raise click.UsageError(
            f"{format_name} is not for a terminal: give --output FILE, such as run{exporter.suffix}"
        )
    exported = exporter(read_report(run))
    if output is None:
        _print(exported)
    else:
        from pluginhost.saving import write_file

        write_file(exported, output)


def _print(exported: str | bytes) -> None:
    """Write to standard output: as it is into a pipe, nothing a terminal would obey to a terminal."""
    from pluginhost.cli.console import Console, is_terminal

    if isinstance(exported, str) and is_terminal(sys.stdout):
        from pluginhost.printable import printable

        lines = exported.splitlines() if exported else []
        Console().show(((printable(line, 10 * len(line) + 1), ""),) for line in lines)
        return
    raw = exported.encode() if isinstance(exported, str) else exported
    Console().raw(raw)
