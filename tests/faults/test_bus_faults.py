"""Observers that raise, block, dawdle and meddle: the others lose nothing, and all is accounted for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from itertools import count
from textwrap import dedent

import pytest

from pluginhost.bus import EventBus
from pluginhost.events import EventBatch
from pluginhost.subscription import Account

LONG_S = 20.0  # how long to wait for what must happen; only a failing test waits so long


class Keeper:
    """Keeps the number of every record it is given, after `first(batch)`."""

    def __init__(self, first=lambda _batch: None):
        self.numbers = []
        self._first = first

    def observe(self, batch):
        self._first(batch)
        self.numbers += batch.starts_ns


class Publisher:
    """Publishes numbered records as the instrumentation does."""

    def __init__(self, bus):
        self.bus, self.numbers = bus, count()
        self.path = bus.tree.root["a"]

    def __call__(self, how_many=1):
        bus, extend, ident = self.bus, self.bus.journal.extend, threading.get_ident()
        for _ in range(how_many):
            number = next(self.numbers)
            extend((self.path, number, number + 1, ident, None))
            if len(bus.journal) > bus.high_water:
                bus.drain()


def adds_up(account: Account) -> bool:
    settled = account.delivered + account.failed + account.dropped
    return account.published == settled + account.queued


@pytest.fixture
def bus():
    made = EventBus(drain_interval_s=0.01)
    yield made
    made.close()


@pytest.fixture
def publish(bus):
    return Publisher(bus)


@pytest.fixture
def gate():
    """A gate that a blocked observer waits at; opened at the end."""
    opened = threading.Event()
    yield opened
    opened.set()


def _raising(error):
    def fail(_batch: EventBatch):
        raise error

    return fail


@pytest.mark.slow
@pytest.mark.parametrize("live", [True, False], ids=["live", "on demand"])
def test_a_million_events_reach_the_healthy_one_in_order(live, figure, wait_until):
    """One observer exits the program, one is slow: the healthy one misses none of 1,000,000."""
    bus, total = EventBus(), 1_000_000
    publish, healthy = Publisher(bus), Keeper()
    bad = bus.subscribe(Keeper(_raising(SystemExit(3))))
    slow = bus.subscribe(Keeper(lambda _batch: time.sleep(0.02)), max_queued=20_000)
    good = bus.subscribe(healthy, live=live)
    started = time.perf_counter()
    for _ in range(100):
        publish(total // 100)
        assert all(map(adds_up, bus.accounts))
    bus.flush()
    assert good.flush(60)
    spent_us = (time.perf_counter() - started) * 1e6 / total
    assert healthy.numbers == list(range(total))
    assert good.account() == Account("Keeper", total, total, 0, 0, 0)
    assert isinstance(bad.error, SystemExit)
    assert adds_up(bad.account())
    wait_until(lambda: bad.failed)  # its own thread has seen to it, or is about to
    assert (bad.delivered, bad.failed > 0, bad.active) == (0, True, False)
    halfway = slow.account()
    assert adds_up(halfway)
    assert halfway.dropped > 0
    assert 0 < halfway.queued <= 21_000
    bus.close(0.1)
    assert adds_up(slow.account())
    assert slow.account().published == total
    figure(f"1,000,000 events, one raises, one slow: the healthy one{' (live)' * live}", total)
    figure("  an event, three observers", spent_us, "us")


@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("live", [True, False], ids=["live", "on demand"])
def test_one_that_blocks_holds_up_nobody(bus, publish, gate, position, live):
    """Whoever publishes, reads and observes goes on, while one observer is stuck for good."""
    inside = threading.Event()

    def block(_batch):
        inside.set()
        gate.wait(LONG_S * 3)

    others = [Keeper(), Keeper()]
    if position == "after":
        found = [bus.subscribe(others[0], live=False), bus.subscribe(others[1])]
    stuck = bus.subscribe(Keeper(block), live=True)
    if position == "before":
        found = [bus.subscribe(others[0], live=False), bus.subscribe(others[1])]
    publish()
    assert inside.wait(LONG_S)
    publish(5000)
    bus.flush()
    assert found[not live].flush(LONG_S)
    assert found[1].flush(LONG_S)
    assert others[0].numbers == others[1].numbers == list(range(5001))
    assert stuck.account() == Account("Keeper", 5001, 0, 0, 0, 5001)


def test_one_that_blocks_in_a_reader_holds_up_that_reader_only(bus, publish, gate):
    """An observer without a thread blocks whoever delivers to it; the next reader gets the rest."""
    inside = threading.Event()

    def block(_batch):
        inside.set()
        gate.wait(LONG_S * 3)

    bus.subscribe(Keeper(block), live=False)
    healthy = Keeper()
    good = bus.subscribe(healthy, live=False)
    publish(3)
    reader = threading.Thread(target=bus.flush, daemon=True)
    reader.start()
    assert inside.wait(LONG_S)
    publish(3000)
    assert good.flush(LONG_S)
    assert healthy.numbers == list(range(3003))
    gate.set()
    reader.join(LONG_S)


def test_one_that_is_stuck_is_waited_for_once(bus, publish, gate):
    """Waiting in vain is not repeated until the observer has moved."""
    stuck = bus.subscribe(Keeper(lambda _batch: gate.wait(LONG_S * 3)))
    publish()
    assert stuck.flush(0.05) is False
    started = time.monotonic()
    assert stuck.flush(LONG_S) is False
    assert time.monotonic() - started < LONG_S / 2
    gate.set()
    end = time.monotonic() + LONG_S
    while not stuck.flush(0.05):
        assert time.monotonic() < end
    assert stuck.account() == Account("Keeper", 1, 1, 0, 0, 0)


def test_what_does_not_fit_is_dropped_and_counted(bus, publish, gate):
    """A queue is bounded; how much was dropped is exact, and said at the end."""
    stuck = bus.subscribe(Keeper(lambda _batch: gate.wait(LONG_S * 3)), max_queued=2000)
    publish(10_000)
    bus.flush()
    account = stuck.account()
    assert adds_up(account)
    assert account.published == 10_000
    assert account.dropped >= 7000
    assert account.queued <= 3000


def test_an_observer_that_publishes_does_not_feed_itself_for_ever(bus, publish):
    """What it causes waits for the next delivery, and is counted like all else."""
    echo = Keeper(lambda _batch: publish())
    found = bus.subscribe(echo, live=False)
    publish()
    for rounds in range(1, 6):
        bus.flush()
        assert found.account() == Account("Keeper", rounds + 1, rounds, 0, 0, 1)
    found.close()


def test_observers_that_come_and_go_in_eight_threads(bus, publish):
    """One that stays hears everything once, however the others subscribe, close and raise."""
    healthy = Keeper()
    good = bus.subscribe(healthy)
    meddlers_left = []

    def meddle(seed):
        for number in range(60):
            error = [None, ValueError(), SystemExit()][(seed + number) % 3]
            observer = Keeper(_raising(error) if error else lambda _batch: None)
            found = bus.subscribe(observer, live=number % 4 == 0)
            publish(37)
            if number % 2:
                bus.flush()
            found.close()
            meddlers_left.append(found)

    threads = [threading.Thread(target=meddle, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert good.flush(LONG_S)
    assert sorted(healthy.numbers) == list(range(8 * 60 * 37))
    assert len(meddlers_left) == 480
    assert all(adds_up(found.account()) for found in meddlers_left)
    assert not any(found.account().queued for found in meddlers_left)


def test_an_observer_may_load_plugins_while_another_thread_does(plugin_folder, make_host):
    """No lock of the bus is held in an observer, so that the two cannot wait for each other."""
    from pluginhost import observe

    source = "from pluginhost import hookimpl\n@hookimpl\ndef execute(): pass\n"
    host = make_host(plugin_folder({f"{name}.py": source for name in "abc"}))
    host.load("a")
    with observe(host) as observation:
        loader = Keeper(lambda _batch: host.reload("b"))
        observation.bus.subscribe(loader)

        def load():
            for _ in range(50):
                host.reload("c")
                observation.report()

        thread = threading.Thread(target=load, daemon=True)
        thread.start()
        thread.join(LONG_S * 3)
        assert not thread.is_alive()
        assert loader.numbers


# The end of the process

PRELUDE = """
import os, signal, sys, threading, time
from pluginhost import PluginHost, hookimpl, observe

