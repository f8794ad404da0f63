"""Stage 4, by label: folds the facts of all ids of a contact into its rows.

Invariant: the rows last written under the greatest version are the fold of the members that are here; a row that the
fold does not give any more was taken back by a tombstone.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from schemas.tables import CONTACTS, MEMBERSHIPS, Row
from transforms.core import contacts
from transforms.core.identity.messages import Member, Members, hear
from transforms.core.rows import Upsert


class Contact(msgspec.Struct, array_like=True, gc=False):
    """Who belongs to the contact, and the version of the rows last written."""

    members: Members = {}
    version: int = 0


class Outbox(msgspec.Struct, gc=False):
    """Rows, by table."""

    contacts: list[Upsert] = []
    memberships: list[Upsert] = []


def step(key: str, state: Contact | None, inbox: Iterable[Member]) -> tuple[Contact, Outbox]:
    """Takes what is newer, and writes the rows that it changes."""
    before = state or Contact()
    members = dict(before.members)
    if not [said for said in inbox if hear(members, said)]:
        return before, Outbox()
    version = before.version + 1
    rows_before, rows_now = _rows(key, before.members), _rows(key, members)
    outbox = Outbox()
    for table, row_key in sorted(rows_before.keys() | rows_now.keys()):
        row = rows_now.get((table, row_key))
        if row != rows_before.get((table, row_key)):
            rows = outbox.contacts if table == CONTACTS.name else outbox.memberships
            rows.append(Upsert(row_key, (version,), row))
    return Contact(members, version), outbox


def _rows(label: str, members: Members) -> dict[tuple[str, tuple[str, ...]], Row]:
    """The rows that the members give, by table and key."""
    here = {id: facts for id, (_, facts) in members.items() if facts is not None}
    if not here:
        return {}
    folded = contacts.rows(label, here)
    rows: dict[tuple[str, tuple[str, ...]], Row] = {
        (MEMBERSHIPS.name, (label, each.account_id)): each for each in folded.memberships
    }
    if folded.contact is not None:
        rows[CONTACTS.name, (label,)] = folded.contact
    return rows
