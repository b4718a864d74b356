"""The recording of one launched process: from its start to whatever ends it.

What is recorded is kept in a file that is replaced whole, so that there is always a good one: a
provisional one while the program runs, the last one as late as Python lets us.
"""

from __future__ import annotations

import atexit
import functools
import os
import signal
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pluggy

from pluginhost.launcher.orders import CAPTURE, FAILED, WRITTEN
from pluginhost.recording import CPU_GAP_NS, Recorder

_PATIENCE_NS = 1_000_000_000
_SHARE = 50  # a provisional capture may take one part of so many of the time


class ProcessRecording:
    """Records this process, and with `follow` those forked from it, each into a file in `folder`."""

    def __init__(self, folder: str, *, cpu: bool, follow: bool, sparing: bool) -> None:
        self._folder = folder
        self._cpu_gap_ns = CPU_GAP_NS if cpu else None
        self._follow = follow
        self._sparing = sparing
        self._recorder: Recorder | None = None
        self._file = ""
        self._due_ns = 0
        self._saving = False
        self._forks = 0
        self._held: AbstractContextManager[None] | None = None

    def begin(self, *, begun_ns: int, spawned_ns: int | None) -> None:
        """Record from now on, and be there when the process ends."""
        atexit.register(self.save)  # the first that is registered is the last that runs
        self._wrap_ends()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._after_fork,
                after_in_child=self._after_fork_in_child,
            )
        self._record(begun_ns, spawned_ns)

    def watch(self, manager: pluggy.PluginManager) -> None:
        """Record a plugin manager; provisionally keep what is known when that is due."""
        if self._recorder is not None:
            self._recorder.watch(manager)
            self.keep()

    def keep(self) -> None:
        """Keep a provisional record if the last one is old."""
        if time.perf_counter_ns() > self._due_ns:
            self.save("running")

    def save(self, ended: str = "exit") -> None:
        """Keep all that was recorded until now, with what ended it; never raises."""
        recorder, begun_ns = self._recorder, time.perf_counter_ns()
        if recorder is None or self._saving:
            return
        self._saving = True
        try:
            capture = recorder.capture(ended)
            capture = msgspec.structs.replace(capture, notes=(*capture.notes, *self._notes()))
            _replace(self._file + CAPTURE, msgspec.msgpack.encode(capture))
            spent_ns = time.perf_counter_ns() - begun_ns
            self._due_ns = begun_ns + spent_ns + max(_PATIENCE_NS, _SHARE * spent_ns)
            if ended != "running":
                _replace(self._file + WRITTEN, str(spent_ns).encode())
        except Exception as error:  # the program's end is its own
            with suppress(OSError):
                _replace(self._file + FAILED, f"{type(error).__name__}: {error}".encode())
        finally:
            self._saving = False
            if ended == "exit":  # let go of all: Python is about to look at what is left
                recorder.close()
                self._recorder = None

    def _record(self, begun_ns: int, spawned_ns: int | None) -> Recorder:
        self._file = f"{self._folder}/{os.getpid()}-{begun_ns}"
        self._due_ns = begun_ns + _PATIENCE_NS
        recorder = self._recorder = Recorder(
            cpu_gap_ns=self._cpu_gap_ns,
            begun_ns=begun_ns,
            spawned_ns=spawned_ns,
            drained=self.keep,
            sparing=self._sparing,
            fixtures=True,
        )
        recorder.start()
        return recorder

    def _notes(self) -> tuple[str, ...]:
        if self._forks and not self._follow:
            return (f"forked {self._forks} times; the children are not recorded: use --follow",)
        return ()

    def _wrap_ends(self) -> None:
        """Keep what is known before whatever ends a program without its exit handlers."""
        self._wrap("_exit", "os._exit")
        for name in ("execv", "execve"):
            self._wrap(name, "exec")
        for number in _ENDING:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._on_signal)

    def _wrap(self, name: str, ended: str) -> None:
        original = getattr(os, name, None)
        if original is None:
            return

        @functools.wraps(original)
        def ending(*args: Any, **options: Any) -> Any:
            self.save(ended)
            return original(*args, **options)

        setattr(os, name, ending)

    def _on_signal(self, number: int, _frame: object) -> None:
        self.save(f"signal {number}")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _before_fork(self) -> None:
        if self._recorder is not None:
            held = self._recorder.held()
            held.__enter__()
            self._held = held  # by whoever holds it: another thread that forks waits above

    def _after_fork(self) -> None:
        self._forks += 1
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.__exit__(None, None, None)

    def _after_fork_in_child(self) -> None:
        """Begin anew, or leave no trace: what our parent recorded is its own."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        begun_ns = time.perf_counter_ns()
        self._release()
        recorder.close()
        self._saving, self._forks = False, 0
        if self._follow:
            fresh = self._record(begun_ns, None)
            for manager in recorder.managers():
                fresh.watch(manager)


_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _replace(path: str, content: bytes) -> None:
    """Have a file with this content at `path`, whole or not at all."""
    draft = Path(f"{path}.part")
    draft.write_bytes(content)
    draft.replace(path)
