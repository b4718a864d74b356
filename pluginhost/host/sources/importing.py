"""Getting a plugin object out of a module, always from the bytes on disk when asked to."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from pluginhost.errors import PluginLoadError, UntrustedPluginError
from pluginhost.host.sources.trusted import Reader

OWN_MODULE_PREFIX = "pluginhost_plugin_"
"""How the names begin of modules that are made for one plugin alone."""


class FreshSourceLoader(SourceFileLoader):
    """Compiles the bytes it has just read, and neither reads nor writes bytecode files.

    A bytecode cache is keyed by whole seconds and size: an edit within the second that keeps the
    size would run the old code. The bytes come from `read(path)`.
    """

    def __init__(self, fullname: str, path: str, read: Reader = Path.read_bytes) -> None:
        super().__init__(fullname, path)
        self._read = read

    def get_code(self, fullname: str) -> CodeType:
        """Return the module's code, compiled from what its file holds now."""
        path = self.get_filename(fullname)
        return self.source_to_code(self._read(Path(path)), path)


def import_installed(module_name: str, *, fresh: bool) -> ModuleType:
    """Return the installed module; with `fresh`, a new one made from its file.

    Only the module itself is made anew: those that it imports stay as they are.
    """
    if not fresh or module_name not in sys.modules:
        return importlib.import_module(module_name)
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(module_name)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise PluginLoadError(
            f"module {module_name!r} has no source file to read again",
            remedy="restart the host to load its new version",
        )
    old = sys.modules[module_name]
    try:
        module = _execute(module_name, Path(spec.origin), spec.submodule_search_locations)
    except BaseException:
        sys.modules[module_name] = old
        raise
    parent, _, child = module_name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


def import_file(
    module_name: str, path: Path, read: Reader = Path.read_bytes, *, native: bool = True
) -> ModuleType:
    """Return a new module made from the file or package at `path`, under `module_name`.

    The bytes of it and of its submodules come from `read(path)`; native ones, which the system
    reads by itself, are refused without `native`.
    """
    forget(module_name)
    try:
        if path.is_dir():
            _read_fresh_below(path, read, native=native)
            return _execute(module_name, path / "__init__.py", [str(path)], read)
        return _execute(module_name, path, None, read)
    except BaseException:
        forget(module_name)
        raise


def forget(module_name: str) -> None:
    """Drop a module that `import_file` made, and its submodules."""
    for name in list(sys.modules):
        if name == module_name or name.startswith(module_name + "."):
            sys.modules.pop(name, None)


def is_half_imported(module_name: str) -> bool:
    """Whether the import of a module has begun and not ended, in whichever thread."""
    spec = getattr(sys.modules.get(module_name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def plugin_object(module: ModuleType, attribute: str) -> Any:
    """Return what `attribute` (dotted; empty: the module) names; a class is instantiated."""
    target: Any = module
    for name in attribute.split(".") if attribute else ():
        try:
            target = getattr(target, name)
        except AttributeError:
            raise PluginLoadError(
                f"module {module.__name__!r} has no {attribute!r}",
                remedy="correct the entry point or the manifest's 'entry'",
            ) from None
    return target() if inspect.isclass(target) else target


def _execute(
    name: str, path: Path, search: list[str] | None, read: Reader = Path.read_bytes
) -> ModuleType:
    loader = FreshSourceLoader(name, os.fspath(path), read)
    spec = importlib.util.spec_from_file_location(
        name, path, loader=loader, submodule_search_locations=search
    )
    assert spec is not None  # a loader was given
    module = importlib.util.module_from_spec(spec)
    # The submodules that are there stay, and must be found as attributes like before.
    for child, submodule in _children(name):
        setattr(module, child, submodule)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def _children(name: str) -> list[tuple[str, ModuleType]]:
    loaded = list(sys.modules.items())
    return [(full[len(name) + 1 :], m) for full, m in loaded if full.rpartition(".")[0] == name]


def _read_fresh_below(package: Path, read: Reader, *, native: bool) -> None:
    """Have submodules read by `FreshSourceLoader` too, in folders without `__init__.py` as well."""

    def source_loader(name: str, path: str) -> FreshSourceLoader:
        return FreshSourceLoader(name, path, read)

    finders: list[Any] = [
        (ExtensionFileLoader if native else _refuse_native, EXTENSION_SUFFIXES),
        (source_loader, SOURCE_SUFFIXES),
    ]
    for folder, _, _ in os.walk(package):
        if Path(folder).name != "__pycache__":
            sys.path_importer_cache[folder] = FileFinder(folder, *finders)


def _refuse_native(_name: str, path: str) -> Any:
    raise UntrustedPluginError(
        f"{path} is native code, which the system reads by itself",
        remedy="install such a plugin as a distribution, or do without a lock file",
    )
