"""Section 4: columns made of traits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from judge.json_text import canonical
from judge.values import Json, Stamp

Value = TypeVar("Value")
StampedTraits = Mapping[str, tuple[Stamp, Json]]


def promoted(traits: StampedTraits, key: str, snake_key: str, read: Callable[[Json], Value | None]) -> Value | None:
    """The trait's value as `read` reads it. What it reads as None is as good as absent, and the next spelling counts:
    the spec's, snake case, then the others, the newest first."""

    def plain(other: str) -> str:
        return other.replace("_", "").replace("-", "").replace(" ", "").lower()

    def newness(other: str) -> tuple[Stamp, str]:
        stamp, value = traits[other]
        return stamp, canonical(value)

    others = sorted((other for other in traits if plain(other) == plain(key)), key=newness, reverse=True)
    for spelling in (key, snake_key, *others):
        value = read(traits[spelling][1]) if spelling in traits else None
        if value is not None:
            return value
    return None


def text(value: Json) -> str | None:
    """A text column: a string as it is, unless it is blank; a number or a boolean as its JSON text."""
    if isinstance(value, str):
        return value if value.strip() else None
    return canonical(value) if isinstance(value, (bool, int, float)) else None


def whole_number(value: Json) -> int | None:
    """`employees`: a whole number of 64 bits, `329.0` and `"329"` too."""
    if isinstance(value, str):
        digits = re.fullmatch("0*([0-9]{1,19})", value.strip())
        value = int(digits[1]) if digits is not None else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if -(2**63) <= value < 2**63 else None
