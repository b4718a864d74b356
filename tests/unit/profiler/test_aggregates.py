"""The sums over all executions of a plugin, against figures that were worked out otherwise."""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from fractions import Fraction
from math import ceil
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pluginhost import EventBatch, PluginHostError, Profiler, Status
from pluginhost.calltree import CallTree
from pluginhost.errors import InvalidValueError, PluginNotFoundError
from pluginhost.histogram import RELATIVE_ERROR
from pluginhost.journal import Detail, Failure
from pluginhost.reading import OTHERS_TOLERANCE_NS, RawReading, Reading

MIB = 1024 * 1024
SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


class Clock:
    """Goes on only when it is told to."""

    def __init__(self, now_ns: int = 1_000_000_000_000) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def recorded(durations_ns: list[int], plugin_id: str = "a") -> Profiler:
    """A profiler that was told of these executions by hand."""
    profiler = Profiler()
    for duration_ns in durations_ns:
        profiler.record_execution(plugin_id, duration_ns / 1e9, success=True)
    return profiler


def batch_of(*extras: Any, duration_ns: int = 1_000_000, plugin_id: str = "a") -> EventBatch:
    """One execution after another, with what each of them carries."""
    path = CallTree().root[plugin_id]
    records: list[Any] = []
    for number, extra in enumerate(extras):
        records += (path, number * duration_ns, (number + 1) * duration_ns, 1, extra)
    return EventBatch(records, 0)


def reading(**changes: int) -> RawReading:
    """Half a ms of CPU in a process of 100 MiB, nobody else about; as it is taken."""
    known = Reading(500_000, 100 * MIB, 100 * MIB, 0, 1, 1, 0, 0)
    return msgspec.structs.astuple(msgspec.structs.replace(known, **changes))


# Durations


@pytest.mark.parametrize(
    "durations_ns",
    [
        pytest.param([1_234_567], id="one"),
        pytest.param([1_000, 9_000_000_000], id="two far apart"),
        pytest.param([5_000] * 1_000, id="all alike"),
        pytest.param(list(range(1_000, 2_001_000, 1_000)), id="even"),
        pytest.param(
            [round(random.Random(1).lognormvariate(13, 2)) for _ in range(5_000)], id="log-normal"
        ),
        pytest.param([0] * 10 + [10**13], id="nothing and hours"),
    ],
)
def test_durations_as_numpy_and_statistics_have_them(durations_ns: list[int]) -> None:
    """Counts, sums and extremes exactly; percentiles within the documented 0.4 %."""
    got = recorded(durations_ns).get_aggregates("a")
    assert got.execution_count == got.success_count == len(durations_ns)
    assert got.total_time_ns == got.self_time_ns == sum(durations_ns)
    assert got.average_duration_ns == pytest.approx(statistics.fmean(durations_ns), rel=1e-12)
    assert (got.min_duration_ns, got.max_duration_ns) == (min(durations_ns), max(durations_ns))
    for name, share in SHARES.items():
        exact = np.quantile(durations_ns, share, method="inverted_cdf")
        assert getattr(got, f"{name}_duration_ns") == pytest.approx(exact, rel=RELATIVE_ERROR)


EXECUTIONS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 10**13),
        st.booleans(),
        st.none() | st.text(max_size=5) | st.builds(ValueError, st.text(max_size=5)),
    ),
    max_size=60,
)


@given(EXECUTIONS)
@settings(deadline=None)
def test_any_sequence_against_a_model(executions: list[tuple[str, int, bool, Any]]) -> None:
    """What a list of everything would say, the profiler says too."""
    profiler = Profiler()
    model: defaultdict[str, list[tuple[int, bool]]] = defaultdict(list)
    for plugin_id, duration_ns, success, error in executions:
        profiler.record_execution(plugin_id, duration_ns / 1e9, success, error)
        model[plugin_id].append((duration_ns, success))
    assert {row.plugin_id for row in profiler.get_all_aggregates()} == set(model)
    for plugin_id, known in model.items():
        durations_ns = sorted(duration_ns for duration_ns, _ in known)
        failures = sum(not success for _, success in known)
        got = profiler.get_aggregates(plugin_id)
        assert got.execution_count == len(known)
        assert got.failure_count == failures == got.execution_count - got.success_count
        assert got.error_rate == failures / len(known)
        assert got.total_time_ns == got.self_time_ns == sum(durations_ns)
        assert got.min_duration_ns == durations_ns[0]
        assert got.max_duration_ns == durations_ns[-1]
        for name, share in SHARES.items():
            rank = ceil(Fraction(str(share)) * len(known))
            quantile = getattr(got, f"{name}_duration_ns")
            assert abs(quantile - durations_ns[rank - 1]) <= RELATIVE_ERROR * durations_ns[rank - 1]


