"""`python -m benchmarks.history`: what a history holds, how fast, and what is lost when things break.

With `--short`, few rows and few kills, only to see that it runs; `--only WORD` chooses. PostgreSQL is
Debian's, started for the purpose. `--fail` makes the exit code 1 when a goal is not met.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import repeat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import text

from benchmarks.batches import BatchMaker, label
from benchmarks.goals import Goal, table
from benchmarks.hosts import empty_host
from benchmarks.kills import killed_writers, restarted_server
from benchmarks.postgres import binaries, temporary_server
from pluginhost import Profiler, observe
from pluginhost.events import EventBatch
from pluginhost.history.bulk import copy_pieces
from pluginhost.history.engines import engine_of
from pluginhost.history.journals import journal_mode
from pluginhost.history.keeper import BATCH, SERVER_BATCH, HistoryKeeper
from pluginhost.history.places import place_of
from pluginhost.history.reader import History
from pluginhost.history.retention import Retention

_FOR_EVER = Retention(occurrence_days=None, minute_days=None, hour_days=None, max_bytes=None)
_TYPES = "qiqqh"


def sqlite_ingest(rows: int, rounds: int) -> list[Goal]:
    """A keeper, from batches handed over to the last commit, against `executemany` of the same rows."""
    ratios, rates, cpu = [], [], []
    with TemporaryDirectory() as folder:
        for number in range(rounds):
            bare_s, bare_cpu_s = _bare_executemany(Path(folder, f"bare{number}.sqlite"), rows)
            kept_s, kept_cpu_s = _kept(str(Path(folder, f"kept{number}.sqlite")), rows)
            ratios.append(bare_s / kept_s)
            cpu.append(bare_cpu_s / kept_cpu_s)
            rates.append(rows / kept_s)
    note = f"{median(rates):,.0f}/s, journal mode {journal_mode()}, synchronous FULL,"
    note += f" {BATCH:,} rows a transaction; {rounds} runs {min(ratios):.2f} to {max(ratios):.2f};"
    note += f" by CPU time of all threads {median(cpu):.2f} x"
    return [Goal("ingest, SQLite / executemany", median(ratios), 0.5, at_least=True, note=note)]


def postgres_ingest(rows: int, rounds: int) -> list[Goal]:
    """A keeper against COPY of the same rows, encoded beforehand, into the same table."""
    ratios, rates, usual = [], [], []
    with temporary_server(durable=True) as server:
        for number in range(rounds):
            bare_s, written_s = _bare_copy(server.create(f"bare{number}"), rows)
            kept_s, _ = _kept(server.create(f"kept{number}"), rows)
            ratios.append(bare_s / kept_s)
            usual.append(written_s / kept_s)
            rates.append(rows / kept_s)
    note = f"{median(rates):,.0f}/s, {SERVER_BATCH:,} rows a transaction; runs {min(ratios):.2f} to"
    note += f" {max(ratios):.2f}; against psycopg's write_row, row by row: {median(usual):.2f} x"
    return [Goal("ingest, PostgreSQL / bare COPY", median(ratios), 0.5, at_least=True, note=note)]


def _batches(rows: int) -> list[EventBatch]:
    maker = BatchMaker()
    return [maker.of(1000) for _ in range(rows // 1000)]


def _kept(where: str, rows: int) -> tuple[float, float]:
    """Return the seconds from the first batch handed over until all are committed, and of CPU time."""
    with _keeping(where, rows) as keeper:
        batches = _batches(rows)
        began, cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            keeper.observe(batch)
        assert keeper.flush(600)
        return time.perf_counter() - began, time.process_time() - cpu


@contextmanager
def _keeping(where: str, rows: int) -> Iterator[HistoryKeeper]:
    keeper = HistoryKeeper(
        where, label=label("benchmark"), retention=_FOR_EVER, max_pending=max(rows, 1000)
    )
    keeper.observe(BatchMaker().of(1000))  # the file is made, the modules are imported
    assert keeper.flush(60)
    try:
        yield keeper
    finally:
        account = keeper.close(60)
        assert account.kept == account.received, account


def _columns(rows: int) -> tuple[Any, ...]:
    batches = _batches(rows)
    ends = [end + batch.epoch_offset_ns for batch in batches for end in batch.ends_ns]
    durations = [duration for batch in batches for duration in batch.durations_ns]
    first = 1 << 40
    return (
        range(first, first + rows),
        [n % 20 + 1 for n in range(rows)],
        ends,
        durations,
        [0] * rows,
    )


def _bare_executemany(file: Path, rows: int) -> tuple[float, float]:
    """Insert rows that are there as tuples, with the pragmas that a history has; times as `_kept`."""
    place = place_of(file)
    HistoryKeeper(place, label=label("benchmark")).close()  # makes the tables
    prepared = list(zip(*_columns(rows), strict=True))
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal_mode()}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-8000")
        began, cpu = time.perf_counter(), time.process_time()
        for start in range(0, rows, BATCH):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO occurrences VALUES (?,?,?,?,?)", prepared[start : start + BATCH]
            )
            connection.execute("COMMIT")
        return time.perf_counter() - began, time.process_time() - cpu


def _bare_copy(url: str, rows: int) -> tuple[float, float]:
    """Return the seconds that COPY takes with rows encoded beforehand, and row by row."""
    import psycopg

    HistoryKeeper(url, label=label("benchmark")).close()
    columns = _columns(rows)
    parts = [
        b"".join(copy_pieces(_TYPES, [column[start : start + SERVER_BATCH] for column in columns]))
        for start in range(0, rows, SERVER_BATCH)
    ]
    prepared = list(zip(*columns, strict=True))
    with psycopg.connect(url) as connection:
        began = time.perf_counter()
        for part in parts:
            with connection.cursor().copy("COPY occurrences FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(part)
            connection.commit()
        encoded_s = time.perf_counter() - began
        connection.execute("TRUNCATE occurrences")
        connection.commit()
        began = time.perf_counter()
        for start in range(0, rows, SERVER_BATCH):
            with connection.cursor().copy("COPY occurrences FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["int8", "int4", "int8", "int8", "int2"])
                for row in prepared[start : start + SERVER_BATCH]:
                    copy.write_row(row)
            connection.commit()
        return encoded_s, time.perf_counter() - began


def hot_path(rounds: int) -> list[Goal]:
    """Observed executions with a history against some without, one after the other, without a pause."""
    count = 20_000
    cpu, wall, whole = [], [], []
    with (
        TemporaryDirectory() as folder,
        empty_host(1) as plain,
        empty_host(1) as kept,
        observe(plain, profiler=Profiler(sampling_rate=0.1)) as beside,
        observe(
            kept,
            profiler=Profiler(sampling_rate=0.1),
            history=str(Path(folder, "history.sqlite")),
        ) as observation,
    ):
        history = observation.history
        assert history is not None

        def flush() -> None:
            observation.bus.flush()
            assert observation.bus.subscriptions[-1].flush(60)
            assert history.flush(60)

        for number in range(rounds + 3):
            before = _executed(plain, count, beside.bus.flush)
            after = _executed(kept, count, flush)
            if number >= 3:  # until then, all is warming up
                cpu.append(after[0] / before[0])
                wall.append(after[1] / before[1])
                whole.append(after[2] / before[2])
    account = history.account()
    assert account.kept == account.received, account
    note = f"by wall time, with the writing beside it: {median(wall):.2f} x; CPU time of all"
    note += f" threads, until all is committed: {median(whole):.2f} x"
    name = "observed execute, with a history / without"
    return [
        Goal(name, median(cpu), 1.10, note="CPU time of the thread that executes"),
        Goal("the same, not on the hot path", median(wall), note=note),
    ]


def _executed(host: Any, count: int, flush: Callable[[], None]) -> tuple[int, int, int]:
    """Return this thread's CPU time, the wall time, and all threads' CPU time with the flush."""
    execute = host.execute
    cpu, wall, whole = time.thread_time_ns(), time.perf_counter_ns(), time.process_time_ns()
    for _ in repeat(None, count):
        execute("p0", 1)
    cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
    flush()
    return cpu, wall, time.process_time_ns() - whole


def scale(where: Callable[[str], str], kind: str, sizes: tuple[int, int]) -> list[Goal]:
    """The report of one plugin over all time, in a small history and in a large one."""
    took: dict[int, dict[str, float]] = {}
    goals = []
    for size in sizes:
        url = where(f"size{size}")
        rate = _filled(url, size)
        with History(url) as history:
            took[size] = {
                "one plugin": _median_s(lambda: history.plugin("plugin3")),
                "all plugins": _median_s(history.plugins),
                "one by day": _median_s(lambda: history.by_time("plugin3")),
            }
            assert history.plugin("plugin3").count >= size // 20
        stored, scanned = _stored(url)
        shown = ", ".join(f"{name} {1000 * s:.1f} ms" for name, s in took[size].items())
        goals.append(
            Goal(
                f"{kind}, {size:,} executions: rows",
                rate,
                unit="/s",
                note=f"{stored / size:.0f} B each, {stored / 1e6:,.0f} MB in all; {shown};"
                f" counting all rows {scanned:.2f} s",
            )
        )
    small, large = (took[size]["one plugin"] for size in sizes)
    name = f"{kind}, one plugin: {sizes[1]:,} / {sizes[0]:,}"
    note = f"{1000 * large:.1f} ms against {1000 * small:.1f} ms"
    return [*goals, Goal(name, large / small, 50, note=note)]


def _filled(url: str, size: int) -> float:
    """Keep so many executions, which took 100 ms apart from each other; return rows per second."""
    with _keeping(url, 400_000) as keeper:
        maker = BatchMaker(begin_ns=time.time_ns() - size * 100_000)
        spent = 0.0
        for start in range(0, size, 200_000):
            batches = [maker.of(1000) for _ in range(min(200_000, size - start) // 1000)]
            began = time.perf_counter()
            for batch in batches:
                keeper.observe(batch)
            assert keeper.flush(600)
            spent += time.perf_counter() - began
    return size / spent


def _stored(url: str) -> tuple[int, float]:
    """Return how many bytes a history takes on the disk, and how long reading all of it takes."""
    place = place_of(url)
    engine = engine_of(place, writing=False)
    with engine.connect() as connection:
        if place.file is not None:
            stored = place.file.stat().st_size
        else:
            query = "SELECT pg_database_size(current_database())"
            stored = connection.execute(text(query)).scalar_one()
        began = time.perf_counter()
        connection.execute(text("SELECT count(*), sum(duration_ns) FROM occurrences")).one()
        took = time.perf_counter() - began
    engine.dispose()
    return stored, took


def _median_s(ask: Callable[[], object]) -> float:
    def once() -> float:
        began = time.perf_counter()
        ask()
        return time.perf_counter() - began

    once()
    return median(once() for _ in range(15))


def killed(kills: int) -> list[Goal]:
    """Writers that are killed, in both journal modes."""
    goals = []
    for mode in ("DELETE", "WAL"):
        with TemporaryDirectory() as folder:
            found = killed_writers(kills, mode, Path(folder))
        note = f"{found['acknowledged']:,} acknowledged, {found['lost']} of them lost,"
        note += f" {found['corrupt']} corrupt, {found['wrong']} with roll-ups that do not add up"
        bad = found["lost"] + found["corrupt"] + found["wrong"]
        goals.append(Goal(f"{kills:,} writers killed, {mode}: harm", bad, 0, unit="", note=note))
    return goals


def restarted(restarts: int) -> list[Goal]:
    """A server that is stopped as in a crash, under a writer."""
    found = restarted_server(restarts)
    note = f"{found['received']:,} received, {found['acknowledged']:,} acknowledged,"
    note += f" {found['lost']} lost, {found['duplicated']} duplicated"
    bad = found["lost"] + found["duplicated"]
    return [Goal(f"{restarts} PostgreSQL restarts: harm", bad, 0, unit="", note=note)]


def main() -> int:
    """Run the measures that are asked for and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("--short", action="store_true", help="only see that everything runs")
    parser.add_argument("--fail", action="store_true", help="exit 1 when a goal is not met")
    parser.add_argument("--only", metavar="WORD", help="only measures whose name has this word")
    options = parser.parse_args()
    short = options.short
    rows, rounds = (20_000, 1) if short else (400_000, 11)
    sizes = (10_000, 100_000) if short else (10_000, 10_000_000)
    measures: dict[str, Callable[[], list[Goal]]] = {
        "sqlite ingest": lambda: sqlite_ingest(rows, rounds),
        "hot path": lambda: hot_path(3 if short else 60),
        "sqlite scale": lambda: _sqlite_scale(sizes),
        "sqlite kills": lambda: killed(10 if short else 1000),
        "postgres ingest": lambda: postgres_ingest(rows, rounds),
        "postgres scale": lambda: _postgres_scale(sizes),
        "postgres restarts": lambda: restarted(2 if short else 20),
    }
    goals: list[Goal] = []
    for name, measure in measures.items():
        if options.only and options.only not in name:
            continue
        if name.startswith("postgres") and binaries() is None:
            print(f"{name}: no server is installed, not measured", file=sys.stderr)
            continue
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        goals += measure()
    print(table(goals))
    missed = [goal.name for goal in goals if goal.met is False]
    print(f"{len(missed)} goals not met" if missed else "every goal met")
    return 1 if missed and options.fail else 0


def _sqlite_scale(sizes: tuple[int, int]) -> list[Goal]:
    with TemporaryDirectory() as folder:
        return scale(lambda name: str(Path(folder, f"{name}.sqlite")), "SQLite", sizes)


def _postgres_scale(sizes: tuple[int, int]) -> list[Goal]:
    with temporary_server(durable=True) as server:
        return scale(server.create, "PostgreSQL", sizes)


if __name__ == "__main__":
    sys.exit(main())
