"""A profile goes on after the summary: to the end of pytest, and to the exit of its process."""

from __future__ import annotations

import atexit
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pluginhost.pytest_plugin.at_exit import AtExit
from pluginhost.pytest_plugin.notable import is_notable
from pluginhost.report import read_report
from pluginhost.suite import SuitePart, SuiteReport, Until

from .conftest import OURS, QUIET, Profiled, write_suite

PASSES = "def test_passes(): pass\n"


def launched(folder: Path, files: dict[str, str], *arguments: str) -> Profiled:
    """Run a suite in a process of its own, with a profile."""
    write_suite(folder, {"pytest.ini": "[pytest]\n", **files})
    saved = folder / "profile.json"
    words = [*QUIET, "-p", "no:hypothesispytest", *OURS, *arguments]
    words.append(f"--plugin-profile-json={saved}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=folder,
        env={
            k: v
            for k, v in os.environ.items()
            if k not in ("PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST")
        },
        capture_output=True,
        text=True,
        check=False,
    )
    report = read_report(saved) if saved.exists() else None
    return Profiled(done.returncode, done.stdout + done.stderr, report)


def adds_up(suite: SuiteReport) -> bool:
    return sum(each.self_ns for each in suite.parts) == suite.wall_ns


def self_ns(found: Profiled, hook: str) -> int:
    assert found.report is not None
    assert found.report.costs is not None
    return sum(row.self_ns for row in found.report.costs.hooks if row.hook == hook)


def test_what_plugins_do_at_the_end_is_theirs_and_said(profiled) -> None:
    """A slow `pytest_unconfigure` is in the file, and a line below pytest's last one names it."""
    found = profiled(
        {
            "conftest.py": "import time\ndef pytest_unconfigure(): time.sleep(0.8)\n",
            "test_a.py": PASSES,
        }
    )
    assert found.suite.until is Until.END
    assert adds_up(found.suite)
    assert self_ns(found, "pytest_unconfigure") >= 700_000_000
    said = found.out.partition("1 passed")[2]
    assert re.search(
        r"^pluginhost: \S+ m?s more until pytest had ended: pytest_unconfigure of\s+conftest\.py \d",
        said,
        re.MULTILINE,
    )
    assert max(map(len, said.splitlines())) <= 80


def test_the_end_is_said_without_files_too(profiled) -> None:
    """What the short section did not need is worked out where somebody is to be named."""
    files = {
        "conftest.py": "import time\ndef pytest_unconfigure(): time.sleep(0.8)\n",
        "test_a.py": PASSES,
    }
    said = profiled(files, "--plugin-profile", profile=False).out.partition("1 passed")[2]
    assert re.search(r"until pytest had ended: pytest_unconfigure of\s+conftest\.py \d", said)


def test_what_pytest_cleans_up_is_the_exit(profiled) -> None:
    """What comes after all hooks has a part of its own, with its CPU time."""
    found = profiled(
        {
            "conftest.py": """
                import time
                def pytest_configure(config): config.add_cleanup(lambda: time.sleep(0.8))
            """,
            "test_a.py": PASSES,
        }
    )
    part = found.suite.part(SuitePart.EXIT)
    assert part.self_ns >= 700_000_000
    assert part.cpu_ns is not None
    assert part.cpu_ns < part.self_ns
    assert adds_up(found.suite)
    assert "what pytest cleans up" in found.out


@pytest.mark.parametrize(
    ("later_ns", "elapsed_ns", "said"),
    [
        pytest.param(299_000_000, 100_000_000, False, id="short"),
        pytest.param(300_000_000, 6_000_000_000, True, id="a twentieth of the run"),
        pytest.param(300_000_000, 6_100_000_000, False, id="less of it"),
        pytest.param(1_000_000_000, 600_000_000_000, True, id="a second, whatever the run took"),
    ],
)
def test_nothing_is_said_of_an_end_that_nobody_notices(later_ns, elapsed_ns, said) -> None:
    """pytest's last line is the last one then."""
    assert is_notable(later_ns, elapsed_ns) is said


