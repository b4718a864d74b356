"""Other recorders of one execution, each as a wrapper of the same hook, set up as their docs say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pluginhost import hookimpl


def prometheus_wrapper() -> object:
    """A Prometheus histogram and counter with labels, as an application would use them."""
    from prometheus_client import CollectorRegistry, Counter, Histogram

    registry = CollectorRegistry()
    seconds = Histogram("execution_seconds", "Time", ["plugin"], registry=registry)
    total = Counter("executions", "Executions", ["plugin", "status"], registry=registry)
    clock = time.perf_counter

    class Wrapper:
        @hookimpl(wrapper=True, tryfirst=True)
        def pluginhost_execute(self, plugin_id: str) -> Iterator[Any]:
            start = clock()
            try:
                result = yield
            except BaseException:
                total.labels(plugin_id, "error").inc()
                raise
            seconds.labels(plugin_id).observe(clock() - start)
            total.labels(plugin_id, "success").inc()
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
                total.add(1, {"plugin": plugin_id, "status": "error"})
                raise
            milliseconds.record((clock() - start) / 1e6, {"plugin": plugin_id})
            total.add(1, {"plugin": plugin_id, "status": "success"})
            return result

    return Wrapper()


def otel_span_wrapper() -> object:
    """An OpenTelemetry span for each execution, batched into an exporter that drops them."""
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Dropped(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Dropped()))
    tracer = provider.get_tracer("benchmark")

    class Wrapper:
        @hookimpl(wrapper=True, tryfirst=True)
        def pluginhost_execute(self, plugin_id: str) -> Iterator[Any]:
            with tracer.start_as_current_span("execute", attributes={"plugin": plugin_id}):
                return (yield)

    return Wrapper()
