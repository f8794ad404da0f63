"""Stage 1, by id: where an id lives, and what it brings.

Invariant: the last message to the present home says "here, with all facts"; every earlier home was told "not here" by a
newer version than it ever heard from this id. Every distinct edge out of a chain id has been sent to chains.

A *leaf* (edges out, never named as a user) lives with the user of its earliest edge: nothing else can say what it is
absorbed into. Any other id lives with itself. An id that is both a previous and a user is a *chain id*: only its edges
can form chains, cycles and renames, and all of them count, those from before it was one too.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from transforms.core.facts import Known, copied, learn
from transforms.core.identity.messages import CHAINS, Edge, Member, Message, Version


class Person(msgspec.Struct, array_like=True, gc=False):
    """All that is known of one id, and the version of its last message."""

    known: Known = msgspec.field(default_factory=Known)
    version: Version = (0, 0)


class Outbox(msgspec.Struct, gc=False):
    """Messages to households by id, and to chains, which has one key."""

    members: list[tuple[str, Message]] = []
    edges: list[tuple[str, Message]] = []


def size(state: Person) -> int:
    """Edges out of the id."""
    return len(state.known.out)


def step(key: str, state: Person | None, inbox: Iterable[Known]) -> tuple[Person, Outbox]:
    """Joins what came to what was known; tells the new home, and the old one where the id has moved."""
    before = state or Person()
    known = copied(before.known)
    for more in inbox:
        learn(known, more)
    home_before, facts_before = _place(key, before.known)
    home, facts = _place(key, known)
    fresh = _edges(key, known) - _edges(key, before.known)
    outbox = Outbox(edges=[(CHAINS, edge) for edge in sorted(fresh, key=_order)])
    version = before.version
    if (home_before, facts_before) != (home, facts):
        moved = home_before != home
        version = (version[0] + moved, version[1] + 1)
        if moved and facts_before is not None:
            outbox.members.append((home_before, Member(key, version, None)))
        outbox.members.append((home, Member(key, version, facts)))
    return Person(known, version), outbox


def _place(key: str, known: Known) -> tuple[str, Known | None]:
    """(home, facts); facts are None for an id that nothing was said of."""
    if known == _NOTHING:
        return key, None
    facts = msgspec.structs.replace(known, out={}, named=False)
    if known.named or not known.out:
        return key, facts
    return min((stamp, user) for user, stamp in known.out.items())[1], facts


def _edges(key: str, known: Known) -> set[Edge]:
    if not known.named:
        return set()
    return {Edge(stamp, key, user) for user, stamp in known.out.items()}


def _order(edge: Edge) -> tuple[object, ...]:
    return edge.stamp, edge.user


_NOTHING = Known()
