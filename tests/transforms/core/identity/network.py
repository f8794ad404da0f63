"""The identity stages as a network in memory, under a scheduler that reorders, repeats and splits everything."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import msgspec

from transforms.core.facts import Known
from transforms.core.identity.protocol import HOPS, Deep, Label, Member, Pointer, Token
from transforms.core.identity.stages import stages
from transforms.core.rows import Upsert

Key = tuple[str, str]
"""(stage, key)"""
PERSON = "Person"

_ENCODER = msgspec.msgpack.Encoder()
MESSAGE: Any = msgspec.msgpack.Decoder(Member | Label | Pointer | Token | Deep)
KNOWN = msgspec.msgpack.Decoder(Known)


class Network:
    """Every stage with its states, as bytes between steps; the tables keep each key's row of the greatest version."""

    def __init__(self, rng: random.Random, *, repeat: float = 0.1, hops: int = HOPS) -> None:
        self._rng = rng
        self._stages = {stage.name: stage for stage in stages(hops)}
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
        decoder = KNOWN if stage == PERSON else MESSAGE
        self._run(stage, key, [decoder.decode(message) for message in waiting[:take]])
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
        run = self._stages[stage]
        encoded = self.states.get((stage, key))
        state = None if encoded is None else msgspec.msgpack.decode(encoded, type=run.state)
        state, outbox = run.step(key, state, inbox)
        self.states[stage, key] = _ENCODER.encode(state)
        for field, names in run.sends.items():
            for name in names:
                for to, message in getattr(outbox, field):
                    self.send(name, to, message)
        for table in run.writes:
            self.write(table, getattr(outbox, table))

    def table(self, name: str) -> dict[tuple[str, ...], Any]:
        """The rows of a table as they stand, by key."""
        return {
            key: upsert.row for (table, key), upsert in self.rows.items() if table == name and upsert.row is not None
        }
