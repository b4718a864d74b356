"""What goes into a history and comes out of it again: names, texts, histograms, COPY."""

from __future__ import annotations

import json
import struct
import sys

import pytest
from hypothesis import given, strategies as st

from pluginhost.histogram import DurationHistogram
from pluginhost.history.bulk import copy_pieces
from pluginhost.history.cells import Cell, packed, unpacked
from pluginhost.history.journals import has_wal_fix, journal_mode, wal_warning
from pluginhost.history.storable import (
    FIELD_BYTES,
    shown_name,
    stored_count,
    stored_metadata,
    stored_name,
    stored_number,
    stored_text,
)

ANY_TEXT = st.text(st.characters(), max_size=60) | st.text("\0\ud800\udfff\\x0u", max_size=12)


def is_storable(text: str) -> bool:
    """Whether both databases take it."""
    text.encode("utf-8")
    return "\0" not in text


@given(ANY_TEXT, ANY_TEXT)
def test_names_stay_apart_and_come_back(one: str, other: str) -> None:
    """Two names are stored as two, and read as they were."""
    assert is_storable(stored_name(one))
    assert (stored_name(one) == stored_name(other)) is (one == other)
    assert shown_name(stored_name(one)) == one


def test_long_names_are_cut_and_stay_apart() -> None:
    """Whatever is beyond the cut counts, too."""
    one, other = "x" * 10_000 + "a", "x" * 10_000 + "b"
    assert stored_name(one) != stored_name(other)
    assert len(stored_name(one).encode()) < 2_700


@given(st.text(st.characters(), max_size=300), st.integers(64, 200))
def test_texts_can_be_stored_and_are_bounded(text: str, limit: int) -> None:
    """Whatever is in them; what was cut says how long it was."""
    stored = stored_text(text, limit)
    assert is_storable(stored)
    assert len(stored.encode()) <= max(limit, 6 * len(text)) or "characters" in stored


@given(st.dictionaries(ANY_TEXT, st.text(st.characters(), max_size=50), max_size=20))
def test_metadata_is_json_of_bounded_size(metadata: dict[str, str]) -> None:
    """What did not fit is counted."""
    stored = stored_metadata(metadata)
    assert (stored is None) is (not metadata)
    if stored is not None:
        assert is_storable(stored)
        assert len(stored) <= FIELD_BYTES
        json.loads(stored)


def test_what_is_left_out_of_metadata_is_counted() -> None:
    """A megabyte does not come in by way of many small values."""
    stored = json.loads(stored_metadata({str(n): "x" * 1_000 for n in range(1_000)}) or "")
    assert stored["(left out)"] > 900


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), None])
def test_what_is_not_finite_is_not_stored(value: float | None) -> None:
    """A database would refuse it, or give back something else."""
    assert stored_number(value) is None


@given(st.integers())
def test_counts_are_within_what_a_database_holds(value: int) -> None:
    """Those that are stay as they are."""
    stored = stored_count(value)
    assert -(2**63) <= stored < 2**63
    assert stored == value or abs(value) >= 2**63


BUCKETS = st.dictionaries(st.integers(0, 0x7F7F), st.integers(1, 2**40), max_size=30)


@given(BUCKETS)
def test_histograms_come_back(buckets: dict[int, int]) -> None:
    """Exactly, also with counts that need more than 32 bits."""
    histogram = DurationHistogram(buckets.items())
    assert unpacked(packed(histogram)).buckets() == histogram.buckets()


@given(st.binary(max_size=40))
def test_no_bytes_make_unpacking_fail(raw: bytes) -> None:
    """Whatever a damaged database holds."""
    unpacked(raw)


@given(st.lists(BUCKETS, max_size=5))
def test_cells_add_up_in_any_order(many: list[dict[int, int]]) -> None:
    """Merging roll-ups loses nothing."""
    cells = [
        Cell(count=sum(b.values()), total_ns=len(b), histogram=DurationHistogram(b.items()))
        for b in many
    ]
    forwards, backwards = Cell(), Cell()
    for cell in cells:
        forwards.add(cell)
    for cell in reversed(cells):
        backwards.add(cell)
    assert forwards.histogram.buckets() == backwards.histogram.buckets()
    assert forwards.count == backwards.count == len(forwards.histogram)


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**15), 2**15 - 1))))
def test_copy_is_what_postgresql_documents(rows: list[tuple[int, int]]) -> None:
    """Read back by a reader of the documented binary format."""
    columns = tuple(zip(*rows, strict=True)) if rows else ((), ())
    raw = b"".join(copy_pieces("qh", columns))
    assert raw[:11] == b"PGCOPY\n\xff\r\n\0"
    assert raw[11:19] == bytes(8)
    at, found = 19, []
    while (fields := struct.unpack_from("!h", raw, at)[0]) != -1:
        assert fields == 2
        found.append(struct.unpack_from("!iqih", raw, at + 2)[1::2])
        at += 2 + 4 + 8 + 4 + 2
    assert found == rows
    assert len(raw) == at + 2


@pytest.mark.parametrize(
    ("version", "mended"),
    [
        ((3, 6, 23), False),
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 9), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
    ids=str,
)
def test_a_write_ahead_log_is_used_only_where_it_is_safe(
    version: tuple[int, int, int], mended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions with the WAL-reset bug keep a rollback journal, and there is a warning."""
    assert has_wal_fix(version) is mended
    assert journal_mode(version) == ("WAL" if mended else "DELETE")
    monkeypatch.setattr("sqlite3.sqlite_version_info", version)
    assert journal_mode() == journal_mode(version)
    assert (wal_warning() is None) is mended


def test_a_python_without_sqlite_has_nothing_to_be_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It can be built so."""
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    assert wal_warning() is None
