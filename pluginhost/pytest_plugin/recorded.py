"""All that the processes of a session have left, and the report that can be made of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pluginhost.pytest_plugin.suite_capture import SuiteCapture
from pluginhost.report import Report
from pluginhost.suite import Until, WorkerCost


class Recorded(NamedTuple):
    """What was recorded, that of the process first that the user has started."""

    captures: tuple[SuiteCapture, ...]
    missing: Sequence[WorkerCost]
    command: tuple[str, ...]
    root: Path
    exit_code: int | None

    def report(self, until: Until) -> Report:
        """Work out where the time went."""
        from pluginhost.environment import environment
        from pluginhost.pytest_plugin.suite_report import reports_of

        costs, suite = reports_of(
            self.captures,
            command=self.command,
            root=self.root,
            exit_code=self.exit_code,
            missing=self.missing,
            until=until,
        )
        return Report(
            name="pytest",
            created_timestamp_ns=time.time_ns(),
            observed_ns=costs.wall_ns,
            environment=environment(),
            costs=costs,
            suite=suite,
        )
