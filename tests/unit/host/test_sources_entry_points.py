"""Plugins announced by installed distributions, and distributions that are not whole."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys

import pytest

from pluginhost.errors import PluginHostError
from pluginhost.host.sources.entry_points import EntryPointSource
from pluginhost.report import PluginState

GROUP = "test_entry_points.plugins"
BOMB = "raise SystemError('this module must not be imported')"


def points(*lines, group=GROUP):
    """Return the text of an entry_points.txt."""
    return "\n".join([f"[{group}]", *lines, ""])


def found():
    """Return the infos of all candidates of the group, in the order in which they come."""
    return [candidate.info for candidate in EntryPointSource(GROUP).discover()]


def test_an_entry_point_is_a_plugin(distribution):
    """Its id is the entry point's name; version and summary are the distribution's."""
    distribution(
        "acme-tools",
        points("cut = acme_tools.cutting:Cutter"),
        metadata="Metadata-Version: 2.1\nName: acme-tools\nVersion: 2.5\nSummary: Sharp\n",
        files={"acme_tools/__init__.py": BOMB, "acme_tools/cutting.py": BOMB},
    )
    (info,) = found()
    assert (info.id, info.state, info.source) == ("cut", PluginState.DISCOVERED, "entry-point")
    assert info.location == "acme_tools.cutting:Cutter"
    assert (info.version, info.summary, info.distribution) == ("2.5", "Sharp", "acme-tools")
    assert not any(name.startswith("acme_tools") for name in sys.modules)


def test_other_groups_are_not_ours(distribution):
    """Only the group that was asked for is read."""
    distribution("other", points("a = a", group="console_scripts"))
    assert found() == []


def test_the_default_group(distribution):
    """A source without a group takes the public one."""
    distribution("acme", points("acme-default = acme:X", group="pluginhost.plugins"))
    assert "acme-default" in [c.info.id for c in EntryPointSource().discover()]


def test_no_summary_is_no_warning(distribution):
    """Metadata without optional fields are fine (newer Pythons warn about asking for them)."""
    distribution("acme", points("a = acme:X"))
    assert [info.summary for info in found()] == [""]


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param("acme/pluginhost.toml", id="in-the-package"),
        pytest.param("acme/inner/pluginhost.toml", id="in-the-inner-package"),
    ],
)
def test_a_manifest_in_the_package_is_read(distribution, manifest):
    """The manifest beside the code adds what metadata cannot say, and wins where both speak."""
    distribution(
        "acme",
        points("a = acme.inner.module:X"),
        files={
            "acme/__init__.py": BOMB,
            "acme/inner/__init__.py": BOMB,
            manifest: '[plugins.a]\nversion = "9"\napi = ">=1"\nrequires = ["b"]\n',
        },
    )
    (info,) = found()
    assert (info.version, info.requires_api, info.requires) == ("9", ">=1", ("b",))


def test_the_innermost_manifest_counts(distribution):
    """Of two manifests on the way to the module, the nearer one is read, even when empty."""
    distribution(
        "acme",
        points("a = acme.inner.module:X"),
        files={
            "acme/__init__.py": "",
            "acme/pluginhost.toml": '[plugins.a]\nversion = "outer"\n',
            "acme/inner/pluginhost.toml": "",
        },
    )
    assert [info.version for info in found()] == ["1.0"]


def test_a_broken_manifest_fails_its_plugins(distribution):
    """All entry points of the package whose manifest cannot be read, and no others."""
    distribution(
        "acme",
        points("a = acme:A", "b = acme:B"),
        files={"acme/__init__.py": "", "acme/pluginhost.toml": "["},
    )
    distribution("good", points("c = good:C"))
    assert [(info.id, info.state) for info in found()] == [
        ("a", PluginState.FAILED),
        ("b", PluginState.FAILED),
        ("c", PluginState.DISCOVERED),
    ]


def test_a_broken_table_fails_one_plugin(distribution):
    """An error in one table leaves the other entry points of the package alone."""
    distribution(
        "acme",
        points("a = acme:A", "b = acme:B"),
        files={"acme/__init__.py": "", "acme/pluginhost.toml": "[plugins.a]\nversoin = '1'\n"},
    )
    assert [(info.id, info.state) for info in found()] == [
        ("a", PluginState.FAILED),
        ("b", PluginState.DISCOVERED),
    ]


BAD_UTF8 = b"[" + GROUP.encode() + b"]\n\xff\xfe = x:y\n"
MALFORMED = [
    pytest.param({"entry_points": BAD_UTF8}, "UnicodeDecodeError", id="entry-points-not-utf-8"),
    pytest.param({"entry_points": points("no equals sign")}, "TypeError", id="line-without-equals"),
    pytest.param(
        {"entry_points": points("a = acme:A"), "metadata": None}, "METADATA", id="no-metadata"
    ),
    pytest.param(
        {"entry_points": points("a = acme:A"), "metadata": b"Name: \xff\n"},
        "UnicodeDecodeError",
        id="metadata-not-utf-8",
    ),
    pytest.param(
        {"entry_points": points("a = acme:A"), "metadata": "Version: 1.0\n"},
        "METADATA",
        id="metadata-without-name",
    ),
]


@pytest.mark.parametrize(("broken", "reason"), MALFORMED)
def test_a_malformed_distribution_fails_alone(distribution, broken, reason):
    """It is listed by its name, with reason, place and remedy; good ones before and after stay."""
    distribution("aaa", points("first = aaa:X"))
    bad = distribution("mmm", **broken)
    distribution("zzz", points("last = zzz:X"))
    first, failed, last = found()
    assert (first.id, last.id) == ("first", "last")
    assert (failed.id, failed.state) == ("distribution mmm", PluginState.FAILED)
    assert reason in failed.error
    assert failed.location == str(bad)
    assert "reinstall or remove" in failed.remedy


def test_this_is_why_entry_points_is_not_used(distribution):
    """The standard library's own function fails for everybody when one distribution is bad."""
    distribution("good", points("a = good:X"))
    distribution("bad", BAD_UTF8)
    with pytest.raises(UnicodeDecodeError):
        importlib.metadata.entry_points(group=GROUP)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("not a reference", id="words"),
        pytest.param(":X", id="no-module"),
        pytest.param("../../etc/passwd", id="path"),
        pytest.param("\x1b[2J", id="escape"),
    ],
)
def test_a_value_that_refers_to_nothing(distribution, value):
    """That entry point fails, shown as it was written; its neighbour is found."""
    distribution("acme", points(f"bad = {value}", "good = acme:X"))
    bad, good = found()
    assert (bad.id, bad.state, good.state) == ("bad", PluginState.FAILED, PluginState.DISCOVERED)
    assert repr(value) in bad.error
    assert bad.remedy


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("../../etc", id="path"),
        pytest.param("\x1b[31mred\x1b[0m", id="escape"),
        pytest.param("<script>", id="html"),
        pytest.param("a" * 200, id="long"),
        pytest.param("a b", id="space"),
    ],
)
def test_a_hostile_name_is_refused(distribution, name):
    """It is never imported, and the error that a user sees has nothing a terminal would obey."""
    distribution("acme", points(f"{name} = hostile:X", "good = acme:X"), files={"hostile.py": BOMB})
    hostile, good = sorted(EntryPointSource(GROUP).discover(), key=lambda c: c.info.id == "good")
    assert good.info.state is PluginState.DISCOVERED
    assert hostile.info.state is PluginState.FAILED
    with pytest.raises(PluginHostError, match="id is not valid") as caught:
        hostile.load(False)
    assert str(caught.value).isprintable()
    assert "hostile" not in sys.modules


