"""What comes of a profile: the section in the terminal, files, a baseline, and bad input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import tracemalloc
import xml.etree.ElementTree as ET
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from pluginhost import observe
from pluginhost.attribution.hooks import hook_costs
from pluginhost.cli.lines import run_lines
from pluginhost.comparison import compare
from pluginhost.pytest_plugin.markdown import escaped
from pluginhost.rendering.lines import plain
from pluginhost.rendering.suite import suite_lines
from pluginhost.report import read_report
from pluginhost.suite import SuiteAdvice, SuitePart, WorkerCost

from .conftest import OURS, QUIET, Profiled

SUITE = {
    "conftest.py": """
        import time, pytest
        @pytest.fixture
        def slow(): time.sleep(PAUSE)
    """,
    "test_a.py": """
        import pytest
        @pytest.mark.parametrize("n", range(12))
        def test_a(n, slow): pass
    """,
}


def suite(pause: float = 0.01) -> dict[str, str]:
    return {**SUITE, "conftest.py": SUITE["conftest.py"].replace("PAUSE", str(pause))}


def section_of(out: str) -> list[str]:
    lines = out.splitlines()
    start = next(n for n, line in enumerate(lines) if "where the time went" in line)
    end = next(n for n, line in enumerate(lines) if "-v shows more" in line)
    return lines[start : end + 1]


def test_the_section_says_what_matters_in_25_lines(profiled) -> None:
    """The answer comes first and adds up to 100 %, lines fit the terminal, the costly fixture is named."""
    lines = section_of(profiled(suite(0.04)).out)
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 80
    shares = re.findall(r"(\d+) % ", " ".join(lines[1:4]))
    assert sum(map(int, shares)) == 100
    assert "unattributed" in " ".join(lines[1:4])
    text = "\n".join(lines)
    assert re.search(r"^fixture +slow \(conftest\.py\) +12 ", text, re.MULTILINE)
    assert re.search(r'slow: set up 12 times.* -> scope="session"', text)


def test_with_all_there_can_be_the_section_has_25_lines_still(profiled) -> None:
    """Rows that cost less give way; what is missing, advice and the last line stay."""
    report = profiled(suite()).report
    assert report is not None
    assert report.suite is not None
    assert report.costs is not None
    fixture = report.suite.fixtures[0]
    file = report.suite.files[0]
    whole_ns = report.suite.wall_ns
    worst = replace(
        report.suite,
        incomplete=tuple(f"gw{n}: crashed ({'for a long reason ' * 20})" for n in range(5)),
        fixtures=tuple(replace(fixture, self_ns=whole_ns // 3 - n) for n in range(5)),
        files=tuple(replace(file, import_ns=whole_ns // 5 + n) for n in range(5)),
        tests=replace(report.suite.tests, self_ns=(whole_ns // 9,) * 12),
        advice=(SuiteAdvice(kind="plugin", subject="x", finding="y", remedy="z"),) * 9,
        workers=tuple(WorkerCost(id=f"gw{n}", wall_ns=9, idle_ns=n) for n in range(40)),
        memory="rss",
    )
    lines = list(suite_lines(report.costs, worst, worked_ns=1))
    assert len(lines) <= 24
    text = plain(lines)
    assert "... and 3 more: -v" in text
    assert "What to do" in text
    assert f"fixture   {fixture.name}" in text
    assert max(map(len, text.splitlines())) <= 80
    assert len(list(suite_lines(report.costs, worst, verbosity=1))) > 40


def test_imports_while_tests_run_have_rows(profiled) -> None:
    """Nobody would look for them in a body; of a package the import that has the others in it."""
    files = {
        "lazy/__init__.py": "import time, lazy.inner\ntime.sleep(0.2)\n",
        "lazy/inner.py": "import time\ntime.sleep(0.2)\n",
        "conftest.py": "import sys, pathlib; sys.path.insert(0, str(pathlib.Path(__file__).parent))\n",
        "test_a.py": "def test_a(): import lazy\n",
    }
    lines = section_of(profiled(files).out)
    rows = [line for line in lines if line.startswith("import")]
    assert [row.split()[1] for row in rows if "lazy" in row] == ["lazy"]
    assert re.search(r"^import +lazy \(while tests run\) +1 +[4-9]\d\dms", rows[0])


def test_the_time_for_working_it_out_is_said(profiled) -> None:
    """What the section itself takes is in no row of it, and the user waits for it all the same."""
    text = " ".join(" ".join(section_of(profiled(suite()).out)).split())
    assert re.search(r"measuring cost \S+ [mu]?s so far, working this out \S+ [mu]?s more", text)


@pytest.mark.parametrize("memory", ["rss", "exact"])
def test_memory_that_was_asked_for_is_shown(profiled, memory: str) -> None:
    """With the test that needs most of it."""
    files = {
        "test_a.py": """
            def test_small(): pass
            def test_large(): b = bytearray(60_000_000); b[::4096] = bytes(len(b[::4096]))
        """
    }
    section = section_of(profiled(files, f"--plugin-profile-memory={memory}").out)
    text = " ".join(" ".join(section).split())
    assert re.search(r"memory \(.*(MiB|KiB)", text)
    if memory == "exact":
        assert re.search(r"peak \S+ MiB in test_a\.py::test_large", text)


def test_quiet_is_one_line_and_verbose_is_more(profiled) -> None:
    """`-q` leaves the answer; `-v` has the parts, files, markers and notes."""
    quiet = profiled(suite(), "-q").out
    assert (
        len([line for line in quiet.splitlines() if "unattributed" in line or "% tests" in line])
        <= 1
    )
    assert "What to do" not in quiet
    verbose = profiled(suite(), "-v").out
    assert re.search(r"^in all .* 100\.0$", verbose, re.MULTILINE)
    assert "marker parametrize: 12 tests" in verbose


@pytest.mark.parametrize(
    ("arguments", "in_full"),
    [
        pytest.param((), False, id="short"),
        pytest.param(("-q",), False, id="quiet"),
        pytest.param(("-v",), True, id="verbose"),
        pytest.param(("--plugin-profile-html=page.html",), True, id="file"),
    ],
)
def test_what_nobody_is_shown_is_not_worked_out(profiled, monkeypatch, arguments, in_full) -> None:
    """Rows for each hook are for files, and the short section needs none."""
    asked: list[int] = []

    def counted(captures, nodes):
        rows = hook_costs(captures, nodes)
        asked.append(len(rows))
        return rows

    monkeypatch.setattr("pluginhost.attribution.hooks.hook_costs", counted)
    found = profiled(suite(), "--plugin-profile", *arguments, profile=False)
    assert found.code == 0, found.out
    assert bool(asked) is in_full
    assert all(asked)


def test_without_being_asked_nothing_is_shown_or_imported(profiled) -> None:
    """The options are there, and that is all."""
    found = profiled({"test_a.py": "def test_a(): pass\n"}, profile=False)
    assert found.code == 0
    assert "where the time went" not in found.out


@pytest.mark.parametrize(
    ("ini", "arguments", "shown"),
    [
        pytest.param("plugin_profile = true", (), True, id="ini"),
        pytest.param("addopts = --plugin-profile", (), True, id="addopts"),
        pytest.param("addopts = --plugin-profile", ("--no-plugin-profile",), False, id="undone"),
        pytest.param("plugin_profile = true", ("--no-plugin-profile",), False, id="ini undone"),
        pytest.param("", ("-o", "plugin_profile=true"), True, id="override"),
        pytest.param("", ("-k", "--plugin-profile"), False, id="value of another option"),
    ],
)
def test_it_can_be_asked_for_in_every_way(profiled, ini, arguments, shown) -> None:
    """Configuration files, `addopts`, overriding; and what only looks like it is not."""
    files = {"pytest.ini": f"[pytest]\n{ini}\n", "test_a.py": "def test_a(): pass\n"}
    found = profiled(files, *arguments, profile=False)
    assert ("where the time went" in found.out) is shown


def test_outcomes_and_exit_codes_are_those_without(profiled) -> None:
    """All kinds of outcomes, with and without a profile."""
    files = {
        "test_a.py": """
            import pytest
            def test_passes(): pass
            def test_fails(): assert 0
            @pytest.mark.skip
            def test_is_skipped(): pass
            @pytest.mark.xfail
            def test_is_expected_to_fail(): assert 0
            @pytest.mark.xfail
            def test_should_fail(): pass
            @pytest.fixture
            def broken(): raise ValueError
            def test_errs(broken): pass
            @pytest.fixture
            def ends_badly():
                yield
                raise ValueError
            def test_ends_badly(ends_badly): pass
        """
    }
    bare, found = profiled(files, "-rA", profile=False), profiled(files, "-rA")
    assert found.code == bare.code == 1
    pattern = re.compile(r"^(?:PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS).*", re.MULTILINE)
    assert sorted(pattern.findall(found.out)) == sorted(pattern.findall(bare.out))
    assert found.outcomes() == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_is_skipped": "skipped",
        "test_is_expected_to_fail": "xfailed",
        "test_should_fail": "xpassed",
        "test_errs": "error",
        "test_ends_badly": "error",
    }


@pytest.mark.parametrize("style", ["--tb=auto", "--tb=native", "--full-trace"])
def test_tracebacks_are_those_of_the_bare_run(profiled, style: str) -> None:
    """Of a test that fails, a fixture, a finalizer, a hook wrapper, an import: to the letter."""
    files = {
        "conftest.py": """
            import pytest
            @pytest.fixture
            def broken(): raise ValueError
            @pytest.fixture
            def above(broken): pass
            @pytest.hookimpl(wrapper=True)
            def pytest_runtest_call(item):
                yield
                if item.name == "test_wrapped": raise OSError
        """,
        "test_a.py": """
            import pytest, unittest
            def test_fails(): assert 0
            def test_errs(broken): pass
            def test_errs_below(above): pass
            def test_errs_in_it(request): request.getfixturevalue("above")
            def test_wrapped(): pass
            @pytest.fixture
            def ends_badly():
                yield
                raise ValueError
            def test_ends_badly(ends_badly):
                try: {}["a"]
                except KeyError as error: raise ValueError from error
            def test_group(): raise ExceptionGroup("of two", [ValueError(1), KeyError(2)])
            def test_warns(recwarn): pytest.fail("with words")
            class TestCase(unittest.TestCase):
                def setUp(self): 1/0
                def test_errs(self): pass
                def test_too(self): pass
        """,
        "test_b.py": "import nothing_there\n",
        "test_c.py": "def broken(:\n",
        "test_d.py": "def fails(): 1/0\nfails()\n",
    }
    bare, found = (
        _tracebacks(profiled(files, style, "--continue-on-collection-errors", profile=asked))
        for asked in (False, True)
    )
    assert found == bare
    assert "ends_badly" in bare


def _tracebacks(found: Profiled) -> str:
    """Return what a run printed before its summaries, but for numbers that differ each time."""
    shown = re.split("=+ (?:where the time went|short test summary)", found.out)[0]
    return re.sub(r"0x[0-9a-f]+|oldfd=\d+", "-", shown)


def test_the_json_follows_its_schema_and_can_be_read(profiled, tmp_path: Path) -> None:
    """A report with the part `suite`, which `pluginhost report` reads as well."""
    profiled(suite())
    report = read_report(tmp_path / "profile.json")
    assert report.suite is not None
    assert report.suite.test_count == 12
    assert (
        json.loads((tmp_path / "profile.json").read_text())["suite"]["parts"][0]["part"] == "tests"
    )


def test_a_kept_run_can_be_shown_and_compared_again(profiled, tmp_path: Path) -> None:
    """`pluginhost report` has the answer, `pluginhost compare` the fixtures and files."""
    profiled(suite())
    report = read_report(tmp_path / "profile.json")
    assert "% unattributed" in plain(run_lines(report))
    comparison = compare(report, report)
    names = {change.plugin for change in comparison.costs}
    assert {"fixture slow (conftest.py)", "file test_a.py"} <= names
    assert "fixture slow (conftest.py):set up" in {each.plugin_id for each in comparison.changes}


def test_a_kept_run_is_shown_with_one_answer(profiled, tmp_path: Path) -> None:
    """Not with the launcher's as well, whose shares are of other parts."""
    profiled(suite(), f"--plugin-profile-save={tmp_path}/run.json")
    text = plain(run_lines(read_report(tmp_path / "run.json")))
    assert text.count("unattributed") == 2  # in the answer, and in the table of parts
    assert "most time:" not in text
    assert "Slow imports" in text or "Hooks of plugins" in text


