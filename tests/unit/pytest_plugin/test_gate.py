"""Two runs of one suite: what has got slower fails, whatever the machine does, and nothing else."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from pluginhost.costs import (
    HookCost,
    PluginCost,
    PluginKind,
)
from pluginhost.histogram import DurationHistogram
from pluginhost.pytest_plugin.gate import Judgement, judged
from pluginhost.report import Report, write_report
from pluginhost.suite import (
    FileCost,
    FixtureCost,
    PartCost,
    SuitePart,
    SuiteReport,
    SuiteTests,
    WorkerCost,
)
from tests.examples import examples
from tests.unit.reports import report_of

MS = 1_000_000
CALLS = 20
PLUGINS = {f"p{number}": 60 + 40 * number for number in range(8)}  # ms to import
PARTS = ("startup", "pytest", "collection", "reporting")


def run(
    *,
    slow: str = "",
    times: float = 3.0,
    level: float = 1.0,
    noise: float = 0.0,
    waits: bool = False,
    seed: int = 0,
    workers: int = 0,
    idle_ms: int = 0,
) -> Report:
    """Return a run in which `slow` takes so many `times` as long, on a machine with `noise`."""
    random = Random(seed)

    def ns(name: str, ms: float) -> tuple[int, int]:
        """Return wall and CPU time: what is on the CPU is kept waiting, more or less."""
        cpu = min(1.0, level) * random.uniform(1, 1 + noise / 3)
        kept = max(1.0, level) * random.uniform(1, 1 + 2 * noise)
        factor = times if name == slow else 1.0
        if waits and name == slow:
            return round(ms * MS * (cpu * kept + factor - 1)), round(ms * MS * cpu)
        return round(ms * factor * MS * cpu * kept), round(ms * factor * MS * cpu)

    def histogram(ns: int) -> tuple[tuple[int, int], ...]:
        found = DurationHistogram()
        found.add_all([round(ns / CALLS * random.uniform(0.97, 1.03)) for _ in range(CALLS)])
        return found.buckets()

    plugins, hooks = [], []
    for name, ms in PLUGINS.items():
        imported, called = ns(f"import {name}", ms), ns(f"hook {name}", 80)
        hooks.append(
            HookCost(
                plugin=name,
                hook="pytest_runtest_setup",
                style="function",
                calls=CALLS,
                inclusive_ns=called[0],
                self_ns=called[0],
                cpu_ns=called[1],
                histogram=histogram(called[0]),
            )
        )
        plugins.append(
            PluginCost(
                name=name,
                kind=PluginKind.INSTALLED,
                import_ns=imported[0],
                hooks_self_ns=called[0],
                self_ns=imported[0] + called[0],
                cpu_ns=imported[1] + called[1],
            )
        )
    if workers:
        plugins.append(
            PluginCost(
                name="xdist",
                kind=PluginKind.INSTALLED,
                distribution="pytest-xdist",
                self_ns=(idle_ms + 20) * MS,
                cpu_ns=15 * MS,
            )
        )
    database, session, body = ns("fixture", 100), ns("session", 300), ns("file", 120)
    loading, conftest = ns("import of file", 90), ns("conftest", 140)
    plugins.append(
        PluginCost(
            name="conftest.py",
            kind=PluginKind.CONFTEST,
            import_ns=conftest[0],
            self_ns=conftest[0],
            cpu_ns=conftest[1],
        )
    )
    parts = [(SuitePart(name), *ns(name, 200)) for name in PARTS]
    parts += [(SuitePart.IDLE, idle_ms * MS, 0)]
    wall_ns = sum(row.self_ns for row in plugins) + database[0] + session[0] + body[0] + loading[0]
    wall_ns += sum(each[1] for each in parts if each[0] is not SuitePart.IDLE)
    suite = SuiteReport(
        pytest="9",
        wall_ns=wall_ns,
        elapsed_ns=wall_ns,
        cpu_ns=wall_ns,
        parts=tuple(PartCost(part=part, self_ns=wall, cpu_ns=cpu) for part, wall, cpu in parts),
        tests=SuiteTests(
            ids=tuple(f"test_a.py::test[{number}]" for number in range(CALLS)),
            files=(0,) * CALLS,
            cpu_ns=(body[1] // CALLS,) * CALLS,
        ),
        files=(
            FileCost(
                path="test_a.py",
                tests_ns=body[0],
                import_ns=loading[0],
                import_cpu_ns=loading[1],
                histogram=histogram(body[0]),
            ),
            FileCost(
                path="conftest.py", conftest=True, import_ns=conftest[0], import_cpu_ns=conftest[1]
            ),
        ),
        fixtures=(
            FixtureCost(
                name="db",
                scope="function",
                defined_in="conftest.py",
                setups=CALLS,
                self_ns=database[0],
                cpu_ns=database[1],
                histogram=histogram(database[0]),
            ),
            FixtureCost(
                name="once",
                scope="session",
                defined_in="conftest.py",
                setups=1,
                self_ns=session[0],
                cpu_ns=session[1],
            ),
        ),
        workers=tuple(WorkerCost(id=f"gw{number}") for number in range(workers)),
    )
    return report_of("pytest", plugins, hooks, wall_ns=wall_ns, suite=suite)


def between(folder: Path, before: Report, after: Report, *, share: float = 0.1) -> Judgement:
    write_report(before, folder / "base.json")
    return judged(after, folder / "base.json", share)


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 10**6), st.floats(0.3, 4.0), st.floats(0.0, 0.5))
def test_an_unchanged_suite_passes_whatever_the_machine_does(
    tmp_path_factory: pytest.TempPathFactory, seed: int, level: float, noise: float
) -> None:
    """Three times slower or faster, everything up to half apart: nobody is named."""
    folder = tmp_path_factory.mktemp("gate")
    after = run(level=level, noise=noise, seed=seed)
    assert not between(folder, run(noise=noise, seed=seed + 1), after).culprits


@pytest.mark.parametrize("level", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(
    ("slow", "named"),
    [
        pytest.param("import p4", "p4", id="import"),
        pytest.param("hook p4", "p4", id="hook"),
        pytest.param("fixture", "fixture db (conftest.py)", id="fixture"),
        pytest.param("session", "fixture once (conftest.py)", id="fixture of the session"),
        pytest.param("file", "file test_a.py", id="file"),
        pytest.param("import of file", "file test_a.py", id="import of a file"),
        pytest.param("conftest", "conftest.py", id="import of a conftest"),
    ],
)
def test_what_is_really_slower_fails(tmp_path: Path, slow: str, named: str, level: float) -> None:
    """It computes three times as long: it alone is named, on any machine, noisy as that may be."""
    found = between(tmp_path, run(noise=0.2), run(slow=slow, level=level, noise=0.2, seed=1))
    assert [each.name for each in found.culprits] == [named]
    moved = any("judged against that" in note for note in found.notes)
    assert ("% against most things, " in found.culprits[0].why) is moved


def test_what_waits_is_slower_on_a_slow_machine_too(tmp_path: Path) -> None:
    """How fast a machine is has nothing to do with how long a hook sleeps."""
    after = run(slow="hook p4", times=20, waits=True, level=3.0, noise=0.4, seed=1)
    found = between(tmp_path, run(noise=0.4), after)
    assert [each.name for each in found.culprits] == ["p4"]


def test_on_a_quiet_machine_the_share_is_enough(tmp_path: Path) -> None:
    """A fifth more of a fixture fails at 10 %, and passes at 50 %."""
    runs = run(noise=0.01), run(slow="fixture", times=1.5, noise=0.01, seed=1)
    assert [each.name for each in between(tmp_path, *runs).culprits] == ["fixture db (conftest.py)"]
    assert not between(tmp_path, *runs, share=0.8).culprits


def test_what_nobody_waits_for_does_not_fail(tmp_path: Path) -> None:
    """Twice as slow, but a hundredth of the run it is not."""
    grown = run(slow="fixture", times=1.2, noise=0.0)
    assert not between(tmp_path, run(), grown).culprits


def test_another_number_of_processes_is_told(tmp_path: Path) -> None:
    """Plugins are in each process and are not compared; fixtures are."""
    after = run(workers=2, idle_ms=5000, slow="import p4")
    found = between(tmp_path, run(), after)
    assert not found.culprits
    assert any(note.startswith("1 process -> 2: plugins, and what") for note in found.notes)
    slower = run(workers=2, idle_ms=5000, slow="fixture")
    named = [each.name for each in between(tmp_path, run(), slower).culprits]
    assert named == ["fixture db (conftest.py)"]


def test_waiting_for_workers_is_nobodys(tmp_path: Path) -> None:
    """A run whose workers take longer does not make pytest-xdist slower."""
    runs = run(workers=2, idle_ms=100), run(workers=2, idle_ms=9000)
    assert not between(tmp_path, *runs).culprits


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        pytest.param(CALLS - 1, "0 tests are new, 1 test is gone", id="one"),
        pytest.param(CALLS - 2, "0 tests are new, 2 tests are gone", id="two"),
    ],
)
def test_new_tests_are_told_in_words(tmp_path: Path, ids: int, said: str) -> None:
    """With the right plural."""
    after = run()
    assert after.suite is not None
    fewer = msgspec.structs.replace(after.suite.tests, ids=after.suite.tests.ids[:ids])
    suite = msgspec.structs.replace(after.suite, tests=fewer)
    found = between(tmp_path, run(), msgspec.structs.replace(after, suite=suite))
    assert said in found.notes
