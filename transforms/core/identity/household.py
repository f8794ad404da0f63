"""Stage 3, by id: an id with the leaves that live with it.

While chains has not spoken of the id, nobody else can be in its contact: the household writes the contact's rows
itself, which saves ordinary traffic a hop and a state. From then on it passes each member on to the contact of the
label.

Invariant: while chains has not spoken, the rows last written are the fold of the members. After that, every such row
was taken back, under a version below the contact's; the contact that answers to the present label has been told of
every member that is here, and each other that was told of one has been told "not here" by a newer version. Rows that
the person of this id wrote while it was by itself have been written anew or taken back, under a version above its.

The row of `identities` is written by the present home alone, when an id has moved here or the label has changed.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from schemas.tables import Identity
from transforms.core.identity import contact, crowd
from transforms.core.identity.protocol import UNHEARD, Label, Member, Members, ProtocolMessage, Version, hear
from transforms.core.rows import Upsert

_GONE = -1
"""The label version of "not here": below every other, so that a leaver yields to its next home whatever its label."""


class HouseholdState(msgspec.Struct, array_like=True, gc=False):
    """Who lives here; the label, None while chains has not spoken of this id; how often it has written its rows; and
    those of its members that are packed."""

    members: Members = {}
    label: Label | None = None
    written: int = 0
    crowd: crowd.Crowd = ()


class HouseholdOutbox(msgspec.Struct, gc=False):
    """Messages to contacts by label, and rows, by table."""

    members: list[tuple[str, ProtocolMessage]] = []
    identities: list[Upsert] = []
    contacts: list[Upsert] = []
    memberships: list[Upsert] = []


def size(state: HouseholdState) -> int:
    """Ids that live here, and those that have left."""
    return len(state.members) + len(state.crowd) * crowd.ROOM


def step(
    key: str, state: HouseholdState | None, inbox: Iterable[Member | Label]
) -> tuple[HouseholdState, HouseholdOutbox]:
    """Takes what is newer, and writes or passes on what that changes."""
    inbox = list(inbox)
    before = state or HouseholdState()
    if before.crowd and not crowd.stays_packed(inbox):
        before = replace(before, members=crowd.unpacked(before.members, before.crowd), crowd=())
    members = dict(before.members)
    label = before.label
    heard = set()
    alone = None
    for said in inbox:
        if isinstance(said, Member):
            alone = said.alone or alone
            if hear(members, said):
                heard.add(said.id)
        elif label is None or said.version > label.version:
            label = said
    if not heard and not alone and label == before.label:
        return state or before, HouseholdOutbox()
    outbox = HouseholdOutbox()
    written = before.written
    if alone or before.label is None:
        written += 1
        taken = contact.rows(key, {key: (UNHEARD, alone)}) if alone else {}
        shown = contact.rows(key, before.members) if before.label is None else {}
        own = contact.rows(key, members) if label is None else {}
        contact.write(shown, own, (*contact.BY_HOUSEHOLD, written), outbox, taken)
    was, now = before.label or Label(0, key), label or Label(0, key)
    everyone = (before.label is None) != (label is None) or was.label != now.label
    for id in sorted(members if everyone else heard):
        if label is not None:
            _pass_on(id, before, members, was.label, label, outbox)
        _identify(id, before.members, members, was.label, now, outbox)
    few, packed = crowd.packed(members, before.crowd)
    return HouseholdState(few, label, written, packed), outbox


def _pass_on(
    id: str, before: HouseholdState, members: Members, was: str, label: Label, outbox: HouseholdOutbox
) -> None:
    """Tells the present contact that a member is here; one that was told so before and is not the present one, or that
    the member has left, is told "not here"."""
    version, facts = members[id]
    told = before.label is not None and before.members.get(id, _NOBODY)[1] is not None
    passed = (*version, _GONE if facts is None else label.version)
    if told and (facts is None or was != label.label):
        outbox.members.append((was, Member(id, passed, None)))
    if facts is not None:
        outbox.members.append((label.label, Member(id, passed, facts)))


def _identify(id: str, before: Members, members: Members, was: str, now: Label, outbox: HouseholdOutbox) -> None:
    """Writes the row of `identities` of a member that has moved here, or whose label has changed."""
    (moves, _), facts = members[id]
    version_before, facts_before = before.get(id, _NOBODY)
    if facts is None:
        return
    arrived = facts_before is None or moves != version_before[0]
    if (arrived or was != now.label) and (moves or id != was or id != now.label):
        row = Identity(id, now.label) if now.label != id else None
        outbox.identities.append(Upsert((id,), (moves, now.version), row))


_NOBODY: tuple[Version, None] = (UNHEARD, None)