def test_a_page_on_request_has_no_markup_of_strangers(profiled, tmp_path: Path) -> None:
    """HTML and speedscope come from the exporters, whatever tests are called."""
    text = "import pytest\n@pytest.mark.parametrize('x', [1], ids=['<script>x'])\ndef test_a(x): pass\n"
    options = (
        f"--plugin-profile-html={tmp_path}/p.html",
        f"--plugin-profile-speedscope={tmp_path}/p.s",
    )
    profiled({"test_a.py": text}, *options)
    page = (tmp_path / "p.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html")
    assert "<script>x" not in page
    assert "profiles" in json.loads((tmp_path / "p.s").read_text())


def test_junit_properties_on_request(profiled, tmp_path: Path) -> None:
    """The file of --junit-xml has the parts, and all that it has without us."""
    profiled(suite(), f"--junit-xml={tmp_path}/j.xml", "--plugin-profile-junit")
    root = ET.parse(tmp_path / "j.xml").getroot()
    names = {each.get("name") for each in root.iter("property")}
    assert {f"pluginhost.{part}_s" for part in SuitePart} <= names
    assert len(list(root.iter("testcase"))) == 12


def test_markdown_on_request_is_added_to_what_is_there(profiled, tmp_path: Path) -> None:
    """The summary of a CI run has several authors; foreign text does not become markup."""
    (tmp_path / "summary.md").write_text("# CI\n")
    profiled(suite(), f"--plugin-profile-markdown={tmp_path}/summary.md")
    text = (tmp_path / "summary.md").read_text()
    assert text.startswith("# CI\n### Where the tests' time went")
    assert "| fixture | slow |" in text
    assert "<" not in escaped("<b>|`x`\n")


