"""Which distribution a module is from, and that no more metadata are read than it takes to tell."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from pluginhost.attribution.distributions import Distributions, Installed
from pluginhost.attribution.owners import Owners
from pluginhost.capture import SeenManager, SeenPlugin
from pluginhost.costs import PluginKind
from pluginhost.headers import canonical, headers_of


def install(folder: Path, name: str, packages: tuple[str, ...], *, listed: bool = False) -> None:
    """Leave a distribution in `folder` as an installer does; with top_level.txt if `listed`."""
    info = folder / f"{canonical(name).replace('-', '_')}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    if listed:
        (info / "top_level.txt").write_text("\n".join(packages))
    else:
        (info / "RECORD").write_text("".join(f"{each}/__init__.py,,\n" for each in packages))


NAMES = ("alpha", "Beta_Plugin", "gamma.x", "delta")
PACKAGES = ("alpha", "_beta", "beta_plugin", "gamma", "x", "delta", "other")
distributed = st.dictionaries(st.sampled_from(PACKAGES), st.sampled_from(NAMES))
asked = st.lists(
    st.tuples(
        st.sampled_from(["named", "of_module", "packages_with", "packages_of"]), st.integers(0, 6)
    )
)


@given(distributed, asked, st.booleans())
def test_whatever_is_asked_first_the_answers_are_the_same(
    where: dict[str, str], questions: list[tuple[str, int]], listed: bool
) -> None:
    """What has been read before does not matter, nor what a distribution is called."""
    of = {name: tuple(p for p, by in where.items() if by == name) for name in NAMES}
    with tempfile.TemporaryDirectory() as folder:
        for name, packages in of.items():
            install(Path(folder), name, packages, listed=listed)
        Path(folder, "damaged-1.dist-info").mkdir()
        installed = Distributions([folder])
        for question, number in questions:
            package, name = PACKAGES[number], NAMES[number % len(NAMES)]
            by = where.get(package)
            expected = {
                "named": Installed(name, "1"),
                "of_module": Installed(by, "1") if by is not None else None,
                "packages_with": {package, *of.get(by or "", ())},
                "packages_of": set(of[name]),
            }
            word = name.upper() if question in ("named", "packages_of") else package
            assert getattr(installed, question)(word) == expected[question]
        assert installed.named("damaged") is installed.named("absent") is None
        assert installed.packages_of("absent") == frozenset()


def test_only_likely_metadata_are_read(tmp_path: Path, monkeypatch) -> None:
    """Of many that are installed, those of the same name; all where these do not tell."""
    for name in ("pytest", "pytest-one", *(f"library-{n}" for n in range(30))):
        packages = {"pytest": ("_pytest", "pytest"), "library-7": ("seven",)}.get(name, ())
        install(tmp_path, name, packages)
    read: list[str] = []

    def counted(distribution):
        headers = headers_of(distribution)
        read.append(headers.name)
        return headers

    monkeypatch.setattr("pluginhost.attribution.distributions.headers_of", counted)
    installed = Distributions([str(tmp_path)])
    assert installed.named("Pytest_One") == Installed("pytest-one", "1")
    assert installed.packages_with("_pytest") == {"_pytest", "pytest"}
    assert installed.packages_of("pytest-one") == frozenset()
    assert read == ["pytest-one", "pytest"]
    assert installed.of_module("seven.of.nine") == Installed("library-7", "1")
    assert len(read) >= 32


def test_a_package_of_several_is_that_of_its_namesake(tmp_path: Path) -> None:
    """In which order the file system lists them does not matter."""
    for name in ("aa", "shared", "zz"):
        install(tmp_path, name, ("shared", name))
    assert Distributions([str(tmp_path)]).packages_with("shared") == {"shared"}
    found = Distributions([str(tmp_path)]).of_module("shared.x")
    assert found == Installed("shared", "1")


@pytest.mark.parametrize("packages", [("own",), ()], ids=["listed", "editable"])
def test_what_a_plugin_registers_beside_itself_is_part_of_it(tmp_path: Path, packages) -> None:
    """Also where it is installed so that it can be worked on, and nothing lists its packages."""
    install(tmp_path, "its-name", packages)
    install(tmp_path, "app", ("app",))
    plugins = (
        SeenPlugin(name="object", registered_name="object", module="own.inner"),
        SeenPlugin(name="stranger", registered_name="stranger", module="unknown"),
        SeenPlugin(
            name="plugin",
            registered_name="plugin",
            module="own.plugin",
            is_module=True,
            distribution="its-name",
            version="1",
        ),
    )
    manager = SeenManager(project="app", class_module="app.main", plugins=plugins)
    owners = Owners([manager], Distributions([str(tmp_path)]), folder=str(tmp_path))
    assert {unit.name: (unit.kind, unit.parts) for unit in owners.units.values()} == {
        "plugin": (PluginKind.INSTALLED, ("plugin", "object")),
        "stranger": (PluginKind.LOCAL, ("stranger",)),
    }
    assert owners.of_package("own.elsewhere") == "plugin"
    assert owners.of_package("unknown") is None
