"""What was asked for, on the command line or in a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pluginhost.pytest_plugin.asking import FILES, FLAGS, VALUES, ini_of, is_wanted, words_of


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
        values = [known.get(ini_of(name)) for name in (*FILES, *VALUES, *FLAGS)]
        return is_wanted(early_config, words_of(early_config)) and (
            any(values) or bool(early_config.getini("plugin_profile"))
        )

    def check(self) -> None:
        """Raise a usage error for what cannot work, before any test has run."""
        self.fail_over()
        for name in ("json", "html", "speedscope", "markdown", "save"):
            file = self.file(name)
            if file is not None and (file.is_dir() or not file.parent.is_dir()):
                raise pytest.UsageError(
                    f"--plugin-profile-{name}: {file} cannot be written: choose a file in a"
                    " folder that exists"
                )
        memory = self.value("memory")
        if memory and memory not in ("rss", "exact"):
            raise pytest.UsageError(f"plugin_profile_memory: {memory!r} is neither rss nor exact")

    def file(self, name: str) -> Path | None:
        """Return a file that is to be written or read, None without one."""
        found = self.value(name)
        return Path(self._config.invocation_params.dir, found) if found else None

    def value(self, name: str) -> str | None:
        """Return what an option is set to, None if it is not."""
        found = getattr(self._config.option, ini_of(name), None) or self._config.getini(
            ini_of(name)
        )
        return str(found) if found else None

    def flag(self, name: str) -> bool:
        """Whether an option is set that has no value."""
        return bool(
            getattr(self._config.option, ini_of(name), False) or self._config.getini(ini_of(name))
        )

    def fail_over(self) -> float | None:
        """Return by how much more time something may take (0.1: a tenth), None if by any."""
        text = self.value("fail-over")
        if text is None:
            return None
        number = text.strip().removesuffix("%")
        try:
            share = float(number) / (100 if text.strip().endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not 0.01 <= share <= 100:
            raise pytest.UsageError(
                f"--plugin-profile-fail-over: {text!r} is no share of 1% or more, such as 10%"
            )
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
        return found or self._config.getini(ini_of(name))

    def _words(self) -> list[tuple[str, str]]:
        words = words_of(self._config)
        return list(zip(words, [*words[1:], ""], strict=True))
