"""Nothing that exists goes without documentation, and nothing is documented that is not there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import pytest

import pluginhost
from pluginhost import errors, hookspecs
from pluginhost.calltree import EventKind
from pluginhost.cli import COMMANDS
from pluginhost.events import Event
from pluginhost.exporters import EXPORTERS
from pluginhost.host.manifest import PluginEntry
from pluginhost.journal import Status
from pluginhost.profiler.rules import RULES, Thresholds
from pluginhost.report import PluginState

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(
    path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if ".cache" not in path.parts
)
HOOKS = [
    name
    for specification in (hookspecs.PluginSpec, hookspecs.LifecycleSpec)
    for name, found in vars(specification).items()
    if hasattr(found, f"{hookspecs.PROJECT_NAME}_spec")
]


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def pages_in(menu: object) -> Iterator[str]:
    if isinstance(menu, str):
        yield menu
        return
    assert isinstance(menu, list | dict)
    for item in menu.values() if isinstance(menu, dict) else menu:
        yield from pages_in(item)


def test_every_page_is_in_the_menu() -> None:
    """The site's menu has every page, and nothing else."""
    site = tomllib.loads(text_of("zensical.toml"))["project"]
    assert sorted(pages_in(site["nav"])) == PAGES


def test_every_error_has_a_section() -> None:
    """The error classes, their slugs and the sections of the page on errors are the same set."""
    classes = [
        found
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, errors.PluginHostError)
    ]
    sections = re.findall(r"^## (\w+)$", text_of("reference/errors.md"), flags=re.MULTILINE)
    assert sorted(sections) == sorted(found.__name__ for found in classes)
    assert sorted(map(str.lower, sections)) == sorted(found.docs_slug for found in classes)


def test_every_public_name_is_in_the_reference() -> None:
    """The page on the API describes each public name, and no other of the package's."""
    entries = re.findall(r"^::: pluginhost\.(\w+)$", text_of("reference/api.md"), re.MULTILINE)
    assert sorted(entries) == list(pluginhost.__all__)


@pytest.mark.parametrize("page", [pytest.param(page, id=page) for page in PAGES])
def test_what_the_generator_is_to_describe_exists(page: str) -> None:
    """Every `::: module.name` can be imported."""
    for name in re.findall(r"^::: ([\w.]+)$", text_of(page), flags=re.MULTILINE):
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute), name


def test_every_command_shows_its_help() -> None:
    """The page on the command line has the help of every command (that it is true is run)."""
    shown = re.findall(
        r"^\$ pluginhost (\S+) --help$", text_of("reference/cli.md"), flags=re.MULTILINE
    )
    assert sorted(shown) == sorted(COMMANDS)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        pytest.param("reference/events.md", [*EventKind], id="event kinds"),
        pytest.param("reference/events.md", [*Status], id="statuses"),
        pytest.param("reference/events.md", Event.__struct_fields__, id="event fields"),
        pytest.param("reference/hooks.md", HOOKS, id="hooks"),
        pytest.param("reference/hooks.md", [*PluginState], id="plugin states"),
        pytest.param("reference/manifest.md", PluginEntry.__struct_fields__, id="manifest keys"),
        pytest.param("reference/formats.md", [*EXPORTERS], id="formats"),
        pytest.param("reference/rules.md", [r.__name__.upper() for r in RULES], id="rules"),
        pytest.param("reference/rules.md", Thresholds.__struct_fields__, id="thresholds"),
    ],
)
def test_a_table_has_a_row_for_each_name(page: str, names: Sequence[str]) -> None:
    """The tables that are written by hand have each name once in their first column."""
    rows = re.findall(r"^\| `(\w+)` \|", text_of(page), flags=re.MULTILINE)
    assert names
    for name in names:
        assert rows.count(name) == 1, name


def test_every_promise_names_tests_that_there_are() -> None:
    """Each row of the page on promises names a file of tests, and functions that are in it.

    A file without a folder is in that of the one before, at first in `tests/faults`.
    """
    tests, named = DOCS.parent / "tests", 0
    for line in text_of("explanation/promises.md").splitlines():
        if not line.startswith("| ") or line.startswith(("| Fault |", "|---")):
            continue
        words = re.findall(r"`((?:[\w/]+\.py)|test_\w+)`", line.split(" | ")[-1])
        folder, file = tests / "faults", None
        for word in words:
            if word.endswith(".py"):
                path = tests.parent / word if "/" in word else folder / word
                assert path.is_file(), line
                folder = path.parent
                file = path.read_text(encoding="utf-8")
            elif file is not None:
                assert f"\ndef {word}(" in file, f"{word}: {line}"
        assert words, line
        named += len(words)
    assert named > 100


def test_the_page_on_architecture_is_short_and_honest() -> None:
    """It can be read in one sitting, and ends with what is wrong."""
    text = text_of("explanation/architecture.md")
    assert len(text.splitlines()) <= 120
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE)[-1] == "Problematic parts"
