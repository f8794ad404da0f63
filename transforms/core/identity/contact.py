"""Stage 4, by label: folds the facts of all ids of a contact into its rows, once chains has spoken of it.

Invariant: the rows last written under the greatest version are the fold of the members that are here; a row that the
fold does not give any more was taken back by a tombstone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec
from msgspec.structs import replace

from schemas.tables import CONTACTS, MEMBERSHIPS, Row
from transforms.core import contacts
from transforms.core.identity import crowd
from transforms.core.identity.protocol import Member, Members, hear
from transforms.core.rows import Upsert

BY_PERSON, BY_HOUSEHOLD, BY_CONTACT = (0, 0), (0,), (1,)
"""Who wrote a row, with which its version begins: a person's rows yield to those of its household, whose count begins
with one, and both to those of the contact."""

RowKey = tuple[str, tuple[str, ...]]
"""A table, and the key of a row there."""
Rows = dict[RowKey, Row]


class RowsOutbox(Protocol):
    """Where rows of contacts go."""

    contacts: list[Upsert]
    memberships: list[Upsert]


class ContactState(msgspec.Struct, array_like=True, gc=False):
    """Who belongs to the contact, the version of the rows last written, and those of the members that are packed."""

    members: Members = {}
    version: int = 0
    crowd: crowd.Crowd = ()


class ContactOutbox(msgspec.Struct, gc=False):
    """Rows, by table."""

    contacts: list[Upsert] = []
    memberships: list[Upsert] = []


def size(state: ContactState) -> int:
    """Ids of the contact, and those that have left."""
    return len(state.members) + len(state.crowd) * crowd.ROOM


def step(key: str, state: ContactState | None, inbox: Iterable[Member]) -> tuple[ContactState, ContactOutbox]:
    """Takes what is newer, and writes the rows that it changes."""
    inbox = list(inbox)
    before = state or ContactState()
    if before.crowd and not crowd.stays_packed(inbox):
        before = replace(before, members=crowd.unpacked(before.members, before.crowd), crowd=())
    members = dict(before.members)
    if not [said for said in inbox if hear(members, said)]:
        return state or before, ContactOutbox()
    outbox = ContactOutbox()
    version = before.version + 1
    write(rows(key, before.members), rows(key, members), (*BY_CONTACT, version), outbox)
    few, packed = crowd.packed(members, before.crowd)
    return ContactState(few, version, packed), outbox


def write(before: Rows, now: Rows, version: tuple[int, ...], outbox: RowsOutbox, taken: Iterable[RowKey] = ()) -> None:
    """Writes each row that has changed, and a tombstone for each that is gone; those that are `taken` over from another
    writer in any case."""
    taken = frozenset(taken)
    for table, row_key in sorted(before.keys() | now.keys() | taken):
        row = now.get((table, row_key))
        if row != before.get((table, row_key)) or (table, row_key) in taken:
            upserts = outbox.contacts if table == CONTACTS.name else outbox.memberships
            upserts.append(Upsert(row_key, version, row))


def rows(label: str, members: Members) -> Rows:
    """The rows that the members give to the contact of a label."""
    here = {id: facts for id, (_, facts) in members.items() if facts is not None}
    if not here:
        return {}
    folded = contacts.rows(label, here)
    given: Rows = {(MEMBERSHIPS.name, (label, each.account_id)): each for each in folded.memberships}
    if folded.contact is not None:
        given[CONTACTS.name, (label,)] = folded.contact
    return given
