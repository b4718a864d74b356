"""`pluginhost history`: what is kept of many runs, and what changed over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pluginhost.cli import exits

if TYPE_CHECKING:
    from pluginhost.history.places import Place
    from pluginhost.history.reader import History

Function = TypeVar("Function", bound=Callable[..., Any])

_METRICS = "median, p95, p99, mean, cpu, total, count, errors, self, imports"


@click.group("history", epilog=exits.HELP)
def command() -> None:
    """Show what is kept of many runs, and what changed over them.

    A history is a SQLite file, by default in the data folder of your platform, or a PostgreSQL database.
    PLUGINHOST_HISTORY names another for all commands. Runs come into it by '--history' of
    'pluginhost run' and 'pluginhost profile', by 'history record', or by observe(history=...).
    """


def _history_option(function: Function) -> Function:
    return click.option(
        "--history",
        "where",
        metavar="URL",
        help="The history: a file, or postgresql://...  [default: PLUGINHOST_HISTORY, else a file in"
        " your data folder]",
    )(function)


def _json_option(function: Function) -> Function:
    return click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")(
        function
    )


def _which_options(function: Function) -> Function:
    name = click.option("--name", metavar="NAME", help="Only runs of this program or plugin host.")
    host = click.option("--host", metavar="NAME", help="Only runs on this machine.")
    return name(host(function))


@command.command("runs", epilog=exits.HELP)
@_history_option
@_which_options
@click.option(
    "--last",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="How many runs to show.",
)
@_json_option
def runs(
    *, where: str | None, name: str | None, host: str | None, last: int, as_json: bool
) -> None:
    """List runs, the newest first, with what of them was lost."""
    from pluginhost.cli.console import Console
    from pluginhost.cli.history_lines import run_list_lines
    from pluginhost.history.records import RunList
    from pluginhost.report import encode

    with _opened(where) as history:
        found = history.runs(name=name, host=host)
        listed = RunList(place=history.place.shown, runs=found[:last])
    if as_json:
        Console().data(encode(listed))
    else:
        Console().show(run_list_lines(listed, len(found)))


@command.command("plugins", epilog=exits.HELP)
@_history_option
@_which_options
@_json_option
def plugins(*, where: str | None, name: str | None, host: str | None, as_json: bool) -> None:
    """List plugins with all they did in all runs, who took the most time first."""
    from pluginhost.cli.console import Console
    from pluginhost.cli.history_lines import plugin_totals_lines
    from pluginhost.history.records import PluginTotalsList
    from pluginhost.report import encode

    with _opened(where) as history:
        listed = PluginTotalsList(
            place=history.place.shown, plugins=history.plugins(name=name, host=host)
        )
    if as_json:
        Console().data(encode(listed))
    else:
        Console().show(plugin_totals_lines(listed))


@command.command("trend", epilog=exits.HELP)
@click.argument("plugin")
@click.option(
    "--metric", default="median", show_default=True, metavar="METRIC", help=f"One of {_METRICS}."
)
@click.option(
    "--by",
    type=click.Choice(["run", "version", "minute", "hour", "day"]),
    default="run",
    show_default=True,
    help="Over what.",
)
@click.option("--hook", metavar="HOOK", help="Only calls of this hook.")
@click.option(
    "--last",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="How many runs to look at.",
)
@click.option(
    "--fail-on-change",
    is_flag=True,
    help="Exit with 1 when a metric has changed for the worse.",
)
@_history_option
@_which_options
@_json_option
def trend(
    *,
    plugin: str,
    metric: str,
    by: str,
    hook: str | None,
    last: int,
    fail_on_change: bool,
    where: str | None,
    name: str | None,
    host: str | None,
    as_json: bool,
) -> None:
    """Show one metric of a plugin over runs, over its versions, or over time.

    Over runs, it is told where the metric has moved to another level: found by kernel change point
    detection, and confirmed by the Mann-Whitney U test and a minimum effect of 5 % (needs the
    extra 'analytics'). From 8 runs on at the latest level there is a forecast with an interval.
    """
    from pluginhost.cli.console import Console
    from pluginhost.history.course import over_runs, over_time, over_versions
    from pluginhost.rendering.series import series_lines
    from pluginhost.report import encode

    with _opened(where) as history:
        which: dict[str, Any] = {"hook": hook, "name": name, "host": host}
        if by == "run":
            (series,) = over_runs(history, [plugin], metric, last=last, **which)
        elif by == "version":
            series = over_versions(history, plugin, metric, **which)
        else:
            series = over_time(history, plugin, metric, by=by, **which)
    if as_json:
        Console().data(encode(series))
    else:
        Console().show(series_lines(series))
    if fail_on_change and any(change.worse for change in series.change_points):
        click.get_current_context().exit(exits.NO)


@command.command("record", epilog=exits.HELP)
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@_history_option
@click.option("--revision", metavar="HEX", help="The git revision that was run.")
@click.option("--branch", metavar="NAME", help="The branch it is of.")
@click.option("--no-git", is_flag=True, help="Do not ask git for revision and branch.")
def record(
    *,
    files: tuple[str, ...],
    where: str | None,
    revision: str | None,
    branch: str | None,
    no_git: bool,
) -> None:
    """Put saved runs into a history, the oldest first.

    FILE is what '--save FILE' of 'pluginhost run' or 'pluginhost profile' has written. Revision and
    branch are those that are checked out here, unless they are given. A run that is there already
    is not put there again.
    """
    from pluginhost.history.git import Checkout, checkout_of
    from pluginhost.history.recorded import record as put
    from pluginhost.report import read_report

    place = _place(where)
    here = Checkout() if no_git else checkout_of(Path.cwd())
    checkout = Checkout(revision or here.revision, branch or here.branch)
    for file in files:
        number, new = put(read_report(file), place, checkout=checkout)
        click.echo(f"{file}: run {number}{'' if new else ', which was there already'}")


@command.command("prune", epilog=exits.HELP)
@_history_option
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="DAYS",
    help="Remove single occurrences, and roll-ups of minutes, that are older.",
)
@click.option(
    "--max-size",
    type=click.FloatRange(min=0),
    metavar="MB",
    help="Then remove the oldest until no more than this is stored.",
)
def prune(*, where: str | None, older_than: float, max_size: float | None) -> None:
    """Remove what is old from a history; roll-ups of days and of runs stay."""
    import time

    from pluginhost.history.retention import Forgetter, Retention

    wanted = Retention(
        occurrence_days=older_than,
        minute_days=older_than,
        max_bytes=None if max_size is None else round(max_size * 1e6),
    )
    with _store(where) as store:
        done = Forgetter(store, wanted, lambda: False).run(time.time_ns())
    click.echo(
        f"removed {done.occurrences:,} occurrences, {done.rollups:,} roll-ups and"
        f" {done.reports:,} reports; {done.stored_bytes / 1e6:.1f} MB are stored"
    )


@command.command("upgrade", epilog=exits.HELP)
@_history_option
def upgrade(*, where: str | None) -> None:
    """Bring the schema of a history up to date; a file is copied first."""
    from pluginhost.history.schema import HEAD

    with _store(where) as store:
        click.echo(f"{store.place.shown} has the schema {HEAD}")


def _place(where: str | None) -> Place:
    from pluginhost.extras import require

    require("sqlalchemy", "alembic", extra="history")
    from pluginhost.history.places import place_of

    return place_of(where)


def _opened(where: str | None) -> History:
    place = _place(where)
    from pluginhost.history.reader import History

    return History(place)


def _store(where: str | None) -> Any:
    """Return a store to be changed, as a context manager; raises when it cannot be."""
    from contextlib import contextmanager

    place = _place(where)
    from pluginhost.errors import HistoryError, PluginHostError
    from pluginhost.history.engines import engine_of
    from pluginhost.history.store import Store
    from pluginhost.history.troubles import words_of

    @contextmanager
    def opened() -> Any:
        engine_of(place, writing=False).dispose()  # raises where there is no file
        store = None
        try:
            store = Store(place)
            yield store
        except PluginHostError:
            raise
        except Exception as error:
            raise HistoryError(
                f"{place.shown} cannot be written: {words_of(error)}",
                remedy="check that it is there, and that you may write to it",
            ) from error
        finally:
            if store is not None:
                store.close()

    return opened()
