"""`pluginhost report`: a saved run, shown again."""

from __future__ import annotations

import click

from pluginhost.cli import exits


@click.command("report", epilog=exits.HELP)
@click.argument("file", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
def command(file: str, as_json: bool) -> None:
    """Show the report of a saved run again.

    FILE is what '--save FILE' of 'pluginhost run' or 'pluginhost profile' has written.
    """
    from pluginhost.cli.console import Console
    from pluginhost.cli.lines import run_lines
    from pluginhost.report import encode, read_report

    report = read_report(file)
    if as_json:
        Console().data(encode(report))
    else:
        Console().show(run_lines(report))
