"""What it costs to keep an event and to find it again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import repeat
from random import randrange
from statistics import median

from benchmarks.goals import Goal
from benchmarks.pairs import Case, compare, settle
from pluginhost import AnalyticsEngine, AnalyticsEvent, EventBatch, EventKind
from pluginhost.analytics.store import EventStore
from pluginhost.calltree import CallTree
from pluginhost.profiler.profile import PluginProfile
from pluginhost.reading import RawReading

APPEND_NS = 14.0
"""What `deque.append` took on the machine on which the goals in microseconds were set."""

_STEP_NS = 2_000
_SPAN = 100


def recording(rounds: int) -> list[Goal]:
    """One event, in a batch and by itself, against `deque.append` with the loop taken off."""
    engine, path, kept = AnalyticsEngine(), CallTree().root["p"], deque[int](maxlen=1000)
    append, prepared, ends_ns = kept.append, list[list[object]](), [10**15]

    def appends() -> None:
        for _ in repeat(None, 4096):
            append(1)

    def loop() -> None:
        for _ in repeat(None, 4096):
            pass

    def prepare() -> None:
        first = ends_ns[0]
        ends_ns[0] = last = first + 1000 * _STEP_NS
        rows = ((path, end - 1000, end, 1, None) for end in range(first, last, _STEP_NS))
        prepared.append([value for row in rows for value in row])

    executed, by_hand = EventKind.PLUGIN_EXECUTE, AnalyticsEngine()
    some: list[AnalyticsEvent] = []

    def prepare_events() -> None:
        first = ends_ns[0]
        ends_ns[0] = last = first + 2000 * _STEP_NS
        some[:] = [
            AnalyticsEvent(kind=executed, plugin_id="p", timestamp_ns=end, duration_ns=1000)
            for end in range(first, last, _STEP_NS)
        ]

    def record_each() -> None:
        for event in some:
            by_hand.record_event(event)

    reference = Case("append", appends, 4096)
    floor = Case("loop", loop, 4096)
    batched = Case("batched", lambda: engine.observe(EventBatch(prepared.pop(), 0)), 1000, prepare)
    single = Case("single", record_each, 2000, prepare_events)
    prepare()
    prepare_events()
    settle()
    quiet = compare(reference, [floor, batched, single], rounds=rounds)
    append_share = 1 - floor.ratio
    note = f"asked: {{}} us-equivalents, an append being {APPEND_NS:g} ns"
    note += "" if quiet else " (noisy run)"
    return [
        Goal(
            "analytics event, batched / deque.append",
            batched.ratio / append_share,
            round(0.3e3 / APPEND_NS, 1),
            note=note.format(0.3),
        ),
        Goal(
            "analytics event, single / deque.append",
            single.ratio / append_share,
            round(1.2e3 / APPEND_NS, 1),
            note=note.format(1.2),
        ),
    ]


def ranges(sizes: tuple[int, ...]) -> list[Goal]:
    """A time range of 100 events in stores of growing size; the ranges lie anywhere."""
    took_ns = {size: _range_ns(_filled(size)) for size in sizes}
    shown = ", ".join(f"{size:,}: {ns / 1000:.0f} us" for size, ns in took_ns.items())
    growth = max(took_ns.values()) / took_ns[sizes[0]]
    name = f"range of 100 events, {sizes[0]:,} to {sizes[-1]:,}"
    return [Goal(name, growth, 3.0, note=f"median of 300 queries at {shown}")]


def sizes() -> list[Goal]:
    """Bytes of an execution and of an event, counted in what is stored."""
    count = 20_000
    path = CallTree().root["p"]
    wall, full = PluginProfile("p", count), PluginProfile("p", count)
    reading: RawReading = (1000, 10**8, 10**8, 0, 1, 1, 0, 0)
    for profile, extra in ((wall, None), (full, reading)):
        rows = [(path, n, n + 1000, 1, extra) for n in range(0, count * _STEP_NS, _STEP_NS)]
        batch = EventBatch([value for row in rows for value in row], 0)
        profile.add(batch.executions["p"])
    store = _filled(count)
    assert len(store.of_plugin("p")) == count  # this also makes the index
    return [
        Goal("bytes of an execution, wall only", wall.history.nbytes() / count, 24, unit="B"),
        Goal("bytes of an execution, fully read", full.history.nbytes() / count, 64, unit="B"),
        Goal("bytes of an event, with its index", store.nbytes() / count, 24, unit="B"),
    ]


def _filled(size: int) -> EventStore:
    store, path, chunk = EventStore(size, 0), CallTree().root["p"], 10_000
    code = store.codes_of([path])
    for first in range(0, size, chunk):
        count = min(chunk, size - first)
        times_ns = [n * _STEP_NS for n in range(first, first + count)]
        store.extend(times_ns, [1000] * count, code * count, bytes(count), {}, in_order=True)
    assert len(store) == size
    return store


def _range_ns(store: EventStore) -> float:
    """Return the median time of asking for 100 events at a random place, in ns."""

    def ask() -> int:
        start = randrange(len(store) - _SPAN) * _STEP_NS
        began = time.perf_counter_ns()
        found = tuple(store.between(start, start + _SPAN * _STEP_NS))
        took = time.perf_counter_ns() - began
        assert len(found) == _SPAN
        return took

    _repeat(ask, 30)
    return median(_repeat(ask, 300))


def _repeat(ask: Callable[[], int], times: int) -> list[int]:
    return [ask() for _ in range(times)]
