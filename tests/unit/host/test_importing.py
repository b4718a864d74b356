"""Getting plugin objects out of files: fresh bytes, own names, nothing left behind."""

from __future__ import annotations

import os
import sys

import pytest

from pluginhost.errors import PluginLoadError
from pluginhost.host.sources.importing import (
    forget,
    import_file,
    import_installed,
    plugin_object,
)

NAME = "pluginhost_test_importing"


@pytest.fixture(autouse=True)
def forgotten():
    """Leave no module of these tests behind."""
    yield
    forget(NAME)


def rewrite(path, text):
    """Write text and give the file the same time as before: an edit within the same second."""
    status = path.stat() if path.exists() else None
    path.write_text(text)
    if status is not None:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_file_is_imported_under_the_name_given(plugin_folder):
    """The module is in `sys.modules` by that name, and knows its file."""
    path = plugin_folder({"a.py": "VALUE = 1"}) / "a.py"
    module = import_file(NAME, path)
    assert sys.modules[NAME] is module
    assert (module.__name__, module.__file__, module.VALUE) == (NAME, str(path), 1)


def test_a_package_finds_its_own_modules(plugin_folder):
    """Relative imports work, also later ones, at any depth, and without an `__init__.py`."""
    folder = plugin_folder(
        {
            "pkg/__init__.py": "from . import one\nfrom .deep.two import TWO\n"
            "def late():\n    from .spaces import three\n    return three.THREE\n",
            "pkg/one.py": "ONE = 1",
            "pkg/deep/__init__.py": "",
            "pkg/deep/two.py": "from ..one import ONE\nTWO = ONE + 1",
            "pkg/spaces/three.py": "THREE = 3",
        }
    )
    module = import_file(NAME, folder / "pkg")
    assert (module.one.ONE, module.TWO, module.late()) == (1, 2, 3)
    assert sys.modules[f"{NAME}.deep.two"].__file__ == str(folder / "pkg/deep/two.py")


def test_no_path_and_no_bytecode(plugin_folder):
    """Nothing is put on `sys.path`, and no `__pycache__` appears in the folder."""
    folder = plugin_folder(
        {"pkg/__init__.py": "from . import one\nfrom .spaces import two\n", "pkg/one.py": "",
         "pkg/spaces/two.py": ""}
    )  # fmt: skip
    path = list(sys.path)
    import_file(NAME, folder / "pkg")
    assert sys.path == path
    assert not list(folder.rglob("*.pyc"))


def test_bytecode_that_lies_there_is_not_believed(plugin_folder):
    """A compiled file that Python itself would trust (same time, same size) is not read."""
    import py_compile

    folder = plugin_folder({"pkg/__init__.py": "from .one import VALUE", "pkg/one.py": "VALUE = 1"})
    for path in folder.rglob("*.py"):
        py_compile.compile(str(path))
    rewrite(folder / "pkg/one.py", "VALUE = 2")
    assert import_file(NAME, folder / "pkg").VALUE == 2


def test_importing_again_replaces_the_module_and_its_submodules(plugin_folder):
    """A second import is a new module, with new submodules."""
    folder = plugin_folder({"pkg/__init__.py": "from . import one", "pkg/one.py": "VALUE = 1"})
    first = import_file(NAME, folder / "pkg")
    second = import_file(NAME, folder / "pkg")
    assert sys.modules[NAME] is second
    assert second is not first
    assert second.one is not first.one


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"pkg/__init__.py": "1 / 0"}, id="package"),
        pytest.param(
            {"pkg/__init__.py": "from . import one\n1 / 0", "pkg/one.py": ""}, id="after-submodule"
        ),
        pytest.param({"pkg/__init__.py": "from . import one", "pkg/one.py": "1 / 0"}, id="sub"),
    ],
)
def test_a_failed_import_leaves_nothing(plugin_folder, files):
    """Neither the module nor its submodules stay in `sys.modules`."""
    folder = plugin_folder(files)
    with pytest.raises(ZeroDivisionError):
        import_file(NAME, folder / "pkg")
    assert not [name for name in sys.modules if name.startswith(NAME)]


