"""What the metadata of an installed distribution say of it, without reading all of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_LOOKED_AT = ("Name: ", "Version: ", "Requires-Dist: ")


class Headers(msgspec.Struct, frozen=True):
    """What is looked at: of a hundred distributions, all would take long."""

    name: str
    version: str
    requires: tuple[str, ...]


def headers_of(distribution: Distribution) -> Headers:
    """Return the headers of a distribution; raises whatever comes of metadata that are damaged."""
    for name in ("METADATA", "PKG-INFO"):
        text = distribution.read_text(name)
        if text:
            lines = text.partition("\n\n")[0].splitlines()
            pairs = [line.partition(": ") for line in lines if line.startswith(_LOOKED_AT)]
            first = {key: value.strip() for key, _, value in reversed(pairs)}
            requires = tuple(value for key, _, value in pairs if key == "Requires-Dist")
            return Headers(first["Name"], first["Version"], requires)
    metadata = distribution.metadata
    requires = tuple(metadata.get_all("Requires-Dist") or ())
    return Headers(metadata["Name"], metadata["Version"], requires)


def canonical(name: str) -> str:
    """Return the name of a distribution as all its spellings have it in common (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
