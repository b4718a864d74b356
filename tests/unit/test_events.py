"""Records on their way: call paths, batches as columns and as events, readings."""

from __future__ import annotations

import os
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from hypothesis import given, strategies as st

from pluginhost.calltree import CallPath, CallTree, EventKind, label_of
from pluginhost.events import RECORD_WIDTH, Event, EventBatch, error_event
from pluginhost.journal import Detail, Failure, Status
from pluginhost.reading import OTHERS_TOLERANCE_NS, RawReading, Reading, resident_bytes

OFFSET_NS = 10**18
RAW: RawReading = (40, b"10 20 30 4 0 5 0\n", 81_920, 6, 1, 2, 0, 3)


def _detail(status: Status = Status.ERROR, reading: RawReading | None = None) -> Detail:
    failure = Failure(status, "ValueError", "no") if status is not Status.SUCCESS else None
    return Detail(failure, reading, {"version": "1"}, "Task-1")


def _paths(tree: CallTree) -> list[CallPath]:
    hook = tree.site(EventKind.HOOK_CALL, "b", "greet")
    load = tree.site(EventKind.PLUGIN_LOAD, "a", "load")
    a = tree.root["a"]
    return [a, a["b"], a[hook], tree.root["b"], tree.root["b"]["a"], a["b"]["a"], tree.root[load]]


@st.composite
def _records(draw: st.DrawFn, min_size: int = 0) -> list[tuple[Any, ...]]:
    """Draw journal records over a few call paths, in the order of their ends."""
    extras = st.sampled_from(
        [None, None, RAW, *map(_detail, Status), _detail(Status.SUCCESS, RAW), _detail(reading=RAW)]
    )
    paths = _paths(CallTree())
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from(paths), st.integers(0, 1000), st.integers(0, 1000), extras),
            min_size=min_size,
            max_size=30,
        )
    )
    records = [(p, start, start + ns, 7, extra) for p, start, ns, extra in rows]
    return sorted(records, key=lambda record: record[2])


def _batch(records: list[tuple[Any, ...]]) -> EventBatch:
    return EventBatch([field for record in records for field in record], OFFSET_NS)


def _expected_events(records: list[tuple[Any, ...]]) -> Iterator[Event]:
    """Yield what the records say, worked out record by record."""
    for path, start, end, thread, extra in records:
        detail = extra if isinstance(extra, Detail) else Detail()
        status, error_type, message = (
            msgspec.structs.astuple(detail.failure)
            if detail.failure
            else (Status.SUCCESS, None, None)
        )
        above = path.parent.site.plugin_id or None
        event = Event(
            kind=path.site.kind,
            plugin_id=path.site.plugin_id,
            hook=path.site.hook,
            timestamp_ns=end + OFFSET_NS,
            start_ns=start,
            duration_ns=end - start,
            status=status,
            error_type=error_type,
            error_message=message,
            metadata=detail.metadata or {},
            parent=above,
            path=path.names(),
            thread_id=thread,
            task=detail.task,
        )
        yield event
        if status in ("error", "timeout"):
            yield error_event(event)


@given(_records())
def test_a_batch_read_as_events_says_what_its_columns_say(records: list[tuple[Any, ...]]) -> None:
    """Every record is one event with all its figures, a failed one followed by its error."""
    batch = _batch(records)
    expected = list(_expected_events(records))
    assert list(batch) == expected
    assert len(batch) == len(expected)
    assert batch[1:3] == tuple(expected[1:3])
    assert [batch[i] for i in range(len(batch))] == expected
    assert batch.occurrences == len(records)


@given(_records())
def test_columns_are_the_fields_of_the_records(records: list[tuple[Any, ...]]) -> None:
    """Columns have one entry a record, in the order of the journal."""
    batch = _batch(records)
    columns = (batch.paths, batch.starts_ns, batch.ends_ns, batch.thread_ids, batch.extras)
    assert len(columns) == RECORD_WIDTH
    assert list(zip(*columns, strict=True)) == records
    assert batch.durations_ns == [end - start for _, start, end, _, _ in records]
    assert batch.is_plain == all(record[4] is None for record in records)
    assert batch.has_details == any(isinstance(record[4], Detail) for record in records)
    assert list(batch.detailed()) == [
        (i, record[4]) for i, record in enumerate(records) if isinstance(record[4], Detail)
    ]


