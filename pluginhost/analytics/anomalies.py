"""Anomalies of the live stream: what is not as it was before, in this process, told while it runs."""

from __future__ import annotations

from collections.abc import Iterable
from math import log, sqrt

from msgspec.structs import replace

from pluginhost.calltree import CallSite, EventKind
from pluginhost.errors import InvalidValueError
from pluginhost.events import EventBatch
from pluginhost.journal import Detail, Extra
from pluginhost.series import Anomaly, AnomalyKind

BLOCK = 50
"""So many executions are judged together."""

WARM_UP = 4
"""So many blocks are what is usual learnt from, before anything is told."""

MAX_ANOMALIES = 500

_WATCHED = (EventKind.PLUGIN_EXECUTE, EventKind.HOOK_CALL)
_WEIGHT = 0.1
_SHIFT_BLOCKS, _ADOPT_BLOCKS = 3, 10
_SHIFT_RATIO, _SLOW_RATIO = log(1.2), log(5)
_FLOOR = 0.02
_IQR, _MAD = 1.349, 1.2533
_TOGETHER_NS = 60_000_000_000


class AnomalyDetector:
    """An observer that knows what is usual for each plugin and hook, and tells what is not.

    Blocks of 50 executions are compared with an exponentially weighted mean of the logarithm of their medians
    (EWMA; Roberts, Technometrics 1, 1959) and with the weighted mean absolute deviation from it: both
    are robust, because medians and quartiles go in. Told are

    - `slow`: executions that take 5 times the usual or more, and are `sensitivity` + 2 robust standard
      deviations (interquartile range / 1.349) away from it,
    - `shifted`: medians of 3 blocks in a row that are `sensitivity` deviations and 20 % away, either
      way. After 10 such blocks that is what is usual from then on,
    - `failing`: more failures in a block than the usual rate explains, by `sensitivity` standard
      deviations of the binomial distribution.

    Nothing is told of the first 200 executions.
    """

    def __init__(self, *, sensitivity: float = 6.0) -> None:
        if not 2 <= sensitivity <= 100:
            raise InvalidValueError(
                f"the sensitivity is {sensitivity!r}", remedy="give 2 (told early) to 100"
            )
        self._sensitivity = sensitivity
        self._usual: dict[CallSite, _Usual] = {}
        self._found: list[Anomaly] = []
        self.left_out = 0
        """How many anomalies were not kept, beyond the first `MAX_ANOMALIES`."""

    def observe(self, batch: EventBatch) -> None:
        """Take a batch."""
        for group in batch.groups:
            site = group.path.site
            if site.kind not in _WATCHED or not site.plugin_id:
                continue
            usual = self._usual.get(site)
            if usual is None:
                usual = self._usual[site] = _Usual()
            last_ns = group.ends_ns[-1] + batch.epoch_offset_ns
            usual.take(group.durations_ns, _failures(group.extras or ()), last_ns)
            while len(usual.waiting) >= BLOCK:
                for found in usual.judged(site, self._sensitivity):
                    self._tell(found)

    def anomalies(self) -> tuple[Anomaly, ...]:
        """Return what was told so far, the earliest first."""
        return tuple(self._found.copy())  # which is atomic

    def _tell(self, found: Anomaly) -> None:
        """Keep an anomaly; what goes on is one."""
        for position in range(len(self._found) - 1, max(-1, len(self._found) - 50), -1):
            known = self._found[position]
            same = (known.plugin, known.hook, known.kind) == (
                found.plugin,
                found.hook,
                found.kind,
            )
            if same and found.first_timestamp_ns - known.last_timestamp_ns <= _TOGETHER_NS:
                larger = found if found.score > known.score else known
                self._found[position] = replace(
                    known,
                    last_timestamp_ns=found.last_timestamp_ns,
                    count=known.count + found.count,
                    score=larger.score,
                    seen=larger.seen,
                )
                return
        if len(self._found) >= MAX_ANOMALIES:
            self.left_out += 1
        else:
            self._found.append(found)


