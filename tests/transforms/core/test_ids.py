"""Which values are ids, and which of those name nobody."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.segment import PLACEHOLDER_IDS
from transforms.core import ids


@pytest.mark.parametrize(
    ("what", "value", "expected"),
    [
        ("a string", "p1", "p1"),
        ("white space around it", " \t\r\np 1\n ", "p 1"),
        ("white space of Unicode around it", "\u00a0p1\u2003", "p1"),
        ("a zero-width space is none", "p\u200b", "p\u200b"),
        ("control characters in it", "p\u0000\u00071", "p\u0000\u00071"),
        ("case is kept", "User@Example.COM", "User@Example.COM"),
        ("quotes are kept", '"p1"', '"p1"'),
        ("1,024 characters", "\u00fc" * 1024, "\u00fc" * 1024),
        ("and white space around them", f" {'p' * 1024} ", "p" * 1024),
        ("an integer", 42, "42"),
        ("a negative integer", -42, "-42"),
        ("an integer beyond 64 bits", 2**70, "1180591620717411303424"),
        ("a float without a fraction", 42.0, "42"),
        ("a large float without a fraction", 1e20, "100000000000000000000"),
        ("absent", None, None),
        ("zero", 0, None),
        ("zero as a float", -0.0, None),
        ("minus one", -1, None),
    ],
)
def test_strings_and_whole_numbers_are_ids(what: str, value: Any, expected: str | None) -> None:
    assert ids.read(value) == expected


@pytest.mark.parametrize(
    "value", [True, False, 1.5, float("inf"), float("nan"), [], ["p1"], {}, {"id": "p1"}, "p" * 1025, 10**1024]
)
def test_other_types_are_not(value: Any) -> None:
    with pytest.raises(ids.NotAnId):
        ids.read(value)


@pytest.mark.parametrize("word", sorted(PLACEHOLDER_IDS))
@pytest.mark.parametrize("spelling", ["{}", " {} ", '"{}"', "'{}'", "\"'{}'\"", "\t'{}'\n", "({})", "[{}]", "' {} '"])
def test_placeholders_name_nobody(word: str, spelling: str) -> None:
    for cased in (word, word.upper(), word.title(), "_".join(word), "-".join(word)):
        assert ids.read(spelling.replace("{}", cased)) is None


@pytest.mark.parametrize(
    "value",
    [
        # nothing at all
        *("-", "{}", "[]", "()", "--", "?", "...", "\u2014", '""'),
        # as senders spell them
        *("anonymousId", "(null)", "not_authenticated", "N/A", "[object Object]", "Not Set", "<null>", "logged-out"),
        # zeros
        *("0", "000", "'0'", "00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}"),
        *("0x", "0x0", "0x0000000000000000", "0X00", '"00000000-0000-0000-0000-000000000000"'),
        # minus one
        "-1",
        # templates that were never filled in
        *("{{userId}}", "{{ user.id }}", "${id}", "<%= user.id %>", "%7B%7BuserId%7D%7D", "%7buserId%7d"),
        *("user-{{id}}", "{{\n}}"),
    ],
)
def test_what_names_nobody(value: str) -> None:
    assert ids.read(value) is None


@pytest.mark.parametrize(
    "value",
    [
        *("0x1", "00000000-0000-0000-0000-000000000001", "100", "-2", "1", "-10", "--1"),
        *("null-1", "my email", "[object object]s", "anonymousId2", "user", "noner", "nullx"),
        *("{ann}", "$ann", "50%", "<ann>", "{ {a} }", "\u043d\u043b", "\u0660\u0661"),
    ],
)
def test_what_looks_like_a_placeholder_and_is_none(value: str) -> None:
    assert ids.read(value) == value


def test_placeholders_of_a_companys_own_are_compared_folded() -> None:
    placeholders = ids.placeholders(("Test-User", "server 1"))
    assert [ids.read(value, placeholders) for value in ("test_user", "SERVER1", "(null)", "server 2")] == [
        *(None, None, None),
        "server 2",
    ]
    assert ids.read("test_user") == "test_user"


@given(st.from_regex(r"[A-Za-z0-9@._-]*[1-9][A-Za-z0-9@._-]*", fullmatch=True))
def test_the_short_way_gives_what_the_long_one_gives(name: str) -> None:
    assert ids.is_placeholder(name) == ids.is_placeholder(name, frozenset(PLACEHOLDER_IDS | {"x" * 40}))


def test_a_copy_of_the_contracts_placeholders_is_known_for_theirs() -> None:
    """As a worker has it; a company's own are more, whatever they are."""
    assert ids.are_of_the_contract(pickle.loads(pickle.dumps(PLACEHOLDER_IDS)))
    assert not ids.are_of_the_contract(ids.placeholders(("Test-User",)))
    assert ids.are_of_the_contract(ids.placeholders(("Not Set",)))
