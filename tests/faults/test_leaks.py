"""Plugins that take and do not give back: each is named, with what it took, and nobody else is."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from textwrap import dedent

import pytest

from pluginhost import PluginState

HEAD = "import os, subprocess, sys, tempfile, threading, time\nfrom pluginhost import hookimpl\n"
CLEAN = HEAD + "@hookimpl\ndef execute(payload): return payload\n"

POOL = "import concurrent.futures as c; kept.append(c.ThreadPoolExecutor(1, 'leaked'))"
LEAKS = {
    "descriptors": ("kept.append(os.open('/dev/null', os.O_RDONLY))", r"descriptor \d+ \(/dev/null\)"),
    "threads": (
        f"{POOL}; kept[-1].submit(int).result()",
        r"thread 'leaked_0'",
    ),
    "children": (
        "kept.append(subprocess.Popen(['sleep', '60']))",
        r"child process \d+ \((sleep|python.*)\)",  # Linux renames it last of all, after Popen has returned
    ),
    "memory_bytes": ("kept.append(b'x' * 8_000_000)", None),
}  # fmt: skip

LEAKY = """
class Leaky:
    @hookimpl
    def {step}(self, host):
        kept = host.__dict__.setdefault("kept", [])
        {leak}
    @hookimpl
    def {other}(self): pass
"""

IN_A_PROCESS = """
import os, re, sys
from pluginhost import PluginHost
host, out, kind = PluginHost("test", sources=[sys.argv[1]], track_resources=True), sys.stdout, sys.argv[2]
host.load_all()
for _ in range(4):
    host.execute("clean", 1)
    host.execute("leaky")
for plugin_id in ("clean", "leaky"):
    info = host.unload(plugin_id)
    for use in info.resources:
        print(plugin_id, use.step, use.count, use.shared_count, getattr(use, kind), sep="|", file=out)
    for line in info.survivors:
        print(plugin_id, "left", line, sep="|", file=out)
assert host.plugins["leaky"] == info
out.flush()
for child in host.__dict__.get("kept", []):
    if hasattr(child, "kill"): child.kill(); child.wait()
os._exit(0)
"""


def told(folder, kind):
    """Load, execute and unload both plugins in a process of its own; return (id, words) pairs."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, str(folder), kind],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [line.split("|") for line in done.stdout.splitlines()]


def leaky(step, kind):
    """Return a plugin that leaks in one of its hooks."""
    other = "execute" if step != "execute" else "setup"
    return HEAD + LEAKY.format(step=step, other=other, leak=LEAKS[kind][0])


@pytest.mark.parametrize("step", ["setup", "execute", "teardown"])
@pytest.mark.parametrize("kind", LEAKS)
def test_each_leak_is_counted_and_named(plugin_folder, kind, step):
    """Where it happens, how much, and by name among what an unload leaves; its neighbour's is zero."""
    import re

    manifest = "[plugins.leaky]\nentry = 'leaky:Leaky'\n"
    folder = plugin_folder(
        {"leaky.py": leaky(step, kind), "clean.py": CLEAN, "pluginhost.toml": manifest}
    )
    lines = told(folder, kind)
    figures = {(row[0], row[1]): tuple(map(int, row[2:])) for row in lines if row[1] != "left"}
    times = 4 if step == "execute" else 1
    where = {"setup": "load", "execute": "execute", "teardown": "unload"}[step]
    assert {name: row[:2] for name, row in figures.items()} == {
        (plugin_id, name): (4 if name == "execute" else 1, 0)
        for plugin_id in ("clean", "leaky") for name in ("load", "execute", "unload")
    }  # fmt: skip
    if kind == "memory_bytes":
        assert figures["leaky", where][2] > times * 7_000_000
        assert figures["clean", "execute"][2] < 1_000_000
        return
    others = {name: row[2] for name, row in figures.items() if name != ("leaky", where)}
    assert figures["leaky", where][2] == times
    assert set(others.values()) == {0}, figures
    left = [row[2] for row in lines if row[:2] == ["leaky", "left"]]
    named = [line for line in left if re.fullmatch(LEAKS[kind][1], line)]
    assert len(set(named)) == (times if kind != "threads" else 1), left
    assert not [row for row in lines if row[:2] == ["clean", "left"]]


def test_what_is_given_back_is_not_named(plugin_folder, make_host):
    """A descriptor, a thread and a child that a teardown ends; a pool's are its own while it lives."""
    source = HEAD + dedent("""
        class P:
            @hookimpl
            def setup(self):
                self.file, self.over = open("/dev/null"), threading.Event()
                self.thread = threading.Thread(target=self.over.wait)
                self.thread.start()
                self.child = subprocess.Popen(["sleep", "60"])
            @hookimpl
            def teardown(self):
                self.file.close(); self.over.set(); self.thread.join()
                self.child.kill(); self.child.wait()
    """)
    host = make_host(
        plugin_folder({"p.py": source, "pluginhost.toml": "[plugins.p]\nentry = 'p:P'\n"})
    )
    (use,) = host.load("p").resources
    assert (use.step, use.descriptors, use.threads, use.children) == ("load", 1, 1, 1)
    info = host.unload("p")
    assert info.survivors == ()
    balance = [sum(getattr(use, name) for use in info.resources)
               for name in ("descriptors", "threads", "children")]  # fmt: skip
    assert balance == [0, 0, 0]


def test_executions_are_looked_at_when_asked(plugin_folder, make_host):
    """Without `track_resources` an execution takes no longer, and is not in the balance."""
    host = make_host(plugin_folder({"p.py": CLEAN}))
    host.load("p")
    assert host.execute("p", 7) == 7
    assert [use.step for use in host.unload("p").resources] == ["load", "unload"]
    assert [use.step for use in host.load("p").resources] == ["load"]  # another life


