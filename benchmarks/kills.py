"""Writers that are killed, and a database that is: is anything lost that was acknowledged?

`python -m benchmarks.kills sqlite DELETE 100` and `python -m benchmarks.kills postgres 20` say so in a
line of JSON; the exit code is 1 when anything is wrong.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.batches import BatchMaker, label
from benchmarks.postgres import temporary_server
from pluginhost.history.keeper import HistoryKeeper
from pluginhost.history.places import Place, place_of
from pluginhost.history.tables import SEQUENCE_BITS

_SIZE = 40
_CHECK_EVERY = 25


def killed_writers(kills: int, mode: str, folder: Path) -> dict[str, Any]:
    """Kill so many writers into one file, each somewhere in its work; return what was found."""
    place = place_of(folder / "history.sqlite")
    found: dict[str, Any] = {
        "mode": mode,
        "kills": kills,
        "acknowledged": 0,
        "lost": 0,
        "corrupt": 0,
        "wrong": 0,
    }
    for number in range(kills):
        run, acknowledged = _killed(place, mode, random.uniform(0.005, 0.05))
        if not acknowledged:
            continue
        found["acknowledged"] += acknowledged
        kept, right = _kept(place, run)
        found["lost"] += max(0, acknowledged - kept)
        found["wrong"] += not right
        check = "integrity_check" if (number + 1) % _CHECK_EVERY == 0 else "quick_check"
        found["corrupt"] += _pragma(place, check) != "ok"
    found["corrupt"] += _pragma(place, "integrity_check") != "ok"
    found["corrupt"] += len(list(folder.glob("*.corrupt-*")))
    found["ok"] = not (found["lost"] or found["corrupt"] or found["wrong"])
    return found


def _killed(place: Place, mode: str, after_s: float) -> tuple[str, int]:
    """Return the id of a run that was killed, and how much of it had been acknowledged."""
    run = label("killed")
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _work(place, mode, run, write)
        os._exit(1)
    os.close(write)
    first = os.read(read, 8)  # it has begun
    time.sleep(after_s)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as pipe:
        said = first + pipe.read()
    whole = len(said) // 8 * 8
    return run.id, int.from_bytes(said[whole - 8 : whole], "big") if whole else 0


def _work(place: Place, mode: str, run: Any, acknowledge: int) -> None:
    """Keep a history without an end, and tell how much of it was acknowledged."""
    keeper = HistoryKeeper(place, label=run, batch=200, interval_s=0.001, mode=mode)
    maker, told = BatchMaker(3), 0
    while True:
        keeper.observe(maker.numbered(_SIZE))
        kept = keeper.account().kept
        if kept > told:
            os.write(acknowledge, kept.to_bytes(8, "big"))
            told = kept
        if keeper.account().pending > 2_000:
            time.sleep(0.001)


def _kept(place: Place, run: str) -> tuple[int, bool]:
    """Return how many occurrences of a run there are, and whether they are what they should be."""
    assert place.file is not None
    with closing(sqlite3.connect(place.file)) as connection:
        number = connection.execute("SELECT number FROM runs WHERE id = ?", (run,)).fetchone()
        if number is None:
            return 0, True
        first = number[0] << SEQUENCE_BITS
        rows = connection.execute(
            "SELECT id - ?, duration_ns FROM occurrences WHERE id >= ? AND id < ? ORDER BY id",
            (first, first, (number[0] + 1) << SEQUENCE_BITS),
        ).fetchall()
        rolled_up = connection.execute(
            "SELECT coalesce(sum(count), 0) FROM rollups WHERE seconds = 0 AND run = ?", number
        ).fetchone()[0]
    right = all(sequence == n and duration == n + 1 for n, (sequence, duration) in enumerate(rows))
    return len(rows), right and rolled_up == len(rows)


def _pragma(place: Place, name: str) -> str:
    assert place.file is not None
    try:
        with closing(sqlite3.connect(place.file)) as connection:
            return str(connection.execute(f"PRAGMA {name}").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)


def restarted_server(restarts: int) -> dict[str, Any]:
    """Stop a server so many times, as in a crash, under a writer; return what was found."""
    import psycopg

    with temporary_server() as server:
        url = server.create("history")
        keeper = HistoryKeeper(url, label=label("restarted"), batch=500, interval_s=0.005)
        maker = BatchMaker(3)

        def work(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                keeper.observe(maker.numbered(_SIZE))
                time.sleep(0.001)

        work(0.5)
        for _ in range(restarts):
            work(random.uniform(0.1, 0.4))
            server.stop("immediate")
            work(0.1)
            server.start()
            keeper.flush(30)
        account = keeper.close(60)
        with psycopg.connect(url) as connection:
            row = connection.execute(
                "SELECT count(*), count(DISTINCT id), count(DISTINCT duration_ns),"
                " (SELECT sum(count) FROM rollups WHERE seconds = 0) FROM occurrences"
            ).fetchone()
        assert row is not None
        rows, distinct, different, rolled_up = map(int, row)
    found = {
        "restarts": restarts,
        "received": account.received,
        "acknowledged": account.kept,
        "lost": account.received - rows,
        "duplicated": rows - min(distinct, different),
        "rolled_up": rolled_up,
    }
    ok = not found["lost"] and not found["duplicated"] and rolled_up == rows
    return found | {"ok": ok and account.lost_count == 0}


def main(words: list[str]) -> int:
    """Do what the command line says."""
    if words[0] == "sqlite":
        with TemporaryDirectory() as folder:
            found = killed_writers(int(words[2]), words[1], Path(folder))
    else:
        found = restarted_server(int(words[1]))
    print(json.dumps(found), flush=True)
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
