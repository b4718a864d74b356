"""Worker processes: starting them, talking to them, and ending them with all that they started."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from secrets import token_hex
from typing import Any, NamedTuple

from pluginhost.errors import WorkerCrashedError
from pluginhost.host.runners import sweeping
from pluginhost.host.runners.channel import Channel, ChannelClosedError
from pluginhost.host.runners.counting import Counter
from pluginhost.host.runners.frames import (
    VERSION,
    Answer,
    FrameError,
    Hello,
    answer_of,
)
from pluginhost.host.scratch import scratch_file
from pluginhost.printable import printable

_BOOT = (
    "from sys import argv, path; path[:] = argv[6:]; del argv[6:];"
    "from pluginhost.host.runners.worker import main; main(*map(int, argv[1:5]), argv[5])"
)
_REAPING_S = 1.0
_WHERE_S = 0.03
_LOG_BYTES = 20_000
_NAMES = {number.value: number.name for number in signal.Signals}
_MAIN = "/runners/worker.py"  # is in the stack of the thread that the plugin has
_STDLIB = f"{Path(os.__file__).parent}/"
_FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)


class Exit(NamedTuple):
    """How a process ended: its code, negative for a signal, and the CPU time it had used."""

    code: int | None
    cpu_ns: int | None

    @property
    def status(self) -> str:
        """In words, such as "SIGSEGV" or "exit code 3"."""
        if self.code is None:
            return "unknown"
        if self.code < 0:
            return _NAMES.get(-self.code, f"signal {-self.code}")
        return f"exit code {self.code}"


class Spawner:
    """Starts processes from one thread that stays.

    The kernel ends a process whose parent ends, and takes the thread that started it for that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[Callable[[], None] | None] | None = None
        self._thread: threading.Thread | None = None

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Return the process started by `command`; raises what `subprocess.Popen` does."""
        done: SimpleQueue[subprocess.Popen[bytes] | BaseException] = SimpleQueue()

        def start() -> None:
            try:
                done.put(subprocess.Popen(command, **options))  # noqa: S603  # our own program
            except BaseException as error:  # handed to who asked for it
                done.put(error)

        with self._lock:
            if self._jobs is None:
                self._jobs = SimpleQueue()
                self._thread = threading.Thread(
                    target=_work, args=(self._jobs,), name="pluginhost-spawner", daemon=True
                )
                self._thread.start()
            self._jobs.put(start)
        found = done.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def close(self) -> None:
        """End the thread, and with it every process that it started and that still runs."""
        with self._lock:
            if self._jobs is not None and self._thread is not None:
                self._jobs.put(None)
                self._thread.join()
            self._jobs = self._thread = None


def _work(jobs: SimpleQueue[Callable[[], None] | None]) -> None:
    while (job := jobs.get()) is not None:
        job()


class WorkerProcess:
    """A process that was started to run one plugin, and the connection to it."""

    def __init__(
        self,
        spawner: Spawner,
        mark: str,
        interpreter: str,
        variables: Mapping[str, str],
        *,
        descendants: int | None = None,
    ) -> None:
        self._mark = f"{mark}:{token_hex(8)}"
        self._cookie = token_hex(16)
        self._lock = threading.Lock()
        self.exit: Exit | None = None
        self.survivors: tuple[int, ...] = ()
        self.place = (
            ""  # where the plugin was in the end, as "f() in plugin.py:7", if that is known
        )
        ours, theirs = socket.socketpair()
        alive, self._alive = os.pipe()
        self._log = scratch_file()
        descriptors = theirs.fileno(), alive, self._log.fileno()
        words = [*map(str, (*descriptors, os.getpid())), self._cookie, *sys.path]
        try:
            self._process = spawner.start(
                [interpreter or sys.executable, "-c", _BOOT, *words],
                stdin=subprocess.DEVNULL,
                pass_fds=descriptors,
                start_new_session=True,
                env={**variables, sweeping.VARIABLE: self._mark},
            )
        except BaseException:
            ours.close()
            os.close(self._alive)
            self._log.close()
            raise
        finally:
            theirs.close()
            os.close(alive)
        self.pid = self._process.pid
        self._handle = _handle_of(self.pid)
        self._channel = Channel(ours, ended=self._handle)
        self.too_many = ""  # what it was killed for, in words
        if descendants is not None:
            Counter(
                self.pid,
                self._mark,
                descendants,
                has_ended=lambda: self.has_ended,
                over=lambda family: self._kill_all(family, descendants),
            ).start()

    def greet(self, until: float) -> None:
        """Wait for the process to say that it is the one that was started.

        Raises `WorkerCrashedError` when it says something else or nothing.
        """
        try:
            hello = self.receive(until)
        except TimeoutError:
            self.kill()
            raise _no_worker("did not answer in time") from None
        except ChannelClosedError:
            self.kill()
            raise _no_worker(f"ended with {self.status} before it said anything") from None
        except FrameError as error:
            self.kill()
            raise _no_worker(f"does not talk like one: {error}") from error
        if hello != Hello(VERSION, self._cookie):
            self.kill()
            raise _no_worker("is of another version, or not the one that was started")

    def send(self, frame: bytes, until: float | None = None) -> None:
        """Send a frame; see `Channel.send`."""
        self._channel.send(frame, until=until)

    def receive(self, until: float | None = None) -> Answer:
        """Return the next answer; see `Channel.receive`, and `FrameError` if it is none."""
        return answer_of(self._channel.receive(until=until))

    @property
    def status(self) -> str:
        """How it ended, once it has."""
        return self.exit.status if self.exit is not None else "unknown"

    def peak_rss_bytes(self) -> int | None:
        """Return what it holds at most since its last execution began, while it runs."""
        with suppress(OSError, ValueError):
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
            found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
            return 1024 * int(found[1]) if found else None
        return None

    def ask_where(self) -> None:
        """Have its fault handler write down where its threads are, whatever they are doing.

        Waits for that for a few hundredths of a second at most.
        """
        with suppress(OSError):
            os.kill(self.pid, signal.SIGUSR1)  # it is not reaped yet, so the number is its own
            end = time.monotonic() + _WHERE_S
            while not self._where() and time.monotonic() < end:
                time.sleep(0.003)

    def _where(self) -> str:
        with suppress(OSError):
            text = os.pread(self._log.fileno(), _LOG_BYTES, 0).decode(errors="replace")
            for block in text.split("\n\n"):
                calls, main, _ = block.partition(_MAIN)
                frames = _FRAME.findall(calls) if main else []
                if frames:
                    own = (frame for frame in frames if not _is_stdlib(frame[0]))
                    path, line, function = next(own, frames[0])
                    return f"{function}() in {Path(path).name}:{line}"
        return ""

    def kill(self) -> Exit:
        """End it and all that it has started, now, and return how it ended; also if it has."""
        with self._lock:
            if self.exit is None:
                with suppress(OSError):
                    os.killpg(self.pid, signal.SIGKILL)
                self.survivors = sweeping.kill_marked(self._mark)
                self.place = self._where()
                self.exit = self._reaped()
                self._close()
            return self.exit

    def _kill_all(self, family: sweeping.Family, most: int) -> None:
        self.too_many = f"had started more processes than the {most} that may run at once"
        family.stop()
        self.kill()

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, by itself or not."""
        if self._handle is None or self.exit is not None:
            return self.exit is not None
        return _readable(self._handle, 0.0)

    def abandon(self) -> None:
        """Let go of it in a forked process: it is the parent's."""
        self.exit = Exit(None, None)
        self._process.returncode = 0  # so that nobody waits for it here
        self._close()

    def _close(self) -> None:
        self._channel.close()
        self._log.close()
        os.close(self._alive)
        if self._handle is not None:
            os.close(self._handle)

    def _reaped(self) -> Exit:
        end = time.monotonic() + _REAPING_S
        while True:
            try:
                pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            except ChildProcessError:  # the application waits for children that are not its own
                self._process.returncode = 0
                return Exit(None, None)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self._process.returncode = code
                return Exit(code, round(1e9 * (usage.ru_utime + usage.ru_stime)))
            if time.monotonic() > end:
                return Exit(None, None)  # in the kernel's hands; `subprocess` goes on waiting
            if self._handle is None:
                time.sleep(0.002)
            else:
                _readable(self._handle, max(0.0, end - time.monotonic()))


def _handle_of(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends, None where there are none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _is_stdlib(path: str) -> bool:
    return path.startswith(_STDLIB) and "site-packages" not in path


def _readable(descriptor: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(1000 * timeout_s))


def _no_worker(what: str) -> WorkerCrashedError:
    return WorkerCrashedError(
        f"the process that was started for it {printable(what)}",
        remedy="see what it wrote to standard error; the environment may lack a package",
    )
