"""Stage 5, by label: folds the facts of all ids of a contact into its rows, once others than a household's own members
may be in it.

Invariant: the rows of the greatest version are the fold, by the rules of `state.rules`, of the members that are here. A
row that the fold does not give any more was taken back by a tombstone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from schemas.tables import Identity
from transforms.core import contacts
from transforms.core.contacts import ContactRows
from transforms.core.facts import Known
from transforms.core.identity import crowd
from transforms.core.identity.protocol import UNSENT, Member, Members, keep_newest
from transforms.core.rows import Upsert
from transforms.core.rules_version import RULES_VERSION, UNVERSIONED

BY_PERSON, BY_HOUSEHOLD, BY_CONTACT = (0, 0), (0,), (1,)
"""Who wrote a row, with which its version begins: a person's rows yield to those of its household, whose count begins
with one, and both to those of the contact."""

NO_ROWS: Final = ContactRows()


class RowsOutbox(Protocol):
    """Where rows of contacts go."""

    contacts: list[Upsert]
    memberships: list[Upsert]


class ContactState(msgspec.Struct, array_like=True, gc=False):
    """Who belongs to the contact, the version of the rows last written, how many rooms of its members are packed, the
    version of the rules that its rows were made by; and the rooms, where a window needs them or adds to them."""

    members: Members = {}
    version: int = 0
    rooms: int = 0
    rules: int = UNVERSIONED
    crowd: crowd.Crowd = ()


class ContactOutbox(msgspec.Struct, gc=False):
    """Rows, by table."""

    identities: list[Upsert] = []
    contacts: list[Upsert] = []
    memberships: list[Upsert] = []


def size(state: ContactState) -> int:
    """Ids of the contact, and those that have left."""
    return len(state.members) + state.rooms * crowd.ROOM


def needs_crowd(state: ContactState, inbox: Iterable[object]) -> bool:
    """Whether a step on this inbox looks into the rooms."""
    return state.rooms > 0 and (state.rules != RULES_VERSION or not crowd.stays_packed(inbox))


def step(key: str, state: ContactState | None, inbox: Iterable[Member]) -> tuple[ContactState, ContactOutbox]:
    """Keeps the newest messages, and writes the rows that they change; all rows where older rules made them."""
    inbox = list(inbox)
    before = state or ContactState(rules=RULES_VERSION)
    by_other_rules = before.rules != RULES_VERSION
    if needs_crowd(before, inbox):
        before = replace(before, members=crowd.unpacked(before.members, before.crowd), rooms=0, crowd=())
    members = dict(before.members)
    newer = {message.id for message in inbox if keep_newest(members, message.id, message.version, message.facts)}
    if not newer and not by_other_rules:
        return state or before, ContactOutbox()
    outbox = ContactOutbox()
    version = before.version + 1
    rewritten = account_ids(present(before.members).values()) if by_other_rules else None
    write(key, rows(key, before.members), rows(key, members), (*BY_CONTACT, version), outbox, rewritten)
    outbox.identities += identities(key, sorted(newer), before.members, members)
    few, added = crowd.packed(members)
    rooms, packed = before.rooms + len(added), (*before.crowd, *added)
    return ContactState(few, version, rooms, RULES_VERSION, packed), outbox


def write(
    label: str,
    before: ContactRows,
    now: ContactRows,
    version: tuple[int, ...],
    outbox: RowsOutbox,
    rewritten: frozenset[str] | None,
) -> None:
    """Writes each row of a label that has changed, and a tombstone for each that is gone. Unless `rewritten` is None,
    the contact and its memberships of these accounts are written in any case: what stands under their keys was made by
    another writer, or by other rules."""
    if rewritten is not None or not now.has_same_contact(before):
        outbox.contacts.append(Upsert((label,), version, now.contact))
    memberships_before = {row.account_id: row for row in before.memberships}
    memberships = {row.account_id: row for row in now.memberships}
    again = rewritten or frozenset()
    for account_id in sorted(memberships_before.keys() | memberships.keys() | again):
        row = memberships.get(account_id)
        if account_id in again or row != memberships_before.get(account_id):
            outbox.memberships.append(Upsert((label, account_id), version, row))


def rows(label: str, members: Members) -> ContactRows:
    """The rows that the members give to the contact of a label."""
    facts_by_id = present(members)
    return contacts.rows(label, facts_by_id) if facts_by_id else NO_ROWS


def identities(
    label: str, ids: Iterable[str], before: Members, members: Members, suffix: tuple[int, ...] = ()
) -> Iterator[Upsert]:
    """The rows of `identities` of ids that have arrived: a row's version is the member's, without the count of what its
    person sent, and with `suffix`. The label itself has none; it needs a tombstone where it may have been elsewhere."""
    for id in ids:
        (moves, _, *hops), facts = members[id]
        version = (moves, *hops, *suffix)
        version_before, facts_before = before.get(id, (UNSENT, None))
        arrived = facts_before is None or (version_before[0], *version_before[2:], *suffix) != version
        if facts is not None and arrived and (id != label or any(version)):
            yield Upsert((id,), version, Identity(id, label) if id != label else None)


def account_ids(facts: Iterable[Known]) -> frozenset[str]:
    """The accounts of which such facts may give memberships under any rules."""
    return frozenset(account_id for known in facts for account_id in known.accounts)


def present(members: Members) -> dict[str, Known]:
    """The facts of the members that are here, by id."""
    return {id: facts for id, (_, facts) in members.items() if facts is not None}
