"""Traits as columns."""

from __future__ import annotations

import pytest
from msgspec import Raw

from tests.transforms.core.calls import second
from transforms.core import promoted

SPELLINGS = ("firstName", "first_name")


@pytest.mark.parametrize(
    ("what", "traits", "expected"),
    [
        ("the spec's spelling", {"firstName": b'"Ann"', "first_name": b'"Bob"'}, "Ann"),
        ("where it is absent, snake case", {"first_name": b'"Bob"'}, "Bob"),
        ("where it is of another type, nothing", {"firstName": b"5", "first_name": b'"Bob"'}, None),
        ("where it is empty, empty", {"firstName": b'""', "first_name": b'"Bob"'}, ""),
        ("other spellings are other traits", {"FirstName": b'"Ann"'}, None),
        ("nothing", {}, None),
        ("escapes", {"firstName": b'"\\u00c9\\n"'}, "\u00c9\n"),
        *((f"no {value!r}", {"firstName": value}, None) for value in (b"1", b"true", b"[]", b'["Ann"]', b"{}", b"1.5")),
    ],
)
def test_strings(what: str, traits: dict[str, bytes], expected: str | None) -> None:
    assert promoted.string(traits, SPELLINGS) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'"2023-11-14T22:13:20.000Z"', second(0)),
        (b'"2023-11-14 22:13:20 +0000 UTC"', second(0)),
        (b"1700000000000", second(0)),
        (b"1700000000", 1_700_000_000_000),
        (b'"1700000000000"', None),
        (b'"2023-02-30"', None),
        (b"true", None),
        (b"[]", None),
        (b"1e400", None),
        (b"1e300", None),
    ],
)
def test_timestamps(value: bytes, expected: int | None) -> None:
    assert promoted.timestamp({"created_at": value}, ("createdAt", "created_at")) == expected
    assert promoted.timestamp({"createdAt": value, "created_at": b"0"}, ("createdAt", "created_at")) == expected
    assert promoted.timestamp({}, ("createdAt",)) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"0", 0),
        (b"-5", -5),
        (b"5.0", 5),
        (b"5e2", 500),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"9223372036854775808", None),
        (b"1e300", None),
        (b"1e400", None),
        (b"5.5", None),
        (b'"5"', None),
        (b"true", None),
        (b"[5]", None),
    ],
)
def test_integers(value: bytes, expected: int | None) -> None:
    assert promoted.integer({"employees": value}, ("employees",)) == expected
    assert promoted.integer({}, ("employees",)) is None


@pytest.mark.parametrize(
    ("what", "after", "expected"),
    [
        ("all that are not null, by name", None, {"a": b"1", "b": b"2", "c": b"3"}),
        ("those after a stamp", (1, "m"), {"a": b"1", "b": b"2"}),
        ("those after a message of the same time", (2, "m"), {"a": b"1"}),
        ("none", (3, ""), {}),
    ],
)
def test_the_traits_that_stand(what: str, after: tuple[int, str] | None, expected: dict[str, bytes]) -> None:
    values = {"c": ((1, "m"), b"3"), "d": ((9, "m"), b"null"), "a": ((2, "n"), b"1"), "b": ((2, "m"), b"2")}
    assert list(promoted.newest(values, after).items()) == list(expected.items())


def test_a_document_has_each_value_as_it_was_written() -> None:
    traits = {"b": b"1.50", 'quote"': b'{ "x":\t"\\u0041" }', "\u00e9": b"[]"}
    assert promoted.document(traits) == Raw('{"b":1.50,"quote\\"":{ "x":\t"\\u0041" },"\u00e9":[]}'.encode())
    assert promoted.document({}) == Raw(b"{}")
