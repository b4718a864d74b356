"""The bus: every observer gets every record once, whatever the others do."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from textwrap import dedent

import pytest
import structlog
from hypothesis import given, strategies as st

import pluginhost.bus
from pluginhost.bus import EventBus
from pluginhost.errors import InvalidValueError
from pluginhost.events import EventBatch
from pluginhost.journal import Detail, Failure, Status
from pluginhost.subscription import Account, Observer, Subscription

FAILED = Detail(Failure(Status.ERROR, "ValueError", "no"))
LONG_S = 20.0  # how long to wait for what must happen; only a failing test waits so long


class Recorder:
    """Keeps the start of every record it is given; then does `then(batch)`."""

    def __init__(self, then: Callable[[EventBatch], object] = lambda _batch: None) -> None:
        self.starts: list[int] = []
        self.batches = 0
        self.heard = threading.Event()
        self._then = then

    def observe(self, batch: EventBatch) -> None:
        self.starts += batch.starts_ns
        self.batches += 1
        self.heard.set()
        self._then(batch)


class Source:
    """Notes when it is started and stopped."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")


def raising(error: BaseException) -> Recorder:
    """Return an observer that raises `error` at every batch."""

    def fail(_batch: EventBatch) -> None:
        raise error

    return Recorder(fail)


def publish(bus: EventBus, *starts_ns: int) -> None:
    """Append records to the journal as the instrumentation does, without draining.

    Every third one is of a failure: it is one record, although it makes two events.
    """
    path = bus.tree.root["a"]
    for start_ns in starts_ns:
        extra = None if start_ns % 3 else FAILED
        bus.journal.extend((path, start_ns, start_ns + 1, threading.get_ident(), extra))


@pytest.fixture
def bus() -> Iterator[EventBus]:
    """A bus that is closed after the test."""
    made = EventBus()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def unconfigured_structlog() -> Iterator[None]:
    """Each test begins and ends with structlog as it comes."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


# Delivery


def test_every_observer_gets_every_record_in_order(bus: EventBus) -> None:
    """Two observers both hear all, in the order of the journal."""
    first, second = Recorder(), Recorder()
    bus.subscribe(first, live=False)
    bus.subscribe(second, live=False)
    publish(bus, 1, 2, 3)
    bus.flush()
    publish(bus, 4)
    bus.flush()
    assert first.starts == second.starts == [1, 2, 3, 4]


def test_what_happened_before_is_not_told_to_newcomers(bus: EventBus) -> None:
    """A subscription begins with what is recorded after it."""
    early, late = Recorder(), Recorder()
    bus.subscribe(early, live=False)
    publish(bus, 1)
    bus.subscribe(late, live=False)
    publish(bus, 2)
    bus.flush()
    assert early.starts == [1, 2]
    assert late.starts == [2]


def test_closing_a_subscription_delivers_what_is_pending(bus: EventBus) -> None:
    """Nothing that was recorded before is lost, nothing after it arrives."""
    recorder = Recorder()
    subscription = bus.subscribe(recorder, live=False)
    publish(bus, 1)
    subscription.close()
    publish(bus, 2)
    bus.flush()
    subscription.close()
    assert recorder.starts == [1]
    assert not subscription.active


def test_a_drain_hands_over_one_chunk_and_a_flush_all() -> None:
    """The pause of a recording thread is bounded; a reader sees everything."""
    bus, recorder = EventBus(drain_chunk=3), Recorder()
    bus.subscribe(recorder, live=False)
    publish(bus, *range(8))
    bus.drain()
    assert (recorder.starts, bus.pending, bus.drained) == ([0, 1, 2], 5, 3)
    bus.flush()
    assert (recorder.starts, bus.pending, bus.drained) == (list(range(8)), 0, 8)
    assert recorder.batches == 3


def test_a_flush_is_over_although_recording_goes_on(bus: EventBus) -> None:
    """What is recorded while it is delivered waits for the next flush."""
    numbers = count(10)
    recorder = Recorder(lambda _batch: publish(bus, next(numbers)))
    bus.subscribe(recorder, live=False)
    publish(bus, 1)
    bus.flush()
    assert (recorder.starts, bus.pending) == ([1], 1)


def test_an_observer_may_read_the_bus_while_it_is_told() -> None:
    """Flushing and draining from within a delivery do nothing, and nothing is told twice."""
    bus = EventBus(drain_chunk=2)
    recorder = Recorder(lambda _batch: (bus.flush(), bus.drain()))
    other = Recorder()
    bus.subscribe(recorder, live=False)
    bus.subscribe(other, live=False)
    publish(bus, *range(7))
    bus.flush()
    assert recorder.starts == other.starts == list(range(7))


def test_what_interrupts_a_reader_does_not_wait_for_who_needs_the_readers_lock(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler that reads, for instance, while another thread delivers: no deadlock."""
    monkeypatch.setattr(pluginhost.bus, "PATIENCE_S", LONG_S)
    lock, told = threading.RLock(), threading.Event()

    def take(_batch: EventBatch) -> None:
        told.set()
        with lock:
            pass

    taking = bus.subscribe(Recorder(take), live=False)
    deliverer = threading.Thread(target=bus.flush)
    with bus.reading(), lock:
        publish(bus, 1)
        deliverer.start()
        assert told.wait(LONG_S)
        _assert_nobody_is_waited_for(bus, taking)
    deliverer.join(LONG_S)
    bus.flush()
    assert taking.delivered == 1


