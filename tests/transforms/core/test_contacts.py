"""The rows of a contact: what stands of its facts, its accounts, and what a delete leaves."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.tables import CONTACTS, MEMBERSHIPS
from tests.histories import Message
from tests.transforms.core.calls import DELETE, GROUP, IDENTIFY, TRACK, call, columns, known_of, second
from transforms.core.connections import AccountMapping, Connection, Connections
from transforms.core.contacts import ContactRows, rows
from transforms.core.facts import Known

SEVERAL = Connections(
    connections=(
        Connection("site", ("s1",), AccountMapping("group", fallback="email_domain")),
        Connection("app", ("s2",), AccountMapping("identify_traits", fallback="email_domain")),
        Connection("crm", None, AccountMapping("email_domain")),
    )
)


def identify(at: float, traits: Message | None = None, /, **fields: Any) -> Message:
    return call(at, IDENTIFY, traits=traits or {}, **fields)


def delete(at: float, /, **fields: Any) -> Message:
    return call(at, DELETE, **fields)


def group(at: float, group_id: str, /, **fields: Any) -> Message:
    return call(at, GROUP, groupId=group_id, **fields)


def audience(at: float, value: Any, /, key: str = "Big Spender", class_: str = "audience", **fields: Any) -> Message:
    context = {"personas": {"computation_class": class_, "computation_key": key}}
    return call(at, TRACK, properties={key: value}, context=context, **fields)


def contact(messages: list[Message], label: str = "u") -> ContactRows:
    """The rows of a contact that holds every id of the messages, the same in any order and with repetitions."""
    result = rows(label, known_of(messages, SEVERAL)[0])
    again = rows(label, known_of(messages[::-1] + messages, SEVERAL)[0])
    assert (again.contact, again.memberships) == (result.contact, result.memberships)
    assert again.has_same_contact(result)
    if result.contact is not None:
        assert CONTACTS.misfit(result.contact) is None
    assert all(MEMBERSHIPS.misfit(membership) is None for membership in result.memberships)
    return result


@pytest.mark.parametrize(
    ("what", "messages", "expected"),
    [
        # traits
        ("the newest of each", [identify(1, {"a": 1, "b": 1}), identify(2, {"b": 2})], {"traits": {"a": 1, "b": 2}}),
        ("null clears", [identify(1, {"a": 1}), identify(2, {"a": None})], {"traits": {}}),
        ("and is overwritten", [identify(1, {"a": None}), identify(2, {"a": 1})], {"traits": {"a": 1}}),
        (
            "objects are replaced whole",
            [identify(1, {"a": {"b": 1}}), identify(2, {"a": {"c": 2}})],
            {"traits": {"a": {"c": 2}}},
        ),
        ("nulls in objects stay", [identify(1, {"a": {"b": None}})], {"traits": {"a": {"b": None}}}),
        ("the context's traits are ignored", [identify(1, context={"traits": {"a": 1}})], {"traits": {}}),
        (
            "message ids decide at one time",
            [identify(1, {"a": 1}, messageId="b"), identify(1, {"a": 2}, messageId="a")],
            {"traits": {"a": 1}},
        ),
        ("canonical text decides at one stamp", [identify(1, {"a": 10}), identify(1, {"a": 9})], {"traits": {"a": 9}}),
        (
            "traits of every id",
            [identify(1, {"a": 1}, userId="x"), identify(2, {"b": 2})],
            {"traits": {"a": 1, "b": 2}},
        ),
        ("a null clears another id's", [identify(1, {"a": 1}), identify(2, {"a": None}, userId="x")], {"traits": {}}),
        ("a group's traits are the account's", [identify(1), group(2, "g", traits={"a": 1})], {"traits": {}}),
        # promoted columns
        (
            "in the spec's spelling",
            [
                identify(
                    1,
                    {
                        "email": "e",
                        "name": "n",
                        "firstName": "f",
                        "lastName": "l",
                        "phone": "p",
                        "title": "t",
                        "username": "u",
                        "website": "w",
                        "createdAt": "2023-11-14T22:13:20Z",
                    },
                )
            ],
            {
                "email": "e",
                "name": "n",
                "first_name": "f",
                "last_name": "l",
                "phone": "p",
                "title": "t",
                "username": "u",
                "website": "w",
                "created_at": second(0),
            },
        ),
        (
            "in snake case",
            [identify(1, {"first_name": "f", "last_name": "l", "created_at": 0})],
            {"first_name": "f", "last_name": "l", "created_at": 0},
        ),
        (
            "the spec's first, however old",
            [identify(1, {"firstName": "f"}), identify(2, {"first_name": "g"})],
            {"first_name": "f"},
        ),
        (
            "cleared, it is absent",
            [identify(1, {"firstName": "f", "first_name": "g"}), identify(2, {"firstName": None})],
            {"first_name": "g"},
        ),
        (
            "a wrong type is as if absent, and a trait",
            [identify(1, {"phone": 5, "createdAt": "?", "lastName": ["l"], "last_name": "m"})],
            {
                "phone": "5",
                "created_at": None,
                "last_name": "m",
                "traits": {"phone": 5, "createdAt": "?", "lastName": ["l"], "last_name": "m"},
            },
        ),
        (
            "in other spellings, the newest",
            [identify(2, {"First-Name": "new"}), identify(1, {"FIRSTNAME": "old"})],
            {"first_name": "new"},
        ),
        (
            "in other spellings, not cleared by another",
            [identify(1, {"First-Name": "f"}), identify(2, {"firstName": None})],
            {"first_name": "f"},
        ),
        (
            "nothing",
            [identify(1)],
            {"email": None, "name": None, "first_name": None, "phone": None, "created_at": None, "account_id": None},
        ),
        ("the name is first and last", [identify(1, {"firstName": "Ann", "last_name": "Lee"})], {"name": "Ann Lee"}),
        ("or one of them", [identify(1, {"lastName": "Lee"})], {"name": "Lee"}),
        ("also where the name is no text", [identify(1, {"name": [], "firstName": "Ann"})], {"name": "Ann"}),
        ("unless it is there", [identify(1, {"name": "N", "firstName": "Ann"})], {"name": "N"}),
        ("an empty name is absent", [identify(1, {"name": " ", "firstName": "Ann"})], {"name": "Ann"}),
        (
            "empty first and last names",
            [identify(1, {"firstName": "", "lastName": ""})],
            {"name": None, "first_name": None},
        ),
        # seen, and connections
        (
            "the first and the last identify",
            [identify(3), identify(1), identify(2)],
            {"first_identified_at": second(1), "last_identified_at": second(3)},
        ),
        (
            "of every id",
            [identify(3), identify(1, userId="x")],
            {"first_identified_at": second(1), "last_identified_at": second(3)},
        ),
        (
            "other calls do not count",
            [identify(2), group(1, "g"), audience(3, True)],
            {"first_identified_at": second(2), "last_identified_at": second(2)},
        ),
        (
            "connections, sorted",
            [identify(1, projectId="s1"), identify(2, projectId="s2"), identify(3)],
            {"connections": ["app", "crm", "site"]},
        ),
        ("connections of identifies alone", [identify(1), group(2, "g", projectId="s1")], {"connections": ["crm"]}),
        # audiences
        (
            "an audience is a trait as well",
            [identify(1), audience(2, True)],
            {
                "audiences": [{"audience_key": "big_spender", "is_member": True, "updated_at": second(2)}],
                "traits": {"big_spender": True},
            },
        ),
        (
            "the newest statement, of every id",
            [identify(1), audience(3, "false"), audience(2, True, userId="x")],
            {
                "audiences": [{"audience_key": "big_spender", "is_member": False, "updated_at": second(3)}],
                "traits": {"big_spender": False},
            },
        ),
        (
            "null takes the person out of both",
            [identify(1), audience(2, True), audience(3, None)],
            {"audiences": [], "traits": {}},
        ),
        (
            "null of another id too",
            [identify(1), audience(2, True), audience(3, None, userId="x")],
            {"audiences": [], "traits": {}},
        ),
        (
            "sorted by key",
            [identify(1), audience(2, True, key="b"), audience(3, True, key="a", class_="journey_step")],
            {
                "audiences": [
                    {"audience_key": "a", "is_member": True, "updated_at": second(3)},
                    {"audience_key": "b", "is_member": True, "updated_at": second(2)},
                ]
            },
        ),
        (
            "a computed trait is none",
            [identify(1), audience(2, True, class_="trait")],
            {"audiences": [], "traits": {"big_spender": True}},
        ),
        (
            "a plain trait of that name does not change an audience",
            [identify(3, {"big_spender": 5}), audience(2, True)],
            {
                "audiences": [{"audience_key": "big_spender", "is_member": True, "updated_at": second(2)}],
                "traits": {"big_spender": 5},
            },
        ),
        # previous ids
        ("none", [identify(1)], {"previous_ids": []}),
        (
            "the other ids, sorted",
            [identify(1), identify(2, userId="z"), group(3, "g", userId="a", projectId="s1")],
            {"previous_ids": ["a", "z"]},
        ),
    ],
)
def test_contacts(what: str, messages: list[Message], expected: dict[str, Any]) -> None:
    row = contact(messages).contact
    assert row is not None
    assert columns(row, expected) == expected


@pytest.mark.parametrize(
    ("what", "messages"),
    [
        ("nothing but accounts", [group(1, "g")]),
        ("nothing but Engage tracks", [audience(1, True)]),
        ("nothing but deletes", [delete(1)]),
        ("nothing but an edge", [call(1, IDENTIFY, type="alias", previousId="x")]),
    ],
)
def test_without_an_identify_there_is_no_row(what: str, messages: list[Message]) -> None:
    assert contact(messages).contact is None


@pytest.mark.parametrize(
    ("label", "traits", "expected"),
    [
        ("Ann@acme.com", {}, "Ann@acme.com"),
        ("Ann@acme.com", {"email": None}, "Ann@acme.com"),
        ("Ann@acme.com", {"email": []}, "Ann@acme.com"),
        ("ann@acme.com", {"email": "x"}, "x"),
        ("ann@acme.com", {"email": ""}, "ann@acme.com"),
        ("ann@gmail.com", {}, "ann@gmail.com"),
        ("ann@acme", {}, None),
        ("ann", {}, None),
    ],
)
def test_the_label_is_the_address_where_it_is_one(label: str, traits: Message, expected: str | None) -> None:
    row = contact([identify(1, traits, userId=label)], label).contact
    assert row is not None
    assert (row.external_id, row.email) == (label, expected)


def test_of_the_other_ids_the_first_thousand_are_kept() -> None:
    members = {f"a{n}": Known() for n in range(1500)}
    row = rows("u", {**members, **known_of([identify(1)])[0]}).contact
    assert row is not None
    assert list(row.previous_ids) == sorted(members)[:1000]


Memberships = dict[str, tuple[str, float, float]]
"""By account: (source, first seen, last seen), in seconds."""

IN_GROUP: Message = {"context": {"groupId": "g"}, "projectId": "s1"}


@pytest.mark.parametrize(
    ("what", "messages", "expected", "main"),
    [
        ("without a row in contacts", [group(1, "g", projectId="s1")], {"g": ("group", 1, 1)}, None),
        ("by a group call", [identify(9), group(1, "g", projectId="s1")], {"g": ("group", 1, 1)}, ("g", "group")),
        ("by an identify's group", [identify(1, **IN_GROUP)], {"g": ("group", 1, 1)}, ("g", "group")),
        (
            "by traits",
            [identify(1, {"company": {"id": 7}}, projectId="s2")],
            {"7": ("identify_traits", 1, 1)},
            ("7", "identify_traits"),
        ),
        (
            "by an e-mail's domain",
            [identify(1, {"email": "a@b.io"})],
            {"b.io": ("email_domain", 1, 1)},
            ("b.io", "email_domain"),
        ),
        (
            "by the fallback",
            [identify(1, {"email": "a@b.io"}, projectId="s1")],
            {"b.io": ("email_domain", 1, 1)},
            ("b.io", "email_domain"),
        ),
        ("by nothing", [identify(1, {"email": "a@gmail.com"}), group(2, "g")], {}, (None, None)),
        (
            "the newest explicit one is the contact's",
            [identify(1), group(2, "a", projectId="s1"), group(3, "b", projectId="s1")],
            {"a": ("group", 2, 2), "b": ("group", 3, 3)},
            ("b", "group"),
        ),
        (
            "whatever the method",
            [group(2, "a", projectId="s1"), identify(3, {"email": "a@b.io"})],
            {"a": ("group", 2, 2), "b.io": ("email_domain", 3, 3)},
            ("b.io", "email_domain"),
        ),
        (
            "explicit goes before a newer fallback",
            [group(1, "a", projectId="s1"), identify(2, {"email": "a@b.io"}, projectId="s1")],
            {"a": ("group", 1, 1), "b.io": ("email_domain", 2, 2)},
            ("a", "group"),
        ),
        (
            "the newest fallback",
            [identify(1, {"email": "a@a.io"}, projectId="s1"), identify(2, {"email": "a@b.io"}, projectId="s2")],
            {"a.io": ("email_domain", 1, 1), "b.io": ("email_domain", 2, 2)},
            ("b.io", "email_domain"),
        ),
        (
            "one account in two ways",
            [identify(1), group(2, "b.io", projectId="s1"), identify(3, {"email": "a@b.io"}, projectId="s1")],
            {"b.io": ("group", 2, 3)},
            ("b.io", "group"),
        ),
        (
            "one account again",
            [group(3, "g", projectId="s1"), identify(1, **IN_GROUP), group(2, "g", projectId="s1")],
            {"g": ("group", 1, 3)},
            ("g", "group"),
        ),
        (
            "of every id",
            [identify(2), group(1, "g", projectId="s1", userId="x"), group(3, "g", projectId="s1")],
            {"g": ("group", 1, 3)},
            ("g", "group"),
        ),
        (
            "two accounts at one stamp: the greater by canonical text",
            [identify(1, **IN_GROUP), group(2, "a", projectId="s1"), group(2, "a b", projectId="s1")],
            {"g": ("group", 1, 1), "a": ("group", 2, 2), "a b": ("group", 2, 2)},
            ("a", "group"),
        ),
        # deletes
        (
            "a delete takes what is not after it",
            [identify(4), group(1, "a", projectId="s1"), group(3, "b", projectId="s1"), delete(2)],
            {"b": ("group", 3, 3)},
            ("b", "group"),
        ),
        (
            "a delete raises the first time",
            [identify(4), group(1, "g", projectId="s1"), group(3, "g", projectId="s1"), delete(2)],
            {"g": ("group", 2, 3)},
            ("g", "group"),
        ),
        (
            "a delete is judged per way",
            [group(1, "b.io", projectId="s1"), identify(3, {"email": "a@b.io"}, projectId="s1"), delete(2)],
            {"b.io": ("email_domain", 3, 3)},
            ("b.io", "email_domain"),
        ),
        (
            "a delete is judged per id",
            [group(1, "g", projectId="s1", userId="x"), identify(3, **IN_GROUP), delete(2)],
            {"g": ("group", 3, 3)},
            ("g", "group"),
        ),
        ("a delete of everything", [identify(1, **IN_GROUP), delete(2)], {}, None),
    ],
)
def test_memberships(
    what: str, messages: list[Message], expected: Memberships, main: tuple[str | None, str | None] | None
) -> None:
    result = contact(messages)
    assert {
        row.account_id: (row.account_source, row.first_named_at, row.last_named_at) for row in result.memberships
    } == {account: (source, second(first), second(last)) for account, (source, first, last) in expected.items()}
    assert [row.account_id for row in result.memberships] == sorted(expected)
    assert all(row.external_id == "u" for row in result.memberships)
    assert (result.contact and (result.contact.account_id, result.contact.account_source)) == main


@pytest.mark.parametrize(
    ("what", "messages", "expected"),
    [
        ("everything before it", [identify(1, {"a": 1}), delete(2)], None),
        ("the message of the same stamp", [identify(2, {"a": 1}), delete(2)], None),
        ("a message of the same time and a lesser id", [identify(2, messageId="a"), delete(2, messageId="b")], None),
        (
            "nothing of a greater id",
            [identify(2, {"a": 1}, messageId="b"), delete(2, messageId="a")],
            {"traits": {"a": 1}, "first_identified_at": second(2)},
        ),
        (
            "nothing after it",
            [identify(3, {"a": 1}), delete(2)],
            {"traits": {"a": 1}, "first_identified_at": second(3)},
        ),
        ("of two deletes the last counts", [identify(3), delete(2), delete(4)], None),
        (
            "what was set before it",
            [identify(1, {"a": 1, "b": 1}), identify(3, {"b": 2}), delete(2)],
            {"traits": {"b": 2}},
        ),
        (
            "what was overwritten before it, and what was cleared",
            [identify(1, {"a": 1}), identify(3, {"a": None}), delete(2)],
            {"traits": {}},
        ),
        (
            "the first time is raised",
            [identify(1), identify(3), delete(2)],
            {"first_identified_at": second(2), "last_identified_at": second(3)},
        ),
        (
            "an id of which nothing is left counts for nothing",
            [identify(1, userId="x"), identify(3), delete(2)],
            {"first_identified_at": second(3)},
        ),
        (
            "an id of which something is left",
            [identify(1, userId="x"), identify(3, userId="x"), identify(5), delete(2)],
            {"first_identified_at": second(2), "last_identified_at": second(5)},
        ),
        (
            "a delete of one id is of the person",
            [identify(1, {"a": 1}), identify(3), delete(2, userId="x")],
            {"traits": {}, "first_identified_at": second(2)},
        ),
        (
            "also of facts of other ids",
            [identify(1, {"a": 1}, userId="x"), identify(3, {"b": 1}, userId="y"), delete(2)],
            {"traits": {"b": 1}, "previous_ids": ["x", "y"]},
        ),
        ("audiences", [audience(1, True), identify(3), delete(2)], {"audiences": [], "traits": {}}),
        (
            "not those after it",
            [audience(3, True), identify(4), delete(2)],
            {"audiences": [{"audience_key": "big_spender", "is_member": True, "updated_at": second(3)}]},
        ),
        ("audiences alone are no contact", [identify(1), audience(3, True), delete(2)], None),
        ("connections", [identify(1, projectId="s1"), identify(3), delete(2)], {"connections": ["crm"]}),
        (
            "connections seen again",
            [identify(1, projectId="s1"), identify(3, projectId="s1"), delete(2)],
            {"connections": ["site"]},
        ),
        (
            "promoted columns",
            [identify(1, {"email": "a@b.io", "name": "A"}), identify(3), delete(2)],
            {"email": None, "name": None},
        ),
    ],
)
def test_a_delete_forgets(what: str, messages: list[Message], expected: dict[str, Any] | None) -> None:
    row = contact(messages).contact
    assert (row and columns(row, expected or {})) == expected


def test_a_delete_before_everything_it_forgets_is_remembered() -> None:
    assert contact([delete(5), identify(1), identify(2, userId="x")]).contact is None


@pytest.mark.parametrize(
    ("what", "before", "now", "expected"),
    [
        ("the same calls", [identify(1, {"a": 1})], [identify(1, {"a": 1})], True),
        ("a later call", [identify(1, {"a": 1})], [identify(2, {"a": 1})], False),
        ("an earlier call", [identify(2, {"a": 1})], [identify(2, {"a": 1}), identify(1, {"a": 1})], False),
        ("another trait at one time", [identify(1, {"a": 1})], [identify(1, {"a": 2})], False),
        ("a call without effect", [identify(1, {"a": 1})], [identify(1, {"a": 1}), group(2, "g")], True),
        ("none before", [], [identify(1, {"a": 1})], False),
        ("none after a delete", [identify(1, {"a": 1})], [identify(1, {"a": 1}), delete(2)], False),
        ("none at all", [], [delete(2)], True),
    ],
)
def test_a_contact_is_the_same_where_its_row_is(
    what: str, before: list[Message], now: list[Message], expected: bool
) -> None:
    rows_before, rows_now = contact(before), contact(now)
    assert rows_now.has_same_contact(rows_before) is expected
    assert (rows_now.contact == rows_before.contact) is expected
