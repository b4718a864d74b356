"""The worker processes of one host: how they are made, and who ends them when the host is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from secrets import token_hex

import msgspec

from pluginhost.host.manifest import Limits
from pluginhost.host.runners import sweeping
from pluginhost.host.runners.processes import Spawner, WorkerProcess
from pluginhost.host.runners.quarantine import CrashPolicy

_GUARD_S = 5.0
_NEEDED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONHOME", "SYSTEMROOT")


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How plugins run in processes of their own. Times are in seconds.

    `interpreter` is the Python that runs them (empty: the host's), which must have this package.
    """

    start_timeout_s: float = 10.0
    """For a process to say that it runs."""
    load_timeout_s: float = 30.0
    """For a plugin to be imported and set up."""
    teardown_timeout_s: float = 5.0
    """For a plugin to be torn down, before its process is ended."""
    interpreter: str = ""
    environment: tuple[str, ...] | None = None
    """The only environment variables that any plugin is given; None: all."""
    writable: tuple[str, ...] | None = None
    """The only files and folders that any plugin may write to, absolute; None: all. See `Limits`."""
    crashes: CrashPolicy = CrashPolicy()


class Workers:
    """Starts worker processes, and with the first of them a guard.

    The guard is a small process that does nothing until the host ends without having ended them;
    then it kills those that are left, and all that they have started.
    """

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        self._begin()

    def _begin(self) -> None:
        self._mark = token_hex(8)
        self._lock = threading.Lock()
        self._spawner = Spawner()
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self, limits: Limits | None) -> WorkerProcess:
        """Return a new process that has not said anything yet."""
        with self._lock:
            if self._guard is None and sys.platform == "linux":
                self._guard = self._spawner.start(
                    [sys.executable, "-I", "-S", str(sweeping.__file__), self._mark],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd="/",
                )
        variables = dict(os.environ)
        own = None if limits is None else limits.environment
        for named in (self.options.environment, own):
            if named is not None:
                allowed = {*named, *_NEEDED}
                variables = {name: value for name, value in variables.items() if name in allowed}
        return WorkerProcess(
            self._spawner,
            self._mark,
            self.options.interpreter,
            variables,
            descendants=None if limits is None else limits.descendants,
        )

    def close(self) -> None:
        """End the guard and the thread that starts processes; workers are to be ended before."""
        with self._lock:
            guard, self._guard = self._guard, None
            if guard is not None:
                _end(guard)
            self._spawner.close()

    def after_fork(self) -> None:
        """Begin anew in a child process: the workers and the guard are the parent's."""
        guard = self._guard
        self._begin()
        if guard is not None:
            guard.returncode = 0  # so that nobody waits for it here
            if guard.stdin is not None:
                guard.stdin.close()


def _end(guard: subprocess.Popen[bytes]) -> None:
    """Say goodbye to it, upon which it looks once more, and ends."""
    if guard.stdin is not None:
        with suppress(OSError), guard.stdin:
            guard.stdin.write(b".")
    try:
        guard.wait(_GUARD_S)
    except subprocess.TimeoutExpired:
        guard.kill()
        guard.wait()
