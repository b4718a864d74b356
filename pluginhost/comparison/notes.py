"""What else a reader of a comparison should know: drift of the machine, other environments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log
from statistics import median

from pluginhost.comparison.records import Comparison, PluginChange
from pluginhost.printable import printable
from pluginhost.report import Report

_ENVIRONMENT = ("pluginhost", "pluggy", "python", "platform", "hostname", "cpu_count")


def notes_on(
    before: Report,
    after: Report,
    changes: Sequence[PluginChange],
    settings: Comparison,
    common: float | None,
) -> tuple[str, ...]:
    """Return all notes; `changes` are those before anything was judged relative to `common`."""
    return (
        *_same_run(before, after),
        *_drift(changes, settings, common),
        *_differences(before, after),
    )


def common_ratio(changes: Sequence[PluginChange], min_effect: float) -> float | None:
    """Return the ratio that most of at least three plugins share, unless it is about 1."""
    ratios = [change.ratio for change in changes if change.ratio is not None]
    if not ratios:
        return None
    common = median(ratios)
    alike = sum(_alike(ratio, common, min_effect) for ratio in ratios)
    if alike < 3 or alike <= len(ratios) / 2 or _alike(common, 1.0, min_effect):
        return None
    return common


def _alike(one: float, other: float, min_effect: float) -> bool:
    return abs(log(one / other)) < log(1 + min_effect)


def _drift(
    changes: Sequence[PluginChange], settings: Comparison, common: float | None
) -> Iterator[str]:
    if common is None:
        return
    ratios = {c.plugin_id: c.ratio for c in changes if c.ratio is not None}
    apart = {i: r for i, r in ratios.items() if not _alike(r, common, settings.min_effect)}
    alike = f"{len(ratios) - len(apart)} of {len(ratios)} plugins moved alike, by about"
    if settings.relative:
        yield f"{alike} {common - 1:+.0%}: all changes are told against that"
        return
    yield (
        f"{alike} {common - 1:+.0%}: look at the machine, or at what they share, before you blame"
        " one (judged relatively, it drops out)"
    )
    if apart:
        names = (f"{printable(i, 40)} {ratio / common - 1:+.0%}" for i, ratio in apart.items())
        yield f"against these, the others moved: {', '.join(names)}"


def _same_run(before: Report, after: Report) -> Iterator[str]:
    if before == after:
        yield "both files hold the same run"
    elif before.created_timestamp_ns > after.created_timestamp_ns:
        yield "the run given as BEFORE was saved after the other: are they swapped?"


def _differences(before: Report, after: Report) -> Iterator[str]:
    pairs = [
        (name, getattr(before.environment, name), getattr(after.environment, name))
        for name in _ENVIRONMENT
    ]
    if before.performance and after.performance:
        rates = before.performance.sampling_rate, after.performance.sampling_rate
        pairs.append(("sampling rate", *rates))
    for name, old, new in pairs:
        if old != new:
            what = name.replace("_", " ")
            yield f"the runs differ in {what}: {printable(old, 60)} -> {printable(new, 60)}"
