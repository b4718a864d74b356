"""Plugins executed from signal handlers and collector callbacks: no deadlock, exact counts.

Each program runs in a process of its own, for a deadlock here would hang the tests.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from textwrap import dedent

import pytest

_PRELUDE = """
    import gc, signal, sys, time
    from collections import Counter
    from pluginhost import PluginHost, Profiler, hookimpl, hookspec, observe

    class Specs:
        @hookspec
        def greet(self): ...

    class Plugin:
        @hookimpl
        def execute(self, payload):
            [[] for _ in range(20)]  # something for the garbage collector
            if payload == "fail":
                raise ValueError(payload)

        @hookimpl
        def greet(self):
            return "hello"

    import types
    sys.modules["work"], sys.modules["intrude"] = Plugin(), Plugin()
    host = PluginHost("test", sources=["module:work", "module:intrude"])
    host.add_hookspecs(Specs)
    assert all(info.state == "loaded" for info in host.load_all()), host.plugins
    observation = observe(host, profiler=Profiler(sampling_rate=0.3))
    observation.bus.high_water = 50  # drain often
    profiler, analytics, counts = observation.profiler, observation.analytics, Counter()

    class Live:
        def observe(self, batch):
            counts["live"] += batch.occurrences
    observation.bus.subscribe(Live())

    intruded, greeted, over = [], [], []  # what is appended to is right, whoever interrupts whom

    def intrude(*_):
        if over:  # a signal that another thread got may come late
            return
        intruded.append(None)
        host.execute("intrude")
        host.hook.greet()
        greeted.append(None)
        if len(intruded) % 7 == 0:
            profiler.get_all_aggregates()
            analytics.get_all_plugin_stats()

    def work():
        counts["work"] += 1
        try:
            host.execute("work", "fail" if counts["work"] % 5 == 0 else None)
        except ValueError:
            counts["failed"] += 1
"""
_EPILOGUE = """
    over.append(None)
    observation.close()
    counts.update(intrude=len(intruded), greet=len(greeted))
    assert counts["intrude"] > 50, counts
    found = {row.plugin_id: row for row in profiler.get_all_aggregates()}
    assert found["work"].execution_count == counts["work"], (found, counts)
    assert found["work"].failure_count == counts["failed"], (found, counts)
    assert found["intrude"].execution_count == counts["intrude"], (found, counts)
    stats = analytics.get_all_plugin_stats()
    assert stats["work"].execution_count == counts["work"]
    assert stats["intrude"].hook_call_count == counts["greet"], (stats, counts)
    total = counts["work"] + counts["intrude"] + 2 * counts["greet"]
    assert counts["live"] == observation.bus.drained == total, (counts, observation.bus.drained)
    assert all(s.error is None for s in observation.bus.subscriptions)
    print("exact")
"""


def _outcome_of(program: str) -> str:
    code = dedent(_PRELUDE) + dedent(program) + dedent(_EPILOGUE)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_signal_handlers_may_execute_and_read() -> None:
    """A handler that interrupts anything, the aggregating included, is counted like all else."""
    program = """
        signal.signal(signal.SIGALRM, intrude)
        signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            work()
        signal.setitimer(signal.ITIMER_REAL, 0)
    """
    assert _outcome_of(program) == "exact\n"


def test_collector_callbacks_may_execute_and_read() -> None:
    """Callbacks run wherever something is allocated, locks held or not.

    In a copy of the context: up to Python 3.11, setting a context variable from a callback that
    interrupts the setting of one crashes the interpreter (python/cpython issue 148891).
    """
    program = """
        from contextvars import copy_context
        def callback(*_):
            copy_context().run(intrude)
        gc.set_threshold(20)
        gc.callbacks.append(callback)
        end, kept = time.monotonic() + 30, []
        while len(intruded) < 800 and time.monotonic() < end:
            work()
            kept.append([])
        gc.callbacks.remove(callback)
    """
    assert _outcome_of(program) == "exact\n"
