"""In which order plugins load and unload, and how peers and host versions are checked."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from pluginhost.errors import (
    DependencyError,
    IncompatiblePluginError,
    InvalidValueError,
    PluginSkippedError,
)
from pluginhost.host.ordering import (
    check_api,
    check_host_version,
    check_peers,
    dependants,
    loading_order,
    required_ids,
    unloading_order,
)
from pluginhost.report import PluginInfo, PluginState


def infos(requires=None, *, after=None, state=PluginState.DISCOVERED):
    """Return plugin infos by id from mappings of id to peers."""
    requires, after = requires or {}, after or {}
    return {
        plugin_id: PluginInfo(
            id=plugin_id,
            state=state,
            requires=tuple(requires.get(plugin_id, ())),
            after=tuple(after.get(plugin_id, ())),
        )
        for plugin_id in {**requires, **after}
    }


NAMES = [f"p{i:02}" for i in range(12)]
"""Ids for random graphs; the edges of a DAG go from a higher place in a shuffle to a lower one."""


@st.composite
def acyclic(draw):
    """Return id -> peers without a cycle; the order of the ids says nothing of the edges."""
    places = draw(st.permutations(NAMES))
    return {
        name: draw(st.lists(st.sampled_from(places[:i]), unique=True, max_size=3)) if i else []
        for i, name in enumerate(places)
    }


@st.composite
def any_edges(draw):
    """Return id -> peers with whatever edges."""
    return {name: draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3)) for name in NAMES}


@given(acyclic())
def test_peers_come_first(requires):
    """In any graph without a cycle, every plugin comes after all that it requires."""
    order, broken = loading_order(infos(requires))
    assert sorted(order) == NAMES
    assert broken == {}
    for plugin_id, peers in requires.items():
        assert all(order.index(peer) < order.index(plugin_id) for peer in peers)


@given(any_edges(), any_edges(), st.randoms(use_true_random=False))
def test_the_order_of_discovery_does_not_matter(requires, after, shuffler):
    """However the plugins were found, order and errors are the same."""
    plugins = infos(requires, after=after)
    rows = list(plugins.items())
    shuffler.shuffle(rows)
    order, broken = loading_order(plugins)
    again, broken_again = loading_order(dict(rows))
    assert again == order
    assert {i: str(e) for i, e in broken_again.items()} == {i: str(e) for i, e in broken.items()}


@given(acyclic(), any_edges())
def test_after_never_breaks_anything(requires, after):
    """Whatever cycles `after` makes, all plugins load, each after what it requires."""
    order, broken = loading_order(infos(requires, after=after))
    assert broken == {}
    assert sorted(order) == NAMES
    for plugin_id, peers in requires.items():
        assert all(order.index(peer) < order.index(plugin_id) for peer in peers)


@given(acyclic())
def test_after_is_honoured_where_it_can_be(after):
    """Without a cycle, `after` orders just as `requires` does."""
    order, _ = loading_order(infos({}, after=after))
    for plugin_id, peers in after.items():
        assert all(order.index(peer) < order.index(plugin_id) for peer in peers)


@given(any_edges())
def test_only_cycles_are_left_out(requires):
    """What is left out is reported with a path of real requirements that comes back to itself."""
    order, broken = loading_order(infos(requires))
    assert sorted([*order, *broken]) == NAMES
    for plugin_id, error in broken.items():
        path = error.message.partition(": ")[2].split(" -> ")
        assert path[0] == path[-1]
        assert plugin_id in path
        assert all(peer in requires[user] for user, peer in pairwise(path))


def test_a_cycle_is_shown_with_its_path():
    """The path reads in the direction of `requires`, and each member is told."""
    order, broken = loading_order(infos({"a": ["b"], "b": ["c"], "c": ["a"], "d": []}))
    assert order == ("d",)
    assert sorted(broken) == ["a", "b", "c"]
    turned = {"a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c"}
    assert broken["a"].message.partition(": ")[2] in turned
    assert broken["a"].plugin_id == "a"


def test_a_plugin_that_requires_itself():
    """The smallest cycle there is."""
    order, broken = loading_order(infos({"a": ["a"]}))
    assert order == ()
    assert "a -> a" in broken["a"].message


def test_users_of_a_cycle_are_not_in_it():
    """A plugin that requires a member of a cycle keeps its place in the order."""
    order, broken = loading_order(infos({"a": ["b"], "b": ["a"], "user": ["a"]}))
    assert order == ("user",)
    assert sorted(broken) == ["a", "b"]


def test_peers_that_are_not_there_do_not_count():
    """Ordering leaves missing peers to the check of the one that requires them."""
    order, broken = loading_order(infos({"a": ["missing"]}, after={"a": ["absent"]}))
    assert order == ("a",)
    assert broken == {}


@pytest.mark.parametrize(
    ("specifier", "version", "fits"),
    [
        pytest.param(">=1", "1.0", True, id="at-the-bound"),
        pytest.param(">=1,<2", "2.0", False, id="over"),
        pytest.param("~=1.2", "1.9", True, id="compatible-release"),
        pytest.param("~=1.2", "1.1", False, id="under"),
        pytest.param("==1.*", "1.7", True, id="prefix"),
        pytest.param("!=1.0", "1.0", False, id="excluded"),
        pytest.param(">=1", "2.0rc1", True, id="pre-release-of-later"),
        pytest.param(">=2", "2.0rc1", False, id="pre-release-of-same"),
        pytest.param(">=1", "1.0+local", True, id="local-version"),
    ],
)
def test_specifiers_of_api_and_peers_agree(specifier, version, fits):
    """The same PEP 440 specifier means the same for the host's API and for a peer."""
    info = PluginInfo(id="a", requires_api=specifier, requires=(f"peer{specifier}",))
    peers = {"peer": PluginInfo(id="peer", version=version, state=PluginState.LOADED)}
    if fits:
        check_api(info, version)
        check_peers(info, peers)
        return
    with pytest.raises(IncompatiblePluginError, match="needs host API"):
        check_api(info, version)
    with pytest.raises(IncompatiblePluginError, match="loaded is version"):
        check_peers(info, peers)


