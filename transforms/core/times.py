"""Timestamps: the forms that a Segment call may carry, as microseconds since the epoch (`docs/semantics.md`, 1).

What Segment's libraries write is read by slices. Every other form is rare, and is read by one pattern for each.
"""

from __future__ import annotations

import functools
import re
from datetime import date
from decimal import Decimal
from typing import Final, cast

from msgspec import Raw

from schemas.tables import TIMESTAMPS, Timestamp

_EPOCH: Final = date(1970, 1, 1).toordinal()
_SECOND: Final = 1_000_000
_DAY: Final = 86_400 * _SECOND
_HOURS: Final = {f"{h:02}": h * 3600 * _SECOND for h in range(24)}
_MINUTES: Final = {f":{m:02}": m * 60 * _SECOND for m in range(60)}
_SECONDS: Final = {f":{s:02}": s * _SECOND for s in range(60)}
_MINUTES_OF_DAY: Final = [f"T{minute // 60:02}:{minute % 60:02}:" for minute in range(24 * 60)]
_MILLISECONDS_Z: Final = {f".{ms:03}Z": ms * 1000 for ms in range(1000)}

_FLAGS: Final = re.IGNORECASE | re.DOTALL
_MONTHS: Final = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DAYS: Final = "mon|tue|wed|thu|fri|sat|sun"
_NUMERIC: Final = r"(?P<sign>[+-])(?P<hours>[0-9]{2})(?::?(?P<minutes>[0-9]{2}))?(?:[\s(\[a-z].*)?"
"""An offset, and what may follow it: a zone's name, Go's monotonic clock, a comment, a bracketed zone."""
_OFFSET: Final = rf"(?:\s*(?:(?:z|utc|gmt)(?:\s*\[[^\]]*\])?|{_NUMERIC}))?"
_FRACTION: Final = r"(?:[.,](?P<fraction>[0-9]+))?"
_CLOCK: Final = rf"(?P<hour>[0-9]{{2}}):(?P<minute>[0-9]{{2}})(?::(?P<second>[0-9]{{2}}){_FRACTION})?"
_BASIC_CLOCK: Final = rf"(?P<hour>[0-9]{{2}})(?P<minute>[0-9]{{2}})(?P<second>[0-9]{{2}}){_FRACTION}"
_WHOLE_CLOCK: Final = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?P<fraction>))?"
_SHORT_DAY: Final = r"(?P<day>[0-9]{1,2})"
_NAMED_MONTH: Final = rf"(?P<month_name>{_MONTHS})"

_FORMS: Final = tuple(
    re.compile(form, _FLAGS)
    for form in (
        # ISO 8601, with dashes or slashes
        r"(?:\+00)?(?P<year>[0-9]{4})(?P<dash>[-/])(?P<month>[0-9]{2})(?P=dash)(?P<day>[0-9]{2})"
        rf"(?:(?:t|\s+){_CLOCK}{_OFFSET})?",
        # ISO 8601, basic
        rf"(?P<year>[0-9]{{4}})(?P<month>[0-9]{{2}})(?P<day>[0-9]{{2}})t{_BASIC_CLOCK}{_OFFSET}",
        # RFC 2822
        rf"(?:(?:{_DAYS})\s*,\s*)?{_SHORT_DAY}\s+{_NAMED_MONTH}\s+(?P<year>[0-9]{{4}})\s+{_WHOLE_CLOCK}{_OFFSET}",
        # JavaScript's Date.toString()
        rf"(?:{_DAYS})\s+{_NAMED_MONTH}\s+{_SHORT_DAY}\s+(?P<year>[0-9]{{4}})\s+{_WHOLE_CLOCK}\s+gmt{_NUMERIC}",
    )
)
_UTC: Final = re.compile(r"([0-9-]{10}T[0-9:]{5})(:[0-9]{2})(?:\.([0-9]+))?(?:Z|\+00:00)?")
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_UNITS: Final = ((31_557_600_000, 6), (10**14, 3), (10**17, 0))
"""(so many, decimals): a number below it counts in a unit that has so many decimals down to a microsecond: seconds,
milliseconds, microseconds; what is greater counts in nanoseconds."""
_MOST_DIGITS: Final = 30
"""No number of more digits is a time, in whatever unit."""


def read(value: object) -> Timestamp | None:
    """A JSON value, decoded, as a timestamp, or None where it is none: a string in one of the documented forms, or a
    number since the epoch, by its magnitude in seconds, milliseconds, microseconds or nanoseconds. What is finer than
    microseconds is cut towards the past."""
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 10**_MOST_DIGITS:
        return None
    if isinstance(value, int):
        us = _since_epoch(abs(value), "", negative=value < 0)
    else:
        us = _decimal_since_epoch(format(Decimal(str(abs(value))), "f"), negative=value < 0)
    return Timestamp(us) if us in TIMESTAMPS else None


