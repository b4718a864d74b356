"""Cost reports as text: who is to blame first, rows that add up, nothing hostile, 80 columns."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given, strategies as st

from pluginhost.costs import (
    ApplicationCost,
    Candidate,
    CostReport,
    FlameGraphNode,
    HookCost,
    ImportCost,
    MeasuringCost,
    PluginCost,
    PluginKind,
    ProcessCost,
    Verification,
)
from pluginhost.figures import apportioned
from pluginhost.printable import width_of
from pluginhost.rendering.costs import cost_lines, cost_text, verification_lines
from pluginhost.rendering.lines import plain

MS = 1_000_000
STYLES = {"title", "head", "bad", "good", "dim", "bar", ""}


def plugin(name: str, import_ms: int, hooks_ms: int, /, **more: object) -> PluginCost:
    known: dict[str, object] = {
        "name": name,
        "kind": PluginKind.INSTALLED,
        "distribution": f"pytest-{name}",
        "version": "1.2",
        "parts": (name,),
        "calls": 30,
        "import_ns": import_ms * MS,
        "import_saved_ns": import_ms * MS,
        "hooks_inclusive_ns": hooks_ms * MS,
        "hooks_self_ns": hooks_ms * MS,
        "self_ns": (import_ms + hooks_ms) * MS,
        "cpu_ns": (import_ms + hooks_ms) * MS,
        "share": (import_ms + hooks_ms) / 1000,
        "saving_ns": (import_ms + hooks_ms) * MS,
        "remedy": f"-p no:{name}",
    }
    return msgspec.convert(known | more, PluginCost)


def hook(plugin: str, name: str, self_ms: int, **more: object) -> HookCost:
    known: dict[str, object] = {
        "plugin": plugin,
        "hook": name,
        "style": "function",
        "calls": 10,
        "inclusive_ns": self_ms * MS,
        "self_ns": self_ms * MS,
        "cpu_ns": self_ms * MS,
        "max_ns": MS,
        "returned_none": 5,
    }
    return msgspec.convert(known | more, HookCost)


REPORT = CostReport(
    command=("pytest", "-q"),
    wall_ns=1000 * MS,
    elapsed_ns=1000 * MS,
    cpu_ns=800 * MS,
    main_cpu_ns=700 * MS,
    application=ApplicationCost(name="pytest", self_ns=500 * MS, cpu_ns=400 * MS, share=0.5),
    plugins=(
        plugin("slow", 100, 150, cpu_ns=60 * MS),
        plugin(
            "heavy",
            120,
            30,
            import_saved_ns=20 * MS,
            saving_ns=50 * MS,
            imports=(
                ImportCost(module="heavy", inclusive_ns=120 * MS, self_ns=MS),
                ImportCost(
                    module="numpy", inclusive_ns=119 * MS, self_ns=100 * MS, kept_by="pandas"
                ),
            ),
        ),
        plugin("idle", 10, 0),
    ),
    hooks=(
        hook("slow", "pytest_runtest_call", 150, errors=2),
        hook(
            "heavy",
            "pytest_fixture_setup",
            30,
            style="wrapper",
            before_yield_ns=20 * MS,
            after_yield_ns=10 * MS,
        ),
        hook("main", "pytest_cmdline_main", 40),
        hook("slow", "pytest_report_header", 0, calls=0),
    ),
    measuring=MeasuringCost(
        setup_ns=20 * MS, processing_ns=10 * MS, recording_ns=5 * MS, records=9
    ),
    unattributed_ns=55 * MS,
    candidates=(
        Candidate(
            plugin="idle",
            distribution="pytest-idle",
            reason="installed for httpx; never called",
            saving_ns=10 * MS,
            remedy="-p no:idle",
        ),
    ),
    flame_graph=FlameGraphNode(
        name="pytest -q",
        duration_ns=1000 * MS,
        children=(FlameGraphNode(name="slow:pytest_runtest_call", duration_ns=150 * MS),),
    ),
    exit_code=0,
    notes=("import memory: growth of the resident set, an estimate",),
)


def table_of(text: str) -> list[str]:
    """Return the rows of the ranked table."""
    rows = text[text.index("plugin  ") :].split("\n\n", maxsplit=1)[0].splitlines()
    return rows[1:]


def test_the_answer_comes_first() -> None:
    """The costliest plugin with its version and what to do, and then how the run divides."""
    lines = cost_text(REPORT).splitlines()
    assert lines[:3] == [
        "pytest -q: 1.00 s, exit code 0",
        "most time: slow (pytest-slow 1.2), 250 ms, 25.0 %",
        "  -> -p no:slow would save 250 ms, 25.0 % (predicted)",
    ]
    assert " ".join(line.strip() for line in lines[3:5]) == (
        "all: 50.0 % pytest itself, 18.0 % hooks of plugins, 23.0 % their imports, 3.5 % measuring,"
        " 5.5 % unattributed"
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        pytest.param({"remedy": None}, "it is of your own: see below", id="own"),
        pytest.param(
            {"saving_ns": 0, "imports": REPORT.plugins[1].imports},
            "without it alone nothing would be saved: numpy, for pandas",
            id="shared",
        ),
    ],
)
def test_the_answer_says_when_there_is_nothing_to_leave_out(
    more: dict[str, object], says: str
) -> None:
    """What belongs to the user, or is needed by others as well, is no plugin to do without."""
    report = msgspec.structs.replace(REPORT, plugins=(plugin("slow", 100, 150, **more),))
    assert cost_text(report).splitlines()[2].startswith(f"  -> {says}")


def test_rows_add_up_to_the_whole() -> None:
    """Plugins, the application, measuring and the unattributed are 100.0 %, as printed."""
    *rows, whole = table_of(cost_text(REPORT))
    assert [row.split("  ")[0] for row in rows] == [
        "slow (pytest-slow 1.2)",
        "heavy (pytest-heavy 1.2)",
        "idle (pytest-idle 1.2)",
        "(pytest itself)",
        "(measuring)",
        "(unattributed)",
    ]
    assert whole.split() == ["the", "whole", "run", "-", "-", "1.00s", "700ms", "-", "100.0"]
    assert sum(float(row.split()[-1]) for row in rows) == pytest.approx(100)
    assert rows[0].split()[-6:] == ["100ms", "150ms", "250ms", "60.0ms", "30", "25.0"]


def test_plugins_beyond_the_top_share_a_row() -> None:
    """Nothing is lost from the sum when fewer plugins are shown."""
    rows = table_of(plain(cost_lines(REPORT, top=1)))
    assert rows[1].split() == [
        "(2",
        "more",
        "plugins)",
        "130ms",
        "30.0ms",
        "160ms",
        "160ms",
        "60",
        "16.0",
    ]
    assert len(rows) == 6


def test_what_to_do() -> None:
    """Each plugin that costs something: the predicted saving, how to leave it out, what would stay."""
    text = cost_text(REPORT)
    slow = "slow                         250ms   25.0 %  -p no:slow"
    assert f"  {slow}\n    waits: 190 ms of its time is no CPU time\n" in text
    heavy = "heavy                       50.0ms    5.0 %  -p no:heavy"
    assert f"  {heavy}\n    100 ms of its imports would stay: numpy, for pandas\n" in text
    assert "idle: installed for httpx; never called\n    -> -p no:idle, saves 10.0 ms\n" in text
    assert text.count("no:idle") == 1  # it is not told twice


def test_every_costly_plugin_has_a_word_on_what_to_do() -> None:
    """Also what cannot be left out, and what would save nothing."""
    mine = plugin("conftest.py", 0, 100, remedy=None, saving_ns=None)
    shared = plugin("faker", 100, 0, saving_ns=0, import_saved_ns=0)
    text = cost_text(msgspec.structs.replace(REPORT, plugins=(mine, shared), candidates=()))
    section = text[text.index("What leaving") :].split("\n\n", maxsplit=1)[0]
    assert re.search(r"^  conftest.py .* of your own: see its hooks$", section, flags=re.MULTILINE)
    assert re.search(r"^  faker .* little: others need its imports$", section, flags=re.MULTILINE)


def test_hooks_of_plugins() -> None:
    """Who called what how often; wrappers by their halves; the application's own only if asked."""
    text = cost_text(REPORT)
    assert "slow:pytest_runtest_call" in text
    assert "    raised 2 errors\n" in text
    assert "    20.0ms before its yield, 10.0ms after\n" in text
    assert "main:pytest_cmdline_main" not in text
    every = plain(cost_lines(REPORT, hooks=True))
    assert "pytest_cmdline_main" in every
    assert "  never called: pytest_report_header\n" in every


