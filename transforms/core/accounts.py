"""Which account a call names, by its connection's method (`docs/semantics.md`, section 5)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from schemas.segment import GROUP, IDENTIFY
from transforms.core import emails, ids, raw_json
from transforms.core.connections import AccountMapping, Connections
from transforms.core.promoted import PromotedTraits
from transforms.core.raw_json import NULL, is_object, peek
from transforms.core.reader import Call

TraitFields = Mapping[str, Raw]


class Way(str, enum.Enum):
    """How an account was named: the method, and whether it stood in for one that named nothing."""

    GROUP = "group"
    IDENTIFY_TRAITS = "identify_traits"
    EMAIL_DOMAIN = "email_domain"
    FALLBACK_EMAIL_DOMAIN = "fallback:email_domain"

    def __init__(self, way: str) -> None:
        fallback, _, source = way.rpartition(":")
        self.explicit = not fallback
        self.source = source
        """The column `account_source`."""


class NamedAccount(msgspec.Struct, frozen=True, gc=False):
    """One call names one account; `name` is None where it brings none."""

    account_id: str
    way: Way
    name: str | None = None
    traits: TraitFields = {}


_NO_TRAITS: Final[TraitFields] = {}


def naming(call: Call, traits: TraitFields, connections: Connections) -> NamedAccount | None:
    """The account that an identify or group call names, or None. `traits` are the fields of the call's traits."""
    mapping = call.connection.account_mapping
    if call.type == GROUP:
        if mapping.method != "group" or call.group_id is None:
            return None
        return NamedAccount(call.group_id, Way.GROUP, PromotedTraits.of_call(traits).string("name"), traits)
    if call.type != IDENTIFY:
        return None
    account = _explicit(call, traits, mapping, connections)
    if account is None and mapping.fallback == "email_domain":
        return _by_email(call, traits, Way.FALLBACK_EMAIL_DOMAIN, connections)
    return account


def _explicit(
    call: Call, traits: TraitFields, mapping: AccountMapping, connections: Connections
) -> NamedAccount | None:
    if mapping.method == "group":
        return None if call.group_id is None else NamedAccount(call.group_id, Way.GROUP)
    if mapping.method == "email_domain":
        return _by_email(call, traits, Way.EMAIL_DOMAIN, connections)
    raw, parent = _at(traits, mapping.id)
    id_ = _account_id(raw, ids.placeholders(connections.placeholder_ids))
    if id_ is None:
        return None
    own_key = mapping.id.rpartition(".")[2]
    others = {key: value for key, value in parent.items() if key != own_key}
    return NamedAccount(id_, Way.IDENTIFY_TRAITS, _name(_at(traits, mapping.name)[0]), others)


def _by_email(call: Call, traits: TraitFields, way: Way, connections: Connections) -> NamedAccount | None:
    """By the address that the column `email` shows: the trait, else the id where it is one."""
    company = emails.company(
        PromotedTraits.of_call(traits).text("email") or call.user_id or call.anonymous_id or "",
        personal=connections.personal_email_domains == "keep",
        registrable=connections.registrable_domain,
    )
    return None if company is None else NamedAccount(company, way, company)


def _at(traits: TraitFields, path: str) -> tuple[Raw, TraitFields]:
    """(value, the object that holds it) at a path: first as one literal key, which has no object of its own, then step
    by step. Null where there is none."""
    literal = traits.get(path, NULL)
    steps = path.split(".")
    if literal != NULL or len(steps) == 1:
        return literal, _NO_TRAITS
    parent = traits
    for step in steps[:-1]:
        raw = parent.get(step, NULL)
        if not is_object(raw):
            return NULL, _NO_TRAITS
        parent = raw_json.decode_fields(raw)
    return parent.get(steps[-1], NULL), parent


def _account_id(raw: Raw, placeholders: frozenset[str]) -> str | None:
    """Read like every id, but one that is unusable is no account."""
    try:
        return ids.read(peek(raw), placeholders)
    except ids.NotAnId:
        return None


def _name(raw: Raw) -> str | None:
    name = peek(raw)
    return name if isinstance(name, str) and name.strip() else None
