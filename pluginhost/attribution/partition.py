"""One capture's call tree, cut into self times that add up: of units, hooks and the measuring."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from pluginhost.attribution.owners import Owners
from pluginhost.calltree import (
    AFTER_YIELD,
    AWAITED,
    BEFORE_YIELD,
    CUT,
    ELSEWHERE,
    MEASURING,
    EventKind,
)
from pluginhost.capture import FIXTURE, CallRecord, Capture

HookKey = tuple[str, str]
"""A plugin by its name in the records, and a hook without what says which part of a call it is."""


class Node(msgspec.Struct, frozen=True):
    """A call path, judged.

    `unit` is whose it is (None: the application's). `self_ns` and `self_cpu_ns` are without its
    children and without what recording cost. `outermost` tells whether no caller is of the same
    unit, `outermost_hook` whether none is of the same hook of the same plugin. `apart` is where it
    stands if its time is not part of the observed thread's, `fixture_of` the unit for whose fixture
    it was called.
    """

    position: int
    record: CallRecord
    unit: str | None
    key: HookKey
    part: str
    self_ns: int
    self_cpu_ns: int | None
    outermost: bool
    outermost_hook: bool
    apart: str | None
    fixture_of: str | None


class _Above(msgspec.Struct, frozen=True):
    """What is known of a path that matters for those below."""

    unit: str | None
    units: frozenset[str | None]
    hooks: frozenset[HookKey]
    fixture_of: str | None


class Partition:
    """The nodes of a capture, what lies above all of them, and what was taken off as measuring."""

    def __init__(self, capture: Capture, owners: Owners) -> None:
        self.nodes: list[Node] = []
        self.recording_ns = 0
        self.processing_ns = 0
        self.processing_cpu_ns = 0
        self.top_ns = 0
        """The inclusive time of all calls of the observed thread that nothing recorded surrounds."""
        self._capture = capture
        calls = self._calls = capture.calls
        self._apart = _apart(calls)
        self._total_ns, self._cpu_ns = _totals(calls)
        self._child_ns: defaultdict[int, int] = defaultdict(int)
        self._child_cpu_ns: defaultdict[int, int] = defaultdict(int)
        self._recorded_in_ns: defaultdict[int, float] = defaultdict(float)
        for position, call in enumerate(calls):
            if self._counts_for_parent(position):
                self._child_ns[call.parent] += self._total_ns[position]
                self._child_cpu_ns[call.parent] += self._cpu_ns[position] or 0
                self._recorded_in_ns[call.parent] += _recorded_in_caller_ns(call, capture)
        self._estimate_untimed()
        self.top_ns = self._child_ns[-1]
        self.recorded_at_top_ns = round(self._recorded_in_ns[-1])
        self._judge(owners)

    def _counts_for_parent(self, position: int) -> bool:
        """Whether the time of a path was its caller's time as well."""
        call = self._capture.calls[position]
        if call.kind is EventKind.HOOK_AWAIT or (not call.plugin and call.hook in _ASIDE):
            return False
        return not (call.parent == -1 and self._apart[position] is not None)

    def _estimate_untimed(self) -> None:
        """Give calls that were not timed the time of those that were, out of their caller's."""
        capture = self._capture
        calls = list(self._calls)
        left_ns = capture.ended_ns - capture.observed_ns - self._child_ns[-1]
        left_of: defaultdict[int, int] = defaultdict(int, {-1: left_ns})
        for position, call in enumerate(calls):
            timed = call.count - call.untimed
            if not call.untimed or not timed or self._apart[position] is not None:
                continue
            parent = call.parent
            if parent not in left_of:
                left_of[parent] = self._total_ns[parent] - self._child_ns[parent]
                left_of[parent] -= round(self._recording_ns(parent))
            extra_ns = self._total_ns[position] * call.untimed // timed
            extra_ns = max(0, min(extra_ns, left_of[parent]))
            left_of[parent] -= extra_ns
            self._child_ns[parent] += extra_ns
            self._total_ns[position] += extra_ns
            cpu_ns = self._cpu_ns[position]
            if cpu_ns is not None:
                extra_cpu_ns = max(0, min(cpu_ns * call.untimed // timed, extra_ns))
                self._cpu_ns[position] = cpu_ns + extra_cpu_ns
                self._child_cpu_ns[parent] += extra_cpu_ns
            calls[position] = msgspec.structs.replace(
                call, total_ns=self._total_ns[position], cpu_ns=self._cpu_ns[position]
            )
        self._calls = tuple(calls)

    def _recording_ns(self, position: int) -> float:
        """Return what recording took of the time of a path: itself, and what was called from it."""
        call = self._calls[position]
        inner_ns = 0.0 if _is_import(call) else self._capture.inner_ns
        own_ns = (call.count - call.untimed) * inner_ns + call.spared * self._capture.spared_ns
        return own_ns + self._recorded_in_ns[position]

    def _judge(self, owners: Owners) -> None:
        above: list[_Above] = []
        for position, call in enumerate(self._calls):
            caller = above[call.parent] if call.parent >= 0 else _TOP
            unit, fixture_of = caller.unit, caller.fixture_of
            key, part = _key_of(call)
            if call.kind is EventKind.SECTION:
                unit = None
            elif _is_import(call):
                by_module = call.parent >= 0 and _is_import(self._calls[call.parent])
                unit = owners.of_import(call.hook, unit, by_module=by_module)
            elif call.plugin:
                unit = owners.of_plugin(call.plugin)
                if call.plugin.startswith(FIXTURE) and unit is not None:
                    fixture_of = unit
                unit = unit or fixture_of  # what the application does for it
            units, hooks = caller.units, caller.hooks
            outermost = unit not in units, key not in hooks
            if outermost[0]:
                units |= {unit}
            if outermost[1] and not _is_import(call):
                hooks |= {key}
            here = _Above(unit, units, hooks, fixture_of)
            self._add(position, here, key, part, outermost)
            above.append(here)

    def _add(
        self, position: int, here: _Above, key: HookKey, part: str, outermost: tuple[bool, bool]
    ) -> None:
        call, apart = self._calls[position], self._apart[position]
        raw_ns = max(0, self._total_ns[position] - self._child_ns[position])
        cpu_ns = self._cpu_ns[position]
        if call.plugin == "" and call.hook == MEASURING:
            if apart is None:
                self.processing_ns += raw_ns
                own_cpu_ns = (cpu_ns or 0) - self._child_cpu_ns[position]
                self.processing_cpu_ns += min(raw_ns, max(0, own_cpu_ns))
            return
        taken_ns = min(raw_ns, round(self._recording_ns(position)))
        if cpu_ns is not None:
            cpu_ns = min(
                raw_ns - taken_ns, max(0, cpu_ns - self._child_cpu_ns[position] - taken_ns)
            )
        if apart is None:
            self.recording_ns += taken_ns
        first, first_hook = outermost
        self.nodes.append(
            Node(
                position, call, here.unit, key, part, raw_ns - taken_ns, cpu_ns, first, first_hook,
                apart, here.fixture_of,
            )
        )  # fmt: skip


_ASIDE = {ELSEWHERE, CUT}
_TOP = _Above(None, frozenset(), frozenset(), None)


def _is_import(call: CallRecord) -> bool:
    return call.kind is EventKind.MODULE_IMPORT


def _recorded_in_caller_ns(call: CallRecord, capture: Capture) -> float:
    """Return what recording the calls of a path took of their caller's time."""
    if call.estimated:
        return 0.0
    cost_ns = capture.import_ns if _is_import(call) else capture.outer_ns
    return (call.count - call.untimed) * cost_ns


def _key_of(call: CallRecord) -> tuple[HookKey, str]:
    for part in (BEFORE_YIELD, AFTER_YIELD, AWAITED):
        if call.hook.endswith(part) and call.plugin:
            return (call.plugin, call.hook.removesuffix(part)), part
    return (call.plugin, call.hook), ""


def _apart(calls: tuple[CallRecord, ...]) -> list[str | None]:
    """Return for each path which of the nodes that stand apart it is below, if any."""
    found: list[str | None] = []
    for call in calls:
        inherited = found[call.parent] if call.parent >= 0 else None
        found.append(call.hook if not call.plugin and call.hook in _ASIDE else inherited)
    return found


def _totals(calls: tuple[CallRecord, ...]) -> tuple[list[int], list[int | None]]:
    """Return the inclusive times; a call that has not returned takes what its children took."""
    total_ns = [call.total_ns for call in calls]
    cpu_ns = [call.cpu_ns for call in calls]
    below: defaultdict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for position in range(len(calls) - 1, -1, -1):
        call = calls[position]
        aside = not call.plugin and call.hook in _ASIDE
        if not call.count and not aside:
            total_ns[position], cpu_ns[position] = below[position]
        if not aside and call.kind is not EventKind.HOOK_AWAIT:
            ns, cpu = below[call.parent]
            below[call.parent] = ns + total_ns[position], cpu + (cpu_ns[position] or 0)
    return total_ns, cpu_ns
