"""What runs in a worker process: it imports one plugin, and executes it as it is told to.

The plugin has the main thread. What may be measured of the process is measured here, where nothing
else runs. Nothing of this is imported by the host.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pluggy

from pluginhost.errors import PluginHostError, PluginLoadError, PluginStateError
from pluginhost.hookspecs import PROJECT_NAME, PluginSpec, Task
from pluginhost.host.locking import checking_reader
from pluginhost.host.manifest import Limits
from pluginhost.host.registration import (
    call_with_host,
    implementation,
    is_async,
    one_plugin_caller,
)
from pluginhost.host.runners import run_to_its_end
from pluginhost.host.runners.channel import Channel, ChannelClosedError
from pluginhost.host.runners.confining import confine_writes
from pluginhost.host.runners.frames import (
    VERSION,
    Done,
    Execute,
    FrameError,
    Hello,
    Load,
    Message,
    Order,
    Raised,
    Ready,
    Request,
    Returned,
    Used,
    frame_of,
    request_of,
)
from pluginhost.host.sources.importing import import_file, import_installed, plugin_object
from pluginhost.host.sources.trusted import Reader, read_trusted
from pluginhost.printable import in_a_line, printable

WHERE_SIGNAL = signal.SIGUSR1
"""Makes a worker write the stacks of its threads into its log, whatever it is doing."""

_MAX_MESSAGE = 2_000
_MAX_TRACEBACK = 20_000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_LIMITS = {
    "address_space_bytes": resource.RLIMIT_AS,
    "cpu_seconds": resource.RLIMIT_CPU,
    "open_files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "file_bytes": resource.RLIMIT_FSIZE,
}


def main(connection_fd: int, alive_fd: int, log_fd: int, host_pid: int, cookie: str) -> None:
    """Serve the host that started this process, for as long as it is there."""
    for descriptor in (connection_fd, alive_fd, log_fd):
        os.set_inheritable(descriptor, False)
    _end_with(host_pid, alive_fd)
    faulthandler.enable(log_fd)
    faulthandler.register(WHERE_SIGNAL, file=log_fd, all_threads=True)
    channel = Channel(socket.socket(fileno=connection_fd))
    channel.send(frame_of(Hello(VERSION, cookie)))
    worker = Worker()
    while True:
        try:
            request = request_of(channel.receive())
        except ChannelClosedError:
            os._exit(0)
        answer = worker.answer(request)
        channel.send(sendable(answer))
        if isinstance(answer, Done):
            os._exit(0)  # threads and exit handlers of the plugin do not hold this up


def sendable(answer: Message) -> bytes:
    """Return the answer as a frame; a result that cannot be sent becomes an error that says so."""
    try:
        return frame_of(answer)
    except FrameError as error:
        reason = PluginStateError(
            f"what it returned does not come through: {error}",
            hook="execute",
            remedy="return plain values (None, bool, int, float, str, bytes, list, dict), "
            "large ones in a file",
        )
        return frame_of(_raised(reason, answer.used if isinstance(answer, Returned) else None))


def _end_with(host_pid: int, alive_fd: int) -> None:
    """End when the host does: by the kernel's doing on Linux, everywhere by a closed pipe.

    The latter needs a moment of Python, which native code that does not return never gives.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != host_pid:
        os._exit(0)  # the host had ended before that

    def watch() -> None:
        while os.read(alive_fd, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="pluginhost-alive", daemon=True).start()


class Worker:
    """Holds the plugin and answers requests; whatever the plugin raises becomes an answer."""

    def __init__(self) -> None:
        self._host = RemoteHost("")
        self._manager = pluggy.PluginManager(PROJECT_NAME)
        self._manager.add_hookspecs(PluginSpec)
        self._call: Callable[[Task], Any] | None = None
        self._teardown: pluggy.HookImpl | None = None
        self._plugin: object = None
        self._peaks = _peak_counter()

    def answer(self, request: Request) -> Message:
        """Return the answer to a request."""
        used = None
        try:
            if isinstance(request, Load):
                self._load(request)
                return Ready(self._call is not None, time.process_time_ns())
            if isinstance(request, Execute):
                meter = Meter(self._peaks)
                try:
                    result = self._execute(request)
                finally:
                    used = meter.used()
                return Returned(result, used)
            call_with_host(self._teardown, self._host)
        except BaseException as error:
            return _raised(error, used)
        return Done()

    def _load(self, request: Load) -> None:
        self._host = RemoteHost(request.host_name)
        order = request.order
        _limit(request.limits)
        _confine(request)
        plugin_id = order.plugin_id
        self._plugin = plugin = _imported(order)
        self._manager.register(plugin, name=plugin_id)
        unknown = [c.name for c in self._manager.get_hookcallers(plugin) or () if not c.has_spec()]
        if unknown:
            raise PluginLoadError(
                "a plugin in a process of its own has no hooks but 'setup', 'execute' and"
                " 'teardown'",
                plugin_id=plugin_id,
                hook=unknown[0],
                remedy="run it inline, or correct the name",
            )
        setup, self._teardown, execute = (
            implementation(self._manager, plugin, hook, plugin_id)
            for hook in ("setup", "teardown", "execute")
        )
        if setup is self._teardown is execute is None:
            raise PluginLoadError(
                "it implements no hook",
                plugin_id=plugin_id,
                remedy="decorate its functions with @pluginhost.hookimpl",
            )
        if execute is not None:
            self._call = run_to_its_end(one_plugin_caller(execute), is_async=is_async(execute))
        call_with_host(setup, self._host)

    def _execute(self, request: Execute) -> Any:
        assert self._call is not None  # the host does not ask what is not ready
        task = Task(self._call, request.payload, request.options, self._host, None)
        return self._call(task)


