"""Each fixture: how often it was set up, by whom it is defined, what it took without the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from pluginhost.attribution import Parted
from pluginhost.attribution.partition import Node
from pluginhost.calltree import EventKind
from pluginhost.capture import SiteRecord
from pluginhost.histogram import DurationHistogram
from pluginhost.pytest_plugin.scopes import narrower
from pluginhost.pytest_plugin.sections import SETTING_UP, TEARING_DOWN
from pluginhost.pytest_plugin.suite_capture import FixtureSeen, SuiteCapture
from pluginhost.suite import FixtureCost


def fixture_costs(
    captured: Sequence[SuiteCapture], nodes: Iterable[Node], parted: Parted, wall_ns: int, root: str
) -> tuple[FixtureCost, ...]:
    """Return all fixtures that were set up in any process, the costliest first."""
    seen: dict[str, FixtureSeen] = {}
    for each in (each for suite in captured for each in suite.fixtures):
        known = seen.setdefault(each.key, each)
        if narrower(each.widest, known.widest):  # what it requests is another elsewhere
            seen[each.key] = each
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    has_cpu = False
    for node in nodes:
        record = node.record
        if record.kind is not EventKind.SECTION or node.apart is not None:
            continue
        for name, what in ((SETTING_UP, "setup"), (TEARING_DOWN, "teardown")):
            if record.hook.startswith(name):
                figures = sums[record.hook.removeprefix(name)]
                figures[f"{what}s"] += record.count
                figures[f"{what}_ns"] += node.self_ns
                figures["errors"] += record.errors if what == "setup" else 0
                has_cpu = has_cpu or node.self_cpu_ns is not None
                figures["cpu_ns"] += node.self_cpu_ns or 0
    sites: defaultdict[str, list[SiteRecord]] = defaultdict(list)
    for suite in captured:
        for site in suite.capture.sites:
            if site.kind is EventKind.SECTION and site.hook.startswith(SETTING_UP):
                sites[site.hook.removeprefix(SETTING_UP)].append(site)
    rows = [
        _row(
            seen[key],
            figures if has_cpu else Counter({**figures, "no_cpu": 1}),
            sites[key],
            owner=_owner(seen[key], parted),
            wall_ns=wall_ns,
            root=root,
        )
        for key, figures in sums.items()
        if key in seen
    ]
    return tuple(sorted(rows, key=lambda row: (-row.self_ns, row.name, row.defined_in)))


def _row(
    seen: FixtureSeen,
    figures: Counter[str],
    sites: Sequence[SiteRecord],
    *,
    owner: str | None,
    wall_ns: int,
    root: str,
) -> FixtureCost:
    histogram = DurationHistogram.of(site.histogram for site in sites)
    self_ns = figures["setup_ns"] + figures["teardown_ns"]
    return FixtureCost(
        name=seen.name,
        scope=seen.scope,
        defined_in=_place(seen, root),
        owner=owner,
        own=seen.own,
        autouse=seen.autouse,
        parametrized=seen.parametrized,
        widest=seen.widest,
        setups=figures["setups"],
        errors=figures["errors"],
        teardowns=figures["teardowns"],
        setup_ns=figures["setup_ns"],
        teardown_ns=figures["teardown_ns"],
        self_ns=self_ns,
        cpu_ns=figures["cpu_ns"] if not figures["no_cpu"] else None,
        share=self_ns / wall_ns if wall_ns else 0.0,
        min_ns=min((site.min_ns for site in sites), default=None),
        median_ns=histogram.quantile_ns(0.5) if sites else None,
        max_ns=max((site.max_ns for site in sites), default=None),
        histogram=histogram.buckets(),
    )


def _place(seen: FixtureSeen, root: str) -> str:
    """Return where a fixture is defined: a file below the root, or the module of what is installed."""
    file = Path(seen.file)
    if file.is_relative_to(root) and "site-packages" not in file.parts:
        return file.relative_to(root).as_posix()
    return seen.module or seen.base.partition("::")[0] or seen.file


def _owner(seen: FixtureSeen, parted: Parted) -> str | None:
    """Return the plugin that defines a fixture, by the name of its row; None: tests, or pytest."""
    if seen.own:
        return None
    plugins = [plugin for manager in parted.managers for plugin in manager.plugins]
    in_file = [plugin for plugin in plugins if plugin.file == seen.file]
    in_module = [plugin for plugin in plugins if seen.module and plugin.module == seen.module]
    owners = [parted.owners.of_plugin(plugin.name) for plugin in in_file or in_module]
    if owners:
        return owners[0] if in_file or len(set(owners)) == 1 else None
    return parted.owners.of_package(seen.module)
