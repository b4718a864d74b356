"""Whose an import is, however plugins are loaded, and what it would save to do without one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pluginhost.costs import CostReport, PluginCost
from pluginhost.launcher.plan import plan_of
from pluginhost.launcher.running import costs, observed

SLOW = "import time\ntime.sleep({})\n"
IMPL = "import pluggy\n@pluggy.HookimplMarker('shop')\ndef sell(item):\n    {}\n"
LOADERS = {
    "importlib.metadata": """
        from importlib.metadata import entry_points
        for each in sorted(entry_points(group="shop"), key=lambda each: each.name):
            manager.register(each.load(), each.name)
    """,
    "its backport": """
        from importlib_metadata import entry_points
        for each in sorted(entry_points(group="shop"), key=lambda each: each.name):
            manager.register(each.load(), each.name)
    """,
    "pluggy": """
        manager.load_setuptools_entrypoints("shop", "first")
        manager.load_setuptools_entrypoints("shop", "second")
    """,
    "names of modules": """
        for name in ("first", "second"):
            __import__(f"{name}_plugin")
            manager.register(sys.modules[f"{name}_plugin"], name)
    """,
    "import_module": """
        from importlib import import_module
        for name in ("first", "second"):
            manager.register(import_module(f"{name}_plugin"), name)
    """,
}


@pytest.fixture
def installed(
    tmp_path: Path, distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Return a folder for programs, beside two installed plugins that need the same slow module."""
    plugins = {
        "first": "import shared\nimport first_only\n" + IMPL.format("pass"),
        "second": "import shared\n" + IMPL.format("import second_plugin_parts.later"),
    }
    modules = {
        "shared.py": SLOW.format(0.03) + "import below_shared\n",
        "below_shared.py": SLOW.format(0.01),
        "first_only.py": SLOW.format(0.02),
        "second_plugin_parts/__init__.py": "",
        "second_plugin_parts/later.py": SLOW.format(0.01),
    }
    for name, text in plugins.items():
        own = {file: modules[file] for file in modules if name in file}
        info = distribution(
            f"shop-{name}",
            f"[shop]\n{name} = {name}_plugin\n",
            files={f"{name}_plugin.py": text} | own,
        )
        (info / "top_level.txt").write_text(f"{name}_plugin\n{name}_plugin_parts\n")
    for file in ("shared.py", "below_shared.py"):
        (tmp_path / "site" / file).write_text(modules[file], encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.endswith("_plugin")]:
        del sys.modules[name]


PROGRAM = """
import sys
import pluggy


class Spec:
    @pluggy.HookspecMarker("shop")
    def sell(self, item):
        '''Sell an item.'''


manager = pluggy.PluginManager("shop")
manager.add_hookspecs(Spec)
{}
manager.hook.sell(item=1)
"""


def profiled(folder: Path, loader: str) -> CostReport:
    from textwrap import dedent

    text = PROGRAM.format(dedent(LOADERS[loader]))
    (folder / "program.py").write_text(text, encoding="utf-8")
    plan = plan_of(["program.py"])
    outcome = observed(plan)
    assert outcome.returncode == 0
    return costs(plan, outcome)


def rows_of(report: CostReport) -> tuple[PluginCost, PluginCost]:
    rows = {row.name: row for row in report.plugins}
    assert rows.keys() == {"first", "second"}
    return rows["first"], rows["second"]


MS = 1_000_000


@pytest.mark.parametrize("loader", LOADERS)
def test_the_first_importer_pays_and_the_other_figure_says_what_would_be_saved(
    installed: Path, loader: str
) -> None:
    """A module that two plugins import costs the first; without it alone, the second would pay."""
    first, second = rows_of(profiled(installed, loader))
    assert first.import_ns >= 60 * MS  # shared, what it needs, and its own
    assert first.import_saved_ns is not None
    assert 20 * MS <= first.import_saved_ns <= first.import_ns - 40 * MS
    assert first.saving_ns == first.import_saved_ns + first.hooks_self_ns
    kept = {each.module: each.kept_by for each in first.imports}
    assert kept["shared"] == kept["below_shared"] == "second_plugin"
    assert kept["first_only"] is None
    assert second.import_ns < first.import_ns
    if loader not in {"names of modules", "import_module"}:
        assert (first.distribution, first.version) == ("shop-first", "1.0")


def test_an_import_within_a_hook_is_the_plugins(installed: Path) -> None:
    """What a plugin imports when it is called is import time of it, and no hook's own time."""
    _, second = rows_of(profiled(installed, "pluggy"))
    assert second.import_ns >= 10 * MS
    assert "second_plugin_parts.later" in {each.module for each in second.imports}
    assert second.hooks_inclusive_ns >= 10 * MS > second.hooks_self_ns


LAZY = """
from importlib.metadata import entry_points
for each in entry_points(group="shop"):
    manager.register(each.load(), each.name)
import importlib
importlib.import_module("second_plugin_parts.later")
import first_only
"""


def test_parts_of_a_plugin_that_others_load_by_name_are_the_plugins(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its fixtures and callbacks do, which the application calls; memory and time are there."""
    monkeypatch.setitem(LOADERS, "lazy", LAZY)
    _, second = rows_of(profiled(installed, "lazy"))
    assert "second_plugin_parts.later" in {each.module for each in second.imports}
    assert second.import_ns >= 10 * MS
    assert second.import_rss_bytes >= 0


TESTS = """
import pytest

@pytest.fixture
def there():
    import shared

def test_it(there): pass
"""


def test_conftests_and_plugins_of_pytest_by_name(installed: Path) -> None:
    """`-p NAME`, `pytest_plugins` and conftest files: the import of each is its own."""
    (installed / "conftest.py").write_text(SLOW.format(0.02) + "pytest_plugins = ['named']\n")
    (installed / "named.py").write_text(SLOW.format(0.3) + "def pytest_report_header(): pass\n")
    (installed / "early.py").write_text(SLOW.format(0.04) + "def pytest_report_header(): pass\n")
    (installed / "test_it.py").write_text(TESTS)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "early", "--rootdir", str(installed)]
    os.environ["PYTHONPATH"] += os.pathsep + str(installed)
    plan = plan_of([*words, "-p", "no:cacheprovider", "-c", os.devnull, "test_it.py"])
    outcome = observed(plan)
    assert outcome.returncode == 0
    report = costs(plan, outcome)
    assert any("pytest --plugin-profile does" in note for note in report.notes)
    rows = {row.name: row for row in report.plugins}
    for name, least_ms in (("conftest.py", 20), ("named", 300), ("early", 40)):
        assert rows[name].import_ns >= least_ms * MS
        if name != "conftest.py":  # nobody runs without it
            assert rows[name].import_saved_ns == rows[name].import_ns
    assert rows["conftest.py"].saving_ns is None
    assert rows["conftest.py"].import_ns < rows["named"].import_ns  # which it asks for
