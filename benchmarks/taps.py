"""What it costs to record the calls of any plugin manager's hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pluggy

from benchmarks.goals import Goal
from benchmarks.pairs import Case, calls, compare, settle
from pluginhost.recording import CPU_GAP_NS, Recorder

BATCH = 100_000
"""Calls in a batch: some 50 ms, so that the reading of clocks and the adding up, which are done now
and then, are in each batch as they are in a long run."""

_impl = pluggy.HookimplMarker("bench")


class _Function:
    @_impl
    def work(self, item: int) -> None:
        return None


class _Wrapper:
    @_impl(wrapper=True)
    def work(self, item: int) -> Iterator[None]:
        return (yield)


def taps(rounds: int) -> list[Goal]:
    """A call of a hook with one implementation that does nothing, recorded, against the bare call."""
    rounds = max(3, rounds // 4)
    gaps = {"wall": None, "CPU": CPU_GAP_NS, "CPU at each call": 0}
    with ExitStack() as stack:
        bare, wrapped_bare = _case("bare", (_Function,)), _case("bare", (_Function, _Wrapper))
        cases = [
            stack.enter_context(_recorded(name, (_Function,), gap)) for name, gap in gaps.items()
        ]
        settle()
        quiet = compare(bare, cases, rounds=rounds)
        wrapped = stack.enter_context(_recorded("wrapped", (_Function, _Wrapper), CPU_GAP_NS))
        compare(wrapped_bare, [wrapped], rounds=rounds)
    wall, cpu, every = cases
    noise = "" if quiet else " (noisy run)"
    note = "added, by the bare call; with adding up; by wall time {:.2f}"
    return [
        Goal("tap, wall only", wall.ratio - 1, 1.0, note=note.format(wall.wall_ratio - 1) + noise),
        Goal("tap, with thread CPU", cpu.ratio - 1, 1.9, note=note.format(cpu.wall_ratio - 1)),
        Goal("the same, CPU read at every call", every.ratio - 1, note="not what is done"),
        Goal(
            "tap, a function and a wrapper",
            wrapped.ratio - 1,
            note="added, by the bare call of both: three records",
        ),
    ]


def off(rounds: int) -> list[Goal]:
    """A manager whose observation is over, against one that never was observed."""
    manager, call = _manager((_Function,))
    never = calls("never", _manager((_Function,))[1], operations=2048)
    recorder = Recorder(imports=False)
    recorder.start()
    before = {key: value for key, value in vars(manager).items() if key != "hook"}
    recorder.watch(manager)
    call()
    recorder.close()
    assert {key: value for key, value in vars(manager).items() if key != "hook"} == before
    case = calls("off", call, operations=2048)
    settle()
    compare(never, [case], rounds=rounds)
    low, high = sorted(case.ratios)[len(case.ratios) // 4 :: max(1, len(case.ratios) // 2)][:2]
    note = f"1.00 within noise: half of all pairs lie in {low:.3f} to {high:.3f}"
    return [Goal("tap taken off / never there", case.ratio, 1.03, note=note)]


@contextmanager
def _recorded(name: str, plugins: tuple[type, ...], cpu_gap_ns: int | None) -> Iterator[Case]:
    manager, call = _manager(plugins)
    recorder = Recorder(cpu_gap_ns=cpu_gap_ns, imports=False)
    recorder.start()
    recorder.watch(manager)
    case = _timed(name, call)
    yield case
    recorder.close()
    made = BATCH * (len(case.ns) + 1)
    counted = sum(record.count for record in recorder.capture().calls if record.plugin)
    parts = 1 + 2 * (_Wrapper in plugins)
    assert counted >= made * parts, (name, counted, made)


def _case(name: str, plugins: tuple[type, ...]) -> Case:
    return _timed(name, _manager(plugins)[1])


def _timed(name: str, call: Callable[[], object]) -> Case:
    return calls(name, call, operations=BATCH)


def _manager(plugins: tuple[type, ...]) -> tuple[pluggy.PluginManager, Callable[[], object]]:
    """Return a manager with one of each, and a function that calls their hook."""
    manager = pluggy.PluginManager("bench")
    for plugin in plugins:
        manager.register(plugin())
    hook = manager.hook.work
    return manager, lambda: hook(item=1)
