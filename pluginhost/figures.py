"""Figures as people read them: three digits and a unit."""

from __future__ import annotations

from collections.abc import Sequence


def duration(ns: float) -> str:
    """Return a duration with three digits and its unit."""
    for factor, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if ns >= 0.9995 * factor:
            return f"{_three_digits(ns / factor)} {unit}"
    return f"{ns:.0f} ns"


def count(number: int) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,}"


def percent(share: float) -> str:
    """Return a share (0.0-1.0) in percent; a small one is not called nothing."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 <= share < 1:
        return ">99.9 %"
    return f"{100 * share:.1f} %"


def apportioned(amounts: Sequence[int], whole: int) -> list[int]:
    """Return `amounts` in integer parts of `whole` that add up to it (the largest remainder method).

    All zero if the amounts add up to nothing.
    """
    total = sum(amounts)
    if total <= 0:
        return [0] * len(amounts)
    parts = [divmod(amount * whole, total) for amount in amounts]
    missing = whole - sum(part for part, _ in parts)
    largest = sorted(range(len(parts)), key=lambda i: -parts[i][1])[:missing]
    return [part + (i in largest) for i, (part, _) in enumerate(parts)]


def of(number: int, what: str, several: str = "") -> str:
    """Return a number of things, with the plural where there is one: `several`, or with an s."""
    return f"{count(number)} {what if number == 1 else several or what + 's'}"


def size(size_bytes: float) -> str:
    """Return a size with three digits and its unit."""
    for factor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size_bytes >= 0.9995 * factor:
            return f"{_three_digits(size_bytes / factor)} {unit}"
    return f"{size_bytes:.0f} B"


def compact(number: int) -> str:
    """Return a count in at most six columns, exact under a million."""
    for power, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= max(0.99995 * power, 1e6):
            return f"{number / power:.1f}{unit}" if number < 999.95e12 else ">999T"
    return str(number)


def short(ns: float) -> str:
    """Return a duration in at most seven columns."""
    if ns >= 359_995e9:
        return f"{ns / 86_400e9:.0f}d" if ns < 86_400e9 * 99_999 else ">99999d"
    if ns >= 99_995e9:
        return f"{ns / 3600e9:.1f}h"
    return duration(ns).replace(" ", "").replace(",", "")


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"
