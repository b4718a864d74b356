"""Plugins that installed distributions announce as entry points."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, EntryPoint, PackageMetadata, distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from pluginhost.errors import ManifestError
from pluginhost.host.manifest import NO_ENTRIES, Entries, PluginEntry, read_manifest
from pluginhost.host.sources import Candidate, failed_candidate, found_candidate
from pluginhost.host.sources.importing import import_installed, plugin_object

KIND = "entry-point"


class EntryPointSource:
    """Finds plugins in the entry-point `group`; each distribution is read under guard.

    One malformed `entry_points.txt` breaks `importlib.metadata.entry_points()` for everybody, so
    it is not used.
    """

    def __init__(self, group: str = "pluginhost.plugins") -> None:
        self.group = group

    def discover(self) -> Iterator[Candidate]:
        """Yield a candidate for each entry point; those of a shadowed distribution are left out."""
        seen: set[str] = set()
        for name, distribution in _in_order(distributions()):
            if name in seen:
                continue
            seen.add(name)
            try:
                found = list(self._candidates(distribution))
            except Exception as error:
                yield _malformed(name, distribution, error)
            else:
                yield from found

    def _candidates(self, distribution: Distribution) -> Iterator[Candidate]:
        points = [point for point in distribution.entry_points if point.group == self.group]
        if points:
            metadata = distribution.metadata
            if not metadata or "Name" not in metadata:
                raise ValueError("it has entry points, but no METADATA that names it")
            for point in points:
                yield _candidate(point, metadata)


def _candidate(point: EntryPoint, metadata: PackageMetadata) -> Candidate:
    try:
        module_name, attribute = point.module, point.attr
    except Exception:
        error = ValueError(f"entry point value {point.value!r} is not 'module:attribute'")
        return failed_candidate(
            point.name,
            error,
            source=KIND,
            location=point.value,
            remedy="correct its pyproject.toml",
        )
    try:
        entry = _manifest_beside(module_name).get(point.name, PluginEntry())
    except ManifestError as error:
        entry = error

    def load(fresh: bool) -> object:
        return plugin_object(import_installed(module_name, fresh=fresh), attribute)

    return found_candidate(
        point.name,
        entry,
        load,
        source=KIND,
        location=point.value,
        module_name=module_name,
        attribute=attribute,
        version=_field(metadata, "Version"),
        summary=_field(metadata, "Summary"),
        distribution=_field(metadata, "Name"),
    )


def _manifest_beside(module_name: str) -> Entries:
    """Return the manifest of the innermost package on the way to the module that has one."""
    top, *inner = module_name.split(".")
    try:
        spec = importlib.util.find_spec(top)  # of a top-level name: imports nothing
    except (ImportError, ValueError):
        return NO_ENTRIES
    if spec is None or not spec.submodule_search_locations:
        return NO_ENTRIES
    folders = [Path(next(iter(spec.submodule_search_locations)))]
    for name in inner:
        folders.append(folders[-1] / name)
    for folder in reversed(folders):
        manifest = read_manifest(folder)
        if manifest is not NO_ENTRIES:
            return manifest
    return NO_ENTRIES


def _in_order(found: Iterable[Distribution]) -> Iterator[tuple[str, Distribution]]:
    """Yield distributions with their names: the folders in the order of the path, by name in each.

    Within a folder they come in the order in which the file system lists them, which must not
    decide who has an id.
    """
    folders: dict[str, list[tuple[str, str, Distribution]]] = {}
    for distribution in found:
        place = Path(_place_of(distribution))
        row = _name_of(distribution, place), place.name, distribution
        folders.setdefault(str(place.parent), []).append(row)
    for rows in folders.values():
        for name, _, distribution in sorted(rows, key=lambda row: row[:2]):
            yield name, distribution


def _place_of(distribution: Distribution) -> str:
    """Return where the metadata lie, which only a private name tells."""
    place = getattr(distribution, "_path", None)
    return str(distribution.locate_file("") if place is None else place)


def _name_of(distribution: Distribution, place: Path) -> str:
    """Return the normalised name, from the folder's name where there is one: METADATA is long."""
    if place.suffix == ".dist-info":  # NAME-VERSION; not all tools take the dashes out of names
        return canonicalize_name(place.stem.rpartition("-")[0] or place.stem)
    try:
        return canonicalize_name(distribution.metadata["Name"])
    except Exception:
        return str(place)


def _field(metadata: PackageMetadata, name: str) -> str | None:
    # Not `get`, which the protocol has since Python 3.12 only; not just [], which warns since then.
    return metadata[name] if name in metadata else None  # noqa: SIM401


def _malformed(name: str, distribution: Distribution, error: Exception) -> Candidate:
    return failed_candidate(
        f"distribution {name}",
        error,
        source=KIND,
        location=_place_of(distribution),
        remedy="its metadata are malformed: reinstall or remove the distribution",
    )
