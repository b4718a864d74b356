"""Sparing the application's own implementations: where their calls are many, a sample is timed.

An application may call its own implementations more often than those of all plugins: pytest, for an
empty test, some eighty of them. What is not timed is part of its caller's time, and where the caller
is the application as well, no row of any plugin is the worse for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

import pluggy

from pluginhost.calltree import AFTER_YIELD, BEFORE_YIELD, CallPath, CallSite, EventKind
from pluginhost.instrumentation.by_thread import PATH, ThreadNesting
from pluginhost.printable import printable

TIMED_FIRST = 100
"""So many calls of a hook, from one place, are timed in any case."""

TIMED_ONE_IN = 37
"""Of those that follow, one in so many; a prime, for what a program does may recur."""


class Sparer:
    """Says what need not be timed in most hook calls that the application makes on its own behalf.

    That is what is its own too, calls no hooks itself, and is of a hook that `spares` names (None:
    any). `is_own` tells its implementations, `name_of` is that of the `CallTimer`.
    """

    def __init__(
        self,
        nesting: ThreadNesting,
        is_own: Callable[[pluggy.HookImpl], bool],
        name_of: Callable[[pluggy.HookImpl], str],
        spares: Collection[str] | None = None,
    ) -> None:
        self.nesting = nesting
        self._spares = spares
        self._tree = nesting.tree
        self._is_own = is_own
        self._name_of = name_of
        self._counted: list[SparedCalls] = []

    def spared(self, hook: str, implementations: Sequence[pluggy.HookImpl]) -> SparedCalls | None:
        """Return what is to count the calls of these; None if none of them is the application's."""
        sites = [self._sites(impl, hook) if self._is_own(impl) else () for impl in implementations]
        if not any(sites) or (self._spares is not None and hook not in self._spares):
            return None
        found = SparedCalls(self, implementations, sites)
        self._counted.append(found)
        return found

    def time_none_next(self) -> None:
        """Take all hooks for called so often from where this thread is that the next calls are spared.

        Those are `TIMED_ONE_IN` less one.
        """
        caller = self.nesting.here.state[PATH]
        for each in self._counted:
            each.counted()[caller] = -(-TIMED_FIRST // TIMED_ONE_IN) * TIMED_ONE_IN

    def own_site(self, plugin: str, hook: str) -> CallSite:
        """Return the site of one of the application's implementations, or of a half of it."""
        site = self._tree.site(EventKind.HOOK_CALL, plugin, printable(hook))
        site.own = True
        return site

    def _sites(self, impl: pluggy.HookImpl, hook: str) -> tuple[CallSite, ...]:
        parts = (BEFORE_YIELD, AFTER_YIELD) if impl.wrapper or impl.hookwrapper else ("",)
        return tuple(self.own_site(self._name_of(impl), hook + part) for part in parts)

    def settle(self, count: Callable[[CallPath], int]) -> None:
        """Note in the paths what was not timed; `count` tells how many calls of one were."""
        timed: Counter[CallPath] = Counter()
        untimed: Counter[CallPath] = Counter()
        spared: Counter[CallPath] = Counter()
        for each in self._counted:
            for caller, calls in list(each.counted().items()):  # another thread may add one
                passed_over = _passed_over(calls)
                spared[caller] += passed_over
                for site in each.left_out:
                    path = caller.get(site)
                    if path is not None:
                        timed[path] += calls - passed_over
                        untimed[path] += passed_over
        for path, calls in untimed.items():
            path.untimed = round(calls * count(path) / timed[path])
        for path, calls in spared.items():
            path.spared = calls


class SparedCalls:
    """How often hooks were called that have certain implementations, by the caller's path.

    Where one is called again and again from one place, the tap need not ask: it may pass `passes`
    more calls over while the path in `state` is `caller`. That is the state of the main thread, for
    a thread's own takes long to find; so as soon as another thread is seen, each call is asked for.
    """

    def __init__(
        self,
        sparer: Sparer,
        implementations: Sequence[pluggy.HookImpl],
        sites: Sequence[tuple[CallSite, ...]],
    ) -> None:
        self.state = sparer.nesting.main
        self.caller: CallPath | None = None
        self.passes = 0
        self.partly: list[pluggy.HookImpl] = []
        """What is called when a call is passed over, see `partly_timed`."""
        self.left_out: tuple[CallSite, ...] = ()
        """The sites of what is not timed then."""
        self._nesting = sparer.nesting
        self._granted = 0
        self._calls: dict[CallPath, int] = {}
        self._registered = implementations
        self._sites = sites

    def next(self, timed: list[pluggy.HookImpl]) -> list[pluggy.HookImpl]:
        """Return what a call is to use that is to be counted: `timed`, or something partly timed."""
        caller = self._nesting.here.state[PATH]
        if not caller.own:
            return timed
        counted = self.counted()
        calls = counted[caller] = counted.get(caller, 0) + 1
        since = calls % TIMED_ONE_IN
        if calls <= TIMED_FIRST or not since:
            return timed
        if self._nesting.alone:
            self.caller = caller
            self.passes = self._granted = TIMED_ONE_IN - 1 - since
        return self.partly or self.partly_timed(timed)

    def counted(self) -> dict[CallPath, int]:
        """Return how many calls there were from each path."""
        caller, passed_over = self.caller, self._granted - self.passes
        self.caller, self.passes, self._granted = None, 0, 0
        if caller is not None:  # not looked at twice: a capture may be made on another thread
            self._calls[caller] += passed_over
        return self._calls

    def partly_timed(self, timed: list[pluggy.HookImpl]) -> list[pluggy.HookImpl]:
        """Return what is to be called: as registered what is left out, else of the `timed`."""
        out = [bool(sites) and not any(site.contains for site in sites) for sites in self._sites]
        rows = zip(self._registered, timed, out, strict=True)
        self.left_out = tuple(
            site for sites, left in zip(self._sites, out, strict=True) if left for site in sites
        )
        self.partly = [impl if left else mine for impl, mine, left in rows]
        return self.partly


def _passed_over(calls: int) -> int:
    """Return how many of so many calls are not timed in full."""
    one_in = TIMED_ONE_IN
    return max(0, calls - TIMED_FIRST - (calls // one_in - TIMED_FIRST // one_in))
