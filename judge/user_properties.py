"""Section 4: Engage."""

from __future__ import annotations

from dataclasses import dataclass

from judge.ids import is_word
from judge.message import ReplayedMessage, non_empty
from judge.values import Json, Object

ENGAGE_CLASSES = ("audience", "trait", "computed_trait", "journey_step")
MEMBERSHIP_CLASSES = ("audience", "journey_step")
NOT_ENGAGE_PROPERTIES = ("email", "name", "user_id", "anonymous_id")


@dataclass(frozen=True)
class EngageProperty:
    """A property that Engage sets, of a person or of an account."""

    key: str  # as it was sent
    column: str  # snake-cased
    value: Json
    is_membership: bool  # of an audience or a journey step


def computation_class(message: ReplayedMessage) -> str | None:
    """The Engage class of an identify, a track or a group call, None for any other message."""
    personas = message.context.get("personas")
    class_ = personas.get("computation_class") if isinstance(personas, dict) else None
    return class_ if message.type in ("identify", "track", "group") and class_ in ENGAGE_CLASSES else None


def engage_property(message: ReplayedMessage) -> EngageProperty | None:
    """The property of the person, or for a group call of the account, that an Engage message sets."""
    class_ = computation_class(message)
    if class_ is None:
        return None
    holder = message.properties if message.type == "track" else message.traits
    key = engage_key(message, holder)
    if key is None:
        return None
    if key in holder:
        value = holder[key]
    elif class_ == "journey_step" and message.type != "group":
        value = True  # entered
    else:
        return None
    is_membership = class_ in MEMBERSHIP_CLASSES
    if is_membership and value in ("true", "false"):
        value = value == "true"
    return EngageProperty(key, snake_case(key), value, is_membership)


def engage_key(message: ReplayedMessage, holder: Object) -> str | None:
    """The key of the property, whether the holder has it or not."""
    computation_key = message.context["personas"].get("computation_key")
    if message.type == "track":
        candidates = (holder.get("audience_key"), holder.get("trait_key"), computation_key)
        return next((candidate for candidate in candidates if non_empty(candidate)), None)
    if isinstance(computation_key, str) and computation_key in holder:
        return computation_key
    others = [trait for trait in holder if trait not in NOT_ENGAGE_PROPERTIES]
    if len(others) == 1:
        return others[0]
    return computation_key if non_empty(computation_key) else None


def snake_case(name: str) -> str:
    """`Order Completed Last30Days` → `order_completed_last30_days`."""

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
