"""`pluginhost serve-metrics`: what it refuses to begin with. What it serves is in `tests/integration`."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from pluginhost.report import Report, write_report

Run = Callable[..., Result]


@pytest.fixture
def saved(
    tmp_path: Path, report_of: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return a saved run, in the working folder; histories and tokens are there, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("PLUGINHOST_HISTORY", "history.sqlite")
    write_report(report_of({"words": [1_000]}), "run.json")
    Path("empty").write_text("")
    return Path("run.json")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(("--bind", "0.0.0.0", "--no-token"), 2, "without a token", id="everybody"),
        pytest.param(("--bind", "::", "--no-token"), 2, "without a token", id="everybody by IPv6"),
        pytest.param(("--bind", "localhost"), 2, "is no IP address", id="a name"),
        pytest.param(("--bind", "192.0.2.1"), 2, "cannot be had", id="an address of others"),
        pytest.param(("--port", "65536"), 2, "--port", id="no port"),
        pytest.param(("--no-token", "--token-file", "x"), 2, "exclude", id="both"),
        pytest.param(("--token-file", "empty"), 2, "token", id="no token"),
        pytest.param(("--max-series", "99"), 2, "--max-series", id="no room"),
        pytest.param(("--name", "x"), 2, "add --history", id="a name without a history"),
        pytest.param(("--history",), 3, "there is no history", id="no history"),
    ],
)
def test_what_cannot_be_served_is_told(
    pluginhost: Run, saved: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """In a line, before anything listens."""
    result = pluginhost("serve-metrics", saved, *arguments)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_a_run_that_is_not_there_is_told(pluginhost: Run, saved: Path) -> None:
    """And one that is no run; without one it is the history that is not there."""
    assert "none.json cannot be read" in pluginhost("serve-metrics", "none.json").stderr
    assert "is not a report" in pluginhost("serve-metrics", "empty").stderr
    assert "there is no history at history.sqlite" in pluginhost("serve-metrics").stderr


def test_a_port_that_is_taken_is_told(pluginhost: Run, saved: Path) -> None:
    """With what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = pluginhost("serve-metrics", saved, "--port", port)
    assert result.exit_code == 2
    assert f"port {port} at 127.0.0.1 is taken - choose another with --port" in result.stderr


@pytest.mark.parametrize("module", ["prometheus_client", "h11"])
def test_without_the_extra_it_is_named(
    pluginhost: Run, saved: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """Whichever of its libraries is missing."""
    monkeypatch.setitem(sys.modules, module, None)
    result = pluginhost("serve-metrics", saved)
    assert result.exit_code == 2
    assert "pip install 'pluginhost[prometheus]'" in result.stderr