def test_plugins_are_ranked_by_self_time() -> None:
    """The costliest first, those that cost the same by name."""
    profiler = Profiler()
    for plugin_id, duration in (("b", 1.0), ("a", 1.0), ("c", 5.0), ("d", 0.5)):
        profiler.record_execution(plugin_id, duration, success=True)
    assert [row.plugin_id for row in profiler.get_all_aggregates()] == ["c", "a", "b", "d"]


def test_first_and_last_execution_are_wall_clock_times() -> None:
    """The first by its start, the last by its end."""
    clock = Clock()
    profiler = Profiler(clock=clock, wall_clock=lambda: clock() + 7)
    profiler.record_execution("a", 2.0, success=True)
    clock.now_ns += 60_000_000_000
    profiler.record_execution("a", 1.0, success=True)
    got = profiler.get_aggregates("a")
    assert got.first_execution_timestamp_ns == 1_000_000_000_007 - 2_000_000_000
    assert got.last_execution_timestamp_ns == clock() + 7


# Outcomes


def test_outcomes_are_told_apart() -> None:
    """Timeouts are errors, cancellations are not; neither is a success."""
    outcomes = [Status.ERROR, Status.TIMEOUT, Status.TIMEOUT, Status.CANCELLED]
    failures = [Detail(Failure(status, "E", f"it was {status}")) for status in outcomes]
    profiler = Profiler()
    profiler.observe(batch_of(None, *failures, *[None] * 5))
    got = profiler.get_aggregates("a")
    assert got.execution_count == 10
    assert got.success_count == 6
    assert (got.failure_count, got.timeout_count, got.cancelled_count) == (1, 2, 1)
    assert got.error_rate == 0.3


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(ValueError("no"), "ValueError: no", id="exception"),
        pytest.param("no\x1b[31m", "error: no\\x1b[31m", id="hostile text"),
        pytest.param(None, "error: ", id="nothing"),
        pytest.param("\ud800", "error: \\ud800", id="lone surrogate"),
    ],
)
def test_the_last_error_is_kept(error: object, expected: str) -> None:
    """Made safe, and not forgotten when a success follows."""
    profiler = Profiler()
    profiler.record_execution("a", 1.0, success=False, error="before")
    profiler.record_execution("a", 1.0, success=False, error=error)
    profiler.record_execution("a", 1.0, success=True)
    assert profiler.get_aggregates("a").last_error == expected


def test_an_error_that_goes_with_a_success_is_no_failure() -> None:
    """`success` decides."""
    profiler = Profiler()
    profiler.record_execution("a", 1.0, success=True, error="odd")
    assert profiler.get_aggregates("a").failure_count == 0
    assert profiler.get_metrics("a").status is Status.SUCCESS


# Readings


def test_cpu_is_an_average_of_the_sampled() -> None:
    """Utilisation is of the time of those that were sampled, not of all."""
    profiler = Profiler()
    profiler.observe(batch_of(reading(cpu_ns=200_000), None, reading(cpu_ns=700_000), None))
    got = profiler.get_aggregates("a")
    assert got.execution_count == 4
    assert got.sampled_count == 2
    assert got.average_cpu_time_ns == statistics.fmean([200_000, 700_000])
    assert got.cpu_utilisation == pytest.approx(900_000 / 2_000_000)


def test_memory_is_growth_where_nobody_else_ran() -> None:
    """Shrinking counts as no growth; the resident set's peak is of all that were sampled."""
    profiler = Profiler()
    profiler.observe(
        batch_of(
            reading(rss_after_bytes=110 * MIB),
            reading(rss_after_bytes=90 * MIB),
            reading(rss_after_bytes=900 * MIB, others_cpu_ns=10**9),
            None,
            Detail(Failure(Status.ERROR, "E", "no"), reading(rss_after_bytes=102 * MIB)),
        )
    )
    got = profiler.get_aggregates("a")
    assert got.sampled_count == 4
    assert got.memory_samples == 3
    assert got.peak_memory_bytes == 10 * MIB
    assert got.average_memory_bytes == pytest.approx((10 + 0 + 2) * MIB / 3)
    assert got.peak_rss_bytes == 900 * MIB


