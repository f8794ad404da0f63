"""Stage 3, by id: an id with the leaves that live with it.

As long as chains has sent no label for the id, nobody else can be in its contact: the household writes the contact's
rows itself, which saves ordinary traffic a hop and a state. From the first label on it passes each member on to the
contact of the newest label.

Invariant, by the rules of `state.rules`, for the household `ann` with the leaf `phone`:

    without a label                                        from the first label on
    ───────────────                                        ───────────────────────
    contacts ann, memberships (ann, …):                    contacts ann, memberships (ann, …):
      the rows of version (0, n) are the fold                tombstones of version (0, n); the contact's rows
      of ann's and phone's facts                             have versions (1, n), which are greater
    nothing was sent to a contact                          newest messages about phone:
                                                             to the newest label:    arrival
                                                             to each earlier label:  departure

    phone moves away, to bob: the newest message to the    the newest label:  departure
    rows are a fold of ann's facts alone                   (bob's household sends the arrival, to its own label)

The rows that the person `ann` wrote while it was by itself, versions (0, 0, n), were rewritten or taken back under
(0, n). The row of `identities` of an id is written by its present home only: when the id arrives, and when the label
changes.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from schemas.tables import Identity
from transforms.core.identity import contact, crowd
from transforms.core.identity.protocol import UNSENT, Label, Member, Members, ProtocolMessage, Version, keep_newest
from transforms.core.rows import Upsert
from transforms.core.rules_version import RULES_VERSION, UNVERSIONED

_DEPARTED = -1
"""The label version of a departure: below every other, so that it yields to the arrival at the next home, whatever the
label of that."""


class HouseholdState(msgspec.Struct, array_like=True, gc=False):
    """Who lives here; the newest label, None before the first; how often it has written its rows; those of its members
    that are packed; and the version of the rules that its rows and messages were made by."""

    members: Members = {}
    label: Label | None = None
    written: int = 0
    crowd: crowd.Crowd = ()
    rules: int = UNVERSIONED


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
    """Keeps the newest messages, and writes or passes on what they change; everything where older rules did so."""
    inbox = list(inbox)
    before = state or HouseholdState(rules=RULES_VERSION)
    by_other_rules = before.rules != RULES_VERSION
    if before.crowd and (by_other_rules or not crowd.stays_packed(inbox)):
        before = replace(before, members=crowd.unpacked(before.members, before.crowd), crowd=())
    members = dict(before.members)
    label = before.label
    newer = set()
    handed_over = None
    for message in inbox:
        if isinstance(message, Member):
            handed_over = message.handed_over or handed_over
            if keep_newest(members, message):
                newer.add(message.id)
        elif label is None or message.version > label.version:
            label = message
    if not newer and not handed_over and label == before.label and not by_other_rules:
        return state or before, HouseholdOutbox()
    outbox = HouseholdOutbox()
    written = before.written
    if handed_over or before.label is None or by_other_rules:
        written += 1
    version = (*contact.BY_HOUSEHOLD, written)
    rewritten = frozenset() if handed_over is None else contact.row_keys(key, (handed_over,))
    if by_other_rules and before.label is None:
        rewritten |= contact.row_keys(key, contact.present(before.members).values())
    rows_before = contact.rows(key, before.members) if before.label is None else {}
    rows = contact.rows(key, members) if label is None else {}
    contact.write(rows_before, rows, version, outbox, rewritten)
    label_before, label_now = before.label or Label(0, key), label or Label(0, key)
    concerns_all = by_other_rules or (before.label is None) != (label is None) or label_before.label != label_now.label
    rewriting = (written,) if by_other_rules else ()
    for id in sorted(members if concerns_all else newer):
        if label is not None:
            _pass_on(id, before, members, label_before.label, label, rewriting, outbox)
        _identify(id, before.members, members, label_before.label, label_now, rewriting, outbox)
    few, packed = crowd.packed(members, before.crowd)
    return HouseholdState(few, label, written, packed, RULES_VERSION), outbox


def _pass_on(
    id: str,
    before: HouseholdState,
    members: Members,
    label_before: str,
    label: Label,
    rewriting: tuple[int, ...],
    outbox: HouseholdOutbox,
) -> None:
    """Sends the contact of the newest label an arrival, if the member is here. A contact that was sent one before gets
    a departure if the member has left, or if the label is another now. Where all is sent anew, `rewriting` makes the
    version of an arrival greater than that of the same arrival before."""
    version, facts = members[id]
    was_passed_on = before.label is not None and before.members.get(id, _ABSENT)[1] is not None
    passed = (*version, _DEPARTED if facts is None else label.version)
    if was_passed_on and (facts is None or label_before != label.label):
        outbox.members.append((label_before, Member(id, passed, None)))
    if facts is not None:
        outbox.members.append((label.label, Member(id, (*passed, *rewriting), facts)))


def _identify(
    id: str,
    before: Members,
    members: Members,
    label_before: str,
    label: Label,
    rewriting: tuple[int, ...],
    outbox: HouseholdOutbox,
) -> None:
    """Writes the row of `identities` of a member that has arrived, or whose label has changed; of every member where
    all is written anew (`rewriting`, as in `_pass_on`)."""
    (moves, _), facts = members[id]
    version_before, facts_before = before.get(id, _ABSENT)
    if facts is None:
        return
    arrived = facts_before is None or moves != version_before[0]
    changed = (arrived or label_before != label.label) and (moves or id != label_before or id != label.label)
    if changed or rewriting:
        row = Identity(id, label.label) if label.label != id else None
        outbox.identities.append(Upsert((id,), (moves, label.version, *rewriting), row))


_ABSENT: tuple[Version, None] = (UNSENT, None)
