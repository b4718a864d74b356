"""All that the processes of a session have left, and the report that can be made of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pluginhost.pytest_plugin.suite_capture import SuiteCapture
from pluginhost.suite import Until, WorkerCost

if TYPE_CHECKING:
    from pluginhost.costs import CostReport
    from pluginhost.report import Report
    from pluginhost.suite import SuiteReport


class Recorded(msgspec.Struct, frozen=True):
    """What was recorded, that of the process first that the user has started."""

    captures: tuple[SuiteCapture, ...]
    missing: Sequence[WorkerCost]
    command: tuple[str, ...]
    root: Path
    exit_code: int | None

    def costs(self, until: Until, *, in_full: bool = True) -> tuple[CostReport, SuiteReport]:
        """Work out where the time went, `in_full` or as far as a short section shows it."""
        from pluginhost.pytest_plugin.suite_report import reports_of

        return reports_of(
            self.captures,
            command=self.command,
            root=self.root,
            exit_code=self.exit_code,
            missing=self.missing,
            until=until,
            in_full=in_full,
        )


def report_of(costs: CostReport, suite: SuiteReport) -> Report:
    """Return what is written to files; there is more to load than the terminal needs."""
    from pluginhost.environment import environment
    from pluginhost.report import Report

    return Report(
        name="pytest",
        created_timestamp_ns=time.time_ns(),
        observed_ns=costs.wall_ns,
        environment=environment(),
        costs=costs,
        suite=suite,
    )