@pytest.mark.parametrize(
    ("others_cpu_ns", "disturbed"),
    [
        pytest.param(OTHERS_TOLERANCE_NS, False, id="as far as the clocks can be off"),
        pytest.param(OTHERS_TOLERANCE_NS + 1, True, id="longer"),
    ],
)
def test_others_that_hardly_ran_do_not_disturb(others_cpu_ns: int, disturbed: bool) -> None:
    """The record of the execution and the sums agree on it."""
    profiler = Profiler()
    profiler.observe(batch_of(reading(others_cpu_ns=others_cpu_ns)))
    assert profiler.get_metrics("a").overlapped is disturbed
    assert profiler.get_aggregates("a").memory_samples == (0 if disturbed else 1)


def test_estimates_are_named_where_there_are_any() -> None:
    """Memory is a lower bound, and left out where others ran: each is said only where it is so."""
    calm, disturbed = Profiler(), Profiler()
    calm.observe(batch_of(reading()))
    disturbed.observe(batch_of(reading(others_cpu_ns=10**9)))
    calm_notes, disturbed_notes = (" ".join(p.report().estimates) for p in (calm, disturbed))
    assert "a lower bound" in calm_notes
    assert "memory is left out" not in calm_notes
    assert "a lower bound" not in disturbed_notes
    assert "memory is left out" in disturbed_notes


def test_without_readings_nothing_is_claimed() -> None:
    """None is not zero."""
    got = recorded([1_000]).get_aggregates("a")
    assert got.sampled_count == got.memory_samples == 0
    assert got.average_cpu_time_ns is got.cpu_utilisation is None
    assert got.average_memory_bytes is got.peak_memory_bytes is got.peak_rss_bytes is None


def test_where_others_always_ran_memory_is_not_known() -> None:
    """CPU is the thread's own, so that it still counts."""
    profiler = Profiler()
    profiler.observe(batch_of(reading(rss_after_bytes=900 * MIB, others_cpu_ns=10**9)))
    got = profiler.get_aggregates("a")
    assert got.sampled_count == 1
    assert got.memory_samples == 0
    assert got.peak_memory_bytes is got.average_memory_bytes is None


# Questions by threshold


@pytest.fixture
def mixed() -> Profiler:
    """Averages of 1, 2, 2 and 4 s; error rates of 0, 1/4, 1/2 and 1."""
    profiler = Profiler()
    for plugin_id, duration, failures in (("a", 1, 0), ("b", 2, 1), ("c", 2, 2), ("d", 4, 4)):
        for number in range(4):
            profiler.record_execution(plugin_id, duration, success=number >= failures)
    return profiler


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        pytest.param(0, "dbca", id="all"),
        pytest.param(2, "dbc", id="at the border"),
        pytest.param(2.000_000_001, "d", id="just over"),
        pytest.param(1.999_999_999, "dbc", id="just under"),
        pytest.param(5, "", id="none"),
    ],
)
def test_slow_plugins(mixed: Profiler, threshold: float, expected: str) -> None:
    """At or over the threshold, the slowest first."""
    assert "".join(r.plugin_id for r in mixed.get_slow_plugins(threshold)) == expected


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=9))
@settings(deadline=None)
def test_a_plugins_own_average_is_a_threshold_it_reaches(durations_ns: list[int]) -> None:
    """However its average is rounded, asking with it finds the plugin."""
    profiler = Profiler()
    for duration_ns in durations_ns:
        profiler.record_execution("a", duration_ns / 1e9, success=True)
    threshold = profiler.get_aggregates("a").average_duration_ns / 1e9
    assert [row.plugin_id for row in profiler.get_slow_plugins(threshold)] == ["a"]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        pytest.param(0, "dcba", id="all"),
        pytest.param(0.25, "dcb", id="at the border"),
        pytest.param(0.250_000_1, "dc", id="just over"),
        pytest.param(1, "d", id="always"),
    ],
)
def test_failed_plugins(mixed: Profiler, rate: float, expected: str) -> None:
    """At or over the rate, the worst first."""
    assert "".join(r.plugin_id for r in mixed.get_failed_plugins(rate)) == expected


