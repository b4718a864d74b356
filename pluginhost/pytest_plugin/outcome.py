"""What comes of a profile: the section in the terminal, files, and whether the run has failed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pluginhost.figures import duration
from pluginhost.printable import printable
from pluginhost.pytest_plugin.at_exit import AtExit
from pluginhost.pytest_plugin.notable import is_notable
from pluginhost.pytest_plugin.recorded import Recorded, report_of
from pluginhost.pytest_plugin.settings import Settings, is_stream
from pluginhost.pytest_plugin.suite_capture import SuiteCapture
from pluginhost.pytest_plugin.terminal import Terminal
from pluginhost.suite import Until

if TYPE_CHECKING:
    from pluginhost.pytest_plugin.earlier import Imported
    from pluginhost.pytest_plugin.gate import Judgement
    from pluginhost.report import Report
    from pluginhost.suite import SuiteReport


class Outcome:
    """Works out the report of a session, and tells everybody who wanted to know.

    First at the summary; then again when pytest ends, as far as anybody needs it. Whatever goes
    wrong here is ours: the session ends as it would have without us, and the terminal says what is
    missing.
    """

    def __init__(
        self, config: Any, settings: Settings, terminal: Any, session: Any, workers: Iterable[Any]
    ) -> None:
        self._config = config
        self._settings = settings
        self._terminal = Terminal(terminal)
        self._session = session
        self._workers = workers
        self._earlier: tuple[Imported, ...] | None = None
        self._shown: Recorded | None = None
        self._elapsed_ns = 0
        self._whole: Recorded | None = None
        self._judgement: Judgement | None = None
        self._written: dict[str, Path] = {}
        self._streams: dict[str, Path] = {}
        self._told_ns = 0

    def tell(self, capture: Callable[[], SuiteCapture]) -> None:
        """Show where the time went until now, and write it: the process may get no further."""
        begun_ns = time.perf_counter_ns()
        try:
            recorded = self._recorded(capture)
            files = self._settings.report_files()
            in_full = bool(files) or self._terminal.shows_all
            costs, suite = recorded.costs(Until.SUMMARY, in_full=in_full)
            self._shown, self._elapsed_ns = recorded, suite.elapsed_ns
            self._terminal.show(costs, suite, time.perf_counter_ns() - begun_ns)
        except Exception as error:
            self._failed("the profile could not be worked out", error)
        else:
            report = report_of(costs, suite) if files else None
            for name, file in files.items():
                if is_stream(file):  # it is written to once, at the end
                    self._streams[name] = file
                elif self._write(report, name, file):
                    self._written[name] = file
            if self._settings.flag("junit"):
                self._tried("junit", self._add_properties, suite)
        self._told_ns = time.perf_counter_ns()

    def _write(self, report: Report | None, name: str, file: Path) -> bool:
        from pluginhost.pytest_plugin.files import WRITERS

        written = self._tried(name, WRITERS[name], report, file)
        if written:
            self._terminal.said(f"{name} written to {printable(file)}")
        return written

    def conclude(self, capture: Callable[[], SuiteCapture], at_exit: AtExit | None) -> None:
        """Tell what came since, write and judge it; have `at_exit` tell what comes then."""
        from pluginhost.pytest_plugin.ending import (
            Exiting,
            Moment,
            threads_waited_for,
        )

        begun, elapsed_ns = Moment.now(), self._elapsed_ns
        if self._shown is None:
            return
        notable = is_notable(begun.clock_ns - self._told_ns, elapsed_ns)
        share = self._settings.fail_over()
        asked = share is not None or any(map(self._settings.file, ("baseline", "markdown")))
        if notable or asked or self._written or self._streams:
            later_ns = begun.clock_ns - self._told_ns if notable else None
            self._tried("what came after the summary", self._tell_whole, capture, later_ns)
        if at_exit is not None:
            exiting = Exiting(
                begun=begun,
                told=Moment.now(),
                elapsed_ns=elapsed_ns,
                threads=threads_waited_for(),
                recorded=self._whole if self._written else None,
                files=self._written,
                aloud=self._terminal.is_aloud,
            )
            at_exit.then(exiting.tell)

    def _tell_whole(self, capture: Callable[[], SuiteCapture], later_ns: int | None) -> None:
        """Write and judge the whole; say what came later than the section, if that is notable."""
        from pluginhost.pytest_plugin.ending import who_took_it
        from pluginhost.pytest_plugin.files import WRITERS

        recorded = self._recorded(capture)
        costs, suite = recorded.costs(Until.END)
        if later_ns is not None and self._shown is not None:
            before = self._shown.costs(Until.SUMMARY)
            text = f"{duration(later_ns)} more until pytest had ended"
            self._terminal.later(f"{text}: {who_took_it(before, (costs, suite))}")
        report = report_of(costs, suite)
        self._tried("baseline", self._judge, report)
        self._whole = msgspec.structs.replace(recorded, exit_code=self._exit_code())
        costs = msgspec.structs.replace(costs, exit_code=self._whole.exit_code)
        report = msgspec.structs.replace(report, costs=costs)
        for name, file in list(self._written.items()):
            if not self._tried(name, WRITERS[name], report, file):
                del self._written[name]
        for name, file in self._streams.items():
            self._write(report, name, file)
        summary = self._settings.file("markdown")
        if summary is not None and self._tried(
            "markdown", _add_to, report, summary, self._judgement
        ):
            self._terminal.said(f"markdown written to {printable(summary)}")

    def _tried(self, what: str, function: Callable[..., None], *arguments: Any) -> bool:
        """Whether a function could do what it does; say why not."""
        try:
            function(*arguments)
        except Exception as error:
            self._failed(what, error)
            return False
        return True

    def _failed(self, what: str, error: Exception) -> None:
        from pluginhost.errors import named

        self._terminal.failed(f"{what}: {named(error)}")

    def _judge(self, report: Report) -> None:
        """Compare with the baseline, if there is one; fail the session where something is slower."""
        file, share = self._settings.file("baseline"), self._settings.fail_over()
        if file is None:
            if share is not None:
                self._terminal.failed("nothing to compare with: give --plugin-profile-baseline")
            return
        from pluginhost.pytest_plugin.gate import DEFAULT_SHARE, judged

        self._judgement = found = judged(report, file, share or DEFAULT_SHARE)
        self._terminal.judged(found, fails=share is not None)
        passed = getattr(self._session, "exitstatus", 1) == 0
        if found.culprits and share is not None and passed:
            self._session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _add_properties(self, suite: SuiteReport) -> None:
        from pluginhost.pytest_plugin.junit import add_properties

        if not add_properties(self._config, suite):
            self._terminal.failed("junit: no file is written without --junit-xml")

    def _recorded(self, capture: Callable[[], SuiteCapture]) -> Recorded:
        """Return what all processes have recorded until now, with what came before."""
        captured = capture()
        captures = [captured, *(each for each in self._workers if isinstance(each, SuiteCapture))]
        if self._settings.value("imports") != "none" and captured.early:
            from pluginhost.pytest_plugin.earlier import imported_again, with_earlier

            if self._earlier is None:
                self._earlier = imported_again(("pytest", *_own(), *captured.early))
            captures = [with_earlier(each, self._earlier) for each in captures]
        return Recorded(
            captures=tuple(captures),
            missing=[each for each in self._workers if not isinstance(each, SuiteCapture)],
            command=("pytest", *map(printable, self._config.invocation_params.args)),
            root=self._config.rootpath,
            exit_code=self._exit_code(),
        )

    def _exit_code(self) -> int | None:
        status = getattr(self._session, "exitstatus", None)
        return int(status) if status is not None else None


def _add_to(report: Report, file: Path, judgement: Judgement | None) -> None:
    from pluginhost.pytest_plugin.markdown import markdown

    assert report.costs is not None
    assert report.suite is not None
    with file.open("a", encoding="utf-8") as opened:  # the summary of a CI run has several authors
        opened.write(markdown(report.costs, report.suite, judgement))


def _own() -> tuple[str, ...]:
    """Return the modules of pytest itself, in the order in which they were imported."""
    return tuple(name for name in sys.modules if name.startswith("_pytest."))
