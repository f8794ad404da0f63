"""Parcels: the messages of many keys as one element.

A runner in the job's own process takes longer for an element that it groups than a step does for a message: it encodes
it, files it under its key, and hands it on. So there messages go in parcels, all under one key, and what takes them
runs its steps key by key (`transforms.resolve_in_process`). The messages of a parcel are of one *shard* of all keys,
and are read when that shard's turn has come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from transforms import coders

SHARDS: Final = 64
"""A step has the messages of one in so many keys in memory at a time."""
MOST_MESSAGES: Final = 500
"""So many messages go into a parcel."""
MOST_UNPACKED: Final = 500
"""So many messages of a shard wait for a stage as they are; more of them are packed, which takes a sixth of the
memory."""
ONE_KEY: Final = ""
"""What all parcels are grouped by."""

KeyedMessage = tuple[str, Any]
"""A message, with the key that it goes to."""


class Parcel(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Messages to a stage, of one shard, packed."""

    stage: str
    shard: int
    packed: bytes


coders.declare(Parcel)


def shard_of(key: str) -> int:
    """The shard of a key: the same throughout this process, and in no other."""
    return hash(key) % SHARDS


class Packing:
    """How messages of a struct type, or of its tagged subtypes, are packed."""

    def __init__(self, message: type[msgspec.Struct]) -> None:
        either: Any = coders.subtypes(message)
        self.pack = msgspec.msgpack.Encoder().encode
        self.unpack = msgspec.msgpack.Decoder(list[tuple[str, either]]).decode


class Gathering:
    """Messages by shard, until so many of one shard are there."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._gathered: dict[int, list[KeyedMessage]] = {}

    def add(self, message: KeyedMessage) -> int | None:
        """Adds a message; returns its shard where that is full now."""
        shard = shard_of(message[0])
        gathered = self._gathered.get(shard)
        if gathered is None:
            gathered = self._gathered[shard] = []
        gathered.append(message)
        return None if len(gathered) < self._most else shard

    def shards(self) -> list[int]:
        """The shards of which messages are there."""
        return list(self._gathered)

    def take(self, shard: int) -> list[KeyedMessage]:
        """The messages of a shard, which are gone then."""
        return self._gathered.pop(shard, [])


def in_parcels(stage: str, messages: Iterable[KeyedMessage], packing: Packing) -> Iterator[Parcel]:
    """Messages to a stage, in parcels."""
    gathering = Gathering(MOST_MESSAGES)
    for message in messages:
        full = gathering.add(message)
        if full is not None:
            yield Parcel(stage, full, packing.pack(gathering.take(full)))
    for shard in gathering.shards():
        yield Parcel(stage, shard, packing.pack(gathering.take(shard)))


class Mailbox:
    """Messages that wait for a stage."""

    def __init__(self, packing: Packing) -> None:
        self._packing = packing
        self._packed: dict[int, list[bytes]] = {}
        self._unpacked = Gathering(MOST_UNPACKED)

    def put(self, parcel: Parcel) -> None:
        """Adds the messages of a parcel."""
        self._packed.setdefault(parcel.shard, []).append(parcel.packed)

    def add(self, message: KeyedMessage) -> None:
        """Adds a message."""
        full = self._unpacked.add(message)
        if full is not None:
            self._packed.setdefault(full, []).append(self._packing.pack(self._unpacked.take(full)))

    def inboxes(self) -> Iterator[tuple[str, list[Any]]]:
        """Each key with its messages, shard by shard; they are gone then."""
        for shard in range(SHARDS):
            inboxes: dict[str, list[Any]] = {}
            for packed in self._packed.pop(shard, ()):
                _sort(self._packing.unpack(packed), inboxes)
            _sort(self._unpacked.take(shard), inboxes)
            yield from inboxes.items()


def _sort(messages: list[KeyedMessage], inboxes: dict[str, list[Any]]) -> None:
    for key, message in messages:
        inbox = inboxes.get(key)
        if inbox is None:
            inboxes[key] = [message]
        else:
            inbox.append(message)