@given(_records())
def test_readings_are_counted_wherever_they_are_carried(records: list[tuple[Any, ...]]) -> None:
    """A bare reading and one within a detail count alike."""
    extras = [record[4] for record in records]
    expected = sum(
        extra is not None and (not isinstance(extra, Detail) or extra.reading is not None)
        for extra in extras
    )
    assert _batch(records).readings == expected


@given(_records())
def test_groups_part_the_batch_by_call_path(records: list[tuple[Any, ...]]) -> None:
    """Each record is in the one group of its path, in order, with the right sums."""
    by_path: defaultdict[CallPath, list[tuple[Any, ...]]] = defaultdict(list)
    for record in records:
        by_path[record[0]].append(record)
    groups = {group.path: group for group in _batch(records).groups}
    assert groups.keys() == by_path.keys()
    for path, rows in by_path.items():
        group, durations = groups[path], [end - start for _, start, end, _, _ in rows]
        assert group.durations_ns == durations
        assert group.ends_ns == [row[2] for row in rows]
        assert list(group.extras or [None] * len(rows)) == [row[4] for row in rows]
        assert (group.total_ns, group.max_ns) == (sum(durations), max(durations))
        assert group.first_start_ns() == min(row[1] for row in rows)


@given(_records())
def test_executions_merge_the_paths_of_a_plugin_in_the_order_of_ends(
    records: list[tuple[Any, ...]],
) -> None:
    """Wherever a plugin was called from, its executions come together, oldest end first."""
    expected: defaultdict[str, list[tuple[int, int, Any]]] = defaultdict(list)
    for path, start, end, _, extra in records:
        if path.site.kind is EventKind.PLUGIN_EXECUTE:
            expected[path.site.plugin_id].append((end, end - start, extra))
    found = _batch(records).executions
    assert found.keys() == expected.keys()
    for plugin_id, rows in expected.items():
        group = found[plugin_id]
        assert group.ends_ns == [end for end, _, _ in rows]
        extras = group.extras or [None] * len(rows)
        merged = zip(group.ends_ns, group.durations_ns, map(id, extras), strict=True)
        assert Counter(merged) == Counter((end, ns, id(extra)) for end, ns, extra in rows)
        assert group.total_ns == sum(ns for _, ns, _ in rows)


@given(_records())
def test_a_batch_is_in_turn_when_nothing_overlaps_its_forerunner(
    records: list[tuple[Any, ...]],
) -> None:
    """In turn means that each record begins after the one before it has ended."""
    expected = all(later[1] >= earlier[2] for earlier, later in pairwise(records))
    assert _batch(records).in_turn is expected


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        pytest.param(Status.SUCCESS, ["plugin_execute"], id="success"),
        pytest.param(Status.ERROR, ["plugin_execute", "plugin_error"], id="error"),
        pytest.param(Status.TIMEOUT, ["plugin_execute", "plugin_error"], id="timeout"),
        pytest.param(Status.CANCELLED, ["plugin_execute"], id="cancelled"),
    ],
)
def test_only_errors_bring_an_event_of_their_own(status: Status, kinds: list[str]) -> None:
    """Failing and overrunning are errors; being cancelled is nobody's fault."""
    record = (CallTree().root["a"], 5, 9, 1, _detail(status))
    assert [event.kind for event in _batch([record])] == kinds


def test_an_error_event_is_a_point_at_the_end_of_what_failed() -> None:
    """It has the failed one's end, path and words, and no duration of its own."""
    failed, error = _batch([(CallTree().root["a"]["b"], 100, 350, 1, _detail())])
    assert error.kind is EventKind.PLUGIN_ERROR
    assert (error.start_ns, error.duration_ns) == (350, 0)
    assert error.timestamp_ns == failed.timestamp_ns == 350 + OFFSET_NS
    assert (error.error_type, error.error_message) == ("ValueError", "no")
    assert (error.plugin_id, error.parent, error.path) == ("b", "a", ("a", "b"))


def test_events_cannot_be_changed() -> None:
    """What happened, happened."""
    event = _batch([(CallTree().root["a"], 1, 2, 1, None)])[0]
    with pytest.raises(AttributeError):
        event.duration_ns = 5  # type: ignore[misc]


# Call paths


def test_a_call_path_knows_all_its_callers() -> None:
    """Names run from the top down; the caller is the plugin just above."""
    tree = CallTree()
    greet = tree.site(EventKind.HOOK_CALL, "b", "greet")
    path = tree.root["a"][greet]["c"]
    assert path.names() == ("a", "b:greet", "c")
    assert path.caller == "b"
    assert tree.root["a"].caller is None
    assert tree.root.names() == ()


