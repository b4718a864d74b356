"""What it costs to observe an execution."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle, repeat
from typing import Any

from benchmarks.goals import Goal
from benchmarks.hosts import NoOpWrapper, empty_host, lifecycle_hook, observed_hook
from benchmarks.pairs import Case, calls, compare, settle
from benchmarks.peers import otel_metrics_wrapper, otel_span_wrapper, prometheus_wrapper
from pluginhost import Observation, PluginHost, Profiler, observe
from pluginhost.bus import EventBus

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
    """A hook call with one implementation, against the bare call."""
    buses, cases = [], []
    for name, rate in (("10 %", 0.1), ("full", 1.0)):
        hook, bus = observed_hook(rate)
        buses.append(bus)
        cases.append(_hook_case(name, hook, BATCH))
    settle()
    quiet = compare(_hook_case("bare", lifecycle_hook(), 256), cases, rounds=rounds)
    for bus, case in zip(buses, cases, strict=True):
        _assert_delivered(bus, case)
    sampled, full = cases
    note = "a hook call, against the bare hook call; by wall time {:.2f} x"
    return [
        Goal(
            "10 % sampled: CPU, RSS, threads",
            sampled.ratio,
            2.9,
            note=note.format(sampled.wall_ratio) + _noise(quiet),
        ),
        Goal("every execution fully read", full.ratio, 5.8, note=note.format(full.wall_ratio)),
    ]


def peers(rounds: int) -> list[Goal]:
    """What other recorders add to a hook call, by what ours adds.

    Batches are about 1 ms where nothing is delivered in batches. Ours holds two whole deliveries
    to the observers, those of OpenTelemetry's spans one flush. The spans come last and beside the
    others again, for their exporters' threads would slow ours down from then on.
    """
    hook, bus = observed_hook(0.0)
    ours = _hook_case("ours", hook, BATCH)
    reference = _hook_case("bare", lifecycle_hook(), 256)
    prometheus = _hook_case("Prometheus client", lifecycle_hook(prometheus_wrapper()), 100)
    metrics = _hook_case("OTel metrics", lifecycle_hook(otel_metrics_wrapper()), 40)
    settle()
    quiet = compare(reference, [ours, prometheus, metrics], rounds=rounds)
    _assert_delivered(bus, ours)
    added = {case.name: case.ratio - 1 for case in (ours, prometheus, metrics)}
    spans = [_span_case("OTel span", encoded=True), _span_case("OTel span, dropped", encoded=False)]
    compare(reference, [*spans, prometheus, metrics], rounds=rounds)
    added |= {case.name: case.ratio - 1 for case in spans}
    notes = {
        "OTel span": "; encoded as OTLP, not sent",
        "OTel span, dropped": "; its exporter does nothing",
    }
    asked = {"Prometheus client": 2.2, "OTel metrics": 9.0, "OTel span": 18.0}
    return [
        Goal(
            f"overhead of {name} / ours",
            added[name] / added["ours"],
            asked.get(name),
            at_least=True,
            note=f"added: {added[name]:.2f} against {added['ours']:.2f} bare calls"
            f"{notes.get(name, '')}{_noise(quiet)}",
        )
        for name in ("Prometheus client", "OTel metrics", "OTel span", "OTel span, dropped")
    ]


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


def _span_case(name: str, *, encoded: bool) -> Case:
    wrapper, flush = otel_span_wrapper(encoded=encoded)
    hook = lifecycle_hook(wrapper)

    def run() -> None:
        for _ in repeat(None, 512):
            hook(plugin_id="p0", task=1)
        flush()

    return Case(name, run, 512)


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
    _assert_delivered(observation.bus, case)
    assert observation.profiler is not None
    counted = sum(row.execution_count for row in observation.profiler.get_all_aggregates())
    assert counted % BATCH == 0, (case.name, counted)
    assert counted >= BATCH * (len(case.ns) + 1), (case.name, counted)


def _assert_delivered(bus: EventBus, case: Case) -> None:
    """Every call of the case, the warm-up too, must have been counted, and no observer lost."""
    bus.flush()
    calls_made = case.operations * (len(case.ns) + 1)
    assert bus.published >= calls_made, (case.name, bus.published)
    assert bus.published % case.operations == 0, (case.name, bus.published)
    assert len(bus.subscriptions) == 2, "an observer failed"


def _noise(quiet: bool) -> str:
    return "" if quiet else " (noisy run)"
