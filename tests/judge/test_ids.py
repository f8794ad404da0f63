"""Section 1 of docs/semantics.md: ids."""

from __future__ import annotations

from typing import Any

import pytest

from judge import Config, replay
from judge.ids import ReadId, first_id, read_id
from tests.histories import line

IDS = [
    ("stripped", " p1\t", "p1"),
    ("an integer", 42, "42"),
    ("a whole float", 42.0, "42"),
    ("a long whole float", 1e20, "100000000000000000000"),
    ("quoted", '"p1"', '"p1"'),
    ("absent", None, None),
    ("a zero with something else", "0a", "0a"),
    ("one", 1, "1"),
    ("a placeholder in a longer id", "null-1", "null-1"),
    ("braces without a template", "{p1}", "{p1}"),
    ("a percent sign", "100%", "100%"),
    ("an opening brace alone", "a{{b", "a{{b"),
]

PLACEHOLDERS: list[Any] = [
    *("", " ", "-", "{}", "[]", "()", "—", "🙂", "null", "(null)", "'NULL'", "nullptr", "nil", "<nil>", "None", "NaN"),
    *(
        "N/A",
        "undefined",
        "undefined-undefined",
        "nullnull",
        "Anonymous",
        "anonymousId",
        "anonymous_id",
        "anon",
        "Guest",
    ),
    *("unknown", "unidentified", "not_authenticated", "Logged Out", "(not set)", "no user", "user_id", "userId"),
    *("distinct_id", "UUID", "id", "E-Mail", "true", "False", "[object Object]", "-1", -1, -1.0, 0, 0.0, "000"),
    *("00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}", "0x0000000000000000", "0X0"),
    *("{{userId}}", "{{ user.id }}", "${userId}", "<%= id %>", "%7B%7Bid%7D%7D", "%7bid%7d", "user-{{id}}", "{{\n}}"),
]

UNUSABLE: list[Any] = [True, False, 1.5, float("inf"), [], ["a"], {}, {"id": "a"}, "x" * 1025, 10**1024]


@pytest.mark.parametrize(("value", "expected"), [case[1:] for case in IDS], ids=[case[0] for case in IDS])
def test_ids(value: Any, expected: str | None) -> None:
    assert read_id(value) == ReadId(expected)


@pytest.mark.parametrize("value", PLACEHOLDERS, ids=map(repr, PLACEHOLDERS))
def test_placeholders_are_absent(value: Any) -> None:
    assert read_id(value) == ReadId(None)


@pytest.mark.parametrize("value", UNUSABLE, ids=[repr(value)[:20] for value in UNUSABLE])
def test_what_is_no_id_is_unusable(value: Any) -> None:
    assert read_id(value) == ReadId(None, unusable=True)


def test_white_space_does_not_make_an_id_too_long() -> None:
    assert read_id(" " * 9 + "é" * 1024) == ReadId("é" * 1024)


def test_a_company_s_own_placeholders() -> None:
    own = ("Test-User", "ΟΔΟΣ")
    for value in ("test user", "(TESTUSER)", "οδος"):
        assert read_id(value, own) == ReadId(None)
        assert read_id(value) == ReadId(value.strip())
    assert read_id("test user 2", own) == ReadId("test user 2")


def test_the_first_usable_one() -> None:
    assert first_id([None, "null", [], "a", "b"], ()) == ReadId("a")
    assert first_id([None, [], "null"], ()) == ReadId(None, unusable=True)
    assert first_id([None, "null"], ()) == ReadId(None)


def test_ids_that_name_nobody_fuse_nobody() -> None:
    calls = [
        {
            "type": "identify",
            "messageId": n,
            "timestamp": f"2024-03-01T0{n}:00:00Z",
            "userId": f"u{n}",
            "anonymousId": id_,
        }
        for n, id_ in enumerate(
            ("anonymousId", "0x0000", "{{userId}}", "server 1", "anonymous-id", "0x00-00", "Server1")
        )
    ]
    found = replay(map(line, calls), Config(placeholder_ids=("server1",)))
    assert found.identities == {}
    assert len(found.contacts) == len(calls)
