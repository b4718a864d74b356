"""OpenTelemetry: what a receiver decodes is what the report says, and what happened."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from google.protobuf.json_format import Parse
from hypothesis import given
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import Status, TracesData

from pluginhost import PluginHost, hookimpl, observe
from pluginhost.errors import ExportError, InvalidValueError
from pluginhost.exporters import export
from pluginhost.exporters.families import label_of
from pluginhost.exporters.otlp import Sender, SpanObserver, send
from pluginhost.exporters.otlp_spans import MAX_WAITING
from pluginhost.exporters.view import view_of
from pluginhost.report import Report, write_report
from tests.unit.exporters.hostile_reports import REPORTS
from tests.unit.exporters.receiver import receiving

Make = Callable[..., Report]


def attributes_of(point: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in point.attributes}


@given(REPORTS)
def test_the_file_reads_back(report: Report) -> None:
    """OpenTelemetry's own messages parse it, and the calls are those of the report."""
    metrics, spans = str(export("otlp", report)).splitlines()
    for text in (metrics, spans):
        assert text.isascii()
        assert text.isprintable()
    found = {
        metric.name: metric
        for metric in Parse(metrics, MetricsData()).resource_metrics[0].scope_metrics[0].metrics
    }
    calls: Counter[tuple[str, ...]] = Counter()
    for row in view_of(report).rows:
        for status, count in row.statuses:
            calls[label_of(row.plugin), label_of(row.hook), status] += count
    points = found["pluginhost.calls"].sum.data_points if calls else []
    names = ("plugin", "hook", "status")
    read = {
        tuple(attributes_of(point)[name] for name in names): point.as_double for point in points
    }
    assert read == calls
    assert found["pluginhost.run_observed"].unit == "s"
    _with_bytes_as_ids(spans)


