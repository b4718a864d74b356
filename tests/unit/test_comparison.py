"""Comparing two saved runs: against scipy and numpy, and for honesty."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from pluginhost.comparison import (
    Comparison,
    ErrorChange,
    Timing,
    Verdict,
    compare,
    holm,
    ratio_interval,
)
from pluginhost.errors import InvalidValueError, ReportFileError
from pluginhost.histogram import RELATIVE_ERROR, DurationHistogram
from pluginhost.report import PluginInfo, PluginState, decode, encode, json_schema
from tests.examples import examples

ReportOf = Callable[..., Any]

_durations = st.lists(st.integers(100, 10_000_000), min_size=10, max_size=60)
_p_values = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def _noisy(middle_ns: float, count: int, seed: int, *, spread: float = 0.1) -> list[int]:
    """Return durations around a median, skewed as real ones are."""
    generator = np.random.default_rng(seed)
    return [int(v) for v in generator.lognormal(np.log(middle_ns), spread, count)]


def _kept(durations_ns: list[int]) -> list[float]:
    """Return the durations as a saved report keeps them."""
    histogram = DurationHistogram()
    histogram.add_all(durations_ns)
    return [value for value, count in histogram.points() for _ in range(count)]


def _only(comparison: Comparison) -> Any:
    (change,) = comparison.changes
    return change


# Figures, against independent ones


@given(_durations, _durations)
def test_medians_are_those_of_the_durations(
    report_of: ReportOf, before: list[int], after: list[int]
) -> None:
    """Each median is the (lower) one numpy finds, within the histogram's error."""
    change = _only(compare(report_of({"a": before}), report_of({"a": after})))
    for timing, values in ((change.before, before), (change.after, after)):
        expected = np.percentile(values, 50, method="inverted_cdf")
        assert timing.median_ns == pytest.approx(expected, rel=RELATIVE_ERROR)
        assert timing.execution_count == len(values)
    assert change.ratio == pytest.approx(change.after.median_ns / change.before.median_ns)


@given(_durations, _durations)
def test_p_value_is_that_of_scipy(report_of: ReportOf, before: list[int], after: list[int]) -> None:
    """One plugin alone gets the p-value of scipy's Mann-Whitney U test, ties corrected."""
    change = _only(compare(report_of({"a": before}), report_of({"a": after})))
    kept_before, kept_after = _kept(before), _kept(after)
    if len({*kept_before, *kept_after}) == 1:
        assert change.p_value == 1.0
        return
    expected = stats.mannwhitneyu(kept_before, kept_after, method="asymptotic").pvalue
    assert change.p_value == pytest.approx(expected, abs=1e-12)


@given(st.integers(10, 80), st.integers(10, 80), st.data())
def test_error_rates_are_tested_as_scipy_does(
    report_of: ReportOf, n1: int, n2: int, data: st.DataObject
) -> None:
    """Errors are tested as a Mann-Whitney U test of zeros and ones."""
    bad1, bad2 = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n2))
    change = _only(
        compare(
            report_of({"a": [1000] * n1}, errors={"a": bad1}),
            report_of({"a": [1000] * n2}, errors={"a": bad2}),
        )
    )
    zeros_and_ones = [0] * (n1 - bad1) + [1] * bad1, [0] * (n2 - bad2) + [1] * bad2
    if len({*zeros_and_ones[0], *zeros_and_ones[1]}) == 1:
        assert change.errors_p_value == 1.0
        return
    expected = stats.mannwhitneyu(*zeros_and_ones, method="asymptotic").pvalue
    assert change.errors_p_value == pytest.approx(expected, abs=1e-12)
    if expected < 0.01:
        worse = bad2 / n2 > bad1 / n1
        assert change.errors is (ErrorChange.MORE if worse else ErrorChange.FEWER)
    else:
        assert change.errors is ErrorChange.SAME


@given(_p_values)
def test_holm_is_the_closed_bonferroni_test(p_values: list[float]) -> None:
    """A corrected p-value is the largest Bonferroni p-value of all sets the plugin is in."""
    named = {str(i): p for i, p in enumerate(p_values)}
    sets = [s for size in range(1, len(named) + 1) for s in combinations(named, size)]
    expected = {
        name: max(min(1.0, len(s) * min(named[n] for n in s)) for s in sets if name in s)
        for name in named
    }
    assert holm(named) == pytest.approx(expected)


