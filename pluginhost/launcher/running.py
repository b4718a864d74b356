"""Starting a planned process, waiting for it, and gathering what it left."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import msgspec

from pluginhost.attribution import NEGLIGIBLE, costs_of
from pluginhost.capture import Capture
from pluginhost.costs import CostReport
from pluginhost.errors import LaunchError
from pluginhost.figures import duration
from pluginhost.launcher.orders import CAPTURE, FAILED, WRITTEN, Orders
from pluginhost.launcher.plan import Plan
from pluginhost.printable import printable

_INJECT = str(Path(__file__).parent / "inject")


class Outcome(NamedTuple):
    """How a program ended, and what was recorded.

    `returncode` is negative for a signal, as in `subprocess`. `captures` begins with the program's
    own, or is empty if it left none; then `missing` says why. Times are monotonic, in ns.
    """

    returncode: int
    started_ns: int
    exited_ns: int
    captures: tuple[Capture, ...] = ()
    missing: tuple[str, ...] = ()
    written_ns: int = 0
    """How long the program's process was busy leaving its record."""

    @property
    def wall_ns(self) -> int:
        """From before the program was started until it had ended."""
        return self.exited_ns - self.started_ns

    @property
    def exit_code(self) -> int:
        """The exit code as a shell counts."""
        return self.returncode if self.returncode >= 0 else 128 - self.returncode


def observed(
    plan: Plan, *, follow: bool = False, cpu: bool = True, sparing: bool = True
) -> Outcome:
    """Run a program with its own input and output, and return what was recorded in it.

    Unless it is `sparing`, every call of the application's own implementations is timed, too.
    """
    with tempfile.TemporaryDirectory(prefix="pluginhost-") as folder:
        path = os.environ.get("PYTHONPATH")
        orders = Orders(cpu=cpu, follow=follow, sparing=sparing, python_path=path)
        return _gathered(_run(plan.words, folder, orders), Path(folder))


def unobserved(
    words: Sequence[str], *, blocked: tuple[tuple[str, str], ...] | None = None
) -> Outcome:
    """Run a program without input, and without its output, as it is.

    Unless `blocked` is None, plugin managers register none of these plugins, see `Orders`.
    """
    with tempfile.TemporaryDirectory(prefix="pluginhost-") as folder:
        orders = None
        if blocked is not None:
            path = os.environ.get("PYTHONPATH")
            orders = Orders(record=False, blocked=blocked, python_path=path)
        return _run(words, folder, orders, stream=subprocess.DEVNULL)


def costs(plan: Plan, outcome: Outcome) -> CostReport:
    """Return what the plugins cost in a program that left at least its own capture."""
    report = costs_of(
        outcome.captures,
        command=tuple(printable(word) for word in plan.command),
        started_ns=outcome.started_ns,
        exited_ns=outcome.exited_ns,
        exit_code=outcome.exit_code,
        ended=f"signal {-outcome.returncode}" if outcome.returncode < 0 else None,
        incomplete=outcome.missing,
        least_share=NEGLIGIBLE,
    )
    report = _with_writing(report, outcome.written_ns)
    if report.application.name == "pytest":
        return msgspec.structs.replace(report, notes=(*report.notes, _NOT_ASKED))
    return report


_NOT_ASKED = (
    "whether tests or options need a plugin is not looked at here: pytest --plugin-profile does"
)


def _with_writing(report: CostReport, written_ns: int) -> CostReport:
    """Return `report` with the time for leaving the record as measuring, no more unattributed."""
    written_ns = max(0, min(written_ns, report.unattributed_ns))
    measuring = msgspec.structs.replace(
        report.measuring, processing_ns=report.measuring.processing_ns + written_ns
    )
    return msgspec.structs.replace(
        report, measuring=measuring, unattributed_ns=report.unattributed_ns - written_ns
    )


def _run(
    words: Sequence[str], folder: str, orders: Orders | None, stream: int | None = None
) -> Outcome:
    environment = None
    if orders is not None:
        environment = orders.environment(folder, _INJECT)
        orders.write(folder)
    started_ns = time.perf_counter_ns()
    with _signals_are_the_programs() as forward_to:
        try:
            process = subprocess.Popen(  # noqa: S603  # the user's own command
                words, stdin=stream, stdout=stream, stderr=stream, env=environment
            )
        except (OSError, ValueError) as error:
            raise LaunchError(
                f"{words[0]} cannot be started: {error}", remedy="check the path"
            ) from error
        forward_to.append(process)
        process.wait()
    return Outcome(process.returncode, started_ns, time.perf_counter_ns())


@contextmanager
def _signals_are_the_programs() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Leave signals to the program: those from a terminal reach it anyway, others are passed on."""
    processes: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        for process in processes:
            process.send_signal(number)

    def leave_to_it(_number: int, _frame: FrameType | None) -> None:
        """Do nothing. To ignore the signal instead would be inherited by the program."""

    own = {}
    if threading.current_thread() is threading.main_thread():
        for names, handler in ((_OF_TERMINALS, leave_to_it), (_OF_OTHERS, pass_on)):
            for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    own[number] = signal.signal(number, handler)
    try:
        yield processes
    finally:
        for number, before in own.items():
            signal.signal(number, before)


_OF_TERMINALS = ("SIGINT", "SIGQUIT")
_OF_OTHERS = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


def _gathered(outcome: Outcome, folder: Path) -> Outcome:
    """Return `outcome` with what was left in `folder`, and what is missing of it in words."""
    captures: list[tuple[Capture, str]] = []
    missing = []
    for path in sorted(folder.iterdir()):
        try:
            if path.suffix == CAPTURE:
                captures.append(
                    (msgspec.msgpack.decode(path.read_bytes(), type=Capture), path.stem)
                )
            elif path.suffix == FAILED:
                why = printable(path.read_text(encoding="utf-8", errors="replace"))
                missing.append(f"the recording failed in process {path.stem}: {why}")
        except (OSError, msgspec.MsgspecError) as error:
            missing.append(f"a record is not readable: {printable(error)}")
    captures.sort(key=lambda pair: (pair[0].spawned_ns is None, pair[0].begun_ns))
    if not captures or captures[0][0].spawned_ns is None:
        how = f"signal {-outcome.returncode}" if outcome.returncode < 0 else "its own way"
        missing.insert(0, f"nothing was recorded: the program ended by {how} before it was kept")
        return outcome._replace(missing=tuple(missing))
    for position, (capture, _) in enumerate(captures):
        missing += _missing_of(capture, outcome, first=position == 0)
    written = folder / (captures[0][1] + WRITTEN)
    return outcome._replace(
        captures=tuple(capture for capture, _ in captures),
        missing=tuple(missing),
        written_ns=int(written.read_bytes()) if written.exists() else 0,
    )


def _missing_of(capture: Capture, outcome: Outcome, *, first: bool) -> Iterator[str]:
    what = "the program" if first else f"process {capture.pid}"
    if capture.ended == "running":
        left_ns = duration(max(0, outcome.exited_ns - capture.ended_ns))
        how = f"was ended by signal {-outcome.returncode}" if outcome.returncode < 0 else "ended"
        how = f"{how} without notice" if first else "had not ended, or did so without notice"
        yield f"{what} {how}: the last {left_ns} are not recorded"
    elif capture.ended == "exec":
        yield f"{what} replaced itself (exec): what came then is not recorded without --follow"
