"""How the sections of a suite are called in the call tree."""

from __future__ import annotations

BODIES = "tests"
SETTING_UP, TEARING_DOWN = "set up ", "tear down "
"""Begin the names of what fixtures do; the key of the fixture follows."""
COLLECTING = "collect "
"""Begins the name of collecting; the file follows, as pytest's node ids have it."""
REWRITING = "rewrite assertions"
"""An import without a name of its own: so it belongs to whoever imports what is rewritten."""
ENDING = "end"
"""What pytest does after its plugins were told that it ends, and the process after pytest."""
