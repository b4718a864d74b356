"""`pluginhost.toml`: what a plugin says about itself, read without importing it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from pluginhost.errors import ManifestError

FILE_NAME = "pluginhost.toml"


Seconds = Annotated[float, msgspec.Meta(gt=0, le=366 * 86_400.0)]
Amount = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plugin's own process may take; the kernel sees to it. Every key is optional."""

    address_space_bytes: Amount | None = None
    """Address space (RLIMIT_AS), of which memory in use is a part: beyond it, MemoryError."""
    cpu_seconds: Annotated[int, msgspec.Meta(ge=1, lt=1 << 62)] | None = None
    """CPU time in the life of one process (RLIMIT_CPU): beyond it, SIGXCPU ends it."""
    open_files: Amount | None = None
    """Descriptors (RLIMIT_NOFILE): beyond them, OSError."""
    processes: Amount | None = None
    """Processes and threads of the whole user (RLIMIT_NPROC); root is not held to it."""
    descendants: Amount | None = None
    """Processes that it has started, directly or not, at once: beyond them all are killed. Linux."""
    file_bytes: Amount | None = None
    """The size of a file that it writes (RLIMIT_FSIZE): beyond it, OSError."""
    environment: tuple[str, ...] | None = None
    """The only environment variables that it is given; without this key, all."""
    writable: tuple[str, ...] | None = None
    """The only files and folders that it may write to (Landlock, on Linux); without this key, all.
    Relative ones are from the folder of the plugin."""


class PluginEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One plugin's table in a manifest; every key is optional."""

    entry: str | None = None
    """Folders only: `module` or `module:attribute` within the folder; the id by default."""
    version: str | None = None
    """The plugin's version (PEP 440); the distribution's by default."""
    api: str | None = None
    """Specifier of the host API version needed, such as `>=1,<2`."""
    summary: str = ""
    requires: tuple[str, ...] = ()
    """Peers that must be loaded first, with optional specifiers: `checksum>=1`."""
    after: tuple[str, ...] = ()
    """Peers that are loaded first if they are there."""
    capabilities: tuple[str, ...] = ()
    """Free words that a host may show or filter by."""
    runner: Literal["inline", "process"] | None = None
    """Where it runs, unless the host decides: in the host's process (the default), or its own."""
    deadline: Seconds | None = None
    """Seconds for each execution for which the caller gives no other deadline."""
    limits: Limits | None = None
    """What its own process may take."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file: one table for each plugin id."""

    plugins: dict[str, PluginEntry] = {}


class _Tables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file before its tables are checked one by one, so that each plugin fails alone."""

    plugins: dict[str, Any] = {}


Entries = Mapping[str, PluginEntry | ManifestError]
NO_ENTRIES: Entries = {}


def read_manifest(folder: Path) -> Entries:
    """Return the entries of the manifest in `folder` by plugin id, `NO_ENTRIES` without a file.

    A table that does not fit the schema is a `ManifestError` in place of its entry. Raises one,
    with the place in the file and the reason, when there is no telling the tables apart.
    """
    path = folder / FILE_NAME
    try:
        text = _text_of(path)
    except (FileNotFoundError, NotADirectoryError):  # the latter: the package lies in a zip file
        return NO_ENTRIES
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(
            f"{path} cannot be read: {error}", remedy="make it a readable UTF-8 file"
        ) from error
    try:
        tables = msgspec.convert(tomllib.loads(text), _Tables).plugins
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise _unfit(path, error) from error
    return {plugin_id: _entry(path, plugin_id, table) for plugin_id, table in tables.items()}


def _text_of(path: Path) -> str:
    if path.exists() and not path.is_file():  # reading a pipe would wait for a writer
        raise OSError("it is not a file")
    return path.read_text(encoding="utf-8")


def _entry(path: Path, plugin_id: str, table: Any) -> PluginEntry | ManifestError:
    try:
        return msgspec.convert(table, PluginEntry)
    except msgspec.ValidationError as error:
        unfit = _unfit(path, error, f"[plugins.{plugin_id}]: ")
        unfit.__cause__ = error
        return unfit


def _unfit(path: Path, error: Exception, place: str = "") -> ManifestError:
    return ManifestError(
        f"{path}: {place}{error}", remedy="see the manifest's schema in the documentation"
    )
