"""Every form of a timestamp, and what is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tables import TIMESTAMPS, Timestamp
from tests.transforms.core.calls import START_MS, second
from transforms.core import times

FIRST, LAST = TIMESTAMPS[0], TIMESTAMPS[-1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # what Segment's libraries write
        ("2023-11-14T22:13:20.000Z", second(0)),
        ("2023-11-14T22:13:20.123Z", second(0.123)),
        ("2024-02-29T00:00:00.000Z", 1_709_164_800_000_000),
        ("1969-12-31T23:59:59.999Z", -1000),
        # days
        ("2023-11-14", second(-80_000)),
        ("2024-02-29", 1_709_164_800_000_000),
        # T or a space, minutes or seconds
        ("2023-11-14T22:13", second(-20)),
        ("2023-11-14 22:13", second(-20)),
        ("2023-11-14T22:13:20", second(0)),
        ("2023-11-14 22:13:20", second(0)),
        ("2023-11-14T00:00", second(-80_000)),
        # fractions, cut off at microseconds
        ("2023-11-14T22:13:20.5", second(0.5)),
        ("2023-11-14 22:13:20.5Z", second(0.5)),
        ("2023-11-14T22:13:20.123456Z", second(0) + 123_456),
        ("2023-11-14T22:13:20.1234567Z", second(0) + 123_456),
        ("2023-11-14T22:13:20.123456999Z", second(0) + 123_456),
        ("1969-12-31T23:59:59.9999999Z", -1),
        # offsets
        ("2023-11-14T22:13Z", second(-20)),
        ("2023-11-14T22:13:20+00:00", second(0)),
        ("2023-11-14T22:13:20-00:00", second(0)),
        ("2023-11-15T01:13:20+03", second(0)),
        ("2023-11-15T03:43:20+0530", second(0)),
        ("2023-11-15T03:43:20.500+05:30", second(0.5)),
        ("2023-11-14T20:43:20-01:30", second(0)),
        ("2023-11-14 12:13:20-1000", second(0)),
        ("2023-11-15T22:12:20+23:59", second(0)),
        ("2023-11-14T22:13:20+0000", second(0)),
        # Go's
        ("2023-11-14 22:13:20 +0000 UTC", second(0)),
        ("2023-11-14 22:13:20.209808489 +0000 UTC", second(0) + 209_808),
        ("2023-11-14 22:13:20.209808489 +0000 UTC m=+70366.298768264", second(0) + 209_808),
        ("2023-11-14 22:13:20.5 +0000 UTC m=-0.000000001", second(0.5)),
        # the years 1 to 9999
        ("0001-01-01", FIRST),
        ("0001-01-01T00:00:00.000Z", FIRST),
        ("9999-12-31T23:59:59.999Z", LAST - 999),
        ("9999-12-31T23:59:59.999999999Z", LAST),
        ("9999-12-31T23:59:59+00:01", LAST - 60_999_999),
        # numbers: milliseconds, whatever their size
        (START_MS, second(0)),
        (float(START_MS), second(0)),
        (START_MS + 0.5, second(0) + 500),
        (START_MS + 0.0625, second(0) + 62),
        (1_700_000_000, 1_700_000_000_000),
        (0, 0),
        (-1, -1000),
        (0.001, 1),
        (FIRST // 1000, FIRST),
        (LAST // 1000, LAST - 999),
    ],
)
def test_timestamps(value: Any, expected: int) -> None:
    assert times.read(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        # no such day or time
        *("2023-02-30", "2023-02-29", "2023-13-01", "2023-00-10", "2023-11-00", "2023-11-31T00:00:00.000Z"),
        *("2023-11-14T24:00:00Z", "2023-11-14T24:00:00.000Z", "2023-11-14T22:60:00Z", "2023-11-14T22:13:60.000Z"),
        # outside the years 1 to 9999
        *("0000-01-01", "0000-12-31T23:59:59.999Z", "10000-01-01", "-001-01-01"),
        *("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"),
        *(FIRST // 1000 - 1, LAST // 1000 + 1, 10**15, -(10**15), 10**30, 1e300, float("inf"), float("nan")),
        # offsets
        *("2023-11-14T22:13:20+24:00", "2023-11-14T22:13:20+01:60", "2023-11-14T22:13:20+1", "2023-11-14T22:13:20+010"),
        *("2023-11-14T22:13:20 +01:00", "2023-11-14T22:13:20 Z", "2023-11-14Z", "2023-11-14+01:00"),
        *("2023-11-14T22:13:20UTC", "2023-11-14 22:13:20 +0100 CET", "2023-11-14 22:13:20 +0000 UTC m="),
        *("2023-11-14 UTC", "2023-11-14 22:13:20 +0000", "2023-11-14 22:13:20 UTC"),
        # other spellings
        *("", " ", "now", "yesterday", "2023", "2023-11", "20231114", "20231114T221320Z", "2023-1-1", "23-11-14"),
        *("2023-11-14T22", "2023-11-14T", "2023-11-14T22:13:20.", "2023-11-14T22:13:20.Z", "2023-11-14T22:13:2"),
        *("2023-11-14T22:13:20.1234567890Z", "2023-11-14T22:13.5Z", "2023-11-14T22:13:20,123Z"),
        *("2023-11-14t22:13:20Z", "2023-11-14T22:13:20z", "2023-11-14t22:13:20.000Z", "2023-11-14  22:13:20"),
        *(" 2023-11-14", "2023-11-14 ", "2023-11-14\n", "2023-11-14T22:13:20.000Z\n", "2023-11-14T22:13:20.000\0"),
        *("2023/11/14", "14.11.2023", "11/14/2023", "Tue, 14 Nov 2023 22:13:20 GMT", "2023-W46-2", "2023-318"),
        *("+2023-11-14T22:13:20.00Z", "2023-11--4T22:13:20.000Z", "2023-11- 4T22:13:20.000Z"),
        # other digits
        *("\uff12\uff10\uff12\uff13-11-14", "2023-11-1\u0664", "2023-11-14T22:13:20.00\u0660Z"),
        *("2023-11-14T22:1\u00b3:20.000Z", "\u0662023-11-14T22:13:20.00Z"),
        # a string of digits is not a time
        *(str(START_MS), "1700000000", "0"),
        # other types
        *(None, True, False, [], [START_MS], {}, {"$date": START_MS}),
    ],
)  # fmt: skip
def test_what_is_no_timestamp(value: Any) -> None:
    assert times.read(value) is None


def test_seconds_are_read_as_milliseconds() -> None:
    assert times.iso(Timestamp(times.read(1_700_000_000) or 0)) == "1970-01-20T16:13:20.000000Z"


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (FIRST, "0001-01-01T00:00:00.000000Z"),
        (LAST, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_iso(timestamp: int, expected: str) -> None:
    assert times.iso(Timestamp(timestamp)) == expected


@given(st.integers(FIRST, LAST))
def test_iso_is_read_back(timestamp: int) -> None:
    assert times.parse(times.iso(Timestamp(timestamp))) == timestamp


@given(st.integers(FIRST // 1000, LAST // 1000))
def test_milliseconds_and_their_iso_are_the_same_time(milliseconds: int) -> None:
    iso = times.iso(Timestamp(milliseconds * 1000))
    assert times.read(milliseconds) == times.parse(f"{iso[:23]}Z") == times.parse(iso) == milliseconds * 1000


@given(st.text(alphabet="0123456789-:.TZ +UCm=\n\u0660", max_size=40) | st.text(max_size=30))
def test_any_string_is_a_timestamp_in_range_or_none(string: str) -> None:
    timestamp = times.parse(string)
    assert timestamp is None or timestamp in TIMESTAMPS
