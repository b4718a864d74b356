"""What is answered to who asks for metrics: those of a saved run, of a history, or both, as they are now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pluginhost.errors import PluginHostError
from pluginhost.exporters.families import MAX_SERIES, Measured, measured_of
from pluginhost.exporters.prometheus import exposition
from pluginhost.report import read_report
from pluginhost.serving.guard import Answer, Request

if TYPE_CHECKING:
    from pluginhost.history.metrics import HistoryMetrics

PATH = "/metrics"


class MetricsSource:
    """A saved run and a history, either of which may be None; read again each time. For one thread.

    While something cannot be read, the answer is 503, which Prometheus shows as a target that is down;
    `tell` is given the reason, once, and None when all is well again.
    """

    def __init__(
        self,
        *,
        run: str | Path | None = None,
        history: HistoryMetrics | None = None,
        max_series: int = MAX_SERIES,
        tell: Callable[[str | None], None] = lambda _why: None,
    ) -> None:
        self._run = run
        self._history = history
        self._max_series = max_series
        self._tell = tell
        self._told: str | None = None

    def read(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics, and their content type; raises what reading raises."""
        return exposition(self._measured(), accept=accept, max_series=self._max_series)

    def answer(self, request: Request) -> Answer:
        """Return what is answered to a request."""
        why = None
        try:
            content, content_type = self.read(request.header("accept"))
            answer = Answer(200, content, content_type)
        except PluginHostError as error:
            why = str(error)
            answer = Answer(503, b"what is to be served cannot be read\n")
        if why != self._told:
            self._told = why
            self._tell(why)
        return answer

    def _measured(self) -> list[Measured]:
        found = []
        if self._run is not None:
            report = read_report(self._run)
            labels = {"run": report.name, "host": report.environment.hostname}
            found.append(measured_of(report, source="file", **labels))
        return found if self._history is None else [*found, *self._history.read()]
