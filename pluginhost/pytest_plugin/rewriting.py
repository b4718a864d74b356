"""pytest's rewriting of assertions on record: reading, making and keeping the code of test modules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

from pluginhost.calltree import EventKind
from pluginhost.instrumentation.by_thread import ThreadNesting
from pluginhost.instrumentation.calls import named_like
from pluginhost.instrumentation.failures import without_caller
from pluginhost.instrumentation.imports import ImportTimer
from pluginhost.pytest_plugin.sections import REWRITING

_PARTS = ("_read_pyc", "_rewrite_test", "_write_pyc")


class RewritingSource:
    """Times what pytest's import hook does, while it is started.

    `hook` is that of the session. Sessions within this one have their own, and share the functions
    of the module: what these do on their behalf is part of whatever test began them.
    """

    def __init__(self, hook: Any, nesting: ThreadNesting) -> None:
        self._hook = hook
        self._nesting = nesting
        self._imports = ImportTimer(nesting)
        self._module: Any = sys.modules.get("_pytest.assertion.rewrite")
        self._replaced: dict[str, tuple[Any, Any]] = {}
        self._mine: Any = None

    def start(self) -> None:
        """Step between pytest and its functions."""
        if not hasattr(self._hook, "exec_module"):
            return  # a dummy: nothing is rewritten
        for name in _PARTS:
            original = getattr(self._module, name, None)
            if isinstance(original, FunctionType):
                mine = named_like(self._timed(original), original)
                self._replaced[name] = original, mine
                setattr(self._module, name, mine)
        self._mine = self._executing(self._hook.exec_module)
        self._hook.exec_module = self._mine

    def stop(self) -> None:
        """Step out, wherever nobody stands above."""
        for name, (original, mine) in self._replaced.items():
            if getattr(self._module, name, None) is mine:
                setattr(self._module, name, original)
        self._replaced.clear()
        if self._mine is not None and vars(self._hook).get("exec_module") is self._mine:
            del self._hook.exec_module
        self._mine = None

    def _timed(self, original: Callable[..., Any]) -> Any:
        imports = self._imports

        def timed(*args: Any, **options: Any) -> Any:
            entered = imports.enter(REWRITING)
            try:
                return original(*args, **options)
            except BaseException as error:
                without_caller(error)
                raise
            finally:
                imports.leave(entered)

        return timed

    def _executing(self, original: Callable[[Any], None]) -> Any:
        """Return what runs a module; it is an import where nobody else has noticed one."""
        nesting, imports = self._nesting, self._imports

        def exec_module(module: Any) -> None:
            known = nesting.here_is(EventKind.MODULE_IMPORT)
            entered = None if known else imports.enter(module.__name__)
            try:
                return original(module)
            except BaseException as error:
                without_caller(error)
                raise
            finally:
                if entered is not None:
                    imports.leave(entered)

        return named_like(exec_module, original)  # type: ignore[arg-type]
