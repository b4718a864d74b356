"""A history in a real PostgreSQL: many writers, restarts, a server that is away, hostile text."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from benchmarks.batches import BatchMaker, label
from benchmarks.postgres import Server, binaries, temporary_server
from pluginhost.calltree import CallTree
from pluginhost.errors import HistoryError
from pluginhost.events import EventBatch
from pluginhost.history.keeper import HistoryKeeper
from pluginhost.history.metrics import HistoryMetrics
from pluginhost.history.places import Place, place_of
from pluginhost.history.reader import History
from pluginhost.history.retention import Forgetter, Retention
from pluginhost.history.store import Store
from pluginhost.history.tables import METADATA
from pluginhost.history.troubles import Trouble
from pluginhost.journal import Detail, Failure, Status
from pluginhost.serving.guard import Request
from pluginhost.serving.metrics import MetricsSource
from tests.unit.history.beside import observed_on, pruned_beside_writers
from tests.unit.history.test_many import merged

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(binaries() is None, reason="no PostgreSQL server is installed"),
]
psycopg = pytest.importorskip("psycopg")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server for all tests of this file."""
    with temporary_server() as running:
        yield running


@pytest.fixture(scope="module")
def fresh(server: Server) -> Callable[[], Place]:
    """Return `make()`, which makes an empty database."""
    numbers = count()
    return lambda: place_of(server.create(f"test{next(numbers)}"))


def test_the_schema_is_that_of_the_code(fresh: Callable[[], Place]) -> None:
    """Alembic finds no difference, also when several begin at once."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    place = fresh()
    code = "import sys; from pluginhost.history.store import Store"
    code += "; from pluginhost.history.places import place_of; Store(place_of(sys.argv[1])).close()"
    started = [subprocess.Popen([sys.executable, "-c", code, place.url]) for _ in range(3)]
    assert [one.wait(60) for one in started] == [0, 0, 0]
    store = Store(place)
    with store.connection.begin():
        assert compare_metadata(MigrationContext.configure(store.connection), METADATA) == []
    store.close()


def test_many_processes_write_and_runs_merge(fresh: Callable[[], Place]) -> None:
    """Each is a run of its own; all of them are one plugin's history."""
    place = fresh()
    code = """
import sys
from benchmarks.batches import BatchMaker, label
from pluginhost.history.keeper import HistoryKeeper
keeper, maker = HistoryKeeper(sys.argv[1], label=label(sys.argv[2]), batch=700), BatchMaker(5)
for _ in range(20):
    keeper.observe(maker.of(500))
account = keeper.close(60)
sys.exit(account.kept != 10_000 or account.lost_count)
"""
    started = [
        subprocess.Popen([sys.executable, "-c", code, place.url, f"host{number}"])
        for number in range(4)
    ]
    assert [one.wait(90) for one in started] == [0] * 4
    with History(place) as history:
        assert len(history.runs()) == 4
        totals = history.plugin("plugin3")
        assert (totals.count, totals.run_count) == (8_000, 4)
        assert sum(cell.count for cell in history.by_time("plugin3").values()) == 8_000
        assert [row.count for row in history.plugins()] == [8_000] * 5


def test_machines_merge_and_can_be_told_apart(fresh: Callable[[], Place], tmp_path: Path) -> None:
    """Processes with other host names, observing at once; as the command line shows it."""
    url = fresh().url
    observed_on({"ada": 30, "bob": 20, "cleo": 10}, url, tmp_path)
    merged(url)
    calls = {
        one.labels["host"]: sum(row.calls for row in one.rows)
        for one in HistoryMetrics(place_of(url)).read()
    }
    assert calls == {"ada": 30, "bob": 20, "cleo": 10}


def test_pruning_beside_writers_loses_nothing_else(fresh: Callable[[], Place]) -> None:
    """Two processes write, a third prunes: roll-ups add up, and what is left has no gap."""
    pruned_beside_writers(fresh())


