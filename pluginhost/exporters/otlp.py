"""OTLP: metrics and spans for OpenTelemetry, as a file, sent to a collector, or live from a bus."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pluginhost.errors import ExportError, InvalidValueError
from pluginhost.events import EventBatch
from pluginhost.exporters.otlp_metrics import metrics_data, resource, resource_of, scope_of
from pluginhost.exporters.otlp_spans import SpanMaker, spans_of
from pluginhost.extras import require
from pluginhost.printable import printable
from pluginhost.report import Report
from pluginhost.seconds import ns_of_seconds

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

BATCH = 512
"""So many spans are sent at once."""

TIMEOUT_S = 10.0
"""How long a collector may take for one request, with all repetitions."""

_LOGGER = "opentelemetry.exporter.otlp.proto"
_IDS = ("traceId", "spanId", "parentSpanId")


def otlp_text(report: Report) -> str:
    """Return metrics and spans in the OTLP file format: JSON, a line of each."""
    require("opentelemetry.exporter.otlp.proto.http", extra="otel")
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    spans = spans_of(report, resource_of(report), scope_of(report.environment.pluginhost))
    return _line(encode_metrics(metrics_data(report))) + _line(encode_spans(spans))


def _line(message: Any) -> str:
    from google.protobuf.json_format import MessageToDict

    content = _hexadecimal(MessageToDict(message, use_integers_for_enums=True))
    return json.dumps(content, separators=(",", ":")) + "\n"


def _hexadecimal(part: Any) -> Any:
    """Return a part of a message with its ids in hexadecimal digits, as OTLP has them, not base64."""
    if isinstance(part, dict):
        return {
            key: _hex_of(value) if key in _IDS else _hexadecimal(value)
            for key, value in part.items()
        }
    return [_hexadecimal(each) for each in part] if isinstance(part, list) else part


def _hex_of(value: str) -> str:
    from base64 import b64decode

    return b64decode(value).hex()


def send(
    report: Report,
    endpoint: str,
    *,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> tuple[int, int]:
    """Send metrics and spans to a collector; return how many metrics and spans it took.

    `endpoint` is its base URL, such as http://localhost:4318. Raises `ExportError` when one of the
    requests fails for good.
    """
    sender = Sender(endpoint, headers=headers, timeout_s=timeout_s)
    data = metrics_data(report)
    spans = spans_of(report, resource_of(report), scope_of(report.environment.pluginhost))
    try:
        sender.metrics(data)
        sender.spans(spans)
    finally:
        sender.close()
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    return len(metrics), len(spans)


class Sender:
    """The way to one collector, by HTTP with protobuf; what it does not take raises `ExportError`."""

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        require("opentelemetry.exporter.otlp.proto.http", extra="otel")
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        ns_of_seconds(timeout_s, "timeout_s")
        self.endpoint = _checked(endpoint)
        given: dict[str, Any] = {
            "headers": dict(headers) if headers else None,
            "timeout": timeout_s,
        }
        self._metrics = OTLPMetricExporter(f"{self.endpoint}/v1/metrics", **given)
        self._spans: Any = OTLPSpanExporter(f"{self.endpoint}/v1/traces", **given)

    def metrics(self, data: Any) -> None:
        """Send metrics."""
        self._sent("metrics", partial(self._metrics.export, data))

    def spans(self, spans: Sequence[ReadableSpan]) -> None:
        """Send spans, `BATCH` at once."""
        for some in _parts(spans, BATCH):
            self._sent("spans", partial(self._spans.export, some))

    def close(self) -> None:
        """Close the connections."""
        self._metrics.shutdown()
        self._spans.shutdown()

    def _sent(self, what: str, export: Callable[[], Any]) -> None:
        with _told() as told:
            try:
                done = export().name == "SUCCESS"
            except Exception as error:
                done = False
                told.append(f"{type(error).__name__}: {error}")
        if not done:
            reason = printable(told[0], 300) if told else "it did not say why"
            raise ExportError(
                f"{printable(self.endpoint)} did not take the {what}: {reason}",
                remedy="check that an OTLP receiver for HTTP listens there (usually on port 4318)",
            )


class SpanObserver:
    """Sends what happens on a bus to a collector, as spans of the service `name`.

    `bus.subscribe(SpanObserver(endpoint, name="shop"))` begins; after the subscription has ended,
    `close()` sends what is left. Whatever the collector does, plugins do not wait for it: a live
    observer has a thread and a bounded queue. Spans that it does not take are lost, and counted in
    `lost`; the latest reason is `error`.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        name: str,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._sender = Sender(endpoint, headers=headers, timeout_s=timeout_s)
        where = resource(name, platform.node(), os.getpid(), platform.python_version())
        self._maker = SpanMaker(where, scope_of(version("pluginhost")))
        self.sent = 0
        self.lost = 0
        self.error: ExportError | None = None

    @property
    def without_caller(self) -> int:
        """How many spans begin a trace because the end of their caller was not seen."""
        return self._maker.without_caller

    def observe(self, batch: EventBatch) -> None:
        """Send the spans of what has ended; calls wait for the end of their callers."""
        self._send(self._maker.spans(batch))

    def close(self) -> None:
        """Send what still waits for a caller; after the subscription is closed."""
        self._send(self._maker.rest())
        self._sender.close()

    def _send(self, spans: Sequence[ReadableSpan]) -> None:
        for some in _parts(spans, BATCH):
            try:
                self._sender.spans(some)
            except ExportError as error:
                self.lost += len(some)
                self.error = error
            else:
                self.sent += len(some)


def _parts(spans: Sequence[ReadableSpan], size: int) -> Iterator[Sequence[ReadableSpan]]:
    for start in range(0, len(spans), size):
        yield spans[start : start + size]


def _checked(endpoint: str) -> str:
    """Return an endpoint without a slash at its end."""
    try:
        parts = urlsplit(endpoint)
        sensible = parts.scheme in ("http", "https") and bool(parts.hostname)
        sensible = sensible and (parts.port is None or parts.port > 0)
    except ValueError:
        sensible = False
    if not sensible or not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
        raise InvalidValueError(
            f"{endpoint!r} is no endpoint", remedy="give a URL such as http://localhost:4318"
        )
    for path in ("/v1/metrics", "/v1/traces"):
        endpoint = endpoint.rstrip("/").removesuffix(path)
    return endpoint


@contextmanager
def _told() -> Iterator[list[str]]:
    """Collect what the exporters log, which is the only place where they say what went wrong."""
    told: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    logger, collector = logging.getLogger(_LOGGER), Collector()
    logger.addHandler(collector)
    try:
        yield told
    finally:
        logger.removeHandler(collector)
