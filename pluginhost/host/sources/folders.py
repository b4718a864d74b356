"""Plugins that lie in a folder: single files and packages."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pluginhost.errors import DiscoveryError, ManifestError, UntrustedPluginError
from pluginhost.host.manifest import PluginEntry, read_manifest
from pluginhost.host.sources import Candidate, failed_candidate, found_candidate
from pluginhost.host.sources.importing import OWN_MODULE_PREFIX, import_file, plugin_object
from pluginhost.host.sources.trusted import Reader, check_folder, check_unit, read_trusted

KIND = "folder"

# `sys.modules` is one for the whole process: two hosts on one folder must not share a name in it.
_SERIALS = itertools.count()


class FolderSource:
    """Finds `NAME.py` and packages `NAME/` in `folder`; the id is the name.

    A `pluginhost.toml` in the folder, or in a package, describes them; its `entry` may name an
    attribute, and several ids may share a file. Files whose name begins with `_` or `.` are not
    plugins. Of a package and a file with one name the package comes first. Nothing is put on
    `sys.path`.

    Only plain files and folders are taken, of which you or root are the owner and which nobody
    else may write to; symbolic links are not followed. `checked=False` takes whatever is there.
    """

    def __init__(self, folder: str | Path, *, checked: bool = True) -> None:
        self.folder = Path(folder)
        self._place = self.folder.absolute()  # a plugin may change the working directory
        self._checked = checked
        self._serial = next(_SERIALS)

    def discover(self) -> Iterator[Candidate]:
        """Yield a candidate for each file, package and manifest entry, in order of their ids."""
        try:
            if self._checked:
                check_folder(self._place)
            units = _units(self._place)
            claims = list(_claims(self._place))
        except OSError as error:
            reason = DiscoveryError(
                f"folder {self.folder} cannot be read: {error.strerror}", remedy="check the path"
            )
            yield self._unreadable(reason)
            return
        except (ManifestError, UntrustedPluginError) as error:
            yield self._unreadable(error)
            return
        for name, paths in units.items():
            if paths[0].is_dir():
                claims += _package_claims(name, paths[0])
        # What a package says of itself replaces what the folder says of it.
        latest = {(claim.plugin_id, claim.unit): claim for claim in claims}
        spoken_for = {claim.unit for claim in claims}
        found = [*latest.values(), *(_plain(name) for name in units if name not in spoken_for)]
        for claim in sorted(found, key=lambda claim: claim.plugin_id):
            yield self._candidate(claim, next(iter(units.get(claim.unit, ())), None))
        for name, (_, *shadowed) in units.items():
            for path in shadowed:
                yield self._candidate(_plain(name), path)

    def _unreadable(self, error: Exception) -> Candidate:
        location = str(self.folder)
        return failed_candidate(f"folder {location}", error, source=KIND, location=location)

    def _candidate(self, claim: _Claim, path: Path | None) -> Candidate:
        entry = claim.entry
        if path is None:
            if not isinstance(entry, ManifestError):
                entry = ManifestError(
                    f"there is no plugin file {claim.unit!r} in {self.folder}",
                    remedy="correct the manifest's 'entry', or the plugin's id",
                )
            place = str(self.folder)
            return failed_candidate(claim.plugin_id, entry, source=KIND, location=place)
        unit, module_name = path, _module_name(claim.plugin_id, path, self._serial)
        location = str(self.folder / path.name)
        try:
            if self._checked:
                check_unit(unit)
        except (OSError, UntrustedPluginError) as error:
            return failed_candidate(claim.plugin_id, error, source=KIND, location=location)

        def load(_fresh: bool) -> object:  # a file is always read anew
            read = read_trusted if self._checked else Path.read_bytes
            return plugin_object(import_file(module_name, unit, read), claim.attribute)

        def load_by(read: Reader) -> object:
            module = import_file(module_name, unit, read, native=False)
            return plugin_object(module, claim.attribute)

        return found_candidate(
            claim.plugin_id,
            entry,
            load,
            source=KIND,
            location=location,
            module_name=module_name,
            own_module=True,
            root=unit,
            load_by=load_by,
            attribute=claim.attribute,
            checked=self._checked,
            object_name=f"{claim.unit}:{claim.attribute}",
        )


class _Claim(NamedTuple):
    """An id, and the file or package and the attribute in it that are said to be the plugin."""

    plugin_id: str
    unit: str
    attribute: str
    entry: PluginEntry | ManifestError


def _plain(name: str) -> _Claim:
    return _Claim(name, name, "", PluginEntry())


def _units(folder: Path) -> dict[str, list[Path]]:
    """Return the plugin files and packages by name; more than one where a name is taken twice."""
    units: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(("_", ".")) and _is_unit(path):
            units.setdefault(path.name if path.is_dir() else path.stem, []).append(path)
    return units


def _is_unit(path: Path) -> bool:
    try:
        return path.suffix == ".py" if path.is_file() else (path / "__init__.py").is_file()
    except OSError:
        return True  # what may not be looked into fails alone, and says so, when it is loaded


def _claims(folder: Path) -> Iterator[_Claim]:
    """Yield what the folder's own manifest says."""
    for plugin_id, entry in read_manifest(folder).items():
        named = None if isinstance(entry, ManifestError) else entry.entry
        unit, _, attribute = (named or plugin_id).partition(":")
        yield _Claim(plugin_id, unit, attribute, entry)


def _package_claims(name: str, package: Path) -> Iterator[_Claim]:
    """Yield what a package's own manifest says; its entries are attributes of the package."""
    try:
        manifest = read_manifest(package)
    except ManifestError as error:
        yield _Claim(name, name, "", error)
        return
    for plugin_id, entry in manifest.items():
        named = "" if isinstance(entry, ManifestError) else entry.entry or ""
        unit, _, attribute = named.partition(":")
        if unit in ("", name):
            yield _Claim(plugin_id, name, attribute, entry)
            continue
        elsewhere = ManifestError(
            f"{package}: [plugins.{plugin_id}]: entry {named!r} is not in the package",
            remedy=f"write ':ATTRIBUTE' for an attribute of the package {name!r}",
        )
        yield _Claim(plugin_id, name, "", elsewhere)


def _module_name(plugin_id: str, path: Path, serial: int) -> str:
    """Return a module name of the plugin's own, the same each time."""
    place = os.fsencode(path.resolve()) + f"\0{serial}\0{plugin_id}".encode(errors="surrogatepass")
    digest = hashlib.sha256(place).hexdigest()[:8]
    return f"{OWN_MODULE_PREFIX}{digest}_{_identifier(plugin_id)}"


def _identifier(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
