"""The secret in a file."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pluginhost.errors import InvalidValueError
from pluginhost.serving.tokens import default_token_file, token_of

unix = pytest.mark.skipif(sys.platform == "win32", reason="rights of files are Unix's")


def test_a_token_is_made_once(tmp_path: Path) -> None:
    """In folders that are not there yet; the second time it is the same."""
    file = tmp_path / "a" / "b" / "token"
    token = token_of(file)
    assert re.fullmatch(r"[\w-]{43}", token)
    assert token_of(file) == token
    assert [path.name for path in file.parent.iterdir()] == ["token"]
    assert token_of(tmp_path / "other") != token


@unix
def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """Whatever the umask is, and its folder too."""
    before = os.umask(0)
    try:
        token_of(tmp_path / "folder" / "token")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "folder" / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700


def test_two_that_begin_at_once_have_one_token(tmp_path: Path) -> None:
    """And nobody reads half of it."""
    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            assert len(set(pool.map(token_of, [tmp_path / str(number)] * 8))) == 1


def _write(text: str, mode: int = 0o600) -> Callable[[Path], object]:
    def write(file: Path) -> None:
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)

    return write


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(_write(""), "holds no token", id="empty"),
        pytest.param(_write("short"), "holds no token", id="short"),
        pytest.param(_write("with a space in it"), "holds no token", id="space"),
        pytest.param(_write("ä" * 20), "holds no token", id="not ASCII"),
        pytest.param(_write("x" * 5_000 + "\x00"), None, id="long"),
        pytest.param(_write("a" * 40, 0o604), "others may read", id="readable", marks=unix),
        pytest.param(_write("a" * 40, 0o620), "others may read", id="writable", marks=unix),
        pytest.param(lambda file: file.mkdir(mode=0o700), "cannot be used", id="folder"),
        pytest.param(getattr(os, "mkfifo", None), "no regular file", id="pipe", marks=unix),
    ],
)
def test_what_is_no_secret_is_refused(
    make: Callable[[Path], object], said: str | None, tmp_path: Path
) -> None:
    """With the reason; a pipe is not waited for."""
    make(tmp_path / "token")
    if said is None:
        assert len(token_of(tmp_path / "token")) == 4_096
        return
    with pytest.raises(InvalidValueError, match=said):
        token_of(tmp_path / "token")


@unix
def test_a_group_may_read_it(tmp_path: Path) -> None:
    """Prometheus often runs as a user of its own."""
    _write("a" * 40 + "\n", 0o640)(tmp_path / "token")
    assert token_of(tmp_path / "token") == "a" * 40


def test_where_none_can_be_made_it_is_said(tmp_path: Path) -> None:
    """A file in the place of a folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidValueError, match="cannot be used"):
        token_of(tmp_path / "file" / "token")


def test_there_is_a_default_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the data folder, where histories are."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_token_file().name == "metrics.token"
