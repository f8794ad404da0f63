"""Stage 1, by id: where an id lives, and what it brings.

An id that no edge names is a whole contact by *itself*: the person writes its rows, which saves the households' hop and
state. The first edge ends that for good.

Invariant, by the rules of `state.rules`. While the id is by itself:

- the rows of the greatest version are the fold of its facts, and nothing was sent to any household.

After that, for example where `phone` was by itself, then moved to `ann`, then to `bob`:

- the household of its own key was sent the facts that gave its rows, to rewrite or take back (`phone`: handed over);
- the newest message to its home is an arrival with all facts (`bob`: arrival, version (2, 2));
- the newest message to every earlier home is a departure (`phone`: (1, 1), `ann`: (2, 2));
- every distinct edge out of a chain id was sent to chains.

A *leaf* (edges out, never named as a user) lives with the user of its earliest edge: nothing else can say what it is
absorbed into. Any other id lives with itself. An id that is both a previous and a user is a *chain id*: only its edges
can form chains, cycles and renames, and all of them count, those from before it was one too.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from transforms.core.facts import NOTHING, Known, copied, learn
from transforms.core.identity import contact
from transforms.core.identity.protocol import CHAINS, UNSENT, Edge, Member, ProtocolMessage, Version
from transforms.core.rows import Upsert
from transforms.core.rules_version import RULES_VERSION, UNVERSIONED


class PersonState(msgspec.Struct, array_like=True, gc=False):
    """All that is known of one id, the version of its last message, how often it has written its rows itself, and the
    version of the rules that its rows and messages were made by."""

    known: Known = msgspec.field(default_factory=Known)
    version: Version = UNSENT
    written: int = 0
    rules: int = UNVERSIONED


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
    """Joins what came to what was known. Writes its rows, or sends an arrival to its home, and a departure to the home
    of before where it has moved. Where older rules made the state, all of that is done again."""
    before = state or PersonState(rules=RULES_VERSION)
    by_other_rules = before.rules != RULES_VERSION
    known = copied(before.known)
    for more in inbox:
        learn(known, more)
    if before.version == UNSENT and not known.named and not known.out:
        return _by_itself(key, before, known)
    home_before, facts_before = _place(key, before.known)
    home, facts = _place(key, known)
    new = _edges(key, known) if by_other_rules else _edges(key, known) - _edges(key, before.known)
    outbox = PersonOutbox(edges=[(CHAINS, edge) for edge in sorted(new, key=_order)])
    version = before.version
    if version == UNSENT or by_other_rules or (home_before, facts_before) != (home, facts):
        handed_over = before.known if before.written and version == UNSENT else None
        moved = home_before != home
        left = {home_before} if moved and facts_before is not None else set()
        if by_other_rules:  # they may have chosen any of these
            moved, left = True, {key, *known.out} - {home}
        version = (version[0] + moved, version[1] + 1)
        for other in sorted(left):
            outbox.members.append((other, Member(key, version, None, handed_over if other == key else None)))
        outbox.members.append((home, Member(key, version, facts, handed_over if home == key else None)))
    return PersonState(known, version, before.written, RULES_VERSION), outbox


def _by_itself(key: str, before: PersonState, known: Known) -> tuple[PersonState, PersonOutbox]:
    outbox = PersonOutbox()
    by_other_rules = before.rules != RULES_VERSION
    if known == before.known and not by_other_rules:
        return before, outbox
    written = before.written + 1
    rows_before, rows = contact.rows(key, {key: (UNSENT, before.known)}), contact.rows(key, {key: (UNSENT, known)})
    rewritten = contact.row_keys(key, (before.known,)) if by_other_rules else frozenset()
    contact.write(rows_before, rows, (*contact.BY_PERSON, written), outbox, rewritten)
    return PersonState(known, UNSENT, written, RULES_VERSION), outbox


def _place(key: str, known: Known) -> tuple[str, Known | None]:
    """(home, facts); facts are None for an id of which nothing is known."""
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