class Plugin:
    @hookimpl
    def execute(self): ...

sys.modules["work"], sys.modules["other"] = Plugin(), Plugin()
host = PluginHost("test", sources=["module:work", "module:other"])
host.load_all()

class Tell:
    def observe(self, batch):
        for _ in range(batch.occurrences):
            os.write(1, b"x")

class Stuck:
    def observe(self, batch):
        time.sleep(3600)

observation = observe(host)
"""


def ending(program):
    """Run the program; return how many records arrived, what it said, and how it ended."""
    code = PRELUDE + dedent(program)
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    return done.stdout.count("x"), done.stderr, done.returncode


@pytest.mark.parametrize(
    ("how", "code"),
    [
        pytest.param("", 0, id="return"),
        pytest.param("raise OSError('no')", 1, id="exception"),
        pytest.param("sys.exit(7)", 7, id="exit"),
        pytest.param(
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
            "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
            143,
            id="SIGTERM with a handler",
        ),
    ],
)
def test_what_is_pending_is_delivered_at_the_end(how, code):
    """An observation that nobody closed still reaches its observers, however the program ends."""
    program = "observation.bus.subscribe(Tell())\nfor _ in range(300): host.execute('work')\n"
    arrived, _, returned = ending(program + how)
    assert (arrived, returned) == (300, code)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("os._exit(0)", id="os._exit"),
        pytest.param("os.kill(os.getpid(), signal.SIGTERM)", id="SIGTERM"),
    ],
)
def test_an_end_that_runs_no_python_loses_what_is_pending(how):
    """Nothing can be promised there, and nothing is: what was not delivered before is gone."""
    program = """
        observation.bus._interval_s = 3600
        observation.bus.subscribe(Tell())
        for _ in range(300): host.execute('work')
    """
    arrived, said, _ = ending(dedent(program) + how)
    assert (arrived, said) == (0, "")


def test_a_stuck_observer_does_not_hold_up_the_end():
    """It is given up after five seconds; a warning says how much it has missed, the other has all."""
    program = """
        from pluginhost import processes
        assert processes.EXIT_FLUSH_S == 5.0
        processes.EXIT_FLUSH_S = 0.3
        observation.bus.subscribe(Stuck())
        observation.bus.subscribe(Tell())
        for _ in range(300): host.execute('work')
    """
    arrived, said, returned = ending(program)
    assert (arrived, returned) == (300, 0)
    assert "an observer did not get everything observer='Stuck' published=300 dropped=300" in said


# Fork

LOAD = """
import structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(open(os.devnull, "w")))

