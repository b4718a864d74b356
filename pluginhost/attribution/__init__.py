"""From what was recorded in the processes of a program to what each of its plugins cost."""

from __future__ import annotations

from pluginhost.attribution.costing import NEGLIGIBLE, Parted, costs_of, parted_of

__all__ = ["NEGLIGIBLE", "Parted", "costs_of", "parted_of"]
