"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from pluginhost.cli import main


@pytest.fixture
def pluginhost(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return `run(*arguments)`, which runs the command in this process, 80 columns wide."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(main, [str(a) for a in arguments], prog_name="pluginhost")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
