"""Which account a call names, by each method."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from tests.histories import Message, line
from tests.transforms.core.calls import ALIAS, DELETE, GROUP, IDENTIFY, PAGE, TRACK, accepted, by
from transforms.core import raw_json
from transforms.core.accounts import NamedAccount, Way, naming
from transforms.core.connections import AccountMapping, Connections

BY_GROUP = by(AccountMapping("group"))
BY_GROUP_ELSE_EMAIL = by(AccountMapping("group", fallback="email_domain"))
BY_TRAITS = by(AccountMapping("identify_traits"))
BY_TRAITS_ELSE_EMAIL = by(AccountMapping("identify_traits", fallback="email_domain"))
BY_EMAIL = by(AccountMapping("email_domain"))
BY_EMAIL_ELSE_EMAIL = by(AccountMapping("email_domain", fallback="email_domain"))
BY_ONE_STEP = by(AccountMapping("identify_traits", id="org", name="org_name"))
BY_THREE_STEPS = by(AccountMapping("identify_traits", id="a.b.c", name="name"))

EVERY = [BY_GROUP, BY_GROUP_ELSE_EMAIL, BY_TRAITS, BY_TRAITS_ELSE_EMAIL, BY_EMAIL, BY_EMAIL_ELSE_EMAIL]


def named(message: Message | bytes, connections: Connections) -> NamedAccount | None:
    call = accepted(message, connections)
    return naming(call, raw_json.decode_fields(call.traits), connections)


def raw(**fields: bytes) -> dict[str, Raw]:
    return {name: Raw(value) for name, value in fields.items()}


def group(**traits: Any) -> Message:
    return {**GROUP, "traits": traits}


def identify(**traits: Any) -> Message:
    return {**IDENTIFY, "traits": traits}


def in_group(group_id: Any, **traits: Any) -> Message:
    return {**IDENTIFY, "context": {"groupId": group_id}, "traits": traits}


@pytest.mark.parametrize(
    ("what", "message", "connections", "expected"),
    [
        # group
        (
            "a group call",
            group(name="Acme", plan=1),
            BY_GROUP,
            NamedAccount("acme", Way.GROUP, "Acme", raw(name=b'"Acme"', plan=b"1")),
        ),
        ("without a name", group(name=None), BY_GROUP, NamedAccount("acme", Way.GROUP, None, raw(name=b"null"))),
        ("with an empty name", group(name=""), BY_GROUP, NamedAccount("acme", Way.GROUP, None, raw(name=b'""'))),
        ("with a name of another type", group(name=5), BY_GROUP, NamedAccount("acme", Way.GROUP, None, raw(name=b"5"))),
        ("a group call under another method", group(), BY_TRAITS, None),
        ("a group call under another method with a fallback", group(email="ann@acme.com"), BY_TRAITS_ELSE_EMAIL, None),
        ("a group call under e-mail domains", group(email="ann@acme.com"), BY_EMAIL, None),
        (
            "an identify's group brings no traits",
            in_group("acme", name="Ann"),
            BY_GROUP,
            NamedAccount("acme", Way.GROUP),
        ),
        ("an identify's group that is a number", in_group(7), BY_GROUP, NamedAccount("7", Way.GROUP)),
        ("an identify's group under another method", in_group("acme"), BY_TRAITS, None),
        ("an identify without a group", identify(email="ann@acme.com"), BY_GROUP, None),
        # the fallback
        (
            "an identify that names a group",
            in_group("g", email="ann@acme.com"),
            BY_GROUP_ELSE_EMAIL,
            NamedAccount("g", Way.GROUP),
        ),
        (
            "an identify that names none",
            identify(email="ann@acme.com"),
            BY_GROUP_ELSE_EMAIL,
            NamedAccount("acme.com", Way.FALLBACK_EMAIL_DOMAIN, "acme.com"),
        ),
        (
            "an identify with an unusable group",
            in_group([], email="ann@acme.com"),
            BY_GROUP_ELSE_EMAIL,
            NamedAccount("acme.com", Way.FALLBACK_EMAIL_DOMAIN, "acme.com"),
        ),
        (
            "an identify with a placeholder",
            in_group("null", email="ann@acme.com"),
            BY_GROUP_ELSE_EMAIL,
            NamedAccount("acme.com", Way.FALLBACK_EMAIL_DOMAIN, "acme.com"),
        ),
        ("an identify that names neither", identify(email="ann@gmail.com"), BY_GROUP_ELSE_EMAIL, None),
        (
            "a group call does not need it",
            group(email="ann@acme.com"),
            BY_GROUP_ELSE_EMAIL,
            NamedAccount("acme", Way.GROUP, None, raw(email=b'"ann@acme.com"')),
        ),
        # identify_traits
        (
            "a company",
            identify(company={"id": "a", "name": "A", "plan": [1]}),
            BY_TRAITS,
            NamedAccount("a", Way.IDENTIFY_TRAITS, "A", raw(name=b'"A"', plan=b"[1]")),
        ),
        (
            "a company's id that is a number",
            identify(company={"id": 7}),
            BY_TRAITS,
            NamedAccount("7", Way.IDENTIFY_TRAITS),
        ),
        (
            "a company's id that is a whole float",
            identify(company={"id": 7.0}),
            BY_TRAITS,
            NamedAccount("7", Way.IDENTIFY_TRAITS),
        ),
        (
            "a company's id with white space",
            identify(company={"id": " a "}),
            BY_TRAITS,
            NamedAccount("a", Way.IDENTIFY_TRAITS),
        ),
        ("a company's id that is a fraction", identify(company={"id": 7.5}), BY_TRAITS, None),
        ("a company's id that is true", identify(company={"id": True}), BY_TRAITS, None),
        ("a company's id that is an object", identify(company={"id": {"id": "a"}}), BY_TRAITS, None),
        ("a company's id that is a placeholder", identify(company={"id": "undefined"}), BY_TRAITS, None),
        ("a company's id that is null", identify(company={"id": None}), BY_TRAITS, None),
        ("a company without an id", identify(company={"name": "A"}), BY_TRAITS, None),
        ("a company that is text", identify(company="a"), BY_TRAITS, None),
        ("a company that is a list", identify(company=[{"id": "a"}]), BY_TRAITS, None),
        (
            "a company's name that is no string",
            identify(company={"id": "a", "name": 5}),
            BY_TRAITS,
            NamedAccount("a", Way.IDENTIFY_TRAITS, None, raw(name=b"5")),
        ),
        (
            "the literal key",
            {**IDENTIFY, "traits": {"company.id": "a", "company.name": "A"}},
            BY_TRAITS,
            NamedAccount("a", Way.IDENTIFY_TRAITS, "A"),
        ),
        (
            "the literal key goes first",
            {**IDENTIFY, "traits": {"company.id": "a", "company": {"id": "b", "name": "B"}}},
            BY_TRAITS,
            NamedAccount("a", Way.IDENTIFY_TRAITS, "B"),
        ),
        (
            "a literal null gives way",
            {**IDENTIFY, "traits": {"company.id": None, "company": {"id": "b"}}},
            BY_TRAITS,
            NamedAccount("b", Way.IDENTIFY_TRAITS),
        ),
        (
            "a literal placeholder does not: unspecified",
            {**IDENTIFY, "traits": {"company.id": "null", "company": {"id": "b"}}},
            BY_TRAITS,
            None,
        ),
        (
            "a path of one step has no parent",
            identify(org=5, org_name="Five", x=1),
            BY_ONE_STEP,
            NamedAccount("5", Way.IDENTIFY_TRAITS, "Five"),
        ),
        (
            "a path of three steps",
            identify(a={"x": 1, "b": {"c": "d", "y": None}}, name="Ann"),
            BY_THREE_STEPS,
            NamedAccount("d", Way.IDENTIFY_TRAITS, "Ann", raw(y=b"null")),
        ),
        (
            "a literal key within a path: unspecified, not tried",
            {**IDENTIFY, "traits": {"a": {"b.c": "d"}}},
            BY_THREE_STEPS,
            None,
        ),
        (
            "the fallback",
            identify(company={"id": "null"}, email="ann@acme.com"),
            BY_TRAITS_ELSE_EMAIL,
            NamedAccount("acme.com", Way.FALLBACK_EMAIL_DOMAIN, "acme.com"),
        ),
        (
            "no need of the fallback",
            identify(company={"id": "a"}, email="ann@acme.com"),
            BY_TRAITS_ELSE_EMAIL,
            NamedAccount("a", Way.IDENTIFY_TRAITS),
        ),
        # email_domain
        (
            "an e-mail's domain",
            identify(email=" Ann@ACME.com "),
            BY_EMAIL,
            NamedAccount("acme.com", Way.EMAIL_DOMAIN, "acme.com"),
        ),
        (
            "it is explicit, also beside the same fallback",
            identify(email="ann@acme.com"),
            BY_EMAIL_ELSE_EMAIL,
            NamedAccount("acme.com", Way.EMAIL_DOMAIN, "acme.com"),
        ),
        ("personal mail", identify(email="ann@yahoo.co.jp"), BY_EMAIL, None),
        ("malformed mail", identify(email="ann@acme"), BY_EMAIL, None),
        ("mail of another type", identify(email=["ann@acme.com"]), BY_EMAIL, None),
        ("no mail", identify(), BY_EMAIL, None),
        (
            "mail in another spelling",
            identify(Email="ann@acme.com"),
            BY_EMAIL,
            NamedAccount("acme.com", Way.EMAIL_DOMAIN, "acme.com"),
        ),
        (
            "no mail, but an id that is an address",
            {**identify(email=" "), "userId": "ann@acme.com"},
            BY_EMAIL,
            NamedAccount("acme.com", Way.EMAIL_DOMAIN, "acme.com"),
        ),
        ("mail that is malformed", {**identify(email="ann@"), "userId": "ann@acme.com"}, BY_EMAIL, None),
        ("an IP address", identify(email="ann@192.0.2.1"), BY_EMAIL, None),
        (
            "a group is not looked at",
            in_group("g", email="ann@acme.com"),
            BY_EMAIL,
            NamedAccount("acme.com", Way.EMAIL_DOMAIN, "acme.com"),
        ),
        (
            "personal mail that is kept",
            identify(email="ann@gmail.com"),
            by(AccountMapping("email_domain"), personal_email_domains="keep"),
            NamedAccount("gmail.com", Way.EMAIL_DOMAIN, "gmail.com"),
        ),
        (
            "a subdomain",
            identify(email="ann@mail.example.co.uk"),
            BY_EMAIL,
            NamedAccount("mail.example.co.uk", Way.EMAIL_DOMAIN, "mail.example.co.uk"),
        ),
        (
            "its registrable part",
            identify(email="ann@mail.example.co.uk"),
            by(AccountMapping("email_domain"), registrable_domain=True),
            NamedAccount("example.co.uk", Way.EMAIL_DOMAIN, "example.co.uk"),
        ),
    ],
)
def test_the_account_that_a_call_names(
    what: str, message: Message, connections: Connections, expected: NamedAccount | None
) -> None:
    assert named(message, connections) == expected


@pytest.mark.parametrize("connections", EVERY)
@pytest.mark.parametrize("message", [PAGE, TRACK, ALIAS, DELETE])
def test_no_other_call_names_one(message: Message, connections: Connections) -> None:
    traits = {"email": "ann@acme.com", "company": {"id": "a"}}
    assert named({**message, "groupId": "g", "context": {"groupId": "g"}, "traits": traits}, connections) is None


@pytest.mark.parametrize("number", [b"1e400", b"1" * 5000])
def test_an_account_id_beyond_numbers_is_none(number: bytes) -> None:
    message = line({**IDENTIFY, "traits": {"company": {"id": "?"}, "email": "?"}}).replace(b'"?"', number)
    for connections in EVERY:
        assert named(message, connections) is None


@pytest.mark.parametrize(
    ("way", "explicit", "source"),
    [
        (Way.GROUP, True, "group"),
        (Way.IDENTIFY_TRAITS, True, "identify_traits"),
        (Way.EMAIL_DOMAIN, True, "email_domain"),
        (Way.FALLBACK_EMAIL_DOMAIN, False, "email_domain"),
    ],
)
def test_the_fallback_alone_is_not_explicit(way: Way, explicit: bool, source: str) -> None:
    assert (way.explicit, way.source) == (explicit, source)
