"""Records as files: what is written comes back, what is broken is refused with a remedy."""

from __future__ import annotations

import json
import os
import resource
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from jsonschema import Draft202012Validator

import pluginhost.report as report_module
from pluginhost.analytics.records import AnalyticsExport
from pluginhost.comparison import Comparison, Gate
from pluginhost.costs import FlameGraphNode
from pluginhost.errors import InvalidValueError, ReportFileError
from pluginhost.history.records import PluginTotalsList, RunList
from pluginhost.host.locking import Lock
from pluginhost.host.manifest import Manifest
from pluginhost.inside import InsideFrame
from pluginhost.report import (
    SCHEMA_VERSION,
    AnalyticsReport,
    Overhead,
    PerformanceReport,
    PluginInfo,
    PluginList,
    Report,
    decode,
    encode,
    json_schema,
    read_report,
    write_report,
)
from pluginhost.seconds import ns_of_seconds
from pluginhost.series import Series
from tests.examples import examples

SCHEMAS = Path(__file__).parents[2] / "docs" / "reference" / "schemas"
PUBLISHED: Mapping[str, type[msgspec.Struct]] = {
    "comparison": Comparison,
    "gate": Gate,
    "series": Series,
    "history-runs": RunList,
    "history-plugins": PluginTotalsList,
    "plugin-list": PluginList,
    "report": Report,
    "performance-report": PerformanceReport,
    "analytics-report": AnalyticsReport,
    "analytics-export": AnalyticsExport,
    "manifest": Manifest,
    "lock": Lock,
}
KINDS = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, id=kind.__name__)
        for kind in (Report, PerformanceReport, AnalyticsReport, AnalyticsExport, PluginList)
    ],
)

# Any record that the types allow

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = {int: INTEGERS, float: FLOATS, str: TEXT, bool: st.booleans(), NoneType: st.none()}


def records(kind: Any) -> st.SearchStrategy[Any]:
    fields = {
        name: st.just(SCHEMA_VERSION) if name == "schema_version" else values(hint)
        for name, hint in get_type_hints(kind).items()
        if name != "children"
    }
    if kind not in (FlameGraphNode, InsideFrame):
        return st.builds(kind, **fields)
    return st.recursive(
        st.builds(kind, **fields),
        lambda below: st.builds(kind, **fields, children=st.tuples(below, below)),
        max_leaves=6,
    )


def values(hint: Any) -> st.SearchStrategy[Any]:
    origin, inside = get_origin(hint), get_args(hint)
    if hint in LEAVES:
        return LEAVES[hint]
    if origin in (Union, UnionType):
        return st.one_of([values(one) for one in inside])
    if origin is tuple:
        many = inside[-1] is Ellipsis
        parts = map(values, inside)
        return st.lists(next(parts), max_size=2).map(tuple) if many else st.tuples(*parts)
    if origin is not None:
        return st.dictionaries(TEXT, values(inside[1]), max_size=2)
    return st.sampled_from(hint) if issubclass(hint, Enum) else records(hint)


STRATEGIES = {
    kind: records(kind)
    for kind in (Report, PerformanceReport, AnalyticsReport, AnalyticsExport, PluginList)
}


@pytest.fixture
def report(report_of: Callable[..., Report]) -> Report:
    """A small report."""
    return report_of({"words": [1_000, 2_000], "checksum": [5_000]}, errors={"words": 1})


