"""Events that are stored: found by time, plugin and kind, in time order, without a scan."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st
from msgspec.structs import replace

from pluginhost import AnalyticsEngine, AnalyticsEvent, EventBatch, EventKind, Status
from pluginhost.analytics.columns import EventColumns
from pluginhost.analytics.store import EventStore
from pluginhost.calltree import CallTree
from pluginhost.errors import InvalidValueError
from pluginhost.journal import Detail, Failure
from tests.examples import examples

EXECUTE, ERROR = EventKind.PLUGIN_EXECUTE, EventKind.PLUGIN_ERROR
SECOND = 10**9


def random_events(seed: int, count: int, disorder: int) -> list[AnalyticsEvent]:
    """Events about a second apart; `disorder` is how many seconds they may come late."""
    numbers = random.Random(seed)
    return [
        AnalyticsEvent(
            kind=numbers.choice([EXECUTE, EXECUTE, *EventKind]),
            plugin_id=numbers.choice("abc"),
            timestamp_ns=(10_000 + number - numbers.randint(0, disorder)) * SECOND,
            duration_ns=number,
            status=numbers.choice([Status.SUCCESS, Status.SUCCESS, *Status]),
            error_message=numbers.choice([None, "no"]),
            metadata=numbers.choice([{}, {"version": "1"}]),
            hook=numbers.choice(["execute", "greet"]),
            parent=numbers.choice([None, "a"]),
        )
        for number in range(count)
    ]


def told(events: list[AnalyticsEvent], max_events: int = 10_000) -> AnalyticsEngine:
    engine = AnalyticsEngine(max_events)
    for event in events:
        engine.record_event(event)
    return engine


def with_errors(events: list[AnalyticsEvent]) -> list[AnalyticsEvent]:
    """Each event, and after each failure the error event that goes with it."""
    found = []
    for event in events:
        found.append(event)
        if event.status.is_error and event.kind is not ERROR:
            found.append(replace(event, kind=ERROR, duration_ns=0, metadata={}))
    return found


def bag(events: Any) -> Counter[str]:
    """Events in any order: those at one moment may change places."""
    return Counter(map(repr, events))


def is_in_order(events: tuple[AnalyticsEvent, ...]) -> bool:
    times = [event.timestamp_ns for event in events]
    return times == sorted(times)


# Against a list of everything


@given(
    st.integers(0, 2**32),
    st.integers(0, 1_200),
    st.sampled_from([0, 3, 2_000]),
    st.lists(st.tuples(st.integers(8_000, 12_000), st.integers(-10, 1_500)), max_size=5),
)
@example(1, 1_200, 0, [(10_255, 1), (10_256, 1), (10_000, 10_000)])
@example(2, 1_200, 2_000, [(8_000, 100), (10_000, 300)])
@settings(deadline=None, max_examples=examples(40))
def test_questions_against_a_list(
    seed: int, count: int, disorder: int, ranges: list[tuple[int, int]]
) -> None:
    """By time range, plugin and kind; also when events come late, over several segments."""
    events = random_events(seed, count, disorder)
    engine, known = told(events), with_errors(events)
    for start, length in ranges:
        end = start + length
        got = engine.get_events(start, max(0, end))
        inside = [e for e in known if start * SECOND <= e.timestamp_ns < end * SECOND]
        assert bag(got) == bag(inside)
        assert is_in_order(got)
    for plugin_id in "abcd":
        got = engine.get_plugin_events(plugin_id)
        assert bag(got) == bag(e for e in known if e.plugin_id == plugin_id)
        assert is_in_order(got)
    for kind in EventKind:
        got = engine.get_events_by_type(kind)
        assert bag(got) == bag(e for e in known if e.kind is kind)
        assert is_in_order(got)


@given(st.integers(0, 2**32), st.integers(0, 1_500), st.integers(1, 700))
@example(1, 1_500, 1)
@example(1, 1_500, 256)
@example(1, 1_500, 257)
@settings(deadline=None, max_examples=examples(40))
def test_the_last_events_are_kept(seed: int, count: int, max_events: int) -> None:
    """Exactly as many as were asked for, and by every question the same."""
    events = random_events(seed, count, 0)
    engine, known = told(events, max_events), with_errors(events)[-max_events:]
    assert list(engine.get_events(0, 10**6)) == known
    for plugin_id in "abc":
        assert list(engine.get_plugin_events(plugin_id)) == [
            e for e in known if e.plugin_id == plugin_id
        ]
    for kind in EventKind:
        assert list(engine.get_events_by_type(kind)) == [e for e in known if e.kind is kind]
    assert engine.report().stored_events == len(known)
    for start in range(10_000 + count - max_events - 300, 10_000 + count, 97):
        inside = [e for e in known if start * SECOND <= e.timestamp_ns < (start + 5) * SECOND]
        assert list(engine.get_events(start, start + 5)) == inside


@given(st.integers(0, 2**32), st.integers(1, 600), st.sampled_from([3, 2_000]))
@settings(deadline=None, max_examples=20)
def test_late_events_are_evicted_too(seed: int, max_events: int, disorder: int) -> None:
    """The bound holds, nothing is there twice, and what is there is in order."""
    events = random_events(seed, 1_000, disorder)
    engine = told(events, max_events)
    got = engine.get_events(0, 10**6)
    assert len(got) == max_events
    assert is_in_order(got)
    assert bag(got) <= bag(with_errors(events))
    assert bag(got) == sum((bag(engine.get_events_by_type(k)) for k in EventKind), Counter())


def test_events_that_come_the_newest_first() -> None:
    """Each segment of the store is earlier than the one before it."""
    events = random_events(4, 2_000, 0)
    engine, known = told(events[::-1]), with_errors(events)
    for start in range(9_900, 12_100, 100):
        inside = [e for e in known if start * SECOND <= e.timestamp_ns < (start + 50) * SECOND]
        assert bag(engine.get_events(start, start + 50)) == bag(inside)
    assert bag(engine.get_events(0, 10**6)) == bag(known)


def test_a_range_has_its_start_and_not_its_end() -> None:
    """Seconds since the epoch, with fractions."""
    event = AnalyticsEvent(kind=EXECUTE, plugin_id="a", timestamp_ns=5 * SECOND // 2)
    engine = told([event])
    assert engine.get_events(2.5, 2.6) == (event,)
    assert engine.get_events(2.4, 2.5) == ()
    assert engine.get_events(3, 2) == ()


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 1e11, True, None])
def test_a_range_that_cannot_be_is_refused(value: Any) -> None:
    """At either end."""
    engine = AnalyticsEngine()
    with pytest.raises(InvalidValueError, match=r"^start is"):
        engine.get_events(value, 5)
    with pytest.raises(InvalidValueError, match=r"^end is"):
        engine.get_events(5, value)


def test_an_unknown_kind_is_refused() -> None:
    """The error names those there are."""
    with pytest.raises(InvalidValueError, match="plugin_load, plugin_execute, plugin_error"):
        AnalyticsEngine().get_events_by_type("plugin_sleep")


def test_kinds_may_be_given_as_text() -> None:
    """As they stand in JSON."""
    engine = told(random_events(3, 50, 0))
    assert engine.get_events_by_type("plugin_load") == engine.get_events_by_type(
        EventKind.PLUGIN_LOAD
    )


def test_an_event_by_hand_comes_back_as_it_was() -> None:
    """Every field of it."""
    event = AnalyticsEvent(
        kind=ERROR,
        plugin_id="größe",
        timestamp_ns=123_456_789_012_345_678,
        duration_ns=7,
        hook="greet",
        status=Status.TIMEOUT,
        error_type="pkg.TooLate",
        error_message="it took too long",
        metadata={"version": "1.0", "host": "tower"},
        parent="outer",
    )
    assert told([event]).get_plugin_events("größe") == (event,)


def test_events_from_the_bus_and_by_hand_are_in_one_order() -> None:
    """The bus has monotonic times with an offset, events by hand have wall-clock times."""
    engine = AnalyticsEngine()
    path = CallTree().root["a"]
    failed = Detail(Failure(Status.ERROR, "E", "no"))
    engine.observe(EventBatch([path, 10, 20, 1, None, path, 40, 60, 1, failed], 1_000))
    engine.record_event(
        AnalyticsEvent(kind=EXECUTE, plugin_id="a", timestamp_ns=1_030, duration_ns=5)
    )
    engine.observe(EventBatch([path, 0, 5, 1, None], 1_020))
    got = [(e.timestamp_ns, e.duration_ns, e.kind) for e in engine.get_plugin_events("a")]
    assert got == [
        (1_020, 10, EXECUTE),
        (1_025, 5, EXECUTE),
        (1_030, 5, EXECUTE),
        (1_060, 20, EXECUTE),
        (1_060, 0, ERROR),
    ]


# The work that a question takes


class Work:
    """Counts what is done while a question is answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: Counter[str] = Counter()
        for name in ("between", "positions_of", "event", "subset"):
            monkeypatch.setattr(EventColumns, name, self._counting(name))

    def _counting(self, name: str) -> Callable[..., Any]:
        original = getattr(EventColumns, name)

        def counting(columns: EventColumns, *args: Any) -> Any:
            self.done[name] += 1
            return original(columns, *args)

        return counting

    def of(self, question: Callable[[], Any]) -> Counter[str]:
        self.done.clear()
        question()
        return Counter(self.done)


