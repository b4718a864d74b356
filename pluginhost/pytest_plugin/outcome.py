"""What comes of a profile: the section in the terminal, files, and whether the run has failed."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from pluginhost.printable import printable
from pluginhost.pytest_plugin.earlier import imported_again, with_earlier
from pluginhost.pytest_plugin.settings import Settings
from pluginhost.pytest_plugin.suite_capture import SuiteCapture
from pluginhost.pytest_plugin.terminal import Terminal
from pluginhost.report import Report


class Outcome:
    """Works out the report of a session, and tells everybody who wanted to know.

    Whatever goes wrong here is ours: the session ends as it would have without us, and the
    terminal says what is missing.
    """

    def __init__(self, config: Any, settings: Settings, terminal: Any, session: Any) -> None:
        self._config = config
        self._settings = settings
        self._terminal = Terminal(terminal)
        self._session = session

    def tell(self, captured: SuiteCapture, workers: Sequence[Any]) -> None:
        """Show, write and judge."""
        try:
            report = self._report(captured, workers)
        except Exception as error:
            self._terminal.failed(f"the profile could not be worked out: {_named(error)}")
            return
        self._terminal.show(report)
        self._write(report)

    def _report(self, captured: SuiteCapture, workers: Sequence[Any]) -> Report:
        from pluginhost.environment import environment
        from pluginhost.pytest_plugin.suite_report import reports_of

        captures = [captured, *(each for each in workers if isinstance(each, SuiteCapture))]
        if self._settings.value("imports") != "none" and captured.early:
            trees = imported_again(("pytest", *_own(), *captured.early))
            captures = [with_earlier(each, trees) for each in captures]
        exit_status = getattr(self._session, "exitstatus", None)
        costs, suite = reports_of(
            captures,
            command=("pytest", *map(printable, self._config.invocation_params.args)),
            root=self._config.rootpath,
            exit_code=int(exit_status) if exit_status is not None else None,
            missing=[each for each in workers if not isinstance(each, SuiteCapture)],
        )
        return Report(
            name="pytest",
            created_timestamp_ns=time.time_ns(),
            observed_ns=costs.wall_ns,
            environment=environment(),
            costs=costs,
            suite=suite,
        )

    def _write(self, report: Report) -> None:
        from pluginhost.report import write_report

        for name in ("json", "save"):
            file = self._settings.file(name)
            if file is None:
                continue
            try:
                write_report(report, file)
                self._terminal.said(f"written: {printable(file)}")
            except Exception as error:
                self._terminal.failed(_named(error))


def _own() -> tuple[str, ...]:
    """Return the modules of pytest itself, in the order in which they were imported."""
    return tuple(name for name in sys.modules if name.startswith("_pytest."))


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {printable(error, 300)}"
