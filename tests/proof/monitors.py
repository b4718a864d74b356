"""Prometheus, rotel, and `pluginhost serve-metrics`, each a process of its own while it is needed."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

from tests.proof.consumers import tool
from tests.proof.environments import ROOT, environment

PATIENCE_S = 60
ROTEL = "rotel==0.0.1a15"


@contextmanager
def process(words: list[object], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a command, and end it afterwards."""
    with subprocess.Popen([str(word) for word in words], text=True, **options) as running:
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()


@contextmanager
def served(folder: Path, *words: object) -> Iterator[int]:
    """Serve metrics, with the token in `folder`; give the port."""
    command = [sys.executable, "-m", "pluginhost", "serve-metrics", "--port", "0", *words]
    token = ["--token-file", folder / "metrics.token"]
    with process([*command, *token], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        found = re.search(r":(\d+)/metrics$", first)
        assert found, first
        yield int(found[1])


def configuration() -> str:
    """Return the configuration for Prometheus that the documentation shows."""
    page = (ROOT / "docs" / "how-to" / "monitor-plugins.md").read_text(encoding="utf-8")
    found = re.search(r'^```yaml title="prometheus.yml"\n(.+?)^```', page, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


@contextmanager
def prometheus(folder: Path, config: str) -> Iterator[Callable[[str], dict[str, float]]]:
    """Run Prometheus with its configuration in `folder`; give `query(text)`: values by plugin."""
    (folder / "prometheus.yml").write_text(config, encoding="utf-8")
    port = _free_port()
    words = [tool("prometheus"), f"--config.file={folder / 'prometheus.yml'}"]
    words += [f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "log").open("w") as log, process([*words], stdout=log, stderr=log):
        opener = build_opener(ProxyHandler({}))

        def query(text: str) -> dict[str, float]:
            asked = urlencode({"query": text})
            with opener.open(f"http://127.0.0.1:{port}/api/v1/query?{asked}", timeout=30) as answer:
                found = json.load(answer)["data"]["result"]
            return {row["metric"].get("plugin", ""): float(row["value"][1]) for row in found}

        yield query


@contextmanager
def rotel(target: str, folder: Path) -> Iterator[str]:
    """Run the collector rotel, which sends all that it takes to `target`; give its endpoint."""
    installed = environment("rotel", [ROTEL])
    (agent,) = installed.folder.glob("lib/python*/site-packages/rotel/rotel-agent")
    port = _free_port()
    words = [agent, "start", "--otlp-http-endpoint", f"127.0.0.1:{port}", "--disable-batching"]
    words += ["--otlp-grpc-endpoint", f"127.0.0.1:{_free_port()}", "--exporter", "otlp"]
    words += ["--otlp-exporter-endpoint", target, "--otlp-exporter-protocol", "http"]
    with (folder / "rotel.log").open("w") as log, process([*words], stdout=log, stderr=log):
        wait_for(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"


def wait_for(condition: Callable[[], Any]) -> Any:
    """Return what `condition` returns as soon as it is true, within a minute."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = condition()
        except OSError:
            found = None
        if found:
            return found
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
