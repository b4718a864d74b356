"""What it costs to record a hook call or an import: calibrated in the process that was recorded.

This is imported when a program is over, where an import that executes strings, as that of
`statistics` does, would have Python forget that it ends because of Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from threading import get_ident
from time import perf_counter_ns

import pluggy

from pluginhost.calltree import CallTree
from pluginhost.instrumentation.by_thread import ThreadNesting
from pluginhost.instrumentation.calls import CallTimer
from pluginhost.instrumentation.imports import ImportTimer
from pluginhost.instrumentation.readings import ThreadCpu
from pluginhost.instrumentation.sparing import TIMED_FIRST, TIMED_ONE_IN, Sparer
from pluginhost.instrumentation.tap import HookTapSource

_CALLS = 200
_ROUNDS = 5


def call_costs_ns(*, cpu: bool) -> tuple[float, float, float, float]:
    """Return what recording adds to a hook call itself, to its caller, and to an importer.

    In ns: the median duration on record of an implementation that does nothing; the rest of what
    it costs to record it, from rounds of calls with and without the tap, in turn; what a hook call
    costs its caller that times none (see `Sparer`); and what it takes to record an import.
    """
    clock = perf_counter_ns
    manager, hook = _one_implementation()
    tree = CallTree(thread_id=get_ident(), journal_of=lambda _path: [])
    thread = ThreadCpu(clock) if cpu else ThreadCpu(clock, thread_cpu=clock)
    nesting = ThreadNesting(tree, clock, thread)
    timed = CallTimer(nesting).timed
    sparer = Sparer(nesting, lambda _impl: True, lambda impl: impl.plugin_name)
    outside = nesting.enter(sparer.own_site("calibration", "caller"))
    taps = None, HookTapSource(manager, timed), HookTapSource(manager, timed, sparer)
    spent: tuple[list[int], ...] = [], [], []
    inner: list[int] = []
    for _ in range(_ROUNDS):
        for tap, times in zip(taps, spent, strict=True):
            if tap is not None:
                tap.start()
            for _ in repeat(None, TIMED_FIRST + 1 if tap is taps[2] else 1):
                hook()
            for path in tree.grown:
                path.journal.clear()
            started = clock()
            for _ in repeat(None, _CALLS):
                hook()
            times.append(clock() - started)
            if tap is not None:
                tap.stop()
            for path in tree.grown:
                inner += path.journal[0::2] if tap is taps[1] else []
                path.journal.clear()
    bare_ns, timed_ns, spared_ns = (min(times) / _CALLS for times in spent)
    added_ns = max(0.0, timed_ns - bare_ns)
    inner_ns = min(float(sorted(inner)[(len(inner) - 1) // 2]), added_ns)
    nesting.leave(outside)
    spared_ns = max(0.0, spared_ns - bare_ns - added_ns / TIMED_ONE_IN) / (1 - 1 / TIMED_ONE_IN)
    importing = ImportTimer(nesting)
    started = clock()
    for _ in repeat(None, _CALLS):
        importing.leave(importing.enter("calibration"))
    import_ns = (clock() - started) / _CALLS
    return inner_ns, added_ns - inner_ns, spared_ns, import_ns


def _one_implementation() -> tuple[pluggy.PluginManager, Callable[[], object]]:
    """Return a manager with one hook and one implementation that does nothing, and the hook."""

    class Nothing:
        @pluggy.HookimplMarker("calibration")
        def nothing(self) -> None:
            return None

    manager = pluggy.PluginManager("calibration")
    manager.register(Nothing())
    return manager, manager.hook.nothing
