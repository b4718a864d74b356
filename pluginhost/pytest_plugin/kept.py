"""Which plugins cannot simply be left out, and why: tests, options or other plugins need them."""

from __future__ import annotations

from collections.abc import Sequence

from pluginhost.attribution import Parted
from pluginhost.capture import FIXTURE
from pluginhost.costs import PluginKind
from pluginhost.printable import fitted
from pluginhost.pytest_plugin.parts import OURS
from pluginhost.pytest_plugin.suite_capture import SuiteCapture


class Kept:
    """Knows why plugins must stay, by the names of their rows."""

    def __init__(self, captured: Sequence[SuiteCapture], parted: Parted) -> None:
        self._parted = parted
        self._fixtures = _fixtures(captured, parted)
        self._used = _used(captured, parted)

    def why(self, name: str) -> str | None:
        """Return why a plugin must stay, None if nobody is known to need it."""
        fixtures = self._fixtures.get(name)
        if fixtures is not None:
            return _requested(fixtures)
        return self._used.get(name) or self._required(name)

    def _required(self, name: str) -> str | None:
        """Return which other plugin's distribution requires that of this one."""
        units = self._parted.owners.units
        distribution = units[name].distribution if name in units else None
        if distribution is None:
            return None
        requirers = set(self._parted.installed.requirers(distribution))
        for other in units.values():
            if other.name in OURS:  # this needs libraries, and none as a plugin
                continue
            if other.kind is PluginKind.INSTALLED and other.distribution in requirers:
                return f"{fitted(other.name, 20).rstrip()} needs it"
        return None


def unmeasured_imports(captured: SuiteCapture, parted: Parted) -> tuple[str, ...]:
    """Return the plugins whose imports came before what was recorded, and were not estimated."""
    if any(call.estimated for call in captured.capture.calls):
        return ()
    names = (parted.owners.of_import(each, None, by_module=True) for each in captured.early)
    return tuple(dict.fromkeys(each for each in names if each is not None and each not in OURS))


def _fixtures(captured: Sequence[SuiteCapture], parted: Parted) -> dict[str, list[str]]:
    """Return the plugins that tests cannot do without, and which of their fixtures they request."""
    found: dict[str, dict[str, None]] = {}
    for each in (each for suite in captured for each in suite.needed):
        unit = parted.owners.of_plugin(f"{FIXTURE}{each.module}")
        if unit is not None:
            names = found.setdefault(unit, {})
            if each.fixture:
                names[each.fixture] = None
    return {unit: list(names) for unit, names in found.items()}


def _used(captured: Sequence[SuiteCapture], parted: Parted) -> dict[str, str]:
    """Return the plugins of which something is in use, and what."""
    names = {
        plugin.registered_name: plugin.name
        for manager in parted.managers
        for plugin in manager.plugins
    }
    found: dict[str, str] = {}
    for each in (each for suite in captured for each in suite.used):
        unit = parted.owners.of_plugin(names.get(each.plugin, each.plugin))
        if unit is not None:
            found.setdefault(unit, each.why)
    return found


def _requested(fixtures: Sequence[str]) -> str:
    """Return that tests would fail without a plugin, in words."""
    if not fixtures:
        return "tests are of its kind"
    more = f" and {len(fixtures) - 1} more" if len(fixtures) > 1 else ""
    return f"tests request {fitted(fixtures[0], 20).rstrip()}{more}"
