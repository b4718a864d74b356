"""Change points over runs, forecasts, and anomalies of a live stream."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st
from scipy.stats import kendalltau, theilslopes

from pluginhost.analytics.anomalies import MAX_ANOMALIES, AnomalyDetector
from pluginhost.analytics.change_points import levels_of
from pluginhost.analytics.forecasting import forecast_of, mann_kendall_p, theil_sen
from pluginhost.calltree import CallTree, EventKind
from pluginhost.errors import InvalidValueError
from pluginhost.events import EventBatch
from pluginhost.journal import Detail, Failure, Status
from pluginhost.series import Anomaly, AnomalyKind
from tests.examples import examples


def noisy(levels: Sequence[float], seed: int, noise: float = 0.03) -> list[float]:
    generator = random.Random(seed)
    return [level * generator.gauss(1, noise) for level in levels]


# Change points


def test_a_change_of_level_is_found_where_it_is() -> None:
    """With both medians, and how sure that is; a level that stays has none."""
    series = {"moved": noisy([100] * 15 + [120] * 15, 1), "stayed": noisy([100] * 30, 2)}
    found = levels_of(series)
    assert list(found) == ["moved"]
    (level,) = found["moved"]
    assert abs(level.position - 15) <= 1
    assert level.after / level.before == pytest.approx(1.2, abs=0.04)
    assert level.p_value < 0.001


def test_noise_is_rarely_taken_for_a_change() -> None:
    """Of 60 series without any change, one at most seems to have one."""
    found = levels_of({str(seed): noisy([100] * 40, seed) for seed in range(60)})
    assert len(found) <= 1


def test_most_changes_of_ten_percent_are_found() -> None:
    """Of 40 series with 3 % noise, at least 34, within two runs."""
    series = {str(seed): noisy([100] * 20 + [110] * 20, seed) for seed in range(40)}
    found = levels_of(series)
    assert sum(any(abs(x.position - 20) <= 2 for x in levels) for levels in found.values()) >= 34


def test_there_may_be_several() -> None:
    """Up, and down again."""
    (levels,) = levels_of({"p": noisy([100] * 12 + [150] * 12 + [90] * 12, 3)}).values()
    assert [round(level.position / 12) for level in levels] == [1, 2]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([], id="none"),
        pytest.param([1.0] * 9, id="too few"),
        pytest.param([5.0] * 40, id="all the same"),
        pytest.param([0.0] * 40, id="nothing but zeros"),
        pytest.param([100.0] * 20 + [103.0] * 20, id="smaller than what counts"),
    ],
)
def test_where_there_is_nothing_nothing_is_found(values: list[float]) -> None:
    """Degenerate series, and a change that is certain but too small."""
    assert levels_of({"p": values}) == {}


def test_few_runs_cost_nothing_to_look_at() -> None:
    """What finds changes takes a second to load; so many runs are too few for it in any case."""
    code = "import sys; from pluginhost.analytics.change_points import FEWEST_RUNS, levels_of; "
    code += "levels = levels_of({'p': [1.0] * (FEWEST_RUNS - 1), 'q': []}); "
    code += "print(levels, 'ruptures' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "{} False\n"


def test_something_out_of_nothing_is_a_change() -> None:
    """An error rate that was 0 has no logarithm, and changes all the same."""
    (levels,) = levels_of({"p": [0.0] * 12 + noisy([0.3] * 12, 4)}).values()
    assert levels[0].before == 0
    assert levels[0].position == 12


@given(st.lists(st.floats(0, 1e18), max_size=40))
@example([0.0] * 9 + [5e-324])  # the smallest there is
@settings(deadline=None, max_examples=examples(60))
def test_any_values_can_be_searched(values: list[float]) -> None:
    """Whatever levels come out are within the series, in order."""
    for levels in levels_of({"p": values}, min_effect=0.01, alpha=0.5).values():
        positions = [level.position for level in levels]
        assert positions == sorted(set(positions))
        assert all(0 < position < len(values) for position in positions)


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": 1.5}, {"min_effect": 0.0}], ids=str)
def test_settings_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    """With what would do."""
    with pytest.raises(InvalidValueError):
        levels_of({"p": [1.0] * 20}, **options)


# Forecasts


@given(st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=30))
@settings(deadline=None, max_examples=examples(60))
def test_trends_and_slopes_are_those_of_scipy(values: list[float]) -> None:
    """The line of Theil and Sen, and the sign of the trend; written by somebody else."""
    steps = list(range(len(values)))
    slope = theil_sen(values)[1]
    assert slope == pytest.approx(theilslopes(values, steps).slope, abs=1e-6)
    tau = kendalltau(steps, values)
    if len(set(values)) == len(values) and mann_kendall_p(values) < 0.01:
        assert tau.pvalue < 0.05


def test_a_level_is_forecast_as_its_median() -> None:
    """With an interval in which most of the values are."""
    values = noisy([100] * 40, 5)
    found = forecast_of(values)
    assert found is not None
    assert found.slope == 0
    assert found.expected == pytest.approx(100, rel=0.02)
    assert found.confidence == 0.9
    assert sum(found.low <= value <= found.high for value in values) >= 34


def test_a_trend_is_carried_on() -> None:
    """By its slope, one step further."""
    found = forecast_of([100 + 2 * n + n % 3 for n in range(30)])
    assert found is not None
    assert found.slope == pytest.approx(2, abs=0.1)
    assert found.expected == pytest.approx(161, abs=2)


def test_intervals_hold_what_they_say() -> None:
    """Of 200 forecasts at 90 %, about so many hold: what comes next is really made."""
    held = 0
    for seed in range(200):
        values = noisy([100] * 31, seed, 0.1)
        found = forecast_of(values[:30])
        assert found is not None
        held += found.low <= values[30] <= found.high
    assert 165 <= held <= 195


def test_few_values_give_less_confidence_or_none() -> None:
    """And what is not finite does not count."""
    assert forecast_of([1.0] * 7) is None
    assert forecast_of([1.0] * 7 + [float("nan"), float("inf")]) is None
    found = forecast_of([1.0] * 8)
    assert found is not None
    assert found.confidence == pytest.approx(4 / 5)


# Anomalies


class Stream:
    """Hands executions to a detector, 1 ms apart."""

    def __init__(self, detector: AnomalyDetector) -> None:
        self.detector = detector
        self.at_ns = 0
        self.path = CallTree().root["words"]
        self.generator = random.Random(6)

    def send(self, middle_ns: float, count: int, *, failures: int = 0) -> None:
        records: list[Any] = []
        for number in range(count):
            duration = round(middle_ns * self.generator.lognormvariate(0, 0.1))
            self.at_ns += 1_000_000
            extra = Detail(Failure(Status.ERROR, "E", "")) if number < failures else None
            records += (self.path, self.at_ns - duration, self.at_ns, 1, extra)
        self.detector.observe(EventBatch(records, 10**18))

    def found(self) -> list[tuple[AnomalyKind, int]]:
        return [(one.kind, one.count) for one in self.detector.anomalies()]


@pytest.fixture
def stream() -> Stream:
    """Return a stream to a detector that knows what is usual: 100 us."""
    stream = Stream(AnomalyDetector())
    for _ in range(20):
        stream.send(100_000, 50)
    assert stream.found() == []
    return stream


def test_what_is_usual_is_not_told(stream: Stream) -> None:
    """10,000 executions that scatter as ever."""
    for _ in range(200):
        stream.send(100_000, 50)
    assert stream.found() == []


def test_single_slow_executions_are_told(stream: Stream) -> None:
    """With how slow, and what was usual."""
    stream.send(100_000, 48)
    stream.send(5_000_000, 2)
    (found,) = stream.detector.anomalies()
    assert (found.plugin, found.kind, found.count) == ("words", AnomalyKind.SLOW, 2)
    assert found.usual == pytest.approx(100_000, rel=0.1)
    assert found.seen == pytest.approx(5_000_000, rel=0.3)
    assert found.score > 8


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_a_level_that_moves_is_told_once_and_becomes_usual(stream: Stream, factor: float) -> None:
    """From the third block on; after ten it is what is usual, and going back is another."""
    for _ in range(30):
        stream.send(100_000 * factor, 50)
    (found,) = stream.detector.anomalies()
    assert found.kind is AnomalyKind.SHIFTED
    assert found.count == 500
    assert found.seen / found.usual == pytest.approx(factor, rel=0.15)


def test_two_odd_blocks_are_no_new_level(stream: Stream) -> None:
    """A hiccup passes."""
    for _ in range(2):
        stream.send(200_000, 50)
    stream.send(100_000, 500)
    assert stream.found() == []


def test_failing_more_often_is_told(stream: Stream) -> None:
    """With the rates."""
    stream.send(100_000, 50, failures=20)
    (found,) = stream.detector.anomalies()
    assert found.kind is AnomalyKind.FAILING
    assert (found.usual, found.seen) == (0, 0.4)


def test_nothing_is_told_before_anything_is_usual() -> None:
    """What begins slowly is not an anomaly."""
    stream = Stream(AnomalyDetector())
    stream.send(10_000_000, 50)
    stream.send(100_000, 150)
    assert stream.found() == []


def test_there_is_an_end_to_what_is_kept() -> None:
    """Anomalies beyond the first 500 are counted."""
    detector = AnomalyDetector()
    for number in range(MAX_ANOMALIES + 5):
        detector._tell(
            Anomaly(
                plugin=str(number),
                kind=AnomalyKind.SLOW,
                first_timestamp_ns=1,
                last_timestamp_ns=1,
                count=1,
                usual=1,
                seen=2,
                score=9,
            )
        )
    assert len(detector.anomalies()) == MAX_ANOMALIES
    assert detector.left_out == 5


def test_imports_and_loads_are_not_watched() -> None:
    """They happen once."""
    tree = CallTree()
    path = tree.root[tree.site(EventKind.MODULE_IMPORT, "p", "json")]
    detector = AnomalyDetector()
    for duration in [1_000] * 500 + [10**9]:
        detector.observe(EventBatch([path, 0, duration, 1, None], 0))
    assert detector.anomalies() == ()


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=120))
@settings(deadline=None, max_examples=examples(50))
def test_any_durations_can_be_watched(durations: list[int]) -> None:
    """Nothing that a clock says stops it."""
    detector, path = AnomalyDetector(), CallTree().root["p"]
    for start in range(6):
        records = [x for d in durations for x in (path, start, start + d, 1, None)]
        detector.observe(EventBatch(list(records), 0))
    detector.anomalies()
