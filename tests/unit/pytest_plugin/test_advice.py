"""What is said to do about plugins: their fixtures count, and what tests need stays."""

from __future__ import annotations

import sys
from textwrap import dedent

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
    assert found.remedy == "leave out -p unasked_plugin"
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
    assert found.remedy == "leave out -p overridden_plugin"


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


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Return `files(module, text)`: a distribution with a plugin of the same name, as pip leaves it."""
    monkeypatch.syspath_prepend(tmp_path)

    def files(module: str, text: str, *, requires: str = "") -> dict[str, str]:
        metadata = f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n"
        metadata += f"Requires-Dist: {requires}\n" if requires else ""
        info = f"{module}-1.dist-info"
        return {
            f"{module}.py": "import time\ntime.sleep(0.2)\n" + text,
            f"{info}/METADATA": metadata,
            f"{info}/entry_points.txt": f"[pytest11]\n{module} = {module}\n",
            f"{info}/RECORD": f"{module}.py,,\n",
        }

    return files


OPTIONS = """
    CONSTANT = "--constant-option"
    MANY = [("--one-of-many", "no help")]
    def pytest_addoption(parser):
        group = parser.getgroup("mine")
        group.addoption("--own-option", "-Y", help="takes something")
        group.addoption(CONSTANT, action="store_true")
        for name, text in MANY:
            group.addoption(name, help=text)
        add_others(parser)
    def add_others(parser):
        parser.addini("own_mode", "a mode")
        parser.addini("OWN_SETTINGS", "some")
"""


@pytest.mark.parametrize(
    ("name", "used", "why"),
    [
        ("opts_long", "--own-option=3", "--own-option is used"),
        ("opts_short", "-Y3", "-Y is used"),
        ("opts_constant", "--constant-option", "--constant-option is used"),
        ("opts_of_many", "--one-of-many=1", "--one-of-many is used"),
        ("opts_addopts", "addopts = --own-option 3", "--own-option is used"),
        ("opts_key", "own_mode = auto", "own_mode is set"),
        ("opts_overridden", "-o own_mode=auto", "own_mode is set"),
        ("opts_required", "required_plugins = opts_required", "required_plugins has it"),
        ("opts_nothing", "", None),
        ("opts_other_key", "markers = own: no option", None),
    ],
)
def test_a_plugin_whose_options_are_used_is_to_be_kept(
    profiled, installed, name, used, why
) -> None:
    """Without it pytest would not know them, or do another thing: no saving is promised."""
    words = used.split() if used.startswith("-") else []
    files = installed(name, dedent(OPTIONS)) | {
        "pytest.ini": "[pytest]\n" + ("" if words else used),
        "test_a.py": "def test_a(): pass\n",
    }
    found = profiled(files, *words)
    assert found.code == 0, found.out
    advice = next(each for each in found.suite.advice if each.subject == name)
    if why is None:
        assert advice.remedy == f"-p no:{name}"
        assert advice.saving_ns is not None
        assert profiled(files, *words, "-p", f"no:{name}").code == 0
    else:
        assert (advice.remedy, advice.saving_ns) == (f"keep: {why}", None)


def test_an_environment_variable_of_a_plugin_counts_as_its_option(
    profiled, installed, monkeypatch
) -> None:
    """As with the key of the same name in the configuration file."""
    monkeypatch.setenv("OWN_SETTINGS", "shop.settings")
    files = installed("opts_env", dedent(OPTIONS)) | {"test_a.py": "def test_a(): pass\n"}
    found = profiled(files)
    advice = next(each for each in found.suite.advice if each.subject == "opts_env")
    assert advice.remedy == "keep: OWN_SETTINGS is set"


def test_a_plugin_that_another_requires_is_to_be_kept(profiled, installed) -> None:
    """The other may fail without it, and ends the whole session then."""
    files = {
        **installed("lower_plugin", ""),
        **installed("upper_plugin", "", requires="Lower.Plugin>=1"),
        "test_a.py": "def test_a(): pass\n",
    }
    found = profiled(files)
    remedies = {each.subject: each.remedy for each in found.suite.advice}
    assert remedies["lower_plugin"] == "keep: upper_plugin needs it"
    assert remedies["upper_plugin"] == "-p no:upper_plugin"
    del sys.modules["lower_plugin"]
    alone = profiled(files, "-p", "no:upper_plugin")
    remedies = {each.subject: each.remedy for each in alone.suite.advice}
    assert remedies["lower_plugin"] == "-p no:lower_plugin"


@pytest.mark.parametrize("words", [["-p", "by_name_a"], ["-pby_name_a"]])
def test_a_plugin_that_is_found_anyway_is_left_out_in_place_of_its_name(
    profiled, installed, words
) -> None:
    """Leaving out its name only would change nothing, where an entry point has it as well."""
    files = installed("by_name_a", "") | {"test_a.py": "def test_a(): pass\n"}
    found = profiled(files, *words)
    advice = next(each for each in found.suite.advice if each.subject == "by_name_a")
    assert advice.remedy == "-p no:by_name_a in place of -p by_name_a"


def test_a_name_in_the_configuration_counts_too(profiled, monkeypatch, tmp_path) -> None:
    """The remedy is to take it out there: `-p no:` on the command line comes too late for imports."""
    monkeypatch.syspath_prepend(tmp_path)
    files = {
        "by_name_b.py": PLUGIN,
        "pytest.ini": "[pytest]\naddopts = -p by_name_b\n",
        "test_a.py": TESTS.format(more=""),
    }
    found = profiled(files)
    advice = next(each for each in found.suite.advice if each.subject == "by_name_b")
    assert advice.remedy == "leave out -p by_name_b"
    assert "imports not measured, hooks" in advice.finding  # it came before us
    assert any("not measured: by_name_b" in note for note in found.suite.notes)


TIMES = """
    import time
    def work(s):
        end = time.process_time() + s
        while time.process_time() < end: pass
    def test_sleeps(): time.sleep(0.5)
    def test_works(): work(0.3)
    def test_third(): time.sleep(0.4)
    def test_fourth(): time.sleep(0.1)
    def test_short(): pass