def test_a_label_names_the_hook_unless_it_is_execute() -> None:
    """A plain execution is named by its plugin alone."""
    tree = CallTree()
    assert label_of(tree.execution_site("a")) == "a"
    assert label_of(tree.site(EventKind.HOOK_CALL, "a", "greet")) == "a:greet"


def test_sites_and_paths_are_made_once() -> None:
    """The same question gets the same object, for they are compared by identity."""
    tree = CallTree()
    assert tree.site(EventKind.HOOK_CALL, "a", "greet") is tree.site(
        EventKind.HOOK_CALL, "a", "greet"
    )
    assert tree.root["a"] is tree.root["a"]
    assert tree.root["a"].site is tree.execution_site("a")
    assert tree.root["a"] != tree.root["b"]  # although both are empty mappings


def test_paths_are_told_apart_by_identity_even_when_equal_as_mappings() -> None:
    """Nodes are not values: as keys of a mapping they never collide."""
    tree = CallTree()
    assert len({tree.root["a"]: 1, tree.root["b"]: 2}) == 2
    assert [tree.root["a"], tree.root["b"]].index(tree.root["b"]) == 1


def test_a_path_that_gets_too_deep_loses_its_callers() -> None:
    """Recursion without end makes neither endless paths nor lost calls, and is counted."""
    tree = CallTree(max_depth=3)
    path = tree.root
    for _ in range(5):
        path = path["a"]
    assert path.names() == ("(callers not kept)", "a", "a")  # the fourth call began anew
    assert tree.cut_paths == 1


def test_a_tree_that_is_full_keeps_known_paths_and_counts_the_rest_by_plugin() -> None:
    """Known paths stay what they are; unknown ones lose their callers, not their calls."""
    tree = CallTree(max_paths=3)
    known = tree.root["a"]["b"]
    cut = tree.root["a"]["c"]
    assert cut.names() == ("(callers not kept)", "c")
    assert cut.caller is None
    assert tree.root["a"]["d"]["c"] is cut
    assert tree.root["a"]["b"] is known
    assert tree.cut_paths == 3


def test_a_path_that_another_thread_was_quicker_to_add_is_taken_as_it_is() -> None:
    """Between missing it and adding it, somebody else may have."""
    tree = CallTree()
    first = tree.root["a"]
    assert tree.grow(tree.root, "a") is first
    assert tree.path_count == 2


def test_threads_that_grow_the_tree_at_once_get_the_same_paths() -> None:
    """No call path is made twice, whoever comes first."""
    tree, ready = CallTree(), threading.Barrier(8)
    found: list[list[CallPath]] = []

    def grow() -> None:
        ready.wait(10)
        found.append([tree.root[f"p{i}"][f"q{i}"] for i in range(300)])

    threads = [threading.Thread(target=grow) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for paths in zip(*found, strict=True):
        assert len(set(map(id, paths))) == 1
    assert tree.path_count == 601


# Readings


def test_a_raw_reading_becomes_bytes_and_counts() -> None:
    """The gauge's second field is in pages; what is bytes already stays."""
    assert Reading.of(RAW) == Reading(
        cpu_ns=40,
        rss_before_bytes=20 * os.sysconf("SC_PAGE_SIZE"),
        rss_after_bytes=81_920,
        others_cpu_ns=6,
        threads_before=1,
        threads_after=2,
        tasks_before=0,
        tasks_after=3,
    )


@pytest.mark.parametrize(
    ("others_cpu_ns", "overlapped"),
    [
        pytest.param(0, False, id="alone"),
        pytest.param(-2_000, False, id="clocks that disagree"),
        pytest.param(OTHERS_TOLERANCE_NS, False, id="as much as clocks may be off"),
        pytest.param(OTHERS_TOLERANCE_NS + 1, True, id="more than that"),
    ],
)
def test_a_reading_is_doubted_when_others_used_the_cpu(
    others_cpu_ns: int, *, overlapped: bool
) -> None:
    """Threads or tasks that ran meanwhile make the memory figure uncertain."""
    raw: RawReading = (1, 2, 3, others_cpu_ns, 1, 1, 0, 0)
    assert Reading.of(raw).overlapped is overlapped


STATM = Path("/proc/self/statm")


@pytest.mark.skipif(not STATM.exists(), reason="Linux only")
def test_a_line_of_statm_is_the_resident_set() -> None:
    """What the kernel writes, read as we do, is what psutil says (within 8 MiB)."""
    assert resident_bytes(STATM.read_bytes()) == pytest.approx(
        psutil.Process().memory_info().rss, abs=8 << 20
    )
