"""What is said to do about fixtures: a wider scope where pytest allows it, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pluginhost.pytest_plugin.scopes import SCOPES, narrower
from pluginhost.suite import SuiteAdvice

SLOW = """
    import pytest, time

    @pytest.fixture(scope='module')
    def of_module(): return 1

    @pytest.fixture(scope='package')
    def of_package(): return 1

    {decorator}
    def slow({names}):
        time.sleep(0.05)
        return 2
"""
TESTS = "import pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_a(n, slow): pass\n"


def advice_on(found, name: str = "slow") -> SuiteAdvice | None:
    assert found.code == 0, found.out
    advice = [each for each in found.suite.advice if each.kind == "fixture"]
    return next((each for each in advice if each.subject == name), None)


@pytest.mark.parametrize(
    ("names", "scope", "saved"),
    [
        pytest.param("", "session", 7, id="nothing"),
        pytest.param("of_package", "package", 7, id="of a package"),
        pytest.param("of_module, of_package", "module", 6, id="of a module"),
    ],
)
def test_the_widest_scope_that_is_allowed_is_advised(profiled, names, scope, saved) -> None:
    """What it requests limits it, and what is predicted is what is sure to be saved."""
    text = SLOW.format(decorator="@pytest.fixture", names=names)
    found = profiled({"conftest.py": text, "test_a.py": TESTS, "test_b.py": TESTS})
    advice = advice_on(found)
    assert advice is not None
    assert advice.remedy == f'scope="{scope}" if shared'
    row = found.fixture("slow")
    assert advice.saving_ns == pytest.approx(row.self_ns * saved / 8, rel=0.01)
    wider = SLOW.format(decorator=f"@pytest.fixture(scope='{scope}')", names=names)
    after = profiled({"conftest.py": wider, "test_a.py": TESTS, "test_b.py": TESTS})
    assert after.code == 0, after.out
    assert after.fixture("slow").setups == 8 - saved
    assert advice_on(after) is None


@pytest.mark.parametrize(
    "names", ["tmp_path", "monkeypatch", "tmp_path_factory, capsys", "request"]
)
def test_no_scope_is_advised_where_pytest_would_refuse_it(profiled, names) -> None:
    """Fixtures of pytest have scopes as well, and what takes `request` may do anything with it."""
    text = SLOW.format(decorator="@pytest.fixture", names=names)
    assert advice_on(profiled({"conftest.py": text, "test_a.py": TESTS})) is None


def test_what_a_fixture_requests_may_be_another_one_elsewhere(profiled, tmp_path) -> None:
    """Where one file overrides what is requested, or gives it by parameters, that limits it too."""
    text = SLOW.format(decorator="@pytest.fixture", names="given") + (
        "    @pytest.fixture(scope='session')\n    def given(): return 3\n"
    )
    files = {"conftest.py": text, "test_a.py": TESTS}
    advice = advice_on(profiled(files))
    assert advice is not None
    assert advice.remedy == 'scope="session" if shared'
    own = "\n@pytest.fixture(scope='module')\ndef given(): return 4\n"
    advice = advice_on(profiled(files | {"test_b.py": TESTS + own}))
    assert advice is not None
    assert advice.remedy == 'scope="module" if shared'
    (tmp_path / "test_b.py").unlink()
    given = "\n@pytest.mark.parametrize('given', [5])\ndef test_b(slow, given): pass\n"
    assert advice_on(profiled(files | {"test_c.py": TESTS + given})) is None


def test_a_fixture_in_a_class_may_keep_things_on_the_instance(profiled) -> None:
    """With a wider scope it would have another instance than the tests."""
    text = """
        import pytest, time
        class TestK:
            @pytest.fixture(autouse=True)
            def slow(self):
                time.sleep(0.05)
                self.kept = 1
            @pytest.mark.parametrize('n', range(4))
            def test_a(self, n): assert self.kept
    """
    assert advice_on(profiled({"test_a.py": text})) is None


XUNIT = """
    import time, unittest

    def setup_module(): time.sleep(0.05)
    def setup_function(function): time.sleep(0.05)
    def test_one(): pass
    def test_two(): pass

    class TestK:
        def setup_class(cls): time.sleep(0.05)
        def setup_method(self): time.sleep(0.05)
        def test_a(self): pass
        def test_b(self): pass

    class TestDown:
        def teardown_method(self): time.sleep(0.05)
        def test_a(self): pass
        def test_b(self): pass

    class Unit(unittest.TestCase):
        @classmethod
        def setUpClass(cls): time.sleep(0.05)
        def test_a(self): pass

    class UnitDown(unittest.TestCase):
        @classmethod
        def tearDownClass(cls): time.sleep(0.05)
        def test_a(self): pass
"""


def test_setup_methods_are_called_as_the_test_file_calls_them(profiled) -> None:
    """pytest makes fixtures of them, under names of its own; they are the test file's."""
    found = profiled({"tests/test_k.py": XUNIT})
    assert found.code == 0, found.out
    rows = {row.name: row for row in found.suite.fixtures if row.self_ns > 10_000_000}
    assert set(rows) == {
        "setup_module",
        "setup_function",
        "setup_class of TestK",
        "setup_method of TestK",
        "teardown_method of TestDown",
        "setUpClass of Unit",
        "tearDownClass of UnitDown",
    }
    assert {(row.defined_in, row.owner, row.own) for row in rows.values()} == {
        ("tests/test_k.py", None, False)
    }
    assert rows["setup_method of TestK"].setups == 2
    assert not [each for each in found.suite.advice if each.kind == "fixture"]


@given(st.lists(st.sampled_from(["", *SCOPES]), min_size=1))
def test_scopes_are_ordered(scopes) -> None:
    """What is not known is the narrowest, and no scope is narrower than itself."""
    ordered = ["", *SCOPES]
    for one in scopes:
        for other in scopes:
            assert narrower(one, other) == (ordered.index(one) < ordered.index(other))