def test_memory_hogs() -> None:
    """By peak memory, and only those whose memory is known."""
    profiler = Profiler()
    for plugin_id, growth in (("a", 1), ("b", 30), ("c", 2)):
        sampled = reading(rss_after_bytes=(100 + growth) * MIB)
        profiler.observe(batch_of(sampled, plugin_id=plugin_id))
    profiler.record_execution("d", 1.0, success=True)
    assert [row.plugin_id for row in profiler.get_memory_hogs()] == ["b", "c", "a"]


# Values by hand


def test_a_timeout_by_hand_is_one() -> None:
    """It counts as an error, and apart from other failures."""
    profiler = Profiler()
    profiler.record_execution("a", 1.0, success=False, error=TimeoutError("late"))
    profiler.record_execution("a", 1.0, success=False, error=OSError("no"))
    got = profiler.get_aggregates("a")
    assert (got.timeout_count, got.failure_count, got.success_count) == (1, 1, 0)
    assert got.error_rate == 1.0
    assert [m.status for m in profiler.get_history("a")] == [Status.TIMEOUT, Status.ERROR]


@pytest.mark.parametrize(
    "duration",
    [
        pytest.param(-0.001, id="negative"),
        pytest.param(float("nan"), id="not a number"),
        pytest.param(float("inf"), id="infinite"),
        pytest.param(1e12, id="absurd"),
        pytest.param(True, id="boolean"),
        pytest.param("1", id="text"),
    ],
)
def test_a_duration_that_cannot_be_is_refused(duration: Any) -> None:
    """And nothing of it is kept."""
    profiler = Profiler()
    with pytest.raises(InvalidValueError, match=r"the duration is .* - give seconds between"):
        profiler.record_execution("a", duration, success=True)
    assert profiler.get_all_aggregates() == ()


@pytest.mark.parametrize(
    "plugin_id",
    [
        pytest.param("", id="empty"),
        pytest.param("a\x1b[31m", id="escape"),
        pytest.param("a\nb", id="newline"),
        pytest.param("\ud800", id="lone surrogate"),
        pytest.param("a\u202eb", id="bidirectional override"),
        pytest.param("x" * 201, id="endless"),
        pytest.param(None, id="none"),
        pytest.param(7, id="number"),
    ],
)
def test_a_name_that_cannot_be_shown_is_refused(plugin_id: Any) -> None:
    """And nothing of it is kept."""
    profiler = Profiler()
    with pytest.raises(InvalidValueError, match="give 1 to 200 printable characters"):
        profiler.record_execution(plugin_id, 1.0, success=True)
    assert profiler.get_all_aggregates() == ()


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), True])
@pytest.mark.parametrize("question", ["get_slow_plugins", "get_failed_plugins"])
def test_a_threshold_that_cannot_be_is_refused(question: str, value: float) -> None:
    """A wrong question gets no answer, rather than an empty one."""
    with pytest.raises(InvalidValueError):
        getattr(Profiler(), question)(value)


def test_an_error_rate_over_one_is_refused() -> None:
    """It is a share, not a percentage."""
    with pytest.raises(InvalidValueError, match=r"between 0\.0 and 1\.0"):
        Profiler().get_failed_plugins(25)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"max_history": 0}, id="no history"),
        pytest.param({"sampling_rate": -0.1}, id="negative rate"),
        pytest.param({"sampling_rate": 1.1}, id="rate over one"),
        pytest.param({"sampling_rate": float("nan")}, id="rate not a number"),
        pytest.param({"cost_budget": 2.0}, id="budget over one"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    """At once, not at the first execution."""
    with pytest.raises(InvalidValueError, match=" - give "):
        Profiler(**settings)


@pytest.mark.parametrize(
    "question", ["get_metrics", "get_aggregates", "get_history", "get_samples", "clear_metrics"]
)
def test_of_an_unknown_plugin_it_is_said_which_are_known(question: str) -> None:
    """The error names those that were recorded."""
    with pytest.raises(PluginNotFoundError, match=r"plugin 'b': .* recorded are: a$"):
        getattr(recorded([1]), question)("b")
    with pytest.raises(PluginHostError, match="recorded are: none"):
        getattr(Profiler(), question)("b")
