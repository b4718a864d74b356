"""Budgets, the gate they are for, and its summaries."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from pluginhost.comparison import (
    Budget,
    GateVerdict,
    budget_of,
    gate_markdown,
    gate_summary,
    gate_text,
    judge,
)
from pluginhost.comparison.gate_text import escaped
from pluginhost.comparison.pooling import pooled
from pluginhost.errors import InvalidValueError, ReportFileError
from pluginhost.report import PluginInfo, PluginState, Report
from tests.unit.test_cost_comparison import run_with

MS = 1_000_000
Make = Callable[..., Report]


def around(middle_ns: int, n: int = 40) -> list[int]:
    """Return durations that scatter by 2 % either way."""
    return [middle_ns * (98 + i % 5) // 100 for i in range(n)]


def verdicts(gate: object) -> dict[str, GateVerdict]:
    return {row.plugin: row.verdict for row in gate.rows}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        pytest.param("10%", Budget(share=0.1), id="all others"),
        pytest.param("words=5%", Budget(plugin="words", share=0.05), id="one plugin"),
        pytest.param("a=b=1.5 %", Budget(plugin="a=b", share=0.015), id="an id with ="),
        pytest.param("words=20ms", Budget(plugin="words", limit_ns=20 * MS), id="a limit"),
        pytest.param("1.5s", Budget(limit_ns=1_500 * MS), id="seconds"),
    ],
)
def test_a_budget_is_read(text: str, budget: Budget) -> None:
    """A share or a time, for one plugin or for all that have none."""
    assert budget_of(text) == budget


@pytest.mark.parametrize(
    "text", ["", "words", "words=", "=5%", "words=5", "words=-5%", "0.5%", "nan%", "0ms", "1e9s"]
)
def test_what_is_no_budget_is_refused(text: str) -> None:
    """Typing errors do not become budgets that are always kept."""
    with pytest.raises(InvalidValueError):
        budget_of(text)


def test_a_plugin_over_its_budget_closes_the_gate(report_of: Make) -> None:
    """The others, within theirs, do not, and the culprit comes first."""
    before = report_of({"fine": around(MS), "slow": around(MS)})
    after = report_of({"fine": around(MS), "slow": around(2 * MS)})
    gate = judge(before, after)
    assert not gate.passed
    assert [row.plugin for row in gate.rows] == ["slow", "fine"]
    assert verdicts(gate) == {"slow": GateVerdict.OVER, "fine": GateVerdict.WITHIN}
    assert gate.rows[0].ratio == pytest.approx(2, rel=0.02)


def test_slower_within_the_budget_passes(report_of: Make) -> None:
    """What is certainly slower, but by less than is allowed, is told and passes."""
    before, after = report_of({"p": around(MS)}), report_of({"p": around(1_150_000)})
    assert not judge(before, after, [budget_of("10%")]).passed
    allowed = judge(before, after, [budget_of("5%"), budget_of("p=20%")])
    assert allowed.passed
    assert allowed.rows[0].reason == "slower, but not by its budget"


def test_named_budgets_alone_judge_nobody_else(report_of: Make) -> None:
    """Where only one plugin has a budget, others have none."""
    before = report_of({"a": around(MS), "b": around(MS)})
    after = report_of({"a": around(MS), "b": around(2 * MS)})
    gate = judge(before, after, [budget_of("a=10%")])
    assert gate.passed
    assert verdicts(gate) == {"a": GateVerdict.WITHIN, "b": GateVerdict.FREE}


def test_a_budget_for_nobody_is_an_error(report_of: Make) -> None:
    """A misspelt id must not pass for a budget that is kept."""
    run = report_of({"words": around(MS)})
    with pytest.raises(InvalidValueError, match="'wrods'"):
        judge(run, run, [budget_of("wrods=5%")])


def test_a_limit_counts_for_new_plugins_too(report_of: Make) -> None:
    """There is nothing to compare them with, but a time can be too much by itself."""
    before = report_of({"old": around(MS)})
    after = report_of({"old": around(MS), "new": around(30 * MS)})
    assert judge(before, after).passed
    gate = judge(before, after, [budget_of("10%"), budget_of("new=20ms")])
    assert verdicts(gate)["new"] is GateVerdict.OVER
    assert "20.0 ms" in gate.rows[0].reason


def test_failing_more_often_closes_the_gate(report_of: Make) -> None:
    """However fast it fails."""
    before = report_of({"p": around(MS)})
    after = report_of({"p": around(MS)}, errors={"p": 20})
    assert verdicts(judge(before, after)) == {"p": GateVerdict.FAILING}


def test_a_plugin_that_is_not_loaded_closes_the_gate(report_of: Make) -> None:
    """It was there, and now it is broken; one that is merely gone is somebody's decision."""
    before = report_of({"p": around(MS), "q": around(MS)})
    broken = PluginInfo(id="p", state=PluginState.FAILED, error="No module named 'x'")
    after = report_of({"r": around(MS)}, plugins=(broken,))
    gate = judge(before, after)
    assert not gate.passed
    assert verdicts(gate) == {
        "p": GateVerdict.NOT_LOADED, "q": GateVerdict.GONE, "r": GateVerdict.NEW
    }  # fmt: skip