class _Usual:
    """What is usual for one call site."""

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self._failures = 0
        self._first_ns = self._last_ns = 0
        self._begin()

    def _begin(self) -> None:
        self._blocks = 0
        self._center = 0.0  # of the logarithms of block medians
        self._wander = 0.0  # how far block medians are from it
        self._spread = 0.0  # of the executions within a block
        self._rate = 0.0  # of failures
        self._away = 0

    def take(self, durations_ns: Iterable[int], failures: int, last_ns: int) -> None:
        """Take executions that ended until `last_ns`."""
        if not self.waiting:
            self._first_ns = self._last_ns or last_ns
        self.waiting += durations_ns
        self._failures += failures
        self._last_ns = last_ns

    def judged(self, site: CallSite, sensitivity: float) -> list[Anomaly]:
        """Judge one block against what is usual, and learn from it."""
        block, self.waiting = self.waiting[:BLOCK], self.waiting[BLOCK:]
        failures = min(len(block), self._failures)
        self._failures -= failures
        ordered = sorted(block)
        quarter = len(ordered) // 4
        low, middle, high = (
            log(max(1, ordered[rank])) for rank in (quarter, len(ordered) // 2, -1 - quarter)
        )
        found: list[Anomaly] = []

        def tell(kind: AnomalyKind, count: int, usual: float, seen: float, score: float) -> None:
            found.append(
                Anomaly(
                    plugin=site.plugin_id,
                    hook=site.hook,
                    kind=kind,
                    first_timestamp_ns=self._first_ns,
                    last_timestamp_ns=self._last_ns,
                    count=count,
                    usual=usual,
                    seen=seen,
                    score=score,
                )
            )

        if self._blocks >= WARM_UP:
            usual_ns = 2.718281828459045**self._center
            spread = max(self._spread, _FLOOR)
            limit = self._center + max(_SLOW_RATIO, (sensitivity + 2) * spread)
            slow = [ns for ns in ordered if ns > 0 and log(ns) > limit]
            if slow and len(slow) < len(ordered) // 2:
                score = (log(slow[-1]) - self._center) / spread
                tell(AnomalyKind.SLOW, len(slow), usual_ns, slow[-1], score)
            expected = len(block) * self._rate
            deviation = sqrt(expected * (1 - self._rate) + 0.5)
            if (failures - expected) / deviation > sensitivity:
                score = (failures - expected) / deviation
                rate = failures / len(block)
                tell(AnomalyKind.FAILING, failures, self._rate, rate, score)
            wander = max(_MAD * self._wander, _FLOOR, spread / sqrt(len(block)))
            distance = abs(middle - self._center)
            if distance > max(_SHIFT_RATIO, sensitivity * wander):
                self._away += 1
                if self._away >= _SHIFT_BLOCKS:
                    count = len(block) * (_SHIFT_BLOCKS if self._away == _SHIFT_BLOCKS else 1)
                    seen = 2.718281828459045**middle
                    tell(AnomalyKind.SHIFTED, count, usual_ns, seen, distance / wander)
                if self._away >= _ADOPT_BLOCKS:
                    self._begin()
                return found
            self._away = 0
        self._learn(middle, (high - low) / _IQR, failures / len(block))
        return found

    def _learn(self, middle: float, spread: float, rate: float) -> None:
        self._blocks += 1
        weight = max(_WEIGHT, 1 / self._blocks)
        if self._blocks > 1:
            self._wander += weight * (abs(middle - self._center) - self._wander)
        self._center += weight * (middle - self._center)
        self._spread += weight * (spread - self._spread)
        self._rate += weight * (rate - self._rate)


def _failures(extras: Iterable[Extra]) -> int:
    return sum(
        isinstance(extra, Detail) and extra.failure is not None and extra.failure.status.is_error
        for extra in extras
    )
