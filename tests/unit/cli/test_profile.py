"""`pluginhost profile`, run as its users run it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pluginhost.report import read_report

PROGRAM = '''
import sys
import time

import pluggy


class Spec:
    @pluggy.HookspecMarker("shop")
    def sell(self, item):
        """Sell an item."""


class Seller:
    @pluggy.HookimplMarker("shop")
    def sell(self, item):
        time.sleep(0.03)
        return item


manager = pluggy.PluginManager("shop")
manager.add_hookspecs(Spec)
manager.register(Seller(), "seller")
manager.register(Seller(), "\\x1b[31mred")
print(manager.hook.sell(item=sys.stdin.read()))
'''
Profile = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    """Return `profile(*words)`, which profiles in a folder with `shop.py`."""
    (tmp_path / "shop.py").write_text(PROGRAM)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pluginhost", "profile", *words]
        return subprocess.run(
            command,
            cwd=tmp_path,
            input="apple",
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"COLUMNS": "80"},
        )

    return run


def test_the_program_is_itself_and_the_report_follows(profile: Profile) -> None:
    """Its output stays on standard output; the report, in 80 columns, is on standard error."""
    done = profile("--", "shop.py")
    assert done.stdout == "['apple', 'apple']\n"
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert lines[0].startswith("shop.py: ")
    assert "(shop itself)" in done.stderr
    assert any(line.split()[-1] == "100.0" for line in lines if line.startswith("the whole run"))
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("code", "expected"),
    [("raise SystemExit(7)", 7), ("1 / 0", 1), ("import os; os.kill(os.getpid(), 15)", -15)],
)
def test_the_exit_is_the_programs(
    profile: Profile, tmp_path: Path, code: str, expected: int
) -> None:
    """Exit codes and the signal that ended it are passed on, after the report."""
    with (tmp_path / "shop.py").open("a") as file:
        file.write(code)
    done = profile("shop.py")
    assert done.returncode == expected
    assert "the whole run" in done.stderr
    if expected < 0:
        assert signal.Signals(-expected) is signal.SIGTERM
        assert "(signal 15)" in done.stderr


def test_a_module_is_run_as_python_does(profile: Profile) -> None:
    """`-m` needs no `--`, and stands after it as well."""
    for words in (["-m", "shop", "--", "x"], ["--", "-m", "shop", "x"]):
        done = profile(*words)
        assert done.stdout == "['apple', 'apple']\n"
        assert done.stderr.startswith("-m shop x: ")


def test_files_are_written(profile: Profile, tmp_path: Path) -> None:
    """The text to a file, the run to another, its JSON to a third; nothing on standard error."""
    done = profile(
        "--output", "text.txt", "--save", "run.json", "--json", "all.json", "--", "shop.py"
    )
    assert done.stderr == ""
    assert "the whole run" in (tmp_path / "text.txt").read_text()
    report = read_report(tmp_path / "run.json")
    assert report.costs is not None
    assert {row.name for row in report.costs.plugins} == {"seller", "\\x1b[31mred"}
    assert json.loads((tmp_path / "all.json").read_text())["costs"]["exit_code"] == 0
    again = subprocess.run(
        [sys.executable, "-m", "pluginhost", "report", "run.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout == (tmp_path / "text.txt").read_text()


def test_a_page_is_written(profile: Profile, tmp_path: Path) -> None:
    """That needs nothing else, about the program that was run."""
    done = profile("--html", "page.html", "--", "shop.py")
    assert done.returncode == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "shop.py" in page


def test_the_nesting_is_written_for_speedscope(profile: Profile, tmp_path: Path) -> None:
    """Whole paths of calls with their self times, which add up to the run."""
    done = profile("--speedscope", "nested.json", "--json", "all.json", "--", "shop.py")
    assert done.returncode == 0
    found = json.loads((tmp_path / "nested.json").read_text())
    names = [frame["name"] for frame in found["shared"]["frames"]]
    assert "seller:sell" in names
    (nested,) = found["profiles"]
    costs = json.loads((tmp_path / "all.json").read_text())["costs"]
    assert sum(nested["weights"]) == pytest.approx(costs["wall_ns"], rel=0.01)
    deepest = max(nested["samples"], key=len)
    assert names[deepest[0]] == "shop.py"


def test_hooks_and_cpu_on_request(profile: Profile) -> None:
    """`--hooks` expands each plugin, `--wall-only` leaves CPU out, `--top` folds the rest."""
    done = profile("--hooks", "--wall-only", "--top", "1", "--", "shop.py")
    assert "Hooks, by plugin" in done.stderr
    assert "(1 more plugin)" in done.stderr
    assert "no CPU time" not in done.stderr


def test_verify_tells_the_saving_beside_the_prediction(profile: Profile, tmp_path: Path) -> None:
    """Runs with and without the plugin, in turn; the report keeps both figures."""
    done = profile("--verify", "seller", "--rounds", "6", "--save", "run.json", "--", "shop.py")
    assert done.returncode == 0
    assert "Verified: seller, 6 pairs of runs with and without" in done.stderr
    found = read_report(tmp_path / "run.json").verification
    assert found is not None
    assert len(found.with_ns) == len(found.without_ns) == 6
    assert found.predicted_ns is not None
    assert found.predicted_ns > 20_000_000
    assert found.low_ns <= found.saved_ns <= found.high_ns


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["nothing-like-this"], "there is no program", id="not found"),
        pytest.param(["-m"], "Option '-m' requires an argument", id="no module"),
        pytest.param(["sh", "-c", "true"], "is not a Python program", id="not Python"),
        pytest.param(["python", "-I", "shop.py"], "cannot be observed", id="isolated"),
        pytest.param(["--save", "no/such/folder/f", "shop.py"], "cannot be written", id="folder"),
        pytest.param([], "Missing argument 'PROGRAM...'", id="nothing"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    profile: Profile, words: list[str], said: str
) -> None:
    """One message that says what to do, exit code 2, no traceback, nothing printed by the program."""
    done = profile(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_plugin_that_is_not_there_cannot_be_verified(profile: Profile) -> None:
    """Names that are spelt alike are suggested; the run that was made is reported all the same."""
    done = profile("--verify", "sellr", "--", "shop.py")
    assert done.returncode == 2
    assert "did you mean 'seller'?" in done.stderr
    assert "the whole run" in done.stderr
    assert "more runs" not in done.stderr  # there are none


SUITE = {
    "dear_plugin.py": "import time\ntime.sleep(0.4)\ndef pytest_sessionstart(): pass\n",
    "test_it.py": "def test_it(): pass\n",
    "pytest.ini": "[pytest]\n",
}
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a suite and a plugin that is dear to import."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name, text in SUITE.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("words", [["-p", "dear_plugin"], ["-pdear_plugin"]])
def test_a_plugin_that_was_asked_for_by_name_is_verified_without_the_name(
    profile: Profile, suite: Path, words: list[str]
) -> None:
    """`-p no:NAME` would leave it imported, so what was predicted would never be saved."""
    found = suite / "run.json"
    wanted = ["--verify", "dear_plugin", "--rounds", "2", "--save", str(found)]
    done = profile(*wanted, "--", *PYTEST, *words)
    assert done.returncode == 0, done.stderr
    assert "leaving out -p dear_plugin would save" in " ".join(done.stderr.split())
    report = read_report(found)
    assert report.costs is not None
    row = next(row for row in report.costs.plugins if row.name == "dear_plugin")
    assert row.remedy == "leave out -p dear_plugin"
    assert report.verification is not None
    assert report.verification.method == "leaving out -p dear_plugin"
    assert report.verification.predicted_ns is not None
    assert report.verification.saved_ns > report.verification.predicted_ns / 2


def test_a_name_in_the_configuration_cannot_be_left_out_of_a_run(
    profile: Profile, suite: Path
) -> None:
    """What cannot be verified is told, with how it can be, before anything runs again."""
    (suite / "pytest.ini").write_text("[pytest]\naddopts = -p dear_plugin\n")
    done = profile("--verify", "dear_plugin", "--", *PYTEST)
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "'-p dear_plugin' is not in the command, but in addopts" in said
    assert "put it into the command" in said
    assert "more runs" not in said


def test_without_a_plugin_manager_the_report_says_so(profile: Profile, tmp_path: Path) -> None:
    """A program that does not use pluggy is one row."""
    (tmp_path / "plain.py").write_text("print('plain')")
    done = profile("plain.py")
    assert done.stdout == "plain\n"
    assert "no plugin but the application's own was registered" in done.stderr


WAITS = """
import pathlib, time
pathlib.Path("there").touch()
time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="a terminal's Ctrl-C goes to a process group")
def test_ctrl_c_ends_the_program_and_the_report_follows(profile: Profile, tmp_path: Path) -> None:
    """As at a terminal, everybody gets it: the program ends as it does, and we report and do so too."""
    with (tmp_path / "shop.py").open("a") as file:
        file.write(WAITS)
    heard = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    heard += " os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    with subprocess.Popen(
        [sys.executable, "-c", heard, "-m", "pluginhost", "profile", "--", "shop.py"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while not (tmp_path / "there").exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        output, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert output == "['', '']\n"
    assert said.count("Traceback") == 1
    assert re.search(r"time\.sleep\(60\)\n(?:[ ~^]+\n)?KeyboardInterrupt\n", said), said
    assert "shop.py: " in said
    assert "(signal 2)" in said
    assert "seller " in said
    assert "the whole run" in said


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        pytest.param("import os; os._exit(4)", 4, "exit code 4 (os._exit)", id="os._exit"),
        pytest.param("import os; os.kill(os.getpid(), 9)", -9, "Error: nothing", id="SIGKILL"),
        pytest.param("import os\nif os.fork(): os.wait()", 0, "use --follow", id="fork"),
    ],
)
def test_what_was_measured_is_reported_with_what_is_missing(
    profile: Profile, tmp_path: Path, code: str, exit_code: int, said: str
) -> None:
    """However a program ends; what a killed one did in its first second is said to be lost."""
    with (tmp_path / "shop.py").open("a") as file:
        file.write(f"sys.stdout.flush()\n{code}\n")
    done = profile("--", "shop.py")
    assert done.returncode == exit_code
    assert done.stdout == "['apple', 'apple']\n"
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
