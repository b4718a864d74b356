"""Watching event loops: one that does not come round is blocked, and its thread's stack says by whom.

A thread asks each loop, several times within the threshold, to answer. It is there only while loops
are watched: while asynchronous executions are under way on them, and shortly after.
"""

from __future__ import annotations

import threading
import time
from asyncio import AbstractEventLoop, _get_running_loop, get_running_loop
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from threading import get_ident

from pluginhost.host.culprits import Blame

ROUNDS = 4
"""How often a loop is asked within the threshold."""

_LINGER_ROUNDS = 2 * ROUNDS
_NOT_WATCHED = nullcontext()
_SURE = 0.4
"""The share of the threshold for which somebody is to be seen before being blamed."""


class _Watched:
    """One event loop, and the context in which it is watched.

    `users` is only changed by its own thread.
    """

    __slots__ = ("_come_round", "answered_s", "asked_s", "blamed", "gone", "ident", "idle", "keep",
                 "lock", "loop", "seen_since_s", "users")  # fmt: skip

    def __init__(self, loop: AbstractEventLoop, come_round: Callable[[_Watched], None]) -> None:
        self._come_round = come_round
        self.lock = threading.RLock()  # who has it tells of the loop
        self.loop = loop
        self.ident = get_ident()
        self.users = self.idle = 0
        self.keep = self.gone = False
        self.clear()

    def __enter__(self) -> None:
        """Nothing: it was counted when it was looked up."""

    def __exit__(self, *_: object) -> None:
        self.users -= 1
        if self.blamed:  # so that it is told by the end of what was called
            self._come_round(self)

    def clear(self) -> None:
        """Forget who was seen: the loop has come round."""
        self.asked_s: float | None = None
        self.answered_s: float | None = None
        self.seen_since_s: dict[str, float] = {}
        self.blamed: dict[str, tuple[Blame, float]] = {}


class LoopWatch:
    """Tells who has blocked an event loop for `threshold_s` seconds and longer.

    `seen(ident)` returns whose code is running in a thread. While a loop is blocked,
    `noticed(blame, ident, duration_s)` is called again and again with how long it has been; once it
    goes on, `over` is. Only who was seen there for about half of the threshold is blamed.
    """

    def __init__(
        self,
        threshold_s: float,
        *,
        seen: Callable[[int], tuple[Blame, ...]],
        noticed: Callable[[Blame, int, float], None],
        over: Callable[[Blame, int, float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold_s = threshold_s
        self._seen = seen
        self._noticed = noticed
        self._over = over
        self._clock = clock
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._loops: dict[AbstractEventLoop, _Watched] = {}
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def one(self) -> AbstractContextManager[None]:
        """Have the running loop watched within; one that is not asyncio's is not."""
        loop = _get_running_loop()
        return _NOT_WATCHED if loop is None else self._entered(loop)

    def keep(self) -> None:
        """Have the running loop watched until it is closed."""
        watched = self._entered(get_running_loop())
        watched.keep = True
        watched.users -= 1

    def close(self) -> None:
        """End the thread; what is blocked now is told as far as it is known."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
            loops, self._loops = self._loops, {}
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._threshold_s)
        for watched in loops.values():
            self._come_round(watched)

    def after_fork(self) -> None:
        """Begin anew in a child process, where neither the thread nor other loops are."""
        self._begin()

    # In the threads of the loops

    def _entered(self, loop: AbstractEventLoop) -> _Watched:
        watched = self._loops.get(loop)
        if watched is not None:
            watched.users += 1
            if not watched.gone:  # this after that: the thread looks in the other order
                return watched
        with self._lock:
            watched = self._loops.get(loop)
            if watched is None or watched.gone:
                watched = self._loops[loop] = _Watched(loop, self._left_blamed)
                watched.users = 1
            if self._thread is None:
                self._start()
        return watched

    def _start(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._stop,), name="pluginhost-loops", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter ends, or there are too many threads
            self._thread = None

    def _left_blamed(self, watched: _Watched) -> None:
        watched.answered_s = watched.answered_s or self._clock()
        with suppress(Exception):
            self._come_round(watched)

    # In the thread of the watch

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(self._threshold_s / ROUNDS):
            for watched in list(self._loops.values()):
                with suppress(Exception):  # whatever a loop of others' making does
                    self._look(watched)
            with self._lock:
                if self._thread is not threading.current_thread():
                    return
                if not self._loops:
                    self._thread = None
                    return

    def _look(self, watched: _Watched) -> None:
        loop, now, asked_s = watched.loop, self._clock(), watched.asked_s
        if asked_s is not None and watched.answered_s is None and loop.is_running():
            if now - asked_s >= self._threshold_s / 2:
                self._look_closer(watched, asked_s, now)
            return
        self._come_round(watched)
        if loop.is_closed() or self._is_left(watched):
            self._forget(watched)
        elif loop.is_running():
            watched.asked_s = now
            loop.call_soon_threadsafe(self._answer, watched)

    def _come_round(self, watched: _Watched) -> None:
        """Tell of those who were blamed that it is over, and begin anew."""
        with watched.lock:
            asked_s, answered_s = watched.asked_s, watched.answered_s
            for plugin_id, (blame, known_s) in watched.blamed.items():
                until_the_end = plugin_id in watched.seen_since_s
                if until_the_end and asked_s is not None and answered_s is not None:
                    self._over(blame, watched.ident, answered_s - asked_s)
                else:
                    self._over(blame, watched.ident, known_s)
            watched.clear()

    def _answer(self, watched: _Watched) -> None:
        watched.ident = get_ident()
        watched.answered_s = self._clock()

    def _look_closer(self, watched: _Watched, asked_s: float, now: float) -> None:
        seen = {blame.plugin_id: blame for blame in self._seen(watched.ident)}
        with watched.lock:
            if watched.answered_s is not None:
                return  # it has come round meanwhile
            since_s = watched.seen_since_s
            watched.seen_since_s = {plugin_id: since_s.get(plugin_id, now) for plugin_id in seen}
            if now - asked_s < self._threshold_s:
                return
            for plugin_id, first_s in watched.seen_since_s.items():
                if now - first_s >= _SURE * self._threshold_s:
                    blame, _ = watched.blamed.get(plugin_id, (seen[plugin_id], 0.0))
                    watched.blamed[plugin_id] = blame, now - asked_s
                    self._noticed(blame, watched.ident, now - asked_s)

    def _is_left(self, watched: _Watched) -> bool:
        watched.idle = 0 if watched.users or watched.keep else watched.idle + 1
        return watched.idle > _LINGER_ROUNDS

    def _forget(self, watched: _Watched) -> None:
        with self._lock:
            watched.gone = True
            if watched.users and not watched.loop.is_closed():
                watched.gone = False
            elif self._loops.get(watched.loop) is watched:
                self._loops = {k: w for k, w in self._loops.items() if w is not watched}
