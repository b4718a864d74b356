"""Which execution is inside which: a context variable that holds the innermost frame.

Every execution puts a frame of its own into the context variable and, when it ends, marks the
frame as ended instead of putting the old one back: setting a context variable is the dearest part
of keeping track. Whoever looks skips frames that have ended. So the parent of a call is the
innermost execution, of this context or of the one it was copied from, that is still running;
asyncio copies the context for every task, `asyncio.to_thread` for its thread.

An ended frame is revived, without setting anything, when the same plugin is executed next from the
same place and no other thread is alive. (With other threads it could not be: one of them may run
in a copy of the context, made when the frame had ended, and would take it for its parent. Without,
whatever sees the frame alive was started from within that very execution.)

Children of one execution that run on another thread, or while an asynchronous sibling does, mark
their parent's path as `concurrent`: its self time is then a bound.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any, cast

from pluginhost.calltree import CallPath, CallSite, CallTree

Frame = list[Any]
"""[path, or None once it has ended; the frame it was begun in; the thread whose calls from here
come in turn, or 0 while an asynchronous child runs; how many of those there are; the plugin for
which it may be revived, or None; the path again]"""

PATH, OUTER, THREAD, TASKS, REVIVED_FOR, SAME_PATH = range(6)


def frame_variable(tree: CallTree) -> ContextVar[Frame]:
    """Return a new context variable whose default is the root of `tree`, which never ends."""
    root = cast("Frame", (tree.root, None, tree.thread_id, 0, None, tree.root))  # nobody ends it
    return ContextVar("pluginhost_frame", default=root)


def begin(current: ContextVar[Frame], key: str | CallSite) -> tuple[CallPath, Frame]:
    """Enter a call: return its path and its frame, whose path is to be set to None at the end.

    The wrappers of executions and hook implementations do the same in line; only a frame of the
    former is ever revived.
    """
    outer = current.get()
    me = threading.get_ident()
    while (parent := outer[PATH]) is None:
        outer = outer[OUTER]
    if outer[THREAD] != me:
        parent = parent.tree.elsewhere(parent)
    path: CallPath = parent[key]
    own: Frame = [path, outer, me, 0, None, path]
    current.set(own)
    return path, own


def begin_task(current: ContextVar[Frame], key: str | CallSite) -> tuple[CallPath, Frame]:
    """Enter an asynchronous call, which `end_task` must leave."""
    path, own = begin(current, key)
    outer = own[OUTER]
    if isinstance(outer, list):
        outer[THREAD], outer[REVIVED_FOR] = 0, None
        outer[TASKS] += 1
        while outer[OUTER][PATH] is None:  # let go of frames that have ended: tasks may form chains
            outer[OUTER] = outer[OUTER][OUTER]
    return path, own


def end_task(own: Frame) -> None:
    """Leave an asynchronous call."""
    own[PATH] = None
    outer = own[OUTER]
    if isinstance(outer, list):
        outer[TASKS] -= 1
        if not outer[TASKS]:
            outer[THREAD] = own[THREAD]
