"""Who called whom: the tree of calling contexts, whose nodes the instrumentation finds in one step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from pluginhost.processes import follow_forks

BEFORE_YIELD, AFTER_YIELD, AWAITED = " (before yield)", " (after yield)", " (awaited)"
"""What follows the name of a hook where a call is one part of what an implementation does."""


ELSEWHERE, CUT, MEASURING = "(other threads)", "(callers not kept)", "(measuring)"
"""The hooks of nodes that are nobody's: see `CallTree`."""


class EventKind(StrEnum):
    """What an event is about."""

    __hash__ = str.__hash__  # at C speed: kinds are keys wherever events are counted

    PLUGIN_LOAD = "plugin_load"
    PLUGIN_EXECUTE = "plugin_execute"
    PLUGIN_ERROR = "plugin_error"
    PLUGIN_UNLOAD = "plugin_unload"
    LOOP_BLOCK = "loop_block"
    HOOK_CALL = "hook_call"
    HOOK_AWAIT = "hook_await"
    MODULE_IMPORT = "module_import"
    SECTION = "section"


class CallSite:
    """One plugin's part in one kind of occurrence; compared by identity, so make each once."""

    __slots__ = ("contains", "hook", "kind", "own", "plugin_id")

    def __init__(self, kind: EventKind, plugin_id: str, hook: str) -> None:
        self.kind = kind
        self.plugin_id = plugin_id
        self.hook = hook
        self.own = False
        """Whether it is known to be the observed application's own."""
        self.contains = False
        """Whether its calls have called hooks, or went on later: what is in them needs it."""

    def __repr__(self) -> str:
        return f"<CallSite {self.kind} {self.plugin_id}:{self.hook}>"


class CallPath(dict["str | CallSite", "CallPath"]):
    """A node of the calling-context tree: a call site together with everything it was called from.

    The node is the mapping of its own children, so that the instrumentation finds the node for a
    nested call with one subscript: `path[plugin_id]` for an execution, `path[site]` otherwise.
    """

    __slots__ = (
        "concurrent", "depth", "journal", "own", "parent", "site", "spared", "tree", "untimed",
    )  # fmt: skip

    def __init__(self, tree: CallTree, parent: CallPath | None, site: CallSite) -> None:
        super().__init__()
        self.tree = tree
        self.parent = parent
        self.site = site
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.own: bool = site.own and parent is not None and (parent.own or parent.parent is None)
        """Whether this and all it was called from is the application's own."""
        self.untimed = self.spared = 0
        """How many calls were not timed, and how many made from here passed some over: `Sparer`."""
        self.concurrent = False
        """Whether calls made from here were seen to run side by side, in tasks or threads."""
        self.journal = tree.journal_of(self)
        """Where calls of this path are recorded, if not on a bus: their durations and extras."""

    def __missing__(self, key: str | CallSite) -> CallPath:
        return self.tree.grow(self, key)

    # A node, not a value. With all of object's own slots, and only then, look-ups and searches by
    # node stay at C speed.
    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __lt__: Any = vars(object)["__lt__"]
    __le__: Any = vars(object)["__le__"]
    __gt__: Any = vars(object)["__gt__"]
    __ge__: Any = vars(object)["__ge__"]

    def __repr__(self) -> str:
        return f"<CallPath {' > '.join(self.names())}>"

    def names(self) -> tuple[str, ...]:
        """Return the names of all calls from the top to this one."""
        here: CallPath | None = self
        names: list[str] = []
        while here is not None and here.parent is not None:
            names.append(label_of(here.site))
            here = here.parent
        return tuple(reversed(names))

    @property
    def caller(self) -> str | None:
        """The id of the plugin this was called from, None at the top."""
        above = self.parent
        return (above.site.plugin_id or None) if above is not None else None


class CallTree:
    """All call paths seen; it stops growing at `max_paths`, and each path at `max_depth`.

    Beyond that a call is filed below `cut`, without its callers, and counted in `cut_paths`:
    reports say so. With a `thread_id`, what other threads do stands apart (see `elsewhere`), so
    that the times of that one thread add up. `journal_of` makes the journal of a path.
    """

    def __init__(
        self,
        max_paths: int = 20_000,
        max_depth: int = 64,
        *,
        thread_id: int = 0,
        journal_of: Callable[[CallPath], Any] = lambda _path: None,
    ) -> None:
        self.journal_of = journal_of
        self.grown: list[CallPath] = []
        """All paths but the root, callers first."""
        self.max_paths = max_paths
        self.max_depth = max_depth
        self.thread_id = thread_id
        self.cut_paths = 0
        self.path_count = 1
        self.after_fork()
        follow_forks(self)
        self._sites: dict[tuple[EventKind, str, str], CallSite] = {}
        self.root = CallPath(self, None, self.site(EventKind.HOOK_CALL, "", ""))
        self._elsewhere = self.site(EventKind.HOOK_CALL, "", ELSEWHERE)
        self._cut = self.site(EventKind.HOOK_CALL, "", CUT)

    def after_fork(self) -> None:
        """Go on in a child process, where no other thread is."""
        self.lock = threading.RLock()

    def site(self, kind: EventKind, plugin_id: str, hook: str) -> CallSite:
        """Return the one call site of these three."""
        key = (kind, plugin_id, hook)
        try:
            return self._sites[key]
        except KeyError:
            with self.lock:
                return self._sites.setdefault(key, CallSite(kind, plugin_id, hook))

    def execution_site(self, plugin_id: str) -> CallSite:
        """Return the call site that the key `plugin_id` stands for."""
        return self.site(EventKind.PLUGIN_EXECUTE, plugin_id, "execute")

    def elsewhere(self, parent: CallPath) -> CallPath:
        """Return the path for what runs beside `parent`, on another thread or in a task.

        It is `parent` itself, which is then marked, or, in a tree of one thread, a node below it:
        the time of the calls below that is not taken off anybody's self time.
        """
        if not self.thread_id:
            parent.concurrent = True
            return parent
        return parent[self._elsewhere]

    def grow(self, parent: CallPath, key: str | CallSite) -> CallPath:
        """Add and return the child of `parent` under `key`; called when it is not there yet."""
        with self.lock:
            found = parent.get(key)
            if found is not None:
                return found
            site = self.execution_site(key) if isinstance(key, str) else key
            full = self.path_count >= self.max_paths or parent.depth >= self.max_depth
            if full and parent.site is not self._cut:
                self.cut_paths += 1
                cut = self.root.get(self._cut)
                if cut is None:
                    cut = self.root[self._cut] = CallPath(self, self.root, self._cut)
                    self.grown.append(cut)
                return cut[key]
            path = parent[key] = CallPath(self, parent, site)
            parent.site.contains |= site.kind is EventKind.HOOK_CALL and site.plugin_id != ""
            self.grown.append(path)
            self.path_count += 1
            return path


def label_of(site: CallSite) -> str:
    """Return the short name of a call: the plugin, and the hook where it is not plain execute."""
    if not site.plugin_id:
        return site.hook
    return site.plugin_id if site.hook == "execute" else f"{site.plugin_id}:{site.hook}"
