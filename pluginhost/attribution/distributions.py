"""Which distribution a module is from, and whether anybody asked for it: read from its metadata."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from email.message import Message
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from typing import NamedTuple

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
        known: dict[str, tuple[Distribution, Message]] = {}
        for distribution in distributions(path=list(searched)):
            with suppress(Exception):  # whatever lies on the disk
                headers = _headers(distribution)
                known.setdefault(_canonical(headers["Name"]), (distribution, headers))
        for key, (distribution, headers) in known.items():
            for required in _required(headers):
                requirers[required].append(printable(headers["Name"]))
            with suppress(Exception):
                for package in _packages(distribution):
                    self._by_package.setdefault(package, key)
                    self._packages[key].add(package)
        for key, (distribution, headers) in known.items():
            with suppress(Exception):
                self._by_name[key] = Installed(
                    name=printable(headers["Name"]),
                    version=printable(headers["Version"]),
                    requested=_requested(distribution),
                    required_by=tuple(sorted(requirers[key])),
                )

    def named(self, name: str) -> Installed | None:
        """Return the distribution of this name, however it is spelt."""
        return self._by_name.get(_canonical(name))

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


def _headers(distribution: Distribution) -> Message:
    """Return what is looked at of the metadata: of a hundred distributions, all would take long."""
    for name in ("METADATA", "PKG-INFO"):
        text = distribution.read_text(name)
        if text:
            lines = _END_OF_HEADERS.split(text, maxsplit=1)[0].splitlines()
            kept = [line for line in lines if line.startswith(_LOOKED_AT)]
            return HeaderParser().parsestr("\n".join(kept))
    return distribution.metadata  # type: ignore[return-value]


def _required(headers: Message) -> Iterable[str]:
    """Yield what a distribution always requires: nothing that only an extra does."""
    for line in headers.get_all("Requires-Dist", ()):
        name = _REQUIRED_NAME.match(line)
        if name is not None and (";" not in line or _applies(line)):
            yield _canonical(name[0].strip())


def _applies(line: str) -> bool:
    """Whether a requirement with a condition holds here, without any extra."""
    if " or " not in line and _ONLY_WITH_EXTRA.search(line):
        return False
    from packaging.requirements import InvalidRequirement, Requirement  # it takes a while

    try:
        marker = Requirement(line).marker
    except InvalidRequirement:
        return False
    return marker is None or marker.evaluate({"extra": ""})


def _canonical(name: str) -> str:
    """Return a name as it is compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


_LOOKED_AT = ("Name:", "Version:", "Requires-Dist:")
_END_OF_HEADERS = re.compile(r"\r?\n\r?\n")
_REQUIRED_NAME = re.compile(r"\s*[A-Za-z0-9][A-Za-z0-9._-]*")
_ONLY_WITH_EXTRA = re.compile(r";\s*(?:[^;]*\band\s+)?\(?\s*extra\s*==\s*[^()]*$")
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