def test_what_another_plugin_takes_within_is_the_others(plugin_folder, make_host):
    """One plugin executes another, which leaks."""
    outer = HEAD + "@hookimpl\ndef execute(host, payload): host.execute('inner', payload)\n"
    inner = HEAD + "@hookimpl\ndef execute(payload): payload.append(open('/dev/null'))\n"
    host = make_host(plugin_folder({"outer.py": outer, "inner.py": inner}), track_resources=True)
    host.load_all()
    kept = []
    for _ in range(3):
        host.execute("outer", kept)
    figures = {
        i: {use.step: use.descriptors for use in info.resources} for i, info in host.plugins.items()
    }
    assert figures == {"outer": {"load": 0, "execute": 0}, "inner": {"load": 0, "execute": 3}}
    assert not [n for n in host.unload("outer").survivors if "descriptor" in n]
    assert len([n for n in host.unload("inner").survivors if "descriptor" in n]) == 3
    for file in kept:
        file.close()


@pytest.mark.parametrize("deadline", [None, 30])
def test_two_at_once_cannot_be_told_apart_and_it_is_said(plugin_folder, make_host, deadline):
    """The descriptor was opened while both ran: each may have done so."""
    waits = HEAD + "@hookimpl\ndef execute(payload): payload[0].set(); assert payload[1].wait(60)\n"
    host = make_host(plugin_folder({"a.py": waits, "b.py": waits}), track_resources=True)
    host.load_all()
    begun, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=host.execute, args=("a", (begun, over)))
    thread.start()
    assert begun.wait(60)
    descriptor = []

    class Opens:
        def set(self):
            descriptor.append(os.open("/dev/null", os.O_RDONLY))
            over.set()

    host.execute("b", (Opens(), over), deadline=deadline)
    thread.join()
    for plugin_id in ("a", "b"):
        (use,) = [use for use in host.plugins[plugin_id].resources if use.step == "execute"]
        assert (use.count, use.shared_count) == (1, 1)
    (name,) = [n for n in host.unload("b").survivors if "descriptor" in n]
    assert name.endswith("(/dev/null), perhaps another's")
    os.close(descriptor[0])


def test_of_many_some_are_named(plugin_folder, make_host):
    """Twenty, and how many more there are."""
    source = (
        HEAD + "@hookimpl\ndef setup(host): host.kept = [open('/dev/null') for _ in range(50)]\n"
    )
    host = make_host(plugin_folder({"p.py": source}))
    host.load("p")
    survivors = host.unload("p").survivors
    assert len(survivors) == 21
    assert survivors[-1] == "30 more like these"
    for file in host.kept:
        file.close()


def test_asynchronous_executions_are_looked_at(plugin_folder, make_host):
    """From the first step to the last."""
    import asyncio

    source = HEAD + "@hookimpl\nasync def execute(payload): payload.append(open('/dev/null'))\n"
    host, kept = make_host(plugin_folder({"p.py": source}), track_resources=True), []
    host.load("p")
    asyncio.run(host.aexecute("p", kept))
    (use,) = [use for use in host.plugins["p"].resources if use.step == "execute"]
    assert (use.count, use.descriptors) == (1, 1)
    kept[0].close()


def test_exceptions_pass_through_all_of_it(plugin_folder, make_host):
    """Also those that mean something to Python, and a load that fails."""
    source = HEAD + "@hookimpl\ndef execute(payload): raise payload\n"
    host = make_host(plugin_folder({"p.py": source, "q.py": "1 / 0"}), track_resources=True)
    host.load_all()
    assert host.plugins["q"].state is PluginState.FAILED
    for error in (StopIteration(1), SystemExit(2), ValueError("x")):
        with pytest.raises(type(error)) as caught:
            host.execute("p", error)
        assert caught.value is error


@pytest.mark.parametrize("kind", LEAKS)
def test_the_doctor_names_it(plugin_folder, kind):
    """`pluginhost doctor --execute` tells what each execution takes and keeps."""
    manifest = "[plugins.leaky]\nentry = 'leaky:Leaky'\n"
    source = leaky("execute", kind)
    if kind == "children":
        source = source.replace("['sleep', '60']", "['sleep', '3']")
    folder = plugin_folder({"leaky.py": source, "clean.py": CLEAN, "pluginhost.toml": manifest})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pluginhost", "doctor", "--source", str(folder),
         "--execute", "8"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    text = " ".join(done.stdout.split())
    assert done.returncode == 1, done.stderr
    assert "! clean" not in text
    expected = {
        "descriptors": "4 descriptors",
        "threads": "4 threads",
        "children": "4 child processes",
        "memory_bytes": "MiB of memory (an estimate: what the whole process grew by)",
    }[kind]
    found = text.partition("! leaky takes and does not give back, in 4 executions")[2]
    assert expected in found, done.stdout


def test_the_doctor_finds_the_example(capfd):
    """`leaky` keeps 4 MiB of each file; the others take the same file, and keep nothing."""
    from pathlib import Path

    data = Path(__file__).parents[2] / "plugins_example" / "data" / "tides.csv"
    done = subprocess.run(
        [sys.executable, "-m", "pluginhost", "doctor", "checksum", "leaky", "digest",
         "--execute", "8", "--input", str(data)],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    found = [line for line in done.stdout.splitlines() if line.startswith("!")]
    assert found == ["! leaky  takes and does not give back, in 4 executions"], done.stdout
    assert "MiB of memory (an estimate" in done.stdout
