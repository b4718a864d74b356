"""What may be loaded: the plugins that are named, and those whose code is what a lock file says."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pluginhost.errors import (
    InvalidValueError,
    LockFileError,
    PluginHostError,
    UntrustedPluginError,
)
from pluginhost.host.sources import Candidate
from pluginhost.host.sources.trusted import Reader, code_below, read_trusted
from pluginhost.report import PluginState

VERSION = 1
FILE_NAME = "pluginhost.lock"


class LockedPlugin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One plugin that may be loaded: where from, which object, and the sha256 of its files."""

    source: str
    entry: str
    files: dict[str, str]


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A lock file: the plugins that may be loaded, by id."""

    version: int = VERSION
    plugins: dict[str, LockedPlugin] = {}


def read_lock(path: str | Path) -> Lock:
    """Return what the lock file says; raises `LockFileError` when it cannot be read."""
    try:
        lock = msgspec.json.decode(Path(path).read_bytes(), type=Lock)
    except (OSError, ValueError, RecursionError) as error:
        raise LockFileError(
            f"{path} cannot be read: {error}", remedy="write it with 'pluginhost lock'"
        ) from error
    if lock.version != VERSION:
        raise LockFileError(
            f"{path} is of version {lock.version}, not {VERSION}",
            remedy="write it again with 'pluginhost lock'",
        )
    return lock


def write_lock(lock: Lock, path: str | Path) -> None:
    """Write the lock file, in an order that makes differences readable; raises `LockFileError`."""
    text = msgspec.json.format(msgspec.json.encode(lock, order="deterministic"), indent=2)
    try:
        Path(path).write_bytes(text + b"\n")
    except OSError as error:
        raise LockFileError(f"{path} cannot be written: {error}", remedy="name another") from error


def locked(candidate: Candidate) -> LockedPlugin:
    """Return the plugin as it lies on disk now, importing nothing.

    Raises `UntrustedPluginError` when its code is not in files of its own.
    """
    root = candidate.root or _installed_root(candidate.module_name)
    read: Reader = read_trusted if candidate.root else Path.read_bytes
    if root is None:
        raise UntrustedPluginError(
            "there is no file that holds its code",
            plugin_id=candidate.info.id,
            remedy="plugins in files, folders and installed modules can be locked",
        )
    entry = candidate.entry or candidate.info.location
    return LockedPlugin(candidate.info.source, entry, digests(root, read))


def digests(root: Path, read: Reader) -> dict[str, str]:
    """Return the sha256 of the code in a file or below a folder, by path relative to it."""
    if not root.is_dir():
        return {root.name: _digest(read(root))}
    files = (path for path in code_below(root) if not path.is_dir())
    return {path.relative_to(root).as_posix(): _digest(read(path)) for path in files}


class Trust:
    """Decides what may be loaded: of `only` (None: all), and as `lock` has it (None: as it is)."""

    def __init__(self, only: Iterable[str] | None = None, lock: Lock | None = None) -> None:
        if isinstance(only, str):
            raise InvalidValueError(
                f"the only plugins are {only!r}", remedy="give a list of ids, even if of one"
            )
        self.only = None if only is None else frozenset(only)
        self._lock = lock

    def allows(self, plugin_id: str) -> bool:
        """Whether the plugin is among those that may be loaded, whatever its code is."""
        return self.only is None or plugin_id in self.only

    def check(self, candidate: Candidate) -> None:
        """Raise `UntrustedPluginError` when the plugin may not be loaded; imports nothing."""
        plugin_id = candidate.info.id
        if not self.allows(plugin_id):
            raise UntrustedPluginError(
                "it is not among the plugins that may be loaded",
                plugin_id=plugin_id,
                remedy="name it too, if it may",
            )
        if self._lock is None or candidate.info.state is PluginState.FAILED:
            return  # what has failed says so itself
        known = self._lock.plugins.get(plugin_id)
        if known is None:
            raise UntrustedPluginError(
                "it is not in the lock file",
                plugin_id=plugin_id,
                remedy="look at it, then write the file again with 'pluginhost lock'",
            )
        found = locked(candidate)
        differing = differences(known, found)
        if differing:
            raise _changed(plugin_id, ", ".join(differing))

    def refusal(self, candidate: Candidate) -> PluginHostError | None:
        """Return what `check` raises, if it does."""
        try:
            self.check(candidate)
        except PluginHostError as error:
            return error
        except OSError as error:
            return _changed(candidate.info.id, str(error))
        return None

    def load(self, candidate: Candidate, *, fresh: bool) -> Any:
        """Return the plugin object, made of code that was checked; see `check`.

        What a folder's plugin is compiled from are the very bytes whose digest was compared, those
        of modules that it imports later too. Python reads an installed module's files once more
        by itself, and its bytecode files.
        """
        self.check(candidate)
        if self._lock is None or candidate.root is None or candidate.load_by is None:
            return candidate.load(fresh)
        expected = self._lock.plugins[candidate.info.id].files
        return candidate.load_by(checking_reader(candidate.info.id, candidate.root, expected))

    def expected(self, candidate: Candidate) -> Mapping[str, str] | None:
        """Return the digests of the plugin's files by path, None where they need not be compared.

        Raises what `check` does.
        """
        self.check(candidate)
        if self._lock is None or candidate.root is None:
            return None
        return self._lock.plugins[candidate.info.id].files


def checking_reader(plugin_id: str, root: Path, expected: Mapping[str, str]) -> Reader:
    """Return a function that reads files of the plugin below `root`, if they are as expected."""

    def read(path: Path) -> bytes:
        data = read_trusted(path)
        name = path.relative_to(root).as_posix() if path != root else root.name
        if _digest(data) != expected.get(name):
            raise _changed(plugin_id, name)
        return data

    return read


def differences(known: LockedPlugin, found: LockedPlugin) -> list[str]:
    """Return what of a plugin is not as it was locked, in words."""
    words = [] if known.source == found.source else [f"it comes from a {found.source}"]
    words += [] if known.entry == found.entry else [f"it is {found.entry}, not {known.entry}"]
    names: Mapping[str, None] = dict.fromkeys([*known.files, *found.files])
    for name in names:
        if name not in found.files:
            words.append(f"{name} is missing")
        elif name not in known.files:
            words.append(f"{name} is new")
        elif known.files[name] != found.files[name]:
            words.append(f"{name} was changed")
    return words


def lock_of(candidates: Iterable[Candidate]) -> tuple[Lock, list[PluginHostError]]:
    """Return a lock of these plugins, and why some of them cannot be locked."""
    plugins: dict[str, LockedPlugin] = {}
    errors: list[PluginHostError] = []
    for candidate in candidates:
        try:
            if candidate.info.state is PluginState.FAILED:
                candidate.load(False)  # raises why, and imports nothing
            plugins[candidate.info.id] = locked(candidate)
        except PluginHostError as error:
            error.plugin_id = error.plugin_id or candidate.info.id
            errors.append(error)
        except OSError as error:
            errors.append(
                UntrustedPluginError(
                    f"it cannot be read: {error}",
                    plugin_id=candidate.info.id,
                    remedy="make its files readable",
                )
            )
    return Lock(plugins=plugins), errors


def _installed_root(module_name: str) -> Path | None:
    """Return the file or folder of the top-level module, importing nothing."""
    try:
        spec = importlib.util.find_spec(module_name.partition(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    if places:
        return Path(places[0]) if len(places) == 1 else None
    return Path(spec.origin) if spec.has_location and spec.origin else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _changed(plugin_id: str, what: str) -> UntrustedPluginError:
    return UntrustedPluginError(
        f"it is not what the lock file says: {what}",
        plugin_id=plugin_id,
        remedy="look at what was changed; then write the file again with 'pluginhost lock'",
    )
