"""`pluginhost bisect --slow` on a program that nobody here wrote, with a slow plugin among others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof.applications import APPLICATIONS, REQUIREMENTS
from tests.proof.environments import environment

pytestmark = pytest.mark.proof

SLOW = """
import time
from datasette import hookimpl

@hookimpl
def startup(datasette):
    time.sleep(1.5)
"""


def test_the_slow_plugin_of_datasette_is_found(tmp_path: Path) -> None:
    """It lies in a folder of plugins, beside two that are installed and one that does nothing."""
    env, application = environment("applications", REQUIREMENTS), APPLICATIONS["datasette"]
    for name, text in application.files.items():
        (tmp_path / name).write_text(text)
    assert env.run(application.before, cwd=tmp_path).returncode == 0
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "dawdler.py").write_text(SLOW)
    (tmp_path / "plugins" / "idler.py").write_text(SLOW.replace("1.5", "0"))
    words = [*application.words, "--plugins-dir", "plugins"]
    done = env.run([env.python, "-m", "pluginhost", "bisect", "--slow", "--", *words], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "dawdler.py makes it slow" in done.stdout, done.stderr
