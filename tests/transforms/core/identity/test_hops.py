"""Paths that households follow hop by hop, and those that chains replays: histories that are dense in chains and cycles
equal the replay, and no part of the protocol can be left out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from tests.transforms.core.identity import dense
from tests.transforms.core.identity.network import Network
from transforms.core.facts import Known
from transforms.core.identity import chains, depth, passing, person
from transforms.core.identity.chains import ChainsState
from transforms.core.identity.protocol import Deep

HISTORIES = 300


@pytest.mark.parametrize("hops", [2, 3, 4])
def test_dense_histories_equal_the_replay(hops: int) -> None:
    assert [seed for seed in range(HISTORIES) if not dense.is_right(seed, hops)] == []


_tokens = person._tokens
_chains_step = chains.step


def _earliest_alone(key: str, known: Known) -> dict[tuple[str, str], bool]:
    return {place: is_later for place, is_later in _tokens(key, known).items() if not is_later}


def _first_edge_alone(key: str, state: ChainsState | None, inbox: Any) -> Any:
    def first(message: Deep) -> Deep:
        edges = sorted((stamp, user) for user, stamp in message.edges.items())[:1]
        return Deep(message.id, message.hop, message.version, message.is_deep, {user: stamp for stamp, user in edges})

    return _chains_step(key, state, [first(message) for message in inbox])


LEFT_OUT: dict[str, tuple[object, str, Callable[..., Any] | int]] = {
    "tokens of later edges": (person, "_tokens", _earliest_alone),
    "that a departure yields to an arrival": (passing, "_GONE", 0),
    "the last hop of tokens": (depth, "_next", lambda hop, target: None),
    "later edges in chains": (chains, "step", _first_edge_alone),
}


@pytest.mark.parametrize("part", LEFT_OUT)
def test_no_part_can_be_left_out(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, name, instead = LEFT_OUT[part]
    monkeypatch.setattr(target, name, instead)
    assert not all(dense.is_right(seed) for seed in range(2_000)), part


def walked(*ids: str) -> Network:
    """The stages after aliases from each id to the next."""
    network = Network(Random(7))
    for number, (previous, user) in enumerate(pairwise(ids)):
        network.send("Person", previous, Known(out={user: (number, f"m{number}")}))
        network.send("Person", user, Known(named=True))
    network.drain()
    return network


def in_chains(network: Network) -> bool:
    return ("Chains", "") in network.states


@pytest.mark.parametrize(
    ("what", "ids", "replayed"),
    [
        ("an anonymous id becomes a user", ("phone", "u7"), False),
        ("by an e-mail address", ("phone", "ann@x.example", "u7"), False),
        ("and goes on to a CRM", ("phone", "ann@x.example", "u7", "crm-1"), False),
        ("three chain ids", ("phone", "ann@x.example", "u7", "crm-1", "crm-2"), True),
        ("a cycle", ("a", "b", "a"), True),
        ("a path into a cycle", ("phone", "a", "b", "a"), True),
    ],
)
def test_chains_replays_only_what_no_household_can_follow(what: str, ids: tuple[str, ...], replayed: bool) -> None:
    assert in_chains(walked(*ids)) == replayed, what


def test_ordinary_traffic_has_no_state_in_the_further_stages() -> None:
    assert {stage for stage, _ in walked("phone", "u7").states} == {"Person", "Household1"}


def test_a_user_who_is_renamed_has_state_of_the_further_stages_alone() -> None:
    network = walked("phone", "ann@x.example", "u7")
    assert ("Contact", "u7") in network.states
    assert len([stage for stage, _ in network.states if stage.startswith("Depth")]) <= 3


def test_an_id_that_is_no_longer_deep_follows_its_path_again() -> None:
    """A late edge, earlier than the cycle's, leads out of it."""
    network = walked("a", "b", "a")
    assert in_chains(network)
    network.send("Person", "b", Known(out={"c": (-1, "late")}))
    network.send("Person", "c", Known(named=True))
    network.drain()
    assert {key[0]: row.external_id for key, row in network.table("identities").items()} == {"a": "c", "b": "c"}
