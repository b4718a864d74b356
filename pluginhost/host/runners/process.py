"""The plugin runs in a process of its own, which is killed when it does not return in time.

There is one process a plugin, and one execution at a time in it: others wait for their turn. When
it ends, it is started again, after a while that gets longer with each crash; see `Quarantine`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable
from typing import Any

from pluginhost.errors import (
    DeadlineExceededError,
    PluginHostError,
    PluginLoadError,
    PluginStateError,
    QuarantinedPluginError,
    WorkerCrashedError,
)
from pluginhost.hookspecs import Task
from pluginhost.host.runners.answers import error_of, execution_of, load_error_of
from pluginhost.host.runners.channel import ChannelClosedError
from pluginhost.host.runners.frames import (
    Answer,
    FrameError,
    Load,
    Raised,
    Ready,
    Returned,
    Teardown,
    frame_of,
)
from pluginhost.host.runners.processes import Exit, WorkerProcess
from pluginhost.host.runners.quarantine import Quarantine
from pluginhost.host.runners.workers import Workers
from pluginhost.printable import printable
from pluginhost.reading import ProcessReading

_FEWER = "find out what it starts, or allow it more descendants"


class ProcessRunner:
    """Runs one plugin in a worker process; see the module."""

    is_async = False
    elsewhere = True

    def __init__(
        self,
        load: Load,
        workers: Workers,
        quarantine: Quarantine,
        *,
        version: str = "",
        deadline: float | None = None,
    ) -> None:
        self.deadline = deadline
        self.executes = False
        self._plugin_id = load.order.plugin_id
        self._version = version
        self._load = load
        self._workers = workers
        self._quarantine = quarantine
        self._turn = threading.Lock()  # who has it talks to the worker
        self._closing = threading.Event()
        self._worker: WorkerProcess | None = None
        self._survivors: list[str] = []
        self._total_cpu_ns = 0

    @property
    def abandoned(self) -> tuple[str, ...]:
        """The names of what could not be ended: none, but for processes that the kernel holds."""
        return tuple(self._survivors)

    @property
    def pid(self) -> int | None:
        """The process that the plugin runs in now, None while there is none."""
        worker = self._worker
        return None if worker is None or worker.has_ended else worker.pid

    @property
    def trouble(self) -> QuarantinedPluginError | None:
        """Why the plugin is in quarantine, None if it is not."""
        if self._quarantine.wait_s(self._plugin_id, self._version) is None:
            return None
        return self._quarantine.error(self._plugin_id, self._version)

    def start(self) -> None:
        """Import the plugin in its process, and set it up; raises `PluginLoadError` with why not."""
        self._refuse_in_quarantine()
        try:
            with self._turn:
                self._begin(None)
        except WorkerCrashedError as error:
            self.close()
            raise self._not_loaded(error.message, error.remedy) from error
        except BaseException:
            self.close()
            raise

    def run(self, task: Task) -> Any:
        """Execute it in its process; at the deadline, if there is one, the process is killed."""
        deadline = task.deadline
        until = None if deadline is None else time.monotonic() + deadline
        frame = execution_of(task, self._plugin_id)
        turn: threading.Lock | None = self._turn
        assert turn is not None
        if not turn.acquire(timeout=-1 if deadline is None else deadline):
            raise self._overran(task, "its process was busy with another execution, or starting")
        try:
            worker = self._ready_worker(task, until)
            answer = self._asked(worker, task, frame, until)
        except _EndedError as ended:
            if self._restarting(ended.delay_s):
                turn = None
            raise ended.error from None
        finally:
            if turn is not None:
                turn.release()
        if isinstance(answer, Returned):
            return answer.result
        raise error_of(answer, self._plugin_id, "execute")

    def run_with_deadline(self, task: Task) -> Any:
        """The same."""
        return self.run(task)

    def arun(self, task: Task) -> Awaitable[Any]:
        """Not used: the host calls `run` in a thread, whatever the implementation is."""
        raise NotImplementedError

    def awaited(self, awaitable: Awaitable[Any], task: Task) -> Awaitable[Any]:
        """Not used: what an implementation returns is awaited where it runs."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Have the plugin torn down, in the time that there is for it; raises what it raises."""
        until = time.monotonic() + self._workers.options.teardown_timeout_s
        if not self._turn.acquire(timeout=self._workers.options.teardown_timeout_s):
            return  # an execution goes on, and ends with the process
        try:
            worker = self._worker
            if worker is None or worker.has_ended:
                return
            worker.send(frame_of(Teardown()), until)
            answer = worker.receive(until)
        except (TimeoutError, ChannelClosedError, FrameError):
            return  # there is nothing left to do but to end it
        finally:
            self._turn.release()
        if isinstance(answer, Raised):
            raise error_of(answer, self._plugin_id, "teardown")

    def close(self) -> None:
        """End the process, and all that it started."""
        self._closing.set()
        worker = self._worker
        if worker is not None:
            self._ended(worker)

    def after_fork(self) -> None:
        """Begin anew in a child process, with a process of its own when it is executed."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.abandon()
        self._turn = threading.Lock()
        self._closing = threading.Event()

    # Starting

    def _ready_worker(self, task: Task, until: float | None) -> WorkerProcess:
        """Return a worker that waits for work, starting one if need be."""
        self._refuse_in_quarantine()
        worker = self._worker
        if worker is not None and worker.has_ended:  # while it had nothing to do
            crash = self._crashed(worker, "waited for work")
            if crash.delay_s is None:
                raise crash
            if self._closing.wait(_earliest(crash.delay_s, task.deadline)):
                raise self._unloaded()
        worker = self._worker
        if worker is not None:
            return worker
        try:
            return self._begin(until)
        except TimeoutError:
            raise self._overran(task, "its process was still starting") from None

    def _begin(self, until: float | None) -> WorkerProcess:
        """Start a worker and have it load the plugin.

        Raises `PluginLoadError` or `WorkerCrashedError` if that fails, `TimeoutError` at `until`.
        """
        options, now = self._workers.options, time.monotonic()
        try:
            worker = self._worker = self._workers.start(self._load.limits)
        except (OSError, ValueError) as error:
            raise self._not_loaded(
                f"no process can be started for it: {error}", "see what the system lacks"
            ) from error
        if self._closing.is_set():
            self._ended(worker)
            raise self._unloaded()
        try:
            worker.greet(_earliest(now + options.start_timeout_s, until))
            load_until = _earliest(now + options.load_timeout_s, until)
            worker.send(frame_of(self._load), load_until)
            answer = worker.receive(load_until)
        except TimeoutError:
            worker.ask_where()
            self._ended(worker)
            if until is not None and until <= time.monotonic():
                raise
            raise self._not_loaded(
                f"it was not loaded within {options.load_timeout_s:g} s, and its process was killed"
                f"{_in(worker.place)}",
                "find out what it waits for, or give it more load_timeout_s",
            ) from None
        except (ChannelClosedError, FrameError, WorkerCrashedError) as error:
            raise self._crashed(worker, "was loaded", error).error from error
        except BaseException:
            self._ended(worker)
            raise
        if not isinstance(answer, Ready):
            self._ended(worker)
            raise load_error_of(answer, self._plugin_id)
        self.executes, self._total_cpu_ns = answer.executes, answer.total_cpu_ns
        return worker

    def _restarting(self, delay_s: float | None) -> bool:
        """Start a new worker in the background; return whether a thread has the turn until then."""
        if delay_s is None or self._closing.is_set():
            return False
        thread = threading.Thread(
            target=self._restart,
            args=(delay_s, self._turn),
            name=f"pluginhost-restart-{self._plugin_id}",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError:
            return False  # the interpreter ends, or there are too many threads
        return True

    def _restart(self, delay_s: float, turn: threading.Lock) -> None:
        try:
            if not self._closing.wait(delay_s):
                self._begin(None)
        except PluginHostError:
            pass  # the next execution tries again, and is told
        finally:
            turn.release()

    # Executing

    def _asked(
        self, worker: WorkerProcess, task: Task, frame: bytes, until: float | None
    ) -> Returned | Raised:
        """Return the worker's answer; raises `_EndedError` when it had to be, or was, ended."""
        try:
            worker.send(frame, until)
            answer = worker.receive(until)
            _check_outcome(answer)
        except TimeoutError:
            raise _EndedError(self._killed(worker, task), 0.0) from None
        except (ChannelClosedError, FrameError) as error:
            raise self._crashed(worker, "was executed", error, task) from None
        except BaseException as error:  # such as Ctrl-C: its answer would be the next one's
            self._ended(worker)
            if isinstance(error, Exception):
                raise
            raise _EndedError(error, 0.0) from None
        assert isinstance(answer, Returned | Raised)
        assert answer.used is not None
        used = answer.used
        task.reading = ProcessReading(
            cpu_ns=used.cpu_ns,
            peak_rss_bytes=used.peak_rss_bytes,
            rss_before_bytes=used.rss_before_bytes,
            rss_after_bytes=used.rss_after_bytes,
            threads_before=used.threads_before,
            threads_after=used.threads_after,
        )
        self._total_cpu_ns = used.total_cpu_ns
        if self._quarantine.wait_s(self._plugin_id, self._version) is not None:
            self._quarantine.recovered(self._plugin_id)
        return answer

    def _killed(self, worker: WorkerProcess, task: Task) -> DeadlineExceededError:
        peak_rss_bytes = worker.peak_rss_bytes()
        worker.ask_where()
        task.reading = self._last_reading(self._ended(worker), peak_rss_bytes)
        return self._overran(task, f"its process was killed{_in(worker.place)}")

    def _crashed(
        self,
        worker: WorkerProcess,
        when: str,
        cause: BaseException | None = None,
        task: Task | None = None,
    ) -> _EndedError:
        """Note that the worker ended by itself, or had to be ended for what it sent."""
        broke_off = isinstance(cause, FrameError)
        ended = self._ended(worker)
        if task is not None:
            task.reading = self._last_reading(ended, None)
        if self._closing.is_set():
            return _EndedError(self._unloaded(), None)
        reason = f"its process ended with {ended.status}{_in(worker.place)} while it {when}"
        remedy = "see what it wrote to standard error"
        if broke_off:
            reason = f"its process sent what is no answer ({printable(cause)}), and was killed"
        elif worker.too_many:
            reason, remedy = (
                f"its process {worker.too_many}, and was killed with all of them",
                _FEWER,
            )
        elif isinstance(cause, WorkerCrashedError):
            reason = cause.message
        delay_s = self._quarantine.crashed(self._plugin_id, self._version, reason)
        if delay_s is None:
            remedy = "mend or update it; it is in quarantine now, see pluginhost.plugins"
        error = WorkerCrashedError(
            reason,
            exit_status=ended.status,
            plugin_id=self._plugin_id,
            hook="execute" if task is not None else None,
            remedy=remedy,
        )
        return _EndedError(error, delay_s)

    def _ended(self, worker: WorkerProcess) -> Exit:
        """End the worker and all that it started; return how it ended, if by itself or by that."""
        ended = worker.kill()
        if self._worker is worker:
            self._worker = None
        self._survivors += [f"process {pid}, which does not end" for pid in worker.survivors]
        return ended

    def _last_reading(self, ended: Exit, peak_rss_bytes: int | None) -> ProcessReading | None:
        """Return what the execution that ended the process took; its end is known to the kernel."""
        if ended.cpu_ns is None:
            return None
        return ProcessReading(
            cpu_ns=max(0, ended.cpu_ns - self._total_cpu_ns),
            peak_rss_bytes=peak_rss_bytes,
            exit_status=ended.status,
        )

    # What to say

    def _refuse_in_quarantine(self) -> None:
        refusal = self._quarantine.refusal(self._plugin_id, self._version)
        if refusal is not None:
            raise refusal

    def _not_loaded(self, message: str, remedy: str | None) -> PluginLoadError:
        return PluginLoadError(message, plugin_id=self._plugin_id, remedy=remedy)

    def _unloaded(self) -> PluginStateError:
        return PluginStateError(
            "it was unloaded meanwhile, and its process ended",
            plugin_id=self._plugin_id,
            hook="execute",
            remedy="give it more drain_seconds, if it was to finish",
        )

    def _overran(self, task: Task, what_now: str) -> DeadlineExceededError:
        return DeadlineExceededError(
            f"it did not return within {task.deadline} s; {what_now}",
            plugin_id=self._plugin_id,
            hook="execute",
            remedy="give it more time, or find out what it waits for",
        )


class _EndedError(Exception):
    """A worker was ended: `error` is for the caller, `delay_s` for the restart (None: not now)."""

    def __init__(self, error: BaseException, delay_s: float | None) -> None:
        self.error: Any = error
        self.delay_s = delay_s
        super().__init__(error)


def _check_outcome(answer: Answer) -> None:
    if not isinstance(answer, Returned | Raised) or answer.used is None:
        raise FrameError("an answer to another question")


def _earliest(*times: float | None) -> float:
    return min(time for time in times if time is not None)


def _in(place: str) -> str:
    return f" in {place}" if place else ""
