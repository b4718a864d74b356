"""Killing what bears a mark, though it hides for a moment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pluginhost.host.runners import sweeping

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
MARK = f"test-{os.getpid()}"


@pytest.fixture
def marked_processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes with the mark that would stay for a minute."""
    words = [sys.executable, "-S", "-c", "import time; print(flush=True); time.sleep(60)"]
    environment = os.environ | {sweeping.VARIABLE: MARK}
    started = [subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) for _ in range(2)]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_who_is_hidden_at_first_is_found_all_the_same(
    marked_processes: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the kernel exchanges its program, a process has no environment that could be read."""
    shown, hidden = marked_processes
    looks = 0
    is_marked = sweeping.is_marked

    def not_at_once(pid: str, mark: str) -> bool:
        nonlocal looks
        if pid == str(hidden.pid):
            looks += 1
            return looks > 2 and is_marked(pid, mark)
        return is_marked(pid, mark)

    monkeypatch.setattr(sweeping, "is_marked", not_at_once)
    assert sweeping.kill_marked(MARK) == ()
    assert [process.wait(20) for process in (shown, hidden)] == [-9, -9]
    assert sweeping.marked(MARK) == []


@pytest.mark.parametrize("goodbye", [b"", b"."], ids=["host killed", "host closed"])
def test_the_guard_kills_all_when_its_host_is_gone(
    marked_processes: list[subprocess.Popen[bytes]], goodbye: bytes
) -> None:
    """Whether the host had time to say so or not; then it ends."""
    words = [sys.executable, "-I", "-S", sweeping.__file__, MARK]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as guard:
        assert [process.poll() for process in marked_processes] == [None, None]
        guard.communicate(goodbye, timeout=20)
        assert guard.returncode == 0
    assert [process.wait(20) for process in marked_processes] == [-9, -9]