@contextmanager
def no_file_over(limit_bytes: int) -> Iterator[None]:
    """Have writing fail at so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Text


@KINDS
@given(data=st.data())
@settings(deadline=None, max_examples=examples(25))
def test_what_is_encoded_is_decoded_again(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    """Any record that its types allow comes back equal, whatever is in its texts."""
    record = data.draw(STRATEGIES[kind])
    assert decode(encode(record), kind) == record


def test_json_is_indented_and_keeps_what_is_not_ascii() -> None:
    """People read these files, too."""
    text = encode(PluginInfo(id="größe"))
    assert text.splitlines()[1] == '  "id": "größe",'


def test_a_lone_surrogate_becomes_a_python_escape() -> None:
    """A file name that is not text must not keep a report from being saved."""
    info = PluginInfo(id="a", location="/tmp/caf\udce9/é", summary="\\ud800 as it stands")
    again = decode(encode(info), PluginInfo)
    assert again.location == "/tmp/caf\\udce9/é"
    assert again.summary == "\\ud800 as it stands"


@given(st.binary(max_size=50) | st.text(max_size=50))
@settings(deadline=None)
def test_no_text_makes_decoding_fail_otherwise(text: bytes | str) -> None:
    """Whatever the file holds, the error is the one that is documented, and it has a remedy."""
    with pytest.raises(ReportFileError) as caught:
        decode(text, Report)
    assert caught.value.remedy


@given(st.data())
@settings(deadline=None, max_examples=examples(50))
def test_a_truncated_report_is_refused(data: st.DataObject) -> None:
    """A file that was cut at any place is not read as a shorter report."""
    whole = encode(data.draw(STRATEGIES[Report])).encode()
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ReportFileError, match="is not a report"):
        decode(whole[:cut], Report)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"PK\x03\x04", id="a zip file"),
        pytest.param(b"\xff\xfe{\x00}\x00", id="UTF-16"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"version": 3, "plugins": []}', id="alien JSON"),
        pytest.param(b'{"name": "\\ud800"}', id="lone surrogate"),
        pytest.param(b'{"schema_version": 1e999}', id="infinite version"),
        pytest.param(b'{"schema_version": "1"}', id="version as text"),
        pytest.param(b'{"a":' * 100_000, id="deep"),
        pytest.param(b"[" * 100_000, id="deep lists"),
        pytest.param(b'{"observed_ns": ' + b"9" * 5_000 + b"}", id="huge number"),
    ],
)
def test_what_is_not_a_report_is_refused(text: bytes) -> None:
    """The error says whose fault it is and what to do."""
    with pytest.raises(ReportFileError, match=r"^run\.json is not a report: .* - give a file"):
        decode(text, Report, origin="run.json")


def test_a_deep_graph_is_refused() -> None:
    """Nesting that is valid but that nothing could walk is not let in."""
    depth = 100_000
    text = '{"name":"x","duration_ns":1,"children":[' * depth + "]}" * depth
    with pytest.raises(ReportFileError, match="recursion"):
        decode(text, FlameGraphNode)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="same shape"),
        pytest.param({"plugins": {"renamed": 1}, "observed_ns": "long"}, id="other shape"),
    ],
)
@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 0, -1])
def test_another_schema_version_is_named(
    report: Report, version: int, changes: dict[str, Any]
) -> None:
    """Also when the other version looks quite different, the version is what one is told."""
    document = json.loads(encode(report)) | {"schema_version": version} | changes
    with pytest.raises(ReportFileError, match=rf"schema version {version}, .* reads 1 - read it"):
        decode(json.dumps(document), Report)


def test_fields_of_the_future_are_ignored(report: Report) -> None:
    """Within a schema version, what a newer program adds does no harm."""
    document = json.loads(encode(report)) | {"new": [1]}
    assert decode(json.dumps(document), Report) == report


def test_a_large_report_comes_back(report_of: Callable[..., Report]) -> None:
    """Thousands of plugins are no problem."""
    large = report_of({f"plugin{i}": [i + 1] for i in range(3_000)})
    text = encode(large)
    assert len(text) > 2_000_000
    assert decode(text, Report) == large


# Files


def test_a_saved_report_is_read_again(report: Report, tmp_path: Path) -> None:
    """And nothing but the file is left in the folder."""
    path = tmp_path / "run.json"
    write_report(report, path)
    assert read_report(str(path)) == report
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_saving_replaces_what_was_there(report: Report, tmp_path: Path) -> None:
    """The second run under one name is the one that counts."""
    path = tmp_path / "run.json"
    path.write_text("x" * 100_000)
    write_report(report, path)
    assert read_report(path) == report


def test_a_full_disk_leaves_the_file_that_was_there(report: Report, tmp_path: Path) -> None:
    """A report is saved whole or not at all, and nothing half-written is left."""
    path = tmp_path / "run.json"
    path.write_text("precious")
    with no_file_over(100), pytest.raises(ReportFileError, match="File too large"):
        write_report(report, path)
    assert path.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def taken(folder: Path) -> Path:
    (folder / "taken").mkdir()
    return folder / "taken"


def under_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "run.json"


def draft_taken(folder: Path) -> Path:
    (folder / "run.json.part" / "mine").mkdir(parents=True)
    return folder / "run.json"


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(lambda folder: folder / "missing" / "run.json", id="no such folder"),
        pytest.param(under_a_file, id="folder is a file"),
        pytest.param(taken, id="is a folder"),
        pytest.param(draft_taken, id="draft's name taken"),
        pytest.param(lambda folder: folder / ("n" * 300), id="long name"),
        pytest.param(lambda folder: folder / "a\0b", id="null character"),
        pytest.param(lambda folder: Path(), id="empty"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(
    report: Report, tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    """The error says why and what to do, and everything is as before."""
    path = place(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ReportFileError, match=r"cannot be written: \w.* - choose a folder"):
        write_report(report, path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_read_only_folder_keeps_its_file(report: Report, tmp_path: Path) -> None:
    """There is no permission to write there, and the old report stays."""
    path = tmp_path / "run.json"
    path.write_text("precious")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ReportFileError, match="Permission denied"):
            write_report(report, path)
    finally:
        tmp_path.chmod(0o700)
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(lambda folder: folder / "missing.json", id="no such file"),
        pytest.param(taken, id="is a folder"),
        pytest.param(lambda folder: folder / "a\0b", id="null character"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    """The error says why and what to do."""
    with pytest.raises(ReportFileError, match=r"cannot be read: \w.* - check the path"):
        read_report(place(tmp_path))


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """Of two files that are compared, one must know which is broken."""
    path = tmp_path / "half.json"
    path.write_text('{"schema_version": 1, "na')
    with pytest.raises(ReportFileError, match=r"half\.json is not a report"):
        read_report(path)


def test_a_link_stays_a_link(report: Report, tmp_path: Path) -> None:
    """What is replaced is the file that it leads to."""
    link, target = tmp_path / "latest.json", tmp_path / "run.json"
    target.write_text("old")
    link.symlink_to(target)
    write_report(report, link)
    assert link.is_symlink()
    assert read_report(target) == report


def test_a_pipe_is_written_to(report: Report, tmp_path: Path) -> None:
    """What is not a file, such as /dev/stdout, is never replaced by one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    texts: list[str] = []
    reader = threading.Thread(target=lambda: texts.append(pipe.read_text()))
    reader.start()
    write_report(report, pipe)
    reader.join(10)
    assert decode(texts[0], Report) == report
    assert pipe.is_fifo()


