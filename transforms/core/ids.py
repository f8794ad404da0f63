"""Ids of persons and accounts as they are read (`docs/semantics.md`, section 1)."""

from __future__ import annotations

from schemas.segment import PLACEHOLDER_IDS

_LONGEST_PLACEHOLDER = max(map(len, PLACEHOLDER_IDS))


_KINDS = {bool: "a boolean", list: "an array", dict: "an object"}


class NotAnId(ValueError):
    """The value is neither a string nor a whole number."""


def read(value: object) -> str | None:
    """A JSON value, decoded, as an id: a string without the white space around it, or a whole number's decimal string;
    None where it is null or a placeholder. Raises NotAnId for every other type."""
    if isinstance(value, str):
        return usable(value.strip())
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotAnId(f"{_KINDS.get(type(value), 'a number')} is no id")
    if isinstance(value, float) and not value.is_integer():
        raise NotAnId("a number with a fraction, or beyond floats, is no id")
    return usable(str(int(value)))


def usable(name: str) -> str | None:
    """The id, or None where it is a placeholder: a word that a sender's bug wrote, or zeros and dashes only."""
    if len(name) > _LONGEST_PLACEHOLDER and name[0] not in "0-'\"":
        return name
    bare = name.strip("'\"")
    return name if bare.strip("0-") and bare.lower() not in PLACEHOLDER_IDS else None
