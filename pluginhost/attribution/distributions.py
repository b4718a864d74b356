"""Which distribution a module is from, and whether anybody asked for it: read from its metadata."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import Distribution, distributions

import msgspec

from pluginhost.headers import Headers, canonical, headers_of
from pluginhost.printable import printable


class Installed(msgspec.Struct, frozen=True):
    """An installed distribution."""

    name: str
    version: str


class Distributions:
    """What is installed in the folders that a program searched.

    Their metadata are read when they are needed, those of all only where the likely ones do not
    answer: where several have a package, it is that of the one of the same name. One whose metadata
    cannot be read is left out; the others are there.
    """

    def __init__(self, searched: Iterable[str]) -> None:
        self._searched = list(searched)
        self._known: dict[str, tuple[Distribution, Headers]] = {}
        self._all_known = False
        self._packages: dict[str, frozenset[str]] = {}
        self._by_package: dict[str, str | None] = {}
        self._lines: defaultdict[str, list[tuple[str, str]]] | None = None

    def named(self, name: str) -> Installed | None:
        """Return the distribution of this name, however it is spelt."""
        found = self._found(canonical(name))
        if found is None:
            return None
        _, headers = found
        return Installed(printable(headers.name), printable(headers.version))

    def requested(self, name: str) -> bool:
        """Whether somebody asked an installer for it by name (the file REQUESTED of PEP 376)."""
        found = self._found(canonical(name))
        with suppress(Exception):
            return found is not None and found[0].read_text("REQUESTED") is not None
        return True

    def requirers(self, name: str) -> tuple[str, ...]:
        """Return the names of the distributions that always require the one of this name."""
        if self._lines is None:
            self._lines = defaultdict(list)
            self._read_all()
            for _, headers in self._known.values():
                for line in headers.requires:
                    required = re.match(_REQUIRED_NAME, line)
                    if required is not None:
                        key = canonical(required[0].strip())
                        self._lines[key].append((headers.name, line))
        lines = self._lines[canonical(name)]
        return tuple(sorted({printable(by) for by, line in lines if _applies(line)}))

    def of_module(self, module: str) -> Installed | None:
        """Return the distribution that has the top-level package of `module`."""
        key = self._with_package(module.partition(".")[0])
        return self.named(key) if key is not None else None

    def packages_with(self, package: str) -> frozenset[str]:
        """Return all top-level packages of the distribution that has `package`, and itself."""
        key = self._with_package(package)
        return frozenset({package}) | (self._packages_of(key) if key is not None else frozenset())

    def packages_of(self, name: str) -> frozenset[str]:
        """Return the top-level packages that are known of the distribution of this name."""
        found = self._found(canonical(name))
        return self._packages_of(canonical(name)) if found is not None else frozenset()

    def _with_package(self, package: str) -> str | None:
        """Return the key of the distribution that has a top-level package."""
        if package not in self._by_package:
            namesake = canonical(package.strip("_"))
            likely = [namesake] if namesake and self._found(namesake, among_all=False) else []
            found = self._first_with(package, (*likely, *self._known))
            if found is None:
                self._read_all()
                found = self._first_with(package, self._known)
            self._by_package[package] = found
        return self._by_package[package]

    def _first_with(self, package: str, keys: Iterable[str]) -> str | None:
        return next((key for key in keys if package in self._packages_of(key)), None)

    def _packages_of(self, key: str) -> frozenset[str]:
        if key not in self._packages:
            self._packages[key] = frozenset()
            with suppress(Exception):  # whatever lies on the disk
                self._packages[key] = frozenset(_packages(self._known[key][0]))
        return self._packages[key]

    def _found(self, key: str, *, among_all: bool = True) -> tuple[Distribution, Headers] | None:
        """Return the distribution of that key: at first by the name of its folder, or `among_all`."""
        if key not in self._known and not self._all_known:
            self._read(distributions(name=key, path=self._searched))
            if key not in self._known and among_all:
                self._read_all()
        return self._known.get(key)

    def _read_all(self) -> None:
        if not self._all_known:
            self._all_known = True
            self._read(distributions(path=self._searched))

    def _read(self, found: Iterable[Distribution]) -> None:
        for distribution in found:
            with suppress(Exception):  # whatever lies on the disk
                headers = headers_of(distribution)
                self._known.setdefault(canonical(headers.name), (distribution, headers))


def _applies(line: str) -> bool:
    """Whether a requirement holds here, without any extra."""
    if ";" not in line:
        return True
    if " or " not in line and re.search(_ONLY_WITH_EXTRA, line):
        return False
    from packaging.requirements import InvalidRequirement, Requirement  # it takes a while

    try:
        marker = Requirement(line).marker
    except InvalidRequirement:
        return False
    return marker is None or marker.evaluate({"extra": ""})


_REQUIRED_NAME = r"\s*[A-Za-z0-9][A-Za-z0-9._-]*"
_ONLY_WITH_EXTRA = r";\s*(?:[^;]*\band\s+)?\(?\s*extra\s*==\s*[^()]*$"
"""A condition that ends in one on an extra, with no other way to hold."""


def _packages(distribution: Distribution) -> set[str]:
    """Return the top-level packages and modules of a distribution."""
    listed = distribution.read_text("top_level.txt")
    if listed:
        return set(listed.split())
    record = distribution.read_text("RECORD")
    if record:  # itself, which is much quicker
        lines: Iterable[str] = record.splitlines()
    else:
        lines = (f"{path.as_posix()}," for path in distribution.files or ())
    found = set()
    for first in {line.partition("/")[0] for line in lines}:  # a folder, or all of a line
        name, comma, _ = first.strip('"').partition(",")
        if not comma and name.isidentifier():
            found.add(name)
        elif comma and name.strip('"').endswith((".py", ".so", ".pyd")):
            found.add(name.partition(".")[0])
    return found
