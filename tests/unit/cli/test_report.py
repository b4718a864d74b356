"""`pluginhost report`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from pluginhost.report import (
    AnalyticsReport,
    PluginInfo,
    PluginState,
    PluginStats,
    Report,
    decode,
    encode,
    write_report,
)

Run = Callable[..., Result]
CREATED_NS = 1_767_225_600_000_000_000


@pytest.fixture
def saved(tmp_path: Path, report_of: Callable[..., Report]) -> tuple[Path, Report]:
    """Return a saved report and the file it is in."""
    stats = PluginStats(
        plugin_id="checksum",
        execution_count=3,
        success_rate=1.0,
        average_execution_time_ns=2e6,
        first_seen_timestamp_ns=CREATED_NS,
        last_activity_timestamp_ns=CREATED_NS,
        uptime_percent=50.0,
    )
    report = report_of(
        {"checksum": [1_000_000, 2_000_000, 3_000_000], "words": [500_000] * 4},
        errors={"words": 1},
        analytics=AnalyticsReport(
            observed_ns=8_000_000,
            plugins=(stats,),
            event_counts={"plugin_execute": 3},
            stored_events=3,
        ),
        plugins=(
            PluginInfo(id="checksum", state=PluginState.LOADED),
            PluginInfo(
                id="thumbnail",
                state=PluginState.FAILED,
                location="plugins/thumbnail.py",
                error="importing it failed: ModuleNotFoundError: No module named 'PIL'",
                remedy="install what provides the module 'PIL'",
            ),
            PluginInfo(
                id="gallery",
                state=PluginState.SKIPPED,
                error="it requires plugin 'thumbnail', which is failed",
                remedy="make plugin 'thumbnail' load first",
            ),
        ),
    )
    path = tmp_path / "run.json"
    write_report(report, path)
    return path, report


def test_report_as_a_whole(
    pluginhost: Run, saved: Any, matches_snapshot: Callable[[str, str], None]
) -> None:
    """Cost, use, and what was not loaded, in 80 columns."""
    result = pluginhost("report", saved[0])
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    matches_snapshot("report.txt", result.stdout)


def test_json_is_the_report(pluginhost: Run, saved: Any) -> None:
    """What was saved comes out again."""
    path, report = saved
    assert decode(pluginhost("report", path, "--json").stdout, Report) == report


def test_a_report_without_parts_is_shown_as_far_as_it_goes(
    pluginhost: Run, tmp_path: Path, report_of: Callable[..., Report]
) -> None:
    """Neither profiler nor analytics are needed."""
    write_report(report_of({"a": [1]}, performance=None), tmp_path / "r.json")
    result = pluginhost("report", tmp_path / "r.json")
    assert (result.exit_code, result.stdout) == (0, "")


def _newer(text: str) -> str:
    content = json.loads(text)
    content["schema_version"] = 99
    del content["name"]
    return json.dumps(content)


def _endless(text: str) -> str:
    content = json.loads(text)
    content["performance"]["flame_graph"] = "NODE"
    node = '{"name": "x", "duration_ns": 1, "children": ['
    return json.dumps(content).replace('"NODE"', node * 20_000 + "]}" * 20_000)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(lambda text: "", "is not a report", id="empty"),
        pytest.param(lambda text: text[: len(text) // 2], "is not a report", id="truncated"),
        pytest.param(lambda text: "[1, 2]", "is not a report", id="alien JSON"),
        pytest.param(lambda text: "hello", "is not a report", id="alien text"),
        pytest.param(lambda text: b"\xff\xfe\x00\x80", "is not a report", id="binary"),
        pytest.param(
            lambda text: text.replace('"name": "plugins"', '"name": 5'),
            "is not a report",
            id="a field of another type",
        ),
        pytest.param(_newer, "has schema version 99, this program reads 1", id="newer schema"),
        pytest.param(_endless, "is not a report", id="nested without end"),
    ],
)
@pytest.mark.parametrize("command", ["report", "compare"])
def test_a_file_that_is_no_report_is_refused(
    pluginhost: Run, saved: Any, damage: Callable[[str], str | bytes], reason: str, command: str
) -> None:
    """One message that names the file and the reason, and exit code 3."""
    path, report = saved
    content = damage(encode(report))
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = pluginhost(*([command, path] if command == "report" else [command, path, path]))
    assert result.exit_code == 3
    assert f"run.json {reason}" in result.stderr
    assert result.stdout == ""


def test_a_file_that_there_is_not_is_named(pluginhost: Run) -> None:
    """With why it cannot be read."""
    result = pluginhost("report", "no/such.json")
    assert result.exit_code == 3
    assert result.stderr.startswith("Error: no/such.json cannot be read: No such file")


def test_hostile_reports_reach_no_terminal(
    pluginhost: Run, tmp_path: Path, report_of: Callable[..., Report]
) -> None:
    """A report is a stranger's file: ids, errors and remedies in it are shown, not obeyed."""
    evil = "\x1b[31mevil\u202e\x9b"
    info = PluginInfo(id=evil, state=PluginState.FAILED, error=evil, remedy=evil, location=evil)
    write_report(report_of({evil: [1000] * 20}, plugins=(info,)), tmp_path / "r.json")
    for arguments in (["report", tmp_path / "r.json"], ["report", tmp_path / "r.json", "--json"]):
        output = pluginhost(*arguments).output
        assert "evil" in output
        assert output.replace("\n", "").isprintable()