class Loud:
    def observe(self, batch):
        structlog.get_logger().info("batch", records=batch.occurrences)

class Follows:
    def __init__(self):
        self.records, self.forks = 0, 0
    def after_fork(self):
        self.records, self.forks = 0, self.forks + 1
    def observe(self, batch):
        self.records += batch.occurrences

observation.bus.high_water = 50
follows, loud = Follows(), Loud()
observation.bus.subscribe(follows, live=False)
observation.bus.subscribe(loud)
done = False

def load():
    while not done:
        host.execute("work")
        if time.monotonic_ns() % 50 == 0:
            observation.profiler.get_all_aggregates()

def swap():
    while not done:
        host.unload("other")
        host.load("other")

threads = [threading.Thread(target=target) for target in (load, load, swap)]
for thread in threads:
    thread.start()

def child():
    signal.alarm(30)  # a child that hangs is killed by it
    me = len(threading.enumerate())
    host.execute("work")
    for _ in range(120):
        host.execute("work")
    rows = observation.profiler.get_all_aggregates()
    assert [row.execution_count for row in rows] == [121], rows
    assert observation.bus.published == follows.records == 121, follows.records
    assert follows.forks == 1
    names = [account.observer for account in observation.bus.accounts]
    assert names == ["Profiler", "AnalyticsEngine", "Follows"], names
    host.unload("work")
    host.load("work")
    host.load("other")
    observation.close()
    with observe(host) as again:
        host.execute("work")
        assert again.profiler.get_aggregates("work").execution_count == 1
    assert me == 1, me

hung = failed = 0
for _ in range(FORKS):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child()
            code = 0
        except BaseException:
            import traceback
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    hung += os.WIFSIGNALED(status)
    failed += os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0
done = True
for thread in threads:
    thread.join()
print(f"forks {FORKS}, hung {hung}, failed {failed}")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "forks", [20, pytest.param(500, marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_children_start_clean(forks, figure):
    """Forked while threads execute, deliver, read and log, each child works, counting from zero."""
    code = PRELUDE + f"FORKS = {forks}\n" + LOAD
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.stdout == f"forks {forks}, hung 0, failed 0\n", done.stderr[-3000:]
    figure(f"{forks} forks under load: hung", 0)
