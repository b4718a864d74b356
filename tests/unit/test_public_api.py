"""What `import pluginhost` offers: documented, complete, and free until it is used."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import pluginhost

SOURCE = Path(pluginhost.__file__)


def _declared() -> dict[str, str]:
    """Return what type checkers see: each name with the module that it comes from."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(checked.test) == "TYPE_CHECKING"
    imports = [node for node in checked.body if isinstance(node, ast.ImportFrom)]
    assert len(imports) == len(checked.body)
    names = [(alias, node.module) for node in imports for alias in node.names]
    assert all(alias.name == alias.asname for alias, _ in names), "re-exports are written X as X"
    return {alias.name: module or "" for alias, module in names}


def test_type_checkers_and_programs_see_the_same_names() -> None:
    """`__all__` is what is imported for type checkers, sorted."""
    assert list(pluginhost.__all__) == sorted(_declared())


@pytest.mark.parametrize("name", pluginhost.__all__)
def test_every_name_is_the_object_that_type_checkers_see(name: str) -> None:
    """A name that is looked up at run time comes from the module that was declared."""
    assert getattr(pluginhost, name) is getattr(import_module(_declared()[name]), name)


def test_a_star_import_brings_all_of_it() -> None:
    """Nothing less and nothing else."""
    names: dict[str, Any] = {}
    exec("from pluginhost import *", names)
    del names["__builtins__"]
    assert sorted(names) == pluginhost.__all__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As of any module, so that `hasattr` and `from ... import` work."""
    assert not hasattr(pluginhost, "Nonsense")
    with pytest.raises(AttributeError, match="module 'pluginhost' has no attribute 'Nonsense'"):
        _ = pluginhost.Nonsense
    with pytest.raises(ImportError):
        exec("from pluginhost import Nonsense")


def _run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


def test_importing_the_package_imports_nothing_else() -> None:
    """What is not used costs nothing: no dependency, no module of ours but the root."""
    program = (
        "import sys; before = set(sys.modules); import pluginhost;"
        "print(*sorted(set(sys.modules) - before))"
    )
    new = _run(program).split()
    heavy = {"pluggy", "msgspec", "rich", "click", "structlog", "asyncio", "psutil", "packaging"}
    assert heavy.isdisjoint(new)
    assert [name for name in new if name.startswith("pluginhost")] == ["pluginhost"]


@pytest.mark.parametrize(
    ("use", "absent"),
    [
        pytest.param(
            "hookimpl", {"rich", "click", "structlog", "asyncio", "psutil"}, id="writing a plugin"
        ),
        pytest.param(
            "PluginHost", {"rich", "click", "structlog", "asyncio", "psutil"}, id="hosting plugins"
        ),
        pytest.param("observe", {"rich", "click", "structlog"}, id="observing"),
    ],
)
def test_a_name_brings_only_what_it_needs(use: str, absent: set[str]) -> None:
    """Whoever hosts plugins does not pay for terminals, logging or event loops."""
    imported = set(
        _run(f"import sys; from pluginhost import {use}; print(*sorted(sys.modules))").split()
    )
    assert absent.isdisjoint(imported)


def _public_members(kind: type) -> dict[str, Any]:
    """Return the functions and properties that a class of ours defines for its users."""
    found = {}
    for owner in kind.__mro__:
        if owner.__module__.startswith("pluginhost"):
            for name, member in vars(owner).items():
                if not name.startswith("_") and (
                    inspect.isfunction(member) or isinstance(member, property | classmethod)
                ):
                    found.setdefault(name, member)
    return found


@pytest.mark.parametrize("name", pluginhost.__all__)
def test_every_name_is_documented(name: str) -> None:
    """Each class, function, method and property says what it is for; hook markers are pluggy's."""
    found = getattr(pluginhost, name)
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        assert type(found).__module__.startswith("pluggy")
        return
    assert found.__doc__, name
    assert found.__doc__.strip().endswith((".", ")")), found.__doc__
    if inspect.isclass(found):
        silent = [member for member, it in _public_members(found).items() if not inspect.getdoc(it)]
        assert silent == []


@pytest.mark.parametrize(
    "name", [n for n in pluginhost.__all__ if inspect.isclass(getattr(pluginhost, n))]
)
def test_options_are_given_by_name(name: str) -> None:
    """No public constructor takes more than three arguments by position."""
    try:
        parameters = inspect.signature(getattr(pluginhost, name)).parameters.values()
    except ValueError:  # an enum or a protocol has none of its own
        return
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert len(positional) <= 3


def test_the_package_says_that_it_is_typed() -> None:
    """Type checkers look for this file."""
    assert (SOURCE.parent / "py.typed").is_file()
