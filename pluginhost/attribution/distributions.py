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
    """An installed distribution, and whether somebody asked for it."""

    name: str
    version: str
    requested: bool


class Distributions:
    """What is installed in the folders that a program searched.

    One whose metadata cannot be read is left out; the others are there.
    """

    def __init__(self, searched: Iterable[str]) -> None:
        self._by_package: dict[str, str] = {}
        self._packages: defaultdict[str, set[str]] = defaultdict(set)
        self._installed: dict[str, Installed] = {}
        self._lines: defaultdict[str, list[tuple[str, str]]] | None = None
        self._known: dict[str, tuple[Distribution, Headers]] = {}
        for distribution in distributions(path=list(searched)):
            with suppress(Exception):  # whatever lies on the disk
                headers = headers_of(distribution)
                self._known.setdefault(canonical(headers.name), (distribution, headers))
        for key, (distribution, _) in self._known.items():
            with suppress(Exception):
                for package in _packages(distribution):
                    self._by_package.setdefault(package, key)
                    self._packages[key].add(package)

    def named(self, name: str) -> Installed | None:
        """Return the distribution of this name, however it is spelt."""
        key = canonical(name)
        if key not in self._installed and key in self._known:
            distribution, headers = self._known[key]
            self._installed[key] = Installed(
                name=printable(headers.name),
                version=printable(headers.version),
                requested=_requested(distribution),
            )
        return self._installed.get(key)

    def requirers(self, name: str) -> tuple[str, ...]:
        """Return the names of the distributions that always require the one of this name."""
        if self._lines is None:
            self._lines = defaultdict(list)
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
        key = self._by_package.get(module.partition(".")[0])
        return self.named(key) if key is not None else None

    def packages_with(self, package: str) -> frozenset[str]:
        """Return all top-level packages of the distribution that has `package`, and itself."""
        key = self._by_package.get(package)
        return frozenset({package} | (self._packages[key] if key is not None else set()))


def _requested(distribution: Distribution) -> bool:
    """Whether somebody asked an installer for it by name (the file REQUESTED of PEP 376)."""
    with suppress(Exception):
        return distribution.read_text("REQUESTED") is not None
    return True


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
