"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pluginhost.host.host import PluginHost

Function = TypeVar("Function", bound=Callable[..., Any])

DEFAULT_SOURCE = "entry-points"


class FileName(click.types.StringParamType):
    """The name of a file, of which nothing is asked until it is used; shells complete it."""

    name = "file"

    def shell_complete(
        self, _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return that the shell knows files best."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


FILE = FileName()


def share(value: str) -> float:
    """Return the ratio that `value` says: `0.05` or `5%`; refuses `nan` and the like."""
    number, percent, rest = value.strip().partition("%")
    try:
        ratio = float(number) / (100 if percent else 1)
    except ValueError:
        ratio = -1.0
    if rest or not 0 <= ratio < float("inf"):
        raise click.BadParameter(f"{value!r} is not a share; write it as in 0.05 or 5%")
    return ratio


def source_option(function: Function) -> Function:
    """Add `--source`, which may be repeated."""
    return click.option(
        "--source",
        "-s",
        "sources",
        multiple=True,
        default=(DEFAULT_SOURCE,),
        show_default=True,
        metavar="SOURCE",
        shell_complete=_complete_source,
        help="Where plugins come from; may be repeated. A folder, module:NAME, entry-points, or"
        " entry-points:GROUP.",
    )(function)


def trust_options(function: Function) -> Function:
    """Add `--lock` and `--safe-mode`."""
    lock = click.option(
        "--lock",
        type=FILE,
        metavar="FILE",
        help="Load only plugins whose code is what this file, of 'pluginhost lock', says.",
    )
    safe_mode = click.option(
        "--safe-mode",
        is_flag=True,
        help="Load nothing but the plugins that are named, not even those that they require.",
    )
    return lock(safe_mode(function))


def history_option(function: Function) -> Function:
    """Add `--history`, with or without a URL; its value is None, "" for the default, or a URL."""
    return click.option(
        "--history",
        is_flag=False,
        flag_value="",
        callback=checked_history,
        metavar="[URL]",
        help="Keep the run in a history, too: a file or postgresql://... as --history=URL, or the"
        " default one.",
    )(function)


def checked_history(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Refuse what is no place, but was to be something else: `--history words` of `run`."""
    if value and "/" not in value and "." not in value:
        raise click.BadParameter(
            f"{value!r} is no file or URL; if it is not to be one, put --history last"
        )
    return value


def only_of(plugins: tuple[str, ...], *, safe_mode: bool) -> tuple[str, ...] | None:
    """Return the only plugins that may be loaded, None for all."""
    if safe_mode and not plugins:
        raise click.UsageError("--safe-mode loads nothing but plugins that are named: name one")
    return plugins if safe_mode else None


def host_of(
    sources: tuple[str, ...],
    *,
    only: tuple[str, ...] | None = None,
    lock: str | None = None,
    track_resources: bool = False,
) -> PluginHost:
    """Return a host of the plugins from these sources, named for them; nothing is loaded yet."""
    from pluginhost.host.host import PluginHost

    name = ", ".join(sources)
    return PluginHost(name, sources=sources, only=only, lock=lock, track_resources=track_resources)


def _complete_source(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return that the shell knows folders best (first: bash would forget others), and the words."""
    from click.shell_completion import CompletionItem

    words = [word for word in (DEFAULT_SOURCE, "module:") if word.startswith(incomplete)]
    return [CompletionItem(incomplete, type="dir"), *map(CompletionItem, words)]


def complete_plugin(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the plugins from the sources given so far whose id begins so; imports none."""
    from click.shell_completion import CompletionItem

    from pluginhost.printable import printable

    try:
        found = host_of(ctx.params["sources"]).discover()
    except Exception:  # an error message in the middle of a command line helps nobody
        return []
    return [
        CompletionItem(info.id, help=printable(info.summary, 60))
        for info in found
        if info.id.startswith(incomplete) and info.id.isprintable()
    ]
