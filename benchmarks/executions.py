"""What it costs to observe an execution."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from typing import Any

from benchmarks.goals import Goal
from benchmarks.hosts import NoOpWrapper, empty_host, lifecycle_hook, observed_hook
from benchmarks.pairs import Case, calls, compare, settle
from benchmarks.peers import otel_metrics_wrapper, otel_span_wrapper, prometheus_wrapper
from pluginhost import Observation, PluginHost, Profiler, observe

BATCH = 2048
"""Executions in a batch of ours: it holds two whole deliveries to the observers."""


def observed_executions(rounds: int) -> list[Goal]:
    """Through `host.execute`, against the same call with a wrapper that does nothing."""
    with ExitStack() as stack:
        bare, no_op, wall, sampled, full, mixed, threaded = (
            stack.enter_context(empty_host(count)) for count in (1, 1, 1, 1, 1, 20, 1)
        )
        no_op.lifecycle.register(NoOpWrapper())
        names = cycle([f"p{n}" for n in range(20)])
        rates = {wall: 0.0, sampled: 0.1, full: 1.0, mixed: 0.0, threaded: 0.0}
        seen = {host: stack.enter_context(_observed(host, rate)) for host, rate in rates.items()}
        reference = calls("no-op wrapper", lambda: no_op.execute("p0", 1))
        cases = [
            calls("not observed", lambda: bare.execute("p0", 1)),
            calls("wall", lambda: wall.execute("p0", 1), operations=BATCH),
            calls("10 %", lambda: sampled.execute("p0", 1), operations=BATCH),
            calls("full", lambda: full.execute("p0", 1), operations=BATCH),
            calls("20 plugins", lambda: mixed.execute(next(names), 1), operations=BATCH),
        ]
        settle()
        quiet = compare(reference, cases, rounds=rounds)
        beside = calls("beside a thread", lambda: threaded.execute("p0", 1), operations=BATCH)
        with _idle_thread():
            compare(reference, [beside], rounds=max(2, rounds // 4))
        for case, host in zip([*cases[1:], beside], rates, strict=True):
            _assert_complete(case, seen[host])
    by_name = {case.name: case for case in cases}
    cross = f"by wall time {by_name['wall'].wall_ratio:.2f} x{_noise(quiet)}"
    note = "against the same call with a no-op wrapper"
    return [
        Goal("observed execute, wall clock only", by_name["wall"].ratio, 1.45, note=cross),
        Goal("the same, 20 plugins in turn", by_name["20 plugins"].ratio, note=note),
        Goal("the same, another thread alive", beside.ratio, note=note),
        Goal("the same, 10 % sampled", by_name["10 %"].ratio, note=note),
        Goal("the same, every execution read", by_name["full"].ratio, note=note),
    ]


def observed_hook_calls(rounds: int) -> list[Goal]:
    """A hook call with one implementation, against the bare call; and the peers, likewise."""
    bare = lifecycle_hook()
    sampled, sampled_bus = observed_hook(0.1)
    full, full_bus = observed_hook(1.0)
    wall, wall_bus = observed_hook(0.0)
    reference = _hook_case("bare", bare, 256)
    ours = [
        _hook_case("wall", wall, BATCH),
        _hook_case("10 %", sampled, BATCH),
        _hook_case("full", full, BATCH),
    ]
    quiet_peers = [
        _hook_case("Prometheus client", lifecycle_hook(prometheus_wrapper()), 256),
        _hook_case("OTel metrics", lifecycle_hook(otel_metrics_wrapper()), 256),
    ]
    settle()
    quiet = compare(reference, [*ours, *quiet_peers], rounds=rounds)
    span = _hook_case("OTel span", lifecycle_hook(otel_span_wrapper()), 256)
    compare(reference, [span], rounds=rounds)  # last: its exporter thread stays
    for case, bus in zip(ours, (wall_bus, sampled_bus, full_bus), strict=True):
        assert bus.published % BATCH == 0, case.name
        assert bus.published > 0, case.name
    wall_case, sampled_case, full_case = ours
    goals = [
        Goal(
            "10 % sampled: CPU, RSS, threads",
            sampled_case.ratio,
            2.9,
            note=f"a hook call, against the bare hook call; wall {sampled_case.wall_ratio:.2f} x"
            f"{_noise(quiet)}",
        ),
        Goal(
            "every execution fully read",
            full_case.ratio,
            5.8,
            note=f"likewise; by wall time {full_case.wall_ratio:.2f} x",
        ),
    ]
    for case, asked in zip([*quiet_peers, span], (2.2, 9.0, 18.0), strict=True):
        ratio = (case.ratio - 1) / (wall_case.ratio - 1)
        note = f"cost added: theirs {case.ratio - 1:.2f}, ours {wall_case.ratio - 1:.2f} hook calls"
        goals.append(
            Goal(f"overhead of {case.name} / ours", ratio, asked, at_least=True, note=note)
        )
    return goals


def dispatch(rounds: int) -> list[Goal]:
    """What more plugins, and an observation without observers, cost an execution."""
    with empty_host(1) as alone, empty_host(200) as crowd, empty_host(1) as watched:
        reference = calls("one of one", lambda: alone.execute("p0", 1))
        among = calls("one of 200", lambda: crowd.execute("p0", 1))
        unheard = calls("nobody subscribed", lambda: watched.execute("p0", 1))
        settle()
        with observe(watched, profiler=None, analytics=None):
            quiet = compare(reference, [among, unheard], rounds=rounds)
    low, high = sorted(unheard.ratios)[len(unheard.ratios) // 4 :: len(unheard.ratios) // 2][:2]
    return [
        Goal("executing one of 200 plugins / one of 1", among.ratio, 1.3, note=_noise(quiet)),
        Goal(
            "observation without observers / none",
            unheard.ratio,
            1.03,
            note=f"1.00 within noise: half of all pairs lie in {low:.3f} to {high:.3f}",
        ),
    ]


def _hook_case(name: str, hook: Any, operations: int) -> Case:
    return calls(name, lambda: hook(plugin_id="p0", task=1), operations=operations)


@contextmanager
def _observed(host: PluginHost, rate: float) -> Iterator[Observation]:
    with observe(host, profiler=Profiler(sampling_rate=rate)) as observation:
        yield observation


@contextmanager
def _idle_thread() -> Iterator[None]:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _assert_complete(case: Case, observation: Observation) -> None:
    """Every execution of the case, the warm-up too, must have been counted."""
    assert observation.profiler is not None
    counted = sum(row.execution_count for row in observation.profiler.get_all_aggregates())
    assert counted % BATCH == 0, (case.name, counted)
    assert counted >= BATCH * (len(case.ns) + 1), (case.name, counted)


def _noise(quiet: bool) -> str:
    return "" if quiet else " (noisy run)"
