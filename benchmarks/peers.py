"""Other recorders of one execution, each as a wrapper of the same hook, set up as their docs say.

Each records what ours does, as far as it can: plugin, hook, status, duration; a span also the
thread and its parent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from threading import get_ident
from typing import Any

from pluginhost import hookimpl


def prometheus_wrapper() -> object:
    """A Prometheus histogram and counter with labels, as an application would use them."""
    from prometheus_client import CollectorRegistry, Counter, Histogram

    registry = CollectorRegistry()
    seconds = Histogram(
        "execution_seconds", "Time", ["plugin", "hook", "status"], registry=registry
    )
    total = Counter("executions", "Executions", ["plugin", "hook", "status"], registry=registry)
    clock = time.perf_counter

    class Wrapper:
        @hookimpl(wrapper=True, tryfirst=True)
        def pluginhost_execute(self, plugin_id: str) -> Iterator[Any]:
            start = clock()
            try:
                result = yield
            except BaseException:
                seconds.labels(plugin_id, "execute", "error").observe(clock() - start)
                total.labels(plugin_id, "execute", "error").inc()
                raise
            seconds.labels(plugin_id, "execute", "success").observe(clock() - start)
            total.labels(plugin_id, "execute", "success").inc()
            return result

    return Wrapper()


def otel_metrics_wrapper() -> object:
    """An OpenTelemetry histogram and counter, read from memory."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    meter = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False).get_meter("benchmark")
    milliseconds = meter.create_histogram("execution_ms")
    total = meter.create_counter("executions")
    clock = time.perf_counter_ns

    class Wrapper:
        @hookimpl(wrapper=True, tryfirst=True)
        def pluginhost_execute(self, plugin_id: str) -> Iterator[Any]:
            start = clock()
            try:
                result = yield
            except BaseException:
                facts = {"plugin": plugin_id, "hook": "execute", "status": "error"}
                milliseconds.record((clock() - start) / 1e6, facts)
                total.add(1, facts)
                raise
            facts = {"plugin": plugin_id, "hook": "execute", "status": "success"}
            milliseconds.record((clock() - start) / 1e6, facts)
            total.add(1, facts)
            return result

    return Wrapper()


def otel_span_wrapper(*, encoded: bool) -> tuple[object, Callable[[], object]]:
    """An OpenTelemetry span for each execution, with what flushes the batches of them.

    With `encoded` the exporter makes the OTLP bytes that it would send; otherwise it does nothing,
    so that the spans are thrown away.
    """
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.trace import Status, StatusCode

    class Exporter(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            if encoded:
                encode_spans(spans).SerializeToString()
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Exporter()))
    tracer, success = provider.get_tracer("benchmark"), Status(StatusCode.OK)

    class Wrapper:
        @hookimpl(wrapper=True, tryfirst=True)
        def pluginhost_execute(self, plugin_id: str) -> Iterator[Any]:
            facts = {"plugin": plugin_id, "hook": "execute", "thread.id": str(get_ident())}
            with tracer.start_as_current_span("execute", attributes=facts) as span:
                result = yield
                span.set_status(success)
                return result

    return Wrapper(), provider.force_flush
