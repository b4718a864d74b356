"""What comes of a profile: the section in the terminal, files, and whether the run has failed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pluginhost.errors import PluginHostError
from pluginhost.printable import printable
from pluginhost.pytest_plugin.earlier import imported_again, with_earlier
from pluginhost.pytest_plugin.settings import Settings
from pluginhost.pytest_plugin.suite_capture import SuiteCapture
from pluginhost.pytest_plugin.terminal import Terminal
from pluginhost.report import Report

if TYPE_CHECKING:
    from pluginhost.pytest_plugin.gate import Judgement

T = TypeVar("T")


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
            self._terminal.show(report)
        except Exception as error:
            self._terminal.failed(f"the profile could not be worked out: {_named(error)}")
            return
        judgement = self._tried("baseline", self._judged, report)
        for name, write in _WRITERS.items():
            file = self._settings.file(name)
            if file is not None and self._tried(name, write, report, file, judgement):
                self._terminal.said(f"{name} written to {printable(file)}")
        if self._settings.flag("junit"):
            self._tried("junit", self._add_properties, report)

    def _tried(self, what: str, function: Callable[..., T], *arguments: Any) -> T | None:
        """Return what a function does, or say that it could not do it."""
        try:
            return function(*arguments)
        except Exception as error:
            self._terminal.failed(f"{what}: {_named(error)}")
            return None

    def _judged(self, report: Report) -> Judgement | None:
        """Compare with the baseline, if there is one; fail the session where something is slower."""
        file, share = self._settings.file("baseline"), self._settings.fail_over()
        if file is None:
            if share is not None:
                self._terminal.failed("nothing to compare with: give --plugin-profile-baseline")
            return None
        from pluginhost.pytest_plugin.gate import DEFAULT_SHARE, judged

        found = judged(report, file, share or DEFAULT_SHARE)
        self._terminal.judged(found, fails=share is not None)
        passed = getattr(self._session, "exitstatus", 1) == 0
        if found.culprits and share is not None and passed:
            self._session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return found

    def _add_properties(self, report: Report) -> None:
        from pluginhost.pytest_plugin.junit import add_properties

        assert report.suite is not None
        if not add_properties(self._config, report.suite):
            self._terminal.failed("junit: no file is written without --junit-xml")

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


def _save(report: Report, file: Path, _judgement: Judgement | None) -> bool:
    from pluginhost.report import write_report

    write_report(report, file)
    return True


def _export(report: Report, file: Path, name: str) -> bool:
    from pluginhost.exporters import export

    made = export(name, report)
    file.write_bytes(made if isinstance(made, bytes) else made.encode("utf-8", "backslashreplace"))
    return True


def _html(report: Report, file: Path, _judgement: Judgement | None) -> bool:
    return _export(report, file, "html")


def _speedscope(report: Report, file: Path, _judgement: Judgement | None) -> bool:
    return _export(report, file, "speedscope")


def _markdown(report: Report, file: Path, judgement: Judgement | None) -> bool:
    from pluginhost.pytest_plugin.markdown import markdown

    assert report.costs is not None
    assert report.suite is not None
    with file.open("a", encoding="utf-8") as opened:  # the summary of a CI run has several authors
        opened.write(markdown(report.costs, report.suite, judgement))
    return True


_WRITERS: dict[str, Callable[[Report, Path, Judgement | None], bool]] = {
    "json": _save,
    "save": _save,
    "html": _html,
    "speedscope": _speedscope,
    "markdown": _markdown,
}


def _own() -> tuple[str, ...]:
    """Return the modules of pytest itself, in the order in which they were imported."""
    return tuple(name for name in sys.modules if name.startswith("_pytest."))


def _named(error: BaseException) -> str:
    if isinstance(error, PluginHostError):
        return printable(error, 500)
    return f"{type(error).__name__}: {printable(error, 300)}"
