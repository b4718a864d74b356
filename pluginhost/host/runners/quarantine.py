"""Which plugins crashed when: how long to wait before the next start, and when to stop starting.

Three crashes within five minutes put a plugin in quarantine. Once that is over, one execution is
tried: if it crashes, the quarantine begins anew and lasts twice as long, else all is forgotten.
What is known is kept in a file, so that a restart of the host does not begin at zero. Another
version of the plugin does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from pluginhost.errors import QuarantinedPluginError, ReportFileError
from pluginhost.saving import write_file

VERSION = 1
_LONGEST_S = 24 * 3600.0


class CrashPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How many crashes are too many. Times are in seconds."""

    max_crashes: int = 3
    within_s: float = 300.0
    quarantine_s: float = 300.0
    backoff_s: float = 0.1
    """Before the first restart; each further crash doubles it, up to `max_backoff_s`."""
    max_backoff_s: float = 5.0


class CrashHistory(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one plugin: when it crashed (since the epoch), and its quarantine, if any."""

    version: str = ""
    crashes: tuple[float, ...] = ()
    reason: str = ""
    quarantined_at: float | None = None
    quarantines: int = 0


class StateFile(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    schema_version: int = VERSION
    plugins: dict[str, CrashHistory] = {}


def state_path(host_name: str) -> Path:
    """Return where the platform keeps such a file for a host of this name."""
    from platformdirs import user_state_path

    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in host_name)
    return user_state_path("pluginhost") / f"{plain[:80] or '_'}.crashes.json"


class Quarantine:
    """Keeps the crashes of a host's plugins in the file at `path()`, None for nowhere.

    A file that cannot be read or written harms nobody: what is known is then known until the end of
    the process. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        path: Callable[[], Path | None],
        policy: CrashPolicy,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._policy = policy
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, CrashHistory] | None = None

    def wait_s(self, plugin_id: str, version: str) -> float | None:
        """Return how long the quarantine still lasts, 0.0 when one may be tried, None without."""
        history = self._history(plugin_id, version)
        if history.quarantined_at is None:
            return None
        lasts_s = self._policy.quarantine_s * 2.0 ** min(history.quarantines - 1, 30)
        passed_s = self._clock() - history.quarantined_at
        if passed_s < 0:
            passed_s = 0.0  # the clock was set back
        return max(0.0, min(lasts_s, _LONGEST_S) - passed_s)

    def crashed(self, plugin_id: str, version: str, reason: str) -> float | None:
        """Note a crash; return how long to wait before a restart, None for a quarantine."""
        now = self._clock()
        history = self._history(plugin_id, version)
        recent = [t for t in history.crashes if 0 <= now - t <= self._policy.within_s]
        recent = [*recent, now][-max(1, self._policy.max_crashes) :]
        history = replace(history, crashes=tuple(recent), reason=reason)
        if history.quarantined_at is not None or len(recent) >= self._policy.max_crashes:
            number = history.quarantines + 1
            history = replace(history, quarantined_at=now, quarantines=number)
        self._note(plugin_id, history)
        if history.quarantined_at is not None:
            return None
        delay_s = self._policy.backoff_s * 2.0 ** min(len(recent) - 1, 30)
        return min(delay_s, self._policy.max_backoff_s)

    def recovered(self, plugin_id: str) -> None:
        """Forget the plugin's crashes: it was tried, and did not crash."""
        self._note(plugin_id, None)

    def refusal(self, plugin_id: str, version: str) -> QuarantinedPluginError | None:
        """Return why the plugin is not to be run now, None if it may be."""
        wait_s = self.wait_s(plugin_id, version)
        if not wait_s:
            return None
        return self.error(plugin_id, version)

    def error(self, plugin_id: str, version: str) -> QuarantinedPluginError:
        """Return what to say of a plugin in quarantine."""
        history, wait_s = self._history(plugin_id, version), self.wait_s(plugin_id, version) or 0.0
        count = len(history.crashes)
        return QuarantinedPluginError(
            f"it is in quarantine for {wait_s:.0f} s more, after {count} crashes"
            f" within {self._policy.within_s:.0f} s; the last: {history.reason}",
            plugin_id=plugin_id,
            remedy="mend or update it; it is tried again then, or after release()",
        )

    def after_fork(self) -> None:
        """Begin with a lock that nobody holds."""
        self._lock = threading.Lock()

    def _history(self, plugin_id: str, version: str) -> CrashHistory:
        with self._lock:
            history = self._all().get(plugin_id)
        if history is None or history.version != version:
            return CrashHistory(version=version)
        return history

    def _note(self, plugin_id: str, history: CrashHistory | None) -> None:
        """Change what is known of one plugin, in the file as it is now."""
        with self._lock:
            known = self._all()
            if history is None and plugin_id not in known:
                return
            known = (_read(self._path()) or {}) | known
            if history is None:
                del known[plugin_id]
            else:
                known[plugin_id] = history
            self._known = known
            _write(self._path(), known)

    def _all(self) -> dict[str, CrashHistory]:
        if self._known is None:
            self._known = _read(self._path()) or {}
        return self._known


def _read(path: Path | None) -> dict[str, CrashHistory] | None:
    if path is None:
        return None
    try:
        found = msgspec.json.decode(path.read_bytes(), type=StateFile)
    except (OSError, ValueError, RecursionError):
        return None  # it is not there, or not ours: begin anew
    return found.plugins if found.schema_version == VERSION else None


def _write(path: Path | None, known: dict[str, CrashHistory]) -> None:
    if path is None:
        return
    text = msgspec.json.encode(StateFile(plugins=known), order="deterministic")
    with suppress(OSError, ReportFileError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(msgspec.json.format(text, indent=2) + b"\n", path)
