"""Imports as calls: every module's first import is timed where it happens in the call tree.

Python's own import statement ends in one function of importlib's whenever a module is not there
yet. It is replaced by one that looks the same in a traceback: Python cuts its import machinery out
of them by file name. Whose an import is, is not known yet when it happens, so it is nobody's here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

from pluginhost.calltree import EventKind
from pluginhost.capture import ENTRY_POINT
from pluginhost.instrumentation.by_thread import ThreadNesting
from pluginhost.instrumentation.failures import without_caller
from pluginhost.instrumentation.readings import rss_gauge
from pluginhost.printable import printable
from pluginhost.processes import RenewedLock

_METADATA = ("importlib.metadata", "importlib_metadata")  # the library, and its backport
_PATCHING = RenewedLock()


class ImportSource:
    """Feeds a bus with imports, of modules and of entry points, while it has observers."""

    def __init__(self, nesting: ThreadNesting) -> None:
        self._timer = ImportTimer(nesting)

    def start(self) -> None:
        """Step between Python and its import machinery."""
        with _PATCHING.lock:
            for owner, name in _places():
                _Patch.of(owner, name).timers += (self._timer,)
        self._timer.loaded = self._patch_metadata

    def stop(self) -> None:
        """Step out; with the last one, what was there before is put back."""
        self._timer.loaded = None
        with _PATCHING.lock:
            for owner, name in _places():
                _Patch.remove(owner, name, self._timer)

    def _patch_metadata(self, module: str) -> None:
        """Time entry points as soon as there is a library that loads them."""
        if module in _METADATA:
            with _PATCHING.lock:
                patch = _Patch.of(sys.modules[module].EntryPoint, "load")
                if self._timer not in patch.timers and self._timer.loaded is not None:
                    patch.timers += (self._timer,)


class ImportTimer:
    """Puts imports on record: time, CPU, and what the resident set grew by."""

    def __init__(self, nesting: ThreadNesting) -> None:
        self._nesting = nesting
        self._rss = rss_gauge()
        self.loaded: Callable[[str], None] | None = None
        """Told of every library of metadata that was imported."""

    def enter(self, name: str) -> tuple[Any, ...]:
        """Begin an import; what is returned is for `leave`."""
        site = self._nesting.tree.site(EventKind.MODULE_IMPORT, "", printable(name, 500))
        return self._rss(), *self._nesting.enter(site)

    def leave(self, entered: tuple[Any, ...]) -> None:
        """End the import that `enter` began."""
        before, *begun = entered
        journal, duration_ns, waited = self._nesting.leave(tuple(begun))
        journal.extend((duration_ns, (duration_ns + waited, before, self._rss(), 0, 1, 1, 0, 0)))

    def imported(self, name: str) -> None:
        """Tell that a module is there now."""
        if self.loaded is not None and name in _METADATA and name in sys.modules:
            self.loaded(name)


def _places() -> list[tuple[Any, str]]:
    machinery: Any = sys.modules["_frozen_importlib"]
    found: list[tuple[Any, str]] = [(machinery, "_find_and_load")]
    found += [(sys.modules[n].EntryPoint, "load") for n in _METADATA if n in sys.modules]
    return found


class _Patch:
    """One function that is replaced, for any number of timers.

    If somebody else has replaced it meanwhile, ours stays below and does nothing but pass on.
    """

    def __init__(self, owner: Any, name: str) -> None:
        self.original: Any = vars(owner)[name]
        self.timers: tuple[ImportTimer, ...] = ()

    @staticmethod
    def of(owner: Any, name: str) -> _Patch:
        """Return the patch of an attribute, put there if there is none."""
        patch = vars(vars(owner)[name]).get(_MARK)
        if patch is None:
            patch = _Patch(owner, name)
            make = _timed_find_and_load if name == "_find_and_load" else _timed_load
            replacement = make(patch)
            vars(replacement)[_MARK] = patch
            setattr(owner, name, replacement)
        return patch  # type: ignore[no-any-return]

    @staticmethod
    def remove(owner: Any, name: str, timer: ImportTimer) -> None:
        """Take `timer` out, and the patch if it was the last and nobody stands above."""
        patch = vars(vars(owner)[name]).get(_MARK)
        if patch is not None:
            patch.timers = tuple(other for other in patch.timers if other is not timer)
            if not patch.timers:
                setattr(owner, name, patch.original)


_MARK = "_pluginhost_patch"


def _timed_find_and_load(patch: _Patch) -> FunctionType:
    original = patch.original

    def enter(name: str) -> list[tuple[ImportTimer, tuple[Any, ...]]]:
        return [(timer, timer.enter(name)) for timer in patch.timers]

    def leave(entered: list[tuple[ImportTimer, tuple[Any, ...]]], name: str) -> None:
        for timer, begun in reversed(entered):
            timer.leave(begun)
            timer.imported(name)

    def _find_and_load(name: str, import_: Any) -> Any:
        entered = enter(name)
        try:
            return original(name, import_)
        except BaseException as error:
            without_caller(error)
            raise
        finally:
            leave(entered, name)

    assert isinstance(_find_and_load, FunctionType)
    code = _find_and_load.__code__
    _find_and_load.__code__ = code.replace(
        co_filename=original.__code__.co_filename, co_qualname="_find_and_load"
    )
    _find_and_load.__module__, _find_and_load.__qualname__ = original.__module__, "_find_and_load"
    return _find_and_load


def _timed_load(patch: _Patch) -> FunctionType:
    original = patch.original

    def load(self: Any) -> Any:
        name = f"{ENTRY_POINT}{self.name} = {self.value}"
        entered = [(timer, timer.enter(name)) for timer in patch.timers]
        try:
            return original(self)
        except BaseException as error:
            without_caller(error)
            raise
        finally:
            for timer, begun in reversed(entered):
                timer.leave(begun)

    assert isinstance(load, FunctionType)
    load.__doc__, load.__qualname__ = original.__doc__, original.__qualname__
    load.__module__ = original.__module__
    return load


class ConftestSource:
    """Times pytest's imports of conftest files, which some import modes keep from importlib.

    They are named by their paths. Other managers have none, and nothing is done.
    """

    def __init__(self, manager: Any, nesting: ThreadNesting) -> None:
        self._manager = manager
        self._timer = ImportTimer(nesting)
        self._own: Any = None

    def start(self) -> None:
        """Step between the manager and its method."""
        manager, timer = self._manager, self._timer
        original = getattr(manager, _IMPORT_CONFTEST, None)
        if original is None or self._own is not None:
            return

        def timed(conftestpath: Path, *args: Any, **options: Any) -> Any:
            entered = timer.enter(str(conftestpath)) if self._own is timed else None
            try:
                return original(conftestpath, *args, **options)
            except BaseException as error:
                without_caller(error)
                raise
            finally:
                if entered is not None:
                    timer.leave(entered)

        self._own = timed
        vars(manager)[_IMPORT_CONFTEST] = timed

    def stop(self) -> None:
        """Step out; if somebody stands above, pass on from now on."""
        if self._own is not None and vars(self._manager).get(_IMPORT_CONFTEST) is self._own:
            del vars(self._manager)[_IMPORT_CONFTEST]
        self._own = None


_IMPORT_CONFTEST = "_importconftest"