class RemoteHost:
    """What a plugin sees of the host from its own process: the name."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def hook(self) -> pluggy.HookRelay:
        """Not from here."""
        raise self._refusal("calls no hooks of the host")

    def execute(self, plugin_id: str, payload: Any = None, /, **options: Any) -> Any:
        """Not from here."""
        raise self._refusal(f"cannot execute {printable(plugin_id, 80)!r}")

    async def aexecute(self, plugin_id: str, payload: Any = None, /, **options: Any) -> Any:
        """Not from here."""
        raise self._refusal(f"cannot execute {printable(plugin_id, 80)!r}")

    @staticmethod
    def _refusal(what: str) -> PluginStateError:
        return PluginStateError(
            f"a plugin in a process of its own {what}",
            hook="execute",
            remedy="run it inline, or let the host pass on what it needs",
        )


class Meter:
    """Measures this process from its making on: CPU, threads, and what it held at most.

    `peaks` is the descriptor by which the latter is begun anew, if there is one.
    """

    def __init__(self, peaks: int | None) -> None:
        self._threads = threading.active_count()
        try:
            self._before: int | None = None
            if peaks is not None:
                # Forgets the highest resident set there was, so that the next is this execution's.
                os.write(peaks, b"5")
                self._before = _resident()[1]
        except OSError:
            self._before = None
        self._cpu_ns = time.process_time_ns()

    def used(self) -> Used:
        """Return what was used since."""
        total_ns = time.process_time_ns()
        peak, after = (None, None) if self._before is None else _resident()
        threads = self._threads, threading.active_count()
        return Used(total_ns - self._cpu_ns, total_ns, peak, self._before, after, *threads)


def _resident() -> tuple[int, int]:
    """Return what the process has held at most, and what it holds now, in bytes."""
    peak = now = 0
    with open("/proc/self/status", "rb") as file:  # noqa: PTH123
        for line in file:
            if line.startswith(b"VmHWM:"):
                peak = 1024 * int(line.split()[1])
            elif line.startswith(b"VmRSS:"):
                now = 1024 * int(line.split()[1])
                break
    return max(peak, now), now


def _imported(order: Order) -> object:
    """Return the plugin object; see `Order`."""
    if order.path is None:
        return plugin_object(import_installed(order.module_name, fresh=False), order.attribute)
    path = Path(order.path)
    read: Reader = read_trusted if order.checked else Path.read_bytes
    if order.digests is not None:
        read = checking_reader(order.plugin_id, path, order.digests)
    module = import_file(order.module_name, path, read, native=order.digests is None)
    return plugin_object(module, order.attribute)


def _peak_counter() -> int | None:
    """Open it while that is allowed."""
    try:
        return os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _confine(request: Load) -> None:
    """Take the right to write from the process: what host and manifest both allow is left."""
    own = None if request.limits is None else request.limits.writable
    base = None if request.order.path is None else Path(request.order.path)
    if base is not None and not base.is_dir():
        base = base.parent
    for places, folder in ((request.writable, None), (own, base)):
        if places is not None:
            confine_writes(places, base=folder)


def _limit(limits: Limits | None) -> None:
    for name, number in _LIMITS.items():
        asked = None if limits is None else getattr(limits, name)
        if asked is not None:
            most = resource.getrlimit(number)[1]
            value = asked if most == resource.RLIM_INFINITY else min(asked, most)
            resource.setrlimit(number, (value, value))


def _raised(error: BaseException, used: Used | None) -> Raised:
    """Return what was raised in words, whatever it does about being shown."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    ours: Mapping[str, Any] = {}
    message = in_a_line(error, _MAX_MESSAGE)
    if isinstance(error, PluginHostError):
        message = printable(error.message, _MAX_MESSAGE)
        ours = {"ours": True, "hook": error.hook, "remedy": error.remedy}
    try:
        lines = "".join(traceback.format_exception(error))
    except BaseException:  # a plugin's exception may do anything
        lines = ""
    text = lines[-_MAX_TRACEBACK:].encode(errors="backslashreplace").decode()
    return Raised(printable(name, 200), message, text, used=used, **ours)
