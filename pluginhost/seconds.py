"""Durations that people give, in seconds."""

from __future__ import annotations

from pluginhost.errors import InvalidValueError


def ns_of_seconds(value: float, what: str, *, limit_s: float = 366 * 86_400.0) -> int:
    """Return seconds given by hand as ns; refuses what is negative, not finite or over a year."""
    try:
        possible = type(value) is not bool and 0 <= value <= limit_s
    except TypeError:
        possible = False
    if not possible:
        raise InvalidValueError(
            f"{what} is {value!r}", remedy=f"give seconds between 0 and {limit_s:.0f}"
        )
    return round(value * 1_000_000_000)