def test_a_thread_that_the_process_waits_for_is_named(tmp_path: Path) -> None:
    """The file goes to the exit of the process, and the line says what it was waiting for."""
    found = launched(
        tmp_path,
        {
            "test_a.py": """
                import threading
                def test_a():
                    main = threading.main_thread()
                    def linger():
                        main.join()
                        threading.Event().wait(0.8)
                    threading.Thread(target=linger, name="leftover\\x1b[31m").start()
            """
        },
    )
    assert found.suite.until is Until.EXIT
    assert found.part_ns(SuitePart.EXIT) >= 700_000_000
    assert adds_up(found.suite)
    said = " ".join(found.out.partition("1 passed")[2].split())
    assert re.search(
        r"pluginhost: \S+ m?s more until the process could exit: threads leftover", said
    )
    assert "linger" in said
    assert "\x1b" not in said


def test_exit_handlers_are_part_of_the_exit(tmp_path: Path) -> None:
    """Also those that were added before the tests; the sums hold for plugins as well."""
    found = launched(
        tmp_path,
        {
            "conftest.py": """
                import atexit, threading, time
                atexit.register(time.sleep, 0.6)
                threading.Thread(target=threading.main_thread().join, name="brief").start()
            """,
            "test_a.py": PASSES,
        },
    )
    assert found.suite.until is Until.EXIT
    assert found.part_ns(SuitePart.EXIT) >= 500_000_000
    assert found.report is not None
    costs = found.report.costs
    assert costs is not None
    rows_ns = costs.application.self_ns + sum(row.self_ns for row in costs.plugins)
    assert rows_ns + costs.measuring.total_ns + costs.unattributed_ns == costs.wall_ns
    assert costs.unattributed_ns >= 0
    assert "more until the process could exit: exit handlers" in found.out
    assert "brief" not in found.out  # it is waited for, but not long


def test_the_end_counts_for_a_baseline(profiled, tmp_path: Path) -> None:
    """A plugin that got slower after the summary fails the run, and is named last."""
    kept = f"{tmp_path}/base.json"

    def files(pause: float) -> dict[str, str]:
        text = f"import time\ndef pytest_unconfigure(): time.sleep({pause})\n"
        steady = "import time\ndef test_it(): time.sleep(0.05)\n"  # shows how little all else moved
        return {"conftest.py": text, **{f"test_{name}.py": steady for name in "abcdefghi"}}

    assert (
        profiled(files(0.01), f"--plugin-profile-save={kept}", "--plugin-profile-wall-only").code
        == 0
    )
    options = (f"--plugin-profile-baseline={kept}", "--plugin-profile-fail-over=50%")
    found = profiled(files(0.8), *options, "--plugin-profile-wall-only")
    assert found.code == 1
    assert re.search(r"^pluginhost: FAILED conftest\.py: ", found.out, re.MULTILINE)
    assert found.report is not None
    assert found.report.costs is not None
    assert found.report.costs.exit_code == 1


def test_a_plugin_that_raises_at_the_end_costs_no_file(profiled) -> None:
    """pytest's own behaviour stays, and the profile is whole."""
    files = {
        "conftest.py": "def pytest_unconfigure(): raise RuntimeError('at the end')\n",
        "test_a.py": PASSES,
    }
    with pytest.raises(RuntimeError, match="at the end") as bare:
        profiled(files, profile=False)
    with pytest.raises(RuntimeError, match="at the end") as found:
        profiled(files)
    assert found.traceback[-1].name == bare.traceback[-1].name == "pytest_unconfigure"
    suite = read_report(Path("profile.json")).suite
    assert suite is not None
    assert suite.until is Until.END


def test_a_process_that_ends_at_once_has_the_file_of_the_summary(tmp_path: Path) -> None:
    """`os._exit` is nothing that anybody is told of."""
    found = launched(
        tmp_path,
        {
            "conftest.py": "import os\ndef pytest_unconfigure(): os._exit(5)\n",
            "test_a.py": PASSES,
        },
    )
    assert found.code == 5
    assert found.suite.until is Until.SUMMARY
    assert found.suite.test_count == 1


