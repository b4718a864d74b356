"""Fixtures shared by the tests and by the programs in the documentation.

`plugin_folder` writes plugins into a folder, `distribution` pretends to install one, `make_host`
makes hosts that are closed when the test is over, `quiet` waits for the threads of earlier
tests to end, and `ctrl_c` is for tests that press it.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from pluginhost import PluginHost

Files = Mapping[str, str | bytes]

# A test that takes longer than it did on a quiet machine has not failed.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("brief", settings.get_profile("patient"), max_examples=20)
settings.load_profile("patient")

APART = {"slow", "proof"}
"""Marks of tests that are only run when they are asked for."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `slow` or `proof` unless `-m` names that, whatever else it says."""
    named = {marker for marker in APART if marker in config.option.markexpr}
    left_out = [item for item in items if (own := _apart(item)) and not own & named]
    items[:] = [item for item in items if not (own := _apart(item)) or own & named]
    config.hook.pytest_deselected(items=left_out)


def _apart(item: pytest.Item) -> set[str]:
    return APART & {mark.name for mark in item.iter_markers()}


@pytest.fixture(scope="module", autouse=True)
def _quick_collections() -> Iterator[None]:
    """Have the collector, which each unload calls, leave alone what was there before.

    Afterwards nothing may be traced that was not: all other tests would take some times as long.
    """
    gc.collect()
    gc.freeze()
    traced = tracemalloc.is_tracing()
    yield
    assert tracemalloc.is_tracing() is traced, "a test has left tracemalloc tracing"


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Have Ctrl-C mean what it means to a program in the foreground, however tests are run."""
    own = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, own)


@pytest.fixture
def plugin_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return `write(files, name="plugins")`, which writes files by relative path.

    Text is dedented. The folder is returned; writing again adds files and replaces them.
    """

    def write(files: Files, *, name: str = "plugins") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder, files)
        return folder

    return write


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Return `install(name, ...)`, which lays out a distribution in a folder on `sys.path`.

    It takes the text of `entry_points.txt` (None: no such file), that of `METADATA` (by default
    one with name and version), and further files, such as modules, by relative path. `site` names
    the folder; the first used comes first on the path. Returns the `.dist-info` folder.
    """
    sites: list[str] = []

    def install(
        name: str,
        entry_points: str | bytes | None,
        *,
        version: str = "1.0",
        metadata: str | bytes | None = "",
        files: Files | None = None,
        site: str = "site",
    ) -> Path:
        folder = tmp_path / site
        if str(folder) not in sites:
            sites.append(str(folder))
            monkeypatch.setattr(sys, "path", [*sites, *(p for p in sys.path if p not in sites)])
        if metadata == "":
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        own = {"METADATA": metadata, "entry_points.txt": entry_points}
        _write(info, {path: text for path, text in own.items() if text is not None})
        _write(folder, files or {})
        importlib.invalidate_caches()
        return info

    yield install
    for module_name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(tuple(s + os.sep for s in sites)):
            del sys.modules[module_name]


@pytest.fixture
def make_host() -> Iterator[Callable[..., PluginHost]]:
    """Return `make(*sources, **options)`, which makes a host that is closed after the test."""
    hosts: list[PluginHost] = []

    def make(*sources: Any, name: str = "test", **options: Any) -> PluginHost:
        hosts.append(PluginHost(name, sources=map(_text_of, sources), **options))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


@pytest.fixture
def quiet() -> None:
    """Wait until no other thread is alive: threads and memory are figures of the whole process."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(30)
    assert threading.active_count() == 1, threading.enumerate()


def _text_of(source: Any) -> Any:
    return str(source) if isinstance(source, Path) else source


def _write(folder: Path, files: Files) -> None:
    for relative, content in files.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else dedent(content).encode())
