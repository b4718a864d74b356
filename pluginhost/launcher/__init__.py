"""Running a program as it is, and recording in its process what its plugins cost."""

from __future__ import annotations
