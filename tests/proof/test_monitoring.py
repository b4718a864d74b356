"""Prometheus scrapes what is served; collectors decode what is sent: their figures are those of the run."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pluginhost import PluginHost, observe
from pluginhost.exporters import export
from pluginhost.exporters.families import label_of
from pluginhost.exporters.otlp import SpanObserver
from pluginhost.exporters.view import view_of
from pluginhost.report import Report, write_report
from tests.proof.consumers import output_of, run_of_a_host, run_of_a_program, tool
from tests.proof.monitors import configuration, prometheus, rotel, served, wait_for
from tests.proof.test_exports import PLUGINS, hostile
from tests.unit.exporters.receiver import Receiver, receiving

pytestmark = pytest.mark.proof
Saved = Callable[[], tuple[Path, Report]]
runs = pytest.mark.parametrize(
    "saved",
    [
        pytest.param(run_of_a_host, id="host"),
        pytest.param(run_of_a_program, id="program"),
        pytest.param(hostile, id="hostile names"),
    ],
)
SITES = ("plugin", "hook", "status")


def calls_of(report: Report) -> dict[tuple[str, ...], int]:
    """Return how many calls ended how, by plugin, hook and status."""
    found: Counter[tuple[str, ...]] = Counter()
    for row in view_of(report).rows:
        for status, count in row.statuses:
            found[label_of(row.plugin), label_of(row.hook), status] += count
    return dict(found)


def executed(report: Report) -> dict[str, float]:
    """Return how often each plugin was executed."""
    assert report.performance is not None
    return {row.plugin_id: float(row.execution_count) for row in report.performance.plugins}


@runs
def test_promtool_accepts_the_metrics(saved: Saved) -> None:
    """Without a complaint, of a host, a program, and the worst names there are."""
    text = str(export("prometheus", saved()[1]))
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_prometheus_scrapes_a_saved_run(tmp_path: Path) -> None:
    """With the configuration that the documentation shows; without the token the target is down."""
    path, report = run_of_a_host()
    (tmp_path / "wrong").write_text("not-the-right-token")
    with served(tmp_path, path) as port:
        config = _config(port)
        scrapes = config.partition("\n")[2]
        config += scrapes.replace("name: pluginhost", "name: other").replace(
            "metrics.token", "wrong"
        )
        check = [tool("promtool"), "check", "config", "--syntax-only"]
        with prometheus(tmp_path, config) as query:
            output_of([*check, tmp_path / "prometheus.yml"])
            wait_for(lambda: query('up{job="pluginhost"} == 1') and query('up{job="other"} == 0'))
            counted = query('sum by (plugin) (pluginhost_calls_total{hook="execute"})')
            assert counted == executed(report)
            self_s = query('pluginhost_self_time_seconds_total{hook="execute",source="file"}')
            assert report.performance is not None
            for row in report.performance.plugins:
                assert self_s[row.plugin_id] == pytest.approx(row.self_time_ns / 1e9)
            buckets = query('pluginhost_call_duration_seconds_bucket{hook="execute",le="+Inf"}')
            assert buckets == executed(report)
            assert query('pluginhost_calls_total{job="other"}') == {}


def test_prometheus_follows_a_history(
    tmp_path: Path,
    make_host: Callable[..., PluginHost],
    plugin_folder: Callable[..., Path],
) -> None:
    """While a host runs; what it has done between two scrapes is an increase."""
    host = make_host(plugin_folder(PLUGINS))
    host.load_all()
    with observe(host, history=tmp_path / "history.sqlite") as observation:
        _executed(host, observation, 100)
        with (
            served(tmp_path, f"--history={tmp_path / 'history.sqlite'}") as port,
            prometheus(tmp_path, _config(port)) as query,
        ):
            count = 'pluginhost_calls_total{hook="execute",source="history"}'
            wait_for(lambda: query(count) == {"outer": 100, "inner": 100})
            _executed(host, observation, 50)
            wait_for(lambda: query(count) == {"outer": 150, "inner": 150})
            grown = query(f"increase({count}[1m])")
            assert grown.keys() == {"outer", "inner"}
            assert min(grown.values()) > 0


@runs
def test_a_receiver_decodes_what_is_sent(saved: Saved, tmp_path: Path) -> None:
    """With OpenTelemetry's own messages: metrics and spans are those of the run."""
    report = saved()[1]
    with receiving() as receiver:
        _send(report, receiver.endpoint, tmp_path)
        _is_the_run(receiver, report)


