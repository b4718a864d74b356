"""pprof profiles, read back by the rules of the wire format of protocol buffers."""

from __future__ import annotations

import gzip
from collections import Counter, defaultdict
from collections.abc import Iterator

from hypothesis import given

from pluginhost.exporters import export
from pluginhost.exporters.pprof import SAMPLE_TYPES
from pluginhost.exporters.view import stacks, view_of
from pluginhost.report import Report
from tests.unit.exporters.hostile_reports import REPORTS


def varints(raw: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in raw:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0
    assert shift == 0


def fields(raw: bytes) -> dict[int, list[int | bytes]]:
    """Return the fields of a message: numbers as they are, anything else as bytes."""
    found: defaultdict[int, list[int | bytes]] = defaultdict(list)
    at = 0

    def varint() -> int:
        nonlocal at
        end = next(i for i in range(at, len(raw)) if raw[i] < 0x80) + 1
        (value,) = varints(raw[at:end])
        at = end
        return value

    while at < len(raw):
        key = varint()
        if key & 7 == 0:
            found[key >> 3].append(varint())
        else:
            assert key & 7 == 2
            length = varint()
            found[key >> 3].append(raw[at : at + length])
            at += length
    return found


@given(REPORTS)
def test_a_profile_reads_back(report: Report) -> None:
    """The samples are the call paths, leaf first, with calls and self time, and CPU by row."""
    profile = fields(gzip.decompress(export("pprof", report)))
    texts = [text.decode() for text in profile[6]]
    assert texts[0] == ""
    assert len(set(texts)) == len(texts)
    names = {fields(f)[1][0]: texts[fields(f).get(2, [0])[0]] for f in profile[5]}
    for location in map(fields, profile[4]):
        assert fields(location[4][0])[1] == location[1]
    types = [tuple(texts[fields(each)[i][0]] for i in (1, 2)) for each in profile[1]]
    assert tuple(types) == SAMPLE_TYPES
    read = Counter[tuple[tuple[str, ...], int, int]]()
    for sample in map(fields, profile[2]):
        path = tuple(names[number] for number in reversed([*varints(sample[1][0])]))
        calls, self_ns, cpu_ns = varints(sample[2][0])
        if cpu_ns == 0:
            read[path, calls, self_ns] += 1
    tree = view_of(report).tree
    expected = Counter(
        (tuple(name or "(no name)" for name in path), node.call_count, node.self_ns)
        for path, node in (stacks(tree) if tree else ())
        if node.call_count or node.self_ns
    )
    assert read == expected


@given(REPORTS)
def test_a_profile_says_when_it_was_made(report: Report) -> None:
    """Time, duration and what the report notes are in it."""
    profile = fields(gzip.decompress(export("pprof", report)))
    view = view_of(report)
    assert profile[9] == [view.created_timestamp_ns]
    assert profile.get(10, [0]) == [view.whole_ns]
    texts = [text.decode() for text in profile[6]]
    comments = [texts[i] for i in varints(profile[13][0])]
    assert comments == [f"{k}: {v}" for k, v in view.facts] + list(view.notes)
