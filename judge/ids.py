"""Section 1: ids."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from judge.values import Json

LONGEST_ID = 1024  # characters
PLACEHOLDERS = {
    *("", "null", "nullptr", "nil", "none", "nan", "na", "undefined", "undefinedundefined", "nullnull"),
    *("anonymous", "anonymousid", "anon", "guest", "unknown", "unidentified", "notauthenticated", "loggedout"),
    *("notset", "nouser", "userid", "distinctid", "uuid", "id", "email", "true", "false", "objectobject"),
}
ZEROS = re.compile("0+|0x0*")
TEMPLATES = [
    re.compile(template, re.DOTALL | re.IGNORECASE) for template in (r"\{\{.*\}\}", r"\$\{.*\}", r"<%.*%>", r"%7B.*%7D")
]


@dataclass(frozen=True)
class ReadId:
    """What a value names: an id, or nobody. `unusable` where it cannot be read as an id at all."""

    id: str | None
    unusable: bool = False


def is_word(character: str) -> bool:
    """Whether the character is a letter or a digit, in Unicode's sense."""
    return unicodedata.category(character)[0] == "L" or character.isdecimal()


def fold(id_: str) -> str:
    return "".join(character for character in id_ if is_word(character)).lower()


def is_placeholder(id_: str, own: Iterable[str]) -> bool:
    folded = fold(id_)
    return (
        folded in PLACEHOLDERS
        or folded in [fold(placeholder) for placeholder in own]
        or id_ == "-1"
        or ZEROS.fullmatch(folded) is not None
        or any(template.search(id_) for template in TEMPLATES)
    )


def read_id(value: Json, placeholder_ids: Iterable[str] = ()) -> ReadId:
    """`placeholder_ids` are the company's own."""
    if value is None:
        return ReadId(None)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return ReadId(None, unusable=True)
    id_ = value.strip()
    if len(id_) > LONGEST_ID:
        return ReadId(None, unusable=True)
    return ReadId(None if is_placeholder(id_, placeholder_ids) else id_)


def first_id(values: Iterable[Json], placeholder_ids: Iterable[str]) -> ReadId:
    """The first of the values that is an id; without one, unusable if one of the values is."""
    own = list(placeholder_ids)
    read = [read_id(value, own) for value in values]
    ids = [one for one in read if one.id is not None]
    return ids[0] if ids else ReadId(None, any(one.unusable for one in read))
