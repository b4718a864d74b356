"""Files for what is written and read back, whatever the system has."""

from __future__ import annotations

import os

import pytest

from pluginhost.host.scratch import scratch_file


def _refused(_name):
    raise OSError("not here")


@pytest.fixture(params=["in memory", "unknown", "refused"])
def system(request, monkeypatch):
    """A system that has such files, one that has none, and one that forbids them."""
    if request.param == "unknown":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif request.param == "refused":
        monkeypatch.setattr(os, "memfd_create", _refused, raising=False)


@pytest.mark.usefixtures("system")
def test_what_is_written_by_descriptor_is_read_back():
    """Others write into it by its descriptor; each file is one of its own."""
    with scratch_file() as file, scratch_file() as other:
        os.write(file.fileno(), b"one line\nanother")
        file.seek(0)
        assert file.read() == b"one line\nanother"
        assert other.read() == b""


@pytest.mark.usefixtures("system")
def test_no_program_inherits_it():
    """It is closed where another program begins, unless somebody passes it on."""
    with scratch_file() as file:
        assert not os.get_inheritable(file.fileno())