# Schemas


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_schema_is_that_of_the_record(name: str) -> None:
    """The files are made by this test itself with UPDATE_SNAPSHOTS=1 in the environment."""
    path = SCHEMAS / f"{name}.json"
    schema = json.dumps(json_schema(PUBLISHED[name]), indent=2) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(schema, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == schema


def test_no_other_schema_is_published() -> None:
    """A record that is gone takes its schema along."""
    assert sorted(p.name for p in SCHEMAS.iterdir()) == sorted(f"{n}.json" for n in PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_schema_is_valid_and_says_which_draft(name: str) -> None:
    """Other programs' validators accept it."""
    schema = json_schema(PUBLISHED[name])
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


@KINDS
@given(data=st.data())
@settings(deadline=None, max_examples=15)
def test_what_is_encoded_fits_its_schema(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    """A program that trusts the schema can read every report."""
    document = json.loads(encode(data.draw(STRATEGIES[kind])))
    Draft202012Validator(json_schema(kind)).validate(document)


def test_the_schema_refuses_what_is_not_a_report(report: Report) -> None:
    """It is more than `true`: fields and types are checked, deep down, too."""
    validator = Draft202012Validator(json_schema(Report))
    document = json.loads(encode(report))
    assert validator.is_valid(document)
    assert not validator.is_valid({k: v for k, v in document.items() if k != "observed_ns"})
    document["performance"]["plugins"][0]["execution_count"] = "2"
    assert not validator.is_valid(document)


def test_records_cannot_be_changed() -> None:
    """What one observer or reader is given, another one has, too."""
    kinds = [k for k in vars(report_module).values() if isinstance(k, type(msgspec.Struct))]
    public = [kind for kind in kinds if kind.__module__ == "pluginhost.report"]
    settings_of = {
        kind.__name__: kind.__struct_config__ for kind in public if kind.__name__[0] != "_"
    }
    assert len(settings_of) > 10
    assert [name for name, config in settings_of.items() if not config.frozen] == []


# Values given by hand


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(0, 0, id="zero"),
        pytest.param(1, 1_000_000_000, id="integer"),
        pytest.param(0.25, 250_000_000, id="fraction"),
        pytest.param(1e-9, 1, id="shortest"),
        pytest.param(4e-10, 0, id="rounded"),
        pytest.param(366 * 86_400, 366 * 86_400 * 10**9, id="longest"),
    ],
)
def test_seconds_become_ns(value: float, expected: int) -> None:
    """Rounded to the nearest."""
    assert ns_of_seconds(value, "the duration") == expected


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(-1e-9, id="negative"),
        pytest.param(float("nan"), id="not a number"),
        pytest.param(float("inf"), id="infinite"),
        pytest.param(float("-inf"), id="negative infinite"),
        pytest.param(366 * 86_400 + 1, id="over a year"),
        pytest.param(10**400, id="absurd"),
        pytest.param(True, id="true"),
        pytest.param(False, id="false"),
        pytest.param("1", id="text"),
        pytest.param(None, id="none"),
        pytest.param(1j, id="complex"),
    ],
)
def test_what_cannot_be_a_duration_is_refused(value: Any) -> None:
    """The error names the value and says what to give."""
    with pytest.raises(InvalidValueError, match=r"^the deadline is .* - give seconds between 0"):
        ns_of_seconds(value, "the deadline")


def test_overhead_adds_up() -> None:
    """What is not known counts as nothing."""
    assert Overhead(processing_ns=5).total_ns == 5
    assert Overhead(processing_ns=5, recording_ns=70, reading_ns=900).total_ns == 975
