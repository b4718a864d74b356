"""Which plugins' options are in use: pytest refuses a run without them, or does another thing.

pytest does not keep whose an option is. It is that of the plugin whose `pytest_addoption` has its name
among its strings, or in what that calls and reads of its own module. Names that are put together
are not found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import CodeType, FunctionType
from typing import Any

from pluginhost.headers import canonical, headers_of
from pluginhost.printable import printable
from pluginhost.pytest_plugin.asking import words_of
from pluginhost.pytest_plugin.suite_capture import Used

_DEEPEST = 4
_DISTRIBUTION = r"[A-Za-z0-9._-]+"


def used_of(config: Any) -> tuple[Used, ...]:
    """Return the plugins, by their registered names, of which something is in use, and what."""
    options = dict.fromkeys(_options_in(words_of(config)))
    keys = dict.fromkeys((*_keys_of(config), *filter(str.isupper, os.environ)))
    found: dict[str, str] = {}
    claims: list[tuple[str, set[str]]] = []
    own: list[Any] = []
    for impl in config.pluginmanager.hook.pytest_addoption.get_hookimpls():
        top = _top(getattr(impl.function, "__module__", None))
        if top == "_pytest":
            own.append(impl.function)
        elif top != "pluginhost":
            named = {*options, *keys}.intersection(_strings(impl.function, set(), 0))
            claims += [(impl.plugin_name, named)] if named else []
    of_pytest = {"-p", "addopts"}
    if claims:
        of_pytest.update(*(_strings(function, set(), 0) for function in own))
    for name, named in claims:
        mine = named - of_pytest
        if (option := next((each for each in options if each in mine), None)) is not None:
            found[name] = f"{option} is used"
        elif (key := next((each for each in keys if each in mine), None)) is not None:
            found[name] = f"{key} is set"
    for name in _required(config):
        found.setdefault(name, "required_plugins has it")
    return tuple(Used(printable(name, 500), printable(why, 60)) for name, why in found.items())


def _options_in(words: Iterable[str]) -> Iterator[str]:
    """Yield the options that words are, without their values."""
    for word in words:
        if word == "--":
            return
        if word.startswith("--"):
            yield word.partition("=")[0]
        elif word.startswith("-"):
            yield word[:2]


def _keys_of(config: Any) -> Iterator[str]:
    """Yield the keys that the configuration file sets, or `-o` does."""
    own = vars(config)  # one of the two warns when it is asked for, in later versions
    found: Mapping[str, Any] = own.get("_inicfg") or own.get("inicfg") or {}
    yield from found
    known = getattr(config, "known_args_namespace", None)
    for word in getattr(known, "override_ini", None) or ():
        yield word.partition("=")[0]


def _required(config: Any) -> Iterator[str]:
    """Yield the registered names of plugins that the key `required_plugins` names."""
    names = [
        re.match(_DISTRIBUTION, line.strip()) for line in config.getini("required_plugins") or ()
    ]
    wanted = {canonical(found[0]) for found in names if found is not None}
    manager = config.pluginmanager
    for plugin, distribution in manager.list_plugin_distinfo() if wanted else ():
        with suppress(Exception):  # metadata are whatever lies on the disk
            if canonical(headers_of(distribution).name) in wanted:
                yield manager.get_name(plugin) or ""


def _strings(function: Any, seen: set[int], depth: int) -> Iterator[str]:
    """Yield the strings of a function: its constants, and what it reads or calls of its module."""
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType) or id(function) in seen or depth > _DEEPEST:
        return
    seen.add(id(function))
    yield from _constants(function.__code__, 0)
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType) and _top(value.__module__) == _top(function.__module__):
            yield from _strings(value, seen, depth + 1)
        elif not isinstance(value, CodeType):
            yield from _constants(value, 0)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)


def _constants(value: object, depth: int) -> Iterator[str]:
    """Yield the strings in a value: nested code, and the usual containers."""
    if isinstance(value, str):
        yield value
    elif depth <= _DEEPEST:
        inner: Iterable[object] = ()
        if isinstance(value, CodeType):
            inner = value.co_consts
        elif type(value) in (tuple, list, set, frozenset):
            inner = value  # type: ignore[assignment]  # one of these
        elif type(value) is dict:
            inner = [*value, *value.values()]
        for each in inner:
            yield from _constants(each, depth + 1)


def _top(module: str | None) -> str:
    return (module or "").partition(".")[0]
