"""Programs that run as they are, and what is recorded of them whatever ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pluginhost.costs import CostReport
from pluginhost.launcher.plan import plan_of
from pluginhost.launcher.running import Outcome, costs, observed, unobserved

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and forks are POSIX")

Run = Callable[..., tuple[Outcome, CostReport]]


@pytest.fixture
def run(shop: Path) -> Run:
    """Return `run(code, *arguments)`: the outcome of a program of this code, and its costs."""

    def run(code: str, *arguments: str, follow: bool = False) -> tuple[Outcome, CostReport]:
        (shop / "program.py").write_text(code, encoding="utf-8")
        plan = plan_of(["program.py", *arguments])
        outcome = observed(plan, follow=follow)
        return outcome, costs(plan, outcome)

    return run


def calls_of(report: CostReport, plugin: str) -> int:
    return sum(row.calls for row in report.plugins if row.name == plugin)


def adds_up(report: CostReport) -> bool:
    parts = report.application.self_ns + report.measuring.total_ns + report.unattributed_ns
    return parts + sum(row.self_ns for row in report.plugins) == report.wall_ns


BARE = """
import os, sys, threading, traceback
if "sitecustomize" in sys.modules:
    print(sys.modules["sitecustomize"])
print(__name__, __file__, __package__, sorted(globals()))
print(__spec__ and (__spec__.name, __spec__.origin))
print(sys.argv, sys.orig_argv, sys.path, sys.flags, sys.warnoptions)
print(sorted((k, v) for k, v in os.environ.items() if k != "_"))
print([t.name for t in threading.enumerate()], sys.stdin.read(), os.getcwd())
print(sys.excepthook is sys.__excepthook__, sys.gettrace(), sys.getprofile())
print("out"); print("err", file=sys.stderr)
"""


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param("", id="its end"),
        pytest.param("sys.exit(3)", id="a code"),
        pytest.param("sys.exit('a text')", id="a text"),
        pytest.param("def f(): 1 / 0\nf()", id="an exception"),
        pytest.param("raise KeyboardInterrupt", id="an interrupt"),
        pytest.param("os.kill(os.getpid(), 15)", id="a signal"),
        pytest.param("os._exit(4)", id="os._exit"),
        pytest.param("import absent", id="a failed import"),
    ],
)
@pytest.mark.parametrize("path", [pytest.param(None, id="no path"), pytest.param(".", id="path")])
def test_a_program_sees_and_does_what_it_does_without_us(
    shop: Path, ending: str, path: str | None
) -> None:
    """Its arguments, modules, environment, input, output, traceback and exit status are its own."""
    (shop / "program.py").write_text(BARE + ending, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "COLUMNS")}
    if path is not None:
        environment["PYTHONPATH"] = path
    watched = (
        "import sys; from pluginhost.launcher.plan import plan_of;"
        " from pluginhost.launcher.running import observed;"
        " outcome = observed(plan_of(sys.argv[1:])); assert outcome.captures;"
        " print(outcome.returncode)"
    )
    words = ["program.py", "-x", "y z"]
    bare, ours = (
        subprocess.run(
            [sys.executable, *before, *words],
            input="typed",
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        for before in ([], ["-c", watched])
    )
    assert ours.stdout == f"{bare.stdout}{bare.returncode}\n"
    assert ours.stderr == bare.stderr


def test_a_module_sees_what_it_sees_without_us(shop: Path) -> None:
    """With `-m`, too, the module is `__main__` and tracebacks are those of Python."""
    (shop / "program.py").write_text(BARE + "1 / 0", encoding="utf-8")
    words = [sys.executable, "-m", "program"]
    bare = subprocess.run(words, input="", capture_output=True, text=True, check=False)
    watched = (
        "from pluginhost.launcher.plan import plan_of;"
        " from pluginhost.launcher.running import observed;"
        f" observed(plan_of({words!r}))"
    )
    ours = subprocess.run(
        [sys.executable, "-c", watched], input="", capture_output=True, text=True, check=False
    )
    assert (ours.stdout, ours.stderr) == (bare.stdout, bare.stderr)
    assert "runpy" in ours.stderr


def test_a_site_customization_is_still_there(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `sitecustomize` of the environment is imported, and is the one that programs see."""
    monkeypatch.setenv("PYTHONPATH", str(shop))
    (shop / "sitecustomize.py").write_text("import builtins; builtins.custom = True")
    program = "import sitecustomize, sys; sys.exit(f'{custom} {sitecustomize.__file__}')"
    (shop / "program.py").write_text(program)
    words = [sys.executable, "program.py"]
    bare = subprocess.run(words, capture_output=True, text=True, check=False)
    assert bare.stderr == f"True {shop}/sitecustomize.py\n"
    (shop / "program.py").write_text(program.replace("sys.exit", "open('said', 'w').write"))
    assert observed(plan_of(words)).returncode == 0
    assert (shop / "said").read_text() == bare.stderr.strip()