"""


def test_long_tests_are_told_with_what_to_do(profiled) -> None:
    """The longest three: one that waits may be made to wait less, one that works to run apart."""
    found = profiled({"test_times.py": TIMES}, "-p", "no:hypothesispytest")
    advice = {
        each.subject.partition("::")[2]: each for each in found.suite.advice if each.kind == "test"
    }
    assert set(advice) == {"test_sleeps", "test_works", "test_third"}
    assert advice["test_sleeps"].remedy == "see what it waits for"
    assert advice["test_sleeps"].finding.startswith("waits ")
    assert advice["test_works"].remedy == 'mark it slow, -m "not slow"'
    assert advice["test_works"].saving_ns == found.test("::test_works")["self_ns"]
    assert "test_times.py::test_sleeps: " in found.out


RUN_AGAIN = """
    import time, pytest
    def pytest_runtest_protocol(item, nextitem):
        from _pytest.runner import runtestprotocol
        for _ in range(2):
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            runtestprotocol(item, nextitem=nextitem)
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True
"""


def test_a_test_that_ran_again_is_told_once(profiled) -> None:
    """A marker leaves out all its runs."""
    text = TIMES.replace("    def test_works", "    @pytest.mark.slow\n    def test_works")
    files = {
        "conftest.py": RUN_AGAIN,
        "pytest.ini": "[pytest]\nmarkers = slow: takes long\n",
        "test_again.py": text.replace("import time", "import time, pytest", 1),
    }
    found = profiled(files)
    assert found.code == 0, found.out
    assert len(found.suite.tests.ids) == 10
    advice = [each for each in found.suite.advice if each.kind == "test"]
    ids = [each.subject.partition("::")[2] for each in advice]
    assert sorted(ids) == ["test_sleeps", "test_third", "test_works"]
    assert advice[ids.index("test_works")].remedy == '-m "not slow"'


def test_short_tests_need_nothing(profiled) -> None:
    """Below a twentieth of the whole there is nothing to do."""
    found = profiled({"test_short.py": "def test_a(): pass\n"})
    assert not [each for each in found.suite.advice if each.kind == "test"]


@pytest.mark.parametrize("kept", [True, False])
def test_rewriting_that_nothing_is_kept_of_is_told(profiled, monkeypatch, kept: bool) -> None:
    """Images of containers often have it so; with byte code there is nothing to tell."""
    monkeypatch.setattr(sys, "dont_write_bytecode", not kept)
    body = "".join(f"    assert {n} == {n}\n" for n in range(1_000))
    found = profiled({"test_a.py": f"def test_a():\n{body}"}).suite.advice
    told = [each for each in found if each.subject == "assertions"]
    assert [each.remedy for each in told] == ["unset PYTHONDONTWRITEBYTECODE"] * (not kept)
    assert all((each.saving_ns or 0) > 0 for each in told)
