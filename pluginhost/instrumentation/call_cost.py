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
from pluginhost.instrumentation.sparing import Sparer
from pluginhost.instrumentation.tap import HookTapSource

_ROUNDS, _CALLS = 5, 12  # many short rounds: the machine leaves one of them alone
_IMPORT_ROUNDS, _IMPORTS = 3, 6  # which take ten times as long


def call_costs_ns(*, cpu: bool, sparing: bool) -> tuple[float, float, float, float]:
    """Return what recording adds to a hook call itself, to its caller, and to an importer.

    In ns: the median duration on record of an implementation that does nothing; the rest of what
    it costs to record it, from rounds of calls with and without the tap, in turn; what a hook call
    costs its caller that times none (see `Sparer`; 0.0 if not `sparing`); and what it takes to
    record an import. Of rounds the quickest counts, for noise only adds.
    """
    manager, hook = _one_implementation()
    tree = CallTree(thread_id=get_ident(), journal_of=lambda _path: [])
    thread = ThreadCpu(perf_counter_ns) if cpu else _no_thread_cpu()
    nesting = ThreadNesting(tree, perf_counter_ns, thread)
    timed = CallTimer(nesting).timed
    sparer = Sparer(nesting, lambda _impl: True, lambda impl: impl.plugin_name)
    outside = nesting.enter(sparer.own_site("calibration", "caller"))
    tap, sparing_tap = HookTapSource(manager, timed), HookTapSource(manager, timed, sparer)
    bare: list[float] = []
    with_tap: list[float] = []
    inner: list[int] = []
    for _ in range(_ROUNDS):
        bare.append(_call_ns(hook))
        tap.start()
        with_tap.append(_call_ns(hook))
        tap.stop()
        inner += _records(tree)
    spared: list[float] = []
    if sparing:
        sparing_tap.start()
        hook()
        for _ in range(_ROUNDS):
            sparer.time_none_next()
            spared.append(_call_ns(hook))
        sparing_tap.stop()
    nesting.leave(outside)
    added_ns = max(0.0, min(with_tap) - min(bare))
    inner_ns = min(float(sorted(inner)[(len(inner) - 1) // 2]), added_ns)
    spared_ns = max(0.0, min(spared) - min(bare)) if sparing else 0.0
    importing = ImportTimer(nesting)
    import_ns = min(_import_ns(importing) for _ in range(_IMPORT_ROUNDS))
    return inner_ns, added_ns - inner_ns, spared_ns, import_ns


def _no_thread_cpu() -> ThreadCpu:
    return ThreadCpu(perf_counter_ns, thread_cpu=perf_counter_ns)


def _call_ns(hook: Callable[[], object]) -> float:
    """Return what a hook call takes, after another."""
    hook()
    started = perf_counter_ns()
    for _ in repeat(None, _CALLS):
        hook()
    return (perf_counter_ns() - started) / _CALLS


def _records(tree: CallTree) -> list[int]:
    """Return the durations on record of the latest calls, and forget them."""
    found: list[int] = []
    for path in tree.grown:
        found += path.journal[0::2][-_CALLS:]
        path.journal.clear()
    return found


def _import_ns(importing: ImportTimer) -> float:
    started = perf_counter_ns()
    for _ in repeat(None, _IMPORTS):
        importing.leave(importing.enter("calibration"))
    return (perf_counter_ns() - started) / _IMPORTS


def _one_implementation() -> tuple[pluggy.PluginManager, Callable[[], object]]:
    """Return a manager with one hook and one implementation that does nothing, and the hook."""

    class Nothing:
        @pluggy.HookimplMarker("calibration")
        def nothing(self) -> None:
            return None

        def __dir__(self) -> list[str]:
            return ["nothing"]  # each name takes pluggy longer to look at than a call

    manager = pluggy.PluginManager("calibration")
    manager.register(Nothing())
    return manager, manager.hook.nothing
