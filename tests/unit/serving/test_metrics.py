"""What a scrape gets: a saved run, a history, or both, as they are now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from pluginhost.errors import ReportFileError
from pluginhost.exporters.prometheus import prometheus_text
from pluginhost.history.metrics import HistoryMetrics
from pluginhost.history.places import place_of
from pluginhost.history.recorded import record
from pluginhost.report import Report, write_report
from pluginhost.serving.guard import Request
from pluginhost.serving.metrics import MetricsSource

Make = Callable[..., Report]
ASKED = Request("GET", "/metrics", ())


def totals(content: bytes) -> dict[str, float]:
    """Return how many calls there are of each plugin."""
    found: dict[str, float] = {}
    for family in parsed(content.decode()):
        for sample in family.samples:
            if sample.name == "pluginhost_calls_total":
                name = sample.labels["plugin"]
                found[name] = found.get(name, 0) + sample.value
    return found


def test_a_saved_run_is_read_at_each_scrape(report_of: Make, tmp_path: Path) -> None:
    """What is saved there later is served later, with the same figures as the exporter's."""
    path = tmp_path / "run.json"
    source = MetricsSource(run=path)
    for count in (3, 5):
        report = report_of({"a": [1_000] * count})
        write_report(report, path)
        answer = source.answer(ASKED)
        assert answer.status == 200
        assert totals(answer.content) == totals(prometheus_text(report).encode()) == {"a": count}
    assert b'source="file"' in answer.content
    assert b'run="plugins"' in answer.content
    assert b'host="tower"' in answer.content


def test_a_run_and_a_history_are_told_apart(report_of: Make, tmp_path: Path) -> None:
    """Even if they are of the same run."""
    path, place = tmp_path / "run.json", place_of(tmp_path / "history.sqlite")
    report = report_of({"a": [1_000] * 3})
    write_report(report, path)
    record(report, place)
    answer = MetricsSource(run=path, history=HistoryMetrics(place)).answer(ASKED)
    assert totals(answer.content) == {"a": 6}
    for source in (b"file", b"history"):
        assert answer.content.count(b'source="%s",status="success"' % source) == 1


def test_what_cannot_be_read_is_told_once(report_of: Make, tmp_path: Path) -> None:
    """The scrape is answered with 503, without the reason, until all is well again."""
    path = tmp_path / "run.json"
    told: list[str | None] = []
    source = MetricsSource(run=path, tell=told.append)
    with pytest.raises(ReportFileError):
        source.read()
    for _ in range(2):
        answer = source.answer(ASKED)
        assert answer.status == 503
        assert str(tmp_path).encode() not in answer.content
    write_report(report_of({"a": [1]}), path)
    assert source.answer(ASKED).status == 200
    path.write_text("no report")
    assert source.answer(ASKED).status == 503
    assert [word is None for word in told] == [False, True, False]
    assert "cannot be read" in str(told[0])
    assert "is not a report" in str(told[2])


def test_openmetrics_for_those_who_ask(report_of: Make, tmp_path: Path) -> None:
    """Prometheus does."""
    path = tmp_path / "run.json"
    write_report(report_of({"a": [1]}), path)
    accept = ("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    answer = MetricsSource(run=path).answer(Request("GET", "/metrics", (accept,)))
    assert answer.content_type.startswith("application/openmetrics-text")
    assert answer.content.endswith(b"# EOF\n")