def test_plugins_of_a_program_are_found_and_the_rows_add_up(run: Run) -> None:
    """A manager that is local to a function is caught before its first plugin."""
    outcome, report = run("import shop; shop.main()", "x")
    assert outcome.missing == ()
    assert report.exit_code == 0
    assert [calls_of(report, name) for name in ("thrifty", "lavish")] == [3, 3]
    assert report.plugins[0].name == "lavish"
    assert all(row.import_ns > 0 for row in report.plugins)
    assert adds_up(report)
    assert report.unattributed_ns > 0
    assert report.command == ("program.py", "x")


SUBCLASS = """
import pluggy, shop, thrifty

class Manager(pluggy.PluginManager):
    def __init__(self, project):
        super().__init__(project)
        self.add_hookspecs(shop.Spec)
        self.register(thrifty)

Manager("shop").hook.sell(item=1)
"""


def test_a_manager_that_registers_while_it_is_made_is_caught(run: Run) -> None:
    """Subclasses may register plugins in their `__init__`, as pytest's does."""
    _, report = run(SUBCLASS)
    assert calls_of(report, "thrifty") == 1


HOSTILE = """
import pluggy, shop, thrifty, lavish

class Plugin:
    @pluggy.HookimplMarker("shop")
    def sell(self, item): pass

class Quiet: pass

manager = pluggy.PluginManager("shop")
manager.add_hookspecs(shop.Spec)
plugin = Plugin()
manager.register(plugin, "\\x1b[31m\\n" + 10_000 * "x" + "\\ud800")
for name in (None, "twice"):
    try: manager.register(plugin, name)
    except ValueError as error: print(type(error))
manager.register(Plugin(), None)
manager.register(Plugin(), "")
manager.register(None, "nothing")
manager.set_blocked("blocked")
manager.register(Quiet(), "blocked")
manager.hook.sell(item=1)
"""


