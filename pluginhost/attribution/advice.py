"""How to run without a plugin."""

from __future__ import annotations

from pluginhost.attribution.owners import Unit
from pluginhost.costs import PluginKind

LEAVE_OUT = "leave out "
"""Begins a remedy that is to take something out of the words that the program is given."""


def remedy_for(unit: Unit) -> str | None:
    """Return what to do to run without a plugin, None for what belongs to the program's user."""
    if unit.kind in (PluginKind.BUILT_IN, PluginKind.CONFTEST):
        return None
    if unit.registered_name.isdigit():
        return None  # the manager made the name up, another one each time
    if unit.project == "pytest":
        return _for_pytest(unit)
    if unit.distribution is not None:
        return f"pip uninstall {unit.distribution}"
    return None


def _for_pytest(unit: Unit) -> str:
    if not unit.named:
        return f"-p no:{unit.registered_name}"
    if unit.found:
        return f"-p no:{unit.registered_name} in place of -p {unit.registered_name}"
    return f"{LEAVE_OUT}-p {unit.registered_name}"
