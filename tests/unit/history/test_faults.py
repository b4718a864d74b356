"""What befalls a file and a disk: kills, bit flips, a disk that is full, a log that grows."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pluginhost.errors import HistoryError
from pluginhost.history.engines import WAL_BYTES
from pluginhost.history.keeper import HistoryKeeper
from pluginhost.history.places import Place, place_of
from pluginhost.history.reader import History
from pluginhost.history.retention import Retention
from pluginhost.history.troubles import Trouble

MS = 1_000_000
Make = Callable[..., HistoryKeeper]


def killed(mode: str, kills: int) -> dict[str, Any]:
    """Kill writers, from a process without threads of others."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kills", "sqlite", mode, str(kills)],
        stdout=subprocess.PIPE,
        check=False,
        timeout=600,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_killed_writer_loses_nothing_acknowledged(mode: str) -> None:
    """And leaves no database corrupt, no roll-up that does not add up; a few kills of many."""
    found = killed(mode, 5)
    assert found["ok"], found
    assert found["acknowledged"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_many_killed_writers_lose_nothing_acknowledged(mode: str) -> None:
    """The same, 200 times."""
    found = killed(mode, 200)
    assert found["ok"], found


def flipped(content: bytes, generator: random.Random) -> bytes:
    """Return `content` with one bit flipped."""
    changed = bytearray(content)
    changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def flip(place: Place, label: Any, batches: Any, flips: int) -> None:
    """Flip one bit of a good history, again and again, and have it read and written each time."""
    assert place.file is not None
    kept = HistoryKeeper(place, label=label("demo"))
    for _ in range(3):
        kept.observe(batches.of("words", range(1, 200), failures=5, metadata={"a": "b"}))
    assert kept.close().lost == {}
    content = place.file.read_bytes()
    generator = random.Random(7)
    for _ in range(flips):
        for old in place.file.parent.glob("history.sqlite*"):
            old.unlink()
        place.file.write_bytes(flipped(content, generator))
        try:
            with History(place) as history:
                history.runs()
                for row in history.plugins():
                    history.plugin(row.plugin)
                    history.by_run(row.plugin)
        except HistoryError:
            pass
        writer = HistoryKeeper(place, label=label("demo"), interval_s=0.001)
        writer.observe(batches.of("words", [MS] * 3))
        account = writer.close(5)
        assert account.kept + account.lost_count == 3
        assert account.lost_count == 0 or account.lost.keys() <= set(Trouble)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_flipped_bit_harms_the_host(place: Place, label: Any, batches: Any) -> None:
    """Reading says that the history is broken, writing begins a fresh one, or it does not matter."""
    flip(place, label, batches, 25)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_flipped_bit_of_many_harms_the_host(place: Place, label: Any, batches: Any) -> None:
    """The same, 400 times."""
    flip(place, label, batches, 400)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return the folder of a file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(words, capture_output=True, check=False)
    except OSError as error:
        pytest.skip(f"mount: {error}")
    if done.returncode:
        pytest.skip("mounting is for the administrator")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_counted_and_recovered_from(
    small_disk: Path, keeper: Make, batches: Any
) -> None:
    """What finds no room waits; when there is room again it is kept, and nothing was lost."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(600_000))
    kept = keeper(place_of(small_disk / "history.sqlite"), batch=500)
    deadline = time.monotonic() + 30
    while kept.account().trouble is None and time.monotonic() < deadline:
        kept.observe(batches.of("words", [MS] * 500))
        time.sleep(0.005)
    account = kept.account()
    assert (account.trouble or "").startswith(("disk full", "disk error")), account
    assert account.lost == {}
    ballast.unlink()
    for _ in range(2):
        kept.observe(batches.of("words", [MS] * 10))
    account = kept.close(20)
    assert account.lost == {}
    assert account.kept == account.received
    with History(small_disk / "history.sqlite") as history:
        assert history.plugin("words").count == account.kept


def test_a_disk_that_stays_full_loses_what_is_told(
    small_disk: Path, keeper: Make, batches: Any
) -> None:
    """Without anything that may be forgotten, what does not fit is lost, and the count is exact."""
    for_ever = Retention(occurrence_days=None, minute_days=None, max_bytes=None)
    where = place_of(small_disk / "history.sqlite")
    kept = keeper(where, batch=500, max_pending=2_000, retention=for_ever)
    for _ in range(150):
        kept.observe(batches.of("words", [MS] * 500))
        time.sleep(0.001)
    account = kept.close(1)
    assert account.received == 75_000
    assert account.kept + account.lost_count == 75_000
    assert account.lost_count > 0
    assert account.lost.keys() <= {Trouble.FULL, Trouble.DISK, "queue full"}
    (small_disk / "history.sqlite.reserve").unlink(missing_ok=True)
    with closing(sqlite3.connect(small_disk / "history.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM occurrences").fetchone()[0] == account.kept
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_retention_works_where_the_disk_is_full(
    small_disk: Path, keeper: Make, batches: Any
) -> None:
    """Deleting needs room for its journal: the reserve. So a history of bounded size goes on."""
    bounded = Retention(max_bytes=150_000)
    where = place_of(small_disk / "history.sqlite")
    kept = keeper(where, batch=500, retention=bounded)
    ballast = None
    for number in range(100):
        kept.observe(batches.of("words", [MS] * 500))
        assert kept.flush(20), kept.account()
        if number == 5:
            free = os.statvfs(small_disk)
            ballast = small_disk / "ballast"
            ballast.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - 120_000)))
    account = kept.close(10)
    assert ballast is not None
    assert account.lost == {}
    assert account.kept == 50_000
    with History(where) as history:
        assert history.plugin("words").count == 50_000  # in the roll-up of the run


@pytest.mark.slow
def test_a_long_reader_does_not_make_the_log_grow_for_ever(
    place: Place, keeper: Make, batches: Any
) -> None:
    """After it has gone, the write-ahead log is cut back."""
    assert place.file is not None
    kept = keeper(mode="WAL", batch=20_000)
    kept.observe(batches.of("words", [MS] * 100))
    assert kept.flush()
    log = place.file.with_name(place.file.name + "-wal")
    with closing(sqlite3.connect(place.file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM occurrences").fetchone()
        while log.stat().st_size <= WAL_BYTES:
            kept.observe(batches.of("words", [MS] * 20_000))
            assert kept.flush(30)
        reader.execute("COMMIT")
    kept.observe(batches.of("words", [MS] * 100))
    assert kept.flush(30)
    assert log.stat().st_size <= WAL_BYTES
