"""From the words of a command line to a Python process."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from pluginhost.errors import LaunchError
from pluginhost.launcher.plan import plan_of

BESIDE = Path(sys.executable).parent


def script(path: Path, first_line: str) -> Path:
    path.write_text(f"{first_line}\nprint('here')\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_module_runs_in_our_interpreter() -> None:
    """`-m MODULE` is what it is to Python, and all after it belongs to the module."""
    plan = plan_of(["-m", "json.tool", "-m", "x"])
    assert plan.words == [sys.executable, "-m", "json.tool", "-m", "x"]
    assert plan.options == ("-m", "json.tool")
    assert (plan.name, plan.command) == ("json.tool", ("-m", "json.tool", "-m", "x"))


def test_a_script_runs_in_our_interpreter(shop: Path) -> None:
    """A path to Python code is a program, as it was written."""
    plan = plan_of(["./shop.py", "--all"])
    assert plan.words == [sys.executable, "./shop.py", "--all"]
    assert plan.name == "shop.py"


def test_a_folder_with_a_main_module_is_a_program(tmp_path: Path) -> None:
    """As for Python, a folder with a `__main__.py` can be run."""
    (tmp_path / "__main__.py").touch()
    assert plan_of([f"{tmp_path}/"]).words == [sys.executable, f"{tmp_path}/"]


def test_a_console_script_is_found_beside_the_interpreter() -> None:
    """What is installed in our environment is found though the environment is not activated."""
    plan = plan_of(["pytest", "-q"])
    assert plan.words[1:] == [str(BESIDE / "pytest"), "-q"]
    assert Path(plan.interpreter).parent == BESIDE
    assert plan.name == "pytest"


def test_a_console_script_is_found_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the PATH decides, as in a shell."""
    path = script(tmp_path / "tool", f"#!{sys.executable} -u")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    plan = plan_of(["tool", "x"])
    assert (plan.interpreter, plan.options, plan.arguments) == (
        sys.executable,
        ("-u", str(path)),
        ("x",),
    )


@pytest.mark.parametrize(
    "first_lines",
    [
        pytest.param(f"#!{sys.executable}", id="plain"),
        pytest.param(f"#! {sys.executable} ", id="with spaces"),
        pytest.param(f"#!/bin/sh\n'''exec' {sys.executable} \"$0\" \"$@\"\n' '''", id="too long"),
        pytest.param(
            f"#!/bin/sh\n'''exec' {shlex.quote(sys.executable)} \"$0\" \"$@\"", id="quoted"
        ),
        pytest.param(f"#!/usr/bin/env -S {sys.executable}", id="env -S"),
    ],
)
def test_the_first_line_names_the_interpreter(tmp_path: Path, first_lines: str) -> None:
    """The ways in which installers write it are understood."""
    path = script(tmp_path / "tool", first_lines)
    assert plan_of([str(path)]).words == [sys.executable, str(path)]


@pytest.mark.parametrize(
    ("words", "target"),
    [
        pytest.param(["-X", "dev", "-Walways", "shop.py"], 4, id="values apart and together"),
        pytest.param(["-um", "json.tool", "-W"], 2, id="letters together"),
        pytest.param(["-mjson.tool", "x"], 1, id="module in the word"),
        pytest.param(["-c", "pass", "-x"], 2, id="code"),
        pytest.param(["--check-hash-based-pycs", "never", "shop.py", "y"], 3, id="long option"),
    ],
)
def test_an_interpreter_keeps_its_options(words: list[str], target: int) -> None:
    """What stands before the target is for Python, what stands after it for the program."""
    plan = plan_of([sys.executable, *words])
    assert plan.words == [sys.executable, *words]
    assert plan.options == tuple(words[:target])


@given(st.lists(st.text(max_size=5), max_size=5))
def test_no_argument_is_lost(arguments: list[str]) -> None:
    """Arguments of the program arrive as they are, in their order."""
    plan = plan_of(["-m", "json.tool", *arguments])
    assert list(plan.arguments) == arguments


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["pytset"], "no program 'pytset' - did you mean 'pytest'", id="misspelt"),
        pytest.param(["./absent.py"], "no file './absent.py' - check the path", id="no file"),
        pytest.param(["absent.py"], "no file 'absent.py'", id="no file here"),
        pytest.param(["/absent/python3"], "no program '/absent/python3'", id="no interpreter"),
        pytest.param(["sh"], "sh is not a Python program", id="binary"),
        pytest.param(["-m"], "-m needs a module", id="no module"),
        pytest.param([sys.executable], "no program to run", id="no target"),
        pytest.param([sys.executable, "-I", "x.py"], "leave -I out", id="isolated"),
        pytest.param([sys.executable, "-uE", "x.py"], "leave -E out", id="no environment"),
        pytest.param([sys.executable, "-S", "x.py"], "leave -S out", id="no site"),
    ],
)
def test_what_cannot_run_is_told(words: list[str], says: str) -> None:
    """The error says what was looked for and what to do."""
    with pytest.raises(LaunchError) as caught:
        plan_of(words)
    assert says in str(caught.value)


def test_a_script_of_another_language_is_told(tmp_path: Path) -> None:
    """A shell script is not run to find out."""
    path = script(tmp_path / "tool", "#!/bin/sh")
    with pytest.raises(LaunchError, match="is not a Python program"):
        plan_of([str(path)])


def test_another_environment_needs_the_package(tmp_path: Path) -> None:
    """An interpreter that cannot import us is refused before anything runs, with the remedy."""
    import venv

    venv.create(tmp_path / "other", with_pip=False, symlinks=True)
    python = tmp_path / "other" / "bin" / "python"
    with pytest.raises(LaunchError) as caught:
        plan_of([str(python), "-c", "pass"])
    assert str(caught.value).endswith(f"install it there: {python} -m pip install pluginhost")
