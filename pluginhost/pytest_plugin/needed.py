"""Which plugins the tests cannot do without: they request its fixtures, or are of its kind.

What is requested by `getfixturevalue` only, from a test's body, is not seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any

from pluginhost.instrumentation.fixtures import packages_of
from pluginhost.printable import printable
from pluginhost.pytest_plugin.autouse import module_of
from pluginhost.pytest_plugin.suite_capture import Needed


def used_by_tests(session: Any) -> set[Any]:
    """Return all fixtures that a session's tests know by the names they use."""
    infos = _infos(getattr(session, "items", None) or ())
    several = chain.from_iterable(info.name2fixturedefs.values() for info in infos)
    return set(chain.from_iterable(several))


def needed_of(session: Any, used: Collection[Any]) -> tuple[Needed, ...]:
    """Return what the tests of a session have of plugins: fixtures that they request, and classes.

    `used` are the fixtures that they use.
    """
    items = getattr(session, "items", None) or ()
    if not items:
        return ()
    packages = packages_of(session.config.pluginmanager.get_plugins())
    found = {
        (module, ""): Needed(printable(module, 200), "")
        for module in (kind.__module__ for kind in dict.fromkeys(map(type, items)))
        if _top(module) in packages
    }
    theirs = {each.argname for each in used if _top(module_of(each)) in packages}
    for info in _infos(items) if theirs else ():
        if theirs.isdisjoint(info.name2fixturedefs):
            continue
        for fixturedef in _requested(info, packages):
            key = module_of(fixturedef), fixturedef.argname
            found.setdefault(key, Needed(printable(key[0], 200), printable(key[1], 100)))
    return tuple(found.values())


def _infos(items: Iterable[Any]) -> list[Any]:
    """Return what pytest knows of the fixtures of tests; parameters of one share that."""
    infos = list(map(getattr, items, repeat("_fixtureinfo"), repeat(None)))
    shared = dict(zip(map(id, infos), infos, strict=True))
    return [info for info in shared.values() if info is not None]


def _requested(info: Any, packages: set[str]) -> Iterator[Any]:
    """Yield the fixtures of plugins that a test requests, or that its suite's own fixtures do."""
    known = info.name2fixturedefs
    waiting = [(name, -1, name in info.argnames) for name in info.initialnames]
    done: set[tuple[str, int]] = set()
    while waiting:
        name, index, by_name = waiting.pop()
        fixturedefs: Sequence[Any] = known.get(name) or ()
        if (name, index) in done or -index > len(fixturedefs):
            continue
        fixturedef = fixturedefs[index]
        if _top(module_of(fixturedef)) in packages:
            if by_name or not getattr(fixturedef, "_autouse", False):
                done.add((name, index))
                yield fixturedef
            continue  # what it requests in turn is gone with it
        done.add((name, index))
        names = fixturedef.argnames
        waiting += [(other, index - 1 if other == name else -1, True) for other in names]


def _top(module: str) -> str:
    return module.partition(".")[0]
