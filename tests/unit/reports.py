"""Reports of runs that nobody has run, for tests of what compares them."""

from __future__ import annotations

from collections.abc import Iterable

from pluginhost.costs import ApplicationCost, CostReport, HookCost, MeasuringCost, PluginCost
from pluginhost.report import Environment, Report
from pluginhost.suite import SuiteReport


def report_of(
    name: str,
    plugins: Iterable[PluginCost],
    hooks: Iterable[HookCost],
    *,
    wall_ns: int,
    suite: SuiteReport | None = None,
) -> Report:
    """Return the report of a run that took `wall_ns`, all of it on the CPU."""
    costs = CostReport(
        wall_ns=wall_ns,
        elapsed_ns=wall_ns,
        cpu_ns=wall_ns,
        main_cpu_ns=wall_ns,
        application=ApplicationCost(name=name, self_ns=0),
        plugins=tuple(plugins),
        hooks=tuple(hooks),
        measuring=MeasuringCost(),
        unattributed_ns=0,
    )
    environment = Environment(
        python="3", platform="x", pluggy="1", pluginhost="1", hostname="h", pid=1, cpu_count=2
    )
    return Report(
        name=name,
        created_timestamp_ns=1,
        observed_ns=wall_ns,
        environment=environment,
        costs=costs,
        suite=suite,
    )
