"""How often is too often: crashes in time, by a clock that the test sets."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pluginhost.host.runners.quarantine import CrashPolicy, Quarantine, state_path


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self):
        self.now = 1e9

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """Return a clock."""
    return Clock()


@pytest.fixture
def make(tmp_path, clock):
    """Return a function that makes a quarantine, as a host does that was just started."""
    return lambda **policy: Quarantine(
        lambda: tmp_path / "folder" / "crashes.json", CrashPolicy(**policy), clock=clock
    )


def test_each_restart_waits_longer(make):
    """Twice as long, up to a limit."""
    found = make(max_crashes=9, backoff_s=0.1, max_backoff_s=1.0)
    waits = [found.crashed("p", "1", "boom") for _ in range(6)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_three_crashes_in_five_minutes(make, clock):
    """The third is one too many; a plugin that nobody spoke of is not concerned."""
    found = make()
    assert found.crashed("p", "1", "a") is not None
    clock.now += 100
    assert found.crashed("p", "1", "b") is not None
    clock.now += 199
    assert found.wait_s("p", "1") is None
    assert found.crashed("p", "1", "c") is None
    assert found.wait_s("p", "1") == 300
    assert found.wait_s("q", "1") is None
    assert "3 crashes within 300 s; the last: c" in str(found.refusal("p", "1"))


def test_crashes_that_are_far_apart(make, clock):
    """Three in more than five minutes are none too many."""
    found = make()
    for _ in range(10):
        assert found.crashed("p", "1", "a") is not None
        clock.now += 151


def test_it_outlives_the_host(make, clock):
    """A new one knows the crashes, the quarantine, and how long it still lasts."""
    make().crashed("p", "1", "a")
    make().crashed("p", "1", "b")
    assert make().crashed("p", "1", "c") is None
    clock.now += 200
    assert make().wait_s("p", "1") == 100


def test_one_probe_and_twice_as_long(make, clock):
    """When it is over, one crash is enough; one success forgets all."""
    found = make()
    for _ in range(3):
        found.crashed("p", "1", "a")
    clock.now += 300
    assert found.wait_s("p", "1") == 0.0
    assert found.refusal("p", "1") is None
    assert found.crashed("p", "1", "b") is None
    assert found.wait_s("p", "1") == 600
    clock.now += 600
    found.recovered("p")
    assert found.wait_s("p", "1") is None
    assert make().wait_s("p", "1") is None
    assert found.crashed("p", "1", "c") is not None


def test_another_version_begins_anew(make):
    """What was mended is not blamed for what it was."""
    found = make(max_crashes=1)
    found.crashed("p", "1", "a")
    assert found.wait_s("p", "1") == 300
    assert found.wait_s("p", "2") is None


def test_a_clock_that_is_set_back(make, clock):
    """The quarantine lasts as long as it would from then, and not for years."""
    found = make(max_crashes=1)
    found.crashed("p", "1", "a")
    clock.now -= 1e8
    assert found.wait_s("p", "1") == 300


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b'{"schema_version": 9, "plugins": {}}', b'{"plugins": {"p": 1}}'],
)
def test_a_broken_file_harms_nobody(make, tmp_path, content):
    """It is written anew."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "crashes.json").write_bytes(content)
    found = make(max_crashes=1)
    assert found.wait_s("p", "1") is None
    found.crashed("p", "1", "a")
    assert make(max_crashes=1).wait_s("p", "1") == 300


def test_a_folder_that_cannot_be_written(tmp_path, clock):
    """What is known is known until the end of the process."""
    (tmp_path / "file").write_text("")
    found = Quarantine(lambda: tmp_path / "file" / "x", CrashPolicy(max_crashes=1), clock=clock)
    assert found.crashed("p", "1", "a") is None
    assert found.wait_s("p", "1") == 300


@given(gaps=st.lists(st.floats(0, 400), min_size=1, max_size=30))
def test_never_more_crashes_than_allowed(gaps):
    """Between quarantines, no five minutes have three crashes."""
    clock = Clock()
    found = Quarantine(lambda: None, CrashPolicy(), clock=clock)
    times = []
    for gap in gaps:
        clock.now += gap
        if found.refusal("p", "1") is None:
            times.append(clock.now)
            if found.crashed("p", "1", "a") is None:
                break
    assert all(c - a > 300 for a, c in zip(times[:-1], times[2:-1], strict=False))


def test_the_platforms_folder(monkeypatch, tmp_path):
    """A file for each host, whatever it is called."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = state_path("../my host/é")
    assert tmp_path in path.parents
    assert path.name == ".._my_host__.crashes.json"
