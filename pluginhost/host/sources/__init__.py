"""Where plugins come from. A source finds candidates; it never imports one to do so."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from pluginhost.errors import (
    DiscoveryError,
    InvalidValueError,
    ManifestError,
    PluginHostError,
    PluginLoadError,
)
from pluginhost.host.manifest import Limits, PluginEntry
from pluginhost.printable import in_a_line
from pluginhost.report import PluginInfo, PluginState

_VALID_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Loader = Callable[[bool], Any]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that was found: what is known of it, and how to get hold of it.

    `load(fresh)` imports it and returns the plugin object; with `fresh` the code is read again
    from disk. That of a candidate whose `info` is already FAILED imports nothing and raises why.
    `own_module` says that the module was made for this plugin alone and leaves with it.
    For a lock file: `root` is the file or folder of its own that holds its code, `entry` which
    object of it is the plugin, and `load_by(read)` imports it, getting each file's bytes from
    `read(path)`. Without a root, the files are those of the installed module `module_name`.
    For a process of its own: the plugin is `attribute` (empty: the module itself) of the module, made
    of the files at `root`, with `checked` rights, or else installed. A source that cannot say so
    leaves `attribute` None.
    """

    info: PluginInfo
    load: Loader
    module_name: str
    own_module: bool = False
    root: Path | None = None
    entry: str = ""
    load_by: Callable[[Callable[[Path], bytes]], Any] | None = None
    attribute: str | None = None
    checked: bool = True
    deadline: float | None = None
    limits: Limits | None = None


class PluginSource(Protocol):
    """A place where plugins are found."""

    def discover(self) -> Iterator[Candidate]:
        """Yield every plugin here, broken ones as failed candidates; import nothing."""


def found_candidate(
    plugin_id: str,
    entry: PluginEntry | ManifestError,
    load: Loader,
    *,
    source: str,
    location: str,
    module_name: str,
    own_module: bool = False,
    root: Path | None = None,
    load_by: Callable[[Callable[[Path], bytes]], Any] | None = None,
    attribute: str | None = None,
    checked: bool = True,
    **known: str | None,
) -> Candidate:
    """Return the candidate that a manifest's entry describes; what it says wins over `known`.

    It is a failed one when the entry is, or when the id is not valid.
    """
    if isinstance(entry, ManifestError):
        return failed_candidate(plugin_id, entry, source=source, location=location)
    if not _VALID_ID.fullmatch(plugin_id):
        invalid = PluginLoadError(
            "the plugin id is not valid",
            remedy="use letters, digits, '.', '_' and '-', at most 100, "
            "beginning with one of the first two",
        )
        return failed_candidate(plugin_id, invalid, source=source, location=location)
    info = PluginInfo(
        id=plugin_id,
        source=source,
        location=location,
        version=entry.version or known.get("version"),
        summary=entry.summary or known.get("summary") or "",
        distribution=known.get("distribution"),
        requires_api=entry.api,
        requires=entry.requires,
        after=entry.after,
        capabilities=entry.capabilities,
        runner=entry.runner or "inline",
    )
    return Candidate(
        info=info,
        load=load,
        module_name=module_name,
        own_module=own_module,
        root=root,
        entry=known.get("object_name") or "",
        load_by=load_by,
        attribute=attribute,
        checked=checked,
        deadline=entry.deadline,
        limits=entry.limits,
    )


def failed_candidate(
    plugin_id: str, error: Exception, *, source: str, location: str, remedy: str = ""
) -> Candidate:
    """Return a candidate that stands for something broken, with the reason."""
    own = error if isinstance(error, PluginHostError) else None
    if own is None:
        message = f"{type(error).__name__}: {in_a_line(error, 1000)}"
        own = PluginLoadError(message, remedy=remedy)
        own.__cause__ = error
    own.plugin_id = plugin_id
    info = PluginInfo(
        id=plugin_id,
        state=PluginState.FAILED,
        source=source,
        location=location,
        error=own.message,
        remedy=own.remedy or remedy,
    )

    def load(_fresh: bool) -> Any:
        raise own.with_traceback(None)  # raised each time anew, without the frames of the last

    return Candidate(info=info, load=load, module_name="")


def sources_of(
    given: Iterable[PluginSource | str | os.PathLike[str]], *, group: str
) -> Iterator[PluginSource]:
    """Yield the sources that are meant; raises `InvalidValueError` for what cannot be one."""
    if isinstance(given, str | os.PathLike):
        raise InvalidValueError(
            f"the sources are {os.fspath(given)!r}", remedy="give a list of sources, even if of one"
        )
    for each in given:
        if isinstance(each, os.PathLike):  # a folder, also one that is called entry-points
            yield source_from_text(str(Path(each).absolute()), group=group)
        elif isinstance(each, str):
            yield source_from_text(each, group=group)
        elif hasattr(each, "discover"):
            yield each
        else:
            raise InvalidValueError(
                f"a {type(each).__name__} is no source of plugins",
                remedy="give it a method discover(), or name a folder, 'module:NAME' or 'entry-points'",
            )


def source_from_text(text: str, *, group: str) -> PluginSource:
    """Return the source that `text` names: `entry-points[:GROUP]`, `module:NAME` or a folder."""
    kind, _, rest = text.partition(":")
    if kind == "entry-points":
        from pluginhost.host.sources.entry_points import EntryPointSource

        return EntryPointSource(rest or group)
    if kind == "module" and rest:
        from pluginhost.host.sources.modules import ModuleSource

        return ModuleSource(rest)
    if text and Path(text).is_dir():
        from pluginhost.host.sources.folders import FolderSource

        return FolderSource(text)
    raise DiscoveryError(
        f"{text!r} is not a plugin source",
        remedy="name a folder that exists, 'module:NAME', or 'entry-points' with ':GROUP' if need be",
    )
