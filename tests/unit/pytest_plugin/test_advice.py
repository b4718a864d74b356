"""What is said to do about plugins: their fixtures count, and what tests need stays."""

from __future__ import annotations

import sys

import pytest

from pluginhost.suite import SuiteAdvice

PLUGIN = """
    import time, pytest
    time.sleep(0.3)
    @pytest.fixture(autouse=True)
    def unasked():
        time.sleep(0.02)
        yield
        time.sleep(0.01)
    @pytest.fixture
    def wanted(): return 3
    class Kind(pytest.Function): pass
"""
TESTS = "import pytest\n@pytest.mark.parametrize('n', range(10))\ndef test_a(n{more}): pass\n"


def advice_on(profiled, name: str, monkeypatch, tmp_path, files, *words: str) -> SuiteAdvice:
    monkeypatch.syspath_prepend(tmp_path)
    files = {f"{name}.py": PLUGIN, **files}
    found = profiled(files, "-p", name, *words)
    assert found.code == 0, found.out
    return next(each for each in found.suite.advice if each.subject == name)


def test_fixtures_that_run_unasked_are_saved_with_their_plugin(
    profiled, monkeypatch, tmp_path
) -> None:
    """Leaving a plugin out is predicted to save what its autouse fixtures take, and says so."""
    files = {"test_a.py": TESTS.format(more="")}
    found = advice_on(profiled, "unasked_plugin", monkeypatch, tmp_path, files)
    assert found.remedy == "-p no:unasked_plugin"
    assert found.saving_ns is not None
    assert found.saving_ns > 600_000_000  # the import, and ten times what the fixture sleeps
    assert "fixtures" in found.finding


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"test_a.py": TESTS.format(more=", wanted")}, id="test"),
        pytest.param({"test_a.py": TESTS.format(more=", unasked")}, id="autouse, by its name"),
        pytest.param(
            {
                "test_a.py": TESTS.format(more="").replace(
                    "\ndef", "\n@pytest.mark.usefixtures('wanted')\ndef"
                )
            },
            id="usefixtures",
        ),
        pytest.param(
            {
                "conftest.py": "import pytest\n@pytest.fixture\ndef mine(wanted): return wanted\n",
                "test_a.py": TESTS.format(more=", mine"),
            },
            id="fixture of a conftest",
        ),
        pytest.param(
            {
                "conftest.py": "import pytest\n@pytest.fixture\ndef wanted(wanted): return 4\n",
                "test_a.py": TESTS.format(more=", wanted"),
            },
            id="overridden, with the first",
        ),
    ],
)
def test_a_plugin_whose_fixtures_are_requested_is_to_be_kept(
    profiled, monkeypatch, tmp_path, files
) -> None:
    """Where tests would fail without a plugin, no saving is promised: it says what they request."""
    found = advice_on(profiled, "requested_plugin", monkeypatch, tmp_path, files)
    assert found.saving_ns is None
    assert found.remedy.startswith("keep: tests request ")


def test_a_fixture_that_is_overridden_is_not_needed(profiled, monkeypatch, tmp_path) -> None:
    """A suite that has a fixture of its own of that name can do without the plugin's."""
    files = {
        "conftest.py": "import pytest\n@pytest.fixture\ndef wanted(): return 4\n",
        "test_a.py": TESTS.format(more=", wanted"),
    }
    found = advice_on(profiled, "overridden_plugin", monkeypatch, tmp_path, files)
    assert found.remedy == "-p no:overridden_plugin"


def test_a_plugin_that_makes_the_tests_is_to_be_kept(profiled, monkeypatch, tmp_path) -> None:
    """Tests that are of a plugin's class would not be collected without it."""
    files = {
        "kind_plugin.py": PLUGIN
        + "    def pytest_pycollect_makeitem(collector, name, obj):\n"
        + "        if name == 'test_b': return Kind.from_parent(collector, name=name)\n",
        "test_a.py": TESTS.format(more="") + "def test_b(): pass\n",
    }
    found = advice_on(profiled, "kind_plugin", monkeypatch, tmp_path, files)
    assert (found.saving_ns, found.remedy) == (None, "keep: tests are of its kind")


def test_a_plugins_fixture_is_nobodys_to_change(profiled, monkeypatch, tmp_path) -> None:
    """Another scope is advised for the suite's own fixtures only."""
    monkeypatch.syspath_prepend(tmp_path)
    files = {"scoped_plugin.py": PLUGIN, "test_a.py": TESTS.format(more="")}
    found = profiled(files, "-p", "scoped_plugin")
    assert found.fixture("unasked").owner == "scoped_plugin"
    assert not [each for each in found.suite.advice if each.kind == "fixture"]


def test_methods_of_fixtures_are_theirs_again(profiled, monkeypatch, tmp_path) -> None:
    """Nothing stands before a fixture once the session is over."""
    monkeypatch.syspath_prepend(tmp_path)
    files = {
        "left_plugin.py": PLUGIN,
        "conftest.py": """
            import sys
            def pytest_collection_finish(session):
                info = session.items[0]._fixtureinfo
                sys.left_by_profile = info.name2fixturedefs["unasked"][-1]
        """,
        "test_a.py": TESTS.format(more=""),
    }
    profiled(files, "-p", "left_plugin")
    fixturedef = sys.__dict__.pop("left_by_profile")
    assert {"execute", "finish"}.isdisjoint(vars(fixturedef))
