"""What would not be imported if one plugin alone were gone: from the code of the modules.

A module that several import is paid for by the first. Who else imports it when it is imported is
read from the compiled code of all modules that were loaded: the import statements at their top
level, whether they were reached or not. Imports within functions are not looked at.
"""

from __future__ import annotations

import dis
import marshal
import os
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.util import MAGIC_NUMBER, cache_from_source, resolve_name
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType

_HEADER_BYTES = 16  # of a .pyc file (PEP 552)
_KEPT = 10_000  # files that are not read again unless they have changed


class ImportGraph:
    """Who imports the modules of `wanted` in a program; `files` are those of all modules, by name."""

    def __init__(self, files: Mapping[str, str], wanted: Iterable[str]) -> None:
        self._names = frozenset(files)
        self._importers: defaultdict[str, set[str]] = defaultdict(set)
        wanted = set(wanted)
        packages = _packages_of(wanted)
        wanted |= {name for name in files if name.partition(".")[0] in packages}
        tops = frozenset(name.partition(".")[0] for name in wanted)
        for name, file in files.items():
            for imported in _imported(name, file, tops):
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


_Statement = tuple[int, str, tuple[str, ...]]
"""What an import statement names: at how many dots, the module, and what is taken from it."""


def _imported(name: str, file: str, tops: frozenset[str]) -> Iterator[str]:
    """Yield the names of modules, and of what may be one, that a module imports at its top.

    Of one that imports nothing of the top-level packages `tops`, nothing may be yielded.
    """
    if not file.endswith(".py"):
        return
    try:
        status = os.stat(file)  # noqa: PTH116  # thousands of them, at every report
    except (OSError, ValueError):
        return
    stamp = file, status.st_mtime_ns, status.st_size
    if name.partition(".")[0] not in tops:  # else imports may be relative
        mentioned = _mentioned(*stamp)
        if mentioned is not None and tops.isdisjoint(mentioned):
            return
    package = name if Path(file).name == "__init__.py" else name.rpartition(".")[0]
    for level, base, names in _statements(*stamp):
        try:
            module = resolve_name("." * level + base, package) if level else base
        except ImportError:
            continue
        yield module
        yield from (f"{module}.{each}" for each in names)


@lru_cache(_KEPT)
def _mentioned(file: str, changed_ns: int, size: int) -> frozenset[str] | None:
    """Return top-level names that a file imports, perhaps with others; None if that is not known.

    To compile a file takes long. Most have nothing to do with what is wanted, as their text shows.
    """
    if _compiled(file) is not None:
        statements = _statements(file, changed_ns, size)
        return frozenset(module.partition(".")[0] for _, module, _ in statements)
    try:
        text = Path(file).read_bytes()
    except OSError:
        return None
    if not text.isascii():  # a name may be written in several ways
        return None
    found = set(re.findall(_FROM, text))
    for after in re.findall(_IMPORT, text):
        found.update(re.findall(_WORD, after))
    return frozenset(sys.intern(word.decode()) for word in found)


_FROM = rb"\bfrom[\s\\]+(\w+)"
_IMPORT = rb"\bimport\b((?:[^\n;#\\]|\\\r?\n)*)"
_WORD = rb"\w+"


@lru_cache(_KEPT)
def _statements(file: str, _changed_ns: int, _size: int) -> tuple[_Statement, ...]:
    """Return the import statements that run when the module of a Python file does."""
    code = _code_of(file)
    found: list[_Statement] = []
    waiting = [code] if code is not None else []
    while waiting:
        code = waiting.pop()
        found += _statements_in(code)
        # A class body runs when the module does; a function, which is optimised, does not.
        waiting += (
            each
            for each in code.co_consts
            if isinstance(each, CodeType) and not each.co_flags & CO_OPTIMIZED
        )
    return tuple(found)


def _statements_in(code: CodeType) -> Iterator[_Statement]:
    """Yield the import statements of one code object: each loads two constants, and imports."""
    units = code.co_code
    end = units.find(_IMPORT_NAME)
    while end >= 0:
        if not end % 2:
            base, start = _argument(units, end)
            names, start = _argument(units, start - 2)
            level, start = _argument(units, start - 2)
            small = units[start] == _LOAD_SMALL_INT
            taken = code.co_consts[names] or ()
            yield (
                level if small else code.co_consts[level],
                code.co_names[base],
                tuple(sys.intern(each) for each in taken if each != "*"),
            )
        end = units.find(_IMPORT_NAME, end + 1)


def _argument(units: bytes, position: int) -> tuple[int, int]:
    """Return the argument of the instruction at `position`, and where its prefixes begin."""
    value, shift = units[position + 1], 8
    while position >= 2 and units[position - 2] == dis.EXTENDED_ARG:
        position -= 2
        value |= units[position + 1] << shift
        shift += 8
    return value, position


_IMPORT_NAME = bytes([dis.opmap["IMPORT_NAME"]])
_LOAD_SMALL_INT = dis.opmap.get("LOAD_SMALL_INT")  # Python 3.14 loads the level so


def _code_of(file: str) -> CodeType | None:
    """Return the code of a Python file, compiled before or now; None if that cannot be had."""
    with suppress(OSError, ValueError, EOFError, TypeError):
        compiled = _compiled(file)
        content = compiled.read_bytes() if compiled is not None else b""
        if content.startswith(MAGIC_NUMBER):
            found = marshal.loads(content[_HEADER_BYTES:])  # noqa: S302  # Python has run it
            return found if isinstance(found, CodeType) else None
    with suppress(OSError, ValueError, SyntaxError, RecursionError):
        return compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
    return None


def _compiled(file: str) -> Path | None:
    """Return where the code of a Python file is kept that was compiled before, if it is."""
    with suppress(OSError, ValueError, NotImplementedError):
        path = Path(cache_from_source(file))
        if path.exists():
            return path
        rewritten = _rewritten(str(path.parent)).get(path.stem)
        return path.with_name(rewritten) if rewritten is not None else None
    return None


@lru_cache(_KEPT)
def _rewritten(folder: str) -> dict[str, str]:
    """Return the names of files in a folder of compiled code that pytest has made, by their stems."""
    with suppress(OSError):
        names = [name for name in os.listdir(folder) if "-pytest-" in name]  # noqa: PTH208  # quick
        return {name.partition("-pytest-")[0]: name for name in names}
    return {}
