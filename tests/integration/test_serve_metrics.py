"""`pluginhost serve-metrics` as a process of its own: scrapes, signals, tokens, and clients that are slow."""

from __future__ import annotations

import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import psutil
import pytest

from pluginhost import PluginHost, observe

PLUGIN = "from pluginhost import hookimpl\n\n@hookimpl\ndef execute():\n    return 1\n"


class Served:
    """A process that serves."""

    def __init__(self, process: subprocess.Popen[str], lines: tuple[str, str]) -> None:
        self.process = process
        self.lines = lines
        found = re.search(r"http://127\.0\.0\.1:(\d+)/metrics$", lines[0])
        assert found, lines
        self.port = int(found[1])
        self.token_file = Path(lines[1].removeprefix("the token is in "))

    def scrape(self, token: str | None = None) -> str:
        """Return the metrics, as the owner of the token file gets them."""
        token = self.token_file.read_text().strip() if token is None else token
        headers = {"Authorization": f"Bearer {token}"}
        asked = Request(f"http://127.0.0.1:{self.port}/metrics", headers=headers)
        with build_opener(ProxyHandler({})).open(asked, timeout=60) as answer:
            return str(answer.read().decode())


@contextmanager
def serving(*arguments: object, **options: Any) -> Iterator[Served]:
    """Run the command until it has said where it is; it is ended afterwards."""
    words = [sys.executable, "-m", "pluginhost", "serve-metrics", "--port", "0", *arguments]
    with subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    ) as process:
        try:
            assert process.stdout is not None
            yield Served(process, (process.stdout.readline()[:-1], process.stdout.readline()[:-1]))
        finally:
            process.kill()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a plugin; histories and tokens are in it, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PLUGINHOST_HISTORY", str(tmp_path / "history.sqlite"))
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "words.py").write_text(PLUGIN)
    return tmp_path


def executed(text: str) -> float:
    """Return how many executions are served."""
    found = re.findall(r'^pluginhost_calls_total\{hook="execute".*\} (\S+)$', text, re.MULTILINE)
    return sum(map(float, found))


def test_a_history_is_served_while_it_grows(
    folder: Path, make_host: Callable[..., PluginHost]
) -> None:
    """What an observed host has executed since the last scrape is in the next one."""
    host = make_host(folder / "plugins")
    with observe(host, history=True) as observation:
        assert observation.history is not None
        host.load_all()
        host.execute("words")
        observation.bus.flush()
        assert observation.bus.subscriptions[-1].flush(60)
        assert observation.history.flush(60)
        with serving() as served:
            assert executed(served.scrape()) == 1
            for _ in range(10):
                host.execute("words")
            observation.bus.flush()
            assert observation.bus.subscriptions[-1].flush(60)
            assert observation.history.flush(60)
            assert executed(served.scrape()) == 11
            assert stat.S_IMODE(served.token_file.stat().st_mode) == 0o600
            with pytest.raises(HTTPError, match="401"):
                served.scrape("wrong")
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(60) == 0
            assert served.process.communicate() == ("", "")


@pytest.mark.usefixtures("ctrl_c")
def test_its_token_is_shown_nowhere(folder: Path) -> None:
    """Neither in what it prints, nor in what it answers, nor among its arguments."""
    command = [sys.executable, "-m", "pluginhost", "run", "-s", "plugins", "--save", "run.json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with serving("run.json", "--token-file", "secret") as served:
        token = served.token_file.read_text().strip()
        said = " ".join((*served.lines, *psutil.Process(served.process.pid).cmdline()))
        said += served.scrape()
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(60) == 130
        output, errors = served.process.communicate()
    assert served.lines[0].startswith("metrics of run.json are at ")
    assert token not in said + output + errors
    assert errors == "interrupted\n"


@pytest.mark.skipif(sys.platform != "linux", reason="limits and processes are Linux's")
def test_idle_clients_and_few_files_do_not_keep_it_busy(folder: Path) -> None:
    """100 clients that say nothing, where 40 files may be open: a scrape is answered, and it rests."""
    import resource

    command = [sys.executable, "-m", "pluginhost", "run", "-s", "plugins", "--save", "run.json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    with serving("run.json", preexec_fn=few_files) as served, ExitStack() as stack:
        for _ in range(100):
            address = ("127.0.0.1", served.port)
            stack.enter_context(socket.create_connection(address, timeout=60))
        assert executed(served.scrape()) == 1
        before_s, until_s = _cpu_s(served.process.pid), time.process_time() + 1
        while time.process_time() < until_s:
            pass
        assert _cpu_s(served.process.pid) - before_s < 0.5  # half of what we have done meanwhile
        assert len([*Path(f"/proc/{served.process.pid}/fd").iterdir()]) < 40


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
