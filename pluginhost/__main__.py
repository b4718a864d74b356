"""`python -m pluginhost` is the command `pluginhost`."""

from __future__ import annotations

from pluginhost.cli import main

if __name__ == "__main__":
    main(prog_name="pluginhost")