def test_p_values_are_corrected_for_the_number_of_plugins(report_of: ReportOf) -> None:
    """The same plugin gets a larger p-value in company."""
    before, after = _noisy(1e6, 30, 1), _noisy(1.1e6, 30, 2)
    others = {f"other-{i}": _noisy(1e6, 30, 10) for i in range(4)}
    alone = _only(compare(report_of({"a": before}), report_of({"a": after})))
    together = compare(report_of({"a": before, **others}), report_of({"a": after, **others}))
    (same,) = [change for change in together.changes if change.plugin_id == "a"]
    assert same.p_value == pytest.approx(5 * alone.p_value)


_ns = st.floats(1, 1e12)


@given(st.tuples(_ns, _ns, _ns).map(sorted), st.tuples(_ns, _ns, _ns).map(sorted))
def test_ratio_interval_holds_the_ratio_and_turns_round(old: list[float], new: list[float]) -> None:
    """The ratio lies in its interval, and swapping the runs inverts all three."""
    before, after = (
        Timing(
            execution_count=9, error_count=0, error_rate=0, low_ns=low, median_ns=mid, high_ns=high
        )
        for low, mid, high in (old, new)
    )
    ratio, low, high = ratio_interval(before, after)
    assert ratio == pytest.approx(new[1] / old[1])
    assert low <= ratio * 1.000001
    assert high >= ratio * 0.999999
    assert ratio_interval(after, before) == pytest.approx((1 / ratio, 1 / high, 1 / low))


def test_ratio_interval_covers_the_truth_as_often_as_it_says(report_of: ReportOf) -> None:
    """Of 300 comparisons with a true ratio of 1.2, about 95 % have it in their interval."""
    covered = 0
    for seed in range(300):
        before = report_of({"a": _noisy(1e6, 40, 2 * seed, spread=0.3)})
        after = report_of({"a": _noisy(1.2e6, 40, 2 * seed + 1, spread=0.3)})
        change = _only(compare(before, after))
        covered += change.ratio_low <= 1.2 <= change.ratio_high
    assert 0.93 <= covered / 300 <= 0.99


# Verdicts


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        pytest.param(_noisy(1e6, 50, 1), _noisy(1.5e6, 50, 2), Verdict.SLOWER, id="slower"),
        pytest.param(_noisy(1.5e6, 50, 1), _noisy(1e6, 50, 2), Verdict.FASTER, id="faster"),
        pytest.param(_noisy(1e6, 50, 1), _noisy(1e6, 50, 2), Verdict.UNCHANGED, id="the same"),
        pytest.param(
            _noisy(1e6, 2000, 1), _noisy(1.03e6, 2000, 2), Verdict.UNCHANGED, id="small but sure"
        ),
        pytest.param(
            _noisy(1e6, 12, 1, spread=1), _noisy(1.5e6, 12, 2, spread=1), Verdict.UNCHANGED,
            id="large but not sure",
        ),
        pytest.param([900] * 50, [1800] * 50, Verdict.UNCHANGED, id="less than a microsecond"),
        pytest.param([1_000_000] * 9, [9_000_000] * 50, Verdict.TOO_FEW, id="9 executions before"),
        pytest.param([1_000_000] * 50, [9_000_000] * 9, Verdict.TOO_FEW, id="9 executions after"),
        pytest.param([1_000_000] * 10, [9_000_000] * 10, Verdict.SLOWER, id="10 executions"),
        pytest.param(
            [1_000_000] * 52 + [9_000_000] * 48,
            [1_000_000] * 30 + [9_000_000] * 70,
            Verdict.UNCHANGED,
            id="significant, but either median may be that of the other",
        ),
        pytest.param(
            [1_000_000] * 30 + [9_000_000] * 70,
            [1_000_000] * 52 + [9_000_000] * 48,
            Verdict.UNCHANGED,
            id="the same the other way round",
        ),
    ],
)  # fmt: skip
def test_verdict(
    report_of: ReportOf, before: list[int], after: list[int], verdict: Verdict
) -> None:
    """Slower or faster takes enough executions, a large enough change, and certainty."""
    change = _only(compare(report_of({"a": before}), report_of({"a": after})))
    assert change.verdict is verdict


@given(_durations, _durations)
def test_slower_one_way_is_faster_the_other(
    report_of: ReportOf, before: list[int], after: list[int]
) -> None:
    """Swapping the runs swaps the verdicts."""
    swapped = {Verdict.SLOWER: Verdict.FASTER, Verdict.FASTER: Verdict.SLOWER}
    old, new = report_of({"a": before}), report_of({"a": after})
    there, back = _only(compare(old, new)).verdict, _only(compare(new, old)).verdict
    assert back is swapped.get(there, there)


