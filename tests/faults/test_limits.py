"""Limits on a process of a plugin's own: how many processes it starts, and where it may write."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from textwrap import dedent

import pytest

from pluginhost import PluginState, observe
from pluginhost.errors import WorkerCrashedError
from pluginhost.host.runners import sweeping
from pluginhost.host.runners.confining import landlock_version
from pluginhost.host.runners.workers import WorkerOptions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits of Linux")

ALLOWED, BOMBS = 15, 250
"""How many are allowed, and how many the bombs here could start at most, if nobody stopped them."""

BOMB = """
import os, subprocess, sys, time
from pluginhost import hookimpl

def tokens():
    read, write = os.pipe()
    os.write(write, b"x" * {BOMBS})
    os.set_blocking(read, False)
    return read

def another(read):
    try: return bool(os.read(read, 1))
    except BlockingIOError: return False

def bomb(read):
    while another(read):
        {fork}
    time.sleep(60)

@hookimpl
def execute(payload):
    if payload == "bomb": bomb(tokens())
    if payload == "few":
        children = [subprocess.Popen(["sleep", "60"]) for _ in range(10)]
        time.sleep(1.5)
        for child in children: child.kill(); child.wait()
    return os.getpid()
"""
FORKS = {
    "forks": "os.fork()",
    "in sessions of their own": "if not os.fork(): os.setsid()",
    "whose parents end": """
        if not os.fork():
            os.setsid()
            if os.fork(): os._exit(0)
    """,
    "other programs": "subprocess.Popen(['sleep', '60'], start_new_session=True)",
}


def manifest(*limits):
    """Return a manifest with these limits."""
    return "\n".join(["[plugins.p]", "[plugins.p.limits]", *limits])


@pytest.mark.parametrize("kind", FORKS)
def test_a_fork_bomb_is_stopped_and_named(make_apart, heartbeat, wait_until, figure, kind):
    """All of it is killed, the host goes on, its neighbour too, and it is started again."""
    fork = dedent(FORKS[kind]).strip().replace("\n", "\n        ")
    source = BOMB.replace("{fork}", fork).replace("{BOMBS}", str(BOMBS))
    host = make_apart(
        {"p.py": source, "q.py": source, "pluginhost.toml": manifest(f"descendants = {ALLOWED}")}
    )
    good, mark = host.execute("q"), host._runners["p"]._worker._mark
    with observe(host) as observation:
        with heartbeat() as heart, pytest.raises(WorkerCrashedError) as caught:
            host.execute("p", "bomb")
        assert observation.profiler.get_aggregates("p").last_exit_status == "SIGKILL"
    assert "had started more processes than the 15 that may run at once" in caught.value.message
    assert "was killed with all of them" in caught.value.message
    assert "more descendants" in caught.value.remedy
    wait_until(lambda: sweeping.marked(mark) == [])
    figure(f"a bomb ({kind}): longest stall of the host's heartbeat", 1000 * heart.longest_s, "ms")
    assert host.execute("q") == good
    assert host.execute("p") != good
    assert host.plugins["p"].state is PluginState.LOADED


def test_fewer_than_allowed_are_left_alone(make_apart):
    """Also those that the threads of others may be mistaken for."""
    source = BOMB.replace("{fork}", "os.fork()").replace("{BOMBS}", "0")
    host = make_apart({"p.py": source, "pluginhost.toml": manifest("descendants = 10")})
    pid, over = host.execute("p"), threading.Event()
    threads = [threading.Thread(target=over.wait) for _ in range(40)]
    for thread in threads:
        thread.start()
    try:
        assert host.execute("p", "few") == pid
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_none_at_all_may_be_allowed(make_apart):
    """The first one is too many."""
    source = BOMB.replace("{fork}", "os.fork()").replace("{BOMBS}", "0")
    host = make_apart({"p.py": source, "pluginhost.toml": manifest("descendants = 0")})
    assert host.execute("p")
    with pytest.raises(WorkerCrashedError, match="more processes than the 0"):
        host.execute("p", "few")


def test_nobody_counts_without_the_limit(make_apart):
    """And when the worker has ended, nobody counts any more."""
    source = BOMB.replace("{fork}", "os.fork()").replace("{BOMBS}", "0")
    host = make_apart(
        {"p.py": source, "q.py": source, "pluginhost.toml": manifest("descendants = 3")}
    )

    def counting():
        return [t for t in threading.enumerate() if t.name == "pluginhost-counting"]

    assert len(counting()) == 1
    host.unload("p")
    for thread in counting():
        thread.join(60)
    assert host.execute("q")
    assert not counting()


def test_a_bomb_that_goes_off_when_it_is_imported(make_apart, wait_until):
    """It is not loaded, and the reason says why."""
    source = (
        BOMB.replace("{fork}", "os.fork()").replace("{BOMBS}", str(BOMBS)) + "\nbomb(tokens())\n"
    )
    host = make_apart({"p.py": source, "pluginhost.toml": manifest(f"descendants = {ALLOWED}")})
    info = host.plugins["p"]
    assert info.state is PluginState.FAILED
    assert "had started more processes than the 15 that may run at once" in info.error


# What is taken from it

needs_landlock = pytest.mark.skipif(
    landlock_version() == 0, reason="this kernel has no Landlock (the ABI it tells is 0)"
)

DOES = """
import os, pathlib, subprocess, sys
from pluginhost import hookimpl

