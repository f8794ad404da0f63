"""What is known of an id and of an account: facts that join in any order (`docs/semantics.md`, sections 3 to 8).

`Known` and `AccountKnown` are join semilattices: `learn` is associative, commutative and idempotent, so that windows,
retries and redeliveries may merge facts in any order and any number of times. Their fields' order and types are the
encoding of shuffled elements and of a running job's state (msgpack arrays): new fields go to the end, with a default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from schemas.segment import ALIAS, DELETE, GROUP, IDENTIFY
from transforms.core import engage, raw_json
from transforms.core.accounts import NamedAccount, Way, naming
from transforms.core.connections import Connections
from transforms.core.engage import Property
from transforms.core.raw_json import NULL
from transforms.core.reader import Call
from transforms.core.stamps import Span, Stamp, Value

AudienceFact = tuple[Stamp, bool | None]
"""Whether the person is in an audience, and the stamp that set it; None removed the person from it."""

_K = TypeVar("_K")
_V = TypeVar("_V")


class Known(msgspec.Struct, array_like=True, gc=False):
    """What is known of one id."""

    traits: dict[str, Value] = {}
    audiences: dict[str, AudienceFact] = {}
    seen: Span | None = None
    """First and last identify."""
    connections: dict[str, Stamp] = {}
    """The last identify through each connection."""
    accounts: dict[str, dict[Way, Span]] = {}
    deleted: Stamp | None = None
    """The last delete."""
    out: dict[str, Stamp] = {}
    """The edges from this id: the user, and the earliest stamp of such a call."""
    named: bool = False
    """Whether an edge names this id as its user."""


NOTHING: Final = Known()
"""What is known of an id without facts."""


class AccountKnown(msgspec.Struct, array_like=True, gc=False):
    """What is known of one account."""

    traits: dict[str, Value] = {}
    name: tuple[Stamp, str] | None = None
    seen: dict[Way, Span] = {}
    """First and last message that named it, by way."""
    connections: dict[str, Stamp] = {}
    """The last message through each connection that named it."""


def joined(parts: Sequence[Known]) -> Known:
    """All that these parts tell. None of them is changed; a part by itself is given as it is."""
    if len(parts) == 1:
        return parts[0]
    known = Known()
    for part in parts:
        learn(known, part)
    return known


def copied_account(known: AccountKnown) -> AccountKnown:
    """A copy that `learn_account` may change."""
    return AccountKnown(dict(known.traits), known.name, dict(known.seen), dict(known.connections))


def learn(known: Known, more: Known) -> Known:
    """Joins `more` into `known`, which is changed and returned."""
    if more.traits:
        _learn_values(known.traits, more.traits)
    if more.audiences:
        _join(known.audiences, more.audiences, _newer_member)
    if more.seen:
        known.seen = _wider(known.seen, more.seen) if known.seen else more.seen
    if more.connections:
        _join(known.connections, more.connections, max)
    for account_id, ways in more.accounts.items():
        _join(known.accounts.setdefault(account_id, {}), ways, _wider)
    if more.deleted:
        known.deleted = max(known.deleted, more.deleted) if known.deleted else more.deleted
    if more.out:
        _join(known.out, more.out, min)
    known.named = known.named or more.named
    return known


def learn_account(known: AccountKnown, more: AccountKnown) -> AccountKnown:
    """Joins `more` into `known`, which is changed and returned."""
    _learn_values(known.traits, more.traits)
    if more.name is not None:
        known.name = more.name if known.name is None else _newer_name(known.name, more.name)
    _join(known.seen, more.seen, _wider)
    _join(known.connections, more.connections, max)
    return known


class Learned(msgspec.Struct, frozen=True):
    """The facts of one call: of persons by id, and of the account that it names."""

    persons: tuple[tuple[str, Known], ...] = ()
    account: tuple[str, AccountKnown] | None = None
    without_effect: bool = False
    """A group call through a connection that does not map accounts by group calls."""


def learned(call: Call, connections: Connections) -> Learned:
    """The facts of an identify, group, alias, delete or Engage track call."""
    stamp: Stamp = (call.timestamp, call.message_id)
    person = call.user_id or call.anonymous_id or ""
    if call.type == ALIAS:
        return Learned(_edge(stamp, call.previous_id or "", person))
    if call.type == DELETE:
        return Learned(((person, Known(deleted=stamp)),))
    property_ = engage.user_property(call)
    if call.type == IDENTIFY:
        traits = raw_json.decode_fields(call.traits)
        named = naming(call, traits, connections)
        known = Known(seen=(stamp, stamp), connections={call.connection.name: stamp})
        _set_traits(known, stamp, traits, property_)
        links = connections.link_anonymous_ids and call.user_id and call.anonymous_id
        edges = _edge(stamp, call.anonymous_id or "", person) if links else ()
        known.named = bool(edges)  # the user's own facts tell that it was named
        return _with_account(call, stamp, person, known, named, edges[:1])
    if call.type == GROUP:
        traits = raw_json.decode_fields(call.traits)
        named = naming(call, traits, connections)
        if named is None:
            return Learned(without_effect=True)
        if engage.is_engage(call):  # what it tells is the account's: its person only carries it
            account = _account(call, stamp, named)
            account.traits = _with_property(traits, stamp, property_)
            return Learned(account=(named.account_id, account))
        return _with_account(call, stamp, person, Known(), named, ())
    known = Known()
    _set_traits(known, stamp, {}, property_)
    return Learned(((person, known),)) if property_ else Learned()


def _with_account(
    call: Call,
    stamp: Stamp,
    person: str,
    known: Known,
    named: NamedAccount | None,
    edges: tuple[tuple[str, Known], ...],
) -> Learned:
    if named is None:
        return Learned(((person, known), *edges))
    account = _account(call, stamp, named)
    if not person:
        return Learned(account=(named.account_id, account))
    known.accounts = {named.account_id: {named.way: (stamp, stamp)}}
    return Learned(((person, known), *edges), (named.account_id, account))


def _account(call: Call, stamp: Stamp, named: NamedAccount) -> AccountKnown:
    return AccountKnown(
        {name: (stamp, bytes(value)) for name, value in named.traits.items()},
        None if named.name is None else (stamp, named.name),
        {named.way: (stamp, stamp)},
        {call.connection.name: stamp},
    )


def _edge(stamp: Stamp, previous: str, user: str) -> tuple[tuple[str, Known], ...]:
    """An edge is kept with its previous id; its user only needs to know that it was named. An edge from an id to itself
    is ignored."""
    if previous == user:
        return ()
    return (previous, Known(out={user: stamp})), (user, Known(named=True))


def _set_traits(known: Known, stamp: Stamp, traits: Mapping[str, Raw], property_: Property | None) -> None:
    known.traits = _with_property(traits, stamp, property_)
    if property_ is not None and property_.in_audience:
        is_member = None if property_.value == NULL else bytes(property_.value) == b"true"
        known.audiences = {property_.name: (stamp, is_member)}


def _with_property(traits: Mapping[str, Raw], stamp: Stamp, property_: Property | None) -> dict[str, Value]:
    """Traits as they were sent; what Engage sent goes by its name in snake case."""
    sent_as = property_.sent_as if property_ else None
    values = {name: (stamp, bytes(value)) for name, value in traits.items() if name != sent_as}
    if property_ is not None:
        _join(values, {property_.name: (stamp, bytes(property_.value))}, _greater_value)
    return values


def _join(known: dict[_K, _V], more: Mapping[_K, _V], best: Callable[[_V, _V], _V]) -> None:
    for key, value in more.items():
        known[key] = best(known[key], value) if key in known else value


def _learn_values(known: dict[str, Value], more: Mapping[str, Value]) -> None:
    for name, value in more.items():
        before = known.get(name)
        if before is None or before[0] < value[0]:
            known[name] = value
        elif before[0] == value[0]:
            known[name] = _greater_value(before, value)


def _greater_value(a: Value, b: Value) -> Value:
    """Of two values with one stamp."""
    if a[1] == b[1]:
        return a
    return max(a, b, key=lambda value: (raw_json.canonical(value[1]), value[1]))


def _newer_member(a: AudienceFact, b: AudienceFact) -> AudienceFact:
    return max(a, b, key=lambda member: (member[0], {None: "null", False: "false", True: "true"}[member[1]]))


def _newer_name(a: tuple[Stamp, str], b: tuple[Stamp, str]) -> tuple[Stamp, str]:
    if a[0] != b[0]:
        return a if a[0] > b[0] else b
    return max(a, b, key=lambda name: raw_json.text(name[1]))


def _wider(a: Span, b: Span) -> Span:
    first = a[0] if a[0] <= b[0] else b[0]
    last = a[1] if a[1] >= b[1] else b[1]
    return first, last
