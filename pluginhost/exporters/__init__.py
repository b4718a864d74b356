"""Reports in the formats of other tools, one file a format.

Each is a function `Report -> str | bytes` that is imported when it is used. Another distribution
adds one with an entry point in the group `pluginhost.exporters` that is an `Exporter`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pluginhost.report import Report

GROUP = "pluginhost.exporters"


class Exporter(NamedTuple):
    """A format: what it is good for, its media type and file suffix, and the function that makes it.

    `function` is a `Report -> str | bytes`, or where to import it from: `package.module:name`.
    `binary` says that it returns bytes, which are not for a terminal. `extra` is the extra of
    pluginhost that it needs.
    """

    summary: str
    media_type: str
    suffix: str
    function: str | Callable[[Report], str | bytes]
    binary: bool = False
    extra: str | None = None

    def __call__(self, report: Report) -> str | bytes:
        """Return `report` in this format."""
        function = self.function
        try:
            if isinstance(function, str):
                module, _, name = function.partition(":")
                made: str | bytes = getattr(import_module(module), name)(report)
            else:
                made = function(report)
        except ModuleNotFoundError as error:
            from pluginhost.errors import MissingExtraError

            raise MissingExtraError(
                f"{error.name} is not installed",
                remedy=f"pip install 'pluginhost[{self.extra}]'" if self.extra else "install it",
            ) from error
        return made


EXPORTERS = {
    "json": Exporter(
        summary="Everything, for programs; has a published schema.",
        media_type="application/json",
        suffix=".json",
        function="pluginhost.report:encode",
    ),
    "csv": Exporter(
        summary="One row for each plugin and hook, for spreadsheets.",
        media_type="text/csv",
        suffix=".csv",
        function="pluginhost.exporters.csv:csv_text",
    ),
    "speedscope": Exporter(
        summary="The flame graph, for speedscope.app.",
        media_type="application/json",
        suffix=".speedscope.json",
        function="pluginhost.exporters.speedscope:speedscope_text",
    ),
    "pprof": Exporter(
        summary="The flame graph and CPU, for 'go tool pprof' (profile.proto).",
        media_type="application/vnd.google.protobuf+gzip",
        suffix=".pb.gz",
        function="pluginhost.exporters.pprof:pprof_bytes",
        binary=True,
    ),
    "html": Exporter(
        summary="A page with tables and graphs, which needs nothing else.",
        media_type="text/html",
        suffix=".html",
        function="pluginhost.exporters.html:html_text",
    ),
    "chrome": Exporter(
        summary="A trace of the sums, for Perfetto and chrome://tracing.",
        media_type="application/json",
        suffix=".trace.json",
        function="pluginhost.exporters.chrome:chrome_text",
    ),
    "folded": Exporter(
        summary="The flame graph as folded stacks, for flamegraph.pl, inferno.",
        media_type="text/plain",
        suffix=".folded",
        function="pluginhost.exporters.folded:folded_text",
    ),
}
"""The formats there are, by name."""


def exporter_named(name: str) -> Exporter:
    """Return the exporter of this name, also of another distribution; near names are suggested."""
    if name in EXPORTERS:
        return EXPORTERS[name]
    from difflib import get_close_matches
    from importlib.metadata import entry_points

    from pluginhost.errors import ExportError, InvalidValueError

    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        known = [*EXPORTERS, *points]
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InvalidValueError(
            f"there is no format {name!r}", remedy=f"{hint}there are {', '.join(known)}"
        )
    try:
        found = points[name].load()
    except Exception as error:
        raise ExportError(
            f"the exporter {name!r} cannot be imported: {type(error).__name__}: {error}",
            remedy=f"mend or uninstall what provides it: {points[name].value}",
        ) from error
    if not isinstance(found, Exporter):
        raise ExportError(
            f"the exporter {name!r} is a {type(found).__name__}",
            remedy=f"{points[name].value} must be a pluginhost.exporters.Exporter",
        )
    return found


def export(name: str, report: Report) -> str | bytes:
    """Return `report` in the format called `name`: text, or bytes where the format is binary."""
    return exporter_named(name)(report)
