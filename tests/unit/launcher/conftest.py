"""A small program on pluggy, with plugins in modules of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

SHOP = '''
import sys

import pluggy

spec = pluggy.HookspecMarker("shop")


class Spec:
    @spec
    def sell(self, item):
        """Sell an item."""


def main():
    manager = pluggy.PluginManager("shop")
    manager.add_hookspecs(Spec)
    for name in ("thrifty", "lavish"):
        manager.register(__import__(name), name)
    print([manager.hook.sell(item=item) for item in range(3)])


if __name__ == "__main__":
    main()
'''
PLUGIN = """
import time

import pluggy

impl = pluggy.HookimplMarker("shop")


@impl
def sell(item):
    time.sleep({})
    return item
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with `shop.py` and its two plugins; `lavish` takes 20 ms a call."""
    files = {"shop": SHOP, "thrifty": PLUGIN.format(0), "lavish": PLUGIN.format(0.02)}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path
