"""Reading a history: runs, plugins, series, references, and what is forgotten."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pluginhost.comparison import GateVerdict, judge
from pluginhost.errors import HistoryError, InvalidValueError
from pluginhost.history.cells import DAY, MINUTE
from pluginhost.history.course import METRICS, over_runs, over_time, over_versions, with_course
from pluginhost.history.git import Checkout, checkout_of
from pluginhost.history.keeper import HistoryKeeper
from pluginhost.history.places import Place, place_of
from pluginhost.history.reader import History
from pluginhost.history.recorded import record
from pluginhost.history.reports import report_of_run
from pluginhost.history.retention import Forgetter, Retention
from pluginhost.history.store import Store
from pluginhost.report import PluginInfo, PluginState, Report
from tests.unit.test_cost_comparison import run_with

MS = 1_000_000
NOW_NS = 1_767_225_600_000_000_000
Make = Callable[..., Report]


def noisy(middle_ns: float, seed: int, n: int = 30) -> list[int]:
    """Return durations that scatter by 2 %, a little differently each time."""
    return [round(middle_ns * (1 + 0.02 * math.sin(7 * i + 3 * seed))) for i in range(n)]


def recorded(place: Place, report_of: Make, levels: Sequence[float], **options: Any) -> None:
    """Record one run for each level of the plugin `words`; the second half is of version 2."""
    for number, level in enumerate(levels):
        version = "1.0" if number < len(levels) // 2 else "2.0"
        info = PluginInfo(id="words", state=PluginState.LOADED, version=version)
        report = report_of(
            {"words": noisy(level, number), "steady": noisy(5 * MS, number)},
            plugins=(info,),
            created_timestamp_ns=NOW_NS + number * 10**9,
            **options,
        )
        assert record(report, place, checkout=Checkout("a" * 39 + str(number % 10), "main")) == (
            number + 1,
            True,
        )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, report_of: Make) -> Path:
    """The file of a history of 20 runs, in the second half of which `words` is 30 % slower."""
    place = place_of(tmp_path_factory.mktemp("original") / "history.sqlite")
    recorded(place, report_of, [MS * (1 + 0.01 * (n % 3)) for n in range(10)] + [1.3 * MS] * 10)
    assert place.file is not None
    return place.file


@pytest.fixture
def slower(place: Place, original: Path) -> Place:
    """A copy of that history."""
    assert place.file is not None
    shutil.copy(original, place.file)
    return place


def test_a_saved_run_is_kept_once(place: Place, report_of: Make) -> None:
    """With all of its report; recording the same again changes nothing."""
    report = report_of({"words": noisy(MS, 1)}, errors={"words": 3})
    assert record(report, place) == (1, True)
    assert record(report, place) == (1, False)
    with History(place) as history:
        (run,) = history.runs()
        assert history.report(1) == report
        assert history.plugin("words").error_count == 3
    assert run.label.host == report.environment.hostname


def test_a_change_names_plugin_metric_place_size_and_version(slower: Place) -> None:
    """And its revision; a plugin that stayed as it was has none."""
    with History(slower) as history:
        words, steady = over_runs(history, ["words", "steady"])
    (change,) = words.change_points
    assert change.plugin == "words"
    assert change.metric == "median"
    assert change.label == "11"
    assert change.ratio == pytest.approx(1.29, abs=0.02)
    assert change.p_value < 0.01
    assert change.worse
    assert (change.version_before, change.version_after) == ("1.0", "2.0")
    assert change.version_changed
    assert change.revision == "a" * 39 + "0"
    assert steady.change_points == ()


def test_a_forecast_is_of_the_latest_level(slower: Place) -> None:
    """What was before the change does not count."""
    with History(slower) as history:
        (words,) = over_runs(history, ["words"])
    assert words.forecast is not None
    assert words.forecast.basis == 10
    assert words.forecast.since == "11"
    assert words.forecast.expected == pytest.approx(1.3 * MS, rel=0.02)
    assert words.forecast.low <= words.forecast.expected <= words.forecast.high
    assert 0.5 < words.forecast.confidence < 1


def test_versions_are_compared_over_all_their_runs(slower: Place) -> None:
    """Histograms of many runs are merged."""
    with History(slower) as history:
        series = over_versions(history, "words")
        by_day = over_time(history, "words")
    assert [(p.label, p.run_count, p.execution_count) for p in series.points] == [
        ("1.0", 10, 300), ("2.0", 10, 300)
    ]  # fmt: skip
    assert series.points[1].value == pytest.approx(1.3 * MS, rel=0.03)
    assert [(p.label, p.execution_count) for p in by_day.points] == [("2026-01-01", 600)]


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_a_series(metric: str, slower: Place) -> None:
    """One that was not measured has points without a value, which are counted."""
    with History(slower) as history:
        (words,) = over_runs(history, ["words"], metric)
    assert len(words.points) == 20
    missing = metric in ("cpu", "self", "imports")
    assert words.left_out == (20 if missing else 0)


def test_what_is_not_there_is_told(slower: Place, tmp_path: Path) -> None:
    """With what there is."""
    with History(slower) as history:
        with pytest.raises(HistoryError, match="steady, words"):
            history.plugin("wrods")
        with pytest.raises(InvalidValueError, match="median"):
            over_runs(history, ["words"], "speed")
        with pytest.raises(HistoryError, match="no run in"):
            history.resolve("branch:none")
    with pytest.raises(HistoryError, match="there is no history"):
        History(tmp_path / "none.sqlite")


@pytest.mark.parametrize(
    ("reference", "numbers"),
    [
        pytest.param("last", [20], id="last"),
        pytest.param("last:3", [18, 19, 20], id="several"),
        pytest.param("branch:main", [20], id="branch"),
        pytest.param("branch:main:2", [19, 20], id="several of a branch"),
        pytest.param("7", [7], id="number"),
        pytest.param("revision:" + "a" * 39 + "3", [4, 14], id="revision"),
    ],
)
def test_references_name_runs(reference: str, numbers: list[int], slower: Place) -> None:
    """The oldest first."""
    with History(slower) as history:
        assert [run.number for run in history.resolve(reference)] == numbers
        first = history.runs()[-1].label.id
        assert history.resolve(first[:8])[0].number == 1


def test_runs_of_a_history_can_be_judged(slower: Place) -> None:
    """A run, and several before it as its baseline."""
    with History(slower) as history:
        current = report_of_run(history, history.resolve("11")[0])
        before = [report_of_run(history, history.resolve(str(n))[0]) for n in range(6, 11)]
    gate = judge(before, current)
    assert {row.plugin: row.verdict for row in gate.rows} == {
        "words": GateVerdict.OVER, "steady": GateVerdict.WITHIN
    }  # fmt: skip


def test_an_observed_run_is_a_report_too(keeper: Any, place: Place, batches: Any) -> None:
    """What can be known of it: counts, errors, times, histograms."""
    kept: HistoryKeeper = keeper(plugins=lambda: [PluginInfo(id="words", version="1.0")])
    kept.observe(batches.of("words", noisy(MS, 1), failures=4))
    kept.close()
    with History(place) as history:
        report = report_of_run(history, history.runs()[0])
    assert report.performance is not None
    (row,) = report.performance.plugins
    assert (row.execution_count, row.failure_count) == (30, 4)
    assert row.p50_duration_ns == pytest.approx(MS, rel=0.03)
    assert report.plugins[0].version == "1.0"


def test_what_plugins_of_a_program_took_is_a_metric(place: Place) -> None:
    """Sums of a run, with which no executions go."""
    for number in range(12):
        import_ns = 50 * MS if number < 6 else 90 * MS
        report = run_with({"shop": (import_ns + number, [MS] * 5)}, version=str(number // 6))
        record(report, place)
    with History(place) as history:
        (series,) = over_runs(history, ["shop"], "imports")
        course = with_course(report, history)
    assert [change.label for change in series.change_points] == ["7"]
    assert series.change_points[0].version_after == "1"
    assert [s.plugin for s in course.series] == ["shop"]
    assert course.series[0].metric == "self"


def test_what_is_too_old_is_forgotten_and_roll_ups_stay(
    keeper: Any, place: Place, batches: Any
) -> None:
    """Single occurrences go, with their details; what they add up to stays."""
    kept: HistoryKeeper = keeper()
    kept.observe(batches.of("words", [MS] * 600, failures=10))
    batches.at_ns += 3 * DAY * 10**9
    kept.observe(batches.of("words", [MS] * 500))
    kept.close()
    store = Store(place)
    wanted = Retention(occurrence_days=2, minute_days=2, hour_days=1, max_bytes=None)
    done = Forgetter(store, wanted, lambda: False).run(NOW_NS + 400 * DAY * 10**9)
    store.close()
    assert done.occurrences == 600
    assert done.rollups >= 2
    with History(place) as history:
        assert history.plugin("words").count == 1_100
        assert len(history.by_time("words", DAY)) == 2
        assert len(history.by_time("words", MINUTE)) == 1


def test_a_clock_that_was_wrong_does_not_cost_the_history(
    keeper: Any, place: Place, batches: Any
) -> None:
    """Age is counted from the newest occurrence where the clock is ahead of it."""
    kept: HistoryKeeper = keeper()
    kept.observe(batches.of("words", [MS] * 10))
    kept.close()
    store = Store(place)
    done = Forgetter(store, Retention(occurrence_days=1), lambda: False).run(2**62)
    store.close()
    assert done.occurrences == 0


def test_the_oldest_goes_where_there_is_too_much(keeper: Any, place: Place, batches: Any) -> None:
    """Until no more is stored than may be."""
    kept: HistoryKeeper = keeper()
    for _ in range(20):
        kept.observe(batches.of("words", [MS] * 1_000))
    kept.close()
    store = Store(place)
    wanted = Retention(occurrence_days=None, minute_days=None, hour_days=None, max_bytes=400_000)
    done = Forgetter(store, wanted, lambda: False).run(NOW_NS)
    store.close()
    assert 0 < done.occurrences < 20_000
    assert done.stored_bytes <= 400_000


def test_git_is_read_without_git(tmp_path: Path) -> None:
    """A branch, a packed one, a detached head with a CI's variables, a worktree, and none at all."""
    git, head = tmp_path / ".git", "0123456789" * 4
    (git / "refs" / "heads").mkdir(parents=True)
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/topic\n")
    (git / "refs" / "heads" / "topic").write_text(f"{head}\n")
    assert checkout_of(tmp_path / "deep" / "down", {}) == Checkout(head, "topic")
    (git / "refs" / "heads" / "topic").unlink()
    (git / "packed-refs").write_text(f"# pack-refs\n{head[::-1]} refs/heads/topic\n")
    assert checkout_of(tmp_path, {}) == Checkout(head[::-1], "topic")
    (git / "HEAD").write_text(head)
    assert checkout_of(tmp_path, {"GITHUB_REF_NAME": "main"}) == Checkout(head, "main")
    (tmp_path / "deep" / ".git").write_text("gitdir: ../.git\n")
    assert checkout_of(tmp_path / "deep", {}) == Checkout(head, None)
    (git / "HEAD").write_bytes(b"\xff\xfe")
    assert checkout_of(tmp_path, {}) == Checkout(None, None)


@pytest.mark.parametrize(
    "where", ["mysql://host/x", "sqlite://", "ftp:///x", "sqlite:///a\0b"], ids=repr
)
def test_other_databases_are_refused(where: str) -> None:
    """Before anything is tried."""
    with pytest.raises(HistoryError):
        place_of(where)


def test_no_password_is_shown() -> None:
    """A URL is told in messages, its password is not."""
    pytest.importorskip("psycopg")
    assert "secret" not in place_of("postgresql://me:secret@host/db").shown
