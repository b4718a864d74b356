"""Which plugins are being called now, and waiting until none of one's calls is under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident

_PAUSE_S = 0.002


class CallsUnderWay:
    """`threads` has the idents of the threads that are in a call of each plugin, once a call.

    Adding to a list and removing from it are atomic: counting a call takes no lock.
    """

    def __init__(self, patience_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self.threads: dict[str, list[int]] = {}
        self._until: float | None = None

    def loaded(self, plugin_id: str) -> None:
        """Have calls of the plugin counted from now on."""
        self.threads.setdefault(plugin_id, [])

    @contextmanager
    def one(self, plugin_id: str) -> Iterator[None]:
        """Count a call in this thread."""
        threads, me = self.threads[plugin_id], get_ident()
        threads.append(me)
        try:
            yield
        finally:
            threads.remove(me)

    @contextmanager
    def one_patience(self) -> Iterator[None]:
        """Have all plugins drained within the time for one."""
        before, self._until = self._until, self._clock() + self._patience_s
        try:
            yield
        finally:
            self._until = before

    def drain(self, plugin_id: str) -> tuple[str, ...]:
        """Wait for the plugin's calls; return the names of the threads in which one goes on.

        A call in this very thread, which cannot end before this does, is not waited for.
        """
        until = self._until if self._until is not None else self._clock() + self._patience_s
        threads, me = self.threads.get(plugin_id, []), get_ident()
        while any(ident != me for ident in threads.copy()) and self._clock() < until:
            time.sleep(_PAUSE_S)
        going_on = set(threads.copy())
        return tuple(t.name for t in threading.enumerate() if t.ident in going_on)

    def is_under_way(self, plugin_id: str, ident: int) -> bool:
        """Whether a thread is in a call of the plugin, or has one waiting in its event loop."""
        return ident in self.threads.get(plugin_id, ())

    def after_fork(self) -> None:
        """Forget the calls of threads that are not in this process."""
        me = get_ident()
        for threads in self.threads.values():
            threads[:] = [ident for ident in threads if ident == me]
