"""`pluginhost list`: what there is, without importing any of it."""

from __future__ import annotations

import click

from pluginhost.cli import exits
from pluginhost.cli.options import host_of, source_option


@click.command("list", epilog=exits.HELP)
@source_option
@click.option("--json", "as_json", is_flag=True, help="Print all that is known, as JSON.")
def command(sources: tuple[str, ...], as_json: bool) -> None:
    """Show which plugins there are, without importing them.

    Broken ones, as far as that can be seen without importing, are shown with the reason and what
    to do.
    """
    from pluginhost.cli.console import Console
    from pluginhost.cli.lines import list_lines, nothing_found_lines

    host = host_of(sources)
    plugins = sorted(host.discover(), key=lambda info: info.id)
    if as_json:
        from pluginhost.report import PluginList, encode

        Console().data(encode(PluginList(sources=sources, plugins=tuple(plugins))))
    elif plugins:
        Console().show(list_lines(plugins, host.name))
    else:
        Console().show(nothing_found_lines(host.name))