def parse(string: str) -> Timestamp | None:
    """A string as a timestamp, or None. What Segment's libraries write, `2023-01-31T23:59:59.999Z`, is read by
    slices."""
    if len(string) == 24:
        try:
            return cast(
                Timestamp,
                _minute(string[:16]) + _SECONDS[string[16:19]] + _MILLISECONDS_Z[string[19:]],
            )
        except (KeyError, ValueError):
            pass
    us = _utc(string)
    return _any_form(string.strip()) if us is None else Timestamp(us)


def _utc(string: str) -> int | None:
    """A time of ISO 8601 in UTC with any fraction, as the libraries of Python and Go write it, or without a zone; None
    of any other."""
    match = _UTC.fullmatch(string)
    if match is None:
        return None
    try:
        return _minute(match[1]) + _SECONDS[match[2]] + int((match[3] or "")[:6].ljust(6, "0"))
    except (KeyError, ValueError):
        return None


def iso(timestamp: Timestamp) -> str:
    """A timestamp as RFC 3339 with microseconds, which `parse` reads back."""
    minutes, us = divmod(timestamp, 60 * _SECOND)  # a divisor of one digit of Python's, and so three times as fast
    day, minute = divmod(minutes, len(_MINUTES_OF_DAY))
    padded = str(100 * _SECOND + us)
    return f"{_date(day)}{_MINUTES_OF_DAY[minute]}{padded[1:3]}.{padded[3:]}Z"


def raw(timestamp: Timestamp) -> Raw:
    """The same as JSON."""
    return Raw(f'"{iso(timestamp)}"'.encode())


@functools.lru_cache(maxsize=65_536)
def _date(day: int) -> str:
    """The date `YYYY-MM-DD` of a day since the epoch; OverflowError or ValueError where it has none."""
    return date.fromordinal(_EPOCH + day).isoformat()


@functools.lru_cache(maxsize=65_536)
def _minute(string: str) -> int:
    """The minute `YYYY-MM-DDThh:mm`, UTC; ValueError or KeyError where it does not exist."""
    if string[10] != "T":
        raise ValueError(string)
    return _day(string[:10]) + _HOURS[string[11:13]] + _MINUTES[string[13:]]


def _day(string: str) -> int:
    """Midnight UTC of the day `YYYY-MM-DD`; ValueError where it does not exist."""
    year, month, day = string.split("-")
    if not (string.isascii() and year.isdigit() and month.isdigit() and day.isdigit()):
        raise ValueError(string)
    if (len(year), len(month)) != (4, 2):
        raise ValueError(string)
    return _midnight(int(year), int(month), int(day))


def _midnight(year: int, month: int, day: int) -> int:
    return (date(year, month, day).toordinal() - _EPOCH) * _DAY


def _any_form(text: str) -> Timestamp | None:
    try:
        us = _calendar_time(text)
    except ValueError:  # no such day or time of day
        return None
    if us is None:
        if not _NUMBER.fullmatch(text):
            return None
        us = _decimal_since_epoch(text, negative=False)
    return Timestamp(us) if us in TIMESTAMPS else None


def _calendar_time(text: str) -> int | None:
    """The time that a text in a form of a day and a clock gives, None where it has no such form; ValueError where there
    is no such time."""
    for form in _FORMS:
        if match := form.fullmatch(text):
            month = match.groupdict().get("month") or _month(match["month_name"])
            midnight = _midnight(int(match["year"]), int(month), int(match["day"]))
            return midnight + _clock(match) - _offset(match)
    return None


def _month(name: str) -> int:
    return _MONTHS.split("|").index(name.lower()) + 1


def _clock(match: re.Match[str]) -> int:
    """Microseconds since midnight. A leap second is the last microsecond of its minute."""
    if match["hour"] is None:
        return 0
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("no such time of day")
    minutes = (hour * 60 + minute) * 60 * _SECOND
    if second == 60:
        return minutes + 60 * _SECOND - 1
    return minutes + second * _SECOND + int((match["fraction"] or "")[:6].ljust(6, "0"))


def _offset(match: re.Match[str]) -> int:
    """Microseconds east of Greenwich."""
    if match["sign"] is None:
        return 0
    hours, minutes = int(match["hours"]), int(match["minutes"] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError("no such offset")
    offset = (hours * 60 + minutes) * 60 * _SECOND
    return offset if match["sign"] == "+" else -offset


def _decimal_since_epoch(number: str, *, negative: bool) -> int:
    """`_since_epoch` of a decimal number without a sign."""
    digits, _, fraction = number.partition(".")
    return _since_epoch(int(digits.lstrip("0")[: _MOST_DIGITS + 1] or 0), fraction, negative=negative)


def _since_epoch(whole: int, fraction: str, *, negative: bool) -> int:
    """Microseconds since the epoch of a number and the digits behind its point, by its magnitude; finer is cut towards
    the past."""
    decimals = next((decimals for limit, decimals in _UNITS if whole < limit), -3)
    if decimals < 0:
        us, finer = whole // 1000, whole % 1000 != 0 or fraction.strip("0") != ""
    else:
        us = whole * 10**decimals + int(fraction[:decimals].ljust(decimals, "0") or 0)
        finer = fraction[decimals:].strip("0") != ""
    return -us - finer if negative else us
