"""Stacks that were sampled, added up to a tree of the plugin's own functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pluginhost.inside import InsideFrame
from pluginhost.instrumentation.inside_profilers import Place, Stack
from pluginhost.printable import printable

MARK = "pluginhost_inside"
_OWN = f"{Path(__file__).parents[1]}/"
_MARKER = f"{Path(__file__).parent / 'inside.py'}"
_NESTED = ("execute", "aexecute", "timed", "step")
_DEEPEST = 100
_SMALLEST_SHARE = 0.001
_HOST = Place("(pluginhost)", "", 0)
_WAITING = Place("(waiting)", "", 0)
_TASKS = Place("(tasks that it started)", "", 0)
_AWAITS = "[await]"  # so pyinstrument ends the stack of a task that another runs instead of
_LEFT = "[out-of-context]"  # and so where it cannot tell why


class _Node(dict["Place", "_Node"]):
    __slots__ = ("own", "samples", "value")

    def __init__(self) -> None:
        super().__init__()
        self.value = self.own = self.samples = 0

    def add(self, places: Iterable[Place], value: int, count: int) -> None:
        here = self
        here.value += value
        here.samples += count
        for place in places:
            found = here.get(place)
            if found is None:
                found = here[place] = _Node()
            here = found
            here.value += value
            here.samples += count
        here.own += value


class FrameTree:
    """All stacks of a plugin; with `largest`, those of the execution that had most.

    What it called of other plugins and hooks is left out, and its time summed in `called`.
    """

    def __init__(self, *, largest: bool = False) -> None:
        self._largest = largest
        self._root = _Node()
        self.called = 0

    @property
    def value(self) -> int:
        """All ns or bytes."""
        return self._root.value

    @property
    def samples(self) -> int:
        """How many stacks or allocations."""
        return self._root.samples

    def add(self, stacks: Iterable[Stack]) -> None:
        """Add what was seen of one execution."""
        root = _Node() if self._largest else self._root
        for stack in stacks:
            places = inside(stack.places, tasks=not self._largest)
            if places is None:
                self.called += 0 if self._largest else stack.value
            elif places:
                root.add(places[:_DEEPEST], stack.value, stack.samples)
        if root.value >= self._root.value:
            self._root = root

    def frames(self) -> tuple[InsideFrame, ...]:
        """Return the functions it was in, the largest first; the least are summed up in callers."""
        return _frames(self._root, self._root.value * _SMALLEST_SHARE)


def inside(places: Sequence[Place], *, tasks: bool = False) -> list[Place] | None:
    """Return the frames that are the plugin's, from its own function on.

    None where they are in a plugin or hook that it called: that is measured by itself. Empty where
    they are not the plugin's, but with `tasks` those are that it started.
    """
    begin = next((n for n, place in enumerate(places) if _is_mark(place)), None)
    if begin is None:
        return _in_task(places) if tasks else []
    found: list[Place] = []
    nested = False
    for place in places[begin:]:
        if place.file.startswith(_OWN):
            nested = nested or place.function in _NESTED
        elif not nested:
            found.append(place)
        elif not _is_own(place):
            return None
    return [*found, _HOST] if nested or not found else found


def _is_mark(place: Place) -> bool:
    return place.function == MARK and place.file == _MARKER


def _in_task(places: Sequence[Place]) -> list[Place]:
    """Return the frames below the event loop's, empty where there is none or it is our own doing.

    Of an awaiting task no more is known than that it waits: whose awaitable is no coroutine, as
    ours, its stack is not seen through. One that has left its context below the event loop is about
    to be resumed, and waits for its turn.
    """
    if places and places[-1].function == _AWAITS:
        return [_WAITING]
    if places and places[-1].function == _LEFT:
        return [] if any(place.file == _MARKER for place in places) else [_WAITING]
    loop = max(
        (n for n, p in enumerate(places) if p.function == "_run" and _in_loop(p)), default=-1
    )
    if loop < 0 or _is_own(places[-1]) or any(place.file == _MARKER for place in places):
        return []
    found = [place for place in places[loop + 1 :] if not place.file.startswith(_OWN)]
    if found and all(map(_is_asyncios, found)):
        return [_WAITING]  # the loop's own steps to have it go on
    return [_TASKS, *found] if found else []


def _is_own(place: Place) -> bool:
    return place.file.startswith(_OWN) or "/pluggy/" in place.file.replace("\\", "/")


def _is_asyncios(place: Place) -> bool:
    return "/asyncio/" in place.file.replace("\\", "/")


def _in_loop(place: Place) -> bool:
    return place.file.replace("\\", "/").endswith("asyncio/events.py")


def _frames(node: _Node, smallest: float) -> tuple[InsideFrame, ...]:
    found = (
        InsideFrame(
            function=printable(place.function),
            file=printable(place.file, 1000),
            line=place.line,
            value=child.value,
            self_value=child.value - sum(c.value for c in child.values() if c.value > smallest),
            samples=child.samples,
            children=_frames(child, smallest),
        )
        for place, child in node.items()
        if child.value > smallest
    )
    return tuple(sorted(found, key=lambda frame: (-frame.value, frame.function, frame.line)))
