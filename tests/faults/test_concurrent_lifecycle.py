"""Eight threads load, execute and unload at once: no ghost stays, and no event is lost."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections import Counter

import pytest

from pluginhost import PluginState, hookspec, observe
from pluginhost.errors import PluginHostError, PluginNotFoundError, PluginStateError

THREADS = 8
PLUGINS = [f"p{i}" for i in range(6)]

SOURCE = """
from pluginhost import hookimpl

@hookimpl
def setup(host):
    host.balance.append(1)

@hookimpl
def teardown(host):
    host.balance.append(-1)

@hookimpl
def menu(items):
    return items

@hookimpl
def execute(payload):
    if payload % 5 == 0:
        raise ArithmeticError(payload)
    return payload
"""

ASYNC = SOURCE.replace("def execute", "async def execute")


class Specs:
    """A 1:N hook, called while its implementations come and go."""

    @hookspec
    def menu(self, items):
        """Offer entries."""


class Clash(AssertionError):
    """Something that must not happen under any interleaving."""


class Worker(threading.Thread):
    """Does one random thing after another until the time is up, and counts what came of it.

    `returned` and `raised` count executions that reached the plugin, by plugin id.
    """

    def __init__(self, host, seed, until):
        super().__init__(name=f"worker-{seed}")
        self.host, self.until, self.random = host, until, random.Random(seed)
        self.returned, self.raised, self.steps = Counter(), Counter(), Counter()
        self.clash = None

    def run(self):
        try:
            while time.monotonic() < self.until:
                self.step()
        except BaseException as error:
            self.clash = error

    def step(self):
        plugin_id = self.random.choice(PLUGINS)
        action = self.random.choices(
            [self.execute, self.aexecute, self.load, self.unload, self.reload, self.call],
            [60, 5, 10, 10, 3, 5],
        )[0]
        action(plugin_id)
        self.steps[action.__name__] += 1

    def execute(self, plugin_id):
        payload = self.random.randrange(1000)
        try:
            result = self.host.execute(plugin_id, payload)
        except PluginStateError:
            return  # it was not loaded just then
        except ArithmeticError as error:
            self.counted(self.raised, plugin_id, error.args[0], payload)
        else:
            self.counted(self.returned, plugin_id, result, payload)

    def aexecute(self, plugin_id):
        payload = self.random.randrange(1000)
        try:
            result = asyncio.run(self.host.aexecute(plugin_id, payload))
        except PluginStateError:
            return
        except ArithmeticError as error:
            self.counted(self.raised, plugin_id, error.args[0], payload)
        else:
            self.counted(self.returned, plugin_id, result, payload)

    def counted(self, counts, plugin_id, result, payload):
        if result != payload:
            raise Clash(f"{plugin_id} was given {payload} and answered {result}")
        counts[plugin_id] += 1

    def load(self, plugin_id):
        self.host.load(plugin_id)

    def unload(self, plugin_id):
        try:
            self.host.unload(plugin_id)
        except PluginStateError:
            return  # another was faster

    def reload(self, plugin_id):
        self.host.reload(plugin_id)

    def call(self, plugin_id):
        if set(self.host.hook.menu(items=plugin_id)) - {plugin_id}:
            raise Clash("a hook call was mixed up with another")


@pytest.fixture
def impatient():
    """Let threads interrupt each other as often as Python can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def run_workers(host, duration_s):
    """Let the workers loose on the host for a time; return them when all have ended."""
    until = time.monotonic() + duration_s
    workers = [Worker(host, seed, until) for seed in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for worker in workers:
        if worker.clash is not None:
            raise worker.clash
    return workers


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "duration_s", [3.0, pytest.param(30.0, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_no_ghosts_and_nothing_lost(plugin_folder, make_host, duration_s):
    """What is registered is what is loaded, and what was counted is what happened, exactly."""
    files = {f"{name}.py": ASYNC if name == PLUGINS[-1] else SOURCE for name in PLUGINS}
    host = make_host(plugin_folder(files))
    host.balance = []
    host.add_hookspecs(Specs)
    with observe(host) as observation:
        host.load_all()
        workers = run_workers(host, duration_s)

        loaded = {i for i, info in host.plugins.items() if info.state is PluginState.LOADED}
        assert set(host._loaded) == set(host._runners) == loaded
        assert len(host._loaded) == len(loaded)
        assert sum(host.balance) == len(loaded)
        assert_registered(host, loaded)

        returned = sum((worker.returned for worker in workers), Counter())
        raised = sum((worker.raised for worker in workers), Counter())
        steps = sum((worker.steps for worker in workers), Counter())
        assert set(steps) == {"execute", "aexecute", "load", "unload", "reload", "call"}
        aggregates = {name: observation.profiler.get_aggregates(name) for name in PLUGINS}
        assert {n: a.success_count for n, a in aggregates.items()} == returned
        assert {n: a.failure_count for n, a in aggregates.items()} == raised
        stats = observation.analytics.get_all_plugin_stats()
        assert {n: stats[n].execution_count for n in PLUGINS} == returned + raised
        assert {n: stats[n].error_count for n in PLUGINS} == raised
        loads = sum(stats[name].load_count for name in PLUGINS)
        unloads = sum(stats[name].unload_count for name in PLUGINS)
        assert loads == host.balance.count(1)
        assert unloads == host.balance.count(-1)
        assert observation.bus.published == observation.bus.drained
        host.close()
        assert_registered(host, set())
    assert sum(host.balance) == 0
    assert not [name for name in sys.modules if name.startswith("pluginhost_plugin_")]


def assert_registered(host, plugin_ids):
    """See that pluggy has these plugins, each of their implementations once, and nothing else."""
    assert {name for name, _ in host.manager.list_name_plugin()} == plugin_ids
    assert {id(p) for p in host.manager.get_plugins()} == {
        id(host.manager.get_plugin(plugin_id)) for plugin_id in plugin_ids
    }
    for name, caller in vars(host.manager.hook).items():
        names = sorted(impl.plugin_name for impl in caller.get_hookimpls())
        assert names == sorted(plugin_ids), name
    assert [name for name, _ in host.lifecycle.list_name_plugin()].count("pluginhost") == 1


def at_once(*calls):
    """Run the calls in threads that start together; return what each returned or raised."""
    barrier, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(index, call):
        barrier.wait()
        try:
            results[index] = call()
        except PluginHostError as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.usefixtures("impatient")
def test_a_plugin_is_loaded_once_however_many_ask(plugin_folder, make_host):
    """All callers get the same loaded plugin, which was set up once."""
    host = make_host(plugin_folder({"a.py": SOURCE}))
    host.add_hookspecs(Specs)
    for _ in range(30):
        host.balance = []
        infos = at_once(*[lambda: host.load("a")] * THREADS)
        assert {info.state for info in infos} == {PluginState.LOADED}
        assert host.balance == [1]
        host.unload("a")


@pytest.mark.usefixtures("impatient")
def test_a_plugin_is_unloaded_once_however_many_ask(plugin_folder, make_host):
    """One caller unloads it; the others are told that it is gone."""
    host = make_host(plugin_folder({"a.py": SOURCE}))
    host.add_hookspecs(Specs)
    for _ in range(30):
        host.balance = []
        host.load("a")
        results = at_once(*[lambda: host.unload("a")] * THREADS)
        refused = [result for result in results if isinstance(result, PluginStateError)]
        assert len(refused) == THREADS - 1
        assert host.balance == [1, -1]


@pytest.mark.usefixtures("impatient")
def test_discovering_while_loading(plugin_folder, make_host):
    """Readers of `plugins` and repeated discovery never see a half-made catalogue."""
    host = make_host(plugin_folder({f"{name}.py": SOURCE for name in PLUGINS}))
    host.add_hookspecs(Specs)
    host.balance = []
    done = threading.Event()

    def read():
        seen = set()
        while not done.is_set():
            seen |= {str(info.state) for info in host.plugins.values()}
        return seen

    def cycle():
        try:
            for _ in range(20):
                host.load_all()
                host.discover()
                host.close()
        finally:
            done.set()

    seen, _ = at_once(read, cycle)
    assert seen <= {"discovered", "loading", "loaded", "unloading", "unloaded"}
    assert_registered(host, set())


def test_observing_while_executing(plugin_folder, make_host):
    """Attaching and detaching while others execute disturbs nobody and leaves no wrapper."""
    host = make_host(plugin_folder({f"{name}.py": SOURCE for name in PLUGINS}))
    host.add_hookspecs(Specs)
    host.balance = []
    host.load_all()
    done, all_there = threading.Event(), threading.Barrier(4, timeout=60)

    def execute():
        count = 0
        all_there.wait()
        while not (count and done.is_set()):
            assert host.execute("p0", 1) == 1
            count += 1
        return count

    def watch():
        all_there.wait()
        try:
            for _ in range(30):
                with observe(host) as observation:
                    host.execute("p1", 1)
                    assert observation.profiler.get_aggregates("p1").execution_count == 1
        finally:
            done.set()
        return "watched"

    *counts, watched = at_once(*[execute] * 3, watch)
    assert watched == "watched"
    assert all(count > 0 for count in counts)
    assert [name for name, _ in host.lifecycle.list_name_plugin()] == ["pluginhost"]


def test_an_unknown_plugin_does_not_disturb_the_known(plugin_folder, make_host):
    """Asking for what is not there looks around anew, while others load and execute."""
    host = make_host(plugin_folder({f"{name}.py": SOURCE for name in PLUGINS}))
    host.add_hookspecs(Specs)
    host.balance = []

    def ask():
        errors = set()
        for _ in range(30):
            with pytest.raises(PluginNotFoundError) as caught:
                host.load("unknown")
            errors.add(caught.value.message)
        return errors

    def use():
        for name in PLUGINS * 5:
            host.load(name)
            assert host.execute(name, 1) == 1
        return "used"

    results = at_once(ask, ask, use, use)
    assert results[2:] == ["used", "used"]
    assert {info.state for info in host.plugins.values()} == {PluginState.LOADED}
