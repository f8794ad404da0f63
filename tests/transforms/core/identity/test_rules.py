"""Each rule of docs/semantics.md, section 3, as a named case: edges in the order of their stamps, and the labels."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest

from tests.transforms.core.identity.network import Network
from transforms.core.facts import Known
from transforms.core.identity.chains import resolve
from transforms.core.identity.protocol import Edge
from transforms.core.stamps import Stamp

CASES: list[tuple[str, str, dict[str, str]]] = [
    ("an edge from an id to itself is ignored", "a>a", {}),
    ("the plain change of external id, where nothing is known of the user", "a>b", {"a": "b"}),
    ("an id that was absorbed stays where its first merge put it", "a>b a>d", {"a": "b"}),
    ("a chain gives one label for all", "a>b b>c", {"a": "c", "b": "c"}),
    ("swapped back: relabelled", "a>b b>a", {"b": "a"}),
    ("swapped back and again: ignored, a is the label and b was absorbed", "a>b b>a a>b", {"b": "a"}),
    ("a repeated edge counts once, at its earliest", "a>b b>c a>b", {"a": "c", "b": "c"}),
    ("relabelled, then merged: all follow", "a>b b>a a>c", {"a": "c", "b": "c"}),
    ("merging into an absorbed id puts one into its contact", "a>b c>a", {"a": "b", "c": "b"}),
    ("two devices of one user", "a>u b>u", {"a": "u", "b": "u"}),
    ("a shared device never fuses two people", "a>u a>v b>v", {"a": "u", "b": "v"}),
    ("a user who becomes another", "a>u u>v b>u", {"a": "v", "u": "v", "b": "v"}),
    ("a cycle of three", "a>b b>c c>a", {"b": "a", "c": "a"}),
]


def edges(text: str) -> list[Edge]:
    """`a>b b>c` as edges, one second apart."""
    pairs = (word.split(">") for word in text.split())
    return [Edge((number, f"m{number}"), previous, user) for number, (previous, user) in enumerate(pairs)]


def distinct(edges: list[Edge]) -> list[Edge]:
    """Each pair once, at its earliest, as chains keeps them."""
    return list({(edge.previous, edge.user): edge for edge in reversed(edges)}.values())


def moved(labels: dict[str, str]) -> dict[str, str]:
    return {id: label for id, label in labels.items() if id != label}


@pytest.mark.parametrize(("what", "text", "expected"), CASES, ids=[case[0] for case in CASES])
def test_replayed(what: str, text: str, expected: dict[str, str]) -> None:
    assert moved(resolve(distinct(edges(text)))) == expected


@pytest.mark.parametrize(("what", "text", "expected"), CASES, ids=[case[0] for case in CASES])
def test_through_the_stages_in_every_order(what: str, text: str, expected: dict[str, str]) -> None:
    for order in permutations(edges(text)):
        network = Network(Random(7))
        for edge in order:
            send(network, edge)
            network.drain()
        rows = {key[0]: row.external_id for key, row in network.table("identities").items()}
        assert rows == expected, [f"{edge.previous}>{edge.user}" for edge in order]


def send(network: Network, edge: Edge) -> None:
    if edge.previous != edge.user:
        network.send("Person", edge.previous, Known(out={edge.user: edge.stamp}))
        network.send("Person", edge.user, Known(named=True))


def test_a_chain_has_no_length_limit() -> None:
    length = 10_000
    labels = resolve(Edge((n, ""), f"p{n}", f"p{n + 1}") for n in range(length))
    assert set(labels.values()) == {f"p{length}"}


def test_a_late_edge_that_is_earlier_undoes_a_merge() -> None:
    late: Stamp = (0, "late")
    network = Network(Random(7))
    for edge in edges("a>b"):
        send(network, Edge((10, "m"), edge.previous, edge.user))
    network.drain()
    send(network, Edge(late, "a", "c"))
    network.drain()
    assert {key[0]: row.external_id for key, row in network.table("identities").items()} == {"a": "c"}
