"""From a plugin's figures to findings: each rule is a pure function, listed in `RULES`."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pluginhost.errors import InvalidValueError
from pluginhost.report import AggregateMetrics, Bottleneck

MIB = 1024 * 1024


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """Where a figure becomes a finding: strictly above.

    `error_rate` and `cpu_utilisation` are shares (0.0-1.0). CPU only counts for a plugin whose self
    time is `cpu_min_total_s` in all, for nobody cares how a millisecond was spent.
    """

    error_rate: float = 0.25
    average_duration_s: float = 5.0
    memory_bytes: int = 100 * MIB
    cpu_utilisation: float = 0.8
    cpu_min_total_s: float = 1.0
    failures: int = 100
    loop_blocks: int = 0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if type(value) is bool or not value >= 0:
                raise InvalidValueError(
                    f"the threshold {name} is {value!r}", remedy="give 0 or more"
                )


Rule = Callable[[AggregateMetrics, Thresholds], Bottleneck | None]


def high_error_rate(metrics: AggregateMetrics, thresholds: Thresholds) -> Bottleneck | None:
    """HIGH_ERROR_RATE: too large a share of the executions failed or timed out."""
    if metrics.error_rate <= thresholds.error_rate:
        return None
    bad = metrics.failure_count + metrics.timeout_count
    return Bottleneck(
        plugin_id=metrics.plugin_id,
        kind="HIGH_ERROR_RATE",
        severity=_severity(metrics.error_rate, thresholds.error_rate),
        value=metrics.error_rate,
        threshold=thresholds.error_rate,
        unit="ratio",
        finding=f"{bad} of {metrics.execution_count} executions failed ({metrics.error_rate:.0%})",
        remedy=f"look at its last error: {metrics.last_error}"
        if metrics.last_error
        else "look at what it was given when it failed",
    )


def slow_execution(metrics: AggregateMetrics, thresholds: Thresholds) -> Bottleneck | None:
    """SLOW_EXECUTION: an average execution takes too long."""
    average_s = metrics.average_duration_ns / 1e9
    if average_s <= thresholds.average_duration_s:
        return None
    busy = metrics.cpu_utilisation
    if busy is None:
        advice = "raise the sampling rate to see whether it computes or waits"
    elif busy < 0.5:
        advice = f"it waits most of the time ({1 - busy:.0%}): look at its input and output"
    else:
        advice = "it computes: profile its code, or give it less at a time"
    return Bottleneck(
        plugin_id=metrics.plugin_id,
        kind="SLOW_EXECUTION",
        severity=_severity(average_s, thresholds.average_duration_s),
        value=average_s,
        threshold=thresholds.average_duration_s,
        unit="s",
        finding=f"an average execution takes {average_s:.1f} s",
        remedy=advice,
    )


def high_memory(metrics: AggregateMetrics, thresholds: Thresholds) -> Bottleneck | None:
    """HIGH_MEMORY: one execution made the process grow too much."""
    peak = metrics.peak_memory_bytes
    if peak is None or peak <= thresholds.memory_bytes:
        return None
    return Bottleneck(
        plugin_id=metrics.plugin_id,
        kind="HIGH_MEMORY",
        severity=_severity(peak, thresholds.memory_bytes),
        value=peak,
        threshold=thresholds.memory_bytes,
        unit="bytes",
        finding=f"one execution grew the process by {peak / MIB:.0f} MiB (at least)",
        remedy="look for what it reads whole or keeps between executions",
    )


def high_cpu(metrics: AggregateMetrics, thresholds: Thresholds) -> Bottleneck | None:
    """HIGH_CPU: it keeps a core busy for most of its time, and for long enough to matter."""
    busy = metrics.cpu_utilisation
    if busy is None or busy <= thresholds.cpu_utilisation:
        return None
    if metrics.self_time_ns < thresholds.cpu_min_total_s * 1e9:
        return None
    return Bottleneck(
        plugin_id=metrics.plugin_id,
        kind="HIGH_CPU",
        severity=_severity(busy, thresholds.cpu_utilisation),
        value=busy,
        threshold=thresholds.cpu_utilisation,
        unit="ratio",
        finding=f"it computes for {busy:.0%} of its {metrics.total_time_ns / 1e9:.1f} s",
        remedy="profile its code, or call it less often",
    )


def unreliable(metrics: AggregateMetrics, thresholds: Thresholds) -> Bottleneck | None:
    """UNRELIABLE: it has failed too often, whatever the share."""
    failures = metrics.failure_count + metrics.timeout_count
    if failures <= thresholds.failures:
        return None
    return Bottleneck(
        plugin_id=metrics.plugin_id,
        kind="UNRELIABLE",
        severity=_severity(failures, thresholds.failures),
        value=failures,
        threshold=thresholds.failures,
        unit="failures",
        finding=f"it has failed {failures} times",
        remedy="handle the inputs it fails on, or unload it",
    )


def blocks_event_loop(metrics: AggregateMetrics, thresholds: Thresholds) -> Bottleneck | None:
    """BLOCKS_EVENT_LOOP: its code holds up everything else in the event loop."""
    count = metrics.loop_block_count
    if count <= thresholds.loop_blocks:
        return None
    longest_s = (metrics.longest_loop_block_ns or 0) / 1e9
    times = "once" if count == 1 else f"{count} times"
    return Bottleneck(
        plugin_id=metrics.plugin_id,
        kind="BLOCKS_EVENT_LOOP",
        severity=_severity(count, max(1, thresholds.loop_blocks)),
        value=count,
        threshold=thresholds.loop_blocks,
        unit="blocks",
        finding=f"it blocked the event loop {times}, for {longest_s:.1f} s at most, "
        f"last in {metrics.last_loop_block}",
        remedy="await what takes long, or have it done by asyncio.to_thread()",
    )


RULES: tuple[Rule, ...] = (
    high_error_rate,
    slow_execution,
    high_memory,
    high_cpu,
    unreliable,
    blocks_event_loop,
)


def findings(
    metrics: AggregateMetrics, thresholds: Thresholds, rules: tuple[Rule, ...] = RULES
) -> tuple[Bottleneck, ...]:
    """Return what the rules say of one plugin."""
    return tuple(found for rule in rules if (found := rule(metrics, thresholds)) is not None)


def _severity(value: float, threshold: float) -> str:
    return "high" if value >= 2 * threshold else "medium"