@hookimpl
def execute(payload):
    try:
        exec(payload, globals(), found := {})
    except OSError as error:
        return type(error).__name__
    return found.get("found", "done")
"""

WRITES = {
    "a new file": "open({0!r} + '/new', 'w').close()",
    "an old file": "open({0!r} + '/old', 'a').close()",
    "a longer file": "os.truncate({0!r} + '/old', 100)",
    "a folder": "os.mkdir({0!r} + '/folder')",
    "a removed file": "os.remove({0!r} + '/old')",
    "a renamed file": "os.rename({0!r} + '/old', {0!r} + '/other')",
    "a symbolic link": "os.symlink('/', {0!r} + '/link')",
    "a hard link": "os.link({0!r} + '/old', {0!r} + '/hard')",
    "a pipe": "os.mkfifo({0!r} + '/pipe')",
    "a socket": "import socket; socket.socket(socket.AF_UNIX).bind({0!r} + '/s')",
    "another program": "found = subprocess.run(['touch', {0!r} + '/new'], stderr=-3).returncode",
    "a thread": (
        "import concurrent.futures as c;"
        " c.ThreadPoolExecutor(1).submit(open, {0!r} + '/new', 'w').result().close()"
    ),
}


@pytest.fixture
def folders(tmp_path):
    """Return a folder that may be written to, and one that may not; both have a file."""
    made = tmp_path / "mine", tmp_path / "theirs"
    for folder in made:
        folder.mkdir()
        (folder / "old").write_text("old")
    return made


@needs_landlock
@pytest.mark.parametrize("kind", WRITES)
def test_writing_elsewhere_is_refused(make_apart, folders, kind):
    """Whatever changes a file or a folder, in threads and other programs, too; reading is not."""
    mine, theirs = map(str, folders)
    limits = manifest(f"writable = [{mine!r}]").replace("'", '"')
    host = make_apart({"p.py": DOES, "q.py": DOES, "pluginhost.toml": limits})
    if kind == "a longer file" and landlock_version() < 3:
        pytest.skip("Landlock refuses truncate() since its version 3")
    before = sorted(folders[1].iterdir())
    refused = host.execute("p", WRITES[kind].format(theirs))
    assert refused == (1 if kind == "another program" else "PermissionError")
    assert sorted(folders[1].iterdir()) == before
    assert (folders[1] / "old").read_text() == "old"
    assert host.execute("p", f"found = open({theirs!r} + '/old').read()") == "old"
    assert host.execute("p", "open('/dev/null', 'w').write('x')") == "done"
    allowed = 0 if kind == "another program" else "done"
    assert host.execute("p", WRITES[kind].format(mine)) == allowed
    assert host.execute("q", WRITES[kind].format(theirs)) == allowed  # that one has no such limit


@needs_landlock
def test_what_the_host_says_counts_too(make_apart, folders, monkeypatch):
    """A manifest takes away from what the host allows, and adds nothing to it."""
    mine, theirs = map(str, folders)
    monkeypatch.setenv("ONE_SECRET", "1")
    monkeypatch.setenv("NO_SECRET", "2")
    monkeypatch.setenv("ANOTHER", "3")
    limits = [f'writable = ["{theirs}"]', 'environment = ["ONE_SECRET", "NO_SECRET"]']
    options = WorkerOptions(writable=(mine,), environment=("NO_SECRET", "ANOTHER"))
    host = make_apart(
        {"p.py": DOES, "q.py": DOES, "pluginhost.toml": manifest(*limits)}, worker_options=options
    )
    write = "open({!r} + '/new', 'w').close()"
    assert host.execute("p", write.format(mine)) == "PermissionError"
    assert host.execute("p", write.format(theirs)) == "PermissionError"
    assert host.execute("q", write.format(theirs)) == "PermissionError"
    assert host.execute("q", write.format(mine)) == "done"
    names = "found = [n for n in ('ONE_SECRET', 'NO_SECRET', 'ANOTHER') if n in os.environ]"
    assert host.execute("p", names) == ["NO_SECRET"]
    assert host.execute("q", names) == ["NO_SECRET", "ANOTHER"]


@needs_landlock
def test_a_relative_folder_is_the_plugins_own(make_apart, tmp_path):
    """A plugin may bring a folder for its data along."""
    (tmp_path / "plugins" / "data").mkdir(parents=True)
    host = make_apart({"p.py": DOES, "pluginhost.toml": manifest('writable = ["data"]')})
    place = str(tmp_path / "plugins")
    assert host.execute("p", f"open({place!r} + '/data/x', 'w').close()") == "done"
    assert host.execute("p", f"open({place!r} + '/x', 'w').close()") == "PermissionError"


@needs_landlock
def test_figures_are_exact_all_the_same(make_apart):
    """The peak of memory is begun anew by writing to a file of the kernel's."""
    block = "    if type(payload) is int: return len(bytearray(payload))\n"
    work = DOES.replace("    try:\n", f"{block}    try:\n", 1)
    host = make_apart({"p.py": work, "pluginhost.toml": manifest("writable = []")})
    with observe(host) as observation:
        host.execute("p", 50_000_000)
        host.execute("p", 1000)
        first, second = observation.profiler.get_history("p")
    assert first.peak_rss_bytes > second.peak_rss_bytes + 30_000_000