def test_a_shadowed_distribution_is_left_out(distribution):
    """Of two installations of one name, only that which comes first on the path counts."""
    distribution("Acme_Tools", points("a = acme:New"), version="2.0", site="first")
    distribution("acme-tools", points("a = acme:Old", "b = acme:B"), version="1.0", site="second")
    assert [(info.id, info.version) for info in found()] == [("a", "2.0")]


def test_a_distribution_without_plugins_shadows_too(distribution):
    """The newer release gave its plugin up; the old metadata behind it must not revive it."""
    distribution("acme", None, version="2.0", site="first")
    distribution("acme", points("a = acme:Old"), version="1.0", site="second")
    assert found() == []


def test_a_shadowed_malformed_distribution_is_nobodys_trouble(distribution):
    """What is never used need not be whole."""
    distribution("acme", points("a = acme:New"), version="2.0", site="first")
    distribution("acme", BAD_UTF8, version="1.0", site="second")
    assert [info.state for info in found()] == [PluginState.DISCOVERED]


def test_two_distributions_in_the_order_of_their_names(distribution, monkeypatch):
    """Who comes first within one folder does not depend on how the file system lists it."""
    for name in ("bbb", "aaa", "ccc"):
        distribution(name, points(f"same = {name}:X"))
    listdir, orders = os.listdir, []
    for turned in (False, True):
        monkeypatch.setattr(os, "listdir", lambda p, t=turned: sorted(listdir(p), reverse=t))
        importlib.invalidate_caches()
        orders.append([info.location for info in found()])
    assert orders == [["aaa:X", "bbb:X", "ccc:X"]] * 2


def test_the_path_decides_between_folders(distribution):
    """What comes first on `sys.path` comes first, whatever its name."""
    distribution("zzz", points("same = zzz:X"), site="first")
    distribution("aaa", points("same = aaa:X"), site="second")
    assert [info.location for info in found()] == ["zzz:X", "aaa:X"]
