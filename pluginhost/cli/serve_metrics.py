"""`pluginhost serve-metrics`: an address for Prometheus to scrape."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pluginhost.cli import exits
from pluginhost.cli.options import FILE, checked_history

if TYPE_CHECKING:
    import socket

    from pluginhost.history.metrics import HistoryMetrics
    from pluginhost.serving.http import HttpServer


@click.command("serve-metrics", epilog=exits.HELP)
@click.argument("run", required=False, type=FILE)
@click.option(
    "--history",
    is_flag=False,
    flag_value="",
    callback=checked_history,
    metavar="[URL]",
    help="Serve what this history has of all runs: a file or postgresql://... as --history=URL, or the"
    " default one.",
)
@click.option(
    "--name", metavar="NAME", help="Of the history, only runs of this program or plugin host."
)
@click.option(
    "--bind",
    "address",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="The IP address to listen at; the default is not reached from elsewhere.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9810,
    show_default=True,
    metavar="PORT",
    help="The port to listen at; 0 is any that is free.",
)
@click.option(
    "--token-file",
    type=FILE,
    metavar="FILE",
    help="What a scrape must know; made if it is not there.  [default: metrics.token in your data"
    " folder]",
)
@click.option("--no-token", is_flag=True, help="Let everybody on this machine read along.")
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name that this machine may be called by, beside localhost; may be repeated.",
)
@click.option(
    "--max-series",
    type=click.IntRange(min=100),
    default=1_000,
    show_default=True,
    metavar="N",
    help="How many series to serve; the cheapest plugins are 'other' together.",
)
def command(
    *,
    run: str | None,
    history: str | None,
    name: str | None,
    address: str,
    port: int,
    token_file: str | None,
    no_token: bool,
    hosts: tuple[str, ...],
    max_series: int,
) -> None:
    """Serve a saved run or a history for Prometheus to scrape.

    RUN is what '--save FILE' has written. Without RUN, and with --history, all runs of a history are
    added up, also while they go on. Both are read again at each scrape of /metrics, which needs the token
    as 'Authorization: Bearer TOKEN'. Stop it with Ctrl-C or SIGTERM.
    """
    from pluginhost.extras import require

    require("prometheus_client", "h11", extra="prometheus")
    from pluginhost.serving.guard import Guard, checked_address
    from pluginhost.serving.http import HttpServer, listening_at
    from pluginhost.serving.metrics import PATH, MetricsSource
    from pluginhost.serving.tokens import default_token_file, token_of

    if no_token and token_file is not None:
        raise click.UsageError("--token-file and --no-token exclude each other")
    if name is not None and run is not None and history is None:
        raise click.UsageError("--name is of a history: add --history")
    checked_address(address, token=None if no_token else "")
    kept, what = _history(history, name) if run is None or history is not None else (None, "")
    source = MetricsSource(run=run, history=kept, max_series=max_series, tell=_tell)
    source.read()  # raises now what would be answered with 503 later
    file = Path(token_file) if token_file is not None else default_token_file()
    token = None if no_token else token_of(file)
    listening = listening_at(address, port)
    guard = Guard(token=token, hosts=(address, *hosts), paths=(PATH,))
    where = f"[{address}]" if ":" in address else address
    shown = " and ".join(part for part in (run or "", what) if part)
    click.echo(f"metrics of {shown} are at http://{where}:{listening.getsockname()[1]}{PATH}")
    click.echo("no token is needed" if no_token else f"the token is in {file}")
    _serve(HttpServer(guard, source.answer), listening)


def _history(where: str | None, name: str | None) -> tuple[HistoryMetrics, str]:
    from pluginhost.extras import require

    require("sqlalchemy", "alembic", extra="history")
    from pluginhost.history.metrics import HistoryMetrics
    from pluginhost.history.places import place_of

    place = place_of(where or None)
    return HistoryMetrics(place, name=name), place.shown


def _serve(server: HttpServer, listening: socket.socket) -> None:
    import asyncio

    async def serving() -> None:
        stop = asyncio.Event()
        with suppress(NotImplementedError):  # Windows ends it at once
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await server.run(listening, stop)

    asyncio.run(serving())


def _tell(why: str | None) -> None:
    from pluginhost.printable import printable

    words = "it can be read again" if why is None else printable(why, 1_000)
    click.echo(f"note  {words}", err=True)
