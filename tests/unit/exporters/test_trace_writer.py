"""Traces that are written while things happen."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pluginhost import PluginHost, observe
from pluginhost.exporters.chrome import TraceWriter

PLUGINS = {
    "outer.py": """
        from pluginhost import hookimpl

        @hookimpl
        def execute(payload, host):
            return host.execute("inner", payload)
    """,
    "inner.py": """
        from pluginhost import hookimpl

        @hookimpl
        def execute(payload):
            if payload == "bad":
                raise ValueError("\\x1b[31m no")
    """,
}


def traced(
    host: PluginHost, path: Path, payloads: list[str], **options: int
) -> tuple[TraceWriter, list[dict]]:
    host.load_all()
    with observe(host) as observation, TraceWriter(path, **options) as writer:
        subscription = observation.bus.subscribe(writer)
        for payload in payloads:
            with suppress(ValueError):
                host.execute("outer", payload)
        assert subscription.flush()
    return writer, json.loads(path.read_text())


def test_each_call_is_an_event_within_its_caller(
    make_host: Callable[..., PluginHost], plugin_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """What was called lies within what called it, on the same thread."""
    _, events = traced(make_host(plugin_folder(PLUGINS)), tmp_path / "trace.json", ["good"] * 3)
    inner = [event for event in events if event["name"] == "inner"]
    outer = [event for event in events if event["name"] == "outer"]
    assert len(inner) == len(outer) == 3
    for below, above in zip(inner, outer, strict=True):
        assert above["ph"] == below["ph"] == "X"
        assert above["tid"] == below["tid"]
        assert above["ts"] <= below["ts"]
        assert below["ts"] + below["dur"] <= above["ts"] + above["dur"]


def test_a_failure_is_a_moment_of_its_own(
    make_host: Callable[..., PluginHost], plugin_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """It carries what was raised."""
    _, events = traced(make_host(plugin_folder(PLUGINS)), tmp_path / "trace.json", ["bad"])
    failed = [event for event in events if event["ph"] == "i"]
    assert [event["name"] for event in failed] == ["inner failed", "outer failed"]
    assert failed[0]["args"]["error"] == r"ValueError: \x1b[31m no"


def test_a_trace_has_a_limit(
    make_host: Callable[..., PluginHost], plugin_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """What comes after it is counted, and the file is whole."""
    host = make_host(plugin_folder(PLUGINS))
    writer, events = traced(host, tmp_path / "trace.json", ["good"] * 10, max_events=5)
    assert len(events) == writer.written == 5
    assert writer.dropped == 15


def test_a_writer_can_be_closed_twice(tmp_path: Path) -> None:
    """Nothing was written: the file is an empty list."""
    with TraceWriter(tmp_path / "trace.json") as writer:
        writer.close()
    assert json.loads((tmp_path / "trace.json").read_text()) == []
