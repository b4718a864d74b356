"""Test suites that nobody here wrote, from their source distributions, with a dozen plugins."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

from pluginhost.report import Report, read_report
from tests.proof.environments import Environment, source_of

PLUGINS = {
    "anyio": "anyio==4.12.0",
    "asyncio": "pytest-asyncio==1.3.0",
    "django": "pytest-django==4.11.1",
    "faker": "faker==38.2.0",
    "html": "pytest-html==4.1.1",
    "hypothesispytest": "hypothesis==6.148.2",
    "pytest_cov": "pytest-cov==7.0.0",
    "pytest_mock": "pytest-mock==3.15.1",
    "randomly": "pytest-randomly==4.0.1",
    "rerunfailures": "pytest-rerunfailures==16.1",
    "syrupy": "syrupy==5.0.0",
    "timeout": "pytest-timeout==2.4.0",
    "xdist": "pytest-xdist==3.8.0",
}
"""The plugins by the names under which pytest knows them."""

_NEEDED = (
    "pytest-forked==1.6.0",
    "trio==0.32.0",
    "cloudpickle==3.1.2",
    "attrs==25.4.0",
    "xmlschema==4.2.0",
    "django==5.2.8",
)
PYTESTS = {"pytest 9": "pytest==9.0.2", "pytest 8": "pytest==8.4.2"}


class Suite(NamedTuple):
    """A suite: where its source is from, and which words pytest gets."""

    source: str
    words: tuple[str, ...]


SUITES = {
    "click": Suite("click==8.3.1", ("tests",)),
    "attrs": Suite(
        "attrs==25.4.0", ("tests/test_funcs.py", "tests/test_slots.py", "tests/test_hooks.py")
    ),
    "jinja2": Suite("jinja2==3.1.6", ("tests",)),
    "pluggy": Suite("pluggy==1.6.0", ("testing", "--ignore=testing/benchmark.py")),
    "pytest": Suite("pytest==9.0.2", ("testing/test_pluginmanager.py", "testing/test_config.py")),
}


class Run(NamedTuple):
    """How a suite ended, and the profile if there was to be one."""

    exit_code: int
    outcomes: list[tuple[str, str, str]]
    output: str
    report: Report | None


def requirements(pytest: str) -> list[str]:
    """Return what an environment for all suites requires."""
    sources = [suite.source for suite in SUITES.values() if not suite.source.startswith("pytest")]
    return [PYTESTS[pytest], *PLUGINS.values(), *_NEEDED, *(s for s in sources if "attrs" not in s)]


def run(env: Environment, suite: Suite, folder: Path, *more: str, profile: bool) -> Run:
    """Run a suite in its own folder, in an order that is random and always the same."""
    words = [env.python, "-m", "pytest", "-p", "no:cacheprovider"]
    words += ["-q", "--randomly-seed=7", f"--junit-xml={folder}/junit.xml"]
    if profile:
        words += ["--plugin-profile", f"--plugin-profile-json={folder}/profile.json"]
    done = env.run([*words, *suite.words, *more], cwd=source_of(suite.source))
    report = read_report(folder / "profile.json") if profile else None
    return Run(done.returncode, _outcomes(folder / "junit.xml"), done.stdout + done.stderr, report)


def _outcomes(file: Path) -> list[tuple[str, str, str]]:
    """Return (class, name, outcome) of each test."""
    return sorted(
        (
            case.get("classname", ""),
            case.get("name", ""),
            ",".join(sorted(child.tag for child in case if not child.tag.startswith("system"))),
        )
        for case in ET.parse(file).getroot().iter("testcase")
    )
