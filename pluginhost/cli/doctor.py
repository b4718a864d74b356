"""`pluginhost doctor`: what is wrong with plugins, what they change, and what they leave behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from pluginhost.cli import exits
from pluginhost.cli.files import files_of
from pluginhost.cli.options import complete_plugin, only_of, source_option, trust_options

if TYPE_CHECKING:
    from pluginhost.cli.rounds import Plan
    from pluginhost.footprint import ResourceUse
    from pluginhost.host.host import PluginHost
    from pluginhost.rendering.lines import Line
    from pluginhost.report import PluginInfo

_MEMORY_BYTES = 4 * 2**20
"""Growth that is told: this much, and a sixteenth of it for each execution."""


class Finding(NamedTuple):
    """Something to look at: whose, what it is, in how many words it takes, and what to do."""

    plugin_id: str
    what: str
    details: tuple[str, ...]
    remedy: str = ""


@click.command("doctor", epilog=exits.HELP)
@click.argument("plugins", nargs=-1, metavar="[PLUGIN]...", shell_complete=complete_plugin)
@source_option
@trust_options
@click.option(
    "--load", is_flag=True, help="Also load the plugins and unload them again: runs their code."
)
@click.option(
    "--execute",
    "executions",
    type=click.IntRange(min=2),
    metavar="N",
    help="Also execute each N times, on each --input; implies --load.",
)
@click.option(
    "--input",
    "-i",
    "inputs",
    multiple=True,
    metavar="PATH",
    type=click.Path(exists=True, path_type=Path),
    help="A file, or a folder of files, to execute them on; without any, plugins get None.",
)
def command(
    *,
    plugins: tuple[str, ...],
    sources: tuple[str, ...],
    lock: str | None,
    safe_mode: bool,
    load: bool,
    executions: int | None,
    inputs: tuple[Path, ...],
) -> None:
    """Say what is wrong with plugins, what they change and leave behind.

    Without PLUGIN, all that the sources have are looked at. Nothing is imported unless --load is
    given: then each is loaded, which shows what importing it changes of the whole process, and
    unloaded, which shows what it does not give back. With --execute it is told what the later half
    of the executions take and keep. Exits with 1 when there is anything to say of a plugin. Of a
    SQLite with the WAL-reset bug there is a note.
    """
    from pluginhost.cli.console import Console
    from pluginhost.cli.options import host_of
    from pluginhost.cli.rounds import Plan

    if inputs and executions is None:
        raise click.UsageError("--input needs --execute N")
    plan = None
    if executions is not None:
        plan = Plan(payloads=files_of(inputs) if inputs else (None,), repeat=executions)
    host = host_of(
        sources,
        only=only_of(plugins, safe_mode=safe_mode),
        lock=lock,
        track_resources=plan is not None,
    )
    running = load or plan is not None
    found = list(_of_loading(host, plugins, plan) if running else _of_looking(host, plugins))
    Console().show(_lines(host, plugins, found))
    if found:
        click.get_current_context().exit(exits.NO)


def _of_looking(host: PluginHost, wanted: tuple[str, ...]) -> Iterator[Finding]:
    """Yield what can be seen without importing anything."""
    from pluginhost.host.ordering import required_ids

    host.discover()
    for info in _infos(host, wanted):
        if info.error is not None:
            yield Finding(info.id, info.state, (info.error,), info.remedy or "")
            continue
        refusal = host.refusal(info.id)
        if refusal is not None:
            yield Finding(info.id, "refused", (refusal.message,), refusal.remedy or "")
        for peer in required_ids(info):
            if peer not in host.plugins:
                yield Finding(
                    info.id, "incomplete", (f"it requires {peer}, which is not there",), "add it"
                )


def _of_loading(host: PluginHost, wanted: tuple[str, ...], plan: Plan | None) -> Iterator[Finding]:
    """Yield what loading, executing and unloading shows as well."""
    from contextlib import redirect_stdout
    from sys import stderr

    from pluginhost.cli.rounds import loaded, unloaded

    with redirect_stdout(stderr):
        ids = loaded(host, wanted)
        executed = list(_of_executing(host, ids, plan)) if plan is not None else []
        infos = list(_infos(host, wanted))
        raised = unloaded(host)
    for info in infos:
        if info.error is not None:
            yield Finding(info.id, info.state, (info.error,), info.remedy or "")
        if info.dirty:
            yield Finding(info.id, "changes the process when it is loaded", info.dirty)
    yield from executed
    for info in _infos(host, wanted):
        left = tuple(name for name in info.survivors if not name.startswith("module "))
        if left:
            yield Finding(info.id, "leaves behind when it is unloaded", left)
    for text in raised:
        yield Finding("a teardown", "raised", (text,))


def _of_executing(host: PluginHost, ids: list[str], plan: Plan) -> Iterator[Finding]:
    """Yield what plugins take at each execution and keep; the first half may fill their caches."""
    from pluginhost.footprint import ResourceUse

    for plugin_id in ids:
        if plugin_id not in host.executable:
            continue
        uses = []
        for count in (plan.repeat // 2, plan.repeat - plan.repeat // 2):
            error = _executed(host, plugin_id, plan.payloads * count)
            steps = {use.step: use for use in host.plugins[plugin_id].resources}
            uses.append(steps.get("execute") or ResourceUse(step="execute"))
        if error:
            yield Finding(plugin_id, "raised when it was executed", (error,))
        kept = tuple(_kept(*uses))
        if kept:
            count = uses[1].count - uses[0].count
            what = f"takes and does not give back, in {count} executions"
            yield Finding(plugin_id, what, kept, "close, join or let go of what it keeps")


def _executed(host: PluginHost, plugin_id: str, payloads: Sequence[Path | None]) -> str:
    """Execute it on these; return the last thing that it raised, in words."""
    from pluginhost.printable import printable

    said = ""
    for payload in payloads:
        try:
            host.execute(plugin_id, payload)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: one plugin must not end the others' turns
            said = f"{type(error).__name__}: {printable(error)}"
    return said


def _kept(first: ResourceUse, both: ResourceUse) -> Iterator[str]:
    """Yield what there is more of by one for every second execution at least."""
    from pluginhost.figures import size

    count = both.count - first.count
    for name in ("descriptors", "threads", "children"):
        more = getattr(both, name) - getattr(first, name)
        if count and more >= max(1, count / 2):
            yield f"{more} {'child processes' if name == 'children' else name}"
    grown_bytes = both.memory_bytes - first.memory_bytes
    if grown_bytes >= max(_MEMORY_BYTES, count * _MEMORY_BYTES // 16):
        yield f"{size(grown_bytes)} of memory (an estimate: what the whole process grew by)"


def _infos(host: PluginHost, wanted: tuple[str, ...]) -> Iterator[PluginInfo]:
    for plugin_id in wanted or (*sorted(host.plugins),):
        if plugin_id not in host.plugins:
            host.load(plugin_id)  # raises, and names those that are near
        yield host.plugins[plugin_id]
    if not wanted:
        yield from host.rejected


def _lines(host: PluginHost, wanted: tuple[str, ...], found: list[Finding]) -> Iterator[Line]:
    from pluginhost.cli.lines import indented
    from pluginhost.environment import environment
    from pluginhost.history.journals import wal_warning
    from pluginhost.printable import printable

    here = environment()
    yield ((f"pluginhost {here.pluginhost}, pluggy {here.pluggy}, Python {here.python}", "dim"),)
    count = len(wanted) or len(host.plugins) + len(host.rejected)
    says = f"{len(found)} finding{'s' * (len(found) != 1)}" if found else "nothing to say"
    title = f"{count} plugin{'s' * (count != 1)}, {says}, in {host.name}"
    yield ((printable(title, 80), "title"),)
    for finding in found:
        yield ()
        yield ((f"! {printable(finding.plugin_id, 40)}  {finding.what}", "bad"),)
        for detail in finding.details:
            yield from indented(detail)
        if finding.remedy:
            yield from indented(f"-> {finding.remedy}")
    warning = wal_warning()
    if warning is not None:
        yield ()
        yield from indented(warning, "dim", margin=6, first="note")
