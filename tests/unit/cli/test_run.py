"""`pluginhost run`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from pluginhost.cli.run import files_of
from pluginhost.report import Report, decode, read_report

Run = Callable[..., Result]

READS = """
    import pluginhost

    @pluginhost.hookimpl
    def execute(payload):
        return len(payload.read_text())
    """
WORKS = """
    import pluginhost

    @pluginhost.hookimpl
    def execute(payload):
        return payload
    """
IDLE = """
    import pluginhost

    @pluginhost.hookimpl
    def setup(host):
        pass
    """


def _executions(report: Report) -> dict[str, int]:
    assert report.performance is not None
    return {row.plugin_id: row.execution_count for row in report.performance.plugins}


def test_the_report_is_shown(pluginhost: Run, plugin_folder: Any) -> None:
    """What each plugin cost, how it was used, and what was not loaded; nothing else."""
    folder = plugin_folder({"a.py": WORKS, "b.py": "import no_such_module"})
    result = pluginhost("run", "--source", folder, "--repeat", 5)
    assert (result.exit_code, result.stderr) == (0, "")
    heads = [line.split(":")[0] for line in result.stdout.splitlines()]
    assert [h for h in heads if h in {"Cost", "Use", "Not loaded, and what to do"}] == [
        "Cost", "Use", "Not loaded, and what to do"
    ]  # fmt: skip
    assert "    -> install what provides the module 'no_such_module'" in heads


def test_inputs_are_given_to_each_plugin(
    pluginhost: Run, plugin_folder: Any, tmp_path: Path
) -> None:
    """N times each, as paths."""
    (tmp_path / "text").write_text("hello")
    folder = plugin_folder({"a.py": READS, "b.py": READS})
    saved = tmp_path / "run.json"
    result = pluginhost("run", "-s", folder, "-i", tmp_path / "text", "-n", 3, "--save", saved)
    assert result.exit_code == 0
    report = read_report(saved)
    assert _executions(report) == {"a": 3, "b": 3}
    assert all(row.success_count == 3 for row in report.performance.plugins)


def test_a_folder_stands_for_its_files(tmp_path: Path) -> None:
    """Sorted by name, hidden files, folders and what is not a file left out."""
    for name in ("b", "a", ".hidden", "c"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("a")
    names = [path.name for path in files_of([tmp_path / "c", tmp_path])]
    assert names == ["c", "a", "b", "c", "link"]


def test_a_folder_without_files_is_wrong_usage(pluginhost: Run, tmp_path: Path) -> None:
    """To run on nothing would be no run at all."""
    with pytest.raises(click.BadParameter, match="no file in the folder"):
        files_of([tmp_path])
    assert pluginhost("run", "--input", tmp_path).exit_code == 2


def test_named_plugins_only(pluginhost: Run, plugin_folder: Any) -> None:
    """Named twice is run once."""
    folder = plugin_folder({"a.py": WORKS, "b.py": WORKS})
    result = pluginhost("run", "b", "b", "-s", folder, "--json", "-")
    assert _executions(decode(result.stdout, Report)) == {"b": 1}


def test_json_on_standard_output_is_nothing_but_json(pluginhost: Run, plugin_folder: Any) -> None:
    """What plugins print and what is wrong with them goes to standard error."""
    loud = "    print('loud')\n" + WORKS
    folder = plugin_folder({"a.py": loud, "b.py": "import no_such_module"})
    result = pluginhost("run", "-s", folder, "--json", "-")
    assert result.exit_code == 0
    assert decode(result.stdout, Report).name == str(folder)
    assert "loud\n" in result.stderr
    assert "Not loaded, and what to do" in result.stderr


def test_json_and_save_write_the_report(
    pluginhost: Run, plugin_folder: Any, tmp_path: Path
) -> None:
    """Both, beside the text."""
    folder = plugin_folder({"a.py": WORKS})
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    result = pluginhost("run", "-s", folder, "--save", one, "--json", two)
    assert result.stdout.startswith("Cost: 1 execution")
    assert read_report(one) == read_report(two)


@pytest.mark.parametrize("option", ["--save", "--json"])
@pytest.mark.parametrize("place", ["no/such/folder/run.json", "."])
def test_a_place_that_cannot_be_written_is_refused_before_the_run(
    pluginhost: Run, plugin_folder: Any, tmp_path: Path, option: str, place: str
) -> None:
    """An hour of measuring is not thrown away."""
    folder = plugin_folder({"a.py": "raise SystemError('imported')"})
    result = pluginhost("run", "-s", folder, option, tmp_path / place)
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
    assert result.stdout == ""


def test_a_report_that_cannot_be_saved_is_shown_all_the_same(
    pluginhost: Run, plugin_folder: Any, tmp_path: Path
) -> None:
    """Exit code 3, and nothing that was measured is lost."""
    removes = f"""
        import pathlib
        import pluginhost

        @pluginhost.hookimpl
        def execute(payload):
            pathlib.Path({str(tmp_path / "away")!r}).rmdir()
        """
    (tmp_path / "away").mkdir()
    folder = plugin_folder({"a.py": removes})
    result = pluginhost("run", "-s", folder, "--save", tmp_path / "away" / "run.json")
    assert result.exit_code == 3
    assert result.stdout.startswith("Cost: 1 execution")
    assert "run.json cannot be written: No such file or directory" in result.stderr


def test_nothing_found_is_no_success(pluginhost: Run, tmp_path: Path) -> None:
    """Exit code 1, with what to do."""
    result = pluginhost("run", "--source", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--source FOLDER" in result.stderr


def test_nothing_loaded_is_no_success(pluginhost: Run, plugin_folder: Any) -> None:
    """Exit code 1, with the reasons."""
    result = pluginhost("run", "--source", plugin_folder({"a.py": "1 / 0"}))
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.stdout
    assert result.stderr.startswith("Error: nothing was run from ")


def test_nothing_to_execute_is_no_success(pluginhost: Run, plugin_folder: Any) -> None:
    """Exit code 1, and the plugins that have nothing to execute are named."""
    result = pluginhost("run", "--source", plugin_folder({"idle.py": IDLE}))
    assert result.exit_code == 1
    assert "note  loaded, but with nothing to execute: idle\n" in result.stderr


def test_an_unknown_plugin_suggests_a_near_one(pluginhost: Run, plugin_folder: Any) -> None:
    """Wrong usage, with what may have been meant."""
    result = pluginhost("run", "chekcsum", "-s", plugin_folder({"checksum.py": WORKS}))
    assert result.exit_code == 2
    assert "did you mean 'checksum'?" in result.stderr


@pytest.mark.parametrize(
    ("files", "wanted", "culprits"),
    [
        pytest.param({"a.py": WORKS}, [], None, id="all is well"),
        pytest.param({"a.py": WORKS, "b.py": READS}, [], "b (2 of 2)", id="one fails"),
        pytest.param({"a.py": WORKS, "c.py": "1 / 0"}, [], "c (failed)", id="one is broken"),
        pytest.param({"a.py": WORKS, "c.py": "1 / 0"}, ["a"], None, id="not asked for"),
        pytest.param({"a.py": WORKS, "no id.py": ""}, ["a"], None, id="broken, not asked for"),
        pytest.param({"a.py": WORKS, "no id.py": ""}, [], "no id (failed)", id="no valid id"),
    ],
)
def test_failures_count_on_request(
    pluginhost: Run,
    plugin_folder: Any,
    files: dict[str, str],
    wanted: list[str],
    culprits: str | None,
) -> None:
    """With --fail-on-error they make the exit code 1 and are named; without, they do not."""
    folder = plugin_folder(files)
    result = pluginhost("run", *wanted, "-s", folder, "-n", 2, "--fail-on-error")
    assert result.exit_code == (1 if culprits else 0)
    assert result.stderr == (f"Error: failed: {culprits}\n" if culprits else "")
    assert pluginhost("run", *wanted, "-s", folder, "-n", 2).exit_code == 0


def test_a_missed_deadline_is_a_failure(pluginhost: Run, plugin_folder: Any) -> None:
    """It counts with --fail-on-error."""
    slow = WORKS.replace("return payload", "__import__('time').sleep(0.2)")
    folder = plugin_folder({"slow.py": slow})
    result = pluginhost("run", "-s", folder, "--deadline", "0.01", "--fail-on-error")
    assert (result.exit_code, result.stderr) == (1, "Error: failed: slow (1 of 1)\n")


def test_a_cost_budget_limits_the_sampling(pluginhost: Run, plugin_folder: Any) -> None:
    """With none to spend, sampling ends as soon as its cost is known."""
    arguments = ("run", "-s", plugin_folder({"a.py": WORKS}), "-n", 4000, "--json", "-")
    arguments += ("--sampling-rate", "100%")
    for budget, all_sampled in (("100%", True), ("0", False)):
        report = decode(pluginhost(*arguments, "--cost-budget", budget).stdout, Report)
        assert (report.performance.plugins[0].sampled_count == 4000) is all_sampled


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--repeat", "0"], id="no repeats"),
        pytest.param(["--sampling-rate", "2"], id="more than all"),
        pytest.param(["--sampling-rate", "nan"], id="rate not a number"),
        pytest.param(["--cost-budget", "-1"], id="less than nothing"),
        pytest.param(["--deadline", "0"], id="no time at all"),
        pytest.param(["--deadline", "nan"], id="deadline not a number"),
        pytest.param(["--deadline", "inf"], id="endless deadline"),
        pytest.param(["--input", "no/such/file"], id="no such input"),
    ],
)
def test_senseless_options_are_wrong_usage(
    pluginhost: Run, plugin_folder: Any, options: list[str]
) -> None:
    """Before anything is run."""
    result = pluginhost("run", "-s", plugin_folder({"a.py": WORKS}), *options)
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_shows_the_report_and_ends_with_130(
    pluginhost: Run, plugin_folder: Any, tmp_path: Path
) -> None:
    """It is saved, too."""
    stops = """
        import signal
        import pluginhost

        @pluginhost.hookimpl
        def execute(payload):
            signal.raise_signal(signal.SIGINT)
        """
    folder = plugin_folder({"a.py": WORKS, "b.py": stops})
    result = pluginhost("run", "-s", folder, "-n", 1000, "--save", tmp_path / "run.json")
    assert result.exit_code == 130
    assert result.stdout.startswith("Cost: ")
    assert result.stderr == "note  interrupted after 1 of 2,000 executions\n"
    assert _executions(read_report(tmp_path / "run.json"))["a"] == 1


def test_an_id_that_looks_like_an_option_can_be_named(pluginhost: Run, plugin_folder: Any) -> None:
    """After --, everything is a plugin."""
    result = pluginhost("run", "-s", plugin_folder({"a.py": WORKS}), "--", "--json")
    assert result.exit_code == 2
    assert "plugin '--json'" in result.stderr


def test_hostile_plugins_reach_no_terminal(pluginhost: Run, plugin_folder: Any) -> None:
    """Errors with escapes, from loading and from executing, are shown, not obeyed."""
    evil = "\\x1b[31mevil\\u202e\\x9b"
    folder = plugin_folder(
        {
            "broken.py": f"raise ValueError('{evil}')",
            "fails.py": f"""
                import pluginhost

                @pluginhost.hookimpl
                def execute(payload):
                    raise ValueError('{evil}')
                """,
        }
    )
    for options in ((), ("--json", "-")):
        output = pluginhost("run", "-s", folder, *options).output
        assert output.count("evil") >= 2
        assert output.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("option", "executions"),
    [
        pytest.param(("--inside", "a"), 3, id="at once"),
        pytest.param(("--inside", "a=time", "--inside-over", "0"), 2, id="after the first"),
        pytest.param(("--inside", "*", "--inside-over", "0"), 2, id="any"),
        pytest.param(("--inside", "a=memory"), 3, id="memory"),
    ],
)
def test_one_plugin_is_looked_into(
    pluginhost: Run, plugin_folder: Any, tmp_path: Path, option: tuple[str, ...], executions: int
) -> None:
    """The report has its profile, and the text says so."""
    saved = tmp_path / "run.json"
    folder = plugin_folder({"a.py": WORKS})
    words = ("--source", folder, "--repeat", 3, *option, "--save", saved)
    result = pluginhost("run", *words)
    assert result.exit_code == 0
    assert "Inside a (" in result.stdout
    performance = read_report(saved).performance
    assert performance is not None
    assert [(p.plugin_id, p.executions) for p in performance.inside] == [("a", executions)]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        pytest.param(("--inside", "nobody"), "there is no such plugin", id="no such plugin"),
        pytest.param(("--inside", "a=disk"), "no kind of profile", id="kind"),
        pytest.param(("--inside", "*"), "over_s", id="any, at once"),
        pytest.param(("--inside-over", "1"), "--inside into what", id="only when"),
    ],
)
def test_looking_into_what_makes_no_sense_is_refused(
    pluginhost: Run, plugin_folder: Any, option: tuple[str, ...], words: str
) -> None:
    """Before anything has run."""
    result = pluginhost("run", "--source", plugin_folder({"a.py": WORKS}), *option)
    assert result.exit_code != 0
    assert words in result.stderr
    assert result.stdout == ""


def test_a_page_is_written(pluginhost: Run, plugin_folder: Any, tmp_path: Path) -> None:
    """Beside the text; where it cannot be, nothing is run in vain."""
    folder = plugin_folder({"a.py": WORKS})
    file = tmp_path / "report.html"
    result = pluginhost("run", "--source", folder, "--html", file)
    assert result.exit_code == 0
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    result = pluginhost("run", "--source", folder, "--html", tmp_path / "no" / "such.html")
    assert result.exit_code != 0
    assert result.stdout == ""