@runs
def test_rotel_hands_on_what_it_understood(saved: Saved, tmp_path: Path) -> None:
    """A collector written in Rust decodes it, and what it sends on is still the run."""
    report = saved()[1]
    with receiving() as receiver, rotel(receiver.endpoint, tmp_path) as endpoint:
        _send(report, endpoint, tmp_path)
        wait_for(lambda: receiver.metrics() and receiver.spans())
        _is_the_run(receiver, report)


def test_rotel_takes_live_spans(
    tmp_path: Path,
    make_host: Callable[..., PluginHost],
    plugin_folder: Callable[..., Path],
) -> None:
    """Each call is below its caller when it comes out of the collector."""
    host = make_host(plugin_folder(PLUGINS))
    host.load_all()
    with receiving() as receiver, rotel(receiver.endpoint, tmp_path) as endpoint:
        with observe(host) as observation:
            observer = SpanObserver(endpoint, name="live")
            subscription = observation.bus.subscribe(observer)
            for _ in range(200):
                host.execute("outer")
            subscription.close()
            observer.close()
        assert (observer.sent, observer.lost) == (400, 0)
        wait_for(lambda: len(receiver.spans()) == 400)
        by_id = {span.span_id: span for span in receiver.spans()}
        below = [by_id[span.parent_span_id].name for span in by_id.values() if span.name == "inner"]
        assert below == ["outer"] * 200


def _config(port: int) -> str:
    """Return the configuration of the documentation for a port, with frequent scrapes."""
    config = configuration()
    assert "127.0.0.1:9810" in config
    assert " 15s" in config
    return config.replace("127.0.0.1:9810", f"127.0.0.1:{port}").replace(" 15s", " 1s")


def _executed(host: PluginHost, observation: Any, count: int) -> None:
    for _ in range(count):
        host.execute("outer")
    observation.bus.flush()
    assert observation.bus.subscriptions[-1].flush(60)
    assert observation.history.flush(60)


def _send(report: Report, endpoint: str, folder: Path) -> None:
    write_report(report, folder / "sent.json")
    words = ["export", "otlp", folder / "sent.json", "--endpoint", endpoint]
    output_of([sys.executable, "-m", "pluginhost", *words])


def _is_the_run(receiver: Receiver, report: Report) -> None:
    """Compare it; of a run with more than a thousand series, the cheapest rows are `other` together."""
    metrics = receiver.metrics()
    calls: dict[tuple[str, ...], int] = {}
    for point in metrics["pluginhost.calls"].sum.data_points if calls_of(report) else ():
        labels = {a.key: a.value.string_value for a in point.attributes}
        calls[tuple(labels[name] for name in SITES)] = round(point.as_double or point.as_int)
    expected_calls = calls_of(report)
    others = calls.pop(("other", "other", "success"), 0)
    assert calls.items() <= expected_calls.items()
    assert sum(calls.values()) + others == sum(expected_calls.values())
    self_s: defaultdict[str, float] = defaultdict(float)
    for row in view_of(report).rows:
        self_s[label_of(row.plugin)] += row.self_ns / 1e9
    decoded: defaultdict[str, float] = defaultdict(float)
    for name in {"pluginhost.self_time"} & metrics.keys():
        for point in metrics[name].sum.data_points:
            (plugin,) = [a.value.string_value for a in point.attributes if a.key == "plugin"]
            decoded[plugin] += point.as_double
    assert decoded.pop("other", 0.0) + sum(decoded.values()) == pytest.approx(sum(self_s.values()))
    if not others:
        assert dict(decoded) == pytest.approx(dict(self_s))
    recent = report.performance.recent if report.performance is not None else {}
    expected = Counter({label_of(name): len(rows) for name, rows in recent.items()})
    spans = Counter(span.name for span in receiver.spans())
    assert spans == expected + Counter([label_of(report.name)])
