"""Where a run took place, as reports say it."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version

import pluggy
import pytest

from pluginhost.environment import environment


def test_the_environment_is_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python's own library names it, without the process that it starts to do so."""
    expected = platform.platform()
    platform._platform_cache.clear()  # type: ignore[attr-defined]
    monkeypatch.setattr(subprocess, "check_output", pytest.fail)
    found = environment()
    assert found.platform == expected
    assert found.python == platform.python_version()
    assert (found.pluggy, found.pluginhost) == (pluggy.__version__, version("pluginhost"))
