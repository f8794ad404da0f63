"""Section 1 of docs/semantics.md: forms of a time."""

from __future__ import annotations

from typing import Any

import pytest

from judge.time_forms import read_call_time, read_time

NOON = 1_709_294_400_000_000  # 2024-03-01T12:00:00Z
SECOND = 1_000_000
HOUR = 3600 * SECOND

TIMES: list[tuple[Any, int | None]] = [
    # ISO 8601
    ("2024-03-01T12:00:00Z", NOON),
    ("2024-03-01t12:00:00z", NOON),
    ("2024-03-01 12:00:00", NOON),
    ("2024-03-01 \t12:00", NOON),
    ("2024/03/01 12:00:00", NOON),
    ("2024-03/01 12:00:00", None),
    ("2024-03-01", NOON - 12 * HOUR),
    ("2024/03/01", NOON - 12 * HOUR),
    (" 2024-03-01\n", NOON - 12 * HOUR),
    ("2024-03-01Z", None),
    ("2024-03-01-2024-03-05", None),
    ("+002024-03-01T12:00:00.000Z", NOON),
    ("-002024-03-01T12:00:00.000Z", None),
    ("+012024-03-01T12:00:00.000Z", None),
    ("20240301T120000", NOON),
    ("20240301t120000z", NOON),
    ("20240301T120000.5+0100", NOON - HOUR + SECOND // 2),
    ("20240301 120000", None),
    ("20240301T1200", None),
    # fractions and seconds
    ("2024-03-01T12:00:00.5", NOON + SECOND // 2),
    ("2024-03-01T12:00:00,123Z", NOON + 123_000),
    ("2024-03-01T12:00:00.123456789123456789Z", NOON + 123_456),
    ("2024-03-01T12:00:00.Z", None),
    ("2024-03-01T12:00.5Z", None),
    ("1969-12-31T23:59:59.9999999Z", -1),
    ("2024-03-01T12:00:60Z", NOON + 60 * SECOND - 1),
    ("2024-03-01T12:00:60.5Z", NOON + 60 * SECOND - 1),
    ("2024-03-01T12:00:61Z", None),
    ("2024-03-01T12:60:00Z", None),
    ("2024-03-01T24:00:00Z", None),
    ("2024-02-30", None),
    ("2024-3-1", None),
    ("2024-03-01T9:00:00Z", None),
    # offsets
    ("2024-03-01 12:00:00 UTC", NOON),
    ("2024-03-01 12:00:00utc", NOON),
    ("2024-03-01 12:00:00.5 GMT", NOON + SECOND // 2),
    ("2024-03-01T15:00:00+03", NOON),
    ("2024-03-01 13:00:00 +0100", NOON),
    ("2024-03-01T10:30:00-01:30", NOON),
    ("2024-03-01T12:00:00-00:00", NOON),
    ("2024-03-01T12:00:00+24:00", None),
    ("2024-03-01T12:00:00+01:60", None),
    ("2024-03-01T12:00:00+1:00", None),
    ("2024-03-01T12:00:00+01:005", None),
    ("2024-03-01T12:00:00+01:00:30", None),
    ("2024-03-01T12:00:00 UTC+01:00", None),
    # what follows them
    ("2024-03-01 12:00:00.5 +0000 UTC", NOON + SECOND // 2),
    ("2024-03-01 12:00:00 +0000 UTC m=+70366.298768264", NOON),
    ("2024-03-01 13:00:00 +0100 CET", NOON),
    ("2024-03-01 13:00:00+01:00[Europe/Berlin]", NOON),
    ("2024-03-01T12:00:00+00:00Z", NOON),
    ("2024-03-01T12:00:00Z[UTC]", NOON),
    ("2024-03-01T12:00:00 UTC [Etc/UTC]", NOON),
    ("2024-03-01T12:00:00Z CET", None),
    ("2024-03-01T12:00:00[Europe/Berlin]", None),
    ("2024-03-01 12:00:00 Europe/Berlin", None),
    ("2024-03-01 12:00:00 CET", None),
    # RFC 2822 and Date.toString()
    ("Fri, 01 Mar 2024 12:00:00 GMT", NOON),
    ("fri, 1 MAR 2024 12:00 +0000", NOON),
    ("1 Mar 2024 13:00:00 +0100 (CET)", NOON),
    ("Fri, 01 Mar 2024 12:00:00 EST", None),
    ("Fri, 32 Mar 2024 12:00:00 GMT", None),
    ("Fri, 01 Mär 2024 12:00:00 GMT", None),
    ("Friday, 01-Mar-24 12:00:00 GMT", None),
    ("Fri Mar 01 2024 13:00:00 GMT+0100 (Central European Standard Time)", NOON),
    ("Fri Mar 1 2024 12:00:00 gmt+0000", NOON),
    ("Fri Mar 01 2024 12:00:00", None),
    ("\u017fat, 02 Mar 2024 12:00:00 GMT", None),
    ("03/04/2024", None),
    ("01-Mar-2024", None),
    ("Jan 1 2024", None),
    ("now", None),
    # numbers
    (1_709_294_400, NOON),
    (1_709_294_400.5, NOON + SECOND // 2),
    ("1709294400", NOON),
    (" 1709294400.1234569 ", NOON + 123_456),
    ("0" * 5000 + "1709294400." + "9" * 5000, NOON + SECOND - 1),
    ("9" * 5000, None),
    ("0" * 1_000_000 + "x", None),  # read in no time, as is the next
    ("2024-03-01" + " " * 1_000_000 + "x", None),
    (1_709_294_400_000, NOON),
    (1_709_294_400_000.5, NOON + 500),
    ("1709294400000", NOON),
    (1_709_294_400_000_000, NOON),
    (1_709_294_400_000_000_999, NOON),
    (31_557_599_999, 31_557_599_999 * SECOND),
    (31_557_600_000, 31_557_600_000_000),
    (99_999_999_999_999, 99_999_999_999_999_000),
    (10**14, 10**14),
    (10**17 - 1, 10**17 - 1),
    (10**17, 10**14),
    (0, 0),
    (-1, -SECOND),
    (-0.0000001, -1),
    (-1_709_294_400_000, -NOON),
    ("-1709294400", None),
    ("1709294400.", None),
    (".5", None),
    ("1.7e9", None),
    ("1_709_294_400", None),
    ("١٧٠٩٢٩٤٤٠٠", None),
    # years
    ("0001-01-01", -62_135_596_800_000_000),
    ("0000-12-31", None),
    ("0001-01-01T00:00:00+00:01", None),
    ("9999-12-31T23:59:59.999999999Z", 253_402_300_799_999_999),
    ("9999-12-31T23:59:59-00:01", None),
    (10**30, None),
    (10**400, None),
    (1e300, None),
    (float("inf"), None),
    # no times
    (True, None),
    (None, None),
    ([], None),
    ("", None),
    (" ", None),
]


@pytest.mark.parametrize(("value", "expected"), TIMES, ids=[repr(value)[:60] for value, _ in TIMES])
def test_times(value: Any, expected: int | None) -> None:
    assert read_time(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1970-12-31T23:59:59.999999Z", None),
        ("1971-01-01T00:59:59+01:00", None),
        ("1971-01-01", 365 * 24 * HOUR),
        ("0001-01-01T00:00:00Z", None),
        ("1900-01-01", None),
        (0, None),
        (-5, None),
        ("soon", None),
    ],
)
def test_a_call_is_not_older_than_1971(value: Any, expected: int | None) -> None:
    assert read_call_time(value) == expected
