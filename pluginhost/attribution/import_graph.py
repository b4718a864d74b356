"""What would not be imported if one plugin alone were gone: from the code of the modules.

A module that several import is paid for by the first. Who else imports it when it is imported is
read from the compiled code of all modules that were loaded: the import statements at their top
level, whether they were reached or not. Imports within functions are not looked at.
"""

from __future__ import annotations

import marshal
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from glob import escape
from importlib.util import MAGIC_NUMBER, cache_from_source, resolve_name
from inspect import CO_OPTIMIZED
from modulefinder import ModuleFinder
from pathlib import Path
from types import CodeType

_HEADER_BYTES = 16  # of a .pyc file (PEP 552)


class ImportGraph:
    """Who imports the modules of `wanted` in a program; `files` are those of all modules, by name."""

    def __init__(self, files: Mapping[str, str], wanted: Iterable[str]) -> None:
        self._names = frozenset(files)
        self._importers: defaultdict[str, set[str]] = defaultdict(set)
        wanted = set(wanted)
        packages = _packages_of(wanted)
        wanted |= {name for name in files if name.partition(".")[0] in packages}
        # As a statement may name them: in full, or in part where it is relative or from a package.
        words = wanted | {part for name in wanted for part in name.split(".")}
        words |= {name.rpartition(".")[0] for name in wanted}
        words |= {name.split(".", depth)[-1] for name in wanted for depth in range(1, 4)}
        words.discard("")
        for name, file in files.items():
            for imported in _imported(name, file, words):
                if imported in wanted:
                    self._importers[imported].add(name)
        for name in files:
            parent = name.rpartition(".")[0]
            if parent in files:
                self._importers[parent].add(name)  # a package comes along with each of its modules

    def kept(self, gone: Iterable[str], others: Collection[str] = ()) -> dict[str, str]:
        """Return which modules of `gone` somebody else would import, and who that is.

        `others` are modules that stay in any case: plugins, and what they were the first to import.
        What else there is of the same packages goes along, unless somebody imports it: parts that a
        package loads by name, sometime later, must not keep the whole.
        """
        mine = frozenset(gone)
        packages = _packages_of(mine)
        along = {name for name in self._names if name.partition(".")[0] in packages}
        absent = (mine | along) - frozenset(others)
        kept = {name: name for name in mine - absent}
        waiting = True
        while waiting:
            waiting = False
            for module in absent - kept.keys():
                importers = self._importers[module] - (absent - kept.keys())
                if importers:
                    first = min(importers)
                    kept[module] = kept.get(first, first)
                    waiting = True
        return {name: by for name, by in kept.items() if name in mine}


def _packages_of(modules: Iterable[str]) -> set[str]:
    """Return the top-level packages of modules, without those that come with Python."""
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names


def _imported(name: str, file: str, words: set[str]) -> Iterator[str]:
    """Yield the names of modules, and of what may be one, that a module imports at its top.

    Code that has none of `words` among its names is not looked at more closely.
    """
    code = _code_of(file)
    package = name if Path(file).name == "__init__.py" else name.rpartition(".")[0]
    finder = ModuleFinder(path=[])
    waiting = [code] if code is not None else []
    while waiting:
        code = waiting.pop()
        # A class body runs when the module does; a function, which is optimised, does not.
        waiting += (
            each
            for each in code.co_consts
            if isinstance(each, CodeType) and not each.co_flags & CO_OPTIMIZED
        )
        if words.isdisjoint(code.co_names) and not any(
            words.intersection(each) for each in code.co_consts if isinstance(each, tuple)
        ):
            continue
        for kind, found in finder.scan_opcodes(code):
            if kind == "absolute_import":
                names, base = found
            elif kind == "relative_import":
                level, names, base = found
                try:
                    base = resolve_name("." * level + base, package)
                except ImportError:
                    continue
            else:
                continue
            yield base
            yield from (f"{base}.{each}" for each in names or () if each != "*")


def _code_of(file: str) -> CodeType | None:
    """Return the code of a Python file, compiled before or now; None if that cannot be had."""
    if not file.endswith(".py"):
        return None
    with suppress(OSError, ValueError, EOFError, TypeError, NotImplementedError):
        compiled = Path(cache_from_source(file))
        if not compiled.exists():  # pytest keeps beside it what it has rewritten
            compiled = next(compiled.parent.glob(f"{escape(compiled.stem)}-pytest-*.pyc"), compiled)
        content = compiled.read_bytes()
        if content.startswith(MAGIC_NUMBER):
            found = marshal.loads(content[_HEADER_BYTES:])  # noqa: S302  # Python has run it
            return found if isinstance(found, CodeType) else None
    with suppress(OSError, ValueError, SyntaxError, RecursionError):
        return compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
    return None