def test_restarts_lose_and_duplicate_nothing() -> None:
    """A server that is stopped as in a crash, under a writer; a few times of many."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kills", "postgres", "2"],
        stdout=subprocess.PIPE,
        check=False,
        timeout=180,
    )
    found = json.loads(done.stdout)
    assert found["ok"], found
    assert found["received"] > 1_000


def test_a_server_that_is_away_at_the_start_is_waited_for() -> None:
    """What comes before it is there is kept when it is."""
    with temporary_server() as server:
        url = server.create("late")
        server.stop()
        try:
            keeper = HistoryKeeper(url, label=label("early"), interval_s=0.01)
            keeper.observe(BatchMaker(2).of(100))
            deadline = time.monotonic() + 30
            while keeper.account().trouble is None and time.monotonic() < deadline:
                time.sleep(0.01)
            assert (keeper.account().trouble or "").startswith(Trouble.AWAY)
            with pytest.raises(HistoryError, match="cannot be read"):
                History(url)
        finally:
            server.start()
        assert keeper.close(60).kept == 100


def test_scrapes_go_on_after_a_restart() -> None:
    """While the server is away, the answer is 503; nothing is counted twice afterwards."""
    told: list[str | None] = []
    with temporary_server() as server:
        url = server.create("scraped")
        keeper = HistoryKeeper(url, label=label("scraped"))
        keeper.observe(BatchMaker(2).of(100))
        assert keeper.close(60).kept == 100
        source = MetricsSource(history=HistoryMetrics(place_of(url)), tell=told.append)
        asked = Request("GET", "/metrics", ())
        before = source.answer(asked)
        server.stop()
        try:
            assert source.answer(asked).status == 503
        finally:
            server.start()
        assert source.answer(asked) == before
    assert before.status == 200
    assert [why is None for why in told] == [False, True]


def test_a_server_that_stays_away_costs_only_the_history() -> None:
    """Everything is lost for that reason, and counted."""
    keeper = HistoryKeeper("postgresql://nobody@127.0.0.1:1/none", label=label("never"))
    keeper.observe(BatchMaker(2).of(100))
    began = time.monotonic()
    account = keeper.close(0.5)
    assert account.lost == {Trouble.AWAY: 100}
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a\0b", id="NUL"),
        pytest.param("a\udc80\ud800", id="surrogates"),
        pytest.param("'; DROP TABLE runs; --\\", id="SQL"),
        pytest.param("ü" * 500_000, id="1 MB"),
        pytest.param("\t\n\\N\\.", id="what COPY as text would take"),
    ],
)
def test_hostile_text_is_kept(text: str, fresh: Callable[[], Place]) -> None:
    """As a plugin, a message and metadata."""
    place = fresh()
    path = CallTree().root[text]
    extra: Any = Detail(Failure(Status.ERROR, text, text), None, {text: text})
    keeper = HistoryKeeper(place, label=label(text))
    keeper.observe(EventBatch([path, 0, 1_000, 1, extra], 10**18))
    assert keeper.close(60).lost == {}
    with History(place) as history:
        assert history.plugin(text).error_count == 1


def test_forgetting_works_by_age_and_by_size(fresh: Callable[[], Place]) -> None:
    """What is stored is estimated from rows."""
    place = fresh()
    keeper = HistoryKeeper(place, label=label("old"))
    for _ in range(10):
        keeper.observe(BatchMaker(2).of(1_000))
    assert keeper.close(60).kept == 10_000
    store = Store(place)
    wanted = Retention(occurrence_days=None, minute_days=None, max_bytes=700_000)
    done = Forgetter(store, wanted, lambda: False).run(time.time_ns())
    assert 0 < done.occurrences < 10_000
    everything = Retention(occurrence_days=0, minute_days=0, max_bytes=None)
    Forgetter(store, everything, lambda: False).run(time.time_ns())
    store.close()
    with History(place) as history:
        assert history.plugin("plugin1").count == 5_000


def test_the_command_line_takes_a_url(fresh: Callable[[], Place], tmp_path: Path) -> None:
    """A run is kept in the database, and shown from there."""
    url = fresh().url
    (tmp_path / "words.py").write_text(
        "from pluginhost import hookimpl\n@hookimpl\ndef execute():\n    pass\n"
    )
    words = [sys.executable, "-m", "pluginhost"]
    for more in (
        ["run", "-s", str(tmp_path), f"--history={url}"],
        ["history", "runs", "--history", url],
    ):
        done = subprocess.run([*words, *more], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 run in postgresql+psycopg://postgres@127.0.0.1")
