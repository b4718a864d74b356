"""How many examples hypothesis makes, for tests that say so themselves."""

from __future__ import annotations

from hypothesis import settings


def examples(count: int) -> int:
    """Return `count`, or what the profile says if that is one of fewer examples, such as `brief`."""
    profile, usual = settings.default, settings.get_profile("default")
    assert profile is not None
    return min(count, profile.max_examples) if profile.max_examples < usual.max_examples else count
