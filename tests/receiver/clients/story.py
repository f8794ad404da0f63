"""What each client is told to say, and the rows that it must come to: a visitor looks at a page, becomes known, buys
something, opens a screen, belongs to a company, and gets another id."""

from __future__ import annotations

from typing import Any

from judge import Tables

VISITOR, FIRST_ID, LAST_ID = "visitor-1", "pgibbons", "019mr8mf4r"
COMPANY = "initech"
EVENTS: list[dict[str, Any]] = [
    {
        "type": "Page",
        "name": "Pricing",
        "user_id": None,
        "anonymous_id": VISITOR,
        "properties": {"url": "https://shop.test/pricing"},
    },
    {
        "type": "Action",
        "name": "Item Purchased",
        "user_id": FIRST_ID,
        "anonymous_id": None,
        "properties": {"revenue": 14.99, "note": "Zoë 💶"},
    },
    {"type": "Screen", "name": "Home", "user_id": FIRST_ID, "anonymous_id": None, "properties": {"tabs": 3}},
]
CALLS = {("identify", FIRST_ID), ("group", FIRST_ID), ("alias", LAST_ID)}


def check(tables: Tables, library: str) -> None:
    """The tables hold the story, each call once, as told by that library."""
    assert tables.dead_letters == []
    events = sorted(tables.events.values(), key=lambda event: str(event["type"]))
    expected = sorted(EVENTS, key=lambda event: str(event["type"]))
    assert [{name: event[name] for name in EVENTS[0]} for event in events] == expected
    calls = tables.identity_calls.values()
    assert sorted((call["type"], call["user_id"]) for call in calls) == sorted(CALLS)
    for row in (*events, *calls):
        assert row["connection"] == "Web shop"
        assert row["context"]["library"]["name"] == library
        assert row["sent_at"] is not None
        assert row["received_at"] >= row["sent_at"]
    check_people(tables, LAST_ID)


def check_people(tables: Tables, user: str) -> None:
    """One contact, known by that id at the end, and its company."""
    (contact,) = tables.contacts.values()
    earlier = {VISITOR, FIRST_ID} - {user}
    assert contact["external_id"] == user
    assert set(contact["previous_ids"]) == earlier
    assert (contact["email"], contact["name"]) == ("pgibbons@example.com", "Peter Gibbons")
    assert tables.identities == dict.fromkeys(earlier, user)
    assert contact["account_id"] == COMPANY
    company = tables.accounts[COMPANY]
    assert (company["name"], company["employees"]) == ("Initech", 420)
    assert (user, COMPANY) in tables.memberships