def test_a_slower_fixture_is_named_and_fails_the_run(profiled, tmp_path: Path) -> None:
    """With a baseline and a limit: exit code 1, one line that names the culprit."""
    kept = f"{tmp_path}/base.json"
    assert profiled(suite(0.01), f"--plugin-profile-save={kept}").code == 0
    options = (f"--plugin-profile-baseline={kept}", "--plugin-profile-fail-over=100%")
    same = profiled(suite(0.01), *options)
    assert same.code == 0, same.out
    assert "none is slower" in same.out
    slower = profiled(suite(0.12), *options)
    assert slower.code == 1
    assert re.search(
        r"^pluginhost: FAILED fixture slow \(conftest\.py\): .*p=", slower.out, re.MULTILINE
    )
    told = profiled(suite(0.12), options[0])
    assert told.code == 0
    assert "slower fixture slow" in told.out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "cannot be read", id="missing"),
        pytest.param("{", "is not a report", id="truncated"),
        pytest.param("\0\udcff", "is not a report", id="binary"),
        pytest.param('{"schema_version": 99}', "schema version 99", id="version"),
        pytest.param("other", "of another suite", id="another suite"),
    ],
)
def test_a_bad_baseline_is_told_and_harms_nothing(profiled, tmp_path, content, words) -> None:
    """Missing, truncated, of another version or another suite: pytest's own exit code stays."""
    file = tmp_path / "base.json"
    if content == "other":
        profiled({"test_other.py": "def test_other(): pass\n"}, f"--plugin-profile-save={file}")
        (tmp_path / "test_other.py").unlink()
    elif content is not None:
        file.write_bytes(content.encode("utf-8", "surrogateescape"))
    options = (f"--plugin-profile-baseline={file}", "--plugin-profile-fail-over=10%")
    found = profiled(suite(), *options)
    assert found.code == 0
    assert words in found.out
    assert "--plugin-profile-save" in found.out
    assert "12 passed" in found.out