def test_what_interrupts_the_bus_does_not_wait_for_who_needs_its_lock(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where a thread is interrupted that holds the lock of the bus itself."""
    monkeypatch.setattr(pluginhost.bus, "PATIENCE_S", LONG_S)
    told, gate = threading.Event(), threading.Event()

    def take(_batch: EventBatch) -> None:
        told.set()
        gate.wait(LONG_S)

    taking = bus.subscribe(Recorder(take), live=False)
    publish(bus, 1)
    deliverer = threading.Thread(target=bus.flush)
    deliverer.start()
    assert told.wait(LONG_S)
    with bus.lock:
        gate.set()  # now it needs the lock, to say that it is done
        _assert_nobody_is_waited_for(bus, taking)
    deliverer.join(LONG_S)
    assert taking.delivered == 1


def _assert_nobody_is_waited_for(bus: EventBus, subscription: Subscription) -> None:
    started = time.monotonic()
    bus.flush()
    assert not subscription.flush(LONG_S)
    assert time.monotonic() - started < LONG_S / 2
    assert subscription.queued == 1


def test_the_meter_is_told_of_every_batch_and_keeps_no_source_going(bus: EventBus) -> None:
    """It hears how many ns each delivery took, but it is no observer."""
    told: list[tuple[int, int]] = []
    source = Source()
    bus.meter = lambda batch, spent_ns: told.append((batch.occurrences, spent_ns))
    bus.add_source(source)
    assert source.calls == []
    bus.subscribe(Recorder(lambda _batch: time.sleep(0.01)), live=False)
    publish(bus, 1, 2)
    bus.flush()
    ((occurrences, spent_ns),) = told
    assert occurrences == 2
    assert bus.drain_ns == spent_ns >= 10_000_000


# Exact counts


@st.composite
def _operations(draw: st.DrawFn) -> list[tuple[str, int]]:
    names = ["publish", "drain", "flush", "subscribe", "subscribe failing", "close"]
    return draw(st.lists(st.tuples(st.sampled_from(names), st.integers(0, 9)), max_size=30))


def adds_up(account: Account) -> bool:
    """Whether every record that was published for an observer is accounted for once."""
    settled = account.delivered + account.failed + account.dropped
    return account.published == settled + account.queued


@given(_operations(), st.integers(1, 4))
def test_counts_are_exact_whatever_comes_and_goes(
    operations: list[tuple[str, int]], chunk: int
) -> None:
    """Published is drained and pending, and each subscription answers for all since it began."""
    bus, number = EventBus(drain_chunk=chunk), count()
    everyone: list[tuple[Subscription, Recorder, int]] = []
    ended: dict[Subscription, int] = {}
    published = 0
    for name, argument in operations:
        if name == "publish":
            publish(bus, *(next(number) for _ in range(argument)))
            published += argument
        elif name == "drain":
            bus.drain()
        elif name == "flush":
            bus.flush()
        elif name == "close" and everyone:
            everyone[argument % len(everyone)][0].close()
        elif name.startswith("subscribe"):
            observer = raising(ValueError("no")) if name.endswith("failing") else Recorder()
            subscription = bus.subscribe(observer, live=False)
            everyone.append((subscription, observer, bus.drained))
        for subscription, _, _ in everyone:
            if not subscription.active:
                ended.setdefault(subscription, bus.drained)
            assert adds_up(subscription.account())
        assert bus.published == published == bus.drained + bus.pending
    bus.close()
    for subscription, recorder, began in everyone:
        handled = subscription.delivered + subscription.failed
        assert recorder.starts == list(range(began, began + handled))
        if subscription.error is None:
            assert (handled, subscription.failed) == (
                ended.get(subscription, bus.drained) - began,
                0,
            )
        else:
            assert (subscription.delivered, recorder.batches) == (0, 1)


def test_threads_that_publish_and_drain_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads over a journal that is always full: every record arrives exactly once."""
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    bus, recorder = EventBus(capacity=3, drain_chunk=5), Recorder()
    subscription = bus.subscribe(recorder)

    def work(first: int) -> None:
        for start_ns in range(first, first + 1500):
            publish(bus, start_ns)
            if len(bus.journal) > bus.high_water:
                bus.drain()

    threads = [threading.Thread(target=work, args=(n * 1500,)) for n in range(8)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switching)
    bus.close()
    assert sorted(recorder.starts) == list(range(12_000))
    assert (subscription.delivered, subscription.failed) == (12_000, 0)
    assert (bus.published, bus.drained, bus.pending) == (12_000, 12_000, 0)


def test_the_published_count_holds_while_a_batch_is_being_made(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread never sees records that are in neither the journal nor the drained ones."""
    making, seen = threading.Event(), []

    def slow_batch(records: list[object], offset_ns: int) -> EventBatch:
        making.set()
        time.sleep(0.05)
        return EventBatch(records, offset_ns)

    def look() -> None:
        making.wait(LONG_S)
        seen.append(bus.published)

    monkeypatch.setattr(pluginhost.bus, "EventBatch", slow_batch)
    publish(bus, *range(10))
    reader = threading.Thread(target=look)
    reader.start()
    bus.flush()
    reader.join()
    assert seen == [10]


def test_a_recording_thread_does_not_wait_for_a_slow_observer(bus: EventBus) -> None:
    """While another thread delivers, a drain returns at once; a flush waits for it."""
    inside, go_on = threading.Event(), threading.Event()
    recorder = Recorder(lambda _batch: (inside.set(), go_on.wait(LONG_S)))
    subscription = bus.subscribe(recorder, live=False)
    publish(bus, 1)
    slow = threading.Thread(target=bus.flush)
    slow.start()
    assert inside.wait(LONG_S)
    publish(bus, 2)
    bus.drain()
    assert subscription.account() == Account("Recorder", 2, 0, 0, 0, 2)
    go_on.set()
    bus.flush()
    assert recorder.starts == [1, 2]
    slow.join()


def test_a_recording_thread_does_not_wait_while_observers_come_and_go(bus: EventBus) -> None:
    """While another thread is starting the sources, a drain returns at once."""
    starting, go_on = threading.Event(), threading.Event()

    class SlowToStart(Source):
        def start(self) -> None:
            starting.set()
            go_on.wait(LONG_S)

    bus.add_source(SlowToStart())
    publish(bus, 1)
    newcomer = threading.Thread(target=bus.subscribe, args=(Recorder(),), kwargs={"live": False})
    newcomer.start()
    assert starting.wait(LONG_S)
    publish(bus, 2)
    started = time.monotonic()
    bus.drain()
    waited_s = time.monotonic() - started
    go_on.set()
    newcomer.join()
    assert waited_s < LONG_S / 2
    assert bus.pending == 1


# Observers that fail


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        SystemExit(3),
        GeneratorExit(),
        StopIteration(),
        BaseExceptionGroup("g", [OSError()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_observer_that_raises_is_disconnected_and_the_others_lose_nothing(
    bus: EventBus, error: BaseException
) -> None:
    """Whatever it raises, it alone pays: its batch counts as failed, and no more come."""
    before, bad, after = Recorder(), raising(error), Recorder()
    kept = bus.subscribe(before, live=False)
    failed = bus.subscribe(bad, live=False)
    bus.subscribe(after, live=False)
    publish(bus, 1, 2)
    bus.flush()
    publish(bus, 3)
    bus.flush()
    assert before.starts == after.starts == [1, 2, 3]
    assert bad.starts == [1, 2]
    assert (failed.delivered, failed.failed, failed.active) == (0, 2, False)
    assert failed.error is error
    assert (kept.delivered, kept.failed, kept.error) == (3, 0, None)


def test_a_disconnection_is_logged_once_and_never_on_standard_output(
    bus: EventBus, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output belongs to the application, so the warning goes to standard error."""
    bus.subscribe(raising(ValueError("the disk is full")), live=False)
    for start_ns in range(3):
        publish(bus, start_ns)
        bus.flush()
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    for part in ("observer disconnected", "Recorder", "ValueError", "the disk is full"):
        assert part in line


def test_hostile_words_of_an_observer_do_not_reach_the_terminal_raw(
    bus: EventBus, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escapes in an error's message are shown, not obeyed."""
    bus.subscribe(raising(ValueError("\x1b[2J\x07")), live=False)
    publish(bus, 1)
    bus.flush()
    written = capsys.readouterr().err
    assert "\x07" not in written
    assert "\x1b[2J" not in written
    assert "2J" in written


def test_an_application_that_configured_structlog_gets_the_warning_its_own_way(
    bus: EventBus, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then the entry passes through the application's processors, and nowhere else."""
    with structlog.testing.capture_logs() as entries:
        bus.subscribe(raising(OSError("gone")), live=False)
        publish(bus, 1)
        bus.flush()
    assert entries == [
        {
            "event": "observer disconnected: it raised",
            "log_level": "warning",
            "observer": "Recorder",
            "error_type": "OSError",
            "error": "gone",
        }
    ]
    assert capsys.readouterr() == ("", "")


def test_who_waits_for_a_live_observer_that_raises_finds_the_warning(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the log takes; what became of the events is exact meanwhile."""
    told: list[tuple[int, int]] = []
    accounts: list[Account] = []

    def slow_log(what: str, observer: object, **details: object) -> None:
        accounts.append(subscription.account())
        assert subscription.flush() in (True, False)  # not in its own way
        time.sleep(0.2)
        told.append((subscription.failed, subscription.queued))

    monkeypatch.setattr(pluginhost.subscription, "warn", slow_log)
    subscription = bus.subscribe(raising(OSError("gone")))
    publish(bus, 1)
    assert subscription.flush()
    assert told == [(1, 0)]
    assert [(account.failed, account.queued) for account in accounts] == [(1, 0)]


class _Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    "stderr", [None, "closed", "open"], ids=["no stderr", "closed stderr", "open stderr"]
)
def test_a_failure_that_cannot_be_logged_costs_the_others_nothing(
    bus: EventBus,
    stderr: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither a broken `__str__` nor a broken stream stops the delivery."""
    stream = io.StringIO()
    if stderr == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stderr", None if stderr is None else stream)
    good = Recorder()
    bad = bus.subscribe(raising(_Unspeakable()), live=False)
    bus.subscribe(good, live=False)
    publish(bus, 1)
    bus.flush()
    assert good.starts == [1]
    assert not bad.active
    assert capsys.readouterr().out == ""
    if stderr == "open":
        assert "_Unspeakable" in stream.getvalue()


def test_the_users_interrupt_in_an_observer_comes_through_after_all_were_told(
    bus: EventBus,
) -> None:
    """Ctrl-C is not the observer's fault: it stays, the others get theirs, then it is raised."""
    hurt, good = raising(KeyboardInterrupt()), Recorder()
    failed = bus.subscribe(hurt, live=False)
    kept = bus.subscribe(good, live=False)
    publish(bus, 1, 2)
    with pytest.raises(KeyboardInterrupt):
        bus.flush()
    assert good.starts == [1, 2]
    assert (failed.failed, failed.active, failed.error) == (2, True, None)
    assert (kept.delivered, bus.pending) == (2, 0)


@pytest.mark.parametrize("how", ["subscription", "bus"])
def test_an_interrupt_while_closing_still_closes(how: str) -> None:
    """After a Ctrl-C in the last delivery nothing is left running."""
    bus, source = EventBus(), Source()
    bus.add_source(source)
    subscription = bus.subscribe(raising(KeyboardInterrupt()), live=False)
    publish(bus, 1)
    with pytest.raises(KeyboardInterrupt):
        (subscription if how == "subscription" else bus).close()
    assert bus.subscriptions == ()
    assert source.calls == ["start", "stop"]
    assert bus.own_threads == 0


# Observers that come and go in the middle


def test_an_observer_may_leave_while_it_is_told(bus: EventBus) -> None:
    """It has had the batch that it is told of, and hears no more."""
    leaving = Recorder(lambda _batch: subscription.close())
    staying = Recorder()
    subscription = bus.subscribe(leaving, live=False)
    bus.subscribe(staying, live=False)
    publish(bus, 1)
    bus.flush()
    publish(bus, 2)
    bus.flush()
    assert (leaving.starts, staying.starts) == ([1], [1, 2])
    assert (subscription.delivered, subscription.failed) == (1, 0)


def test_an_observer_may_send_another_away(bus: EventBus) -> None:
    """The one sent away still gets the batch under way, which is from before, and no other."""
    first = Recorder(lambda _batch: other.close())
    second = Recorder()
    bus.subscribe(first, live=False)
    other = bus.subscribe(second, live=False)
    publish(bus, 1)
    bus.flush()
    publish(bus, 2)
    bus.flush()
    assert (first.starts, second.starts) == ([1, 2], [1])
    assert (other.delivered, other.active) == (1, False)


def test_an_observer_may_bring_another(bus: EventBus) -> None:
    """The newcomer hears of what comes after the batch under way."""
    newcomer = Recorder()

    def bring(_batch: EventBatch) -> None:
        if not newcomer_there:
            newcomer_there.append(bus.subscribe(newcomer, live=False))

    newcomer_there: list[Subscription] = []
    bus.subscribe(Recorder(bring), live=False)
    publish(bus, 1)
    bus.flush()
    publish(bus, 2)
    bus.flush()
    assert newcomer.starts == [2]
    assert newcomer_there[0].delivered == 1


def test_one_object_may_observe_twice(bus: EventBus) -> None:
    """Each subscription is its own place, and closing one leaves the other."""
    recorder = Recorder()
    first = bus.subscribe(recorder, live=False)
    bus.subscribe(recorder, live=False)
    publish(bus, 1)
    first.close()
    publish(bus, 2)
    bus.flush()
    assert recorder.starts == [1, 1, 2]


@pytest.mark.parametrize(
    "wrong", [pytest.param(print, id="a function"), pytest.param(None, id="None")]
)
def test_what_cannot_observe_is_refused(bus: EventBus, wrong: Observer) -> None:
    """The error names the type and the method that it lacks."""
    with pytest.raises(InvalidValueError, match=r"cannot observe - give it a method observe"):
        bus.subscribe(wrong)


# Live observers


def test_a_live_observer_hears_although_nothing_else_happens() -> None:
    """One record into an idle bus reaches it without drain, flush or a full journal."""
    bus, recorder = EventBus(drain_interval_s=0.01), Recorder()
    bus.subscribe(recorder)
    publish(bus, 1)
    assert recorder.heard.wait(LONG_S)
    assert recorder.starts == [1]
    bus.close()


def test_the_threads_live_as_long_as_live_observers() -> None:
    """Each has its own, and there is one for all; readers on demand need none."""
    bus = EventBus(drain_interval_s=0.01)
    before = set(threading.enumerate())
    bus.subscribe(Recorder(), live=False)
    assert set(threading.enumerate()) == before
    first, second = bus.subscribe(Recorder()), bus.subscribe(Recorder())
    begun = set(threading.enumerate()) - before
    assert [thread.daemon for thread in begun] == [True] * 3
    assert bus.own_threads == 3
    first.close()
    assert bus.own_threads == 2
    second.close()
    assert bus.own_threads == 0
    assert all_end(begun)
    bus.close()


def all_end(threads: set[threading.Thread]) -> bool:
    """Wait for the threads; return whether they have ended."""
    for thread in threads:
        thread.join(LONG_S)
    return not any(thread.is_alive() for thread in threads)


def test_closing_the_bus_ends_the_background_threads() -> None:
    """Nothing of a closed bus is left behind."""
    bus = EventBus(drain_interval_s=0.01)
    before = set(threading.enumerate())
    bus.subscribe(Recorder())
    begun = set(threading.enumerate()) - before
    bus.close()
    assert begun
    assert all_end(begun)


def test_a_live_observer_that_fails_takes_the_background_threads_along() -> None:
    """It is disconnected from within that very thread, which then ends."""
    bus = EventBus(drain_interval_s=0.01)
    before = set(threading.enumerate())
    subscription = bus.subscribe(raising(ValueError()))
    begun = set(threading.enumerate()) - before
    publish(bus, 1)
    assert begun
    assert all_end(begun)
    assert not subscription.active


def test_an_interrupt_raised_in_the_background_thread_reaches_the_main_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is handed to the program, and live observers are served as before."""
    handed: list[str] = []
    monkeypatch.setattr("_thread.interrupt_main", lambda: handed.append("interrupt"))
    bus, good = EventBus(drain_interval_s=0.01), Recorder()
    bus.subscribe(raising(KeyboardInterrupt()))
    bus.subscribe(good)
    for start_ns in (1, 2):
        publish(bus, start_ns)
        assert good.heard.wait(LONG_S)
        good.heard.clear()
    bus.unsubscribe(bus.subscriptions[0])
    bus.close()
    assert good.starts == [1, 2]
    assert "interrupt" in handed


# Sources


def test_sources_run_exactly_while_there_are_observers(bus: EventBus) -> None:
    """The first observer starts them, the last stops them, those between do neither."""
    source = Source()
    bus.add_source(source)
    assert source.calls == []
    first = bus.subscribe(Recorder(), live=False)
    second = bus.subscribe(Recorder(), live=False)
    first.close()
    assert source.calls == ["start"]
    second.close()
    assert source.calls == ["start", "stop"]
    bus.subscribe(Recorder(), live=False)
    assert source.calls == ["start", "stop", "start"]
    bus.close()
    bus.close()
    assert source.calls == ["start", "stop", "start", "stop"]


def test_a_source_added_while_somebody_listens_starts_at_once(bus: EventBus) -> None:
    """It does not wait for the next observer."""
    bus.subscribe(Recorder(), live=False)
    source = Source()
    bus.add_source(source)
    assert source.calls == ["start"]


def test_sources_stop_when_the_last_observer_fails(bus: EventBus) -> None:
    """Nobody is left to record for."""
    source = Source()
    bus.add_source(source)
    bus.subscribe(raising(ValueError()), live=False)
    publish(bus, 1)
    bus.flush()
    assert source.calls == ["start", "stop"]


def test_sources_stop_before_the_last_delivery(bus: EventBus) -> None:
    """The last observer's close leaves nothing in the journal that came too late."""
    calls: list[str] = []

    class Eager(Source):
        def stop(self) -> None:
            publish(bus, 2)  # recorded while stopping
            calls.append("stop")

    recorder = Recorder(lambda _batch: calls.append("told"))
    bus.add_source(Eager())
    subscription = bus.subscribe(recorder, live=False)
    publish(bus, 1)
    subscription.close()
    assert calls == ["stop", "told"]
    assert recorder.starts == [1, 2]


def test_an_observer_that_is_brought_at_the_last_moment_starts_the_sources_again(
    bus: EventBus,
) -> None:
    """Subscribing from within the last delivery is in time."""
    source, newcomer = Source(), Recorder()
    bus.add_source(source)
    subscription = bus.subscribe(
        Recorder(lambda _batch: bus.subscribe(newcomer, live=False)), live=False
    )
    publish(bus, 1)
    subscription.close()
    assert source.calls == ["start", "stop", "start"]
    publish(bus, 2)
    bus.flush()
    assert newcomer.starts == [2]


def test_sources_stay_stopped_when_an_observer_fails_while_the_bus_is_closed() -> None:
    """The failure of one of several in the last delivery revives nothing."""
    bus, source, good = EventBus(), Source(), Recorder()
    bus.add_source(source)
    bus.subscribe(raising(ValueError()), live=False)
    bus.subscribe(good, live=False)
    publish(bus, 1)
    bus.close()
    assert source.calls == ["start", "stop"]
    assert good.starts == [1]


# The end


def test_a_closed_bus_takes_no_more_observers() -> None:
    """The error says what to do instead."""
    bus = EventBus()
    bus.close()
    with pytest.raises(InvalidValueError, match="the bus is closed - observe the host again"):
        bus.subscribe(Recorder())


def test_an_observer_cannot_outlive_the_bus_by_bringing_another() -> None:
    """Subscribing from within the last delivery of a bus that is closing is refused."""
    bus, source, newcomer = EventBus(), Source(), Recorder()
    bus.add_source(source)
    bus.subscribe(Recorder(lambda _batch: bus.subscribe(newcomer)), live=False)
    publish(bus, 1)
    bus.close()
    assert bus.subscriptions == ()
    assert (source.calls, bus.own_threads) == (["start", "stop"], 0)


def test_an_observer_may_close_the_bus() -> None:
    """From within a delivery, too: the others still get that batch."""
    bus, other = EventBus(), Recorder()
    bus.subscribe(Recorder(lambda _batch: bus.close()), live=False)
    bus.subscribe(other, live=False)
    publish(bus, 1)
    bus.flush()
    assert other.starts == [1]
    assert bus.subscriptions == ()


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"capacity": 0}, id="capacity"),
        pytest.param({"drain_chunk": 0}, id="chunk"),
        pytest.param({"drain_interval_s": 0.0}, id="interval"),
        pytest.param({"drain_interval_s": float("nan")}, id="interval NaN"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    """A bus needs room, chunks and an interval above zero."""
    with pytest.raises(InvalidValueError):
        EventBus(**settings)  # type: ignore[arg-type]


# Recording from where nobody expects it: in a process of its own, for a deadlock would hang us

_PRELUDE = """
    import gc, signal, sys, threading, time
    from pluginhost.bus import EventBus

    class Sum:
        def __init__(self):
            self.starts = []
        def observe(self, batch):
            self.starts += batch.starts_ns
            [[] for _ in range(50)]  # something for the garbage collector

    bus, seen = EventBus(capacity=5, drain_chunk=20, drain_interval_s=0.001), Sum()
    subscription = bus.subscribe(seen)
    path, published = bus.tree.root["a"], [0]

    def record():
        number = published[0]
        published[0] += 1
        bus.journal.extend((path, number, number + 1, threading.get_ident(), None))

    def publish():
        record()
        if len(bus.journal) > bus.high_water:
            bus.drain()
"""
_EPILOGUE = """
    bus.close()
    assert interruptions[0] > 20, interruptions
    assert sorted(seen.starts) == list(range(published[0])), "lost or doubled"
    assert (subscription.delivered, subscription.failed) == (published[0], 0)
    assert bus.published == bus.drained == published[0]
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


@pytest.mark.skipif(not hasattr(__import__("signal"), "setitimer"), reason="needs timers")
def test_signal_handlers_may_record_at_any_moment() -> None:
    """A handler that interrupts a delivery neither deadlocks nor loses or doubles a record."""
    program = """
        interruptions = [0]
        def handler(signum, frame):
            interruptions[0] += 1
            publish()
            if interruptions[0] % 3 == 0:
                bus.flush()
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            publish()
        signal.setitimer(signal.ITIMER_REAL, 0)
    """
    assert _outcome_of(program) == "exact\n"


def test_garbage_collector_callbacks_may_record_at_any_moment() -> None:
    """Callbacks run wherever something is allocated, in the midst of a delivery as well."""
    program = """
        interruptions = [0]
        over, guard = [False], threading.RLock()
        def callback(phase, info):
            with guard:
                if over[0]:  # in another thread one may be about to run when they are removed
                    return
                interruptions[0] += 1
                record()
            bus.drain()
        gc.set_threshold(1)
        gc.callbacks.append(callback)
        kept, end = [], time.monotonic() + 30
        while interruptions[0] < 1000 and time.monotonic() < end:
            publish()
            kept.append([])
        gc.callbacks.remove(callback)
        with guard:
            over[0] = True
    """
    assert _outcome_of(program) == "exact\n"
