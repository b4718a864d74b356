"""The rules of the house, as far as a program can check them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import pluginhost
from pluginhost.calltree import EventKind
from pluginhost.journal import Status
from pluginhost.profiler.rules import RULES

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pluginhost"
MODULES = sorted(PACKAGE.rglob("*.py"))
EXAMPLES = sorted((ROOT / "plugins_example" / "src").rglob("*.py"))

_NOT_OURS = {"__pycache__", "build", "dist", "node_modules", "site", "venv"}
_HIDDEN_BUT_OURS = {".ci", ".github"}


def _files_of_the_project() -> list[Path]:
    """Return all files that could be published: not what tools left behind."""
    found, folders = [], [ROOT]
    while folders:
        for path in folders.pop().iterdir():
            if path.is_file():
                found.append(path)
            elif path.name in _HIDDEN_BUT_OURS or not (
                path.name.startswith(".") or path.name in _NOT_OURS or path.suffix == ".egg-info"
            ):
                folders.append(path)
    return found


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


each_module = pytest.mark.parametrize("path", [*MODULES, *EXAMPLES], ids=_name)


@each_module
def test_a_module_fits_on_a_few_screens(path: Path) -> None:
    """At most 400 lines: what is longer has two subjects."""
    assert len(_text(path).splitlines()) <= 400


@each_module
def test_a_function_fits_on_one_screen(path: Path) -> None:
    """At most 60 lines; code that may not call anything for speed says so to the linter."""
    lines = _text(path).splitlines()
    for node in ast.walk(ast.parse(_text(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            excused = "PLR0915" in lines[node.lineno - 1]
            assert length <= (100 if excused else 60), f"{node.name} has {length} lines"


@each_module
def test_a_module_says_what_it_is_about(path: Path) -> None:
    """Its docstring is a sentence, or there is no code in it."""
    text = _text(path)
    tree = ast.parse(text)
    assert not tree.body or (ast.get_docstring(tree) or "").strip().endswith((".", "?", ")"))


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_no_module_inside_imports_the_public_face(path: Path) -> None:
    """The root gathers names for users; inside, each name is imported from its home."""
    for node in ast.walk(ast.parse(_text(path))):
        if isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            assert node.module != "pluginhost" or names.isdisjoint(pluginhost.__all__)
        elif isinstance(node, ast.Import):
            assert "pluginhost" not in {alias.name for alias in node.names}


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_room_is_named_for_its_subject(path: Path) -> None:
    """Nothing is put where it does not belong for want of a name."""
    assert not {"utils", "util", "helpers", "common", "misc"} & {*path.parts, path.stem}


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_importing_a_module_does_nothing(path: Path) -> None:
    """At the top level there are imports, definitions and constants, no loops and no bare calls."""
    for node in ast.parse(_text(path)).body:
        if path.name in ("__main__.py", "sitecustomize.py"):
            return  # what they are for is being run
        assert not isinstance(node, ast.For | ast.While | ast.With | ast.Try), ast.unparse(node)
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant), ast.unparse(node)


def _words_in(folder: str, suffix: str) -> set[str]:
    texts = [
        _text(path)
        for path in (ROOT / folder).rglob(f"*{suffix}")
        if path != Path(__file__) and not any(part.startswith(".") for part in path.parts)
    ]
    return set(re.findall(r"\w+", "\n".join(texts)))


@pytest.fixture(scope="module")
def documented() -> set[str]:
    """All words of the documentation."""
    return _words_in("docs", ".md")


@pytest.fixture(scope="module")
def tested() -> set[str]:
    """All words of the tests."""
    return _words_in("tests", ".py")


@pytest.mark.parametrize("name", [*EventKind, *Status])
def test_every_kind_of_event_and_ending_is_documented_and_tested(
    name: EventKind | Status, documented: set[str], tested: set[str]
) -> None:
    """What can happen is told to users, and made to happen in a test."""
    assert name.value in documented
    assert name.value in tested or name.name in tested


@pytest.mark.parametrize("name", [rule.__name__.upper() for rule in RULES])
def test_every_rule_is_documented_and_tested(
    name: str, documented: set[str], tested: set[str]
) -> None:
    """A finding that a report can show is explained, and shown in a test."""
    assert name in documented
    assert name in tested


def test_nothing_names_the_machine_it_was_made_on() -> None:
    """No file holds a path that exists on one computer only."""
    paths = re.compile(rb"/root/|/home/[a-z]+/|/tmp/[a-z]+/")
    found = [_name(path) for path in _files_of_the_project() if paths.search(path.read_bytes())]
    found.remove(_name(Path(__file__)))  # it must name them to find them
    assert found == []


def test_no_line_is_much_longer_than_a_hundred_columns() -> None:
    """The formatter sees to code; strings and docstrings it leaves to their authors."""
    places = ("pluginhost", "plugins_example", "tests", "benchmarks")
    files = [path for place in places for path in (ROOT / place).rglob("*.py")]
    long = [
        f"{_name(path)}:{number}"
        for path in [*files, ROOT / "conftest.py"]
        for number, line in enumerate(_text(path).splitlines(), 1)
        if len(line) > 110
    ]
    assert files
    assert long == []
