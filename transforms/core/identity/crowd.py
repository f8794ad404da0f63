"""The crowd: members of a heavy contact that have no facts, packed, so that a window need not read them.

A user of a bot or of a script without cookies gathers ids by the ten thousand. Each is a member that is here and has no
facts: a *bare* one. All that rows need of them is the first in order, for `previous_ids`. Those stay among the members;
the others are packed into rooms, as bytes. A state has them where they are needed, and otherwise their number alone: a
streaming job keeps them apart, and adds to them without a look at those that are there (`transforms.crowd_rooms`).

Invariant: where there is a crowd, `KEPT` bare members are less than every id in it. An id may be in it and among the
members as well; the newer of the two versions then counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from transforms.core.contacts import MAX_PREVIOUS_IDS
from transforms.core.facts import NOTHING, Known
from transforms.core.identity.protocol import Member, Members, is_newer

KEPT: Final = MAX_PREVIOUS_IDS + 1
"""How many bare ids stay at least: the contact's label, which may be one, is none of its previous ids."""
ROOM: Final = 250
"""How many ids a room has."""

Crowd = tuple[bytes, ...]
"""Rooms, each the msgpack array of `(id, version)`."""

_decode = msgspec.msgpack.Decoder(list[tuple[str, tuple[int, ...]]]).decode
_encode = msgspec.msgpack.Encoder().encode


def stays_packed(inbox: Iterable[object]) -> bool:
    """Whether the inbox needs no look into the crowd: it has only arrivals, of no chain id. Facts of an id never become
    none again, so an arrival with facts is newer than the bare one in the crowd; a departure may be older, and what
    tells where a household leads to concerns all of it."""
    return all(isinstance(it, Member) and it.facts is not None and not it.is_chain for it in inbox)


def unpacked(members: Members, crowd: Crowd) -> Members:
    """All members."""
    everyone = dict(members)
    for room in crowd:
        for id, version in _decode(room):
            if id not in everyone or is_newer(version, everyone[id][0]):
                everyone[id] = (version, Known())
    return everyone


def packed(members: Members) -> tuple[Members, Crowd]:
    """The members that must stay, and full rooms of the others."""
    if len(members) < KEPT + ROOM:
        return members, ()
    bare = sorted(id for id, (_, facts) in members.items() if facts == NOTHING)
    rooms = [bare[end - ROOM : end] for end in range(KEPT + ROOM, len(bare) + 1, ROOM)]
    moved = {id for room in rooms for id in room}
    added = tuple(_encode([(id, members[id][0]) for id in room]) for room in rooms)
    return {id: member for id, member in members.items() if id not in moved}, added
