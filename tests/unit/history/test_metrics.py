"""A history as metrics: what is added up, and read again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pluginhost.calltree import EventKind
from pluginhost.errors import HistoryError
from pluginhost.exporters.families import Measured, families
from pluginhost.history.keeper import HistoryKeeper
from pluginhost.history.labels import label_of_run
from pluginhost.history.metrics import HistoryMetrics
from pluginhost.history.places import Place
from pluginhost.history.reader import History
from pluginhost.history.recorded import record
from pluginhost.report import Report
from tests.unit.history.conftest import HERE, NOW_NS, Batches

MS = 1_000_000
Keeper = Callable[..., HistoryKeeper]


def calls(measured: list[Measured]) -> dict[tuple[str, ...], float]:
    """Return what Prometheus is told of calls, by run, host, plugin, hook and status."""
    (found,) = [f for f in families(measured) if f.name == "pluginhost_calls"]
    assert found.labels == ("source", "run", "host", "plugin", "hook", "status")
    return {key[1:]: value for key, value in found.values.items() if isinstance(value, float)}


def other_host(place: Place, name: str, host: str) -> HistoryKeeper:
    environment = msgspec.structs.replace(HERE, hostname=host)
    return HistoryKeeper(place, label=label_of_run(name, environment, NOW_NS), interval_s=0.01)


def test_runs_are_added_up_by_program_and_host(
    place: Place, keeper: Keeper, batches: Batches
) -> None:
    """Two runs of one host are one sum, another host and another program are others."""
    keepers = [keeper(), keeper(), other_host(place, "demo", "b"), other_host(place, "shop", "b")]
    for one in keepers:
        one.observe(batches.of("words", [2 * MS] * 3, failures=1))
        assert one.close(30).kept == 3
    metrics = HistoryMetrics(place).read()
    assert calls(metrics) == {
        ("demo", "tower", "words", "execute", "success"): 4,
        ("demo", "tower", "words", "execute", "error"): 2,
        ("demo", "b", "words", "execute", "success"): 2,
        ("demo", "b", "words", "execute", "error"): 1,
        ("shop", "b", "words", "execute", "success"): 2,
        ("shop", "b", "words", "execute", "error"): 1,
    }
    by_name = {family.name: family.values for family in families(metrics)}
    assert by_name["pluginhost_runs"]["history", "demo", "tower"] == 2
    time_s = by_name["pluginhost_time_seconds"]["history", "demo", "tower", "words", "execute"]
    assert time_s == pytest.approx(0.012)
    assert by_name["pluginhost_call_duration_seconds"].keys() == {
        ("history", run, host, "words", "execute")
        for run, host in (("demo", "tower"), ("demo", "b"), ("shop", "b"))
    }
    assert "pluginhost_self_time_seconds" not in by_name, "it is not kept"
    assert set(calls(HistoryMetrics(place, name="shop").read())) == {
        ("shop", "b", "words", "execute", status) for status in ("success", "error")
    }


def test_what_goes_on_is_counted_on(place: Place, keeper: Keeper, batches: Batches) -> None:
    """Also when it ends meanwhile; what has ended is not read again."""
    metrics = HistoryMetrics(place)
    ended, live = keeper(), keeper()
    ended.observe(batches.of("words", [MS] * 5))
    ended.close(30)
    for count in (1, 2, 3):
        live.observe(batches.of("words", [MS]))
        assert live.flush(30)
        for _ in range(2):
            assert sum(calls(metrics.read()).values()) == 5 + count
    live.observe(batches.of("words", [MS]))
    live.close(30)
    assert sum(calls(metrics.read()).values()) == 9
    asked: list[Any] = []
    read = History.cells_of_runs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            History, "cells_of_runs", lambda self, n: asked.append(list(n)) or read(self, n)
        )
        assert sum(calls(metrics.read()).values()) == 9
    assert asked == []


def test_another_history_in_its_place_is_another(
    place: Place, keeper: Keeper, batches: Batches
) -> None:
    """A file that was set aside because it was corrupt, for example."""
    metrics = HistoryMetrics(place)
    one = keeper()
    one.observe(batches.of("words", [MS] * 5))
    one.close(30)
    assert sum(calls(metrics.read()).values()) == 5
    assert place.file is not None
    place.file.unlink()
    with pytest.raises(HistoryError, match="there is no history"):
        metrics.read()
    other = keeper()
    other.observe(batches.of("words", [MS] * 2))
    other.close(30)
    assert sum(calls(metrics.read()).values()) == 2


def test_what_was_lost_is_shown(place: Place, keeper: Keeper, batches: Batches) -> None:
    """As a counter."""
    one = keeper(max_pending=3)
    one.observe(batches.of("words", [MS] * 3))
    one.observe(batches.of("words", [MS] * 10))
    account = one.close(30)
    lost = {f.name: f.values for f in families(HistoryMetrics(place).read())}["pluginhost_lost"]
    assert lost == {("history", "demo", "tower"): account.lost_count}
    assert account.lost_count in (0, 10)


def test_saved_runs_and_hooks_are_there(
    place: Place, keeper: Keeper, batches: Batches, report_of: Callable[..., Report]
) -> None:
    """As far as a history keeps them: loads and hook calls, not imports."""
    record(report_of({"words": [MS] * 4}, name="demo"), place)
    one = keeper()
    for kind, hook in (
        (EventKind.PLUGIN_LOAD, "load"),
        (EventKind.HOOK_CALL, "greet"),
        (EventKind.MODULE_IMPORT, "json"),
    ):
        one.observe(batches.of("words", [MS], kind=kind, hook=hook))
    one.close(30)
    assert calls(HistoryMetrics(place).read()) == {
        ("demo", "tower", "words", "execute", "success"): 4,
        ("demo", "tower", "words", "load", "success"): 1,
        ("demo", "tower", "words", "greet", "success"): 1,
    }
