"""Section 4: Engage."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from judge.message import ReplayedMessage, non_empty
from judge.values import Json

ENGAGE_CLASSES = ("audience", "trait", "computed_trait", "journey_step")
MEMBERSHIP_CLASSES = ("audience", "journey_step")
NOT_ENGAGE_PROPERTIES = ("email", "name", "user_id", "anonymous_id")


@dataclass(frozen=True)
class EngageProperty:
    """A user property that Engage sets."""

    key: str  # as it was sent
    column: str  # snake-cased
    value: Json
    is_membership: bool  # of an audience or a journey step


def computation_class(message: ReplayedMessage) -> str | None:
    """The Engage class of an identify or a track, None for any other message."""
    personas = message.context.get("personas")
    class_ = personas.get("computation_class") if isinstance(personas, dict) else None
    return class_ if message.type in ("identify", "track") and class_ in ENGAGE_CLASSES else None


def engage_property(message: ReplayedMessage) -> EngageProperty | None:
    """The user property that an Engage message sets, None where it sets none."""
    class_ = computation_class(message)
    if class_ is None:
        return None
    computation_key = message.context["personas"].get("computation_key")
    if message.type == "identify":
        holder = message.traits
        key = computation_key
        if not isinstance(key, str) or key not in holder:
            others = [trait for trait in holder if trait not in NOT_ENGAGE_PROPERTIES]
            key = others[0] if len(others) == 1 else None
    else:
        holder = message.properties
        candidates = (holder.get("audience_key"), holder.get("trait_key"), computation_key)
        key = next((candidate for candidate in candidates if non_empty(candidate)), None)
    if key is None or key not in holder:
        return None
    is_membership = class_ in MEMBERSHIP_CLASSES
    value = holder[key]
    if is_membership and value in ("true", "false"):
        value = value == "true"
    return EngageProperty(key, snake_case(key), value, is_membership)


def snake_case(name: str) -> str:
    """`Order Completed Last30Days` → `order_completed_last30_days`."""

    def is_word(character: str) -> bool:
        return unicodedata.category(character)[0] == "L" or character.isdecimal()

    joined = ""
    for character in name:
        if is_word(character):
            joined += character
        elif not joined.endswith("_"):
            joined += "_"
    separated = ""
    for before, character, after in zip(" " + joined, joined, joined[1:] + " ", strict=False):
        ends_word = before.islower() or before.isdecimal()
        ends_capitals = before.isupper() and after.islower()
        separated += "_" if character.isupper() and (ends_word or ends_capitals) else ""
        separated += character
    return separated.lower()
