"""Engage: audiences, computed traits and journey steps as user properties (`docs/semantics.md`, section 4)."""

from __future__ import annotations

import functools
from typing import Final

import msgspec
from msgspec import Raw

from schemas.segment import GROUP, IDENTIFY, TRACK
from transforms.core import raw_json
from transforms.core.raw_json import NULL, is_object, peek
from transforms.core.reader import Call

_AUDIENCE, _JOURNEY_STEP = "audience", "journey_step"
_CLASSES: Final = frozenset({_AUDIENCE, _JOURNEY_STEP, "trait", "computed_trait"})
_PLAIN_TRAITS: Final = frozenset({"email", "name", "user_id", "anonymous_id"})
_BOOLEANS: Final = {"true": Raw(b"true"), "false": Raw(b"false")}


class Property(msgspec.Struct, frozen=True, gc=False):
    """A property of a user or an account that Engage sets: `sent_as` is the field that carried it, `name` is in snake
    case. `in_audience` tells whether it is a membership of an audience: `value` is then a boolean, or null, which ends
    the membership."""

    sent_as: str
    name: str
    value: Raw
    in_audience: bool


class _Personas(msgspec.Struct):
    computation_class: Raw = NULL
    computation_key: Raw = NULL


_read_personas: Final = msgspec.json.Decoder(_Personas).decode


def is_engage(call: Call) -> bool:
    """Whether an identify, track or group call comes from Engage."""
    return call.personas != NULL and _computation(call) is not None


def user_property(call: Call) -> Property | None:
    """The property that an Engage call sets: of a person, or of the account that a group call names. None where it
    names none or lacks the one that it names."""
    if call.personas == NULL:
        return None
    computation = _computation(call)
    if computation is None:
        return None
    kind, key = computation
    fields = raw_json.decode_fields(call.properties if call.type == TRACK else call.traits)
    sent_as = _track_property(fields, key) if call.type == TRACK else _trait(fields, key)
    enters = kind == _JOURNEY_STEP and call.type != GROUP
    if enters and sent_as is None:
        sent_as = key or None
    if sent_as is None or not (enters or sent_as in fields):
        return None
    value = fields.get(sent_as, _BOOLEANS["true"])
    is_audience = kind in (_AUDIENCE, _JOURNEY_STEP)
    if is_audience and bytes(value)[:1] == b'"':
        value = _BOOLEANS.get(str(peek(value)), value)
    return Property(sent_as, snake_case(sent_as), value, is_audience and bytes(value) in (b"true", b"false", b"null"))


def _computation(call: Call) -> tuple[str, str | None] | None:
    """(class, key) of an Engage call."""
    if call.type not in (IDENTIFY, TRACK, GROUP) or not is_object(call.personas):
        return None
    personas = _read_personas(call.personas)
    kind, key = peek(personas.computation_class), peek(personas.computation_key)
    if not isinstance(kind, str) or kind not in _CLASSES:
        return None
    return kind, key if isinstance(key, str) else None


def _trait(traits: dict[str, Raw], key: str | None) -> str | None:
    if key is not None and key in traits:
        return key
    others = [name for name in traits if name not in _PLAIN_TRAITS]
    return others[0] if len(others) == 1 else None


def _track_property(properties: dict[str, Raw], key: str | None) -> str | None:
    for field in ("audience_key", "trait_key"):
        name = peek(properties.get(field, NULL))
        if isinstance(name, str) and name:
            return name
    return key or None


@functools.lru_cache(maxsize=4096)
def snake_case(name: str) -> str:
    """`Order Completed Last30Days` is `order_completed_last30_days`."""
    words = "".join(char if _is_word(char) else " " for char in name)
    out = ""
    for before, char, after in zip(f".{words}", words, f"{words[1:]}.", strict=False):
        starts_word = before.islower() or before.isdecimal() or (before.isupper() and after.islower())
        if char != " ":
            out += ("_" if starts_word and char.isupper() else "") + char
        elif before != " ":
            out += "_"
    return out.lower()


def _is_word(char: str) -> bool:
    return char.isalpha() or char.isdecimal()