@settings(max_examples=examples(30))
@given(st.dictionaries(st.text(min_size=1), _durations, max_size=6))
def test_a_run_is_no_slower_than_itself(
    report_of: ReportOf, durations: dict[str, list[int]]
) -> None:
    """The same report twice: everything is unchanged, and the comparison says they are one run."""
    comparison = compare(report_of(durations), report_of(durations))
    assert all(c.verdict in (Verdict.UNCHANGED, Verdict.TOO_FEW) for c in comparison.changes)
    assert comparison.regressions == ()
    assert "both files hold the same run" in comparison.notes


def test_many_plugins_that_did_not_change_raise_no_alarm(report_of: ReportOf) -> None:
    """Chance alone convicts none of 100 unchanged plugins, at the smallest effect allowed."""
    before = report_of({f"p{i}": _noisy(1e6, 40, i, spread=0.3) for i in range(100)})
    after = report_of({f"p{i}": _noisy(1e6, 40, 1000 + i, spread=0.3) for i in range(100)})
    comparison = compare(before, after, min_effect=0.01)
    assert {change.verdict for change in comparison.changes} == {Verdict.UNCHANGED}


def test_too_few_executions_for_so_many_plugins_are_called_so(report_of: ReportOf) -> None:
    """Where no result could survive the correction, 'unchanged' would be a lie."""
    before = report_of({f"p{i}": [1_000_000] * 10 for i in range(200)})
    after = report_of({f"p{i}": [9_000_000] * 10 for i in range(200)})
    assert {c.verdict for c in compare(before, after).changes} == {Verdict.TOO_FEW}


def test_plugins_of_one_run_only_are_new_or_gone(report_of: ReportOf) -> None:
    """A plugin that was not in both runs is not compared and is nobody's regression."""
    comparison = compare(report_of({"old": [1000] * 20}), report_of({"new": [1000] * 20}))
    assert {c.plugin_id: c.verdict for c in comparison.changes} == {
        "old": Verdict.GONE,
        "new": Verdict.NEW,
    }
    assert comparison.regressions == ()


def test_a_plugin_that_cannot_be_loaded_any_more_is_a_regression(report_of: ReportOf) -> None:
    """It is gone, and the reason is known."""
    info = PluginInfo(id="a", state=PluginState.FAILED, error="no module 'x'")
    comparison = compare(
        report_of({"a": [1000] * 20}), report_of({"b": [1000] * 20}, plugins=(info,))
    )
    (change,) = comparison.regressions
    assert (change.verdict, change.reason) == (Verdict.GONE, "no module 'x'")


def test_a_rejected_second_claim_to_an_id_is_no_regression(report_of: ReportOf) -> None:
    """A broken duplicate says nothing of the plugin that has the id, executed or not."""
    infos = tuple(
        PluginInfo(id=i, state=state, error=None)
        for i in ("ran", "rested")
        for state in (PluginState.LOADED, PluginState.FAILED)
    )
    before = report_of({"ran": [1000] * 20, "rested": [1000] * 20})
    after = report_of({"ran": [1000] * 20}, plugins=infos)
    assert compare(before, after).regressions == ()


def test_a_plugin_that_ran_before_it_broke_is_compared(report_of: ReportOf) -> None:
    """Why it is broken now does not matter where there are executions to compare."""
    info = PluginInfo(id="a", state=PluginState.FAILED, error="reloading failed")
    report = report_of({"a": [1000] * 20})
    assert _only(compare(report, report_of({"a": [1000] * 20}, plugins=(info,)))).reason is None


def test_failing_more_often_is_a_regression_though_it_is_faster(report_of: ReportOf) -> None:
    """A plugin that fails at once must not pass as an improvement."""
    before = report_of({"a": [9_000_000] * 50})
    after = report_of({"a": [1_000_000] * 50}, errors={"a": 40})
    (change,) = compare(before, after).regressions
    assert (change.verdict, change.errors) == (Verdict.FASTER, ErrorChange.MORE)


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        pytest.param(1_600_000, Verdict.SLOWER, id="1.6 times"),
        pytest.param(1_400_000, Verdict.UNCHANGED, id="1.4 times"),
        pytest.param(600_000, Verdict.FASTER, id="1.67 times, downwards"),
        pytest.param(700_000, Verdict.UNCHANGED, id="1.43 times, downwards"),
    ],
)
def test_the_minimum_effect_is_a_ratio_both_ways(
    report_of: ReportOf, after: int, verdict: Verdict
) -> None:
    """A minimum effect of 50 % is a factor of 1.5 up and down."""
    old, new = report_of({"a": [1_000_000] * 50}), report_of({"a": [after] * 50})
    assert _only(compare(old, new, min_effect=0.5)).verdict is verdict


