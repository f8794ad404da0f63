"""What is told of many texts at once is what is told of each by itself."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.core.raw_json import _WRITTEN_OTHERWISE
from transforms.letters import (
    Shape,
    find_long_numbers,
    has_word,
    have_shape,
    highest_kind,
    in_lower_case,
    keys,
)

SHAPES = {len(example.encode()): Shape.of(example) for example in ("12:34", "12:34Z", "1é")}
PATTERN = re.compile("[0-9]{2}:[0-9]{2}Z?|[0-9]é")
DIGITS_AND_SIGNS = bytes(1 if chr(byte).isdigit() else 2 if chr(byte) in "+-" else 0 for byte in range(256))


@given(st.binary(max_size=12), st.sampled_from([b"", b"write", b"WRITE", b"wRiTe", b"wr\xc9te", b"writ", b"7RITE"]))
def test_a_word_is_found_in_any_case(around: bytes, word: bytes) -> None:
    for document in (around + word, word + around, around + word + around):
        assert has_word(in_lower_case(document), b"write") == (b"write" in document.lower())


TEXTS = st.one_of(st.none(), st.text("0189:;/Zé", max_size=7), st.sampled_from(["12:34", "99:00Z", "0é", "1²"]))


@given(st.lists(TEXTS, max_size=12))
def test_a_text_has_a_shape(texts: list[str | None]) -> None:
    expected = [text is None or PATTERN.fullmatch(text) is not None for text in texts]
    assert have_shape(pa.array(texts, pa.string()), SHAPES).tolist() == expected


@given(st.lists(st.one_of(st.none(), st.text("a5-é", max_size=3)), max_size=12))
def test_the_highest_kind_of_a_byte(texts: list[str | None]) -> None:
    expected = [max((DIGITS_AND_SIGNS[byte] for byte in (text or "").encode()), default=0) for text in texts]
    assert highest_kind(pa.array(texts, pa.string()), DIGITS_AND_SIGNS).tolist() == expected


@pytest.mark.parametrize(
    ("document", "number"),
    [
        (b"[]", 0),
        (b'[{"a":1,"b":{"c":[{"d": 2}]}}]', 4),
        (b'[{"a":1,"a":2}]', 2),
        (b'[{"a\\":1},"a\\":b"]', 2),
        (b'[{"a" :1}]', None),
        (b'[{"a"\n:1}]', None),
        (b'["12 :30"]', None),
        (b'[{"a":1},"\\u0022:"]', None),
        (b'[{"a":1},"\\"\\u003a"]', None),
        (b'[{"a":1},"\\"\\u003A"]', None),
    ],
)
def test_keys_are_counted_where_they_can_be_seen(document: bytes, number: int | None) -> None:
    assert keys(document) == number


NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False), st.floats(-1e-3, 1e-3), st.integers(10**14, 10**17))
VALUES = st.one_of(NUMBERS, st.text("0123.eE,:[-", max_size=40), st.lists(NUMBERS, max_size=3))
TOKENS = re.compile(rb'(?P<string>"[^"]*")|-?(?P<number>[0-9][0-9.eE+-]*)')


@given(st.lists(VALUES, max_size=8))
def test_long_numbers_are_found(values: list[object]) -> None:
    """Those that `raw_json.canonical` looks for in one text; and in a string what looks so to it as well, or a row of
    digits that no number has."""
    document = json.dumps(values, separators=(",", ":")).encode()
    found = find_long_numbers(np.frombuffer(document, np.uint8)).tolist()
    tokens = [*TOKENS.finditer(document)]
    within = {at for token in tokens if token["string"] for at in range(*token.span())}
    long = {token.start("number") for token in tokens if _WRITTEN_OTHERWISE.match(b"," + token[0])}
    assert {*found} - within == long
    assert all(looks_long(document, at) or re.match(rb"[0-9.]{32}", document[at:]) for at in found)


def looks_long(document: bytes, at: int) -> bool:
    return any(_WRITTEN_OTHERWISE.match(document, start) for start in (at - 1, at - 2))


def test_long_numbers_are_few() -> None:
    document = b'[1,-2.5,"1234567890123456",{"a":0.001,"b":"1e5"},"x:12345"]'
    assert find_long_numbers(np.frombuffer(document, np.uint8)).tolist() == []