def _with_bytes_as_ids(text: str) -> TracesData:
    """Return spans from JSON, where ids are in hexadecimal digits, which protobuf takes for base64."""
    content = json.loads(text)
    for span in content["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        assert len(bytes.fromhex(span["traceId"])) == 16
        for name in ("spanId", "parentSpanId"):
            assert len(bytes.fromhex(span.get(name, "00" * 8))) == 8
    return Parse(json.dumps(content), TracesData())


class Inner:
    @hookimpl
    def execute(self, payload: Any) -> Any:
        if payload == "bad":
            raise ValueError("no \x1b such \udc80")
        return payload


class Outer:
    @hookimpl
    def execute(self, payload: Any, host: Any) -> Any:
        return [host.execute("Inner", payload), host.execute("Inner", payload)]


class Many:
    @hookimpl
    def execute(self, payload: Callable[[], None], host: Any) -> None:
        for _ in range(MAX_WAITING + 100):
            host.execute("Inner", 1)
        payload()


class Later:
    @hookimpl
    async def execute(self, payload: Any, host: Any) -> Any:
        await asyncio.sleep(payload / 1_000)
        return await host.aexecute("Leaf", payload)


class Leaf:
    @hookimpl
    async def execute(self, payload: Any) -> Any:
        await asyncio.sleep(payload / 1_000)


@pytest.fixture
def host(make_host: Callable[..., PluginHost], monkeypatch: pytest.MonkeyPatch) -> PluginHost:
    """Return a host with all plugins above."""
    monkeypatch.setitem(sys.modules, "spanned", sys.modules[__name__])
    host = make_host(
        *(f"module:spanned:{name}" for name in ("Inner", "Outer", "Many", "Later", "Leaf"))
    )
    host.load_all()
    return host


def test_a_saved_run_is_sent(report_of: Make, pluginhost: Any, tmp_path: Path) -> None:
    """Metrics and spans arrive, as the command says, and are named for the run."""
    write_report(report_of({"a": [1_000, 2_000]}, errors={"a": 1}), tmp_path / "run.json")
    with receiving() as receiver:
        result = pluginhost(
            "export", "otlp", tmp_path / "run.json", "--endpoint", receiver.endpoint
        )
        assert result.exit_code == 0, result.output
        metrics = receiver.metrics()
        assert result.output == f"sent {len(metrics)} metrics and 1 span to {receiver.endpoint}\n"
        (resource,) = receiver.requests[0].resource_metrics
        assert attributes_of(resource.resource)["service.name"] == "plugins"
        (histogram,) = metrics["pluginhost.call_duration"].histogram.data_points
        assert (histogram.count, sum(histogram.bucket_counts)) == (2, 2)
        assert [span.name for span in receiver.spans()] == ["plugins"]


def test_executions_that_a_report_remembers_become_spans(host: PluginHost) -> None:
    """Below a span of the whole run, with times, status and error."""
    with observe(host) as observation:
        host.execute("Inner", "good")
        with pytest.raises(ValueError, match="such"):
            host.execute("Inner", "bad")
    with receiving() as receiver:
        send(observation.report(), receiver.endpoint + "/v1/traces/")
        run, good, bad = receiver.spans()
        assert (run.name, run.parent_span_id) == ("test", b"")
        for span in (good, bad):
            assert (span.name, span.parent_span_id) == ("Inner", run.span_id)
            assert span.trace_id == run.trace_id
            assert run.start_time_unix_nano <= span.start_time_unix_nano
            assert span.end_time_unix_nano <= run.end_time_unix_nano
        assert good.status.code == Status.STATUS_CODE_UNSET
        assert bad.status.code == Status.STATUS_CODE_ERROR
        assert bad.status.message == "no \\x1b such \\udc80"


def _observed(host: PluginHost, work: Callable[[], object]) -> tuple[Any, SpanObserver]:
    """Return the receiver of all that is done by `work`, and the observer that sent it."""
    with receiving() as receiver, observe(host) as observation:
        observer = SpanObserver(receiver.endpoint, name="demo")
        subscription = observation.bus.subscribe(observer)
        work()
        subscription.close()
        observer.close()
    return receiver, observer


def test_live_spans_have_their_callers(host: PluginHost) -> None:
    """Each call that another made is below it, in one trace; a failure says why."""

    def work() -> None:
        host.execute("Outer", 1)
        with pytest.raises(ValueError, match="such"):
            host.execute("Outer", "bad")

    receiver, observer = _observed(host, work)
    spans = receiver.spans()
    by_id = {span.span_id: span for span in spans}
    links = [(s.name, by_id[s.parent_span_id].name if s.parent_span_id else None) for s in spans]
    assert Counter(links) == {("Outer", None): 2, ("Inner", "Outer"): 3}
    for span in spans:
        if span.parent_span_id:
            parent = by_id[span.parent_span_id]
            assert span.trace_id == parent.trace_id
            assert parent.start_time_unix_nano <= span.start_time_unix_nano
            assert span.end_time_unix_nano <= parent.end_time_unix_nano
    assert len({span.trace_id for span in spans}) == 2
    failed = [span for span in spans if span.status.code == Status.STATUS_CODE_ERROR]
    assert Counter(span.name for span in failed) == {"Outer": 1, "Inner": 1}
    assert failed[0].status.message == "no \\x1b such \\udc80"
    assert (observer.sent, observer.lost, observer.without_caller) == (5, 0, 0)


def test_threads_do_not_take_each_others_calls(host: PluginHost) -> None:
    """Although all do the same at the same time, each call is below the one that made it."""

    def work() -> None:
        def many() -> None:
            for _ in range(200):
                host.execute("Outer", 1)

        threads = [threading.Thread(target=many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    receiver, observer = _observed(host, work)
    spans = receiver.spans()
    assert len(spans) == 4 * 200 * 3
    below = Counter(span.parent_span_id for span in spans if span.parent_span_id)
    assert len(below) == 800
    assert set(below.values()) == {2}
    threads = {s.span_id: {a.key: a.value.int_value for a in s.attributes} for s in spans}
    for span in spans:
        if span.parent_span_id:
            own, parent = threads[span.span_id], threads[span.parent_span_id]
            assert own["thread.id"] == parent["thread.id"]
    assert observer.without_caller == 0


def test_tasks_that_wait_are_spans_too(host: PluginHost) -> None:
    """An asynchronous call is below the one that awaited it."""

    async def work() -> None:
        await host.aexecute("Later", 2)

    receiver, _ = _observed(host, lambda: asyncio.run(work()))
    later, leaf = sorted(receiver.spans(), key=lambda span: span.name)
    assert (later.name, later.parent_span_id) == ("Later", b"")
    assert (leaf.name, leaf.parent_span_id) == ("Leaf", later.span_id)


def test_what_waits_for_a_caller_is_bounded(host: PluginHost) -> None:
    """When the caller does not end, the oldest calls go without it; at the end none is left."""
    with receiving() as receiver, observe(host) as observation:
        observer = SpanObserver(receiver.endpoint, name="demo")
        subscription = observation.bus.subscribe(observer)
        host.execute("Many", subscription.flush)
        subscription.close()
        observer.close()
    assert len(receiver.spans()) == MAX_WAITING + 100 + 1
    assert observer.without_caller == 100
    assert observer.lost == 0


def test_a_collector_that_is_away_costs_spans_and_nothing_else(host: PluginHost) -> None:
    """The plugins run on; what was lost is counted, and why is kept."""
    with observe(host) as observation:
        observer = SpanObserver("http://127.0.0.1:1", name="demo", timeout_s=0.2)
        subscription = observation.bus.subscribe(observer)
        assert host.execute("Outer", 1) == [1, 1]
        subscription.close()
        observer.close()
        assert subscription.error is None
    assert (observer.sent, observer.lost) == (0, 3)
    assert "http://127.0.0.1:1 did not take the spans" in str(observer.error)


def test_a_collector_that_refuses_is_told(
    report_of: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """The error names the endpoint and the answer; no logging is left behind."""
    handlers = logging.getLogger("opentelemetry.exporter.otlp.proto").handlers
    with receiving() as receiver:
        receiver.status = 403
        with pytest.raises(ExportError, match=r"did not take the metrics.*403"):
            send(report_of({"a": [1]}), receiver.endpoint)
    assert handlers == []


@pytest.mark.parametrize(
    "endpoint",
    ["", "localhost:4318", "ftp://x", "http://", "http://a b", "http://x:99999", "http://\x1b"],
)
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidValueError, match="is no endpoint"):
        Sender(endpoint)


def test_an_endpoint_is_for_one_format_only(
    report_of: Make, pluginhost: Callable[..., Result], tmp_path: Path
) -> None:
    """And not together with a file."""
    write_report(report_of({"a": [1]}), tmp_path / "run.json")
    for words in (["csv"], ["otlp", "-o", tmp_path / "x"]):
        result = pluginhost(
            "export", words[0], tmp_path / "run.json", *words[1:], "--endpoint", "http://x"
        )
        assert result.exit_code == 2
        assert "--endpoint is of the format otlp" in result.output


def test_headers_reach_the_collector(report_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are given, or else those of the environment."""
    with receiving() as receiver:
        send(report_of({"a": [1]}), receiver.endpoint, headers={"x-token": "one"})
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=two")
        send(report_of({"a": [1]}), receiver.endpoint)
        assert [headers["x-token"] for headers in receiver.headers] == ["one"] * 2 + ["two"] * 2