def test_the_worst_comes_first(report_of: ReportOf) -> None:
    """Regressions lead, the larger one before the smaller, then what got faster."""
    durations = {name: [1_000_000] * 50 for name in ("same", "worse", "worst", "better")}
    durations["a-few"] = [1_000_000]
    after = durations | {
        "worse": [1_500_000] * 50, "worst": [3_000_000] * 50, "better": [100_000] * 50
    }  # fmt: skip
    comparison = compare(report_of(durations), report_of(after))
    assert [c.plugin_id for c in comparison.changes] == [
        "worst", "worse", "better", "same", "a-few"
    ]  # fmt: skip


# Notes: what else may be the reason


def test_plugins_that_all_moved_alike_point_to_the_machine(report_of: ReportOf) -> None:
    """Four plugins are 30 % slower and one is 3 times slower: the four are the machine's."""
    before = report_of({f"p{i}": [1_000_000] * 50 for i in range(5)})
    after = report_of({f"p{i}": [1_300_000 if i else 3_000_000] * 50 for i in range(5)})
    comparison = compare(before, after)
    assert comparison.common_ratio == pytest.approx(1.3, rel=2 * RELATIVE_ERROR)
    assert any("4 of 5 plugins moved alike, by about +30%" in n for n in comparison.notes)
    assert any("the others moved: p0 +13" in n for n in comparison.notes)


@pytest.mark.parametrize(
    "factors",
    [
        pytest.param((1, 1, 1, 3), id="one moved"),
        pytest.param((1.5, 1.5), id="two are too few to tell"),
        pytest.param((1.5, 1.5, 4), id="two of three are too few to tell"),
        pytest.param((1, 1.1, 1.5, 1.5, 1.5, 3, 4), id="three of seven are not most"),
        pytest.param((1.5, 2, 3, 5), id="each moved by its own"),
        pytest.param((1.02, 1.02, 1.02), id="all moved too little"),
    ],
)
def test_plugins_that_did_not_move_alike_do_not(
    report_of: ReportOf, factors: tuple[float, ...]
) -> None:
    """The machine is not blamed for what plugins did."""
    before = report_of({f"p{i}": [1_000_000] * 50 for i in range(len(factors))})
    after = report_of({f"p{i}": [int(1_000_000 * f)] * 50 for i, f in enumerate(factors)})
    comparison = compare(before, after)
    assert comparison.common_ratio is None
    assert comparison.notes == ()


def test_relative_takes_out_what_plugins_have_in_common(report_of: ReportOf) -> None:
    """On a machine that is 30 % slower, only the plugin that is slower still is to blame."""
    before = report_of({f"p{i}": [1_000_000] * 50 for i in range(5)})
    after = report_of({f"p{i}": [1_300_000 if i else 3_000_000] * 50 for i in range(5)})
    comparison = compare(before, after, relative=True)
    (culprit,) = comparison.regressions
    assert culprit.plugin_id == "p0"
    assert culprit.ratio == pytest.approx(3 / 1.3, rel=4 * RELATIVE_ERROR)
    assert culprit.after.median_ns == pytest.approx(3e6, rel=RELATIVE_ERROR)
    assert {c.verdict for c in comparison.changes[1:]} == {Verdict.UNCHANGED}
    (note,) = comparison.notes
    assert note.endswith("by about +30%: all changes are told against that")


def test_relative_changes_nothing_where_plugins_have_nothing_in_common(
    report_of: ReportOf,
) -> None:
    """One plugin alone has nobody to be judged against."""
    old, new = report_of({"a": [1_000_000] * 50}), report_of({"a": [1_300_000] * 50})
    assert _only(compare(old, new, relative=True)) == _only(compare(old, new))