def test_noise_between_baseline_runs_is_not_held_against_a_plugin(report_of: Make) -> None:
    """With three runs or more, a plugin must be slower than in each of them."""
    runs = [report_of({"p": around(ns)}) for ns in (MS, MS, 1_300_000)]
    now = report_of({"p": around(1_250_000)})
    assert not judge(runs[:2], now).passed
    gate = judge(runs, now)
    assert gate.passed
    assert gate.rows[0].reason == "as slow as in one of the baseline runs"
    assert not judge(runs, report_of({"p": around(1_500_000)})).passed


def test_pooled_runs_add_up(report_of: Make) -> None:
    """Histograms and counts of several runs are those of all their executions."""
    runs = [report_of({"p": [MS] * 10}, errors={"p": 1}), report_of({"p": [2 * MS] * 20})]
    performance = pooled(runs).performance
    assert performance is not None
    assert performance.plugins[0].execution_count == 30
    assert performance.plugins[0].failure_count == 1
    assert [n for _, n in performance.histograms["p"]] == [10, 20]


def test_all_a_plugin_of_a_program_took_is_judged() -> None:
    """Imports count, and the row says what the growth rests on."""
    before = run_with({"a": (50 * MS, [MS] * 20), "b": (50 * MS, [MS] * 20)}, version="1.0")
    after = run_with({"a": (50 * MS, [MS] * 20), "b": (150 * MS, [MS] * 20)}, version="2.0")
    gate = judge(before, after)
    assert gate.measured == "program"
    assert verdicts(gate) == {"b": GateVerdict.OVER, "a": GateVerdict.WITHIN}
    assert gate.rows[0].reason == "+143% in all; version 1.0 -> 2.0; imports +100 ms"


def test_hooks_that_are_slower_for_certain_are_named() -> None:
    """The sum has no test; the executions of its hooks have."""
    before = run_with({"a": (0, around(MS))})
    after = run_with({"a": (0, around(2 * MS))})
    assert "sell +100% (tested)" in judge(before, after).rows[0].reason


def test_a_sum_as_large_as_in_a_baseline_run_passes() -> None:
    """Sums have no test, so the range of the baseline runs is what noise is known by."""
    runs = [run_with({"a": (ns, [MS] * 20)}) for ns in (50 * MS, 50 * MS, 90 * MS)]
    now = run_with({"a": (85 * MS, [MS] * 20)})
    assert not judge(runs[0], now).passed
    assert judge(runs, now).passed
    assert not judge(runs, run_with({"a": (120 * MS, [MS] * 20)})).passed


def test_runs_of_two_kinds_are_refused(report_of: Make) -> None:
    """A hook call and an execution are not the same thing, in a baseline neither."""
    with pytest.raises(ReportFileError):
        judge([report_of({"a": [MS]}), run_with({"a": (0, [MS])})], report_of({"a": [MS]}))


def test_the_texts_give_the_answer_first(report_of: Make) -> None:
    """On the terminal in 80 columns, and in Markdown as a heading."""
    before = report_of({"fine": around(MS), "slow | plugin": around(MS)})
    after = report_of({"fine": around(MS), "slow | plugin": around(2 * MS)})
    gate = judge(before, after)
    lines = gate_text(gate).splitlines()
    assert lines[0] == f"failed: slow | plugin ({lines[0].rpartition('(')[2]}"
    assert max(map(len, lines)) <= 80
    markdown = gate_markdown(gate).splitlines()
    assert markdown[0] == "## ❌ Plugin budgets"
    table = [line for line in markdown if line.startswith("|")]
    assert {line.count("|") for line in table} == {8}
    assert gate_summary(judge(before, before)) == "passed: 2 plugins within budget"


@given(st.text(max_size=40))
def test_nothing_in_a_name_is_markdown(name: str) -> None:
    """No character that means something there is left, and a browser reads what was meant."""
    shown = escaped(name)
    assert not re.search(r"[|`*_<>\[\]!@:\\\n\r~.]", shown)
    if name.isprintable() and len(name) < 40:
        assert html.unescape(shown) == name
