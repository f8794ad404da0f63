"""Every form of a timestamp, and what is none."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tables import TIMESTAMPS, Timestamp
from tests.transforms.core.calls import START_MS, second
from transforms.core import times

FIRST, LAST = TIMESTAMPS[0], TIMESTAMPS[-1]
START_S = START_MS // 1000


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
        ("2023-11-14  22:13:20", second(0)),
        ("2023/11/14", second(-80_000)),
        ("2023/11/14 22:13:20", second(0)),
        ("+002023-11-14T22:13:20.000Z", second(0)),
        ("20231114T221320Z", second(0)),
        ("20231114t221320.5+0100", second(-3600 + 0.5)),
        # in any case, with white space around it
        ("2023-11-14t22:13:20z", second(0)),
        ("2023-11-14t22:13:20.000Z", second(0)),
        (" 2023-11-14T22:13:20.000Z\n", second(0)),
        ("\u00a02023-11-14\u2003", second(-80_000)),
        ("2023-11-14 22:13:20 utc", second(0)),
        # fractions, cut towards the past at microseconds
        ("2023-11-14T22:13:20.5", second(0.5)),
        ("2023-11-14 22:13:20.5Z", second(0.5)),
        ("2023-11-14T22:13:20,123Z", second(0.123)),
        ("2023-11-14T22:13:20.123456Z", second(0) + 123_456),
        ("2023-11-14T22:13:20.1234567Z", second(0) + 123_456),
        ("2023-11-14T22:13:20.123456999999999999999999999999Z", second(0) + 123_456),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("0001-01-01T00:00:00.9999999", FIRST + 999_999),
        # a leap second
        ("2016-12-31T23:59:60Z", 1_483_228_799_999_999),
        ("2016-12-31T23:59:60.5Z", 1_483_228_799_999_999),
        ("2023-11-14T22:12:60.000Z", second(-20) - 1),
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
        ("2023-11-14T22:13:20UTC", second(0)),
        ("2023-11-14 22:13:20 GMT", second(0)),
        ("2023-11-14T22:13:20 Z", second(0)),
        ("2023-11-14T23:13:20 +01:00", second(0)),
        # what follows an offset
        ("2023-11-14 22:13:20 +0000 UTC", second(0)),
        ("2023-11-14 23:13:20 +0100 CET", second(0)),
        ("2023-11-14 23:13:20 +0100CET", second(0)),
        ("2023-11-14 22:13:20.209808489 +0000 UTC", second(0) + 209_808),
        ("2023-11-14 22:13:20.209808489 +0000 UTC m=+70366.298768264", second(0) + 209_808),
        ("2023-11-14 22:13:20.5 +0000 UTC m=-0.000000001", second(0.5)),
        ("2023-11-14T23:13:20+01:00 (Central European Time)", second(0)),
        ("2023-11-14T23:13:20+01:00[Europe/Berlin]", second(0)),
        ("2023-11-14T22:13:20Z[UTC]", second(0)),
        ("2023-11-14T22:13:20.000Z[Etc/UTC]", second(0)),
        # RFC 2822
        ("Tue, 14 Nov 2023 22:13:20 GMT", second(0)),
        ("Tue, 14 Nov 2023 23:13:20 +0100 (CET)", second(0)),
        ("14 nov 2023 22:13 utc", second(-20)),
        ("Wed, 1 Nov 2023 22:13:20 GMT", second(-13 * 86_400)),
        # JavaScript
        ("Tue Nov 14 2023 23:13:20 GMT+0100 (Central European Standard Time)", second(0)),
        ("Tue Nov 14 2023 14:13:20 GMT-0800", second(0)),
        # the years 1 to 9999
        ("0001-01-01", FIRST),
        ("0001-01-01T00:00:00.000Z", FIRST),
        ("9999-12-31T23:59:59.999Z", LAST - 999),
        ("9999-12-31T23:59:59.999999999Z", LAST),
        ("9999-12-31T23:59:59+00:01", LAST - 60_999_999),
        # numbers: by their magnitude
        (START_S, second(0)),
        (START_S + 0.5, second(0.5)),
        (float(START_S), second(0)),
        (0, 0),
        (-1, -1_000_000),
        (0.001, 1000),
        (0.0000019, 1),
        (-0.0000001, -1),
        (31_557_599_999, 31_557_599_999_000_000),
        (31_557_600_000, 31_557_600_000_000),
        (START_MS, second(0)),
        (float(START_MS), second(0)),
        (START_MS + 0.5, second(0) + 500),
        (START_MS + 0.0625, second(0) + 62),
        (-START_MS, -second(0)),
        (10**14 - 1, (10**14 - 1) * 1000),
        (10**14, 10**14),
        (second(0), second(0)),
        (10**17 - 1, 10**17 - 1),
        (10**17, 10**14),
        (second(0) * 1000 + 999, second(0)),
        (-(second(0) * 1000 + 1), -second(0) - 1),
        # strings that are numbers
        (str(START_S), second(0)),
        (f"{START_S}.5", second(0.5)),
        (f" {START_MS} ", second(0)),
        (f"{START_S}.1234569999999999999999999999", second(0) + 123_456),
        (f"000{START_S}", second(0)),
        ("0", 0),
        ("20231114", 20_231_114_000_000),
        ("2023", 2_023_000_000),
    ],
)
def test_timestamps(value: Any, expected: int) -> None:
    assert times.read(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        # no such day or time
        *("2023-02-30", "2023-02-29", "2023-13-01", "2023-00-10", "2023-11-00", "2023-11-31T00:00:00.000Z"),
        *("2023-11-14T24:00:00Z", "2023-11-14T24:00:00.000Z", "2023-11-14T22:60:00Z", "2023-11-14T22:13:61.000Z"),
        *("20231314T221320Z", "Tue, 31 Nov 2023 22:13:20 GMT", "Tue Feb 30 2023 22:13:20 GMT+0000"),
        # outside the years 1 to 9999
        *("0000-01-01", "0000-12-31T23:59:59.999Z", "10000-01-01", "-001-01-01", "+012023-11-14", "-002023-11-14"),
        *("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"),
        *(10**21, 10**30, 10**400, -(10**21), 1e300, float("inf"), float("nan"), "9" * 40, "9" * 10_000),
        # offsets
        *("2023-11-14T22:13:20+24:00", "2023-11-14T22:13:20+01:60", "2023-11-14T22:13:20+1", "2023-11-14T22:13:20+010"),
        *("2023-11-14Z", "2023-11-14+01:00", "2023-11-14 UTC", "2023-11-14T22:13:20+01:00:00"),
        # a zone that is ambiguous, or text after one that needs none
        *("2023-11-14 22:13:20 CET", "2023-11-14 22:13:20 EST", "Tue, 14 Nov 2023 22:13:20 EST"),
        *("2023-11-14T22:13:20ZZ", "2023-11-14T22:13:20Z[", "2023-11-14 22:13:20 UTC m=+1"),
        "2023-11-14 22:13:20 GMT+1",
        # other spellings
        *("", " ", ".", "now", "yesterday", "2023-11", "2023-1-1", "23-11-14", "2023-11/14", "2023/11-14"),
        *("2023-11-14T22", "2023-11-14T", "2023-11-14T22:13:20.", "2023-11-14T22:13:20.Z", "2023-11-14T22:13:2"),
        *("2023-11-14T22:13.5Z", "2023-11-14T 22:13:20", "20231114 221320", "2023-11-14T22:13:20.000\0"),
        *("14.11.2023", "11/14/2023", "03/04/2024", "2023-W46-2", "2023-318", "Nov 14, 2023", "14 Nov 23 22:13:20 GMT"),
        *("Tue Nov 14 2023 23:13:20", "Tue Nov 14 22:13:20 2023", "Tuesday, 14-Nov-23 22:13:20 GMT"),
        *("+2023-11-14T22:13:20.00Z", "2023-11--4T22:13:20.000Z", "2023-11- 4T22:13:20.000Z"),
        # other digits, and signs
        *("\uff12\uff10\uff12\uff13-11-14", "2023-11-1\u0664", "2023-11-14T22:13:20.00\u0660Z"),
        *("2023-11-14T22:1\u00b3:20.000Z", "\u0662023-11-14T22:13:20.00Z", "\u0661\u0667"),
        *("-1700000000", "+1700000000", "1.7e9", "1_700_000_000", "1.700.000", "0x10"),
        # other types
        *(None, True, False, [], [START_MS], {}, {"$date": START_MS}),
    ],
)  # fmt: skip
def test_what_is_no_timestamp(value: Any) -> None:
    assert times.read(value) is None


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


@given(st.integers(31_557_600_000, 10**14 - 1))
def test_milliseconds_and_their_iso_are_the_same_time(milliseconds: int) -> None:
    iso = times.iso(Timestamp(milliseconds * 1000))
    assert times.read(milliseconds) == times.parse(f"{iso[:23]}Z") == times.parse(iso) == milliseconds * 1000


@given(st.decimals(-(10**10), 10**10, places=12))
def test_seconds_are_cut_towards_the_past(seconds: Decimal) -> None:
    exact = math.floor(seconds * 1_000_000)
    assert times.read(float(seconds)) == math.floor(Decimal(str(float(seconds))) * 1_000_000)
    if not seconds.is_signed():
        assert times.read(format(seconds, "f")) == exact


@given(st.text(alphabet="0123456789-:.TZ +UCm=\n\u0660", max_size=40) | st.text(max_size=30))
def test_any_string_is_a_timestamp_in_range_or_none(string: str) -> None:
    timestamp = times.parse(string)
    assert timestamp is None or timestamp in TIMESTAMPS


_CLOCKS = st.builds(
    "{}T{}{}{}".format,
    st.sampled_from(["2026-03-01", "2024-02-29", "2023-02-29", "1970-01-01", "0001-01-01", "2026-3-01", "20260301"]),
    st.sampled_from(["00:00:00", "23:59:59", "23:59:60", "24:00:00", "12:60:00", "12:30", "1:30:00", "12:30:5"]),
    st.one_of(st.just(""), st.just("."), st.from_regex(r"[.,][0-9]{1,12}", fullmatch=True), st.just(".12²")),
    st.sampled_from(["Z", "+00:00", "z", "-00:00", "+01:00", "", "+0000", " Z"]),
)


@given(_CLOCKS)
def test_what_is_read_by_slices_is_read_as_every_form_is(clock: str) -> None:
    assert times.parse(clock) == times._any_form(clock)
