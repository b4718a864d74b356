"""What goes into a format comes out of it again, whatever plugins are called."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter

import pytest
from hypothesis import given

from pluginhost.errors import ExportError, InvalidValueError, MissingExtraError
from pluginhost.exporters import EXPORTERS, Exporter, export, exporter_named
from pluginhost.exporters.csv import COLUMNS
from pluginhost.exporters.folded import folded_name
from pluginhost.exporters.view import stacks, tidied, view_of
from pluginhost.report import HookMetrics, Overhead, PerformanceReport, Report, encode
from tests.unit.exporters.hostile_reports import REPORTS, environment, node


@given(REPORTS)
def test_rows_of_a_program_add_up(report: Report) -> None:
    """Of a program's report the self times of all rows are the whole."""
    view = view_of(report)
    if view.adds_up:
        assert sum(row.self_ns for row in view.rows) == view.whole_ns


@given(REPORTS)
def test_csv_reads_back_and_holds_no_formula(report: Report) -> None:
    """Python's reader gives the rows again, and no text in them begins a formula."""
    header, *rows = csv.reader(io.StringIO(str(export("csv", report)), newline=""))
    assert tuple(header) == COLUMNS
    expected = view_of(report).rows
    assert len(rows) == len(expected)
    for cells, row in zip(rows, expected, strict=True):
        for text, original in zip(cells[:2], (row.plugin, row.hook), strict=True):
            assert not text.startswith(("=", "+", "-", "@", "\t", "\r"))
            assert text.removeprefix("'") == original or text == original
        assert int(cells[3]) == row.calls
        assert int(cells[6]) == row.self_ns


@given(REPORTS)
def test_speedscope_reads_back(report: Report) -> None:
    """The samples are the call paths with their self times."""
    found = json.loads(export("speedscope", report))
    (profile,) = found["profiles"]
    names = [frame["name"] for frame in found["shared"]["frames"]]
    read = [tuple(names[i] for i in sample) for sample in profile["samples"]]
    tree = view_of(report).tree
    expected = [(s, n.self_ns) for s, n in stacks(tree) if n.self_ns] if tree else []
    assert list(zip(read, profile["weights"], strict=True)) == expected
    assert profile["endValue"] == sum(profile["weights"])


@given(REPORTS)
def test_folded_stacks_read_back(report: Report) -> None:
    """Each line is a call path in escaped names and its self time in us."""
    text = str(export("folded", report))
    assert all(line.isprintable() for line in text.split("\n"))
    read = Counter[tuple[str, ...]]()
    for line in text.split("\n")[:-1]:
        stack, _, us = line.rpartition(" ")
        read[tuple(stack.split(";"))] += int(us)
    expected = Counter[tuple[str, ...]]()
    tree = view_of(report).tree
    for names, found in stacks(tree) if tree else ():
        if found.self_ns >= 500:
            expected[tuple(map(folded_name, names))] += round(found.self_ns / 1000)
    assert read == expected


@given(REPORTS)
def test_a_trace_reads_back(report: Report) -> None:
    """What is within what gives the call paths with their calls again, in exact sums."""
    events = json.loads(export("chrome", report))["traceEvents"]
    open_calls: list[tuple[str, float]] = []
    read = Counter[tuple[tuple[str, ...], int, int]]()
    ends = []
    for event in events:
        if event.get("cat") == "sum":
            end_us = event["ts"] + event["dur"]
            while open_calls and event["ts"] >= open_calls[-1][1]:
                open_calls.pop()
            assert not open_calls or end_us <= open_calls[-1][1]
            open_calls.append((event["name"], end_us))
            ends.append(end_us)
            path = tuple(name for name, _ in open_calls)
            read[path, event["args"]["calls"], event["args"]["self_ns"]] += 1
    tree = view_of(report).tree
    expected = [(s, n.call_count, n.self_ns) for s, n in stacks(tree)] if tree else []
    assert read == Counter(expected)
    if tree:
        assert ends[0] == max(ends)
        assert ends[0] >= tree.duration_ns / 1000 * (1 - 1e-12) - 0.001


@given(REPORTS)
def test_json_is_the_report(report: Report) -> None:
    """The JSON is what a run is saved as."""
    assert export("json", report) == encode(report)


@given(REPORTS)
def test_every_format_takes_every_report(report: Report) -> None:
    """No name makes a format fail, and text can be encoded."""
    for name, exporter in EXPORTERS.items():
        exported = export(name, report)
        assert isinstance(exported, bytes if exporter.binary else str)
        if isinstance(exported, str):
            exported.encode()


def test_long_names_that_differ_stay_two() -> None:
    """What is cut off two names does not make them one."""
    one, other = (tidied("x" * 1_000_000 + end) for end in "ab")
    assert len(one) == len(other) == 500
    assert one != other


def test_a_name_of_a_megabyte_does_not_swell_a_file() -> None:
    """Every format but JSON, which is the report itself, cuts it."""
    name = "=\udc80<b>" * 150_000
    hook = HookMetrics(
        plugin_id=name,
        hook=name,
        call_count=1,
        error_count=0,
        total_time_ns=1,
        self_time_ns=1,
        average_duration_ns=1,
        max_duration_ns=1,
    )
    performance = PerformanceReport(
        observed_ns=1,
        sampling_rate=1,
        hooks=(hook,),
        flame_graph=node("all", 0, node(name, 1000, node(name, 1000))),
        overhead=Overhead(processing_ns=0),
    )
    report = Report(
        name=name,
        created_timestamp_ns=1,
        observed_ns=1,
        environment=environment(name),
        performance=performance,
    )
    for format_name in EXPORTERS.keys() - {"json"}:
        assert len(export(format_name, report)) < 100_000


def test_an_empty_report_can_be_exported(report_of) -> None:
    """Also where nothing was recorded there is a file, without rows."""
    report = report_of({}, performance=None)
    for name in EXPORTERS:
        export(name, report)
    assert str(export("csv", report)).count("\n") == 1


def test_an_unknown_format_is_told_with_near_ones() -> None:
    """A slip of the finger is recognised."""
    with pytest.raises(InvalidValueError, match="did you mean 'speedscope'"):
        exporter_named("spedscope")


def test_another_distribution_can_bring_an_exporter(distribution, report_of) -> None:
    """An entry point that is an Exporter is one more format."""
    distribution(
        "xml-export",
        "[pluginhost.exporters]\nxml = xml_export:XML\nbad = xml_export:nothing\nint = xml_export:INT",
        files={
            "xml_export.py": """
                from pluginhost.exporters import Exporter
                XML = Exporter(
                    summary="As XML.", media_type="text/xml", suffix=".xml",
                    function=lambda report: f"<run name='{report.name}'/>",
                )
                INT = 3
            """
        },
    )
    assert export("xml", report_of({"a": [1]})) == "<run name='plugins'/>"
    with pytest.raises(ExportError, match="cannot be imported: AttributeError"):
        exporter_named("bad")
    with pytest.raises(ExportError, match="is a int"):
        exporter_named("int")


def test_a_missing_library_is_told_with_the_extra(report_of) -> None:
    """The error says what to install."""
    exporter = Exporter(
        summary="", media_type="", suffix="", function="no_such_module:text", extra="otel"
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'pluginhost\[otel\]'"):
        exporter(report_of({}))
