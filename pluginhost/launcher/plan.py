"""From the words of a command line to the Python process that it stands for."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from pluginhost.errors import LaunchError

_PYTHON = re.compile(r"(python|pypy)[\d.]*w?(\.exe)?$", re.IGNORECASE)
_WITHOUT_US = {
    "I": "isolates it from the environment",
    "E": "has it ignore the environment",
    "S": "starts it without its site packages",
}
_PROBE = "import sys; sys.path[:] = filter(None, sys.path); import pluginhost.launcher.recorded"
_PROBE_S = 60


class Plan(NamedTuple):
    """A Python process to start: `interpreter`, its `options` with the target, and `arguments`.

    `command` is what the user wrote. `name` is that of the program: a module or console script.
    """

    command: tuple[str, ...]
    interpreter: str
    options: tuple[str, ...]
    arguments: tuple[str, ...]
    name: str

    @property
    def words(self) -> list[str]:
        """The whole command line of the process."""
        return [self.interpreter, *self.options, *self.arguments]


def plan_of(command: Sequence[str]) -> Plan:
    """Return how to start what `command` names.

    `-m MODULE`, a console script of the environment or on the PATH, a script's path, or a Python
    interpreter with options, each with arguments. LaunchError if there is none, if it is not a
    Python program, or if its interpreter does not have this package.
    """
    head, *rest = command
    if head in ("-m", "-c"):
        plan = _of_interpreter(sys.executable, command)
    elif _PYTHON.fullmatch(Path(head).name):
        plan = _of_interpreter(_found(head), rest)
    else:
        plan = _of_script(head, rest)
    plan = plan._replace(command=tuple(command))
    _check_interpreter(plan.interpreter)
    return plan


def _of_interpreter(interpreter: str, words: Sequence[str]) -> Plan:
    """Return the plan of an interpreter with options, as Python reads them: the target ends them."""
    end, name = 0, ""
    while end < len(words) and not name:
        word = words[end]
        end += 1
        if not word.startswith("-") or word == "-":
            name = word
        elif word.startswith("--"):
            end += word == "--check-hash-based-pycs"
        else:
            value, target = _read_flags(word[1:], interpreter)
            if value == "":  # the value of the last letter is the next word
                value = words[end] if end < len(words) else ""
                end += 1
            if target:
                name = (value or "") if target == "m" else "-c"
                if not value:
                    raise LaunchError(
                        f"-{target} needs {'a module' if target == 'm' else 'code'}",
                        remedy=f"write it after -{target}",
                    )
    if not name:
        raise LaunchError("there is no program to run", remedy="name one, as in -m MODULE")
    return Plan((), interpreter, tuple(words[:end]), tuple(words[end:]), Path(name).name)


def _read_flags(letters: str, interpreter: str) -> tuple[str | None, str]:
    """Return (value, target) of the options in one word: None for a value where none is taken."""
    for position, letter in enumerate(letters):
        if letter in _WITHOUT_US:
            raise LaunchError(
                f"{interpreter} -{letter} cannot be observed: this option {_WITHOUT_US[letter]}",
                remedy=f"leave -{letter} out",
            )
        if letter in "mcWX":
            return letters[position + 1 :], letter if letter in "mc" else ""
    return None, ""


def _of_script(head: str, arguments: Sequence[str]) -> Plan:
    own = os.sep in head or head.endswith((".py", ".pyz"))
    path = head if own else _found(head)
    if own and not Path(path).exists():
        raise LaunchError(f"there is no file {head!r}", remedy="check the path")
    if path.endswith((".py", ".pyz")) or (Path(path) / "__main__.py").is_file():
        interpreter, options = sys.executable, []
    else:
        interpreter, *options = _shebang(path)
    plan = _of_interpreter(interpreter, [*options, path])
    return plan._replace(arguments=tuple(arguments))


def _found(name: str) -> str:
    """Return the path of a program: beside our interpreter, else on the PATH."""
    if os.sep in name:
        if os.access(name, os.X_OK):
            return name
    else:
        here = Path(sys.executable).parent
        found = shutil.which(name, path=str(here)) or shutil.which(name)
        if found is not None:
            return found
    raise LaunchError(f"there is no program {name!r}", remedy=_nearest(name))


def _nearest(name: str) -> str:
    here = Path(sys.executable).parent
    near = get_close_matches(name, [path.name for path in here.iterdir()], n=1, cutoff=0.75)
    hint = f"did you mean {near[0]!r}? Else " if near else ""
    return f"{hint}give the path of a script, or a module with -m"


def _shebang(path: str) -> list[str]:
    """Return the interpreter, with its options, that the first line of a script names."""
    try:
        with Path(path).open("rb") as file:
            first, second = file.readline(500), file.readline(500)
    except OSError as error:
        raise LaunchError(
            f"{path} cannot be read: {error.strerror}", remedy="check the path"
        ) from error
    if second.startswith(b"'''exec'"):  # what stands in for a shebang that is too long
        first = b"#!" + second.removeprefix(b"'''exec'").partition(b'"$0"')[0]
    try:
        words = shlex.split(os.fsdecode(first.strip())[2:]) if first.startswith(b"#!") else []
    except ValueError:
        words = []
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if word != "-S"]
        words[:1] = [_found(word) for word in words[:1]]
    if not words or not _PYTHON.fullmatch(Path(words[0]).name):
        raise LaunchError(
            f"{path} is not a Python program",
            remedy="give a script, or the module that it runs with -m",
        )
    return words


def _check_interpreter(interpreter: str) -> None:
    """Raise unless `interpreter` starts, and can import this package."""
    if interpreter == sys.executable:
        return
    try:
        probe = subprocess.run(  # noqa: S603  # what the user wants to run
            [interpreter, "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PROBE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(
            f"{interpreter} cannot be started: {error}", remedy="check the path"
        ) from error
    if probe.returncode != 0:
        raise LaunchError(
            f"{interpreter} is another environment, without pluginhost",
            remedy=f"install it there: {interpreter} -m pip install pluginhost",
        )
