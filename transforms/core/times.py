"""Timestamps: the forms that a Segment call may carry, as microseconds since the epoch (`docs/semantics.md`, 1)."""

from __future__ import annotations

import functools
import re
from datetime import date, datetime, timedelta, timezone
from decimal import ROUND_FLOOR, Decimal
from typing import Final, cast

from schemas.tables import TIMESTAMPS, Timestamp

_EPOCH: Final = date(1970, 1, 1).toordinal()
_UTC_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_DAY: Final = 86_400_000_000
_HOURS: Final = {f"{h:02}": h * 3_600_000_000 for h in range(24)}
_MINUTES: Final = {f":{m:02}": m * 60_000_000 for m in range(60)}
_SECONDS: Final = {f":{s:02}": s * 1_000_000 for s in range(60)}
_MILLISECONDS_Z: Final = {f".{ms:03}Z": ms * 1000 for ms in range(1000)}

_FAR_MS: Final = 10**15
"""Milliseconds beyond the year 9999, of an exact float."""

_FORMS: Final = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<hour>[0-9]{2})(?P<minute>:[0-9]{2})(?:(?P<second>:[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?)?"
    r"(?P<offset>Z|[+-][0-9]{2}(?::?[0-9]{2})?| \+0000 UTC(?: m=[+-][0-9.]+)?)?)?"
)


def read(value: object) -> Timestamp | None:
    """A JSON value, decoded, as a timestamp, or None where it is none: a string in one of the documented forms, or a
    number, which is epoch milliseconds whatever its size. Finer than microseconds is cut off."""
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_FAR_MS < value < _FAR_MS:
        return None
    us = int((Decimal(str(value)) * 1000).to_integral_value(rounding=ROUND_FLOOR))
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
    return _any_form(string)


def iso(timestamp: Timestamp) -> str:
    """A timestamp as RFC 3339 with microseconds, which `parse` reads back."""
    return (_UTC_EPOCH + timedelta(microseconds=timestamp)).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


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
    return (date(int(year), int(month), int(day)).toordinal() - _EPOCH) * _DAY


def _any_form(string: str) -> Timestamp | None:
    form = _FORMS.fullmatch(string)
    if form is None:
        return None
    try:
        us = _day(form["day"])
        if form["hour"]:
            us += _HOURS[form["hour"]] + _MINUTES[form["minute"]] + _SECONDS[form["second"] or ":00"]
            us += int((form["fraction"] or "").ljust(6, "0")[:6])
            us -= _offset(form["offset"] or "Z")
    except (KeyError, ValueError):
        return None
    return Timestamp(us) if us in TIMESTAMPS else None


def _offset(offset: str) -> int:
    if offset == "Z" or offset.startswith(" "):
        return 0
    us = _HOURS[offset[1:3]] + _MINUTES[f":{offset[3:].lstrip(':') or '00'}"]
    return us if offset[0] == "+" else -us
