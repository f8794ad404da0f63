"""What calls tell of ids and accounts, and that what is told joins in any order."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import given
from msgspec.structs import replace

from tests.histories import Message
from tests.transforms.core.calls import (
    ALIAS,
    DELETE,
    GROUP,
    IDENTIFY,
    TRACK,
    accepted,
    by,
    second,
    without,
)
from tests.transforms.core.known import ACCOUNT_KNOWN, KNOWN
from transforms.core.accounts import Way
from transforms.core.connections import DEFAULT, AccountMapping, Connections
from transforms.core.facts import (
    AccountKnown,
    Known,
    Learned,
    copied_account,
    joined,
    learn,
    learn_account,
    learned,
)
from transforms.core.stamps import Span, Stamp

STAMP: Stamp = (second(0), "m")
SEEN: Span = (STAMP, STAMP)
IDENTIFIED = Known(seen=SEEN, connections={"default": STAMP})
BOTH_IDS = {**IDENTIFY, "anonymousId": "a"}
AUDIENCE = {"personas": {"computation_class": "audience", "computation_key": "Big Spender"}}


def known(connection: str = "default", **fields: Any) -> Known:
    return Known(seen=SEEN, connections={connection: STAMP}, **fields)


@pytest.mark.parametrize(
    ("what", "message", "expected"),
    [
        ("an identify", IDENTIFY, Learned((("u", IDENTIFIED),))),
        ("an anonymous identify", without(IDENTIFY, "userId") | {"anonymousId": "a"}, Learned((("a", IDENTIFIED),))),
        (
            "its traits, null too",
            {**IDENTIFY, "traits": {"a": {"b": 1}, "c": None}},
            Learned((("u", known(traits={"a": (STAMP, b'{"b": 1}'), "c": (STAMP, b"null")})),)),
        ),
        (
            "the context's traits, where it has none",
            {**without(IDENTIFY, "traits"), "context": {"traits": {"a": 1}}},
            Learned((("u", replace(IDENTIFIED, traits={"a": (STAMP, b"1")})),)),
        ),
        (
            "both ids: facts of the userId, which an edge names",
            BOTH_IDS,
            Learned((("u", replace(IDENTIFIED, named=True)), ("a", Known(out={"u": STAMP})))),
        ),
        ("both ids, the same", {**IDENTIFY, "anonymousId": "u"}, Learned((("u", IDENTIFIED),))),
        ("an alias", ALIAS, Learned((("a", Known(out={"u": STAMP})), ("u", Known(named=True))))),
        (
            "an alias of the anonymous id",
            without(ALIAS, "previousId") | {"anonymousId": "b"},
            Learned((("b", Known(out={"u": STAMP})), ("u", Known(named=True)))),
        ),
        ("an alias of itself", {**ALIAS, "previousId": "u"}, Learned()),
        ("a delete", DELETE, Learned((("u", Known(deleted=STAMP)),))),
        (
            "a delete of both ids is the userId's",
            {**DELETE, "anonymousId": "a"},
            Learned((("u", Known(deleted=STAMP)),)),
        ),
        (
            "a delete of an anonymous id",
            without(DELETE, "userId") | {"anonymousId": "a"},
            Learned((("a", Known(deleted=STAMP)),)),
        ),
        (
            "a group",
            {**GROUP, "traits": {"name": "Acme", "plan": None}},
            Learned(
                (("u", Known(accounts={"acme": {Way.GROUP: SEEN}})),),
                (
                    "acme",
                    AccountKnown(
                        {"name": (STAMP, b'"Acme"'), "plan": (STAMP, b"null")},
                        (STAMP, "Acme"),
                        {Way.GROUP: SEEN},
                        {"default": STAMP},
                    ),
                ),
            ),
        ),
        (
            "an identify's group",
            {**IDENTIFY, "context": {"groupId": "g"}, "traits": {"name": "Ann"}},
            Learned(
                (("u", known(traits={"name": (STAMP, b'"Ann"')}, accounts={"g": {Way.GROUP: SEEN}})),),
                ("g", AccountKnown({}, None, {Way.GROUP: SEEN}, {"default": STAMP})),
            ),
        ),
        (
            "an identify's e-mail domain",
            {**IDENTIFY, "traits": {"email": "ann@acme.com"}},
            Learned(
                (
                    (
                        "u",
                        known(
                            traits={"email": (STAMP, b'"ann@acme.com"')},
                            accounts={"acme.com": {Way.FALLBACK_EMAIL_DOMAIN: SEEN}},
                        ),
                    ),
                ),
                (
                    "acme.com",
                    AccountKnown({}, (STAMP, "acme.com"), {Way.FALLBACK_EMAIL_DOMAIN: SEEN}, {"default": STAMP}),
                ),
            ),
        ),
        (
            "an audience, by an identify",
            {**IDENTIFY, "traits": {"Big Spender": "true", "x": 1}, "context": AUDIENCE},
            Learned(
                (
                    (
                        "u",
                        known(
                            traits={"x": (STAMP, b"1"), "big_spender": (STAMP, b"true")},
                            audiences={"big_spender": (STAMP, True)},
                        ),
                    ),
                )
            ),
        ),
        (
            "an audience, by a track, which is no identify",
            {**TRACK, "properties": {"Big Spender": False, "x": 1}, "traits": {"y": 2}, "context": AUDIENCE},
            Learned(
                (
                    (
                        "u",
                        Known(traits={"big_spender": (STAMP, b"false")}, audiences={"big_spender": (STAMP, False)}),
                    ),
                )
            ),
        ),
        (
            "taken out of an audience",
            {**TRACK, "properties": {"Big Spender": None}, "context": AUDIENCE},
            Learned(
                (
                    (
                        "u",
                        Known(traits={"big_spender": (STAMP, b"null")}, audiences={"big_spender": (STAMP, None)}),
                    ),
                )
            ),
        ),
        (
            "an audience that is a number is a trait alone",
            {**TRACK, "properties": {"Big Spender": 7}, "context": AUDIENCE},
            Learned((("u", Known(traits={"big_spender": (STAMP, b"7")})),)),
        ),
        ("a track that lacks its property", {**TRACK, "properties": {"x": 1}, "context": AUDIENCE}, Learned()),
        (
            "two traits of one name in snake case: the greater by canonical JSON",
            {**IDENTIFY, "traits": {"big_spender": "x", "Big Spender": True}, "context": AUDIENCE},
            Learned(
                (
                    (
                        "u",
                        known(traits={"big_spender": (STAMP, b"true")}, audiences={"big_spender": (STAMP, True)}),
                    ),
                )
            ),
        ),
    ],
)
def test_what_a_call_tells(what: str, message: Message, expected: Learned) -> None:
    assert learned(accepted(message), DEFAULT) == expected


def test_a_group_call_under_another_method_is_without_effect() -> None:
    for method in ("identify_traits", "email_domain"):
        connections = by(AccountMapping(method, fallback="email_domain"))
        call = accepted({**GROUP, "traits": {"email": "ann@acme.com"}}, connections)
        assert learned(call, connections) == Learned(without_effect=True)


def test_both_ids_are_no_edge_where_they_are_not_to_be_linked() -> None:
    connections = Connections(link_anonymous_ids=False)
    assert learned(accepted(BOTH_IDS), connections) == Learned((("u", IDENTIFIED),))
    assert learned(accepted(ALIAS), connections) == learned(accepted(ALIAS), DEFAULT)


# ---- joining ----

K = TypeVar("K", Known, AccountKnown)
ONE, TWO = (1, "m"), (2, "m")


@pytest.mark.parametrize(
    ("what", "one", "other", "expected"),
    [
        ("a trait: the greatest time", {"a": (ONE, b"9")}, {"a": (TWO, b"1")}, {"a": (TWO, b"1")}),
        (
            "a trait: then the greatest message id",
            {"a": ((1, "b"), b"1")},
            {"a": ((1, "a"), b"9")},
            {"a": ((1, "b"), b"1")},
        ),
        (
            "message ids compare by code points",
            {"a": ((1, "\uffee"), b"1")},
            {"a": ((1, "\U0001f600"), b"2")},
            {"a": ((1, "\U0001f600"), b"2")},
        ),
        ("times compare as numbers", {"a": ((9, "m"), b"1")}, {"a": ((10, "m"), b"2")}, {"a": ((10, "m"), b"2")}),
        ("a null stays, and clears", {"a": (ONE, b"1")}, {"a": (TWO, b"null")}, {"a": (TWO, b"null")}),
        ("a null that is older", {"a": (TWO, b"1")}, {"a": (ONE, b"null")}, {"a": (TWO, b"1")}),
        ("absent keys change nothing", {"a": (ONE, b"1")}, {"b": (TWO, b"2")}, {"a": (ONE, b"1"), "b": (TWO, b"2")}),
        ("objects are replaced whole", {"a": (ONE, b'{"x":1}')}, {"a": (TWO, b'{"y":2}')}, {"a": (TWO, b'{"y":2}')}),
        ("at one stamp the greater canonical text", {"a": (ONE, b"10")}, {"a": (ONE, b"9")}, {"a": (ONE, b"9")}),
        ("however it is written", {"a": (ONE, b'"\\u007a"')}, {"a": (ONE, b'"a"')}, {"a": (ONE, b'"\\u007a"')}),
        ("keys are sorted in it", {"a": (ONE, b'{"z":1,"a":2}')}, {"a": (ONE, b'{"b":1}')}, {"a": (ONE, b'{"b":1}')}),
        ("a null is text in it", {"a": (ONE, b"null")}, {"a": (ONE, b"false")}, {"a": (ONE, b"null")}),
    ],
)
def test_the_value_with_the_greatest_stamp_stands(
    what: str, one: dict[str, Any], other: dict[str, Any], expected: dict[str, Any]
) -> None:
    for first, then in ((one, other), (other, one)):
        assert learn(Known(traits=dict(first)), Known(traits=then)).traits == expected
        assert learn_account(AccountKnown(traits=dict(first)), AccountKnown(traits=then)).traits == expected


@pytest.mark.parametrize(
    ("what", "one", "other", "expected"),
    [
        (
            "audiences: the greatest stamp",
            Known(audiences={"k": (ONE, True)}),
            Known(audiences={"k": (TWO, False)}),
            Known(audiences={"k": (TWO, False)}),
        ),
        (
            "audiences: out is a statement too",
            Known(audiences={"k": (ONE, True)}),
            Known(audiences={"k": (TWO, None)}),
            Known(audiences={"k": (TWO, None)}),
        ),
        (
            "audiences at one stamp: true is the greatest text",
            Known(audiences={"k": (ONE, None)}),
            Known(audiences={"k": (ONE, True)}),
            Known(audiences={"k": (ONE, True)}),
        ),
        (
            "audiences at one stamp: false is the least",
            Known(audiences={"k": (ONE, False)}),
            Known(audiences={"k": (ONE, None)}),
            Known(audiences={"k": (ONE, None)}),
        ),
        ("seen: least and greatest", Known(seen=(TWO, TWO)), Known(seen=(ONE, ONE)), Known(seen=(ONE, TWO))),
        (
            "connections: the last",
            Known(connections={"a": ONE}),
            Known(connections={"a": TWO, "b": ONE}),
            Known(connections={"a": TWO, "b": ONE}),
        ),
        (
            "accounts by way",
            Known(accounts={"x": {Way.GROUP: (ONE, ONE)}}),
            Known(accounts={"x": {Way.EMAIL_DOMAIN: (TWO, TWO)}}),
            Known(accounts={"x": {Way.GROUP: (ONE, ONE), Way.EMAIL_DOMAIN: (TWO, TWO)}}),
        ),
        (
            "accounts: least and greatest",
            Known(accounts={"x": {Way.GROUP: (TWO, TWO)}}),
            Known(accounts={"x": {Way.GROUP: (ONE, ONE)}}),
            Known(accounts={"x": {Way.GROUP: (ONE, TWO)}}),
        ),
        ("deletes: the last", Known(deleted=ONE), Known(deleted=TWO), Known(deleted=TWO)),
        (
            "edges: the earliest",
            Known(out={"v": TWO}),
            Known(out={"v": ONE, "w": TWO}),
            Known(out={"v": ONE, "w": TWO}),
        ),
        ("named once is named", Known(named=True), Known(), Known(named=True)),
    ],
)
def test_what_is_known_of_an_id_joins(what: str, one: Known, other: Known, expected: Known) -> None:
    assert learn(copy.deepcopy(one), other) == learn(copy.deepcopy(other), one) == expected


@pytest.mark.parametrize(
    ("what", "one", "other", "expected"),
    [
        ("the newest", (ONE, "B"), (TWO, "A"), (TWO, "A")),
        ("none changes nothing", (ONE, "A"), None, (ONE, "A")),
        ("at one stamp the greater canonical text", (ONE, "Acme"), (ONE, "Acme Inc."), (ONE, "Acme")),
        ("which is not the greater string: a quote is greater than a space", (ONE, "a!"), (ONE, "a"), (ONE, "a")),
        ("but less than a letter", (ONE, "a"), (ONE, "ab"), (ONE, "ab")),
    ],
)
def test_the_name_of_an_account(
    what: str, one: tuple[Stamp, str], other: tuple[Stamp, str] | None, expected: tuple[Stamp, str]
) -> None:
    assert learn_account(AccountKnown(name=one), AccountKnown(name=other)).name == expected
    assert learn_account(AccountKnown(name=other), AccountKnown(name=one)).name == expected


def joins_in_any_order(join: Callable[[K, K], K], copied: Callable[[K], K], nothing: K, a: K, b: K, c: K) -> None:
    def joined(one: K, other: K) -> K:
        before = copy.deepcopy((one, other))
        result = join(copied(one), other)
        assert (one, other) == before, "neither may change: others hold them too"
        return result

    assert joined(joined(a, b), c) == joined(a, joined(b, c))
    assert joined(a, b) == joined(b, a)
    assert joined(a, a) == a == joined(nothing, a) == joined(a, nothing)
    assert joined(joined(a, b), b) == joined(a, b)


@given(KNOWN, KNOWN, KNOWN)
def test_facts_of_an_id_join_in_any_order_and_any_number_of_times(a: Known, b: Known, c: Known) -> None:
    joins_in_any_order(learn, copy.deepcopy, Known(), a, b, c)
    before = copy.deepcopy([a, b, c])
    assert joined([a, b, c]) == learn(learn(copy.deepcopy(a), b), c)
    assert joined([a]) == a
    assert joined([]) == Known()
    assert [a, b, c] == before, "none is changed"


@given(ACCOUNT_KNOWN, ACCOUNT_KNOWN, ACCOUNT_KNOWN)
def test_facts_of_an_account_join_in_any_order_and_any_number_of_times(
    a: AccountKnown, b: AccountKnown, c: AccountKnown
) -> None:
    joins_in_any_order(learn_account, copied_account, AccountKnown(), a, b, c)


@given(KNOWN, KNOWN)
def test_what_was_learned_is_not_shared(one: Known, other: Known) -> None:
    first, second = learn(Known(), one), learn(Known(), one)
    before = copy.deepcopy(second)
    learn(first, other)
    assert second == before
