"""The row of an account."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.tables import ACCOUNTS
from tests.histories import Message
from tests.transforms.core.calls import DELETE, GROUP, IDENTIFY, call, columns, known_of, second
from transforms.core import account_rows
from transforms.core.connections import AccountMapping, Connection, Connections

SEVERAL = Connections(
    connections=(
        Connection("site", ("s1",), AccountMapping("group", fallback="email_domain")),
        Connection("app", ("s2",), AccountMapping("identify_traits", fallback="email_domain")),
        Connection("crm", None, AccountMapping("email_domain")),
    )
)


def group(at: float, traits: Message | None = None, /, **fields: Any) -> Message:
    return call(at, GROUP, projectId="s1", traits=traits or {}, **fields)


def company(at: float, /, **fields: Any) -> Message:
    return call(at, IDENTIFY, projectId="s2", traits={"company": {"id": "acme", **fields}})


def email(at: float, domain: str, /, **fields: Any) -> Message:
    return call(at, IDENTIFY, traits={"email": f"ann@{domain}"}, **fields)


def member(at: float, group_id: str, /, **fields: Any) -> Message:
    return call(at, IDENTIFY, projectId="s1", context={"groupId": group_id}, **fields)


@pytest.mark.parametrize(
    ("what", "messages", "expected"),
    [
        # names
        ("the newest name", [group(1, {"name": "A"}), group(2, {"name": "B"})], {"name": "B"}),
        (
            "null changes nothing, and clears the trait",
            [group(1, {"name": "A"}), group(2, {"name": None})],
            {"name": "A", "traits": {}},
        ),
        (
            "an empty name changes nothing",
            [group(1, {"name": "A"}), group(2, {"name": ""})],
            {"name": "A", "traits": {"name": ""}},
        ),
        (
            "another type changes nothing",
            [group(1, {"name": "A"}), group(2, {"name": 5})],
            {"name": "A", "traits": {"name": 5}},
        ),
        ("no name: the id", [group(1)], {"name": "acme"}),
        ("a name by another method", [group(1, {"name": "A"}), company(2, name="B")], {"name": "B"}),
        (
            "an identify's group has none",
            [group(1, {"name": "A"}), member(2, "acme", traits={"name": "Ann"})],
            {"name": "A", "traits": {"name": "A"}},
        ),
        # traits
        (
            "the newest of each",
            [group(2, {"a": 1, "b": 1}), group(3, {"b": 2}), company(1, b=0, c=3)],
            {"traits": {"a": 1, "b": 2, "c": 3}},
        ),
        ("null clears", [group(1, {"a": 1}), group(2, {"a": None})], {"traits": {}}),
        (
            "objects are replaced whole",
            [group(1, {"a": {"b": 1}}), group(2, {"a": {"c": 2}})],
            {"traits": {"a": {"c": 2}}},
        ),
        # promoted columns
        (
            "promoted columns",
            [group(1, {"website": "w", "industry": "i", "plan": "p", "employees": 5})],
            {"website": "w", "industry": "i", "plan": "p", "employees": 5},
        ),
        (
            "of other types",
            [group(1, {"website": 1, "industry": [], "plan": True, "employees": "5"})],
            {"website": "1", "industry": None, "plan": "true", "employees": 5, "domain": None},
        ),
        (
            "in other spellings",
            [group(1, {"Plan": "p", "INDUSTRY": "i", "Employees": "51-200", "Website": "acme.com"})],
            {"plan": "p", "industry": "i", "employees": None, "website": "acme.com", "domain": "acme.com"},
        ),
        ("a whole float", [group(1, {"employees": 5.0})], {"employees": 5, "traits": {"employees": 5.0}}),
        ("a fraction", [group(1, {"employees": 5.5})], {"employees": None}),
        ("beyond 64 bits", [group(1, {"employees": 2**63})], {"employees": None, "traits": {"employees": 2**63}}),
        # domains
        (
            "the website's host",
            [group(1, {"website": "https://www.Acme.com:8080/about?x#y", "domain": "x.io"})],
            {"domain": "acme.com"},
        ),
        ("a website without a scheme", [group(1, {"website": "acme.com/about"})], {"domain": "acme.com"}),
        ("a website with a port", [group(1, {"website": "acme.com:80"})], {"domain": "acme.com"}),
        ("a website with a user", [group(1, {"website": "https://ann:secret@acme.com"})], {"domain": "acme.com"}),
        ("else the domain's", [group(1, {"website": "", "domain": "Acme.io"})], {"domain": "acme.io"}),
        ("a website of another type", [group(1, {"website": 5, "domain": "acme.io"})], {"domain": "acme.io"}),
        ("a website that is none", [group(1, {"website": "http://[acme", "domain": "acme.io"})], {"domain": "acme.io"}),
        ("a website without a host", [group(1, {"website": "https:///about"})], {"domain": None}),
        ("neither", [group(1)], {"domain": None, "website": None}),
        ("a company's", [company(1, website="acme.com")], {"domain": "acme.com", "website": "acme.com"}),
        # seen, sources and connections
        (
            "the first and the last message that named it",
            [group(2), group(1), member(3, "acme")],
            {"first_named_at": second(1), "last_named_at": second(3)},
        ),
        (
            "of every method",
            [company(1), group(3)],
            {"first_named_at": second(1), "last_named_at": second(3), "connections": ["app", "site"]},
        ),
        ("the newest explicit method", [company(1), group(3)], {"account_source": "group"}),
        ("in any order", [group(1), company(3)], {"account_source": "identify_traits"}),
        ("at one stamp the greater by name", [group(1), company(1)], {"account_source": "identify_traits"}),
        # deletes
        (
            "a delete changes nothing",
            [group(1, {"plan": "p"}), call(2, DELETE)],
            {"plan": "p", "first_named_at": second(1)},
        ),
    ],
)
def test_accounts(what: str, messages: list[Message], expected: dict[str, Any]) -> None:
    for order in (messages, messages[::-1] + messages):
        accounts = known_of(order, SEVERAL)[1]
        row = account_rows.row("acme", accounts["acme"])
        assert columns(row, expected) == expected
        assert ACCOUNTS.misfit(row) is None


@pytest.mark.parametrize(
    ("what", "messages", "expected"),
    [
        (
            "its domain and its name are its id",
            [email(1, "Acme.IO")],
            {
                "name": "acme.io",
                "domain": "acme.io",
                "account_source": "email_domain",
                "traits": {},
                "connections": ["crm"],
            },
        ),
        (
            "as a fallback too",
            [email(1, "acme.io", projectId="s1")],
            {"name": "acme.io", "domain": "acme.io", "account_source": "email_domain"},
        ),
        (
            "explicit goes before a newer fallback",
            [group(1, {"website": "x.io"}, groupId="acme.io"), email(2, "acme.io", projectId="s1")],
            {"account_source": "group", "domain": "x.io", "last_named_at": second(2)},
        ),
        (
            "an explicit domain is as good as any other",
            [group(1, {"website": "x.io"}, groupId="acme.io"), email(2, "acme.io")],
            {"account_source": "email_domain", "domain": "acme.io"},
        ),
        (
            "a domain names it again",
            [group(1, {"name": "Acme"}, groupId="acme.io"), email(2, "acme.io")],
            {"name": "acme.io"},
        ),
    ],
)
def test_accounts_of_e_mail_domains(what: str, messages: list[Message], expected: dict[str, Any]) -> None:
    for order in (messages, messages[::-1]):
        accounts = known_of(order, SEVERAL)[1]
        assert columns(account_rows.row("acme.io", accounts["acme.io"]), expected) == expected
