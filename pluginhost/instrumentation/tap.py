"""The tap into a pluggy manager: every hook implementation timed for itself, by plugin and hook.

pluggy's own monitoring sees a call of all implementations together, so it cannot tell plugins
apart. The tap puts a timed copy of each implementation into the call instead; the registered ones
are never touched, so that whoever looks at them sees what was registered.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pluggy

from pluginhost.instrumentation.failures import without_caller
from pluginhost.instrumentation.sparing import SparedCalls, Sparer
from pluginhost.processes import RenewedLock

Hookexec = Callable[[str, Sequence[pluggy.HookImpl], Mapping[str, object], bool], object]
Timed = Callable[[pluggy.HookImpl, str], Callable[..., Any]]
"""Returns what to call in place of the implementation's function, of the hook of that name."""

_KEPT = 8  # lists of implementations kept for one hook: subset callers of one take turns
_ATTACHING = RenewedLock()
_TAP = "_pluginhost_tap"


class HookTapSource:
    """Has `timed` see every implementation's calls in `manager` while a bus has observers.

    All of them, unless a `sparer` leaves some out.
    """

    def __init__(
        self, manager: pluggy.PluginManager, timed: Timed, sparer: Sparer | None = None
    ) -> None:
        self._manager = manager
        self._timed = timed
        self._sparer = sparer
        self._tap: Tap | None = None

    def start(self) -> None:
        """Step between the manager and whatever executes its calls now."""
        with _ATTACHING.lock:
            if self._tap is None:
                self._tap = Tap.of(self._manager)
                self._tap.add(self._timed, self._sparer)

    def stop(self) -> None:
        """Step out; the last one out takes the tap along."""
        with _ATTACHING.lock:
            if self._tap is not None:
                self._tap.remove(self._timed)
                self._tap = None

    @contextmanager
    def letting_go(self, plugin_id: str) -> Iterator[None]:
        """Keep nothing of one plugin while it is unloaded, so that it can be freed."""
        tap = self._tap
        if tap is None:
            yield
            return
        tap.leaving.append(plugin_id)
        try:
            tap.forget(plugin_id)  # a call of its own: variables here would live on meanwhile
            yield
        finally:
            tap.leaving.remove(plugin_id)


_Prepared = tuple[list[pluggy.HookImpl], list[pluggy.HookImpl], "SparedCalls | None"]
"""Implementations as registered, and timed; and what hook calls may pass some over."""

_NOTHING: _Prepared = ([], [], None)


class Tap:
    """Stands between one manager and its calls, for any number of observations.

    If somebody else has stepped in above it when the last observation leaves, it stays where it is
    and passes every call on, until it is on top again when another tap is taken out.
    """

    def __init__(self, manager: pluggy.PluginManager) -> None:
        # The one private name of pluggy's that is used here; its own monitoring replaces the same.
        self._manager: Any = manager
        self._below: Hookexec = self._manager._inner_hookexec
        self._timers: tuple[Timed, ...] = ()
        self._sparers: tuple[Sparer | None, ...] = ()
        self._latest: dict[str, _Prepared] = {}
        self._prepared: dict[str, list[_Prepared]] = {}
        self.leaving: list[str] = []

    @staticmethod
    def of(manager: Any) -> Tap:
        """Return the tap on top of `manager`, put there if there is none."""
        top = _tap_in(manager._inner_hookexec)
        if top is None:
            top = Tap(manager)
            manager._inner_hookexec = top._executing()
        return top

    def add(self, timed: Timed, sparer: Sparer | None = None) -> None:
        """Time every implementation with `timed` too, outside of what does so already.

        As long as it is the only one, it may leave out what `sparer` says.
        """
        self._timers = (*self._timers, timed)
        self._sparers = (*self._sparers, sparer)
        self._latest, self._prepared = {}, {}

    def remove(self, timed: Timed) -> None:
        """Time no more with `timed`; with nothing left to do, step out if that is possible."""
        left = [n for n, other in enumerate(self._timers) if other is not timed]
        self._timers = tuple(self._timers[n] for n in left)
        self._sparers = tuple(self._sparers[n] for n in left)
        self._latest, self._prepared = {}, {}
        top = _tap_in(self._manager._inner_hookexec)
        while top is not None and not top._timers:
            self._manager._inner_hookexec = top._below
            top = _tap_in(top._below)

    def forget(self, plugin_id: str) -> None:
        """Keep nothing of one plugin's implementations."""
        self._latest = {}
        for lists in list(self._prepared.values()):
            lists[:] = [
                kept for kept in lists if all(impl.plugin_name != plugin_id for impl in kept[0])
            ]

    def _executing(self) -> Hookexec:
        """Return what the manager calls: a closure, for it runs around every call of every hook."""
        tap, below = self, self._below

        def execute(
            hook: str,
            implementations: Sequence[pluggy.HookImpl],
            kwargs: Mapping[str, object],
            firstresult: bool,
        ) -> object:
            try:
                registered, timed, spared = tap._latest[hook]
            except KeyError:
                registered, timed, spared = _NOTHING
            try:
                if registered != implementations:  # by identity of each element
                    if not tap._timers:
                        return below(hook, implementations, kwargs, firstresult)
                    _, timed, spared = tap._latest_of(hook, implementations)
                if spared is not None:
                    if spared.passes > 0 and spared.caller is spared.state[2]:  # PATH
                        spared.passes -= 1
                        timed = spared.partly
                    else:
                        timed = spared.next(timed)
                return below(hook, timed, kwargs, firstresult)
            except BaseException as error:
                without_caller(error)
                raise

        vars(execute)[_TAP] = self
        return execute

    def _latest_of(self, hook: str, implementations: Sequence[pluggy.HookImpl]) -> _Prepared:
        """Return what is prepared of implementations that are not those of the latest call."""
        latest, prepared = self._latest, self._prepared
        lists = prepared.get(hook, [])
        found = next((each for each in lists if each[0] == implementations), None)
        if found is None:
            known = {
                impl: mine
                for registered, mine_of_them, _ in lists
                for impl, mine in zip(registered, mine_of_them, strict=True)
            }
            timed = [known.get(impl) or self._copy(hook, impl) for impl in implementations]
            sparer = self._sparers[0] if len(self._sparers) == 1 else None
            spared = sparer.spared(hook, implementations) if sparer is not None else None
            found = list(implementations), timed, spared
            caller = getattr(self._manager.hook, hook, None)
            alive = set() if caller is None else set(caller.get_hookimpls())
            kept = [each for each in lists if alive.issuperset(each[0])]
            leaving = any(impl.plugin_name in self.leaving for impl in implementations)
            if leaving or not alive.issuperset(implementations):
                return found  # of implementations that are gone soon, nothing is kept
            prepared[hook] = [found, *kept][:_KEPT]
        latest[hook] = found
        return found

    def _copy(self, hook: str, impl: pluggy.HookImpl) -> pluggy.HookImpl:
        """Return an implementation like `impl` whose function is timed."""
        mine: Any = copy.copy(impl)
        for timed in self._timers:
            mine.function = timed(mine, hook)
        return mine  # type: ignore[no-any-return]


def is_tapped(manager: pluggy.PluginManager) -> bool:
    """Whether somebody times the calls of `manager` already."""
    top = _tap_in(manager._inner_hookexec)
    return top is not None and bool(top._timers)


def _tap_in(execute: Hookexec) -> Tap | None:
    """Return the tap that is there if `execute` is one's."""
    return getattr(execute, _TAP, None)
