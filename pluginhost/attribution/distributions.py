"""Which distribution a module is from, and whether anybody asked for it: read from its metadata."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import Distribution, distributions
from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pluginhost.printable import printable


class Installed(NamedTuple):
    """An installed distribution: whether somebody asked for it, and who requires it."""

    name: str
    version: str
    requested: bool
    required_by: tuple[str, ...]


class Distributions:
    """What is installed in the folders that a program searched.

    One whose metadata cannot be read is left out; the others are there.
    """

    def __init__(self, searched: Iterable[str]) -> None:
        self._by_name: dict[str, Installed] = {}
        self._by_package: dict[str, str] = {}
        self._packages: defaultdict[str, set[str]] = defaultdict(set)
        requirers: defaultdict[str, list[str]] = defaultdict(list)
        found: dict[str, Distribution] = {}
        for distribution in distributions(path=list(searched)):
            with suppress(Exception):  # whatever lies on the disk
                found.setdefault(canonicalize_name(distribution.metadata["Name"]), distribution)
        for key, distribution in found.items():
            for required in _required(distribution):
                requirers[required].append(printable(distribution.metadata["Name"]))
            with suppress(Exception):
                for package in _packages(distribution):
                    self._by_package.setdefault(package, key)
                    self._packages[key].add(package)
        for key, distribution in found.items():
            with suppress(Exception):
                self._by_name[key] = Installed(
                    name=printable(distribution.metadata["Name"]),
                    version=printable(distribution.version),
                    requested=_requested(distribution),
                    required_by=tuple(sorted(requirers[key])),
                )

    def named(self, name: str) -> Installed | None:
        """Return the distribution of this name, however it is spelt."""
        return self._by_name.get(canonicalize_name(name))

    def of_module(self, module: str) -> Installed | None:
        """Return the distribution that has the top-level package of `module`."""
        return self._by_name.get(self._by_package.get(module.partition(".")[0], ""))

    def packages_with(self, package: str) -> frozenset[str]:
        """Return all top-level packages of the distribution that has `package`, and itself."""
        key = self._by_package.get(package)
        return frozenset({package} | (self._packages[key] if key is not None else set()))


def _requested(distribution: Distribution) -> bool:
    """Whether somebody asked an installer for it by name (the file REQUESTED of PEP 376)."""
    with suppress(Exception):
        return distribution.read_text("REQUESTED") is not None
    return True


def _required(distribution: Distribution) -> Iterable[str]:
    """Yield what a distribution always requires: nothing that only an extra does."""
    with suppress(Exception):
        for line in distribution.requires or ():
            with suppress(InvalidRequirement):
                requirement = Requirement(line)
                if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                    yield canonicalize_name(requirement.name)


def _packages(distribution: Distribution) -> set[str]:
    """Return the top-level packages and modules of a distribution."""
    listed = distribution.read_text("top_level.txt")
    if listed:
        return set(listed.split())
    found = set()
    for path in distribution.files or ():
        first = path.parts[0]
        if len(path.parts) > 1 and first.isidentifier():
            found.add(first)
        elif len(path.parts) == 1 and first.endswith((".py", ".so", ".pyd")):
            found.add(first.partition(".")[0])
    return found
