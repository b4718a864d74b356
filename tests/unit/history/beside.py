"""Processes of several machines that use one history at once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from click.testing import CliRunner
from sqlalchemy import func, select

from pluginhost.cli import main
from pluginhost.history.cells import DAY, RUN
from pluginhost.history.places import Place
from pluginhost.history.reader import History
from pluginhost.history.retention import Forgetter, Retention
from pluginhost.history.store import Store
from pluginhost.history.tables import OCCURRENCES, SEQUENCE_BITS

_OBSERVING = """
import platform, sys
platform.node = lambda: sys.argv[2]
from pluginhost import PluginHost, observe
with PluginHost("shop", sources=[sys.argv[1]]) as host:
    host.load_all()
    with observe(host, history=sys.argv[3]) as observation:
        for _ in range(int(sys.argv[4])):
            host.execute("words")
    account = observation.history.account()
sys.exit(account.kept != int(sys.argv[4]) or account.lost_count)
"""

_WRITING = """
import sys
from benchmarks.batches import BatchMaker, label
from pluginhost.history.keeper import HistoryKeeper
keeper, maker = HistoryKeeper(sys.argv[1], label=label(sys.argv[2]), batch=500), BatchMaker(5)
for number in range(int(sys.argv[3]) // 500):
    keeper.observe(maker.of(500))
    keeper.flush(60)
account = keeper.close(60)
print(account)
sys.exit(account.kept != int(sys.argv[3]) or account.lost_count or account.trouble is not None)
"""

PLUGIN = "from pluginhost import hookimpl\n\n@hookimpl\ndef execute():\n    pass\n"


def observed_on(hosts: dict[str, int], url: str, plugins: Path) -> None:
    """Observe a plugin in a process of each of these machines, so often, all at once."""
    (plugins / "words.py").write_text(PLUGIN)
    started = [
        subprocess.Popen([sys.executable, "-c", _OBSERVING, plugins, host, url, str(count)])
        for host, count in hosts.items()
    ]
    assert [one.wait(120) for one in started] == [0] * len(started)


def shown(url: str, *words: str) -> str:
    """Return what a command of `pluginhost history` prints."""
    result = CliRunner().invoke(main, ["history", *words, "--history", url])
    assert result.exit_code == 0, result.output
    return result.stdout


def pruned_beside_writers(place: Place, *, writers: int = 2, count: int = 10_000) -> None:
    """Prune again and again while processes write; nothing is lost that was not to be pruned."""
    Store(place).close()
    wanted = Retention(occurrence_days=0.2 / 86_400, minute_days=0, max_bytes=None)
    started = [
        subprocess.Popen([sys.executable, "-c", _WRITING, place.url, f"w{n}", str(count)])
        for n in range(writers)
    ]
    removed, rounds, done = 0, 0, False
    while not done:
        done = all(one.poll() is not None for one in started)
        store = Store(place)
        removed += Forgetter(store, wanted, lambda: False).run(time.time_ns()).occurrences
        store.close()
        rounds += 1
    assert [one.wait() for one in started] == [0] * writers
    assert rounds > 1
    with History(place) as history:
        runs = history.runs()
        assert [run.occurrence_count for run in runs] == [count] * writers
        assert sum(run.lost_count for run in runs) == 0
        for seconds in (RUN, DAY):
            cells = [row for n in range(5) for row in history._cells(f"plugin{n}", seconds)]
            assert sum(row["count"] for row in cells) == writers * count
    store = Store(place)
    with store.connection.begin():
        left = 0
        for run in runs:
            first, end = run.number << SEQUENCE_BITS, (run.number + 1) << SEQUENCE_BITS
            ids = OCCURRENCES.c.id
            query = select(func.count(), func.min(ids)).where(ids >= first, ids < end)
            kept, oldest = store.connection.execute(query).one()
            left += kept
            assert not kept or oldest == first + count - kept, "the newest are kept, without a gap"
    store.close()
    assert 0 < removed == writers * count - left
