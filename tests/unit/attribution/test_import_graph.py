"""Which modules would not be imported if one plugin alone were gone."""

from __future__ import annotations

import argparse
import ast
import asyncio
import py_compile
import unittest
from collections.abc import Callable, Iterable, Mapping
from importlib.util import cache_from_source
from modulefinder import ModuleFinder
from pathlib import Path
from types import ModuleType

import hypothesis
import pluggy
import pytest
from hypothesis import given, strategies as st

from pluginhost.attribution.import_graph import ImportGraph, _statements_in

GraphOf = Callable[..., ImportGraph]


@pytest.fixture
def graph_of(tmp_path: Path) -> GraphOf:
    """Return `of(texts)`: the graph of modules by name; a name that ends in a dot is a package.

    `of(texts, wanted)` is asked for some of them only.
    """

    def of(texts: Mapping[str, str], wanted: Iterable[str] | None = None) -> ImportGraph:
        files = {}
        for name, text in texts.items():
            parts = name.split(".")
            parts[-1] = f"{parts[-1] or '__init__'}.py"
            path = tmp_path.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            files[name.rstrip(".")] = str(path)
        return ImportGraph(files, files if wanted is None else wanted)

    return of


def test_what_nobody_else_imports_is_gone(graph_of: GraphOf) -> None:
    """A plugin takes along what only it needs, however deep."""
    graph = graph_of({"plugin": "import one", "one": "import two", "two": "", "main": ""})
    assert graph.kept({"plugin", "one", "two"}) == {}


def test_what_somebody_else_imports_stays_with_all_it_needs(graph_of: GraphOf) -> None:
    """And it is said who keeps it."""
    texts = {"plugin": "import one", "one": "import two", "two": "", "main": "import one"}
    assert graph_of(texts).kept({"plugin", "one", "two"}) == {"one": "main", "two": "main"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("from package import part", id="from"),
        pytest.param("from package.part import thing", id="a name of it"),
        pytest.param("import package.part as other", id="as"),
        pytest.param("class A:\n    import package.part", id="in a class"),
        pytest.param("if 0.1 > x:\n    from package.part import *", id="in a condition"),
        pytest.param("try:\n    import package.part\nfinally:\n    pass", id="tried"),
        pytest.param("import sys, \\\n  package.part", id="after another"),
        pytest.param("from \\\n  package import \\\n  part", id="on several lines"),
        pytest.param("from package import (  # a comment\n  part,\n)", id="in brackets"),
        pytest.param("a = 1; import package.part; b = 2", id="among others"),
        pytest.param("ä = 1\nimport package.part", id="not all ASCII"),
        pytest.param("a = 'import of'\r\nimport package.part\r\n", id="in a file of Windows"),
    ],
)
def test_statements_at_the_top_are_found(graph_of: GraphOf, text: str) -> None:
    """In all their forms; the package comes along with its part."""
    texts = {"package.": "", "package.part": "", "main": text}
    for wanted in (texts, ["package", "package.part"]):
        kept = graph_of(texts, wanted).kept({"package", "package.part"})
        assert kept == {"package": "main", "package.part": "main"}


def test_compiled_files_are_read_as_they_are(graph_of: GraphOf, tmp_path: Path) -> None:
    """Of code that is there already, what imports something else is left out just the same."""
    texts = {"one": "", "two": "", "main": "import one", "other": "import two\nimport json"}
    graph_of(texts)
    for path in tmp_path.glob("*.py"):
        py_compile.compile(str(path), cfile=cache_from_source(str(path)))
    assert graph_of(texts, ["one"]).kept({"one", "two"}) == {"one": "main"}
    assert graph_of(texts, ["one", "two"]).kept({"one", "two"}) == {"one": "main", "two": "other"}


def test_a_file_that_changed_is_read_again(graph_of: GraphOf) -> None:
    """What was read of it serves the next report, unless it is another one by then."""
    texts = {"one": "", "main": "import one"}
    assert graph_of(texts, ["one"]).kept({"one"}) == {"one": "main"}
    assert graph_of({**texts, "main": "import json as one"}, ["one"]).kept({"one"}) == {}


@pytest.mark.parametrize("module", [ast, argparse, asyncio, unittest, pytest, hypothesis, pluggy])
def test_statements_are_those_that_the_library_finds(module: ModuleType) -> None:
    """Which reads code an instruction at a time, and slowly."""
    code = compile(Path(str(module.__file__)).read_bytes(), "module", "exec")
    found = []
    for kind, statement in ModuleFinder(path=[]).scan_opcodes(code):
        if kind == "absolute_import":
            names, base = statement
            found.append((0, base, names or ()))
        elif kind == "relative_import":
            found.append((statement[0], statement[2], statement[1]))
    assert found
    assert list(_statements_in(code)) == [
        (level, base, tuple(each for each in names if each != "*")) for level, base, names in found
    ]


def test_an_import_in_a_function_keeps_nothing(graph_of: GraphOf) -> None:
    """It may never happen."""
    graph = graph_of({"one": "", "main": "def f():\n    import one"})
    assert graph.kept({"one"}) == {}


def test_relative_imports_are_resolved(graph_of: GraphOf) -> None:
    """Those of a module and of a package."""
    graph = graph_of(
        {"a.": "from . import b", "a.b": "from .c import d", "a.c": "", "m": "import a"}
    )
    assert graph.kept({"a", "a.b", "a.c"}) == {"a": "m", "a.b": "m", "a.c": "m"}


def test_parts_that_a_package_loads_by_name_do_not_keep_it(graph_of: GraphOf) -> None:
    """Though somebody else paid for them: they go with the package."""
    graph = graph_of({"fake.": "", "fake.base": "", "fake.en": "import fake.base", "main": ""})
    assert graph.kept({"fake", "fake.base"}) == {}
    graph = graph_of(
        {"fake.": "", "fake.base": "", "fake.en": "import fake.base", "main": "import fake.en"}
    )
    assert graph.kept({"fake", "fake.base"}) == {"fake": "main", "fake.base": "main"}


def test_what_is_no_python_source_imports_nothing(graph_of: GraphOf, tmp_path: Path) -> None:
    """Broken files, extensions, and files that are not there."""
    (tmp_path / "broken.py").write_text("import (", encoding="utf-8")
    names = {name: str(tmp_path / name) for name in ("broken.py", "native.so", "absent.py")}
    assert ImportGraph(names, names).kept(set(names)) == {}


@given(
    edges=st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20),
    gone=st.sets(st.integers(0, 7)),
)
def test_kept_is_what_can_be_reached_from_those_that_stay(
    tmp_path_factory: pytest.TempPathFactory, edges: set[tuple[int, int]], gone: set[int]
) -> None:
    """For any graph, cycles included; who keeps a module is one that stays."""
    folder = tmp_path_factory.mktemp("modules")
    files = {}
    for number in range(8):
        path = folder / f"m{number}.py"
        imports = [f"import m{to}" for by, to in edges if by == number]
        path.write_text("\n".join(imports), encoding="utf-8")
        files[f"m{number}"] = str(path)
    kept = ImportGraph(files, files).kept({f"m{number}" for number in gone})
    stay = set(range(8)) - gone
    reached, waiting = set(stay), list(stay)
    while waiting:
        by = waiting.pop()
        new = {to for source, to in edges if source == by} - reached
        reached |= new
        waiting += new
    assert kept.keys() == {f"m{number}" for number in gone & reached}
    assert set(kept.values()) <= {f"m{number}" for number in stay}
