"""Which messages may hold an ordinary call: each is looked at together with others, and judged as by itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.segment import MAX_DEPTH, MAX_ID_CHARACTERS
from tests.transforms.core.calls import deep
from tests.transforms.core.test_secrets import is_json
from transforms import ordinary_calls
from transforms.core import ids, secrets, times
from transforms.core.connections import DEFAULT
from transforms.core.fields import is_too_deep
from transforms.core.reader import Reader
from transforms.ordinary_calls import readable

READER = Reader.of(DEFAULT)
WIDE = b'{"products":[' + b",".join([b"[{}]"] * 200) + b"]}"
MESSAGES = [
    *(b"{}", b"", b'{"a":"\xff"}', b'{"a":"\xc3\xa9"}', deep(MAX_DEPTH), deep(MAX_DEPTH + 1), WIDE),
    *(b'{"writeKey":"k","a":1}', b'{"write_key":"k"}', b'{"a":{"writeKey":"k"},"b":"writeKey"}', b'{\n"a":1}'),
    *(b'{"Write_KEY":null}', b'{"\\u0077riteKey":"k"}', b'{"wRiTe":"key"}', b'{"a":"\\n"}'),
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
    return secrets.redacted(message)


@given(st.lists(st.sampled_from(MESSAGES), max_size=150))
def test_messages_are_read_as_by_themselves(messages: Sequence[bytes]) -> None:
    """What is no JSON may be among them, as none."""
    read = dict(readable(messages))
    assert [*read] == sorted(read)
    for index, message in enumerate(messages):
        if is_json(message):
            assert read.get(index) == by_itself(message)
        else:
            assert index not in read or not is_json(read[index])


def test_a_message_that_is_long_is_not_read() -> None:
    messages = [b'{"a":1}' * 200_000, b"{}"]
    assert [index for index, _ in readable(messages)] == [1]


@pytest.mark.parametrize("year", [2023, 2024])
def test_each_day_of_a_year_but_the_29th_of_february_is_usual(year: int) -> None:
    days = [f"{year}-{month:02}-{day:02}T00:00:00Z" for month in range(14) for day in range(33)]
    moments, are_read = ordinary_calls.microseconds(days)
    expected = [times.parse(day) for day in days]
    assert moments.to_pylist() == expected
    assert are_read.to_pylist() == [moment is not None for moment in expected]


SECONDS = [
    "2023-11-14T22:13:20",
    "2024-02-29T00:00:00",
    "2023-02-29T00:00:00",
    "2023-11-14 22:13:20",
    "0999-01-01T00:00:00",
]
HOURS = [
    "2023-11-14T24:00:00",
    "2023-11-14T22:60:00",
    "2023-11-14T22:13:60",
    "2023-13-14T22:13:20",
    "2023-11-00T22:13:20",
]
FRACTIONS = ["", ".1", ".123", ".123456", ".123456789", ".12x", ",123", "."]
ZONES = ["Z", "z", "", "+00:00", "-05:30", "+24:00", "+05:60", "+0530", "+\u0661\u0662:00"]
WRITTEN = st.one_of(
    st.none(),
    st.sampled_from(["", "now", 1700000000, 1700000000000, 1.5e9, -1, 10**40]),
    st.builds("{}{}{}".format, st.sampled_from(SECONDS + HOURS), st.sampled_from(FRACTIONS), st.sampled_from(ZONES)),
)


@given(st.lists(WRITTEN, max_size=20))
@example([None, "2023-11-14T22:13:20Z"] * 200 + ["2023-02-29T00:00:00Z", "2023-11-14T22:13:60Z", None])
@example(["2023-02-29T00:00:00Z"] * 300)
def test_times_are_read_as_by_themselves(written: list[str | float | None]) -> None:
    moments, are_read = ordinary_calls.microseconds(written)
    expected = [times.read(time) for time in written]
    assert moments.to_pylist() == expected
    assert are_read.to_pylist() == [
        time is None or moment is not None for time, moment in zip(written, expected, strict=True)
    ]


@given(st.lists(st.one_of(st.none(), st.integers(-2, 2**53), st.text("aZ@._-09 {}é\0", max_size=9)), max_size=20))
@example(["", None, "-1", "1" * MAX_ID_CHARACTERS, "1" * (MAX_ID_CHARACTERS + 1), "null", "user-1", "0000", "00e1"])
def test_ids_are_read_as_by_themselves(written: list[str | int | None]) -> None:
    texts, are_read = ordinary_calls.read_ids(READER, written)
    for id, text, is_read in zip(written, texts.to_pylist(), are_read.to_pylist(), strict=True):
        try:
            assert (text, is_read) == (ids.read(id), True)
        except ids.NotAnId:
            assert not is_read
