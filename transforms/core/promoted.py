"""Traits as columns: the newest of each, and what a column takes from them (`docs/semantics.md`, sections 4 and 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Raw

from schemas.tables import INT64, Timestamp
from transforms.core import times
from transforms.core.facts import Stamp, Value
from transforms.core.raw_json import peek

Traits = Mapping[str, bytes]


def newest(values: Mapping[str, Value], after: Stamp | None = None) -> dict[str, bytes]:
    """The traits that stand, by name: those set after a stamp and not to null."""
    return {
        name: value
        for name, (stamp, value) in sorted(values.items())
        if value != b"null" and (after is None or stamp > after)
    }


def document(traits: Traits) -> Raw:
    """The traits as one JSON object, each value as it was written."""
    return Raw(msgspec.json.encode({name: Raw(value) for name, value in traits.items()}))


def string(traits: Traits, spellings: Iterable[str]) -> str | None:
    """The first of these traits that is present, where it is a string."""
    value = _first(traits, spellings)
    return value if isinstance(value, str) else None


def timestamp(traits: Traits, spellings: Iterable[str]) -> Timestamp | None:
    """The first of these traits that is present, where it reads as a timestamp."""
    name = next((name for name in spellings if name in traits), None)
    return None if name is None else times.read(peek(Raw(traits[name])))


def integer(traits: Traits, spellings: Iterable[str]) -> int | None:
    """The first of these traits that is present, where it is a whole number of at most 64 bits."""
    value = _first(traits, spellings)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value) if int(value) in INT64 else None


def _first(traits: Traits, spellings: Iterable[str]) -> object:
    name = next((name for name in spellings if name in traits), None)
    return None if name is None else peek(Raw(traits[name]))
