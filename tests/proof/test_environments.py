"""Environments for real programs: made once, and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof.environments import ROOT, environment, source_of

pytestmark = pytest.mark.proof


def test_an_environment_has_what_it_requires_and_us(tmp_path: Path) -> None:
    """The version that was asked for, and this project as it is now; asked again, it is there."""
    found = environment("small", ["pluggy==1.6.0"])
    code = "import pluggy, pluginhost; print(pluggy.__version__, pluginhost.__file__)"
    done = found.run([found.python, "-c", code], cwd=tmp_path)
    assert done.stdout == f"1.6.0 {ROOT / 'pluginhost' / '__init__.py'}\n"
    made = (found.folder / "ready").stat().st_mtime_ns
    assert environment("small", ["pluggy==1.6.0"]) == found
    assert (found.folder / "ready").stat().st_mtime_ns == made


def test_a_source_distribution_is_unpacked() -> None:
    """With its tests, which wheels do not have."""
    assert (source_of("jinja2==3.1.6") / "tests" / "test_api.py").is_file()