def test_what_is_missing_stands_at_the_top() -> None:
    """An incomplete record is not mistaken for the whole."""
    report = msgspec.structs.replace(REPORT, incomplete=("killed by SIGKILL",), ended="signal 9")
    lines = list(cost_lines(report))
    assert lines[1] == (("! killed by SIGKILL", "bad"),)
    assert "(signal 9)" in lines[0][0][0]


def test_several_processes_are_named() -> None:
    """Each with its arguments and how it ended."""
    processes = tuple(
        ProcessCost(pid=n, parent_pid=1, arguments=("work", str(n)), wall_ns=MS, ended="exit")
        for n in (7, 8)
    )
    text = cost_text(msgspec.structs.replace(REPORT, processes=processes))
    assert "2 processes, added up above" in text
    assert re.search(r"^ +8 work 8 +1.00ms  exit$", text, flags=re.MULTILINE)


def test_without_plugins_there_is_still_a_report() -> None:
    """A program that registered nothing is told so."""
    report = msgspec.structs.replace(REPORT, plugins=(), hooks=(), candidates=())
    assert "no plugin but the application's own was registered" in cost_text(report)


@pytest.mark.parametrize(
    ("agrees", "said"),
    [(True, "within a quarter of it"), (False, "not what was saved"), (None, "too few pairs")],
)
def test_a_verification_says_predicted_beside_saved(agrees: bool | None, said: str) -> None:
    """With the interval and how sure it is."""
    found = Verification(
        plugin="slow",
        method="-p no:slow",
        with_ns=(1000 * MS,) * 6,
        without_ns=(800 * MS,) * 6,
        saved_ns=200 * MS,
        low_ns=-5 * MS,
        high_ns=210 * MS,
        confidence=0.969,
        predicted_ns=250 * MS,
        agrees=agrees,
    )
    text = plain(verification_lines(found))
    assert "Verified: slow, 6 pairs of runs with and without" in text
    assert "saved      200 ms (median; 97% interval -5.00 ms to 210 ms)" in text
    assert "predicted  250 ms: " in text
    assert said in text


