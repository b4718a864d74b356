"""What commands show, as report lines: plugins, the broken ones among them, a whole run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

from pluginhost.printable import fitted, printable
from pluginhost.rendering.analytics import analytics_lines
from pluginhost.rendering.costs import cost_lines, detail_lines, verification_lines
from pluginhost.rendering.lines import WIDTH, Line
from pluginhost.rendering.performance import performance_lines
from pluginhost.rendering.series import anomaly_lines, course_lines
from pluginhost.rendering.suite import suite_lines
from pluginhost.report import PluginInfo, PluginState, Report

_WIDTHS = (10, 11, 12)  # version, state, source
_OTHER_COLUMNS = sum(_WIDTHS)
_BROKEN = (PluginState.FAILED, PluginState.SKIPPED, PluginState.QUARANTINED)


def broken(plugins: Iterable[PluginInfo]) -> list[PluginInfo]:
    """Return the plugins that could not be loaded, or never can be."""
    return [info for info in plugins if info.state in _BROKEN]


def list_lines(plugins: Sequence[PluginInfo], where: str) -> Iterator[Line]:
    """Yield a table of all plugins; under each broken one, why and what to do."""
    bad = len(broken(plugins))
    title = f"{len(plugins)} plugin{'s' * (len(plugins) != 1)}"
    title += f", {bad} broken, in {where}" if bad else f" in {where}"
    yield ((printable(title, WIDTH), "title"),)
    id_width = min(max([22, *(len(info.id) + 1 for info in plugins)]), WIDTH - _OTHER_COLUMNS)
    yield ((_row(id_width, "plugin", "version", "state", "source", "summary"), "head"),)
    for info in plugins:
        known = (info.version or "-", info.state, info.source, info.summary or "-")
        row = _row(id_width, info.id, *known)
        if info.state in _BROKEN:
            yield ((row, "bad"),)
            yield from _why(info)
        else:
            yield ((row, ""),)


def broken_lines(plugins: Iterable[PluginInfo]) -> Iterator[Line]:
    """Yield a section on the plugins that could not be loaded; nothing when there are none."""
    infos = broken(plugins)
    if not infos:
        return
    yield ()
    yield (("Not loaded, and what to do", "head"),)
    for info in infos:
        yield ((f"! {printable(info.id, 40)}  {info.state}", "bad"),)
        yield from _why(info)


def nothing_found_lines(where: str) -> Iterator[Line]:
    """Yield that there is no plugin, and where one would come from."""
    yield ((printable(f"no plugin in {where}", WIDTH), ""),)
    yield from indented(
        "-> name a folder of plugins with --source FOLDER, or install a distribution that"
        " announces some as entry points"
    )


def run_lines(report: Report) -> Iterator[Line]:
    """Yield all of a run: what it cost, how plugins were used, which were not loaded."""
    if report.costs is not None:
        if report.suite is not None:
            yield from suite_lines(report.costs, report.suite, verbosity=1)
            yield from detail_lines(report.costs)
        else:
            yield from cost_lines(report.costs)
    if report.verification is not None:
        yield from verification_lines(report.verification)
    hosted = report.costs is None or bool(report.performance and report.performance.plugins)
    if report.performance is not None and hosted:
        yield from performance_lines(report.performance)
    if report.analytics is not None and hosted:
        yield ()
        yield from analytics_lines(report.analytics)
    yield from anomaly_lines(report.anomalies)
    yield from course_lines(report.series)
    yield from broken_lines(report.plugins)


def _row(id_width: int, plugin: str, *others: str) -> str:
    """Return a row; whole ids, which people type, are worth more than whole summaries."""
    widths = (id_width, *_WIDTHS, WIDTH - id_width - _OTHER_COLUMNS)
    cells = zip((plugin, *others), widths, strict=True)
    return "".join(fitted(text, width - 1) + " " for text, width in cells if width > 3).rstrip()


def _why(info: PluginInfo) -> Iterator[Line]:
    yield from indented(info.error or "for a reason that is not known")
    if info.remedy:
        yield from indented(f"-> {info.remedy}")
    if info.location and info.location not in (info.error or ""):
        yield from indented(f"in {info.location}", "dim")


def indented(text: str, style: str = "", *, margin: int = 4, first: str = "") -> Iterator[Line]:
    """Yield foreign text, made safe, in as many lines as it takes, each after a margin.

    `first` stands in the margin of the first line.
    """
    lead = f"{first:<{margin}}"
    for line in wrap(printable(text, 1000), WIDTH - margin):
        yield ((lead + line, style),)
        lead = " " * margin
