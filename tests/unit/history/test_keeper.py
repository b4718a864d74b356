"""Keeping a history: nothing acknowledged is lost, nothing lost goes untold."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pluginhost import PluginHost, observe
from pluginhost.calltree import EventKind
from pluginhost.errors import HistoryError, NewerHistoryError
from pluginhost.history.cells import DAY, HOUR, MINUTE, RUN
from pluginhost.history.keeper import HistoryKeeper
from pluginhost.history.places import Place, place_of
from pluginhost.history.reader import History
from pluginhost.history.troubles import Trouble
from pluginhost.report import PluginInfo, PluginState

MS = 1_000_000
Make = Callable[..., HistoryKeeper]


def rows(place: Place, query: str) -> list[Any]:
    assert place.file is not None
    with closing(sqlite3.connect(place.file)) as connection:
        return connection.execute(query).fetchall()


def test_what_happened_is_kept_with_its_details(keeper: Make, place: Place, batches: Any) -> None:
    """Occurrences, failures with their words, metadata and readings, and a run they belong to."""
    kept = keeper()
    reading = (5_000, 10**8, 10**8 + 4096, 0, 1, 1, 0, 0)
    kept.observe(batches.of("words", [MS, 2 * MS], failures=1, message="boo", metadata={"a": "b"}))
    kept.observe(batches.of("words", [3 * MS], extra=reading))
    account = kept.close()
    assert (account.received, account.kept, account.pending, account.lost) == (3, 3, 0, {})
    assert rows(place, "SELECT duration_ns, status FROM occurrences ORDER BY id") == [
        (MS, 1), (2 * MS, 0), (3 * MS, 0)
    ]  # fmt: skip
    assert rows(place, "SELECT error_type, error_message, metadata FROM details") == [
        ("ValueError", "boo", '{"a": "b"}'), (None, None, '{"a": "b"}')
    ]  # fmt: skip
    assert rows(place, "SELECT cpu_ns, rss_after_bytes - rss_before_bytes FROM readings") == [
        (5_000, 4096)
    ]
    with History(place) as history:
        (run,) = history.runs()
        assert run.label == kept.label
        assert (run.occurrence_count, run.lost_count) == (3, 0)
        assert run.ended_timestamp_ns is not None


@pytest.mark.parametrize("seconds", [RUN, MINUTE, HOUR, DAY])
def test_roll_ups_add_up_to_the_occurrences(
    seconds: int, keeper: Make, place: Place, batches: Any
) -> None:
    """At every resolution, over several transactions, whatever minute they fall into."""
    kept = keeper(batch=100)
    for start in range(0, 200_000, 40_000):  # over more than three minutes
        kept.observe(batches.of("words", range(start + 1, start + 40_001, 400), failures=3))
        batches.at_ns += 40_000 * MS
        assert kept.flush()
    kept.close()
    found = rows(
        place,
        "SELECT sum(count), sum(errors), sum(total_ns), min(min_ns), max(max_ns), count(*)"
        f" FROM rollups WHERE seconds = {seconds}",
    )[0]
    expected = [
        ns for start in range(0, 200_000, 40_000) for ns in range(start + 1, start + 40_001, 400)
    ]
    assert found[:5] == (500, 15, sum(expected), min(expected), max(expected))
    assert (found[5] > 1) is (seconds == MINUTE)
    with History(place) as history:
        whole = history.plugin("words")
    assert whole.p50_ns == pytest.approx(sorted(expected)[249], rel=0.01)


def test_the_host_is_observed_from_load_to_unload(tmp_path: Path) -> None:
    """`observe(history=...)` keeps a run of it all, with the plugins and their versions."""

    where, kinds = tmp_path / "h.sqlite", {}
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "double.py").write_text(
        "from pluginhost import hookimpl\n@hookimpl\ndef execute(payload):\n    return 2 * payload\n"
    )
    with PluginHost("demo", sources=[str(folder)]) as host:
        with observe(host, history=where) as observation:
            host.load_all()
            for number in range(50):
                host.execute("double", number)
            host.unload("double")
        assert observation.history is not None
        assert observation.history.account().lost == {}
    with History(where) as history:
        (run,) = history.runs()
        for (_, kind, _), cell in history.cells_of_run(run.number).items():
            kinds[kind] = cell.count
    assert kinds == {
        EventKind.PLUGIN_LOAD: 1, EventKind.PLUGIN_EXECUTE: 50, EventKind.PLUGIN_UNLOAD: 1
    }  # fmt: skip
    assert run.plugin_count == 1


def test_versions_are_written_at_the_end(keeper: Make, place: Place, batches: Any) -> None:
    """A source of plugins that fails costs the run its versions, and nothing else."""
    info = PluginInfo(id="words", state=PluginState.LOADED, version="1.2")
    kept = keeper(plugins=lambda: [info])
    kept.observe(batches.of("words", [MS]))
    kept.close()
    broken = keeper(plugins=lambda: 1 / 0)
    broken.observe(batches.of("words", [MS]))
    assert broken.close().kept == 1
    with History(place) as history:
        assert [cell.version for cell in history.by_run("words")] == ["1.2", None]


def test_a_full_queue_loses_and_says_so(
    keeper: Make, place: Place, batches: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """While another process holds the file, what finds no room is lost, counted and shown."""
    assert place.file is not None
    keeper().close()
    with closing(sqlite3.connect(place.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        kept = keeper(max_pending=10)
        for _ in range(5):
            kept.observe(batches.of("words", [MS] * 4))
        account = kept.account()
        assert account.received == 20
        assert account.kept + account.pending + account.lost_count == 20
        assert account.lost_count == 12
        other.execute("ROLLBACK")
    account = kept.close()
    assert account.kept == 8
    assert account.lost_count == 12
    assert "the history is not complete" in capsys.readouterr().err
    with History(place) as history:
        assert history.runs()[0].lost_count == 12


def test_a_lock_that_is_held_is_waited_for(keeper: Make, place: Place, batches: Any) -> None:
    """Nothing is lost where another process writes for longer than a busy timeout."""
    assert place.file is not None
    keeper().close()
    with closing(sqlite3.connect(place.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        kept = keeper()
        kept.observe(batches.of("words", [MS] * 3))
        deadline = time.monotonic() + 20
        while kept.account().trouble is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (kept.account().trouble or "").startswith(Trouble.LOCKED)
        other.execute("ROLLBACK")
    assert kept.flush(20)
    assert kept.account().lost == {}


def test_a_folder_that_is_no_folder_costs_only_the_history(
    tmp_path: Path, keeper: Make, batches: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be created is told, and everything is counted as lost for that reason."""
    (tmp_path / "file").write_text("")
    kept = keeper(place_of(tmp_path / "file" / "history.sqlite"))
    kept.observe(batches.of("words", [MS] * 3))
    account = kept.close(0.3)
    assert account.lost == {Trouble.READ_ONLY: 3}
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_folder_that_may_not_be_written_costs_only_the_history(
    tmp_path: Path, keeper: Make, batches: Any
) -> None:
    """The same with permissions."""
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    kept = keeper(place_of(folder / "history.sqlite"))
    kept.observe(batches.of("words", [MS]))
    assert kept.close(0.3).lost == {Trouble.READ_ONLY: 1}