def test_forgetting_leaves_neighbours_alone(plugin_folder):
    """A module whose name merely begins the same way is not a submodule."""
    path = plugin_folder({"a.py": ""}) / "a.py"
    import_file(NAME, path)
    longer = import_file(f"{NAME}_longer", path)
    forget(NAME)
    assert NAME not in sys.modules
    assert sys.modules[f"{NAME}_longer"] is longer
    forget(f"{NAME}_longer")


def test_an_installed_module_is_imported_once(distribution):
    """Unless it is wanted fresh, the module is the one that everybody has."""
    distribution("acme", None, files={"acme_once.py": "VALUE = 1"})
    module = import_installed("acme_once", fresh=False)
    assert import_installed("acme_once", fresh=False) is module
    assert sys.modules["acme_once"] is module


def test_an_installed_module_can_be_made_afresh(distribution):
    """A fresh one is made of the bytes on disk, in place of the old and in its package."""
    info = distribution(
        "acme", None, files={"acme_fresh/__init__.py": "", "acme_fresh/mod.py": "VALUE = 1"}
    )
    old = import_installed("acme_fresh.mod", fresh=True)
    rewrite(info.parent / "acme_fresh/mod.py", "VALUE = 2")
    new = import_installed("acme_fresh.mod", fresh=True)
    assert (old.VALUE, new.VALUE) == (1, 2)
    assert sys.modules["acme_fresh.mod"] is new
    assert sys.modules["acme_fresh"].mod is new


def test_a_fresh_package_still_has_its_submodules(distribution):
    """Submodules are not read again, and are found as attributes as they were before."""
    distribution(
        "acme",
        None,
        files={
            "acme_pkg/__init__.py": "import acme_pkg.sub\nVALUE = acme_pkg.sub.VALUE\n",
            "acme_pkg/sub.py": "VALUE = 1",
        },
    )
    import_installed("acme_pkg", fresh=False)
    sub = sys.modules["acme_pkg.sub"]
    new = import_installed("acme_pkg", fresh=True)
    assert new.sub is sub
    assert new.VALUE == 1


def test_a_fresh_import_that_fails_restores_everything(distribution):
    """The old module and its submodules are still the ones in use."""
    info = distribution(
        "acme",
        None,
        files={"acme_bad/__init__.py": "from . import sub", "acme_bad/sub.py": ""},
    )
    old = import_installed("acme_bad", fresh=False)
    sub = sys.modules["acme_bad.sub"]
    rewrite(info.parent / "acme_bad/__init__.py", "1 / 0")
    with pytest.raises(ZeroDivisionError):
        import_installed("acme_bad", fresh=True)
    assert sys.modules["acme_bad"] is old
    assert sys.modules["acme_bad.sub"] is sub


def test_what_has_no_source_cannot_be_made_afresh():
    """A compiled module says that only a restart helps."""
    with pytest.raises(PluginLoadError) as caught:
        import_installed("math", fresh=True)
    assert "restart" in caught.value.remedy


def test_a_dotted_attribute_is_followed():
    """`Outer.Inner` names a class in a class, of which an instance is returned."""
    import unittest.mock

    target = plugin_object(unittest.mock, "NonCallableMock")
    assert isinstance(target, unittest.mock.NonCallableMock)
    assert plugin_object(unittest, "mock.sentinel") is unittest.mock.sentinel
    assert plugin_object(unittest, "") is unittest


def test_a_missing_attribute_is_named():
    """The error names the module, the attribute, and what to correct."""
    with pytest.raises(PluginLoadError, match=r"'os' has no 'nothing\.here'") as caught:
        plugin_object(os, "nothing.here")
    assert "entry" in caught.value.remedy
