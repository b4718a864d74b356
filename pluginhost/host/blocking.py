"""What is known of plugins that block event loops: who, in which hook, where, how often, how long."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from threading import enumerate as all_threads
from typing import TYPE_CHECKING, Any

import pluggy

from pluginhost.errors import PluginStateError
from pluginhost.footprint import LoopBlock
from pluginhost.host.calls import CallsUnderWay
from pluginhost.host.steps import PluginRecord
from pluginhost.seconds import ns_of_seconds
from pluginhost.warning import warn

if TYPE_CHECKING:
    from pluginhost.host.culprits import Blame
    from pluginhost.host.loops import LoopWatch

THRESHOLD_S = 1.0
"""From where on a loop counts as blocked, unless said otherwise: ten times what asyncio's debug mode has."""

MAX_PLACES = 20
_ELSEWHERE = "", "elsewhere"
_NOT_WATCHED = nullcontext()


class LoopBlocks:
    """Watches the event loops of one host's asynchronous executions, and keeps what is found.

    It begins with the first of them: until then there is no thread, and asyncio is not imported.
    With a threshold of None nothing is watched.
    """

    def __init__(
        self,
        lifecycle: pluggy.PluginManager,
        manager: pluggy.PluginManager,
        records: Mapping[str, PluginRecord],
        calls: CallsUnderWay,
        threshold_s: float | None,
    ) -> None:
        if threshold_s is not None:
            ns_of_seconds(threshold_s, "loop_block_seconds")
        self._lifecycle = lifecycle
        self._manager = manager
        self._records = records
        self._calls = calls
        self._threshold_s = threshold_s or None
        self._watch: LoopWatch | None = None
        self._now: dict[tuple[str, int], tuple[tuple[str, str], int]] = {}

    def watching(self) -> AbstractContextManager[Any]:
        """Have the running loop watched within."""
        watch = self._watch or self._begun()
        return _NOT_WATCHED if watch is None else watch.one()

    def keep(self) -> None:
        """Have the running loop watched for as long as there is one."""
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError as error:
            raise PluginStateError(
                "no event loop is running in this thread", remedy="call it from a coroutine"
            ) from error
        watch = self._watch or self._begun()
        if watch is not None:
            watch.keep()

    def close(self) -> None:
        """Watch no more."""
        if self._watch is not None:
            self._watch.close()

    def after_fork(self) -> None:
        """Begin anew in a child process."""
        self._now = {}
        if self._watch is not None:
            self._watch.after_fork()

    def _begun(self) -> LoopWatch | None:
        if self._threshold_s is None:
            return None
        from pluginhost.host.culprits import Culprits
        from pluginhost.host.loops import LoopWatch

        culprits = Culprits(self._manager, self._records, self._calls.is_under_way)
        watch = LoopWatch(
            self._threshold_s, seen=culprits.seen, noticed=self._noticed, over=self._over
        )
        self._watch = self._watch or watch  # another thread may have begun meanwhile
        return self._watch

    # In the thread of the watch

    def _noticed(self, blame: Blame, ident: int, duration_s: float) -> None:
        record, duration_ns = self._records.get(blame.plugin_id), round(1e9 * duration_s)
        if record is None:
            return
        place, before_ns = self._now.get((blame.plugin_id, ident), (None, 0))
        new = place is None
        if place is None:
            place = blame.hook, blame.where
            if place not in record.blocks and len(record.blocks) >= MAX_PLACES:
                place = _ELSEWHERE
        known = record.blocks.get(place) or _no_block(*place)
        record.blocks[place] = LoopBlock(
            hook=known.hook,
            where=known.where,
            count=known.count + new,
            longest_ns=max(known.longest_ns, duration_ns),
            total_ns=known.total_ns + max(0, duration_ns - before_ns),
        )
        self._now[blame.plugin_id, ident] = place, duration_ns
        if not known.count:
            self._warn(blame, ident, duration_s)

    def _over(self, blame: Blame, ident: int, duration_s: float) -> None:
        self._noticed(blame, ident, duration_s)
        self._now.pop((blame.plugin_id, ident), None)
        duration_ns = round(1e9 * duration_s)
        block = LoopBlock(
            hook=blame.hook,
            where=blame.where,
            count=1,
            longest_ns=duration_ns,
            total_ns=duration_ns,
        )
        with suppress(Exception):  # what an application's own implementation raises
            self._lifecycle.hook.pluginhost_loop_block(
                plugin_id=blame.plugin_id, block=block, thread_id=ident
            )

    def _warn(self, blame: Blame, ident: int, duration_s: float) -> None:
        threads = [thread.name for thread in all_threads() if thread.ident == ident]
        warn(
            "a plugin blocks the event loop",
            plugin=blame.plugin_id,
            hook=blame.hook,
            where=blame.where,
            thread=threads[0] if threads else str(ident),
            so_far_s=round(duration_s, 3),
        )


def _no_block(hook: str, where: str) -> LoopBlock:
    return LoopBlock(hook=hook, where=where, count=0, longest_ns=0, total_ns=0)