def test_a_newer_schema_is_left_alone(
    keeper: Make, place: Place, batches: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a keeper nor a reader touches what it does not know; the file stays byte for byte."""
    assert place.file is not None
    keeper().close()
    with closing(sqlite3.connect(place.file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = place.file.read_bytes()
    kept = keeper()
    kept.observe(batches.of("words", [MS] * 2))
    assert kept.close().lost == {Trouble.NEWER: 2}
    with pytest.raises(NewerHistoryError, match="9999"):
        History(place)
    assert place.file.read_bytes() == before
    assert "newer version" in capsys.readouterr().err


def test_somebody_elses_database_is_left_alone(keeper: Make, place: Place, batches: Any) -> None:
    """A file that holds other tables is not a history, and does not become one."""
    assert place.file is not None
    with closing(sqlite3.connect(place.file)) as connection, connection:
        connection.execute("CREATE TABLE customers (id INTEGER)")
    kept = keeper()
    kept.observe(batches.of("words", [MS]))
    assert kept.close().lost == {Trouble.NOT_OURS: 1}
    with pytest.raises(HistoryError, match="other tables"):
        History(place)
    assert rows(place, "SELECT name FROM sqlite_master") == [("customers",)]


def test_a_corrupt_file_is_set_aside_loudly(
    keeper: Make, place: Place, batches: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fresh history begins, and nothing that was handed over is lost."""
    assert place.file is not None
    place.file.write_bytes(b"garbage, not a database" * 1000)
    kept = keeper()
    kept.observe(batches.of("words", [MS] * 5))
    account = kept.close()
    assert (account.kept, account.lost) == (5, {})
    assert "corrupt" in account.remarks[0]
    (aside,) = place.file.parent.glob("*.corrupt-*")
    assert aside.read_bytes().startswith(b"garbage")
    assert "a fresh one was begun" in capsys.readouterr().err
    with History(place) as history:
        assert history.plugin("words").count == 5


def test_a_file_that_becomes_corrupt_meanwhile_is_set_aside(
    keeper: Make, place: Place, batches: Any
) -> None:
    """What was acknowledged before is in the old file, what comes after in a new one."""
    assert place.file is not None
    kept = keeper()
    kept.observe(batches.of("words", range(1, 5_000)))
    assert kept.flush()
    with place.file.open("r+b") as file:
        file.write(b"x" * 4096)
    kept.observe(batches.of("words", range(1, 3_000)))
    account = kept.close()
    assert account.lost == {}
    with History(place) as history:
        assert history.plugin("words").count in (2_999, 7_998)


def test_a_forked_child_leaves_the_history_alone(keeper: Make, place: Place, batches: Any) -> None:
    """It neither writes what its parent has queued nor closes its connection."""
    kept = keeper()
    kept.observe(batches.of("words", [MS] * 3))
    assert kept.flush()
    kept.observe(batches.of("words", [MS] * 4))
    pid = os.fork()
    if pid == 0:
        kept.after_fork()
        kept.observe(batches.of("words", [MS] * 5))
        lost = kept.close().lost_count
        os._exit(0 if lost == 5 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    kept.observe(batches.of("words", [MS] * 6))
    account = kept.close()
    assert (account.kept, account.lost) == (13, {})
    assert rows(place, "SELECT count(*) FROM occurrences") == [(13,)]
    assert rows(place, "PRAGMA integrity_check") == [("ok",)]


def test_many_writers_share_one_file(place: Place, keeper: Make) -> None:
    """Several keepers, each its own run, at once: nothing is lost and runs merge in queries."""
    from tests.unit.history.conftest import Batches

    def work(number: int) -> None:
        one, made = keeper(name=f"host{number}"), Batches()
        for _ in range(10):
            one.observe(made.of("words", [MS] * 50))
            time.sleep(0.002)
        accounts.append(one.close(20))

    accounts: list[Any] = []
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [account.lost for account in accounts] == [{}] * 4
    with History(place) as history:
        assert history.plugin("words").count == 2_000
        assert history.plugin("words").run_count == 4
        assert {run.label.name for run in history.runs()} == {f"host{n}" for n in range(4)}


def test_a_clock_that_steps_back_changes_no_order(
    place: Place, label: Callable[..., Any], batches: Any
) -> None:
    """Runs come in the order in which they came in, whatever the clock says."""
    for year in (3, 2, 1):
        started_ns = year * 365 * 86_400 * 10**9
        kept = HistoryKeeper(place, label=label("demo", started_ns))
        kept.observe(batches.of("words", [year * MS]))
        kept.close()
    with History(place) as history:
        assert [cell.cell.total_ns // MS for cell in history.by_run("words")] == [3, 2, 1]


@pytest.mark.parametrize(
    ("name", "message", "metadata"),
    [
        pytest.param("a\0b", "c\0d", {"\0": "\0"}, id="NUL"),
        pytest.param("a\udc80", "b\ud800", {"\udfff": "\ud812"}, id="surrogates"),
        pytest.param("'; DROP TABLE runs; --", "%s %(x)s :y ?", {"'": '"'}, id="SQL"),
        pytest.param("x" * 5_000, "y" * 1_000_000, {"k": "v" * 1_000_000}, id="1 MB"),
        pytest.param("a\\x00", "\\", {}, id="backslashes"),
    ],
)
def test_hostile_text_is_kept_safely(  # noqa: PLR0917  # a table of cases
    keeper: Make, place: Place, batches: Any, name: str, message: str, metadata: dict[str, str]
) -> None:
    """It is found again under the name it came with, and no field is larger than it may be."""
    kept = keeper()
    kept.observe(batches.of(name, [MS] * 2, failures=1, message=message, metadata=metadata))
    assert kept.close().lost == {}
    with History(place) as history:
        assert history.plugin(name).count == 2
        if len(name) < 400:
            assert history.plugin_ids() == (name,)
    for lengths in rows(place, "SELECT length(error_message), length(metadata) FROM details"):
        assert all(length is None or length <= 8_192 for length in lengths)


@pytest.mark.parametrize("durations", [[2**63], [-5], [0], [2**62, 2**62]], ids=str)
def test_durations_that_cannot_be_are_kept_as_far_as_they_go(
    keeper: Make, batches: Any, durations: list[int]
) -> None:
    """Nothing that a clock can say stops the history."""
    kept = keeper()
    kept.observe(batches.of("words", durations))
    assert kept.close().lost == {}