def filled(count: int, *, jitter: int = 0, plugins: int = 4) -> EventStore:
    """A store with an event each us, by `plugins` in turn; some come up to `jitter` us late."""
    tree, store = CallTree(), EventStore(count, 0)
    paths = [tree.root[f"p{number}"] for number in range(plugins)]
    numbers = random.Random(5)
    for first in range(0, count, 1_000):
        rows = range(first, min(count, first + 1_000))
        times = [1_000 * max(0, n - numbers.randint(0, jitter)) for n in rows]
        codes = store.codes_of([paths[n % plugins] for n in rows])
        store.extend(times, [1] * len(times), codes, bytes(len(times)), {})
    return store


@pytest.mark.parametrize("jitter", [0, 50])
@pytest.mark.parametrize("count", [10_000, 300_000])
def test_a_range_touches_only_the_segments_it_lies_in(
    monkeypatch: pytest.MonkeyPatch, count: int, jitter: int
) -> None:
    """As many of a large store as of a small one, also where threads were a little late."""
    store, work = filled(count, jitter=jitter), Work(monkeypatch)
    for start in (0, 500_000, count * 500, 1_000 * count - 100_000):
        found: list[Any] = []
        done = work.of(
            lambda start=start, found=found: found.append(  # type: ignore[misc]
                store.between(start, start + 100_000)
            )
        )
        assert len(found[0]) == pytest.approx(100, abs=jitter)
        assert done["between"] <= 4
        assert done["event"] == 0


