"""Budgets: by how much, or up to what, each plugin may get slower."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from pluginhost.errors import InvalidValueError

ALL = "*"
"""Stands for every plugin that has no budget of its own."""

_UNITS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
_AMOUNT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(%|ns|us|ms|s)")
_REMEDY = "write PLUGIN=10%, PLUGIN=20ms, or 10% for all that have none of their own"


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What one plugin is allowed: to get slower by a share, or to take so many ns, or both.

    `plugin` is an id, or `*` for every plugin that has no budget of its own.
    """

    plugin: str = ALL
    share: float | None = None
    limit_ns: int | None = None

    def __str__(self) -> str:
        parts = [] if self.share is None else [f"+{100 * self.share:g}%"]
        if self.limit_ns is not None:
            unit, size = next((u, s) for u, s in reversed(_UNITS.items()) if self.limit_ns >= s)
            parts.append(f"{self.limit_ns / size:g}{unit}")
        return ", ".join(parts)


DEFAULT_BUDGETS = (Budget(share=0.1),)


def budget_of(text: str) -> Budget:
    """Return the budget that `text` says: `PLUGIN=10%`, `PLUGIN=20ms`, or `10%` for all others.

    What stands after the last `=` counts, so ids may have one. Raises `InvalidValueError`.
    """
    plugin, equals, amount = text.rpartition("=")
    found = _AMOUNT.fullmatch(amount.strip())
    if found is None or (equals and not plugin):
        raise InvalidValueError(f"{text!r} is not a budget", remedy=_REMEDY)
    number, unit = float(found[1]), found[2]
    if unit == "%":
        return _checked(Budget(plugin=plugin or ALL, share=number / 100))
    return _checked(Budget(plugin=plugin or ALL, limit_ns=round(number * _UNITS[unit])))


def by_plugin(budgets: Iterable[Budget], known: Iterable[str]) -> dict[str, Budget]:
    """Return the budgets by plugin id, those of one plugin together.

    Raises `InvalidValueError` for one of a plugin that is not in `known`: a budget that is misspelt
    must not pass for one that is kept.
    """
    found: dict[str, Budget] = {}
    for budget in map(_checked, budgets):
        before = found.get(budget.plugin, budget)
        found[budget.plugin] = Budget(
            plugin=budget.plugin,
            share=budget.share if budget.share is not None else before.share,
            limit_ns=budget.limit_ns if budget.limit_ns is not None else before.limit_ns,
        )
    unknown = sorted(found.keys() - {ALL, *known})
    if unknown:
        raise InvalidValueError(
            f"there is a budget for {unknown[0]!r}, which is in neither run",
            remedy=f"check its name; there are: {', '.join(sorted(known)) or 'none'}",
        )
    return found


def smallest_share(budgets: Sequence[Budget]) -> float:
    """Return the smallest share that any of them allows, 10 % where none does."""
    shares = [budget.share for budget in budgets if budget.share is not None]
    return min(shares, default=0.1)


def _checked(budget: Budget) -> Budget:
    share, limit_ns = budget.share, budget.limit_ns
    if share is None and limit_ns is None:
        raise InvalidValueError("a budget allows nothing", plugin_id=budget.plugin, remedy=_REMEDY)
    if share is not None and not 0.01 <= share <= 100:
        raise InvalidValueError(
            f"the budget is {share!r} of what it was",
            plugin_id=budget.plugin,
            remedy="give 1 % to 10000 %: durations are kept to 0.4 %",
        )
    if limit_ns is not None and not 1 <= limit_ns < 2**63:
        raise InvalidValueError(
            f"the budget is {limit_ns!r} ns", plugin_id=budget.plugin, remedy="give more than 0"
        )
    return budget
