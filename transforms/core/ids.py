"""Ids of persons and accounts as they are read (`docs/semantics.md`, section 1)."""

from __future__ import annotations

import functools
import re
from typing import Final

from schemas.segment import MAX_ID_CHARACTERS, PLACEHOLDER_IDS

_KINDS: Final = {bool: "a boolean", list: "an array", dict: "an object"}
_ZEROS: Final = re.compile(r"0+|0x0*")
"""A zero of any length, folded: `0`, `00000000-0000-0000-0000-000000000000`, `0x000`."""
_TEMPLATE: Final = re.compile(r"\{\{.*\}\}|\$\{.*\}|<%.*%>|%7B.*%7D", re.IGNORECASE | re.DOTALL)
"""What a template engine should have filled in: `{{userId}}`, `${id}`, `<%= id %>`, `%7Bid%7D`."""
is_ordinary: Final = re.compile(r"[A-Za-z0-9@._-]*[1-9][A-Za-z0-9@._-]*").fullmatch
"""Matches what is no placeholder of the contract but for `-1`: they have no other digit than zero, or other
characters."""


class NotAnId(ValueError):
    """The value cannot be an id: it is neither a string nor a whole number, or is too long."""


def read(value: object, placeholders: frozenset[str] = PLACEHOLDER_IDS) -> str | None:
    """A JSON value, decoded, as an id: a string without the white space around it, or a whole number's decimal string;
    None where it is null or a placeholder. Raises NotAnId for every other value."""
    if isinstance(value, str):
        name = value.strip()
    elif value is None:
        return None
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise NotAnId(f"{_KINDS.get(type(value), 'a number')} is not an id")
    elif isinstance(value, float) and not value.is_integer():
        raise NotAnId("a number with a fraction, or beyond floats, is not an id")
    else:
        name = str(int(value))
    if len(name) > MAX_ID_CHARACTERS:
        raise NotAnId(f"{len(name)} characters are too long for an id")
    return None if is_placeholder(name, placeholders) else name


def is_placeholder(name: str, placeholders: frozenset[str] = PLACEHOLDER_IDS) -> bool:
    """Whether an id names nobody: a word that a sender's bug wrote, zeros, or a template that was never filled in.
    `placeholders` are folded."""
    if are_of_the_contract(placeholders) and name != "-1" and is_ordinary(name):
        return False
    key = folded(name)
    return (
        key in placeholders or _ZEROS.fullmatch(key) is not None or name == "-1" or _TEMPLATE.search(name) is not None
    )


def are_of_the_contract(placeholders: frozenset[str]) -> bool:
    """Whether these placeholders, as `placeholders` gives them, are the contract's alone. It does not ask whether they
    are the same object: in a job they are a copy."""
    return len(placeholders) == len(PLACEHOLDER_IDS)


def folded(name: str) -> str:
    """The letters and digits of an id, in lower case: `Not-Set` and `(not set)` are `notset`."""
    if name.isalnum() and name.isascii():
        return name.lower()
    return "".join(character for character in name if character.isalpha() or character.isdecimal()).lower()


@functools.lru_cache(maxsize=16)
def placeholders(configured: tuple[str, ...]) -> frozenset[str]:
    """Every placeholder, folded: those of the contract, and a company's own."""
    return PLACEHOLDER_IDS.union(map(folded, configured)) if configured else PLACEHOLDER_IDS
