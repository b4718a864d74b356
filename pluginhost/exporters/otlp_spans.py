"""Executions and hook calls as spans of OpenTelemetry: whoever called is the parent."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from pluginhost.calltree import CallPath
from pluginhost.events import EventBatch
from pluginhost.exporters.families import label_of
from pluginhost.journal import Failure, Status
from pluginhost.report import ExecutionMetrics, Report

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext

MAX_WAITING = 10_000
"""So many calls wait for the end of their callers; the oldest then go without."""


class _Call:
    """One call that has ended, and all that it called, until its own caller has ended as well."""

    __slots__ = ("below", "end_ns", "failure", "path", "start_ns", "thread_id")

    def __init__(
        self, path: CallPath, start_ns: int, end_ns: int, thread_id: int, failure: Failure | None
    ) -> None:
        self.path = path
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.thread_id = thread_id
        self.failure = failure
        self.below: list[_Call] = []


class SpanMaker:
    """Makes spans of batches; `resource` and `scope` are those of all spans."""

    def __init__(self, resource: Resource, scope: InstrumentationScope) -> None:
        self._resource = resource
        self._scope = scope
        self._waiting: dict[CallPath, deque[_Call]] = {}
        self._count = 0
        self._offset_ns = 0
        self.without_caller = 0
        """Calls whose caller never ended, as far as was seen: their spans begin a trace."""

    def spans(self, batch: EventBatch) -> list[ReadableSpan]:
        """Return the spans of all calls in `batch`, and before it, whose outermost caller has ended."""
        self._offset_ns = batch.epoch_offset_ns
        failures = {position: detail.failure for position, detail in batch.detailed()}
        columns = zip(batch.paths, batch.starts_ns, batch.ends_ns, batch.thread_ids, strict=True)
        found: list[ReadableSpan] = []
        for position, (path, start_ns, end_ns, thread_id) in enumerate(columns):
            if not path.site.plugin_id:
                continue  # nobody's
            call = _Call(path, start_ns, end_ns, thread_id, failures.get(position))
            call.below = self._called_by(call)
            caller = _caller(path)
            if caller is None:
                found += self._trace(call)
            else:
                self._waiting.setdefault(caller, deque()).append(call)
                self._count += 1
        while self._count > MAX_WAITING:
            found += self._let_go()
        return found

    def rest(self) -> list[ReadableSpan]:
        """Return the spans of all calls that still wait for their callers."""
        found: list[ReadableSpan] = []
        while self._count:
            found += self._let_go()
        return found

    def _called_by(self, caller: _Call) -> list[_Call]:
        """Take what was called by `caller` from what waits: within its time, and in its thread.

        Other threads count where the path is known to have called them. Of two tasks that do the same
        at the same time in one thread, the first to end gets the calls of both: whose is not known.
        """
        waiting = self._waiting.pop(caller.path, None)
        if waiting is None:
            return []
        mine: list[_Call] = []
        left: deque[_Call] = deque()
        for call in waiting:
            near = caller.path.concurrent or call.thread_id == caller.thread_id
            within = caller.start_ns <= call.start_ns and call.end_ns <= caller.end_ns
            (mine if near and within else left).append(call)
        if left:
            self._waiting[caller.path] = left
        self._count -= len(mine)
        return mine

    def _let_go(self) -> Iterator[ReadableSpan]:
        """Yield the spans of the oldest call that waits, which has no caller then."""
        path = min(self._waiting, key=lambda path: self._waiting[path][0].end_ns)
        calls = self._waiting[path]
        call = calls.popleft()
        if not calls:
            del self._waiting[path]
        self._count -= 1
        self.without_caller += 1
        return self._trace(call)

    def _trace(self, call: _Call) -> Iterator[ReadableSpan]:
        """Yield the span of an outermost call and of all below it, which are one trace."""
        trace_id = _random(16)
        todo: list[tuple[_Call, SpanContext | None]] = [(call, None)]
        while todo:
            here, parent = todo.pop()
            site = here.path.site
            context = _context(trace_id)
            yield _span(
                name=_name(site.plugin_id, site.hook),
                context=context,
                parent=parent,
                attributes=_attributes(site.plugin_id, site.hook)
                | {"pluginhost.kind": str(site.kind), "thread.id": here.thread_id},
                times=(here.start_ns + self._offset_ns, here.end_ns + self._offset_ns),
                failure=here.failure,
                resource=self._resource,
                scope=self._scope,
            )
            todo += ((each, context) for each in here.below)


def spans_of(report: Report, resource: Resource, scope: InstrumentationScope) -> list[ReadableSpan]:
    """Return a span for the whole run, and one below it for each execution that it remembers.

    A report keeps the latest executions of each plugin (of a `PluginHost`), without who called them.
    """
    end_ns = max(0, report.created_timestamp_ns)
    recent = report.performance.recent.values() if report.performance is not None else ()
    executions = list(chain.from_iterable(recent))
    starts_ns = [each.timestamp_ns - each.duration_ns for each in executions]
    start_ns = max(0, min([end_ns - report.observed_ns, *starts_ns]))
    trace_id = _random(16)
    context = _context(trace_id)
    whole = _span(
        name=label_of(report.name) or "run",
        context=context,
        parent=None,
        attributes={"pluginhost.kind": "run"},
        times=(start_ns, max(end_ns, *(each.timestamp_ns for each in executions), 0)),
        failure=None,
        resource=resource,
        scope=scope,
    )
    return [
        whole,
        *(
            _span(
                name=_name(each.plugin_id, "execute"),
                context=_context(trace_id),
                parent=context,
                attributes=_attributes(each.plugin_id, "execute")
                | {"pluginhost.kind": "plugin_execute"},
                times=(max(0, each.timestamp_ns - each.duration_ns), max(0, each.timestamp_ns)),
                failure=_failure(each),
                resource=resource,
                scope=scope,
            )
            for each in executions
        ),
    ]


def _failure(execution: ExecutionMetrics) -> Failure | None:
    if execution.status is Status.SUCCESS:
        return None
    return Failure(execution.status, None, execution.error_message)


def _span(
    *,
    name: str,
    context: SpanContext,
    parent: SpanContext | None,
    attributes: dict[str, str | int],
    times: tuple[int, int],
    failure: Failure | None,
    resource: Resource,
    scope: InstrumentationScope,
) -> ReadableSpan:
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace.status import Status as SpanStatus, StatusCode

    status, events = SpanStatus(StatusCode.UNSET), []
    if failure is not None:
        attributes["pluginhost.status"] = str(failure.status)
        kind = label_of(failure.error_type or str(failure.status))
        words = label_of(failure.error_message or "")
        if failure.status.is_error:
            attributes["error.type"] = kind
            status = SpanStatus(StatusCode.ERROR, words or kind)
        told = {"exception.type": kind, "exception.message": words}
        events = [Event("exception", told, timestamp=times[1])]
    return ReadableSpan(
        name=name,
        context=context,
        parent=parent,
        resource=resource,
        attributes=attributes,
        events=events,
        status=status,
        start_time=times[0],
        end_time=times[1],
        instrumentation_scope=scope,
    )


def _caller(path: CallPath) -> CallPath | None:
    """Return the path that this was called from, None at the top; nodes that are nobody's are not."""
    here = path.parent
    while here is not None and here.parent is not None and not here.site.plugin_id:
        here = here.parent
    return here if here is not None and here.parent is not None else None


def _context(trace_id: int) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(trace_id, _random(8), is_remote=False, trace_flags=TraceFlags(1))


def _random(size: int) -> int:
    """Return an id of `size` bytes; none is zero."""
    return secrets.randbelow(256**size - 1) + 1


def _name(plugin: str, hook: str) -> str:
    return label_of(plugin if hook == "execute" else f"{plugin}:{hook}") or "(no name)"


def _attributes(plugin: str, hook: str) -> dict[str, str | int]:
    return {
        "pluginhost.plugin": label_of(plugin),
        "pluginhost.hook": label_of(hook),
        "pluginhost.status": str(Status.SUCCESS),
    }
