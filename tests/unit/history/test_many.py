"""Many machines and processes, one history: what merges, what is told apart, what is pruned beside."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pluginhost.errors import HistoryError
from pluginhost.history.course import over_runs, over_time, over_versions
from pluginhost.history.keeper import HistoryKeeper
from pluginhost.history.labels import label_of_run
from pluginhost.history.places import Place
from pluginhost.history.reader import History
from pluginhost.history.records import PluginTotalsList, RunList
from pluginhost.report import decode
from pluginhost.series import Series
from tests.unit.history.beside import observed_on, pruned_beside_writers, shown
from tests.unit.history.conftest import HERE, NOW_NS, Batches

MS = 1_000_000
Which = dict[str, str]


@pytest.fixture
def several(place: Place, batches: Batches) -> Place:
    """A history of two programs on two machines, with another number of executions each."""
    counts = {("shop", "a"): 1, ("shop", "b"): 2, ("mill", "a"): 4, ("mill", "b\udc80"): 8}
    for (name, host), count in counts.items():
        here = msgspec.structs.replace(HERE, hostname=host)
        keeper = HistoryKeeper(place, label=label_of_run(name, here, NOW_NS))
        keeper.observe(batches.of("words", [MS] * count))
        assert keeper.close(30).kept == count
    return place


@pytest.mark.parametrize(
    ("which", "count"),
    [
        pytest.param({}, 15, id="all"),
        pytest.param({"name": "shop"}, 3, id="a program"),
        pytest.param({"host": "a"}, 5, id="a machine"),
        pytest.param({"name": "mill", "host": "a"}, 4, id="both"),
        pytest.param({"host": "b\udc80"}, 8, id="a name that is no text"),
    ],
)
def test_machines_merge_and_can_be_told_apart(which: Which, count: int, several: Place) -> None:
    """In every query."""
    with History(several) as history:
        (totals,) = history.plugins(**which)
        assert totals.count == count
        assert sum(run.occurrence_count for run in history.runs(**which)) == count
        assert sum(one.cell.count for one in history.by_run("words", **which)) == count
        assert sum(cell.count for cell in history.by_time("words", **which).values()) == count
        (runs,) = over_runs(history, ["words"], "count", **which)
        assert sum(point.value or 0 for point in runs.points) == count
        for series in (
            over_versions(history, "words", "count", **which),
            over_time(history, "words", "count", **which),
        ):
            assert [point.value for point in series.points] == [count]


def test_a_machine_that_there_is_not_has_nothing(several: Place) -> None:
    """A plugin is unknown there; a hook that is asked for is looked for over time as well."""
    with History(several) as history:
        assert history.runs(host="c") == ()
        assert history.plugins(host="c") == ()
        for found in (history.by_run, history.by_time):
            with pytest.raises(HistoryError, match="nothing of it"):
                found("words", host="c")
            with pytest.raises(HistoryError, match="nothing of it"):
                found("words", hook="greet")


def test_processes_of_several_machines_are_one_plugins_history(
    place: Place, tmp_path: Path
) -> None:
    """As the command line shows it."""
    observed_on({"ada": 30, "bob": 20, "cleo": 10}, str(place.file), tmp_path)
    merged(str(place.file))


def merged(url: str) -> None:
    """Look at what `observed_on` those three machines has left, as the command line shows it."""
    (words,) = decode(shown(url, "plugins", "--json"), PluginTotalsList).plugins
    assert (words.count, words.run_count, words.host_count) == (60, 3, 3)
    (one,) = decode(shown(url, "plugins", "--host", "bob", "--json"), PluginTotalsList).plugins
    assert (one.count, one.run_count, one.host_count) == (20, 1, 1)
    runs = decode(shown(url, "runs", "--json"), RunList).runs
    assert {run.label.host: run.occurrence_count for run in runs} == {
        "ada": 30,
        "bob": 20,
        "cleo": 10,
    }
    table = shown(url, "runs").splitlines()
    assert all(any(f" {host} " in line for line in table) for host in ("ada", "bob", "cleo"))
    by_run = decode(shown(url, "trend", "words", "--metric", "count", "--json"), Series)
    assert {point.host: point.value for point in by_run.points} == {
        "ada": 30,
        "bob": 20,
        "cleo": 10,
    }
    assert "runs of 3 hosts: another machine is another level, too" in by_run.notes
    by_day = shown(url, "trend", "words", "--metric", "count", "--by", "day", "--json")
    assert sum(point.execution_count for point in decode(by_day, Series).points) == 60


def test_pruning_beside_writers_loses_nothing_else(place: Place) -> None:
    """Two processes write, a third prunes: roll-ups add up, and what is left has no gap."""
    pruned_beside_writers(place)


def test_hosts_that_come_and_go_are_each_a_run(place: Place, batches: Batches) -> None:
    """The same process, name and host again is another run all the same."""
    for _ in range(2):
        keeper = HistoryKeeper(place, label=label_of_run("demo", HERE, NOW_NS))
        keeper.observe(batches.of("words", [MS]))
        keeper.close(30)
    with History(place) as history:
        assert len(history.runs()) == 2
