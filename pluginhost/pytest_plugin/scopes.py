"""The widest scope that a fixture can have: no wider than that of anything it requests."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

SCOPES = ("function", "class", "module", "package", "session")
_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def narrower(one: str, other: str) -> bool:
    """Whether a scope is narrower than another; one that is not known is the narrowest."""
    return _rank(one) < _rank(other)


def by_name(fixturedefs: Iterable[Any]) -> dict[str, list[Any]]:
    """Return fixtures by their names: a name may mean another one elsewhere."""
    found: dict[str, list[Any]] = {}
    for each in fixturedefs:
        found.setdefault(each.argname, []).append(each)
    return found


def widest_scope(fixturedef: Any, function: Any, known: Mapping[str, list[Any]]) -> str:
    """Return the widest scope a fixture can have, empty if not wider than its own or not known.

    `function` is what it calls, `known` are all fixtures that any test uses. What takes `request`
    may do anything with it, a method has the instance of one test, and a coroutine its event loop.
    """
    flags = getattr(getattr(function, "__code__", None), "co_flags", _ASYNC)
    names = fixturedef.argnames
    if "request" in names or "::" in (fixturedef.baseid or "") or flags & _ASYNC:
        return ""
    widest = "session"
    for name in names:
        others = [each.scope for each in known.get(name, ()) if each is not fixturedef]
        widest = min([widest, *others] if others else [""], key=_rank)
    return widest if narrower(fixturedef.scope, widest) else ""


def _rank(scope: str) -> int:
    return SCOPES.index(scope) if scope in SCOPES else -1
