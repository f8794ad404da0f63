"""Stage 4, by id, once for each hop: an id with those that live with it, or have come to it along their path.

The path of an id's earliest edges is followed from user to user: `phone → ann@x → u7` brings `phone` to the household
of `ann@x` and, by the next hop, to that of `u7`. It ends where an id has no edges, or where chains has sent a label.
There the members are passed on to the contact of that label.

As long as nobody but its own members can be in its contact, a household of the first hop is *alone*: it writes the
contact's rows itself, which saves ordinary traffic the further stages and their state. The first label, pointer or
chain id that comes to it ends that for good.

Invariant, by the rules of `state.rules`, for the household `ann` with the leaf `phone`:

    alone                                                  from then on
    ─────                                                  ────────────
    contacts ann, memberships (ann, …):                    contacts ann, memberships (ann, …):
      the rows of version (0, n) are the fold                tombstones of version (0, n); the contact's rows
      of ann's and phone's facts                             have versions (1, n), which are greater
    identities phone: ann                                  newest messages about phone:
                                                             where ann leads to now:     arrival
    phone moves away, to bob: the newest message to the      where ann has ever led to:  departure
    rows are a fold of ann's facts alone
                                                           phone moves away, to bob: a departure where ann leads to
                                                           (bob's household sends the arrival, where bob leads to)

The rows that the person `ann` wrote while it was by itself, versions (0, 0, n), were rewritten or taken back under
(0, n). The row of `identities` of an id is written by who writes its contact: when the id arrives there.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from transforms.core.facts import Known
from transforms.core.identity import contact, crowd
from transforms.core.identity.passing import Destination, passed
from transforms.core.identity.protocol import Hop, Label, Member, Members, Pointer, ProtocolMessage, keep_newest
from transforms.core.rows import Upsert
from transforms.core.rules_version import RULES_VERSION, UNVERSIONED


class HouseholdState(msgspec.Struct, array_like=True, gc=False):
    """Who lives here or has come here; the newest label and pointer; how often the household has written its rows;
    how many rooms of its members are packed; whether a chain id has ever lived here; how often all was written anew,
    the version of the rules that it was made by; and the rooms, where a window needs them or adds to them."""

    members: Members = {}
    label: Label | None = None
    pointer: Pointer | None = None
    written: int = 0
    rooms: int = 0
    is_followed: bool = False
    rewritten: int = 0
    rules: int = UNVERSIONED
    crowd: crowd.Crowd = ()


class HouseholdOutbox(msgspec.Struct, gc=False):
    """Messages to contacts by label, and to the households of the next hop by id; and rows, by table, which the first
    hop alone writes."""

    members: list[tuple[str, ProtocolMessage]] = []
    followers: list[tuple[str, ProtocolMessage]] = []
    identities: list[Upsert] = []
    contacts: list[Upsert] = []
    memberships: list[Upsert] = []


def size(state: HouseholdState) -> int:
    """Ids that are here, and those that have left."""
    return len(state.members) + state.rooms * crowd.ROOM


def needs_crowd(state: HouseholdState, inbox: Iterable[object]) -> bool:
    """Whether a step on this inbox looks into the rooms."""
    return state.rooms > 0 and (state.rules != RULES_VERSION or not crowd.stays_packed(inbox))


def step(
    hop: Hop, key: str, state: HouseholdState | None, inbox: Iterable[Member | Label | Pointer]
) -> tuple[HouseholdState, HouseholdOutbox]:
    """Keeps the newest messages, and writes or passes on what they change; everything where older rules did so."""
    inbox = list(inbox)
    before = state or HouseholdState(rules=RULES_VERSION)
    by_other_rules = before.rules != RULES_VERSION
    if needs_crowd(before, inbox):
        before = replace(before, members=crowd.unpacked(before.members, before.crowd), rooms=0, crowd=())
    now, newer, handed_over = _learn(before, inbox)
    if not newer and not handed_over and _leading(now) == _leading(before) and not by_other_rules:
        return state or before, HouseholdOutbox()
    now.rewritten += by_other_rules
    outbox = HouseholdOutbox()
    was_alone, is_alone = _is_alone(hop, before), _is_alone(hop, now)
    if was_alone or handed_over is not None:
        by_others = [] if handed_over is None else [handed_over]
        if by_other_rules:
            by_others += contact.present(before.members).values()
        rewritten = contact.account_ids(by_others) if handed_over is not None or by_other_rules else None
        now.written += 1
        rows_before = contact.rows(key, before.members) if was_alone else contact.NO_ROWS
        rows = contact.rows(key, now.members) if is_alone else contact.NO_ROWS
        contact.write(key, rows_before, rows, (*contact.BY_HOUSEHOLD, now.written), outbox, rewritten)
    led_to = None if was_alone else _destination(hop, key, before)
    leads_to = None if is_alone else _destination(hop, key, now)
    version = _version(now)
    ids = sorted(now.members if by_other_rules or led_to != leads_to else newer)
    for to, id, passed_version, facts in passed(ids, before.members, now.members, led_to, leads_to, version):
        messages = outbox.members if to.stage == "contact" else outbox.followers
        messages.append((to.key, Member(id, passed_version, facts)))
    if is_alone:
        standing = {} if by_other_rules else before.members
        outbox.identities += contact.identities(key, ids, standing, now.members, (version,))
    now.members, added = crowd.packed(now.members)
    now.rooms, now.crowd = before.rooms + len(added), (*before.crowd, *added)
    now.rules = RULES_VERSION
    return now, outbox


def _learn(
    before: HouseholdState, inbox: Iterable[Member | Label | Pointer]
) -> tuple[HouseholdState, set[str], Known | None]:
    """The state with the newest messages; the members that one of them is about, and what is handed over."""
    now = replace(before, members=dict(before.members))
    newer = set()
    handed_over = None
    for message in inbox:
        if isinstance(message, Member):
            handed_over = message.handed_over or handed_over
            now.is_followed |= message.is_chain
            if keep_newest(now.members, message.id, message.version, message.facts):
                newer.add(message.id)
        elif isinstance(message, Label):
            now.label = message if now.label is None or message.version > now.label.version else now.label
        else:
            now.pointer = message if now.pointer is None or message.version > now.pointer.version else now.pointer
    return now, newer, handed_over


def _leading(state: HouseholdState) -> tuple[Label | None, Pointer | None, bool]:
    """What tells where the household leads to."""
    return state.label, state.pointer, state.is_followed


def _is_alone(hop: Hop, state: HouseholdState) -> bool:
    """Whether none but the members can be in the contact."""
    return hop.number == 1 and not state.is_followed and state.label is None and state.pointer is None


def _destination(hop: Hop, key: str, state: HouseholdState) -> Destination:
    """Where the members are passed on to. After the last hop a chain id leads to its own contact, until its label has
    come."""
    if state.label is not None and state.label.label is not None:
        return Destination("contact", state.label.label)
    if state.pointer is not None and not hop.is_last:
        return Destination("hop", state.pointer.target)
    return Destination("contact", key)


def _version(state: HouseholdState) -> int:
    """It grows whenever the destination changes, and when everything is passed on anew."""
    label = 0 if state.label is None else state.label.version
    pointer = 0 if state.pointer is None else state.pointer.version
    return label + pointer + state.rewritten
