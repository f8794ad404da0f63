"""The identity stages as a network in memory, under a scheduler that reorders, repeats and splits everything."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import msgspec

from transforms.core.facts import Known
from transforms.core.identity import chains, contact, depth, household, person
from transforms.core.identity.protocol import HOPS, Deep, Label, Member, Pointer, Token
from transforms.core.rows import Upsert

Key = tuple[str, str]
"""(stage, key); a stage that is used for several hops has the hop behind its name: `household2`."""

_ENCODER = msgspec.msgpack.Encoder()
_STATES: dict[str, Any] = {
    "person": msgspec.msgpack.Decoder(person.PersonState),
    "depth": msgspec.msgpack.Decoder(depth.DepthState),
    "chains": msgspec.msgpack.Decoder(chains.ChainsState),
    "household": msgspec.msgpack.Decoder(household.HouseholdState),
    "contact": msgspec.msgpack.Decoder(contact.ContactState),
}
_MESSAGES: dict[str, Any] = {
    "person": msgspec.msgpack.Decoder(Known),
    "depth": msgspec.msgpack.Decoder(Token | Pointer),
    "chains": msgspec.msgpack.Decoder(Deep),
    "household": msgspec.msgpack.Decoder(Member | Label | Pointer),
    "contact": msgspec.msgpack.Decoder(Member),
}


class Network:
    """Every stage with its states, as bytes between steps; the tables keep each key's row of the greatest version."""

    def __init__(self, rng: random.Random, *, repeat: float = 0.1) -> None:
        self._rng = rng
        self._repeat = repeat
        self._waiting: dict[Key, list[bytes]] = {}
        self.states: dict[Key, bytes] = {}
        self.rows: dict[tuple[str, tuple[str, ...]], Upsert] = {}

    def send(self, stage: str, key: str, message: object) -> None:
        """Puts a message on its way."""
        self._waiting.setdefault((stage, key), []).append(_ENCODER.encode(message))

    def step(self) -> bool:
        """Delivers some of what waits for one key, in any order, some of it to be repeated; False if nothing waits."""
        if not self._waiting:
            return False
        stage, key = self._rng.choice(sorted(self._waiting))
        waiting = self._waiting.pop((stage, key))
        self._rng.shuffle(waiting)
        take = self._rng.randint(1, len(waiting))
        left = waiting[take:] + [message for message in waiting[:take] if self._rng.random() < self._repeat]
        if left:
            self._waiting[stage, key] = left
        self._run(stage, key, [_MESSAGES[_parted(stage)[0]].decode(message) for message in waiting[:take]])
        return True

    def drain(self) -> None:
        """Delivers everything."""
        while self.step():
            pass

    def write(self, table: str, upserts: Iterable[Upsert]) -> None:
        """Takes rows and tombstones where they are newer."""
        for upsert in upserts:
            standing = self.rows.get((table, upsert.key))
            if standing is None or upsert.version > standing.version:
                self.rows[table, upsert.key] = upsert

    def _run(self, stage: str, key: str, inbox: list[Any]) -> None:
        encoded = self.states.get((stage, key))
        name, hop = _parted(stage)
        state = None if encoded is None else _STATES[name].decode(encoded)
        if name == "person":
            state, persons = person.step(key, state, inbox)
            self._send_all("household1", persons.members)
            self._send_all("depth1", persons.tokens)
            for number in range(1, HOPS + 1):
                self._send_all(f"household{number}", persons.pointers)
            for number in range(1, HOPS):
                self._send_all(f"depth{number}", persons.paths)
            self._write_all(persons)
        elif name == "depth":
            state, tokens = depth.step(hop, key, state, inbox)
            self._send_all(f"depth{hop + 1}", tokens.tokens)
            self._send_all("chains", tokens.deep)
        elif name == "chains":
            state, labels = chains.step(key, state, inbox)
            for number in range(1, HOPS + 1):
                self._send_all(f"household{number}", labels.labels)
        elif name == "household":
            state, households = household.step(hop, key, state, inbox)
            self._send_all("contact", households.members)
            self._send_all(f"household{hop + 1}", households.followers)
            self._write_all(households)
        else:
            state, rows = contact.step(key, state, inbox)
            self._write_all(rows)
        self.states[stage, key] = _ENCODER.encode(state)

    def _write_all(self, outbox: Any) -> None:
        for table in ("identities", "contacts", "memberships"):
            self.write(table, getattr(outbox, table, ()))

    def _send_all(self, stage: str, messages: Iterable[tuple[str, object]]) -> None:
        for key, message in messages:
            self.send(stage, key, message)

    def table(self, name: str) -> dict[tuple[str, ...], Any]:
        """The rows of a table as they stand, by key."""
        return {
            key: upsert.row for (table, key), upsert in self.rows.items() if table == name and upsert.row is not None
        }


def _parted(stage: str) -> tuple[str, int]:
    """A stage's name, and its hop; 0 where it is used once."""
    name = stage.rstrip("0123456789")
    return name, int(stage[len(name) :] or 0)
