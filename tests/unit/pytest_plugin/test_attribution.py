"""Where the time goes: to the body, the fixture, the plugin, the import that took it, once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pluginhost.suite import SuitePart

Profiled = Callable[..., "object"]
SLEEP = "import time\n\ndef nap(ms):\n    time.sleep(ms / 1000)\n"
MS = 1_000_000


def test_parts_add_up_to_the_whole(profiled) -> None:
    """Each part is there once, none is negative, and together they are the wall time, exactly."""
    found = profiled({"test_a.py": "def test_a(tmp_path): pass\n"})
    assert found.code == 0
    assert [each.part for each in found.suite.parts] == list(SuitePart)
    assert sum(each.self_ns for each in found.suite.parts) == found.suite.wall_ns
    assert all(each.self_ns >= 0 for each in found.suite.parts)
    assert sum(each.share for each in found.suite.parts) == pytest.approx(1)


def test_of_many_tests_the_reporting_is_estimated(profiled) -> None:
    """Every phase is counted; some are timed, and stand for the others, in time that pytest took."""
    found = profiled({"test_a.py": "".join(f"def test_{n}(): pass\n" for n in range(300))})
    rows = {(row.plugin, row.hook): row for row in found.report.costs.hooks}
    for plugin in ("runner", "terminalreporter", "pluginhost-profile"):
        hook = "makereport" if plugin == "runner" else "logreport"
        row = rows[plugin, f"pytest_runtest_{hook}"]
        assert row.calls == 900
        assert 700 < row.untimed < 800
        assert row.self_ns > 0
    assert sum(each.self_ns for each in found.suite.parts) == found.suite.wall_ns
    assert len(found.suite.tests.ids) == 300
    assert any("their rows are estimates" in note for note in found.suite.notes)


def test_calls_from_bodies_are_not_the_bodies_time(profiled) -> None:
    """Of each test on its own: one that calls a hook of a plugin that sleeps, and one that does not."""
    conftest = """
        import time, pytest
        class Specs:
            @pytest.hookspec
            def pytest_nap(self): pass
        def pytest_addhooks(pluginmanager): pluginmanager.add_hookspecs(Specs)
        def pytest_nap(): time.sleep(0.03)
    """
    tests = """
        import time
        def test_calls(pytestconfig): pytestconfig.hook.pytest_nap()
        def test_sleeps(): time.sleep(0.03)
        def test_both(pytestconfig):
            time.sleep(0.03)
            pytestconfig.hook.pytest_nap()
        def test_neither(): pass
    """
    found = profiled({"conftest.py": conftest, "test_a.py": tests}, "-p", "no:randomly")
    calls, sleeps, both, neither = (
        found.test(f"test_{name}") for name in ("calls", "sleeps", "both", "neither")
    )
    assert calls["call_ns"] - calls["self_ns"] >= 29 * MS
    assert sleeps["self_ns"] >= 30 * MS
    assert both["call_ns"] - both["self_ns"] >= 29 * MS
    assert both["self_ns"] >= 30 * MS
    assert neither["call_ns"] - neither["self_ns"] < 29 * MS


def test_rows_of_plugins_add_up_as_well(profiled) -> None:
    """The costs of plugins in the same report keep their own promise."""
    costs = profiled({"test_a.py": "def test_a(): pass\n"}).report.costs
    rows_ns = costs.application.self_ns + sum(row.self_ns for row in costs.plugins)
    assert rows_ns + costs.measuring.total_ns + costs.unattributed_ns == costs.wall_ns


def test_a_body_is_charged_to_its_test(profiled) -> None:
    """A test that sleeps has the time of its sleep, and the part of tests has all bodies."""
    found = profiled(
        {"test_a.py": "import time\ndef test_a(): time.sleep(0.05)\ndef test_b(): pass\n"}
    )
    assert found.test("test_a")["self_ns"] >= 50 * MS
    assert found.test("test_b")["self_ns"] < found.test("test_a")["self_ns"]
    assert sum(found.suite.tests.self_ns) == found.part_ns(SuitePart.TESTS)


def test_waiting_is_told_from_working(profiled) -> None:
    """A body that sleeps uses no CPU; one that computes does."""
    found = profiled(
        {
            "test_a.py": """
                import time
                def test_waits(): time.sleep(0.05)
                def test_works():
                    end = time.thread_time() + 0.05
                    while time.thread_time() < end: pass
            """
        }
    )
    assert found.test("test_waits")["cpu_ns"] < found.test("test_works")["cpu_ns"]
    assert found.test("test_works")["cpu_ns"] >= 49 * MS


def test_a_fixture_is_charged_once_and_not_to_the_first_test(profiled) -> None:
    """A session fixture has its own row; the test that came first has nothing of it."""
    found = profiled(
        {
            "test_a.py": """
                import time, pytest
                @pytest.fixture(scope="session")
                def slow():
                    time.sleep(0.05)
                    yield
                    time.sleep(0.03)
                def test_a(slow): pass
                def test_b(slow): pass
            """
        }
    )
    row = found.fixture("slow")
    assert (row.setups, row.teardowns, row.scope, row.owner) == (1, 1, "session", None)
    assert row.defined_in == "test_a.py"
    assert row.setup_ns >= 50 * MS
    assert row.teardown_ns >= 30 * MS
    assert found.test("test_a")["self_ns"] < row.setup_ns
    assert found.test("test_a")["setup_ns"] >= 50 * MS
    assert found.part_ns(SuitePart.FIXTURES) >= row.self_ns >= 80 * MS


def test_a_fixture_has_nothing_of_those_that_it_requests(profiled) -> None:
    """Neither of those in its signature nor of those it asks for while it runs."""
    found = profiled(
        {
            "test_a.py": """
                import time, pytest
                @pytest.fixture
                def low():
                    time.sleep(0.04)
                    yield
                    time.sleep(0.04)
                @pytest.fixture
                def late():
                    time.sleep(0.04)
                @pytest.fixture
                def top(low, request):
                    request.getfixturevalue("late")
                    request.addfinalizer(lambda: time.sleep(0.01))
                def test_a(top): pass
            """
        }
    )
    top = found.fixture("top")
    assert top.setup_ns < found.fixture("late").setup_ns
    assert 10 * MS <= top.teardown_ns < found.fixture("low").teardown_ns
    assert found.fixture("low").self_ns >= 80 * MS
    assert found.fixture("late").setup_ns >= 40 * MS


def test_what_a_body_asks_for_is_not_its_own(profiled) -> None:
    """A fixture and a module that a test gets while it runs are charged to themselves."""
    found = profiled(
        {
            "helper_that_naps.py": "import time\ntime.sleep(0.04)\n",
            "test_a.py": """
                import time, pytest
                @pytest.fixture
                def late(): time.sleep(0.03)
                def test_a(request):
                    request.getfixturevalue("late")
                    import sys, os
                    sys.path.insert(0, os.path.dirname(__file__))
                    import helper_that_naps
                    time.sleep(0.01)
                def test_b(): pass
            """,
        }
    )
    row = found.test("test_a")
    assert row["call_ns"] >= 80 * MS
    assert 10 * MS <= row["self_ns"] <= row["call_ns"] - 70 * MS
    assert found.part_ns(SuitePart.IMPORTS) >= 40 * MS
    assert found.suite.imports[0].module == "helper_that_naps"
    assert sum(found.suite.tests.self_ns) == found.part_ns(SuitePart.TESTS)


BODIES = {
    "unittest": """
        import time, unittest
        class T(unittest.TestCase):
            def test_a(self): time.sleep(0.03)
    """,
    "parametrised": """
        import time, pytest
        @pytest.mark.parametrize("n", [1])
        def test_a(n): time.sleep(0.03)
    """,
    "failing": """
        import time
        def test_a():
            time.sleep(0.03)
            assert False
    """,
    "skipping": """
        import time, pytest
        def test_a():
            time.sleep(0.03)
            pytest.skip()
    """,
    "exiting": """
        import time
        def test_a():
            time.sleep(0.03)
            raise SystemExit(3)
    """,
}


@pytest.mark.parametrize("text", BODIES.values(), ids=BODIES)
def test_whatever_runs_a_body_it_is_a_body(profiled, text) -> None:
    """Tests of all kinds and with all ends have their time in the part of tests."""
    found = profiled({"test_a.py": text})
    assert found.suite.test_count == 1
    assert found.suite.tests.self_ns[0] >= 30 * MS
    assert found.part_ns(SuitePart.TESTS) >= 30 * MS


def test_a_doctest_is_a_test(profiled) -> None:
    """What pytest has no function for is a body as well."""
    text = ">>> import time\n>>> time.sleep(0.03)\n"
    found = profiled({"test_a.txt": text}, "--doctest-glob=*.txt")
    assert found.test("test_a.txt")["self_ns"] >= 30 * MS


def test_an_implementation_that_runs_tests_in_its_own_way_runs_bodies(profiled) -> None:
    """What a plugin runs in place of pytest is a body; what it declines to run is not."""
    found = profiled(
        {
            "conftest.py": """
                import time
                def pytest_pyfunc_call(pyfuncitem):
                    if "special" in pyfuncitem.name:
                        time.sleep(0.03)
                        return True
            """,
            "test_a.py": "def test_special(): raise ValueError\ndef test_plain(): pass\n",
        }
    )
    assert found.outcomes() == {"test_special": "passed", "test_plain": "passed"}
    assert found.test("test_special")["self_ns"] >= 30 * MS
    plugin = next(row for row in found.report.costs.plugins if row.name == "conftest.py")
    assert plugin.hooks_self_ns < found.test("test_special")["self_ns"]


def test_conftest_and_test_files_have_their_imports(profiled) -> None:
    """Importing a file has a figure, its slow modules below it, and the part has all of it."""
    found = profiled(
        {
            "slow_module.py": "import time\ntime.sleep(0.05)\n",
            "conftest.py": """
                import sys, os
                sys.path.insert(0, os.path.dirname(__file__))
                import slow_module
            """,
            "test_a.py": "import time\ntime.sleep(0.03)\ndef test_a(): pass\n",
        }
    )
    conftest, test = found.file("conftest.py"), found.file("test_a.py")
    assert conftest.conftest
    assert conftest.import_ns >= 45 * MS  # recording is taken off, by an estimate
    assert conftest.import_self_ns <= conftest.import_ns - 45 * MS
    assert [each.module for each in conftest.imports][:1] == ["slow_module"]
    assert test.import_self_ns >= 25 * MS
    assert test.tests == 1
    assert found.part_ns(SuitePart.IMPORTS) >= 70 * MS


def test_a_conftest_file_is_not_among_what_it_imports(profiled) -> None:
    """However pytest imports it, its own code is its own, and no advice says to import it later."""
    text = "import time\ntime.sleep(0.05)\n"
    files = {"sub/conftest.py": text, "sub/test_a.py": "def test_a(): pass\n"}
    found = profiled(files, "--import-mode=prepend")
    conftest = found.file("sub/conftest.py")
    assert conftest.import_self_ns >= 50 * MS
    assert "conftest" not in [each.module for each in conftest.imports]
    assert not [each for each in found.suite.advice if "conftest.py: conftest" in each.subject]


def test_hooks_in_a_conftest_are_those_of_a_plugin(profiled) -> None:
    """A hook that sleeps is charged to the file it stands in, not to the tests."""
    found = profiled(
        {
            "conftest.py": "import time\ndef pytest_runtest_setup(item): time.sleep(0.03)\n",
            "test_a.py": "def test_a(): pass\n",
        }
    )
    row = next(row for row in found.report.costs.plugins if row.name == "conftest.py")
    assert row.hooks_self_ns >= 30 * MS
    assert found.part_ns(SuitePart.PLUGINS) >= 30 * MS


def test_rewriting_has_a_part(profiled) -> None:
    """The first time, test files are rewritten, and that is told apart from importing them."""
    found = profiled(
        {"test_a.py": "\n".join(f"def test_{n}(): assert {n} == {n}" for n in range(300))}
    )
    assert found.file("test_a.py").rewriting_ns > 0
    assert found.part_ns(SuitePart.REWRITING) >= found.file("test_a.py").rewriting_ns


def test_markers_have_rows(profiled) -> None:
    """Each marker has its tests and their bodies."""
    found = profiled(
        {
            "test_a.py": """
                import time, pytest
                pytestmark = pytest.mark.filterwarnings("ignore")
                @pytest.mark.skipif(False, reason="no")
                def test_a(): time.sleep(0.02)
                def test_b(): pass
            """
        }
    )
    rows = {row.name: row for row in found.suite.markers}
    assert rows["filterwarnings"].tests == 2
    assert rows["skipif"].tests == 1
    assert rows["skipif"].self_ns >= 20 * MS


def test_tests_that_look_alike_have_the_markers_of_where_they_are(profiled) -> None:
    """What is worked out once is what a class, a function and a parameter have in common."""
    found = profiled(
        {
            "pytest.ini": "[pytest]\nmarkers =\n  one\n  other\n",
            "test_a.py": """
                import pytest
                one, other = pytest.mark.one, pytest.mark.other
                @one
                def test_a(): pass
                @pytest.mark.parametrize("n", [1, pytest.param(2, marks=other), 3])
                def test_b(n): pass
                @other
                class TestK:
                    @one
                    def test_a(self): pass
                    def test_c(self): pass
                class TestL:
                    def test_c(self): pass
            """,
        }
    )
    tests = found.suite.tests
    sets = {
        each.partition("::")[2]: found.suite.marker_sets[number]
        for each, number in zip(tests.ids, tests.markers, strict=True)
    }
    assert sets == {
        "test_a": ("one",),
        "test_b[1]": ("parametrize",),
        "test_b[2]": ("other", "parametrize"),
        "test_b[3]": ("parametrize",),
        "TestK::test_a": ("one", "other"),
        "TestK::test_c": ("other",),
        "TestL::test_c": (),
    }


def test_a_failing_fixture_is_charged_and_counted(profiled) -> None:
    """The error has a figure, its test an outcome, and teardown that was promised is still charged."""
    found = profiled(
        {
            "test_a.py": """
                import time, pytest
                @pytest.fixture
                def broken(request):
                    request.addfinalizer(lambda: time.sleep(0.02))
                    time.sleep(0.02)
                    raise ValueError
                def test_a(broken): pass
            """
        }
    )
    row = found.fixture("broken")
    assert (row.setups, row.errors) == (1, 1)
    assert row.setup_ns >= 20 * MS
    assert row.teardown_ns >= 20 * MS
    assert found.outcomes() == {"test_a": "error"}


def test_pytests_own_fixtures_are_told_apart(profiled) -> None:
    """`tmp_path` is pytest's; what unittest and xunit classes define is the tests'."""
    found = profiled(
        {
            "test_a.py": """
                import time
                def setup_module(): time.sleep(0.02)
                def test_a(tmp_path): pass
            """
        }
    )
    assert found.fixture("tmp_path").own
    row = next(row for row in found.suite.fixtures if "setup_module" in row.name)
    assert not row.own
    assert row.setup_ns >= 20 * MS


NESTED = {
    "slowlib.py": "import time\ntime.sleep(0.06)\n",
    "conftest.py": """
        import pytest
        @pytest.fixture
        def auto(): pass
    """,
    "nested/conftest.py": """
        import slowlib
        class Registered: pass
        def pytest_runtest_teardown(item): pass
        def pytest_collection(session): session.config.pluginmanager.register(Registered())
    """,
    "nested/deep/conftest.py": "import time\ntime.sleep(0.03)\n",
    "nested/deep/test_d.py": "def test_d(auto): pass\n",
    "test_a.py": "def test_a(auto): pass\n",
}


def test_a_plugin_that_a_conftest_asks_for_is_no_part_of_it(profiled, monkeypatch) -> None:
    """Its import has the row of the plugin, and the conftest is not blamed for it as well."""
    monkeypatch.syspath_prepend(".")
    files = {
        "conftest.py": "import time\npytest_plugins = ['asked_for']\ntime.sleep(0.01)\n",
        "asked_for.py": "import slow_library\ndef pytest_report_header(): pass\n",
        "slow_library.py": "import time\ntime.sleep(0.3)\n",
        "test_a.py": "def test_a(): pass\n",
    }
    found = profiled(files)
    plugin = next(row for row in found.report.costs.plugins if row.name == "asked_for")
    conftest = next(row for row in found.suite.files if row.path == "conftest.py")
    assert plugin.import_ns >= 300 * MS
    assert 10 * MS <= conftest.import_ns < plugin.import_ns
    assert "slow_library" not in {each.module for each in conftest.imports}


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_conftest_files_of_one_module_name_are_told_apart(profiled, monkeypatch, mode) -> None:
    """Each has its own fixtures, imports and hooks, however pytest imports it."""
    monkeypatch.syspath_prepend(".")
    found = profiled(NESTED, f"--import-mode={mode}")
    assert (found.fixture("auto").owner, found.fixture("auto").defined_in) == ("conftest.py",) * 2
    rows = {row.name: row for row in found.report.costs.plugins if row.name.endswith("conftest.py")}
    assert rows["nested/conftest.py"].import_ns >= 60 * MS
    assert rows["nested/deep/conftest.py"].import_ns >= 30 * MS
    assert rows["conftest.py"].import_ns < rows["nested/deep/conftest.py"].import_ns
    assert [name for name, row in rows.items() if row.hooks_self_ns] == ["nested/conftest.py"]
