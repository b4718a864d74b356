"""Traces in the Trace Event Format, for Perfetto (ui.perfetto.dev), chrome://tracing and speedscope.

See https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU. A saved run keeps
sums, not single calls: each call path is drawn once, as long as all its calls together, callees from
where their caller begins, one after the other. `TraceWriter` writes single calls while they happen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from pluginhost.calltree import EventKind
from pluginhost.costs import FlameGraphNode
from pluginhost.events import Event
from pluginhost.exporters.view import tidied, view_of, walked
from pluginhost.report import ExecutionMetrics, Report

_SUMS, _SINGLE = 1, 2


def chrome_text(report: Report) -> str:
    """Return a trace: the sums of all call paths, and the executions of which the report has more."""
    view = view_of(report)
    pid = report.environment.pid
    events = [_named("process_name", pid, 0, view.name)]
    if view.tree is not None:
        events.append(_named("thread_name", pid, _SUMS, "sums of all calls, not when they were"))
        events += _laid_out(view.tree, pid)
    recent = report.performance.recent if report.performance is not None else {}
    if recent:
        began_ns = min(m.timestamp_ns - m.duration_ns for ms in recent.values() for m in ms)
        for number, (plugin_id, metrics) in enumerate(recent.items()):
            tid = _SINGLE + number
            events.append(_named("thread_name", pid, tid, f"last of {tidied(plugin_id)}"))
            events += (_execution(each, pid, tid, began_ns) for each in metrics)
    about = dict(view.facts) | {"notes": list(view.notes)}
    return json.dumps(
        {"traceEvents": events, "displayTimeUnit": "ns", "otherData": about}, ensure_ascii=False
    )


class TraceWriter:
    """An observer that writes each call as it ends into a trace file, for Perfetto and its kin.

    Subscribe it to a bus, and close it when all is over: `with TraceWriter("trace.json") as writer:`.
    The file can be opened even if it never is: the format allows for a missing end. At most
    `max_events` are written (about 150 bytes each), `dropped` counts the others.
    """

    def __init__(self, path: str | Path, *, max_events: int = 1_000_000) -> None:
        self.written = 0
        self.dropped = 0
        self._most = max_events
        self._pid = os.getpid()
        self._file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115  # closed by close()
        self._file.write("[\n")
        self._separator = ""

    def observe(self, batch: Iterable[Event]) -> None:
        """Write the events of a batch."""
        for event in batch:
            if self._file.closed or self.written >= self._most:
                self.dropped += 1
                continue
            self._file.write(self._separator + json.dumps(_single(event, self._pid)))
            self._separator = ",\n"
            self.written += 1
        if not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        """End the file. Closing twice does nothing."""
        if not self._file.closed:
            self._file.write("\n]\n")
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _laid_out(root: FlameGraphNode, pid: int) -> Iterator[dict[str, Any]]:
    """Yield the nodes, callers first; those below a call begin where it does, one after the other.

    Each is a step wide at least: without a width it could be within the one before it as well. A step
    is 1/1024 us, or so much more that a reader can add up all steps exactly.
    """
    nodes = [node for _, _, node in walked(root)]
    most = sum(node.duration_ns for node in nodes) * 1024 // 1000 + 2 * len(nodes)
    step_us = 2.0 ** (max(0, most.bit_length() - 53) - 10)
    below: list[list[int]] = [[] for _ in nodes]
    widths = [0] * len(nodes)
    for number, above, node in reversed(list(walked(root))):
        widths[number] = max(1, round(node.duration_ns / 1000 / step_us), widths[number])
        if above >= 0:
            below[above].append(number)
            widths[above] += widths[number]
    begins = [0] * len(nodes)
    for number, node in enumerate(nodes):
        at = begins[number]
        for child in reversed(below[number]):  # the last child is the first of them
            begins[child] = at
            at += widths[child]
        arguments = {"calls": node.call_count, "self_ns": node.self_ns}
        when = (begins[number] * step_us, widths[number] * step_us)
        yield _complete(node.name, "sum", when, (pid, _SUMS), arguments)


def _execution(metrics: ExecutionMetrics, pid: int, tid: int, began_ns: int) -> dict[str, Any]:
    arguments = {"status": str(metrics.status)}
    if metrics.error_message is not None:
        arguments["error"] = tidied(metrics.error_message)
    start_ns = metrics.timestamp_ns - metrics.duration_ns - began_ns
    when = _us(start_ns, metrics.duration_ns)
    return _complete(tidied(metrics.plugin_id), "execution", when, (pid, tid), arguments)


def _single(event: Event, pid: int) -> dict[str, Any]:
    name = tidied(event.path[-1] if event.path else event.plugin_id)
    arguments = {"plugin": tidied(event.plugin_id), "hook": tidied(event.hook)}
    arguments["status"] = str(event.status)
    if event.error_message is not None:
        arguments["error"] = tidied(f"{event.error_type}: {event.error_message}")
    where = (pid, event.thread_id)
    if event.kind is EventKind.PLUGIN_ERROR:
        moment = {"name": f"{name} failed", "ph": "i", "s": "t", "cat": str(event.kind)}
        return moment | {
            "ts": event.start_ns / 1000,
            "pid": pid,
            "tid": where[1],
            "args": arguments,
        }
    when = _us(event.start_ns, event.duration_ns)
    return _complete(name, str(event.kind), when, where, arguments)


def _us(start_ns: int, duration_ns: int) -> tuple[float, float]:
    """Return start and duration in us, as multiples of 1/1024 us.

    A reader that adds them up does so exactly: no call ends after its caller because of a rounded sum.
    """
    start_us = round(start_ns * 1024 / 1000) / 1024
    return start_us, round((start_ns + duration_ns) * 1024 / 1000) / 1024 - start_us


def _complete(
    name: str,
    category: str,
    when: tuple[float, float],
    where: tuple[int, int],
    arguments: dict[str, Any],
) -> dict[str, Any]:
    """Return an event with a start and a duration, both in us."""
    placed = {"ts": when[0], "dur": when[1], "pid": where[0], "tid": where[1]}
    return {"name": name, "cat": category, "ph": "X"} | placed | {"args": arguments}


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}
