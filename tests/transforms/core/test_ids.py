"""Which values are ids, and which of those name nobody."""

from __future__ import annotations

from typing import Any

import pytest

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
        ("any length", "p" * 10_000, "p" * 10_000),
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


@pytest.mark.parametrize("value", [True, False, 1.5, float("inf"), float("nan"), [], ["p1"], {}, {"id": "p1"}])
def test_other_types_are_not(value: Any) -> None:
    with pytest.raises(ids.NotAnId):
        ids.read(value)


@pytest.mark.parametrize("word", sorted(PLACEHOLDER_IDS))
@pytest.mark.parametrize("spelling", ["{}", " {} ", '"{}"', "'{}'", "\"'{}'\"", "\t'{}'\n"])
def test_placeholders_name_nobody(word: str, spelling: str) -> None:
    for cased in (word, word.upper(), word.title()):
        assert ids.read(spelling.format(cased)) is None


@pytest.mark.parametrize(
    ("what", "value", "expected"),
    [
        ("zeros", "000", None),
        ("dashes", "--", None),
        ("a nil UUID", "00000000-0000-0000-0000-000000000000", None),
        ("quoted", "'0'", None),
        ("quoted and long", '"00000000-0000-0000-0000-000000000000"', None),
        ("not only zeros", "0x0", "0x0"),
        ("not only zeros, long", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
        ("a number with zeros", "100", "100"),
        ("another negative number", "-2", "-2"),
        ("a placeholder with more to it", "null-1", "null-1"),
        ("a placeholder within", "my email", "my email"),
        ("the longest placeholder with more to it", "[object object]s", "[object object]s"),
        ("quotes around white space: unspecified, kept", "' null '", "' null '"),
    ],
)
def test_zeros_and_dashes_alone_name_nobody(what: str, value: str, expected: str | None) -> None:
    assert ids.read(value) == expected
