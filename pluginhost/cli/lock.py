"""`pluginhost lock`: write down what may be loaded, or tell what has changed since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from pluginhost.cli import exits
from pluginhost.cli.options import FILE, complete_plugin, source_option

if TYPE_CHECKING:
    from pluginhost.host.locking import LockedPlugin

FILE_NAME = "pluginhost.lock"


@click.command("lock", epilog=exits.HELP)
@click.argument("plugins", nargs=-1, metavar="[PLUGIN]...", shell_complete=complete_plugin)
@source_option
@click.option(
    "--file",
    "-f",
    "file",
    default=FILE_NAME,
    show_default=True,
    type=FILE,
    metavar="FILE",
    help="Where to.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when it would differ.")
def command(*, plugins: tuple[str, ...], sources: tuple[str, ...], file: str, check: bool) -> None:
    """Write down which plugins may be loaded, with their code's sha256.

    Without PLUGIN, all that the sources have. None is imported. 'pluginhost run --lock FILE' and
    PluginHost(lock=FILE) then load nothing else, and nothing whose code has changed.
    """
    from pluginhost.host.catalogue import Catalogue
    from pluginhost.host.locking import lock_of, write_lock
    from pluginhost.host.sources import source_from_text
    from pluginhost.printable import printable

    catalogue = Catalogue(
        ", ".join(sources), [source_from_text(text, group=_GROUP) for text in sources]
    )
    catalogue.discover()
    wanted = dict.fromkeys(plugins) if plugins else dict.fromkeys(sorted(catalogue.records))
    lock, errors = lock_of([catalogue.find(plugin_id).candidate for plugin_id in wanted])
    for error in errors:
        click.echo(f"not locked: {error}", err=True)
    if check:
        _check(file, lock.plugins)
    elif not lock.plugins:
        click.echo(f"nothing to lock in {printable(', '.join(sources))}", err=True)
    else:
        write_lock(lock, file)
        files = sum(len(plugin.files) for plugin in lock.plugins.values())
        click.echo(f"locked {len(lock.plugins)} plugins, {files} files, in {printable(file)}")
    if errors or not lock.plugins:
        click.get_current_context().exit(exits.NO)


_GROUP = "pluginhost.plugins"


def _check(file: str, found: Mapping[str, LockedPlugin]) -> None:
    """Tell what is not as the file says, and exit with 1 if there is anything."""
    from pluginhost.host.locking import differences, read_lock
    from pluginhost.printable import printable

    known = read_lock(file).plugins
    lines = [f"{plugin_id}: not in the lock file" for plugin_id in found if plugin_id not in known]
    lines += [f"{plugin_id}: is gone" for plugin_id in known if plugin_id not in found]
    for plugin_id, plugin in found.items():
        if plugin_id in known:
            lines += [f"{plugin_id}: {what}" for what in differences(known[plugin_id], plugin)]
    for line in lines:
        click.echo(printable(line))
    if lines:
        click.get_current_context().exit(exits.NO)
    click.echo(f"{len(known)} plugins are as {printable(file)} says")
