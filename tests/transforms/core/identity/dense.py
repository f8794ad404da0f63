"""Random histories that are dense in chains and cycles: few ids, many edges between them, facts of each id.

`python -m tests.transforms.core.identity.dense [--histories=20000] [--seed=0] [--hops=3]` judges them by the replay.
"""

from __future__ import annotations

import argparse
import sys
from random import Random
from typing import Any

from judge import resolve
from tests.transforms.core.identity.network import Network
from transforms.core.facts import Known
from transforms.core.identity.protocol import HOPS
from transforms.core.stamps import Stamp

Edge = tuple[Stamp, str, str]


def edges(rng: Random) -> list[Edge]:
    """Some edges, many of which continue a path, close a cycle or lead out of one."""
    ids = [f"p{number}" for number in range(rng.randint(3, 8))]
    drawn: list[Edge] = []
    at = rng.choice(ids)
    for number in range(rng.randint(1, 2 * len(ids))):
        previous = at if rng.random() < 0.6 else rng.choice(ids)
        at = rng.choice([id for id in ids if id != previous])
        drawn.append(((rng.randint(0, 12), f"m{number}"), previous, at))
    return drawn


def expected(edges: list[Edge], identified: set[str]) -> tuple[dict[str, str], dict[str, set[str]]]:
    """(what `identities` has, the other ids of each contact that has a row) by the replay."""
    labels = resolve(edges)
    ids = labels.keys() | identified
    contacts: dict[str, set[str]] = {}
    for id in ids:
        contacts.setdefault(labels.get(id, id), set()).add(id)
    rows = {label: members - {label} for label, members in contacts.items() if members & identified}
    return {id: label for id, label in labels.items() if id != label}, rows


def tables(network: Network) -> tuple[dict[str, str], dict[str, set[str]]]:
    """The same, as the stages have written it."""
    contacts: dict[tuple[str, ...], Any] = network.table("contacts")
    return (
        {key[0]: row.external_id for key, row in network.table("identities").items()},
        {key[0]: set(row.previous_ids) for key, row in contacts.items()},
    )


def is_right(seed: int, hops: int = HOPS) -> bool:
    """Whether the stages write what the replay gives: after each of some phases, with all that came until then."""
    rng = Random(seed)
    network = Network(rng, hops=hops)
    drawn = edges(rng)
    rng.shuffle(drawn)
    sent: list[Edge] = []
    identified: set[str] = set()
    while drawn:
        for _ in range(rng.randint(1, len(drawn))):
            stamp, previous, user = edge = drawn.pop()
            sent.append(edge)
            network.send("Person", previous, Known(out={user: stamp}))
            network.send("Person", user, Known(named=True))
            if rng.random() < 0.5:
                id = rng.choice((previous, user))
                identified.add(id)
                network.send("Person", id, Known(seen=(stamp, stamp)))
            while rng.random() < 0.6 and network.step():
                pass
        network.drain()
        if tables(network) != expected(sent, identified):
            return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.transforms.core.identity.dense")
    parser.add_argument("--histories", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hops", type=int, default=HOPS)
    given = parser.parse_args()
    seeds = range(given.seed, given.seed + given.histories)
    wrong = [seed for seed in seeds if not is_right(seed, given.hops)]
    print(f"{given.histories:,} dense histories, {given.hops} hops: {len(wrong):,} differences {wrong[:20] or ''}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
