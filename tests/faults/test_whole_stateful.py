"""Whatever is asked of a host and its observation, in whatever order, nothing is lost or counted twice."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pluginhost import PluginHost, observe
from pluginhost.errors import PluginStateError
from tests.examples import examples

SOURCE = """
from pluginhost import hookimpl

@hookimpl
def execute(payload):
    if payload == "fail":
        raise ArithmeticError
    return {edition}
"""
ids = st.sampled_from("abc")


class Keeper:
    """Counts the records it is given, and raises at the batch after `patience` of them."""

    def __init__(self, patience=None):
        self.records, self.patience = 0, patience

    def observe(self, batch):
        if self.patience is not None and self.records >= self.patience:
            raise SystemExit
        self.records += batch.occurrences


class WholeMachine(RuleBasedStateMachine):
    """The model: the edition on disk and in memory, and how many records there were for whom."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.edition, self.on_disk, self.loaded = 0, {}, {}
        for plugin_id in "abc":
            self.edit(plugin_id)
        self.host = PluginHost("model", sources=[str(self.folder)])
        self.host.discover()
        self.observation = None
        self.records = 0  # since the observation began
        self.executed, self.failed = dict.fromkeys("abc", 0), dict.fromkeys("abc", 0)
        self.subscribed, self.ended = [], []

    def teardown(self):
        self.stop_observing()
        self.host.close()
        for info in self.host.plugins.values():
            self.expect_nothing_left(info)
            assert info.dirty == ()
        shutil.rmtree(self.folder)

    def expect_nothing_left(self, info):
        """Allow for hypothesis, which looks for constants in all modules, and holds them awhile."""
        assert not [name for name in info.survivors if not name.startswith("instance of module")]

    def happened(self, count=1):
        if self.observation is not None:
            self.records += count

    @rule(plugin_id=ids)
    def edit(self, plugin_id):
        self.edition += 1
        (self.folder / f"{plugin_id}.py").write_text(SOURCE.format(edition=self.edition))
        self.on_disk[plugin_id] = self.edition

    @rule(plugin_id=ids)
    def load(self, plugin_id):
        self.host.load(plugin_id)
        if plugin_id not in self.loaded:
            self.loaded[plugin_id] = self.on_disk[plugin_id]
            self.happened()

    @rule(plugin_id=ids)
    def unload(self, plugin_id):
        if plugin_id in self.loaded:
            self.expect_nothing_left(self.host.unload(plugin_id))
            del self.loaded[plugin_id]
            self.happened()
        else:
            with pytest.raises(PluginStateError):
                self.host.unload(plugin_id)

    @rule(plugin_id=ids)
    def reload(self, plugin_id):
        self.expect_nothing_left(self.host.reload(plugin_id))
        self.happened(2 if plugin_id in self.loaded else 1)
        self.loaded[plugin_id] = self.on_disk[plugin_id]

    @rule(plugin_id=ids, fail=st.booleans())
    def execute(self, plugin_id, fail):
        if plugin_id not in self.loaded:
            with pytest.raises(PluginStateError):
                self.host.execute(plugin_id)
            return
        self.happened()
        if self.observation is not None:
            self.executed[plugin_id] += 1
            self.failed[plugin_id] += fail
        if fail:
            with pytest.raises(ArithmeticError):
                self.host.execute(plugin_id, "fail")
        else:
            assert self.host.execute(plugin_id) == self.loaded[plugin_id]

    @rule()
    def start_observing(self):
        if self.observation is None:
            self.observation = observe(self.host)
            self.records = 0
            self.executed, self.failed = dict.fromkeys("abc", 0), dict.fromkeys("abc", 0)

    @rule()
    def stop_observing(self):
        if self.observation is not None:
            self.observation.close()
            self.ended += [(found, began, self.records) for found, began in self.subscribed]
            self.subscribed.clear()
            self.observation = None

    @rule(live=st.booleans(), patience=st.sampled_from([None, None, 0, 3]))
    def subscribe(self, live, patience):
        if self.observation is not None:
            found = self.observation.bus.subscribe(Keeper(patience), live=live)
            self.subscribed.append((found, self.records))

    @rule(which=st.integers(0, 9))
    def unsubscribe(self, which):
        if self.subscribed:
            found, began = self.subscribed.pop(which % len(self.subscribed))
            found.close()
            self.ended.append((found, began, self.records))

    @rule()
    def flush(self):
        if self.observation is not None:
            self.observation.bus.flush()

    @rule()
    def read(self):
        if self.observation is not None:
            rows = {r.plugin_id: r for r in self.observation.profiler.get_all_aggregates()}
            counts = {i: rows[i].execution_count if i in rows else 0 for i in "abc"}
            failed = {i: rows[i].failure_count if i in rows else 0 for i in "abc"}
            assert (counts, failed) == (self.executed, self.failed)

    @invariant()
    def all_is_accounted_for(self):
        now = [(found, began, self.records) for found, began in self.subscribed]
        for found, began, until in [*now, *self.ended]:
            account = found.account()
            settled = account.delivered + account.failed + account.dropped
            assert account.published == settled + account.queued
            assert account.delivered == found.observer.records or found.active
            if found.error is None and not account.failed:
                assert account.published == until - began
                assert account.dropped == 0
        for found, _, _ in self.ended:
            assert found.account().queued == 0

    @invariant()
    def states_are_as_expected(self):
        states = {i: info.state for i, info in self.host.plugins.items()}
        assert {i for i, state in states.items() if state == "loaded"} == set(self.loaded)
        if self.observation is not None:
            assert self.observation.bus.published == self.records


WholeMachine.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_log")
class TestWholeMachine(WholeMachine.TestCase):
    """300 programs of 30 steps."""


class ShortMachine(WholeMachine):
    """The same, for every day."""


ShortMachine.TestCase.settings = settings(WholeMachine.TestCase.settings, max_examples=examples(25))


@pytest.mark.usefixtures("quiet_log")
class TestShortMachine(ShortMachine.TestCase):
    """25 programs of 30 steps."""


@pytest.fixture
def quiet_log(monkeypatch):
    """Throw the warnings about observers that raise away."""
    monkeypatch.setattr("pluginhost.subscription.warn", lambda *_, **__: None)
