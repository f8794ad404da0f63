"""Which messages may hold an ordinary call: each is looked at together with others, and judged as by itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.segment import MAX_DEPTH
from tests.transforms.core.calls import deep
from transforms import ordinary_calls
from transforms.core import secrets, times
from transforms.core.fields import is_too_deep
from transforms.ordinary_calls import readable

WIDE = b'{"products":[' + b",".join([b"[{}]"] * 200) + b"]}"
MESSAGES = [
    *(b"{}", b"", b'{"a":"\xff"}', b'{"a":"\xc3\xa9"}', deep(MAX_DEPTH), deep(MAX_DEPTH + 1), WIDE),
    *(b'{"writeKey":"k","a":1}', b'{"Write_KEY":null}', b'{"\\u0077riteKey":"k"}', b'{"wRiTe":"key"}', b'{"a":"\\n"}'),
    b'{"writeKey":"k"',
]


def by_itself(message: bytes) -> bytes | None:
    """A message without its secret, None of one that is not readable."""
    try:
        message.decode()
    except UnicodeDecodeError:
        return None
    if is_too_deep(message):
        return None
    redacted = secrets.redacted(message)
    return None if redacted != message and not message.endswith(b"}") else redacted


@given(st.lists(st.sampled_from(MESSAGES), max_size=150))
def test_messages_are_read_as_by_themselves(messages: Sequence[bytes]) -> None:
    expected = [(index, by_itself(message)) for index, message in enumerate(messages)]
    assert [*readable(messages)] == [(index, message) for index, message in expected if message is not None]


def test_a_message_that_is_long_is_not_read() -> None:
    messages = [b'{"a":1}' * 200_000, b"{}"]
    assert [index for index, _ in readable(messages)] == [1]


@given(st.binary(max_size=12), st.sampled_from([b"", b"write", b"WRITE", b"wRiTe", b"wr\xc9te", b"writ", b"7RITE"]))
def test_the_word_is_found_in_any_case(around: bytes, word: bytes) -> None:
    for document in (around + word, word + around, around + word + around):
        letters = ordinary_calls.in_lower_case(document)
        assert ordinary_calls.has_word(letters) == (secrets.WORD in document.lower())


@pytest.mark.parametrize("year", [2023, 2024])
def test_each_day_of_a_year_but_the_29th_of_february_is_usual(year: int) -> None:
    days = [f"{year}-{month:02}-{day:02}T00:00:00Z" for month in range(14) for day in range(33)]
    moments, are_read = ordinary_calls.microseconds(days)
    expected = [times.parse(day) for day in days]
    assert moments.to_pylist() == expected
    assert are_read.to_pylist() == [moment is not None for moment in expected]
