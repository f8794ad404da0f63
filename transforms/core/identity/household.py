"""Stage 3, by id: an id with the leaves that live with it; passes each on to the contact of its label.

Invariant: the contact that answers to the present label has been told of every member that is here; a contact that
answered to an earlier label, or that a member has left through here, was told "not here" by a newer version.

The row of `identities` is written by the present home alone, when an id has moved here or the label has changed.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from schemas.tables import Identity
from transforms.core.identity.messages import Label, Member, Members, Message, hear
from transforms.core.rows import Upsert

_GONE = -1
"""The label version of "not here": below every other, so that a leaver yields to its next home whatever its label."""


class Household(msgspec.Struct, array_like=True, gc=False):
    """Who lives here, and the label; None while chains has not spoken of this id."""

    members: Members = {}
    label: Label | None = None


class Outbox(msgspec.Struct, gc=False):
    """Messages to contacts by label, and rows of `identities`."""

    members: list[tuple[str, Message]] = []
    identities: list[Upsert] = []


def step(key: str, state: Household | None, inbox: Iterable[Member | Label]) -> tuple[Household, Outbox]:
    """Takes what is newer, and passes on what that changes."""
    before = state or Household()
    members = dict(before.members)
    label = before.label or Label(0, key)
    was = label.label
    heard = set()
    for said in inbox:
        if isinstance(said, Label):
            label = said if said.version > label.version else label
        elif hear(members, said):
            heard.add(said.id)
    now = label.label
    outbox = Outbox()
    for id in sorted(heard if was == now else members):
        version, facts = members[id]
        moves_before, facts_before = _before(before.members, id)
        passed = (*version, _GONE if facts is None else label.version)
        if facts_before is not None and (facts is None or was != now):
            outbox.members.append((was, Member(id, passed, None)))
        if facts is None:
            continue
        outbox.members.append((now, Member(id, passed, facts)))
        moved = version[0]
        arrived = facts_before is None or moved != moves_before
        if (arrived or was != now) and (moved or id != was or id != now):
            row = Identity(id, now) if now != id else None
            outbox.identities.append(Upsert((id,), (moved, label.version), row))
    return Household(members, label if label.version else None), outbox


def _before(members: Members, id: str) -> tuple[int, object]:
    version, facts = members.get(id, ((0, 0), None))
    return version[0], facts
