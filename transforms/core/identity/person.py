"""Stage 1, by id: where an id lives, and what it brings.

An id that no edge names is a whole contact by *itself*: the person writes its rows, which saves the households' hop and
state. The first edge ends that for good.

Invariant, by the rules of `state.rules`. While the id is by itself:

- the rows of the greatest version are the fold of its facts, and nothing was sent to any household.

After that, for example where `phone` was by itself, then moved to `ann`, then to `bob`:

- the household of its own key was sent the facts that gave its rows, to rewrite or take back (`phone`: handed over);
- the newest message to its home is an arrival with all facts (`bob`: arrival, version (2, 2));
- the newest message to every earlier home is a departure (`phone`: (1, 1), `ann`: (2, 2));
- of a chain id, households know the user of its earliest edge, the stages of depth know every edge out of it, and where
  each of them leads to there is a token.

An id lives with the user of its earliest edge, which always takes effect: nothing can have absorbed the id before. One
without edges lives with itself. An id that is both a previous and a user is a *chain id*: others come by way of it, and
only its edges can form chains, cycles and renames. All of them count, those from before it was one too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from transforms.core.facts import NOTHING, Known, joined
from transforms.core.identity import contact
from transforms.core.identity.protocol import UNSENT, Member, Pointer, ProtocolMessage, Token, Version
from transforms.core.rows import Upsert
from transforms.core.rules_version import RULES_VERSION, UNVERSIONED
from transforms.core.stamps import Stamp


class PersonState(msgspec.Struct, array_like=True, gc=False):
    """All that is known of one id, the version of its last message, how often it has written its rows itself, and the
    version of the rules that its rows and messages were made by."""

    known: Known = msgspec.field(default_factory=Known)
    version: Version = UNSENT
    written: int = 0
    rules: int = UNVERSIONED


class PersonOutbox(msgspec.Struct, gc=False):
    """Messages by id: to the households of the first hop, to those of every hop, to depth's first hop, and to each of
    its hops; and rows, by table."""

    members: list[tuple[str, ProtocolMessage]] = []
    pointers: list[tuple[str, ProtocolMessage]] = []
    tokens: list[tuple[str, ProtocolMessage]] = []
    paths: list[tuple[str, ProtocolMessage]] = []
    contacts: list[Upsert] = []
    memberships: list[Upsert] = []


class _Place(NamedTuple):
    """Where an id lives and what it brings; facts are None for an id of which nothing is known."""

    home: str
    facts: Known | None
    is_chain: bool


def size(state: PersonState) -> int:
    """Edges out of the id."""
    return len(state.known.out)


def step(key: str, state: PersonState | None, inbox: Iterable[Known]) -> tuple[PersonState, PersonOutbox]:
    """Joins what came to what was known. Writes its rows, or tells where it lives, and where its edges lead to, as far
    as that has changed. Where older rules made the state, all of that is done again."""
    before = state or PersonState(rules=RULES_VERSION)
    known = joined([*inbox] if state is None else [state.known, *inbox])
    if before.version == UNSENT and not known.named and not known.out:
        return _by_itself(key, before, known)
    by_other_rules = before.rules != RULES_VERSION
    was, now = _place(key, before.known), _place(key, known)
    moved = by_other_rules or was.home != now.home
    version = (before.version[0] + moved, before.version[1] + 1)
    outbox = PersonOutbox()
    if before.version == UNSENT or by_other_rules or was != now:
        left = {key, *known.out} - {now.home} if by_other_rules else {was.home} - {now.home}
        _tell_homes(key, before, left if by_other_rules or was.facts is not None else set(), now, version, outbox)
    if now.is_chain:
        _tell_edges(key, before.known if was.is_chain else None, known, by_other_rules, version[1], outbox)
    if not (outbox.members or outbox.tokens or outbox.paths):
        version = before.version
    return PersonState(known, version, before.written, RULES_VERSION), outbox


def _by_itself(key: str, before: PersonState, known: Known) -> tuple[PersonState, PersonOutbox]:
    outbox = PersonOutbox()
    by_other_rules = before.rules != RULES_VERSION
    if known == before.known and not by_other_rules:
        return before, outbox
    written = before.written + 1
    rows_before, rows = contact.rows(key, {key: (UNSENT, before.known)}), contact.rows(key, {key: (UNSENT, known)})
    rewritten = contact.account_ids((before.known,)) if by_other_rules else None
    contact.write(key, rows_before, rows, (*contact.BY_PERSON, written), outbox, rewritten)
    return PersonState(known, UNSENT, written, RULES_VERSION), outbox


def _tell_homes(
    key: str, before: PersonState, left: set[str], now: _Place, version: Version, outbox: PersonOutbox
) -> None:
    """Departures from homes that are `left`, and an arrival."""
    handed_over = before.known if before.written and before.version == UNSENT else None
    for home in sorted(left):
        outbox.members.append((home, Member(key, version, None, handed_over if home == key else None)))
    own = handed_over if now.home == key else None
    outbox.members.append((now.home, Member(key, version, now.facts, own, now.is_chain)))


def _tell_edges(
    key: str, before: Known | None, known: Known, by_other_rules: bool, version: int, outbox: PersonOutbox
) -> None:
    """What is new of a chain id's edges; `before` is None where it was no chain id."""
    first, first_before = _earliest(known), before and _earliest(before)
    if first != first_before or by_other_rules:
        outbox.pointers.append((key, Pointer(version, first)))
    out_before: dict[str, Stamp] = {} if before is None or by_other_rules else before.out
    new = {user: stamp for user, stamp in sorted(known.out.items()) if out_before.get(user) != stamp}
    if new:
        outbox.paths.append((key, Pointer(version, first, new)))
    tokens_before = {} if before is None else _tokens(key, before)
    tokens = _tokens(key, known)
    gone = {(user, _token(key, other)) for user in known.out for other in ("", user)} if by_other_rules else set()
    for user, token in sorted((gone | tokens_before.keys()) - tokens.keys()):
        outbox.tokens.append((user, Token(token, (version,), None)))
    for (user, token), is_later in sorted(tokens.items()):
        if by_other_rules or tokens_before.get((user, token)) != is_later:
            outbox.tokens.append((user, Token(token, (version,), is_later)))


def _place(key: str, known: Known) -> _Place:
    if known == NOTHING:
        return _Place(key, None, False)
    facts = msgspec.structs.replace(known, out={}, named=False) if known.out or known.named else known
    return _Place(_earliest(known) if known.out else key, facts, known.named and bool(known.out))


def _earliest(known: Known) -> str:
    out = known.out
    return next(iter(out)) if len(out) == 1 else min((stamp, user) for user, stamp in out.items())[1]


def _tokens(key: str, known: Known) -> dict[tuple[str, str], bool]:
    """(the user that an edge leads to, the token's id), and whether it is of a later edge."""
    first = _earliest(known)
    later = {(user, _token(key, user)): True for user in known.out if user != first}
    return {(first, _token(key)): False, **later}


def _token(key: str, user: str = "") -> str:
    """The id of the token of a chain id's earliest edge, or of that to a user. The length tells the two ids apart."""
    return f"{len(key)}:{key}{user}"
