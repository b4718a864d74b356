"""What is exported is read by programs that nobody here wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from pluginhost import PluginHost, observe
from pluginhost.exporters import EXPORTERS, export
from pluginhost.exporters.chrome import TraceWriter
from pluginhost.exporters.view import stacks, view_of
from pluginhost.report import Overhead, PerformanceReport, Report
from tests.proof.consumers import (
    chromium,
    imported_by_chrome,
    opened_in_speedscope,
    output_of,
    run_of_a_host,
    run_of_a_program,
    speedscope,
    speedscope_shows,
    tool,
)
from tests.unit.exporters.hostile_reports import NASTY, environment, node

pytestmark = pytest.mark.proof
PLUGINS = {
    "outer.py": """
        from pluginhost import hookimpl

        @hookimpl
        def execute(host):
            host.execute("inner")
    """,
    "inner.py": """
        from pluginhost import hookimpl

        @hookimpl
        def execute():
            sum(range(1000))
    """,
}
Saved = Callable[[], tuple[Path, Report]]
runs = pytest.mark.parametrize(
    "saved",
    [pytest.param(run_of_a_host, id="host"), pytest.param(run_of_a_program, id="program")],
)


def hostile() -> tuple[Path, Report]:
    """Return a report whose call paths have the worst names there are."""
    tree = node("all", 0, *(node(name, 1_000_000, node(name, 2_000_000)) for name in NASTY))
    performance = PerformanceReport(
        observed_ns=1, sampling_rate=1, flame_graph=tree, overhead=Overhead(processing_ns=0)
    )
    report = Report(
        name="hostile",
        created_timestamp_ns=1,
        observed_ns=1,
        environment=environment(),
        performance=performance,
    )
    return Path(), report


def exported(name: str, report: Report, folder: Path) -> Path:
    content = export(name, report)
    path = folder / f"run{EXPORTERS[name].suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def self_times(report: Report) -> dict[str, int]:
    """Return the self time of each name in the tree, in ns."""
    tree = view_of(report).tree
    assert tree is not None
    found: dict[str, int] = {}
    for names, found_node in stacks(tree):
        found[names[-1]] = found.get(names[-1], 0) + found_node.self_ns
    return found


@runs
def test_go_tool_pprof_reads_a_profile(saved: Saved, tmp_path: Path) -> None:
    """Its own time of each name, as `go tool pprof -top` shows it, is that of the report."""
    report = saved()[1]
    path = exported("pprof", report, tmp_path)
    shown = output_of(
        [tool("go"), "tool", "pprof", "-top", "-sample_index=wall", "-unit=ns", "-nodefraction=0",
         "-nodecount=100000", path]
    )  # fmt: skip
    rows = re.findall(r"^ *(\d+)(?:ns)? +\S+% +\S+% +\d+(?:ns)? +\S+%  (.*)$", shown, re.MULTILINE)
    read = {name: int(flat) for flat, name in rows}
    expected = self_times(report)
    for name, self_ns in expected.items():
        if self_ns:
            assert read[name] == pytest.approx(self_ns, abs=1), name


def test_go_tool_pprof_reads_hostile_names(tmp_path: Path) -> None:
    """No name keeps it from reading the whole."""
    report = hostile()[1]
    path = exported("pprof", report, tmp_path)
    shown = output_of([tool("go"), "tool", "pprof", "-raw", path])
    assert shown.count("Mapping") >= 1
    assert len(re.findall(r"^ +1 +(1000000|2000000) +0:", shown, re.MULTILINE)) == 2 * len(NASTY)


@pytest.mark.parametrize("saved", [run_of_a_host, run_of_a_program, hostile])
def test_speedscope_files_are_of_its_schema(saved: Saved) -> None:
    """The JSON schema that is released with speedscope accepts them."""
    schema = json.loads((speedscope() / "file-format-schema.json").read_text())
    jsonschema.validate(json.loads(export("speedscope", saved()[1])), schema)


@pytest.mark.parametrize("name", ["speedscope", "pprof", "folded", "chrome"])
def test_speedscope_opens_it(name: str, tmp_path: Path) -> None:
    """The app, in a browser, shows the functions, and complains of nothing."""
    with chromium() as driver:
        for saved in (run_of_a_host, run_of_a_program, hostile):
            report = saved()[1]
            title, complaints = opened_in_speedscope(driver, exported(name, report, tmp_path))
            assert " - speedscope" in title
            assert complaints == []
            names = ("compress", "digest", "thumbnail") if saved is run_of_a_host else ()
            assert speedscope_shows(driver, *names)


def test_chromes_trace_viewer_reads_traces(tmp_path: Path) -> None:
    """The importer of chrome://tracing finds each call path where it is, with its arguments."""
    with chromium() as driver:
        for saved in (run_of_a_host, run_of_a_program, hostile):
            report = saved()[1]
            read = imported_by_chrome(driver, str(export("chrome", report)))
            assert read["complaints"] == []
            (sums,) = [t for t in read["threads"] if str(t["name"]).startswith("sums of all")]
            tree = view_of(report).tree
            assert tree is not None
            expected = dict(stacks(tree))
            assert sorted(tuple(s["path"]) for s in sums["slices"]) == sorted(expected)
            for one in sums["slices"]:
                node = expected[tuple(one["path"])]
                assert one["args"] == {"calls": node.call_count, "self_ns": node.self_ns}
                if not node.children:
                    assert one["us"] == pytest.approx(node.duration_ns / 1000, abs=0.003)


def test_chromes_trace_viewer_reads_a_live_trace(
    tmp_path: Path,
    make_host: Callable[..., PluginHost],
    plugin_folder: Callable[..., Path],
) -> None:
    """Each call is within its caller there."""
    path = _live_trace(make_host(plugin_folder(PLUGINS)), tmp_path)
    with chromium() as driver:
        read = imported_by_chrome(driver, path.read_text())
    assert read["complaints"] == []
    (thread,) = read["threads"]
    paths = [tuple(one["path"]) for one in thread["slices"]]
    assert paths.count(("outer",)) == paths.count(("outer", "inner")) == 500
    assert len(paths) == 1000


def test_speedscope_opens_a_live_trace(
    tmp_path: Path,
    make_host: Callable[..., PluginHost],
    plugin_folder: Callable[..., Path],
) -> None:
    """Single calls, written as they happen, lie within their callers, or it would complain."""
    path = _live_trace(make_host(plugin_folder(PLUGINS)), tmp_path)
    with chromium() as driver:
        title, complaints = opened_in_speedscope(driver, path)
        assert " - speedscope" in title
        assert complaints == []
        assert speedscope_shows(driver, "outer", "inner")


def _live_trace(host: PluginHost, folder: Path) -> Path:
    host.load_all()
    path = folder / "live.trace.json"
    with observe(host) as observation, TraceWriter(path) as writer:
        subscription = observation.bus.subscribe(writer)
        for _ in range(500):
            host.execute("outer")
        assert subscription.flush()
    return path
