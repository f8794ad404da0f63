"""The four stages together, in memory: whatever the order, repetition and splitting, the tables equal the replay's."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge import Config, Tables, replay
from tests.histories import CONFIGS, Alphabet, Message, configs, deal, histories, history, line
from tests.product_rows import connections, facts, plain
from tests.transforms.core.identity.network import Network
from transforms.core import contacts
from transforms.core.identity import crowd

RANDOM_HISTORIES = 500


def identity_tables(network: Network) -> dict[str, Any]:
    """The keyed tables that the stages write, as the judge has them."""
    return {
        "contacts": {key[0]: plain(row) for key, row in network.table("contacts").items()},
        "identities": {key[0]: row.external_id for key, row in network.table("identities").items()},
        "memberships": {key: plain(row) for key, row in network.table("memberships").items()},
    }


def judged(tables: Tables) -> dict[str, Any]:
    return {"contacts": tables.contacts, "identities": tables.identities, "memberships": tables.memberships}


def run(rng: Random, parts: Iterable[Iterable[Message]], config: Config) -> dict[str, Any]:
    """Sends a history through the network, steps between messages, and now and then waits until all is delivered."""
    network = Network(rng)
    product = connections(config)
    for part in parts:
        for message in part:
            for learned in facts(message, product):
                for id, known in learned.persons:
                    network.send("Person", id, known)
            while rng.random() < 0.7 and network.step():
                pass
        if rng.random() < 0.5:
            network.drain()
    network.drain()
    return identity_tables(network)


@settings(max_examples=150, deadline=None)
@given(messages=histories(max_size=16), config=configs(), rng=st.integers(0, 2**32 - 1).map(Random))
def test_any_history_in_any_order_equals_the_replay(messages: list[Message], config: Config, rng: Random) -> None:
    expected = judged(replay(map(line, messages), config))
    assert run(rng, deal(rng, messages, rng.randint(1, 4)), config) == expected


@pytest.mark.parametrize("block", range(4))
def test_random_histories_equal_the_replay(block: int) -> None:
    count = RANDOM_HISTORIES // 4
    for seed in range(block * count, (block + 1) * count):
        rng = Random(seed)
        config = rng.choice(list(CONFIGS.values()))
        messages = history(rng, rng.randint(1, 25))
        expected = judged(replay(map(line, messages), config))
        assert run(rng, deal(rng, messages, rng.randint(1, 4)), config) == expected, f"seed {seed}"


@pytest.mark.parametrize("room", [1, 2])
def test_packing_a_crowd_changes_nothing(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contacts, "MAX_PREVIOUS_IDS", 1)
    monkeypatch.setattr(crowd, "KEPT", 2)
    monkeypatch.setattr(crowd, "ROOM", room)
    alphabet = Alphabet(ids=("p0", "p1", "p2", "p3", "p4", "p5", "p6"))
    for seed in range(RANDOM_HISTORIES // 2):
        rng = Random(seed)
        config = rng.choice(list(CONFIGS.values()))
        messages = history(rng, rng.randint(1, 25), alphabet)
        expected = judged(replay(map(line, messages), config))
        for contact in expected["contacts"].values():
            del contact["previous_ids"][1:]
        assert run(rng, deal(rng, messages, rng.randint(1, 4)), config) == expected, f"seed {seed}"


def test_versions_never_go_backwards() -> None:
    rng = Random(1)
    network = Network(rng)
    greatest: dict[tuple[str, tuple[str, ...]], tuple[int, ...]] = {}
    for message in history(rng, 200):
        for learned in facts(message, connections(CONFIGS["mixed"])):
            for id, known in learned.persons:
                network.send("Person", id, known)
        network.drain()
        for place, upsert in network.rows.items():
            assert upsert.version >= greatest.get(place, upsert.version)
            greatest[place] = upsert.version
