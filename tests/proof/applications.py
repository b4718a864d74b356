"""The applications that are observed: how to run each, on what, and who must be found in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from textwrap import dedent
from typing import NamedTuple

REQUIREMENTS = (
    "datasette==0.65.5",
    "datasette-cluster-map==0.18.2",
    "datasette-vega==0.6.2",
    "hatchling==1.33.0",
    "hatch-fancy-pypi-readme==25.1.0",
    "hatch-vcs==0.5.0",
    "kedro==1.7.0",
    "llm==0.36",
    "llm-echo==0.5",
    "pytest==9.2.0",
    "pytest-randomly==5.1.0",
    "pytest-xdist==3.8.0",
    "python-lsp-black==2.0.0",
    "python-lsp-ruff==2.3.4",
    "python-lsp-server==1.15.0",
    "sqlfluff==4.5.0",
    "tox==4.67.15",
    "tox-uv==1.37.1",
)
"""One environment for all: each has a manager of its own, and finds its own plugins."""


class Application(NamedTuple):
    """A program and what it does: `says` is in its output, `keep` are the files that it makes.

    `before` are run first, to make what it works on. `plugins` must have rows. `order` undoes what
    no two runs of it agree on.
    """

    words: tuple[str, ...]
    project: str
    plugins: frozenset[str]
    files: Mapping[str, str]
    says: str
    exit_code: int = 0
    given: str = ""
    before: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    variables: Mapping[str, str] = {}
    order: Callable[[str], object] = str


def _pytest() -> Application:
    conftest = """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(item):
            return (yield)

        @pytest.hookimpl(hookwrapper=True)
        def pytest_pyfunc_call(pyfuncitem):
            yield

        def pytest_report_header():
            return "a line of ours"
    """
    tests = """
        import random
        import pytest

        @pytest.mark.parametrize("number", range(20))
        def test_number(number):
            assert number != 7, random.random()

        def test_skipped():
            pytest.skip("today")

        @pytest.fixture
        def broken():
            raise OSError

        def test_error(broken):
            pass
    """
    return Application(
        words=("pytest", "-v", "-p", "no:cacheprovider", "-p", "rare", "--randomly-seed=7"),
        project="pytest",
        plugins=frozenset({"randomly", "xdist", "anyio", "conftest.py", "rare"}),
        files={
            "conftest.py": dedent(conftest),
            "test_some.py": dedent(tests),
            "rare.py": "def pytest_collection_finish(session): print(len(session.items))\n",
        },
        says="1 failed, 19 passed, 1 skipped, 1 error",
        exit_code=1,
        variables={"PYTHONPATH": "."},
    )


def _datasette() -> Application:
    make = """
        import sqlite3
        connection = sqlite3.connect("places.db")
        connection.execute("create table places (id integer primary key, latitude, longitude)")
        connection.execute("insert into places values (1, 52.5, 13.4)")
        connection.commit()
    """
    return Application(
        words=("datasette", "places.db", "--get", "/places/places"),
        project="datasette",
        plugins=frozenset({"cluster_map", "vega"}),
        files={"make.py": dedent(make)},
        before=("python", "make.py"),
        says="datasette-cluster-map.js",
    )


def _hatchling() -> Application:
    project = """
        [build-system]
        requires = ["hatchling", "hatch-vcs", "hatch-fancy-pypi-readme"]
        build-backend = "hatchling.build"

        [project]
        name = "thing"
        dynamic = ["version", "readme"]

        [tool.hatch.version]
        source = "vcs"

        [tool.hatch.metadata.hooks.fancy-pypi-readme]
        content-type = "text/markdown"

        [[tool.hatch.metadata.hooks.fancy-pypi-readme.fragments]]
        text = "# Thing"
    """
    return Application(
        words=("hatchling", "build"),
        project="hatch",
        plugins=frozenset({"vcs", "fancy-pypi-readme"}),
        files={"pyproject.toml": dedent(project), "thing/__init__.py": "x = 1\n"},
        says="dist/thing-1.2.3",
        keep=("dist/*",),
        variables={"SETUPTOOLS_SCM_PRETEND_VERSION": "1.2.3"},
    )


def _kedro() -> Application:
    project = """
        [tool.kedro]
        package_name = "shop"
        project_name = "shop"
        kedro_init_version = "1.7.0"
        source_dir = "src"
    """
    hooks = """
        from kedro.framework.hooks import hook_impl

        class Loud:
            @hook_impl
            def before_node_run(self, node):
                print("runs", node.name)
    """
    registry = """
        from kedro.pipeline import Pipeline, node

        def register_pipelines():
            first = node(lambda: 20, None, "a", name="first")
            second = node(lambda a: print(a + 1), "a", None, name="second")
            return {"__default__": Pipeline([first, second])}
    """
    logging = """
        version: 1
        formatters: {plain: {format: "%(levelname)s %(name)s %(message)s"}}
        handlers: {out: {class: logging.StreamHandler, formatter: plain, stream: ext://sys.stdout}}
        root: {handlers: [out], level: INFO}
    """
    return Application(
        words=("kedro", "run"),
        project="kedro",
        plugins=frozenset({"kedro-telemetry", "shop.hooks.Loud"}),
        files={
            "pyproject.toml": dedent(project),
            "logging.yml": dedent(logging),
            "conf/base/catalog.yml": "{}",
            "conf/base/parameters.yml": "{}",
            "conf/local/empty.yml": "{}",
            "src/shop/__init__.py": "",
            "src/shop/settings.py": "from shop.hooks import Loud\nHOOKS = (Loud(),)\n",
            "src/shop/hooks.py": dedent(hooks),
            "src/shop/pipeline_registry.py": dedent(registry),
        },
        says="runs second",
        variables={"KEDRO_LOGGING_CONFIG": "logging.yml", "DO_NOT_TRACK": "1"},
    )


def _llm() -> Application:
    return Application(
        words=("llm", "-m", "echo", "--no-stream", "hello"),
        project="llm",
        plugins=frozenset({"echo"}),
        files={"user/empty.txt": ""},
        says='"prompt": "hello"',
        variables={"LLM_USER_PATH": "user"},
    )


def _lsp() -> Application:
    def message(**fields: object) -> str:
        body = json.dumps({"jsonrpc": "2.0", **fields})
        return f"Content-Length: {len(body)}\r\n\r\n{body}"

    def answers(output: str) -> object:
        found = (part.partition("{") for part in output.split("Content-Length:"))
        return sorted(brace + rest for _, brace, rest in found if '"id":' in rest)

    document = {"uri": "file:///thing.py"}
    text = "import os\n\n\ndef double( x ):\n    return  2*x\n"
    opened = document | {"languageId": "python", "version": 1, "text": text}
    place = {"textDocument": document, "position": {"line": 3, "character": 6}}
    asked = {"textDocument": document, "options": {"tabSize": 4, "insertSpaces": True}}
    begin: dict[str, object] = {"processId": None, "rootUri": "file:///", "capabilities": {}}
    return Application(
        words=("pylsp",),
        project="pylsp",
        plugins=frozenset({"ruff", "black"}),
        files={"empty.txt": ""},
        given=message(id=1, method="initialize", params=begin)
        + message(method="initialized", params={})
        + message(method="textDocument/didOpen", params={"textDocument": opened})
        + message(id=2, method="textDocument/documentSymbol", params={"textDocument": document})
        + message(id=3, method="textDocument/hover", params=place)
        + message(id=4, method="textDocument/formatting", params=asked)
        + message(id=5, method="shutdown", params=None)
        + message(method="exit", params=None),
        says="return 2 * x",
        order=answers,
    )


def _sqlfluff() -> Application:
    return Application(
        words=("sqlfluff", "fix", "a.sql"),
        project="sqlfluff-plugin",
        plugins=frozenset(),  # all of its rules are plugins, and all are its own
        files={
            "a.sql": "select A, b from  t where x=1\n",
            ".sqlfluff": "[sqlfluff]\ndialect = ansi\n",
        },
        says="8 fixable linting violations found",
        keep=("a.sql",),
    )


def _tox() -> Application:
    settings = """
        [tox]
        env_list = hello
        no_package = true

        [testenv:hello]
        skip_install = true
        commands = python -c "import sys; print('hello', sys.argv[1:])" {posargs}
    """
    return Application(
        words=("tox", "run", "-e", "hello", "--", "you"),
        project="tox",
        plugins=frozenset({"tox-uv"}),
        files={"tox.ini": dedent(settings)},
        says="hello ['you']",
    )


APPLICATIONS = {
    "datasette": _datasette(),
    "hatchling": _hatchling(),
    "kedro": _kedro(),
    "llm": _llm(),
    "pytest": _pytest(),
    "python-lsp-server": _lsp(),
    "sqlfluff": _sqlfluff(),
    "tox": _tox(),
}
