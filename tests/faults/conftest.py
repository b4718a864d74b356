"""Fixtures of the tests of faults: hosts whose plugins have processes of their own, and figures.

What the heavier tests have measured is kept in the file that PLUGINHOST_FIGURES names;
`python -m benchmarks.faults` shows it. The full counts are marked `slow`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pluginhost import PluginHost
from pluginhost.host.runners.quarantine import CrashPolicy
from pluginhost.host.runners.workers import WorkerOptions

UNSHAKEN = WorkerOptions(crashes=CrashPolicy(max_crashes=10**9, backoff_s=0.0))
"""Never any quarantine, and no pause before a restart."""


@pytest.fixture
def figure() -> Callable[..., None]:
    """Return `figure(what, value, unit="")`, which keeps what a test has measured."""

    def keep(what: str, value: float | str, unit: str = "") -> None:
        file = os.environ.get("PLUGINHOST_FIGURES")
        if file:
            with Path(file).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps([what, value, unit]) + "\n")

    return keep


@pytest.fixture
def make_apart(
    plugin_folder: Callable[..., Path], make_host: Callable[..., PluginHost], tmp_path: Path
) -> Callable[..., PluginHost]:
    """Return `make(files, **options)`: a host whose plugins run in processes of their own, loaded.

    Each file's text follows an import of `hookimpl`.
    """

    def make(files: dict[str, str], **options: Any) -> PluginHost:
        known: dict[str, Any] = {
            "runners": {"*": "process"},
            "state_file": tmp_path / "crashes.json",
            "worker_options": UNSHAKEN,
        }
        sources = {
            name: f"from pluginhost import hookimpl\n{text}" if name.endswith(".py") else text
            for name, text in files.items()
        }
        host = make_host(plugin_folder(sources), **(known | options))
        host.load_all()
        return host

    return make


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Return a function that waits until something that is bound to happen has happened."""

    def wait(condition: Callable[[], Any], timeout_s: float = 30.0) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"it did not happen within {timeout_s} s"
            time.sleep(0.005)

    return wait


@pytest.fixture
def is_running() -> Callable[[int], bool]:
    """Return a function that tells whether there is such a process, and it is no zombie."""

    def ask(pid: int) -> bool:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] not in "ZX"

    return ask


@pytest.fixture
def heartbeat():
    """Return a context manager that beats every 10 ms, and whose `longest_s` is the longest gap."""
    import threading

    class Heart:
        def __enter__(self):
            self.longest_s, self._over = 0.0, threading.Event()
            self._thread = threading.Thread(target=self._beat)
            self._thread.start()
            return self

        def __exit__(self, *_):
            self._over.set()
            self._thread.join()

        def _beat(self):
            last = time.monotonic()
            while not self._over.wait(0.01):
                now = time.monotonic()
                self.longest_s, last = max(self.longest_s, now - last - 0.01), now

    return Heart