def test_relative_leaves_error_rates_and_untested_plugins_alone(report_of: ReportOf) -> None:
    """Failing more is nobody's machine; what is new, gone or too few stays so."""
    common = {f"p{i}": [1_000_000] * 50 for i in range(4)}
    slower = {f"p{i}": [1_300_000] * 50 for i in range(4)}
    before = report_of({**common, "gone": [1000] * 20, "few": [1000]})
    after = report_of({**slower, "new": [1000] * 20, "few": [1000]}, errors={"p1": 30})
    comparison = compare(before, after, relative=True)
    assert [c.plugin_id for c in comparison.regressions] == ["p1"]
    others = {c.plugin_id: c.verdict for c in comparison.changes if c.plugin_id[0] != "p"}
    assert others == {"gone": Verdict.GONE, "new": Verdict.NEW, "few": Verdict.TOO_FEW}


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        pytest.param(
            {"environment": {"python": "3.13.0"}}, "python: 3.12.1 -> 3.13.0", id="python"
        ),
        pytest.param({"environment": {"hostname": "lap"}}, "hostname: tower -> lap", id="host"),
        pytest.param({"environment": {"cpu_count": 8}}, "cpu count: 4 -> 8", id="cores"),
        pytest.param({"environment": {"platform": "mac"}}, "platform: Linux-6.1 -> mac", id="os"),
        pytest.param({"environment": {"pluggy": "1.7"}}, "pluggy: 1.6.0 -> 1.7", id="pluggy"),
        pytest.param({"environment": {"pluginhost": "1"}}, "pluginhost: 0.1.0 -> 1", id="ours"),
        pytest.param({"sampling_rate": 1.0}, "sampling rate: 0.1 -> 1.0", id="sampling"),
    ],
)
def test_differences_of_the_environment_are_told(
    report_of: ReportOf, changed: dict[str, Any], note: str
) -> None:
    """Whatever else differs between the runs is said, and only that."""
    comparison = compare(report_of({"a": [1000] * 20}), report_of({"a": [1000] * 20}, **changed))
    assert comparison.notes == (f"the runs differ in {note}",)


def test_another_process_is_no_difference(report_of: ReportOf) -> None:
    """Every run has a process id of its own; that is not worth a note."""
    other = report_of({"a": [1000] * 20}, environment={"pid": 7})
    assert compare(report_of({"a": [1000] * 20}), other).notes == ()


def test_swapped_runs_are_noticed(report_of: ReportOf) -> None:
    """A run given as the later one that is the earlier one is asked about."""
    older = report_of({"a": [1000] * 20}, created_timestamp_ns=5)
    (note,) = compare(report_of({"a": [1000] * 20}), older).notes
    assert "are they swapped?" in note


def test_foreign_text_in_notes_is_made_safe(report_of: ReportOf) -> None:
    """A plugin id or a host name cannot drive the terminal through a note."""
    evil = "\x1b[31mevil\x1b]0;\u202e"
    ids = [evil, "b", "c", "d"]
    before = report_of({i: [1_000_000] * 50 for i in ids})
    after = report_of(
        {i: [4_000_000 if i == evil else 2_000_000] * 50 for i in ids},
        environment={"hostname": evil},
    )
    notes = compare(before, after).notes
    assert sum("evil" in note for note in notes) == 2
    assert all(note.isprintable() for note in notes)


# Bad input, and the record itself


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"min_effect": 0.005}, id="finer than the histogram"),
        pytest.param({"min_effect": float("nan")}, id="effect not a number"),
        pytest.param({"alpha": 0}, id="alpha 0"),
        pytest.param({"alpha": 1}, id="alpha 1"),
        pytest.param({"alpha": float("nan")}, id="alpha not a number"),
        pytest.param({"min_difference_ns": -1}, id="negative difference"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    report_of: ReportOf, settings: dict[str, Any]
) -> None:
    """They would give verdicts that mean nothing."""
    report = report_of({"a": [1000] * 20})
    with pytest.raises(InvalidValueError):
        compare(report, report, **settings)


def test_a_run_without_durations_is_refused(report_of: ReportOf) -> None:
    """A report made without a profiler cannot be compared."""
    with pytest.raises(ReportFileError, match="no durations"):
        compare(report_of({"a": [1]}), report_of({"a": [1]}, performance=None))


@pytest.mark.parametrize(
    "bucket",
    [
        pytest.param((-1, 1), id="below zero"),
        pytest.param((0x7F80, 1), id="infinite"),
        pytest.param((70_000, 1), id="not 16 bits"),
        pytest.param((100, 0), id="counted nothing"),
        pytest.param((100, -5), id="counted less than nothing"),
        pytest.param((100, 2**60), id="counted beyond reason"),
    ],
)
def test_a_histogram_that_cannot_be_is_refused(
    report_of: ReportOf, bucket: tuple[int, int]
) -> None:
    """A file that was edited or damaged is named as such, with the plugin."""
    report = report_of({"a": [1000] * 20})
    damaged = decode(encode(report), type(report))
    damaged.performance.histograms["a"] = (bucket,)
    with pytest.raises(ReportFileError) as caught:
        compare(damaged, report)
    assert caught.value.plugin_id == "a"


def test_a_comparison_survives_its_json(report_of: ReportOf) -> None:
    """What is written can be read again, and fits its published schema."""
    comparison = compare(report_of({"a": [1000] * 20}), report_of({"b": [2000] * 20}))
    text = encode(comparison)
    assert decode(text, Comparison) == comparison
    jsonschema.validate(json.loads(text), json_schema(Comparison))