def test_no_specifier_accepts_every_host():
    """A plugin that says nothing of the API fits."""
    check_api(PluginInfo(id="a"), "99.0")


def test_a_malformed_api_specifier():
    """It is the plugin's fault, and says how to write it."""
    with pytest.raises(IncompatiblePluginError) as caught:
        check_api(PluginInfo(id="a", requires_api="about 1"), "1.0")
    assert "'about 1'" in caught.value.message
    assert "PEP 440" in caught.value.remedy


def test_the_hosts_own_version_is_checked_first():
    """A host that gives no valid version is told so itself."""
    check_host_version("1.0")
    with pytest.raises(InvalidValueError, match="'one'"):
        check_host_version("one")


def test_a_missing_peer():
    """The error names the requirement as written, and what to add."""
    with pytest.raises(DependencyError) as caught:
        check_peers(PluginInfo(id="a", requires=("peer>=1",)), {})
    assert not isinstance(caught.value, PluginSkippedError)
    assert "'peer>=1'" in caught.value.message
    assert "'peer'" in caught.value.remedy
    assert caught.value.plugin_id == "a"


@pytest.mark.parametrize("state", [s for s in PluginState if s is not PluginState.LOADED])
def test_a_peer_that_is_not_loaded(state):
    """In any other state of the peer its user is skipped, and told the state."""
    peers = {"peer": PluginInfo(id="peer", state=state)}
    with pytest.raises(PluginSkippedError, match=f"which is {state}"):
        check_peers(PluginInfo(id="a", requires=("peer",)), peers)


@pytest.mark.parametrize(
    "version", [pytest.param(None, id="none"), pytest.param("new", id="not-pep-440")]
)
def test_a_peer_of_unknown_version_does_not_fit_a_specifier(version):
    """No version is no proof; without a specifier it is not asked for."""
    peers = {"peer": PluginInfo(id="peer", version=version, state=PluginState.LOADED)}
    with pytest.raises(IncompatiblePluginError):
        check_peers(PluginInfo(id="a", requires=("peer>=0",)), peers)
    check_peers(PluginInfo(id="a", requires=("peer",)), peers)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("two words", id="two-words"),
        pytest.param("", id="empty"),
        pytest.param("peer>=", id="half-a-specifier"),
        pytest.param("peer[extra]", id="extra"),
        pytest.param("peer; python_version < '3'", id="marker"),
        pytest.param("peer @ https://example.org/peer.whl", id="url"),
        pytest.param("\x1b[31mred", id="escape"),
    ],
)
def test_a_malformed_requirement(text):
    """It is left out of the ordering, and is an error when the plugin's turn comes."""
    info = PluginInfo(id="a", requires=(text, "good"))
    assert required_ids(info) == ("good",)
    with pytest.raises(DependencyError, match="is not valid"):
        check_peers(info, {"peer": PluginInfo(id="peer", state=PluginState.LOADED)})


def test_dependants_are_those_that_are_live():
    """Users that failed or left do not hold a peer back; one in its setup does."""
    rows = [
        PluginInfo(id="loaded", requires=("peer>=1",), state=PluginState.LOADED),
        PluginInfo(id="loading", requires=("peer",), state=PluginState.LOADING),
        PluginInfo(id="failed", requires=("peer",), state=PluginState.FAILED),
        PluginInfo(id="other", requires=("another",), state=PluginState.LOADED),
    ]
    assert dependants("peer", rows) == ("loaded", "loading")


@given(acyclic(), st.permutations(NAMES))
def test_users_are_unloaded_before_their_peers(requires, loaded):
    """Whatever was loaded when (a reload makes a peer younger), users go first."""
    order = unloading_order(loaded, infos(requires))
    assert sorted(order) == NAMES
    for plugin_id, peers in requires.items():
        assert all(order.index(plugin_id) < order.index(peer) for peer in peers)


@given(acyclic())
def test_unloading_reverses_loading(requires):
    """Where nothing was reloaded, the order is exactly the reverse."""
    plugins = infos(requires)
    order, _ = loading_order(plugins)
    assert unloading_order(order, plugins) == order[::-1]


def test_a_long_chain_is_no_problem():
    """Two thousand plugins that each require the one before, ordered in and out."""
    chain = {f"p{i:04}": [f"p{i - 1:04}"] if i else [] for i in range(2000)}
    rows = list(infos(chain).items())
    random.Random(7).shuffle(rows)
    order, broken = loading_order(dict(rows))
    assert order == tuple(chain)
    assert broken == {}
    assert unloading_order(order, dict(rows)) == order[::-1]
    reloaded = (*order[1:], order[0])
    assert unloading_order(reloaded, dict(rows)) == order[::-1]