def test_a_fork_does_not_write_what_is_its_parents(tmp_path: Path) -> None:
    """Exit handlers are called in a child as well; ours leaves the file alone."""
    found = launched(
        tmp_path,
        {
            "conftest.py": """
                import os, sys
                def pytest_unconfigure(config):
                    config.add_cleanup(fork)
                def fork():
                    os.environ["CHILD"] = ""
                    if os.fork() == 0:
                        sys.exit(0)
                    os.wait()
            """,
            "test_a.py": PASSES,
        },
    )
    assert found.code == 0
    assert found.suite.until is Until.EXIT
    assert found.report is not None
    assert found.report.environment.pid == found.report.costs.processes[0].pid


def test_a_suite_may_have_left_nothing_that_can_be_imported(tmp_path) -> None:
    """Then there is no profile, which is said in a line: pytest's own last words and code stay."""
    forbids = """
        import sys
        class Forbids:
            def find_spec(self, name, path=None, target=None):
                if name.startswith("pluginhost"): raise ImportError(f"{name} is forbidden")
        def pytest_sessionfinish(): sys.meta_path.insert(0, Forbids())
    """
    found = launched(tmp_path, {"conftest.py": forbids, "test_a.py": PASSES})
    assert found.code == 0
    assert "1 passed" in found.out
    assert "Traceback" not in found.out
    assert "could not be worked out: ImportError: pluginhost.pytest_plugin" in found.out


def test_none_of_our_modules_are_rewritten(tmp_path) -> None:
    """Most are imported after the tests, when who knows what is waiting for the collector."""
    lists = """
        import sys
        def loaders():
            for name, module in list(sys.modules.items()):
                yield name, type(getattr(getattr(module, "__spec__", None), "loader", None)).__name__
        def pytest_unconfigure(config):
            names = [n for n, kind in loaders() if kind == "AssertionRewritingHook"]
            print("rewritten:", *(name for name in names if name.startswith(("pluginhost", "test_"))))
    """
    found = launched(tmp_path, {"conftest.py": lists, "test_a.py": PASSES})
    said = re.search("^rewritten: (.*)", found.out, re.MULTILINE)
    assert said is not None
    ours = {name for name in said[1].split() if not name.startswith("test_")}
    assert "test_a" in said[1]
    assert ours <= {
        "pluginhost",
        "pluginhost.pytest_plugin",
        "pluginhost.pytest_plugin.asking",
        "pluginhost.pytest_plugin.options",
    }


def test_sessions_within_another_program_leave_nothing_to_its_exit(profiled) -> None:
    """Whoever calls `pytest.main()` may go on for long: the profile ends with pytest."""
    profiled({"test_a.py": PASSES})
    before = atexit._ncallbacks()  # those of libraries are there now
    found = profiled({"test_a.py": PASSES})
    assert atexit._ncallbacks() == before
    assert found.part_ns(SuitePart.STARTUP) == 0


def test_what_is_withdrawn_is_not_called() -> None:
    """Not even if a function was given before."""
    called: list[int] = []
    first, second = AtExit(), AtExit()
    first.then(called.append)
    second.then(called.append)
    first._call()  # not before exit handlers have begun
    assert called == []
    first._begin()
    second._begin()
    first._call()
    second.withdraw()
    second._call()
    assert len(called) == 1
    first.withdraw()


def test_cpu_time_is_that_of_the_whole_process(tmp_path) -> None:
    """It begins with the process, as wall time does: what came before the first conftest is in it."""
    files = {
        "conftest.py": """
            import pathlib, time
            pathlib.Path("used").write_text(str(time.process_time_ns()))
        """,
        "test_a.py": PASSES,
    }
    found = launched(tmp_path, files)
    suite = found.suite
    assert suite.cpu_ns > int((tmp_path / "used").read_text())
    assert suite.part(SuitePart.STARTUP).cpu_ns
    parts_ns = sum(each.cpu_ns or 0 for each in suite.parts)
    assert 0.9 * suite.cpu_ns < parts_ns < 1.01 * suite.cpu_ns  # two clocks are not read at once
