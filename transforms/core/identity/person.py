"""Stage 1, by id: where an id lives, and what it brings.

An id that no edge names is a whole contact by *itself*: the person writes its rows, which saves the households' hop and
state. The first edge ends that for good.

Invariant: while the id is by itself, the rows last written are the fold of its facts, and no household has heard of it.
After that, the household of its own key was told what those rows were, to write them anew or take them back; the last
message to the present home says "here, with all facts"; every earlier home was told "not here" by a newer version than
it ever heard from this id. Every distinct edge out of a chain id has been sent to chains.

A *leaf* (edges out, never named as a user) lives with the user of its earliest edge: nothing else can say what it is
absorbed into. Any other id lives with itself. An id that is both a previous and a user is a *chain id*: only its edges
can form chains, cycles and renames, and all of them count, those from before it was one too.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from transforms.core.facts import NOTHING, Known, copied, learn
from transforms.core.identity import contact
from transforms.core.identity.protocol import CHAINS, UNHEARD, Edge, Member, ProtocolMessage, Version
from transforms.core.rows import Upsert


class PersonState(msgspec.Struct, array_like=True, gc=False):
    """All that is known of one id, the version of its last message, and how often it has written its rows itself."""

    known: Known = msgspec.field(default_factory=Known)
    version: Version = UNHEARD
    written: int = 0


class PersonOutbox(msgspec.Struct, gc=False):
    """Messages to households by id, and to chains, which has one key; and rows, by table."""

    members: list[tuple[str, ProtocolMessage]] = []
    edges: list[tuple[str, ProtocolMessage]] = []
    contacts: list[Upsert] = []
    memberships: list[Upsert] = []


def size(state: PersonState) -> int:
    """Edges out of the id."""
    return len(state.known.out)


def step(key: str, state: PersonState | None, inbox: Iterable[Known]) -> tuple[PersonState, PersonOutbox]:
    """Joins what came to what was known; writes its rows, or tells the new home, and the old one where it has moved."""
    before = state or PersonState()
    known = copied(before.known)
    for more in inbox:
        learn(known, more)
    if before.version == UNHEARD and not known.named and not known.out:
        return _by_itself(key, before, known)
    home_before, facts_before = _place(key, before.known)
    home, facts = _place(key, known)
    fresh = _edges(key, known) - _edges(key, before.known)
    outbox = PersonOutbox(edges=[(CHAINS, edge) for edge in sorted(fresh, key=_order)])
    version = before.version
    if version == UNHEARD or (home_before, facts_before) != (home, facts):
        alone = before.known if before.written and version == UNHEARD else None
        moved = home_before != home
        version = (version[0] + moved, version[1] + 1)
        if moved and facts_before is not None:
            outbox.members.append((home_before, Member(key, version, None, alone)))
            alone = None
        outbox.members.append((home, Member(key, version, facts, alone)))
    return PersonState(known, version, before.written), outbox


def _by_itself(key: str, before: PersonState, known: Known) -> tuple[PersonState, PersonOutbox]:
    outbox = PersonOutbox()
    if known == before.known:
        return before, outbox
    written = before.written + 1
    rows_before, rows = contact.rows(key, {key: (UNHEARD, before.known)}), contact.rows(key, {key: (UNHEARD, known)})
    contact.write(rows_before, rows, (*contact.BY_PERSON, written), outbox)
    return PersonState(known, UNHEARD, written), outbox


def _place(key: str, known: Known) -> tuple[str, Known | None]:
    """(home, facts); facts are None for an id that nothing was said of."""
    if known == NOTHING:
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
