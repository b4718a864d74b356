"""Plugins that probably nobody would miss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pluginhost.attribution.distributions import Distributions
from pluginhost.costs import Candidate, HookCost, PluginCost


def candidates_among(
    plugins: Iterable[PluginCost], hooks: Sequence[HookCost], installed: Distributions
) -> tuple[Candidate, ...]:
    """Return the plugins that came along with something else and returned nothing to anybody.

    What they do beside returning results is not seen: they are candidates, no more.
    """
    plugins = list(plugins)
    active = {row.distribution for row in plugins} - {"pluginhost"}  # needs none of them
    found = []
    for row in plugins:
        known = installed.named(row.distribution) if row.distribution else None
        if known is None or row.remedy is None or installed.requested(known.name):
            continue
        requirers = installed.requirers(known.name)
        if not requirers or not active.isdisjoint(requirers):  # a plugin may fail without it
            continue
        mine = [hook for hook in hooks if hook.plugin in row.parts]
        if any(hook.returned_none < hook.calls for hook in mine):
            continue
        calls = sum(hook.calls for hook in mine)
        reason = f"installed for {_listed(requirers)}; "
        reason += f"returned nothing in {calls:,} calls" if calls else "never called"
        found.append(
            Candidate(
                plugin=row.name,
                distribution=row.distribution,
                reason=reason,
                saving_ns=row.saving_ns,
                remedy=row.remedy,
            )
        )
    return tuple(found)


def _listed(names: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
