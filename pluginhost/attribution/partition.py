"""One capture's call tree, cut into self times that add up: of units, hooks and the measuring."""

from __future__ import annotations

from collections import defaultdict
from operator import attrgetter

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


class Node(msgspec.Struct, frozen=True, gc=False):
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
        # By position; what is called from nowhere, with -1 for its caller, adds up in the last place:
        self._child_ns = [0] * (len(calls) + 1)
        self._child_cpu_ns = [0] * (len(calls) + 1)
        self._recorded_in_ns = [0.0] * (len(calls) + 1)
        for position, call in enumerate(calls):
            parent = call.parent
            if _is_aside(call) or (parent == -1 and self._apart[position] is not None):
                continue
            self._child_ns[parent] += self._total_ns[position]
            self._child_cpu_ns[parent] += self._cpu_ns[position] or 0
            if not call.estimated:
                cost_ns = capture.import_ns if call.kind is _IMPORT else capture.outer_ns
                self._recorded_in_ns[parent] += (call.count - call.untimed) * cost_ns
        self._estimate_untimed()
        self.top_ns = self._child_ns[-1]
        self.recorded_at_top_ns = round(self._recorded_in_ns[-1])
        self._judge(owners)

    def _estimate_untimed(self) -> None:
        """Give calls that were not timed the time of those that were, out of their caller's."""
        capture = self._capture
        calls = list(self._calls)
        left_ns = capture.ended_ns - capture.observed_ns - self._child_ns[-1]
        left_of: defaultdict[int, int] = defaultdict(int, {-1: left_ns})
        for position, call in enumerate(calls):
            if not call.untimed:
                continue
            timed = call.count - call.untimed
            if not timed or self._apart[position] is not None:
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
        call, capture = self._calls[position], self._capture
        inner_ns = 0.0 if call.kind is _IMPORT else capture.inner_ns
        own_ns = (call.count - call.untimed) * inner_ns + call.spared * capture.spared_ns
        return own_ns + self._recorded_in_ns[position]

    def _judge(self, owners: Owners) -> None:
        callers = set(map(attrgetter("parent"), self._calls))
        above: dict[int, _Above] = {-1: _TOP}
        for position, call in enumerate(self._calls):
            caller = above[call.parent]
            unit, fixture_of = self._whose(call, caller, owners)
            key, part = _key_of(call)
            first, first_hook = unit not in caller.units, key not in caller.hooks
            if position in callers:
                units, hooks = caller.units, caller.hooks
                units = units | {unit} if first else units
                hooks = hooks | {key} if first_hook and call.kind is not _IMPORT else hooks
                above[position] = _Above(unit, units, hooks, fixture_of)
            raw_ns = max(0, self._total_ns[position] - self._child_ns[position])
            if not call.plugin and call.hook == MEASURING:
                self._add_measuring(position, raw_ns)
                continue
            apart, cpu_ns = self._apart[position], self._cpu_ns[position]
            taken_ns = min(raw_ns, round(self._recording_ns(position)))
            self_ns = raw_ns - taken_ns
            if cpu_ns is not None:
                cpu_ns = min(self_ns, max(0, cpu_ns - self._child_cpu_ns[position] - taken_ns))
            if apart is None:
                self.recording_ns += taken_ns
            self.nodes.append(
                Node(
                    position, call, unit, key, part, self_ns, cpu_ns, first, first_hook, apart,
                    fixture_of,
                )
            )  # fmt: skip

    def _whose(
        self, call: CallRecord, caller: _Above, owners: Owners
    ) -> tuple[str | None, str | None]:
        """Return the unit that a path belongs to, and that for whose fixture it was called."""
        unit, fixture_of = caller.unit, caller.fixture_of
        if call.kind is EventKind.SECTION:
            return None, fixture_of
        if call.kind is _IMPORT:
            by_module = call.parent >= 0 and self._calls[call.parent].kind is _IMPORT
            return owners.of_import(call.hook, unit, by_module=by_module), fixture_of
        if call.plugin:
            unit = owners.of_plugin(call.plugin)
            if unit is not None and call.plugin.startswith(FIXTURE):
                fixture_of = unit
            unit = unit or fixture_of  # what the application does for it
        return unit, fixture_of

    def _add_measuring(self, position: int, raw_ns: int) -> None:
        if self._apart[position] is None:
            self.processing_ns += raw_ns
            own_cpu_ns = (self._cpu_ns[position] or 0) - self._child_cpu_ns[position]
            self.processing_cpu_ns += min(raw_ns, max(0, own_cpu_ns))


_ASIDE = frozenset({ELSEWHERE, CUT})
_IMPORT, _AWAIT = EventKind.MODULE_IMPORT, EventKind.HOOK_AWAIT
_PARTS = (BEFORE_YIELD, AFTER_YIELD, AWAITED)
_TOP = _Above(None, frozenset(), frozenset(), None)


def _is_aside(call: CallRecord) -> bool:
    """Whether the time of a path was not its caller's time as well."""
    return call.kind is _AWAIT or (call.hook in _ASIDE and not call.plugin)


def _key_of(call: CallRecord) -> tuple[HookKey, str]:
    if call.plugin and call.hook.endswith(_PARTS):
        part = next(part for part in _PARTS if call.hook.endswith(part))
        return (call.plugin, call.hook.removesuffix(part)), part
    return (call.plugin, call.hook), ""


def _apart(calls: tuple[CallRecord, ...]) -> list[str | None]:
    """Return for each path which of the nodes that stand apart it is below, if any."""
    if _ASIDE.isdisjoint(map(attrgetter("hook"), calls)):
        return [None] * len(calls)  # as mostly
    found: list[str | None] = []
    for call in calls:
        inherited = found[call.parent] if call.parent >= 0 else None
        found.append(call.hook if not call.plugin and call.hook in _ASIDE else inherited)
    return found


def _totals(calls: tuple[CallRecord, ...]) -> tuple[list[int], list[int | None]]:
    """Return the inclusive times; a call that has not returned takes what its children took."""
    total_ns = [call.total_ns for call in calls]
    cpu_ns = [call.cpu_ns for call in calls]
    waiting = {
        position: [0, 0]
        for position, call in enumerate(calls)
        if not call.count and (call.plugin or call.hook not in _ASIDE)
    }
    for position in range(len(calls) - 1, -1, -1) if waiting else ():
        call = calls[position]
        if position in waiting:
            total_ns[position], cpu_ns[position] = waiting[position]
        below = waiting.get(call.parent)
        if below is not None and not _is_aside(call):
            below[0] += total_ns[position]
            below[1] += cpu_ns[position] or 0
    return total_ns, cpu_ns