def test_hostile_registrations_are_recorded(run: Run) -> None:
    """Plugins registered twice, without names, with names that terminals obey: all have a row."""
    outcome, report = run(HOSTILE)
    assert (outcome.returncode, outcome.missing) == (0, ())
    assert sum(row.calls for row in report.plugins) == 3
    assert all(row.name.isprintable() and len(row.name) <= 500 for row in report.plugins)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(
    ("ending", "returncode", "ended"),
    [
        pytest.param("", 0, "exit", id="its end"),
        pytest.param("import os; os._exit(7)", 7, "os._exit", id="os._exit"),
        pytest.param("import os; os.kill(os.getpid(), 15)", -15, "signal 15", id="SIGTERM"),
        pytest.param("import os; os.kill(os.getpid(), 1)", -1, "signal 1", id="SIGHUP"),
        pytest.param("import os; os.kill(os.getpid(), 2)", -2, "signal 2", id="SIGINT"),
        pytest.param("import os; os.abort()", None, None, id="os.abort"),
    ],
)
def test_whatever_ends_a_program_what_was_recorded_is_kept(
    request: pytest.FixtureRequest,
    shop: Path,
    ending: str,
    returncode: int | None,
    ended: str | None,
) -> None:
    """The record is left at the end, or it is said that there is none."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored, and inherited so, under nohup
    request.addfinalizer(lambda: signal.signal(signal.SIGHUP, before))
    (shop / "program.py").write_text(f"import shop; shop.main()\n{ending}")
    plan = plan_of(["program.py"])
    outcome = observed(plan)
    if returncode is None:
        assert outcome.returncode == -signal.SIGABRT
        assert outcome.captures == ()
        assert "nothing was recorded: the program ended by signal 6" in outcome.missing[0]
        return
    report = costs(plan, outcome)
    assert (outcome.returncode, report.ended) == (returncode, ended)
    assert report.exit_code == (returncode if returncode >= 0 else 128 - returncode)
    assert calls_of(report, "lavish") == 3
    assert adds_up(report)
    assert outcome.missing == ()


KILLED = """
import os, signal, time
import pluggy, shop, thrifty
manager = pluggy.PluginManager("shop")
manager.add_hookspecs(shop.Spec)
manager.register(thrifty)
begun = time.monotonic()
while time.monotonic() < begun + 2.5:
    manager.hook.sell(item=1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_program_loses_only_the_end(run: Run) -> None:
    """While it works, what is known is kept every now and then; what is missing is said."""
    outcome, report = run(KILLED)
    assert (outcome.returncode, report.ended) == (-9, "signal 9")
    assert calls_of(report, "thrifty") > 0
    assert adds_up(report)
    assert "the program was ended by signal 9 without notice: the last" in report.incomplete[0]


def test_a_failed_recording_does_not_harm_the_program(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that pulls the ground from under us still ends as it wants."""
    (shop / "program.py").write_text(
        "import atexit, msgspec, sys\nmsgspec.msgpack.encode = None\nsys.exit(5)"
    )
    outcome = observed(plan_of(["program.py"]))
    assert outcome.returncode == 5
    assert "the recording failed in process" in outcome.missing[1]


FORKS = """
import os, shop
if os.fork() == 0:
    shop.main()
    os._exit(0)
os.wait()
shop.main()
"""


@pytest.mark.parametrize(("follow", "calls"), [(False, 3), (True, 6)])
def test_forked_children_are_recorded_if_wanted(run: Run, follow: bool, calls: int) -> None:
    """A forked child leaves its parent's record alone, and has its own only with follow."""
    _, report = run(FORKS, follow=follow)
    assert calls_of(report, "lavish") == calls
    assert len(report.processes) == (2 if follow else 1)
    assert adds_up(report)
    assert any("forked 1 time" in note for note in report.notes) is not follow


CHILDREN = """
import multiprocessing, subprocess, sys
import shop
if __name__ == "__main__":
    if sys.argv[1] == "subprocess":
        subprocess.run([sys.executable, "shop.py"], check=True)
    else:
        process = multiprocessing.get_context(sys.argv[1]).Process(target=shop.main)
        process.start()
        process.join()
        # Both outlive us, unless they are told to stop:
        from multiprocessing import forkserver, resource_tracker
        forkserver._forkserver._stop()
        resource_tracker._resource_tracker._stop()
"""


@pytest.mark.parametrize("way", ["subprocess", "fork", "spawn", "forkserver"])
def test_python_children_are_followed(run: Run, way: str) -> None:
    """However a child process is started, its plugins are in the report."""
    outcome, report = run(CHILDREN, way, follow=True)
    assert outcome.returncode == 0
    assert calls_of(report, "lavish") == 3
    assert len(report.processes) == (3 if way == "forkserver" else 2)  # the server is one, too
    assert report.processes[0].parent_pid == os.getpid()
    assert report.elapsed_ns == outcome.wall_ns
    assert adds_up(report)


def test_children_are_left_alone_otherwise(run: Run) -> None:
    """Without follow, a child sees nothing of us in its environment."""
    _, report = run(CHILDREN, "subprocess")
    assert calls_of(report, "lavish") == 0
    assert len(report.processes) == 1


REPLACED = "import os, sys; os.execv(sys.executable, [sys.executable, 'shop.py'])"


def test_a_program_that_replaces_itself(run: Run) -> None:
    """With follow both programs are recorded, without it is said what is missing."""
    _, report = run(REPLACED, follow=True)
    assert calls_of(report, "lavish") == 3
    assert [process.ended for process in report.processes] == ["exec", "exit"]
    _, report = run(REPLACED)
    assert calls_of(report, "lavish") == 0
    assert "replaced itself" in report.incomplete[0]


WAITING = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: open("heard", "w").close())
open("there", "w").close()
while not os.path.exists("heard"):
    time.sleep(0.01)
"""


def test_signals_are_passed_on(shop: Path) -> None:
    """A SIGTERM that is meant for the program is handled by it, and we wait."""
    (shop / "program.py").write_text(WAITING)

    def send() -> None:
        while not (shop / "there").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    before = signal.getsignal(signal.SIGTERM)
    outcome = observed(plan_of(["program.py"]))
    sender.join()
    assert outcome.returncode == 0
    assert (shop / "heard").exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_unobserved_runs_block_plugins_and_nothing_else(shop: Path) -> None:
    """A blocked plugin is registered by no manager of the project; no input, no output."""
    program = "import shop, sys\nshop.print = lambda found: open('said', 'a').write(f'{found}')\n"
    (shop / "program.py").write_text(program + "shop.main(); assert not sys.stdin.read()")
    for blocked in (None, (), (("shop", "lavish"),), (("other", "lavish"),)):
        assert unobserved([sys.executable, "program.py"], blocked=blocked).returncode == 0
    both, one = "[[0, 0], [1, 1], [2, 2]]", "[[0], [1], [2]]"
    assert (shop / "said").read_text() == both + both + one + both


TWO_PROJECTS = """
import pluggy, shop, thrifty, lavish

library = pluggy.PluginManager("library")
library.register(lavish, "thrifty")
manager = pluggy.PluginManager("shop")
manager.add_hookspecs(shop.Spec)
manager.register(thrifty, "thrifty")
manager.register(lavish, "lavish")
manager.hook.sell(item=1)
"""


def test_a_second_manager_may_be_the_one_that_matters(run: Run) -> None:
    """A program is called after its largest manager; only names that are taken get longer."""
    _, report = run(TWO_PROJECTS)
    assert report.application.name == "shop"
    calls = {row.name: row.calls for row in report.plugins}
    assert calls == {"thrifty": 1, "lavish": 1, "library/thrifty": 0}
    assert adds_up(report)


BROKEN_PLUGINS = """
import sys
import pluggy

spec, impl = pluggy.HookspecMarker("shop"), pluggy.HookimplMarker("shop")


class Spec:
    @spec
    def sell(self, item): pass

    @spec
    def buy(self, item): pass


class Twice:
    @impl(wrapper=True)
    def sell(self, item):
        yield
        yield

    @impl(hookwrapper=True)
    def buy(self, item):
        yield
        yield


class Exits:
    @impl
    def sell(self, item):
        if item:
            raise SystemExit(9)


manager = pluggy.PluginManager("shop")
manager.add_hookspecs(Spec)
manager.register(Twice(), "twice")
for call in (manager.hook.sell, manager.hook.buy):
    try:
        call(item=0)
    except RuntimeError as error:
        print(error)
manager.unregister(name="twice")
manager.register(Exits(), "exits")
manager.hook.sell(item=1)
"""


def test_plugins_that_break_the_rules_do_so_as_without_us(
    run: Run, shop: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A wrapper that yields twice is refused in pluggy's words; SystemExit ends the program."""
    outcome, report = run(BROKEN_PLUGINS)
    ours = capfd.readouterr()
    bare = subprocess.run(
        [sys.executable, "program.py"], capture_output=True, text=True, check=False
    )
    assert (outcome.returncode, ours.out, ours.err) == (9, bare.stdout, bare.stderr)
    assert bare.returncode == 9
    assert bare.stdout.count("has second yield") == 2
    rows = {row.name: row for row in report.plugins}
    assert (rows["twice"].calls, rows["exits"].calls) == (2, 1)
    assert rows["exits"].errors == 1
    assert adds_up(report)
