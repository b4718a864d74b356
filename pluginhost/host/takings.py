"""What a plugin takes of the host's process and does not give back: looked at around its steps."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pluginhost.footprint import ResourceUse
from pluginhost.host.holdings import NOTHING, Holdings, holdings

LOAD, EXECUTE, UNLOAD = "load", "execute", "unload"

_MAX_NAMED, _MAX_SHOWN = 1000, 20
_UNSEEN = nullcontext()
_SHARED = ", perhaps another's"


class Takings:
    """The balance of one life of a plugin, by step, and what it has taken, by name."""

    def __init__(self) -> None:
        self._steps: dict[str, ResourceUse] = {}
        self._taken: dict[object, bool] = {}  # whether it may be another's
        self._unloading: Holdings | None = None

    @property
    def balances(self) -> tuple[ResourceUse, ...]:
        """The steps that were looked at."""
        return tuple(self._steps.copy().values())

    def begin_unloading(self, before: Holdings) -> None:
        """Note how the process stands when the plugin begins to be unloaded."""
        self._unloading = before

    def left(self) -> tuple[str, ...]:
        """Return what it took in any step and is there now, in words."""
        now = holdings() or NOTHING
        taken = self._taken
        if self._unloading is not None:
            taken = dict.fromkeys(now.since(self._unloading), False) | taken
        words = now.all()  # as they are called now: a child may have become another program
        left = [words[key] + _SHARED * taken[key] for key in taken if key in words]
        more = len(left) - _MAX_SHOWN
        return (*left[:_MAX_SHOWN], *([f"{more} more like these"] if more > 0 else []))

    def add(
        self, step: str, before: Holdings, after: Holdings, inner: Delta, *, shared: bool
    ) -> None:
        """Add one step, less what the steps of other plugins within it took."""
        taken, own = after.since(before), Delta(before, after).less(inner)
        known = self._steps.get(step) or ResourceUse(step=step)
        self._steps[step] = ResourceUse(
            step=step,
            count=known.count + 1,
            shared_count=known.shared_count + shared,
            descriptors=known.descriptors + own.descriptors,
            threads=known.threads + own.threads,
            children=known.children + own.children,
            memory_bytes=known.memory_bytes + own.memory_bytes,
        )
        for key in taken:
            if key not in inner.taken and len(self._taken) < _MAX_NAMED:
                self._taken[key] = shared
        for key in [key for key in self._taken if not after.has(key)]:
            del self._taken[key]


class Delta:
    """How much more there is of each; `taken` are the keys of what is new."""

    def __init__(self, before: Holdings | None = None, after: Holdings | None = None) -> None:
        self.descriptors = self.threads = self.children = self.memory_bytes = 0
        self.taken: set[object] = set()
        if before is not None and after is not None:
            self.descriptors = len(after.descriptors) - len(before.descriptors)
            self.threads = len(after.threads) - len(before.threads)
            self.children = len(after.children) - len(before.children)
            self.memory_bytes = after.rss_bytes - before.rss_bytes
            self.taken = set(after.since(before))

    def less(self, other: Delta) -> Delta:
        """Return what is left without another."""
        return self._with(other, -1)

    def plus(self, other: Delta) -> Delta:
        """Return both together."""
        return self._with(other, 1)

    def _with(self, other: Delta, sign: int) -> Delta:
        found = Delta()
        for name in ("descriptors", "threads", "children", "memory_bytes"):
            setattr(found, name, getattr(self, name) + sign * getattr(other, name))
        found.taken = self.taken | other.taken
        return found


class Accounts:
    """Looks at the process around the steps of plugins; `takings_of` gives a plugin's, or None.

    Two steps at once cannot be told apart, unless one is within the other in one thread.
    """

    def __init__(self, takings_of: Callable[[str], Takings | None]) -> None:
        self._takings_of = takings_of
        self._begin()

    def _begin(self) -> None:
        self.lock = threading.Lock()
        self.open: set[_Section] = set()
        self._stacks = threading.local()

    def after_fork(self) -> None:
        """Begin anew in a child process."""
        self._begin()

    def step(
        self, takings: Takings | None, step: str, *, nests: bool = True
    ) -> AbstractContextManager[None]:
        """Return a context that looks before and after; with None one that does nothing."""
        if takings is None:
            return _UNSEEN
        stack = self._stacks.__dict__.setdefault("sections", []) if nests else []
        return _Section(self, takings, step, stack)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the hook that executes, looked at."""

        def execute(*, plugin_id: str, task: Any) -> Any:
            with self.step(self._takings_of(plugin_id), EXECUTE):
                return call(plugin_id=plugin_id, task=task)

        return execute

    def around_awaiting(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return the hook that executes asynchronously, looked at from the first step to the last."""

        async def execute(*, plugin_id: str, task: Any) -> Any:
            with self.step(self._takings_of(plugin_id), EXECUTE, nests=False):
                return await call(plugin_id=plugin_id, task=task)

        return execute


def takings_by_id(records: Mapping[str, Any]) -> Callable[[str], Takings | None]:
    """Return a function that finds the takings of a plugin in the host's own process."""

    def find(plugin_id: str) -> Takings | None:
        record = records.get(plugin_id)
        return None if record is None or record.remote is not None else record.takings

    return find


class _Section:
    """A step under way; `inner` is what steps within it took, in the same thread."""

    def __init__(
        self, accounts: Accounts, takings: Takings, step: str, stack: list[_Section]
    ) -> None:
        self.inner = Delta()
        self.shared = False
        self._accounts = accounts
        self._takings = takings
        self._step = step
        self._stack = stack
        self._before: Holdings | None = None

    def __enter__(self) -> None:
        with self._accounts.lock:
            for other in self._accounts.open.difference(self._stack):
                other.shared = self.shared = True
            self._accounts.open.add(self)
        self._stack.append(self)
        self._before = holdings()
        if self._step == UNLOAD and self._before is not None:
            self._takings.begin_unloading(self._before)

    def __exit__(self, *_: object) -> None:
        before, after = self._before, holdings()
        self._stack.remove(self)
        with self._accounts.lock:
            self._accounts.open.discard(self)
        if before is not None and after is not None:
            self._takings.add(self._step, before, after, self.inner, shared=self.shared)
            if self._stack:
                outer = self._stack[-1]
                outer.inner = outer.inner.plus(Delta(before, after))