def test_no_event_falls_between_two_segments() -> None:
    """Each is found by a range of its own, at the borders of segments, too."""
    store = filled(10_000)
    for number in range(10_000):
        assert len(store.between(1_000 * number, 1_000 * number + 1)) == 1


def test_a_plugins_events_are_made_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each segment's index is asked once, nothing is scanned."""
    count = 200_000
    store = filled(count, plugins=20_000)
    work = Work(monkeypatch)
    done = work.of(lambda: store.of_plugin("p7"))
    assert done["event"] == count // 20_000
    assert done["positions_of"] == -(-count // 16_384)
    assert work.of(lambda: store.of_plugin("nobody"))["event"] == 0


@pytest.mark.parametrize("jitter", [0, 50])
def test_the_latest_are_found_from_the_end(monkeypatch: pytest.MonkeyPatch, jitter: int) -> None:
    """What is long ago is not looked at."""
    store = filled(300_000, jitter=jitter)
    work = Work(monkeypatch)
    done = work.of(lambda: store.latest(50))
    assert done["event"] == 50
    done = work.of(lambda: store.latest_executions("p1", 100))
    assert done["positions_of"] <= 2
    assert done["event"] == 0


def test_errors_are_found_without_a_look_at_the_successes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what carries a detail is made."""
    store = filled(100_000)
    path = CallTree().root["a"]
    code = store.codes_of([path])
    store.extend([10**9], [1], code, bytes([0x81]), {0: Detail(Failure(Status.ERROR, "E", "no"))})
    done = Work(monkeypatch).of(lambda: store.of_kind(ERROR))
    assert done["event"] == 1


def test_eviction_leaves_as_many_as_promised() -> None:
    """Whole segments leave; never more than one segment too much is held."""
    store = EventStore(20_000, 0)
    path = CallTree().root["a"]
    for first in range(0, 200_000, 1_000):
        times = list(range(first, first + 1_000))
        store.extend(times, times, store.codes_of([path]) * 1_000, bytes(1_000), {})
        assert len(store) == min(20_000, first + 1_000)
    assert store.evicted == 180_000
    assert store.nbytes() <= 24 * (20_000 + 2 * 5_000)
    assert len(store.between(0, 10**9)) == 20_000


def test_bytes_for_each_event() -> None:
    """At most 24, with the index by plugin in use, for a hundred thousand of them."""
    store = filled(100_000)
    assert store.nbytes() <= 21.1 * 100_000
    assert len(store.of_plugin("p1")) == 25_000
    assert 21 * 100_000 < store.nbytes() <= 24 * 100_000


def test_the_memory_counted_is_the_memory_held() -> None:
    """`nbytes` leaves nothing out."""
    import tracemalloc

    tracemalloc.start()
    try:
        store = filled(100_000)
        found = len(store.of_plugin("p1"))
        taken = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    assert found == 25_000
    of_the_store = [tracemalloc.Filter(True, f"*{Path('pluginhost', 'analytics')}*")]
    held = sum(each.size for each in taken.filter_traces(of_the_store).traces)
    assert held > store.nbytes() / 2
    assert held <= 1.25 * store.nbytes()  # arrays grow ahead of need, by an eighth