def test_what_went_wrong_is_told_without_a_terminal_too(profiled, tmp_path: Path) -> None:
    """Where pytest's own terminal is taken out, a line goes to where errors go."""
    options = ("-p", "no:terminal", f"--plugin-profile-baseline={tmp_path}/no-such-file")
    found = profiled({"test_a.py": "def test_a(): pass\n"}, *options)
    assert found.code == 0
    assert re.search(r"^pluginhost: baseline: .*no-such-file", found.out, re.MULTILINE)


def test_a_file_that_cannot_be_written_is_told_before_the_tests(profiled, tmp_path: Path) -> None:
    """A folder that is not there is a usage error, as it is for pytest's own options."""
    found = profiled(suite(), f"--plugin-profile-markdown={tmp_path}/no/such/file")
    assert found.code == 4
    assert "choose a file in a folder that exists" in " ".join(found.out.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(
            ("save=a.json", "baseline=linked.json", "fail-over=50%"),
            "--plugin-profile-save and --plugin-profile-baseline name one file",
            id="baseline, by a link",
        ),
        pytest.param(
            ("html=a.json", "speedscope=./a.json"),
            "--plugin-profile-html and --plugin-profile-speedscope name one file",
            id="two outputs",
        ),
        pytest.param(
            ("save=a.xml", "junit"),
            "--plugin-profile-save and --junit-xml name one file",
            id="JUnit",
        ),
        pytest.param((f"html={'n' * 300}",), "--plugin-profile-html: ", id="long name"),
        pytest.param((f"baseline={'n' * 300}",), "--plugin-profile-baseline: ", id="long baseline"),
        pytest.param(("fail-over=",), "--plugin-profile-fail-over has no value", id="no share"),
        pytest.param(("html=",), "--plugin-profile-html has no value", id="no file"),
    ],
)
def test_files_that_would_be_lost_are_told_before_the_tests(
    profiled, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    """Two things in one file, a name that cannot be, or none because a variable was not set."""
    Path("linked.json").symlink_to("a.json")
    options = [f"--plugin-profile-{word}" for word in words]
    found = profiled(suite(), *options, "--junit-xml=a.xml", profile=False)
    assert found.code == 4
    assert said in " ".join(found.out.split())
    assert not Path("a.json").exists()


def test_a_pipe_is_written_to_once(profiled, tmp_path: Path) -> None:
    """Its reader goes when it has had all: nobody is waited for who will not come."""
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    found = profiled(suite(), "--plugin-profile", f"--plugin-profile-save={pipe}", profile=False)
    reader.join(30)
    assert found.code == 0
    assert json.loads(read[0])["suite"]["until"] == "end"


def test_a_terminal_without_letters_has_lines_of_80_columns(profiled, monkeypatch) -> None:
    """A question mark stands for each that it lacks, and not an escape of six characters."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    text = "import time\ndef test_" + "\u0434" * 60 + "(): time.sleep(0.1)\n"
    run = [sys.executable, "-X", "utf8=0", "-m", "pytest", *QUIET, *OURS, "--plugin-profile"]
    Path("test_a.py").write_text(text, encoding="utf-8")
    out = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    section = out.partition("where the time went")[2]
    assert "...????" in section
    assert max(map(len, section.splitlines())) <= 80


def test_reports_as_pytest_makes_none_are_survived(profiled) -> None:
    """Other plugins make them, too: of any size a suite ends as it would have, without a profile."""
    files = {
        "conftest.py": """
            import pytest
            @pytest.hookimpl(wrapper=True)
            def pytest_runtest_makereport():
                report = yield
                report.duration = None
                return report
        """,
        "test_a.py": """
            import pytest
            @pytest.mark.parametrize("n", range(1000))
            def test_a(n): pass
        """,
    }
    found = profiled(files)
    assert found.code == 0
    assert "1000 passed" in found.out
    assert found.out.count("could not be worked out: TypeError") == 1


def test_a_limit_that_is_none_is_a_usage_error(profiled) -> None:
    """Of 0 %, of words: told before the tests."""
    found = profiled(suite(), "--plugin-profile-fail-over=soon")
    assert found.code == 4
    assert "is no share of 1% or more" in found.out


@pytest.mark.parametrize("text", ["10", "1", "2.5"])
def test_a_limit_without_its_sign_is_a_usage_error(profiled, text: str) -> None:
    """As a ratio, it would be a thousand percent."""
    found = profiled(suite(), f"--plugin-profile-fail-over={text}")
    assert found.code == 4
    assert f"such as {text}%" in " ".join(found.out.split())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("plugin_profile = maybe", "true and false are allowed", id="profile"),
        pytest.param("plugin_profile_junit = maybe", "true and false are allowed", id="junit"),
        pytest.param("plugin_profile_wall_only = 2", "true and false are allowed", id="wall-only"),
        pytest.param("plugin_profile_imports = bogus", "is not estimate or none", id="imports"),
        pytest.param("plugin_profile_memory = all", "is not rss or exact", id="memory"),
        pytest.param("plugin_profile_fail_over = 10", "such as 10%", id="fail-over"),
        pytest.param("plugin_profile_html = no/such/x", "a folder that exists", id="html"),
    ],
)
def test_a_key_with_a_bad_value_is_a_usage_error(profiled, line: str, words: str) -> None:
    """Before any test, with the name of the key and what is allowed."""
    text = "def test_a(): open('ran', 'w').close()\n"
    found = profiled({"pytest.ini": f"[pytest]\n{line}\n", "test_a.py": text})
    assert found.code == 4
    said = " ".join(found.out.split())
    assert f"{line.partition(' ')[0]}: " in said
    assert words in said
    assert not Path("ran").exists()


def test_a_key_of_a_file_does_not_ask_for_a_profile(profiled, tmp_path: Path) -> None:
    """Keys are what a profile uses that somebody asks for."""
    ini = {"pytest.ini": "[pytest]\nplugin_profile_markdown = m.md\n"}
    assert "where the time went" not in profiled({**suite(), **ini}, profile=False).out
    assert not (tmp_path / "m.md").exists()
    profiled({**suite(), **ini})
    assert (tmp_path / "m.md").exists()


@pytest.mark.parametrize("option", ["json", "save", "html", "speedscope", "markdown"])
def test_a_test_file_is_not_overwritten(profiled, tmp_path: Path, option: str) -> None:
    """A forgotten file name takes the next word, and that is a test file."""
    for name in ("test_a.py", "test_a.txt"):
        words = f"--plugin-profile-{option}", name, str(tmp_path / name)
        found = profiled({name: ">>> 1\n1\n"}, *words, profile=False)
        assert found.code == 4
        assert "is no profile" in " ".join(found.out.split())
        assert (tmp_path / name).read_text() == ">>> 1\n1\n"


@pytest.mark.parametrize("option", ["json", "save", "html", "speedscope"])
def test_only_a_profile_is_overwritten(profiled, tmp_path: Path, option: str) -> None:
    """One of an earlier run is replaced, and so is an empty file; anything else is kept."""
    file = tmp_path / "out"
    words = "-q", "-k", "nothing", f"--plugin-profile-{option}={file}"
    found = profiled(suite(), *words, profile=False)
    assert (found.code, file.stat().st_size > 100) == (5, True)
    file.write_bytes(file.read_bytes()[: 20_000 if option == "html" else 300])  # of a run cut short
    assert profiled(suite(), *words, profile=False).code == 5
    file.write_text('{"precious": true}')
    found = profiled(suite(), *words, profile=False)
    assert (found.code, file.read_text()) == (4, '{"precious": true}')


def test_a_folder_is_called_one(profiled, tmp_path: Path) -> None:
    """Nobody is told to choose a folder that exists."""
    found = profiled(suite(), f"--plugin-profile-save={tmp_path}")
    assert found.code == 4
    assert "is a folder: name a file in it" in " ".join(found.out.split())


@pytest.mark.parametrize(
    "name", ["\udcff", "\x1b[31mred", "a" * 10_000, "<script>", "ab\u202ecd"], ids=range(5)
)
def test_hostile_test_ids_are_made_safe(profiled, tmp_path: Path, name: str) -> None:
    """Surrogates, escapes, 10,000 characters, HTML: nothing breaks, nothing is obeyed."""
    text = f"""
        import pytest, time
        @pytest.mark.parametrize("x", [pytest.param(1, id={name!a})])
        def test_a(x): time.sleep(0.05)
    """
    found = profiled({"test_a.py": text}, f"--plugin-profile-markdown={tmp_path}/m.md")
    assert found.code == 0
    assert found.suite.test_count == 1
    assert len(found.suite.tests.ids[0]) <= 1000
    assert "\x1b[31m" not in "\n".join(section_of(found.out))
    assert "<script>" not in (tmp_path / "m.md").read_text()


@pytest.mark.parametrize(
    ("style", "mode"), [("auto", "prepend"), ("native", "prepend"), ("auto", "importlib")]
)
def test_errors_of_collection_are_shown_as_without_us(profiled, style: str, mode: str) -> None:
    """Syntax errors, imports that fail at any depth, and conftest files: the same tracebacks."""
    files = {
        "test_syntax.py": "def test_x(:\n",
        "test_missing.py": "import nothing_there\n",
        "test_deep.py": "import deep\n",
        "deep.py": "import json.nothing\n",
        "nested/conftest.py": "raise RuntimeError('boom')\n",
        "nested/test_n.py": "def test_n(): pass\n",
    }

    known, ours = set(sys.modules), {"test_syntax", "test_missing", "test_deep", "deep", "nested"}

    def errors(*, profile: bool) -> str:
        for name in set(sys.modules) - known:  # pytest leaves those that failed there
            if name.partition(".")[0] in ours:
                del sys.modules[name]
        options = f"--tb={style}", f"--import-mode={mode}"
        out = profiled(files, *options, profile=profile).out
        found = re.search("=+ ERRORS =+(.*?)=+ (where the time|short test summary)", out, re.DOTALL)
        assert found is not None
        return found[1]

    assert errors(profile=True) == errors(profile=False)


def test_a_broken_conftest_is_pytests_own_error(profiled) -> None:
    """The message and the exit code are those without us."""
    files = {"conftest.py": "import nothing_there\n", "test_a.py": "def test_a(): pass\n"}
    bare, found = profiled(files, profile=False), profiled(files)
    assert found.code == bare.code == 4
    assert "nothing_there" in found.out
    assert "pluginhost/" not in found.out


def test_a_plugin_that_raises_in_configure_is_pytests_own_error(profiled) -> None:
    """It ends as without us, and nothing of ours stays behind."""
    files = {
        "conftest.py": "def pytest_configure(config): raise ValueError('broken')\n",
        "test_a.py": "def test_a(): pass\n",
    }
    bare, found = profiled(files, profile=False), profiled(files)
    assert found.code == bare.code != 0
    assert "ValueError: broken" in bare.out
    assert "ValueError: broken" in found.out


@pytest.mark.parametrize(
    ("arguments", "ended", "code"),
    [
        pytest.param(("-x",), "stopping after 1 failures", 1, id="-x"),
        pytest.param(("-k", "ctrl_c"), "interrupted", 2, id="Ctrl-C"),
        pytest.param(("--collect-only",), "finished", 0, id="collect only"),
        pytest.param(("-k", "nothing"), "finished", 5, id="no tests"),
        pytest.param(("-k", "exits"), "interrupted", 7, id="pytest.exit"),
    ],
)
def test_sessions_that_end_early_have_a_profile(profiled, arguments, ended, code) -> None:
    """It says what ended them, and the exit code stays."""
    files = {
        "test_a.py": """
            import pytest
            def test_fails(): assert 0
            def test_ctrl_c(): raise KeyboardInterrupt
            def test_exits(): pytest.exit("enough", returncode=7)
        """
    }
    found = profiled(files, *arguments)
    assert found.code == code
    assert found.suite.ended == ended
    assert sum(each.self_ns for each in found.suite.parts) == found.suite.wall_ns


def test_an_internal_error_is_shown_as_ever(profiled) -> None:
    """The profile says what ended the session."""
    files = {
        "conftest.py": "def pytest_runtest_logfinish(): raise RuntimeError('inside')\n",
        "test_a.py": "def test_a(): pass\n",
    }
    bare, found = profiled(files, profile=False), profiled(files)
    assert found.code == 3
    assert "INTERNALERROR> RuntimeError: inside" in found.out
    shown, as_ever = (
        re.findall("^INTERNALERROR> .*", each.out, re.MULTILINE) for each in (found, bare)
    )
    assert shown == as_ever
    assert found.suite.ended == "internal error"


def test_memory_at_the_end_of_each_test(profiled) -> None:
    """The resident set on request, and what Python had allocated."""
    files = {
        "test_a.py": "def test_a(): b = bytearray(30_000_000); b[::4096] = bytes(len(b[::4096]))\n"
    }
    rss = profiled(files, "--plugin-profile-memory=rss").suite
    assert rss.memory == "rss"
    assert rss.tests.rss_bytes[0] > 1_000_000
    exact = profiled(files, "--plugin-profile-memory=exact").suite
    assert exact.tests.peak_bytes[0] >= 30_000_000
    assert exact.tests.kept_bytes[0] < 30_000_000
    assert not tracemalloc.is_tracing()


def test_a_test_may_stop_tracemalloc(profiled) -> None:
    """Its own memory is not known, which is said; that of the next is."""
    files = {
        "test_a.py": """
            import tracemalloc
            def test_a():
                tracemalloc.start()
                tracemalloc.stop()
            def test_b(): bytearray(30_000_000)
        """
    }
    suite = profiled(files, "--plugin-profile-memory=exact").suite
    assert (suite.tests.peak_bytes[0], suite.tests.kept_bytes[0]) == (0, 0)
    assert suite.tests.peak_bytes[1] >= 30_000_000
    assert any("had stopped tracemalloc" in note for note in suite.notes)
    assert not tracemalloc.is_tracing()


def test_wall_only_reads_no_cpu_clock(profiled) -> None:
    """Then nothing claims to know what waits."""
    found = profiled(suite(), "--plugin-profile-wall-only")
    assert found.suite.tests.cpu_ns == ()
    assert all(each.cpu_ns is None for each in found.suite.parts)


def test_a_session_within_a_test_is_part_of_that_test(profiled) -> None:
    """An inner run is not recorded, and all that it does is the outer test's."""
    found = profiled(
        {
            "test_outer.py": """
                import pytest, sys
                def test_outer(tmp_path):
                    (tmp_path / "test_inner.py").write_text(
                        "import time\\ndef test_inner(): time.sleep(0.03)\\n"
                    )
                    words = [f"--rootdir={tmp_path}", "-p", "no:cacheprovider", "-p", "no:randomly"]
                    assert pytest.main([*words, str(tmp_path)]) == 0
            """
        }
    )
    assert found.code == 0
    assert found.suite.test_count == 1
    assert found.test("test_outer")["self_ns"] >= 30_000_000


def test_nothing_of_it_stays_behind(profiled) -> None:
    """pytest's functions and Python's import machinery are what they were."""
    import sys

    from _pytest.assertion import rewrite

    machinery = sys.modules["_frozen_importlib"]
    before = rewrite._rewrite_test, rewrite._read_pyc, machinery._find_and_load
    profiled(suite())
    assert (rewrite._rewrite_test, rewrite._read_pyc, machinery._find_and_load) == before


def test_without_colours_the_section_is_plain(profiled, monkeypatch) -> None:
    """`--color=yes` colours it; NO_COLOR takes the colours away, as from all of pytest."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("PY_COLORS", raising=False)
    coloured = profiled(suite(), "--color=yes").out
    assert "\x1b[" in "\n".join(section_of(coloured))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in profiled(suite()).out


def test_taken_out_it_is_not_there(profiled) -> None:
    """`-p no:pluginhost` has the last word, whatever else was asked for before."""
    found = profiled({"test_a.py": "def test_a(): pass\n"}, "-p", "no:pluginhost")
    assert found.code == 0
    assert found.report is None
    assert "where the time went" not in found.out


def test_who_is_recorded_already_is_told_so(profiled, tmp_path: Path) -> None:
    """Under `pluginhost profile`, which records every manager, this plugin leaves it to that."""
    json_file = tmp_path / "mine.json"
    with ExitStack() as stack:
        make = pytest.PytestPluginManager.__init__

        def made(self, *args, **options):
            make(self, *args, **options)
            stack.enter_context(observe(self))

        stack.enter_context(pytest.MonkeyPatch.context()).setattr(
            pytest.PytestPluginManager, "__init__", made
        )
        found = profiled(suite(), f"--plugin-profile-html={json_file}")
    assert found.code == 0
    assert found.report is None
    assert not json_file.exists()
    assert "pluginhost: this run is recorded already" in found.out
    assert "where the time went" not in found.out