hostile = st.text(max_size=300)


@given(hostile, hostile, hostile)
def test_nothing_hostile_gets_through(name: str, version: str, note: str) -> None:
    """Every line is printable and at most 80 columns wide, in known styles."""
    report = msgspec.structs.replace(
        REPORT,
        command=(name, note),
        application=msgspec.structs.replace(REPORT.application, name=version),
        plugins=(
            *REPORT.plugins,
            plugin(name, 50, 50, parts=(name,), version=version, remedy=note),
        ),
        hooks=(*REPORT.hooks, hook(name, note, 90)),
        incomplete=(note,),
        notes=(note,),
    )
    for every in (False, True):
        for line in cost_lines(report, hooks=every):
            text = "".join(part for part, _ in line)
            assert text.isprintable()
            assert width_of(text) <= 80
            assert {style for _, style in line} <= STYLES


@given(st.lists(st.integers(min_value=0, max_value=10**15), max_size=30), st.integers(0, 5000))
def test_apportioned_parts_add_up(amounts: list[int], whole: int) -> None:
    """Integers that add up, none further from its exact share than one."""
    parts = apportioned(amounts, whole)
    total = sum(amounts)
    assert sum(parts) == (whole if total else 0)
    assert all(
        abs(p - a * whole / (total or 1)) < 1.001 for p, a in zip(parts, amounts, strict=True)
    )
