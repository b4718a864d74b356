"""What was asked for, on the command line or in a configuration file."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest

from pluginhost.pytest_plugin.asking import (
    FILES,
    FLAGS,
    ON,
    REPORT_FILES,
    VALUES,
    ini_of,
    is_wanted,
    words_of,
)


class Settings:
    """The options, each from the command line or else from the configuration file.

    They are read when they are used: at first, the command line is not parsed yet.
    """

    def __init__(self, config: Any) -> None:
        self._config = config

    @classmethod
    def of(cls, config: Any) -> Settings:
        """Return the settings of a session."""
        return cls(config)

    @property
    def wall_only(self) -> bool:
        """Whether the CPU clock is left alone."""
        return bool(self._early("wall-only"))

    @property
    def memory(self) -> str:
        """Which figure of memory is kept of each test: none, `rss` or `exact`."""
        found = self._early("memory") or ""
        return found if found in ("rss", "exact") else ""

    def is_asked(self, early_config: Any) -> bool:
        """Whether anybody has asked, now that the command line can be parsed."""
        known = vars(early_config.known_args_namespace)
        if known.get("plugin_profile"):
            return True
        given = [known.get(ini_of(name)) is not None for name in (*FILES, *VALUES)]
        given += [bool(known.get(ini_of(name))) for name in FLAGS]
        return is_wanted(early_config, words_of(early_config)) and (
            any(given) or bool(early_config.getini("plugin_profile"))
        )

    def check(self) -> None:
        """Raise a usage error for what cannot work, before any test has run."""
        for name in (*FILES, *VALUES):
            if getattr(self._config.option, ini_of(name), None) == "":
                raise pytest.UsageError(f"{ON}-{name} has no value: is a variable not set?")
        self.fail_over()
        for name in FLAGS:
            self.flag(name)
        for name in FILES:
            file = self.file(name)
            try:
                if file is not None and name != "baseline":
                    self._check_file(name, file)
                self._check_that_it_differs(name, file)
            except OSError as error:  # a name that is too long, for one
                raise pytest.UsageError(f"{self._source(name)}: {error}") from None
        for name, (_, choices, _) in VALUES.items():
            value = self.value(name)
            if value and choices and value not in choices:
                allowed = " or ".join(choices)
                raise pytest.UsageError(f"{self._source(name)}: {value!r} is not {allowed}")

    def _check_file(self, name: str, file: Path) -> None:
        problem = None
        if file.is_dir():
            problem = "is a folder: name a file in it"
        elif not file.parent.is_dir():
            problem = "cannot be written: choose a file in a folder that exists"
        elif file.exists() and not self._may_be_replaced(name, file):
            problem = "is there, and is no profile: choose another file, it would be lost"
        if problem is not None:
            raise pytest.UsageError(f"{self._source(name)}: {file} {problem}")

    def _check_that_it_differs(self, name: str, file: Path | None) -> None:
        """Refuse one file for two things: one would be lost, or a run be compared with itself."""
        if file is None or is_stream(file):
            return
        others = {self._source(other): self.file(other) for other in FILES if other != name} | {
            "--junit-xml": getattr(self._config.option, "xmlpath", None)
        }
        for source, other in others.items():
            if other and os.path.realpath(other) == os.path.realpath(file):
                raise pytest.UsageError(
                    f"{self._source(name)} and {source} name one file: {file}: name two"
                )

    def _may_be_replaced(self, name: str, file: Path) -> bool:
        if file.suffix == ".py" or file in self._tests():
            return False
        return name == "markdown" or _is_ours(name, file)

    def _tests(self) -> set[Path]:
        """Return the files whose tests are asked for."""
        words = (str(word).partition("::")[0] for word in getattr(self._config, "args", ()))
        return {Path(self._config.invocation_params.dir, word) for word in words}

    def file(self, name: str) -> Path | None:
        """Return a file that is to be written or read, None without one."""
        found = self.value(name)
        return Path(self._config.invocation_params.dir, found) if found else None

    def report_files(self) -> dict[str, Path]:
        """Return the files that the whole report is written to, by option."""
        found = {name: self.file(name) for name in REPORT_FILES}
        return {name: file for name, file in found.items() if file is not None}

    def value(self, name: str) -> str | None:
        """Return what an option is set to, None if it is not."""
        found = getattr(self._config.option, ini_of(name), None) or self._key(name)
        return str(found) if found else None

    def flag(self, name: str) -> bool:
        """Whether an option is set that has no value."""
        return bool(getattr(self._config.option, ini_of(name), False) or self._key(name))

    def fail_over(self) -> float | None:
        """Return by how much more time something may take (0.1: a tenth), None if by any."""
        text = self.value("fail-over")
        if text is None:
            return None
        number = text.strip().removesuffix("%")
        bare = number == text.strip()
        try:
            share = float(number) / (1 if bare else 100)
        except ValueError:
            share = -1.0
        source = self._source("fail-over")
        if bare and 1 <= share < math.inf:
            raise pytest.UsageError(
                f"{source}: {text!r} would be {share:.0%}: say what you mean with its sign, such as"
                f" {share:g}%"
            )
        if not 0.01 <= share <= 100:
            raise pytest.UsageError(f"{source}: {text!r} is no share of 1% or more, such as 10%")
        return share

    def _early(self, name: str) -> Any:
        """Return the value of an option from the words themselves, or the configuration file."""
        option = f"--plugin-profile-{name}"
        found = vars(self._config.option).get(ini_of(name))
        for word, following in self._words():
            if word == option:
                found = following if name in VALUES else True
            elif word.startswith(f"{option}="):
                found = word.partition("=")[2]
        return found or self._key(name)

    def _key(self, name: str) -> Any:
        """Return what the configuration file says."""
        try:
            return self._config.getini(ini_of(name))
        except (TypeError, ValueError, pytest.UsageError) as error:
            allowed = ": true and false are allowed" if name in FLAGS else ""
            raise pytest.UsageError(f"{ini_of(name)}: {error}{allowed}") from None

    def _source(self, name: str) -> str:
        """Return what an option's value is from: itself, or the key of the configuration file."""
        given = getattr(self._config.option, ini_of(name), None)
        return f"{ON}-{name}" if given else ini_of(name)

    def _words(self) -> list[tuple[str, str]]:
        words = words_of(self._config)
        return list(zip(words, [*words[1:], ""], strict=True))


def is_stream(file: Path) -> bool:
    """Whether something is there that is no file, but a pipe or a device: what is written stays."""
    return file.exists() and not file.is_file()


def _is_ours(name: str, file: Path) -> bool:
    """Whether a file is a profile, as far as its start tells; or empty, a pipe or a device."""
    if is_stream(file):
        return True
    try:
        with file.open("rb") as opened:
            begins = opened.read(_BEGINNING)
    except OSError:  # it may still be written to
        return True
    return not begins.strip() or _OURS[name] in begins


_BEGINNING = 65_536
_OURS = {
    "json": b'"schema_version"',
    "save": b'"schema_version"',
    "html": b'<script type="application/json" id="report">',
    "speedscope": b"speedscope.app",
}
"""What is at the beginning of the files that are written."""
