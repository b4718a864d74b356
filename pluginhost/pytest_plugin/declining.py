"""A session that is recorded already: two recorders would measure each other, so this one declines."""

from __future__ import annotations

from typing import Any

import pytest

_WHY = (
    "this run is recorded already, by 'pluginhost profile' or an observation of your own:"
    " --plugin-profile has left it to that, and shows, writes and compares nothing;"
    " for tests and fixtures, run pytest without the other"
)


class Declining:
    """Says in the terminal why there is no profile."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: Any) -> None:
        """Have no process that runs tests for this one record either."""
        config.option.plugin_profile = False

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say it where the profile would be."""
        terminalreporter.write_line(f"pluginhost: {_WHY}", yellow=True)
