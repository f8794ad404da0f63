"""Section 1: times."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from judge.values import Json

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SECOND = 10**6


def microseconds(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1)


FIRST_TIME = microseconds(datetime(1, 1, 1, tzinfo=timezone.utc))
LAST_TIME = microseconds(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc))
DATE = r"(?P<date>\d{4}-\d\d-\d\d)"
CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d)"
SECONDS = r":(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?"
OFFSET = r"(?:Z|(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d))?)"
ISO_TIME = re.compile(f"{DATE}(?:[T ]{CLOCK}(?:{SECONDS})?{OFFSET}?)?", re.ASCII)
GO_TIME = re.compile(rf"{DATE} {CLOCK}{SECONDS} \+0000 UTC(?: m=[+-]\d+\.\d+)?", re.ASCII)


def read_time(value: Json) -> int | None:
    """Microseconds since the epoch, None where the value is no time. A number counts milliseconds."""
    time = None
    if isinstance(value, int) and not isinstance(value, bool):
        time = value * 1000
    elif isinstance(value, float) and math.isfinite(value):
        time = math.trunc(Decimal(repr(value)) * 1000)
    elif isinstance(value, str):
        time = parse_time(value)
    return time if time is not None and FIRST_TIME <= time <= LAST_TIME else None


def parse_time(text: str) -> int | None:
    match = ISO_TIME.fullmatch(text) or GO_TIME.fullmatch(text)
    if match is None:
        return None
    part = {"sign": "+", **{name: value for name, value in match.groupdict().items() if value is not None}}
    number = {name: int(part.get(name, "0")) for name in ("hour", "minute", "second", "hours", "minutes")}
    if number["hours"] > 23 or number["minutes"] > 59:
        return None
    try:
        day = datetime.strptime(part["date"], "%Y-%m-%d")
        local = day.replace(hour=number["hour"], minute=number["minute"], second=number["second"], tzinfo=timezone.utc)
    except ValueError:  # no such day, or no such time of day
        return None
    fraction = int(part.get("fraction", "0").ljust(9, "0")) // 1000
    offset = (number["hours"] * 60 + number["minutes"]) * 60 * SECOND
    return microseconds(local) + fraction - (offset if part["sign"] == "+" else -offset)