def test_a_folder_that_is_not_there(make_apart):
    """The plugin is not loaded, and it is said why."""
    if landlock_version() == 0:
        expected = "this system has no Landlock"
    else:
        expected = "'/nowhere/at/all', which cannot be opened: No such file or directory"
    host = make_apart({"p.py": DOES, "pluginhost.toml": manifest('writable = ["/nowhere/at/all"]')})
    info = host.plugins["p"]
    assert info.state is PluginState.FAILED
    assert expected in info.error


def test_without_landlock_nothing_is_run(make_apart, tmp_path):
    """A kernel that refuses the system call: the plugin is not loaded unconfined, and it is said."""
    code = """
import sys
import pluginhost.host.runners.confining as confining
confining._CREATE_RULESET = 100_000  # what a kernel answers that has no such call is ENOSYS
from pluginhost.errors import PluginLoadError
assert confining.landlock_version() == 0
try: confining.confine_writes(["/tmp"], base=None)
except PluginLoadError as error: print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "this system has no Landlock" in done.stdout
    assert "take 'writable' out" in done.stdout


def test_no_new_rights_can_be_got(make_apart):
    """Neither the process nor what it starts gets any by running a program that has them."""
    host = make_apart({"p.py": DOES})
    look = "found = [line.split()[1] for line in {} if line.startswith('NoNewPrivs')]"
    own = look.format("open('/proc/self/status')")
    childs = look.format(
        "subprocess.run(['cat', '/proc/self/status'], capture_output=True, text=True).stdout.splitlines()"
    )
    assert host.execute("p", own) == host.execute("p", childs) == ["1"]


@pytest.mark.parametrize("kind", ["writable", "open_files"])
def test_an_executor_is_left_as_it_is(plugin_folder, make_host, kind, tmp_path):
    """Its processes are the application's, and others run there, too: limits are for one's own."""
    limit = "writable = []" if kind == "writable" else "open_files = 8"
    folder = plugin_folder({"p.py": DOES, "pluginhost.toml": manifest(limit)})
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        host = make_host(folder, runners={"p": pool})
        host.load("p")
        place = str(tmp_path / "x")
        assert host.execute("p", f"open({place!r}, 'w').close()") == "done"
        assert host.execute("p", "found = len([open('/dev/null') for _ in range(20)])") == 20
