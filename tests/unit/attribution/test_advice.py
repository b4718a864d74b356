"""How to run without a plugin, and who probably nobody would miss."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluginhost.attribution.advice import remedy_for
from pluginhost.attribution.candidates import candidates_among
from pluginhost.attribution.distributions import Distributions
from pluginhost.attribution.owners import Unit
from pluginhost.costs import PluginCost, PluginKind


def row(name: str) -> PluginCost:
    """Return the row of a plugin that did nothing, of a distribution with its name."""
    figures = dict.fromkeys(
        ("calls", "errors", "import_ns", "hooks_inclusive_ns", "hooks_self_ns", "self_ns"), 0
    )
    return PluginCost(
        name=name,
        kind=PluginKind.INSTALLED,
        distribution=name,
        version="1",
        parts=(name,),
        remedy=f"-p no:{name}",
        **figures,
    )


@pytest.mark.parametrize(("plugins", "found"), [(("lower",), ["lower"]), (("lower", "upper"), [])])
def test_what_an_active_plugin_requires_is_no_candidate(tmp_path: Path, plugins, found) -> None:
    """A plugin may fail without what its distribution requires; a library that is there does not."""
    for name, requires in (("lower", ""), ("upper", "Requires-Dist: lower\n")):
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{requires}"
        )
        (info / "RECORD").write_text(f"{name}.py,,\n")
    installed = Distributions([str(tmp_path)])
    candidates = candidates_among(map(row, plugins), (), installed)
    assert [each.plugin for each in candidates] == found


@pytest.mark.parametrize(
    ("named", "found", "remedy"),
    [
        (False, False, "-p no:a"),
        (True, False, "leave out -p a"),
        (True, True, "-p no:a in place of -p a"),
    ],
)
def test_how_to_leave_a_plugin_of_pytest_out(named, found, remedy) -> None:
    """What was named on the command line is loaded by that, and maybe found without."""
    unit = Unit("a", PluginKind.LOCAL, "pytest", "a", None, None, ("a",), named, found)
    assert remedy_for(unit) == remedy
