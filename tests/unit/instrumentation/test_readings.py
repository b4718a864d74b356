"""Clocks and gauges against psutil, threading and asyncio."""

from __future__ import annotations

import asyncio
import mmap
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from pluginhost.instrumentation import readings
from pluginhost.reading import resident_bytes

OPEN_FILES = Path("/proc/self/fd")


def _rss() -> int:
    return resident_bytes(readings.rss_gauge()())


def test_the_memory_gauge_shows_the_resident_set() -> None:
    """It agrees with psutil within 8 MiB, and follows a growth of 64, and its end."""
    near = 8 << 20
    before = _rss()
    assert before == pytest.approx(psutil.Process().memory_info().rss, abs=near)
    with mmap.mmap(-1, 64 << 20) as kept:  # new pages: an allocator may have used some before
        for page in range(0, len(kept), mmap.PAGESIZE):
            kept[page] = 1
        assert _rss() - before == pytest.approx(len(kept), abs=near)
        assert _rss() == pytest.approx(psutil.Process().memory_info().rss, abs=near)
    assert _rss() == pytest.approx(before, abs=near)


def test_without_proc_the_memory_gauge_asks_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems that have no /proc, readings are bytes already."""

    def refuse(*_args: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(readings, "_statm_descriptor", refuse)
    raw = readings.rss_gauge()()
    assert isinstance(raw, int)
    assert raw == pytest.approx(psutil.Process().memory_info().rss, abs=8 << 20)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep no descriptor")
def test_the_gauge_keeps_one_descriptor_that_programs_it_starts_do_not_inherit() -> None:
    """However many observations there are, one file is open, and closed on exec."""
    readings.rss_gauge()
    before = len(list(OPEN_FILES.iterdir()))
    for _ in range(20):
        readings.rss_gauge()()
    assert len(list(OPEN_FILES.iterdir())) == before
    assert not os.get_inheritable(readings._statm_descriptor())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_reads_its_own_memory() -> None:
    """The descriptor that the child was born with is its parent's; it opens its own."""
    program = """
        import os
        import psutil
        from pluginhost.reading import resident_bytes
        from pluginhost.instrumentation.readings import rss_gauge

        gauge = rss_gauge()
        child = os.fork()
        if child:
            raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        kept = bytearray(b"x") * (96 << 20)
        apart = abs(resident_bytes(gauge()) - psutil.Process().memory_info().rss)
        os._exit(0 if apart < 16 << 20 else 7)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", dedent(program)], check=False, timeout=60
    )
    assert done.returncode == 0


def test_threads_beside_the_main_one_are_counted() -> None:
    """The count moves with threads that start and end; in a process that has no others."""
    code = """
        import threading
        from pluginhost.instrumentation import readings
        stop = threading.Event()
        threads = [threading.Thread(target=stop.wait, args=(20,)) for _ in range(3)]
        found = [readings.thread_count()]
        for thread in threads:
            thread.start()
        found.append(readings.thread_count())
        stop.set()
        for thread in threads:
            thread.join()
        print(*found, readings.thread_count())
    """
    words = [sys.executable, "-c", dedent(code)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stdout == "0 3 0\n"


def test_tasks_of_the_running_loop_are_counted() -> None:
    """Outside of a loop there are none."""

    async def main() -> int:
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(3)]
        found = readings.task_count()
        await asyncio.gather(*tasks)
        return found

    assert readings.task_count() == 0
    assert asyncio.run(main()) == 4


def test_the_cpu_clock_counts_this_thread_only() -> None:
    """Computing moves it by as much, sleeping and other threads hardly."""

    def burn() -> None:
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass

    started = readings.thread_cpu_ns()
    burn()
    burned = readings.thread_cpu_ns()
    thread = threading.Thread(target=burn)
    thread.start()
    thread.join()
    time.sleep(0.02)
    assert burned - started >= 20_000_000
    assert readings.thread_cpu_ns() - burned < 10_000_000
