"""`pluginhost compare`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from pluginhost.cli.comparison_lines import _by, _p
from pluginhost.comparison import Comparison
from pluginhost.report import PluginInfo, PluginState, Report, decode, write_report

Run = Callable[..., Result]

BEFORE = {
    "checksum": [1_000_000] * 40,
    "thumbnail": [20_000_000] * 40,
    "compress": [5_000_000] * 40,
    "words": [300_000] * 40,
    "leaky": [40_000] * 3,
    "fragile": [40_000] * 40,
    "gone": [1_000] * 40,
    "broken-now": [1_000] * 40,
}
AFTER = {
    "checksum": [1_500_000] * 40,
    "thumbnail": [400_000_000] * 40,
    "compress": [4_000_000] * 40,
    "words": [303_000] * 40,
    "leaky": [90_000] * 3,
    "fragile": [40_000] * 40,
    "brand-new-with-a-long-name": [7_000] * 40,
}


@pytest.fixture
def save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report_of: Callable[..., Report]
) -> Callable[..., None]:
    """Return `save(name, durations, ...)`, which saves a report in the working folder."""
    monkeypatch.chdir(tmp_path)
    return lambda name, *args, **fields: write_report(report_of(*args, **fields), name)


@pytest.fixture
def two_runs(save: Callable[..., None]) -> tuple[str, str]:
    """Return two saved runs in which a lot has changed."""
    broken = PluginInfo(id="broken-now", state=PluginState.FAILED, error="No module named 'x'")
    save("before.json", BEFORE)
    save(
        "after.json",
        AFTER,
        errors={"fragile": 12},
        plugins=(broken,),
        environment={"python": "3.13.0"},
        created_timestamp_ns=1_767_312_000_000_000_000,
    )
    return "before.json", "after.json"


def test_compare_as_a_whole(
    pluginhost: Run, two_runs: Any, matches_snapshot: Callable[[str, str], None]
) -> None:
    """A row for each plugin, what else changed, notes, limits, and the answer last."""
    result = pluginhost("compare", *two_runs)
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    matches_snapshot("compare.txt", result.stdout)


def test_json_is_the_comparison(pluginhost: Run, two_runs: Any) -> None:
    """All of it, with the verdicts."""
    comparison = decode(pluginhost("compare", *two_runs, "--json").stdout, Comparison)
    assert [c.plugin_id for c in comparison.regressions] == [
        "thumbnail", "checksum", "fragile", "broken-now"
    ]  # fmt: skip


def test_a_regression_fails_on_request_and_names_the_culprit(
    pluginhost: Run, save: Callable[..., None]
) -> None:
    """Exit code 1, the culprit in the last line."""
    save("a.json", {"steady": [1_000_000] * 40, "slowed": [1_000_000] * 40})
    save("b.json", {"steady": [1_000_000] * 40, "slowed": [1_500_000] * 40})
    result = pluginhost("compare", "a.json", "b.json", "--fail-on-regression")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith("worse: slowed (+50%)")


def test_with_json_the_culprit_is_named_on_standard_error(
    pluginhost: Run, save: Callable[..., None]
) -> None:
    """The JSON stays JSON."""
    save("a.json", {"slowed": [1_000_000] * 40})
    save("b.json", {"slowed": [1_500_000] * 40})
    result = pluginhost("compare", "a.json", "b.json", "--fail-on-regression", "--json")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("worse: slowed (+50%)")
    assert decode(result.stdout, Comparison).regressions[0].plugin_id == "slowed"


def test_without_a_regression_nothing_fails(pluginhost: Run, save: Callable[..., None]) -> None:
    """A faster plugin, or one that is new or gone, is none."""
    save("a.json", {"quick": [1_500_000] * 40, "gone": [1000] * 40})
    save("b.json", {"quick": [1_000_000] * 40, "new": [1000] * 40})
    result = pluginhost("compare", "a.json", "b.json", "--fail-on-regression")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].startswith("no plugin of 1 compared is slower")


def test_nothing_to_compare_is_not_called_fine(pluginhost: Run, save: Callable[..., None]) -> None:
    """Too few executions are said to be too few."""
    save("a.json", {"a": [1_000_000] * 4})
    save("b.json", {"a": [9_000_000] * 4})
    last = pluginhost("compare", "a.json", "b.json").stdout.splitlines()[-1]
    assert last == "no plugin could be compared: 10 or more executions in both runs are needed"


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        pytest.param(1.0, "+0.0%", id="none"),
        pytest.param(1.0949, "+9.5%", id="small"),
        pytest.param(1.0996, "+10%", id="rounded up"),
        pytest.param(0.5, "-50%", id="half"),
        pytest.param(9.99, "+899%", id="large"),
        pytest.param(10, "x10", id="a factor"),
        pytest.param(1234.5, "x1,234", id="a large factor"),
        pytest.param(3e7, "x3e+07", id="a factor beyond all"),
    ],
)
def test_changes_are_written_short(ratio: float, text: str) -> None:
    """Percent up to a factor of ten, then the factor; at most seven columns."""
    assert _by(ratio) == text


@pytest.mark.parametrize(
    ("p_value", "text"),
    [(0.0009, "<0.001"), (0.001, "0.001"), (0.0123, "0.012"), (1.0, "1.000")],
)
def test_p_values_are_written_with_three_digits(p_value: float, text: str) -> None:
    """The smallest are not written out."""
    assert _p(p_value) == text


def test_a_slower_machine_is_no_regression_when_judged_relatively(
    pluginhost: Run, save: Callable[..., None]
) -> None:
    """With --relative, what all plugins have in common does not fail."""
    save("a.json", {i: [1_000_000] * 40 for i in "abcd"})
    save("b.json", {i: [1_400_000] * 40 for i in "abcd"})
    arguments = ("compare", "a.json", "b.json", "--fail-on-regression")
    assert pluginhost(*arguments).exit_code == 1
    assert pluginhost(*arguments, "--relative").exit_code == 0


@pytest.mark.parametrize(
    ("options", "code"),
    [
        pytest.param(["--min-effect", "60%"], 0, id="less than the minimum effect"),
        pytest.param(["--min-effect", "0.4"], 1, id="more than the minimum effect"),
        pytest.param(["--min-difference", "0.001"], 0, id="less than the minimum difference"),
        pytest.param(["--min-difference", "0.0001"], 1, id="more than the minimum difference"),
        pytest.param(["--alpha", "1e-30"], 0, id="not certain enough"),
        pytest.param(["--alpha", "0.001"], 1, id="certain enough"),
    ],
)
def test_what_counts_can_be_chosen(
    pluginhost: Run, save: Callable[..., None], options: list[str], code: int
) -> None:
    """A change of 50 %, or half a millisecond, is a matter of taste."""
    save("a.json", {"slowed": [1_000_000] * 40})
    save("b.json", {"slowed": [1_500_000] * 40})
    result = pluginhost("compare", "a.json", "b.json", "--fail-on-regression", *options)
    assert result.exit_code == code


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--min-effect", "0.1%"], id="too fine"),
        pytest.param(["--min-effect", "much"], id="no share"),
        pytest.param(["--alpha", "0"], id="alpha 0"),
        pytest.param(["--alpha", "nan"], id="alpha not a number"),
        pytest.param(["--min-difference", "nan"], id="difference not a number"),
        pytest.param(["--min-difference", "-1"], id="negative difference"),
    ],
)
def test_senseless_options_are_wrong_usage(
    pluginhost: Run, save: Callable[..., None], options: list[str]
) -> None:
    """Before anything is said."""
    save("a.json", {"a": [1_000_000] * 40})
    result = pluginhost("compare", "a.json", "a.json", *options)
    assert (result.exit_code, result.stdout) == (2, "")


def test_hostile_ids_reach_no_terminal(pluginhost: Run, save: Callable[..., None]) -> None:
    """Not in the table, not in the details, not in the answer."""
    evil = "\x1b[31mevil\u202e\x9b"
    info = PluginInfo(id=evil + "2", state=PluginState.FAILED, error=evil)
    save("a.json", {evil: [1_000_000] * 40, evil + "2": [1000] * 40})
    save("b.json", {evil: [2_000_000] * 40}, errors={evil: 20}, plugins=(info,))
    for options in ((), ("--json", "--fail-on-regression")):
        output = pluginhost("compare", "a.json", "b.json", *options).output
        assert output.count("evil") >= 4
        assert output.replace("\n", "").isprintable()


@pytest.mark.parametrize("created_ns", [-(10**30), -1, 10**19, 10**40])
def test_a_date_beyond_all_calendars_is_survived(
    pluginhost: Run, save: Callable[..., None], created_ns: int
) -> None:
    """A file may hold any number."""
    save("a.json", {"a": [1_000_000] * 40})
    text = Path("a.json").read_text().replace(f"{1_767_225_600_000_000_000}", str(created_ns))
    Path("b.json").write_text(text)
    assert pluginhost("compare", "a.json", "b.json").exit_code in (0, 3)
