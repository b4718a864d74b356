"""`pluginhost` as a process of its own: pipes, terminals, signals, and whole ways through it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from pluginhost import PluginHost, observe
from pluginhost.comparison import Comparison, Verdict
from pluginhost.report import PluginList, Report, decode, read_report, write_report

COMMAND = [sys.executable, "-m", "pluginhost"]
PLUGIN = "import pluginhost\n\n@pluginhost.hookimpl\ndef execute(payload):\n    {}\n"
BUSY = PLUGIN.format("return sum(range({}))")
SLEEPY = PLUGIN.format("__import__('time').sleep({})")


@pytest.fixture(autouse=True)
def foreground(monkeypatch: pytest.MonkeyPatch, ctrl_c: None) -> None:
    """Start processes as a shell does in the foreground, without anybody's preferences."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONIOENCODING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("PYTHONUTF8", "1")


def _run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | environment,
        timeout=60,
        check=False,
    )


def _in_terminal(*arguments: object, columns: int = 80, **environment: str) -> tuple[int, str]:
    """Return exit code and output of the command on a (pseudo) terminal."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | environment,
    )
    os.close(theirs)
    chunks = []
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux says so when the other side is gone
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(ours)
    return process.wait(timeout=60), b"".join(chunks).decode().replace("\r\n", "\n")


needs_terminal = pytest.mark.skipif(os.name != "posix", reason="pseudo terminals are POSIX")


def test_run_then_report_then_compare(plugin_folder: Any, tmp_path: Path) -> None:
    """The way a person goes: a run is saved, shown again, and compared with a slower one."""
    before = plugin_folder({"slowed.py": SLEEPY.format(0.001)}, name="before")
    after = plugin_folder({"slowed.py": SLEEPY.format(0.004)}, name="after")
    files = tmp_path / "before.json", tmp_path / "after.json"
    first = _run("run", "--source", before, "--repeat", 25, "--save", files[0])
    second = _run("run", "--source", after, "--repeat", 25, "--save", files[1])
    assert (first.returncode, second.returncode) == (0, 0)
    shown = _run("report", files[0])
    assert shown.stdout == first.stdout
    compared = _run("compare", *files, "--min-effect", "50%", "--fail-on-regression")
    assert compared.returncode == 1
    assert re.match(r"worse: slowed \(\+\d+%\)$", compared.stdout.splitlines()[-1])
    assert _run("compare", files[0], files[0], "--fail-on-regression").returncode == 0


def test_a_slower_plugin_is_found_and_a_steady_one_is_not(
    plugin_folder: Any, make_host: Callable[..., PluginHost], tmp_path: Path
) -> None:
    """Three times the work is slower, the same work is unchanged, however the machine fares.

    Both runs are made at the same time, in turn, so that neither has the better machine.
    """
    folders = [
        plugin_folder(
            {"steady.py": BUSY.format(20_000), "slowed.py": BUSY.format(size)}, name=str(size)
        )
        for size in (20_000, 60_000)
    ]
    hosts = [make_host(folder) for folder in folders]
    observations = [observe(host) for host in hosts]
    for host in hosts:
        host.load_all()
    for _ in range(60):
        for host in hosts:
            for plugin_id in ("steady", "slowed"):
                host.execute(plugin_id)
    files = [tmp_path / "before.json", tmp_path / "after.json"]
    for observation, file in zip(observations, files, strict=True):
        write_report(observation.report(), file)
        observation.close()
    compared = _run("compare", *files, "--min-effect", "20%", "--json")
    comparison = decode(compared.stdout, Comparison)
    verdicts = {change.plugin_id: change.verdict for change in comparison.changes}
    assert verdicts == {"slowed": Verdict.SLOWER, "steady": Verdict.UNCHANGED}
    assert 2 < comparison.changes[0].ratio < 6  # more on a busy machine


def test_a_reader_that_goes_away_ends_the_command_silently(plugin_folder: Any) -> None:
    """As with any program in a pipe: `| head` shows no error."""
    folder = plugin_folder({f"p{i}.py": "" for i in range(50)})
    with subprocess.Popen(
        [*COMMAND, "list", "--source", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_run_is_saved_though_its_reader_goes_away(plugin_folder: Any, tmp_path: Path) -> None:
    """`run --save FILE | head` keeps the run."""
    folder = plugin_folder({"a.py": PLUGIN.format("pass")})
    saved = tmp_path / "run.json"
    with subprocess.Popen(
        [*COMMAND, "run", "--source", folder, "--save", saved], stdout=subprocess.PIPE
    ) as process:
        process.stdout.close()
    assert process.returncode == 141
    assert read_report(saved).performance.plugins[0].execution_count == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_told_in_one_line(plugin_folder: Any) -> None:
    """Not in a traceback, nor twice."""
    folder = plugin_folder({"a.py": ""})
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "list", "--source", str(folder)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr == "Error: the output cannot be written: No space left on device\n"


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as on POSIX")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param("time.sleep(0.01)", id="in a plugin that sleeps"),
        pytest.param("host.execute('other')", id="in a plugin that another called"),
    ],
)
def test_ctrl_c_ends_a_long_run_with_its_report(
    plugin_folder: Any, tmp_path: Path, body: str
) -> None:
    """What was measured is shown and saved; the exit code is that of an interrupt."""
    started = tmp_path / "started"
    source = f"""
        import pathlib, time
        import pluginhost

        @pluginhost.hookimpl
        def execute(payload, host):
            {body}
            pathlib.Path({str(started)!r}).touch()
        """
    folder = plugin_folder({"a.py": source, "other.py": SLEEPY.format(0.01)})
    saved = tmp_path / "run.json"
    with subprocess.Popen(
        [*COMMAND, "run", "a", "other", "-s", folder, "-n", "1000000", "--save", saved],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        limit = time.monotonic() + 30
        while not started.exists():
            assert time.monotonic() < limit, "it never began"
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stdout.startswith("Cost: ")
    assert re.search(r"^note  interrupted after \d+ of 2,000,000 executions$", stderr, re.MULTILINE)
    assert read_report(saved).performance.plugins


@needs_terminal
def test_a_terminal_gets_colours_and_a_pipe_the_same_text(
    plugin_folder: Any, tmp_path: Path, report_file: Path
) -> None:
    """Colours are all that differs; NO_COLOR takes them away."""
    plain = _run("report", report_file).stdout
    code, coloured = _in_terminal("report", report_file)
    assert code == 0
    assert "\x1b[" in coloured
    assert click.unstyle(coloured) == plain
    assert _in_terminal("report", report_file, NO_COLOR="1") == (0, plain)
    assert _in_terminal("report", report_file, TERM="dumb") == (0, plain)


@pytest.fixture
def report_file(plugin_folder: Any, tmp_path: Path) -> Path:
    """Return a saved run of two plugins."""
    folder = plugin_folder({"a.py": PLUGIN.format("pass"), "b.py": PLUGIN.format("1 / 0")})
    file = tmp_path / "run.json"
    assert _run("run", "-s", folder, "-n", 5, "--save", file).returncode == 0
    return file


@needs_terminal
def test_a_narrow_terminal_loses_nothing(report_file: Path) -> None:
    """Every word is there, on lines that fit."""
    plain = _run("report", report_file).stdout
    code, narrow = _in_terminal("report", report_file, columns=50, NO_COLOR="1")
    assert code == 0
    assert max(map(len, narrow.splitlines())) <= 50
    assert narrow.split() == plain.split()


@needs_terminal
def test_a_long_run_shows_its_progress_on_a_terminal(plugin_folder: Any) -> None:
    """The bar comes after a second and is gone before the report."""
    folder = plugin_folder({"a.py": SLEEPY.format(0.05)})
    code, output = _in_terminal("run", "-s", folder, "-n", 30)
    bar, report = output.split("Cost: ")
    assert code == 0
    assert "Ctrl-C: stop and report" in bar
    assert re.search(r"\d+/30", bar)
    assert "Ctrl-C" not in report


def test_a_run_in_a_pipe_shows_no_progress(plugin_folder: Any) -> None:
    """Standard error stays empty."""
    folder = plugin_folder({"a.py": SLEEPY.format(0.05)})
    assert _run("run", "-s", folder, "-n", 30).stderr == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_any_encoding_of_the_output_will_do(report_file: Path, encoding: str) -> None:
    """Bars and arrows become ASCII rather than a traceback."""
    done = _run("report", report_file, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "####" in done.stdout
    assert done.stdout.isascii()


@needs_terminal
def test_without_the_extra_a_terminal_gets_plain_text(report_file: Path, tmp_path: Path) -> None:
    """The core alone shows everything; only colours and the bar are missing."""
    blocked = tmp_path / "no-rich"
    blocked.mkdir()
    (blocked / "rich.py").write_text("raise ImportError('rich is not installed')")
    plain = _run("report", report_file).stdout
    assert _in_terminal("report", report_file, PYTHONPATH=str(blocked)) == (0, plain)


def test_file_names_that_are_not_text_are_survived(tmp_path: Path) -> None:
    """A folder and an input whose names are no UTF-8 are shown, saved and read again."""
    folder = tmp_path / os.fsdecode(b"plugins-\xff")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system wants names that are text")
    (folder / "a.py").write_text(PLUGIN.format("raise ValueError(payload.name)"))
    file = folder / os.fsdecode(b"in-\xfe")
    file.write_text("x")
    saved = tmp_path / "run.json"
    assert _run("run", "-s", folder, "-i", file, "--save", saved).returncode == 0
    assert r"ValueError: in-\udcfe" in _run("report", saved).stdout
    assert read_report(saved).plugins[0].location.endswith(r"plugins-\udcff/a.py")
    listed = decode(_run("list", "-s", folder, "--json").stdout, PluginList)
    assert listed.sources[0].endswith(r"plugins-\udcff")
    assert decode(_run("run", "-s", folder, "--json", "-").stdout, Report).performance is not None
