"""Section 1: times."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from fractions import Fraction

from judge.values import Json

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SECOND = 10**6


def microseconds(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1)


FIRST_TIME = microseconds(datetime(1, 1, 1, tzinfo=timezone.utc))
LAST_TIME = microseconds(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc))
FIRST_CALL = microseconds(datetime(1971, 1, 1, tzinfo=timezone.utc))

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MINUTES = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
SECONDS = "(?::(?P<second>[0-9]{2}))?"
FRACTION = "(?:[.,](?P<fraction>[0-9]+))?"
CLOCK = rf"{MINUTES}(?::(?P<second>[0-9]{{2}}){FRACTION})?"
# What follows a numeric offset is ignored, if it can be no part of the offset.
NUMERIC = r"(?P<sign>[+-])(?P<hours>[0-9]{2})(?::?(?P<minutes>[0-9]{2}))?(?:[\s\[(a-z].*)?"
OFFSET = rf"\s*(?:(?:z|utc|gmt)(?:\s*\[[^\]]*\])?|{NUMERIC})?"
WEEKDAY = "(?:mon|tue|wed|thu|fri|sat|sun)"
MONTH = f"(?P<month_name>{'|'.join(MONTHS)})"
DAY, YEAR = "(?P<day>[0-9]{1,2})", "(?P<year>[0-9]{4})"
FORMS = [
    re.compile(form, re.DOTALL)
    for form in (
        # 2024-03-01T12:00:00.123+01:00, 2024/03/01 12:00 UTC, 2024-03-01
        rf"(?:\+00)?{YEAR}(?P<dash>[-/])(?P<month>[0-9]{{2}})(?P=dash)(?P<day>[0-9]{{2}})(?:(?:t|\s+){CLOCK}{OFFSET})?",
        # 20240301T120000Z
        rf"{YEAR}(?P<month>[0-9]{{2}})(?P<day>[0-9]{{2}})t"
        rf"(?P<hour>[0-9]{{2}})(?P<minute>[0-9]{{2}})(?P<second>[0-9]{{2}}){FRACTION}{OFFSET}",
        # RFC 2822: Fri, 01 Mar 2024 12:00:00 +0000
        rf"(?:{WEEKDAY}\s*,\s*)?{DAY}\s+{MONTH}\s+{YEAR}\s+{MINUTES}{SECONDS}{OFFSET}",
        # JavaScript's Date.toString(): Fri Mar 01 2024 13:00:00 GMT+0100 (Central European Standard Time)
        rf"{WEEKDAY}\s+{MONTH}\s+{DAY}\s+{YEAR}\s+{MINUTES}{SECONDS}\s+gmt{NUMERIC}",
    )
]
NUMBER = re.compile(r"(?P<whole>[0-9]+)(?:\.(?P<fraction>[0-9]+))?")


def read_time(value: Json) -> int | None:
    """Microseconds since the epoch, None where the value is no time."""
    time: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        time = since_epoch(Fraction(value))
    elif isinstance(value, float) and math.isfinite(value):
        time = since_epoch(Fraction(repr(value)))  # the decimal that was sent, not the float's exact value
    elif isinstance(value, str):
        text = value.strip().lower()
        number = NUMBER.fullmatch(text)
        if number is None:
            time = parse_time(text)
        elif len(number["whole"].lstrip("0")) < 30:  # more would be no time, and more than Python reads
            whole, fraction = number["whole"].lstrip("0") or "0", (number["fraction"] or "0")[:30]
            time = since_epoch(Fraction(f"{whole}.{fraction}"))
    return time if time is not None and FIRST_TIME <= time <= LAST_TIME else None


def read_call_time(value: Json) -> int | None:
    """A time of a call: one before 1971 counts as absent."""
    time = read_time(value)
    return time if time is not None and time >= FIRST_CALL else None


def since_epoch(number: Fraction) -> int:
    """Microseconds since the epoch: the unit goes by the number's magnitude. Cut towards the past."""
    size = abs(number)
    if size < 31_557_600_000:  # seconds
        return math.floor(number * 10**6)
    if size < 10**14:  # milliseconds
        return math.floor(number * 10**3)
    if size < 10**17:  # microseconds
        return math.floor(number)
    return math.floor(number / 10**3)  # nanoseconds


def parse_time(text: str) -> int | None:
    matches = [match for match in (form.fullmatch(text) for form in FORMS) if match is not None]
    if not matches:
        return None
    part = {name: value for name, value in matches[0].groupdict().items() if value is not None}
    month = MONTHS.index(part["month_name"]) + 1 if "month_name" in part else int(part["month"])
    hour, minute, second = (int(part.get(name, "0")) for name in ("hour", "minute", "second"))
    hours, minutes = (int(part.get(name, "0")) for name in ("hours", "minutes"))
    fraction = int(part.get("fraction", "0")[:6].ljust(6, "0"))
    if second == 60:
        second, fraction = 59, 999_999
    if hours > 23 or minutes > 59:
        return None
    try:
        local = datetime(int(part["year"]), month, int(part["day"]), hour, minute, second, tzinfo=timezone.utc)
    except ValueError:  # no such day, or no such time of day
        return None
    offset = (hours * 60 + minutes) * 60 * SECOND
    return microseconds(local) + fraction - (-offset if part.get("sign") == "-" else offset)
