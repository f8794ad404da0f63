"""Section 1: a message that was read, and its fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from judge.configuration import ConnectionRules
from judge.values import Json, Object, Stamp

DEEPEST = 500  # levels of a message, itself the first


class RefusedError(Exception):
    """The message is a dead letter, for this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class ReplayedMessage:
    """One message as section 1 reads it."""

    type: str
    message_id: str
    timestamp: int
    received_at: int
    sent_at: int | None
    user_id: str | None
    anonymous_id: str | None
    previous_id: str | None  # alias only
    group_id: str | None  # a group call's groupId, else the context's
    connection: ConnectionRules
    name: Json
    event: Json
    traits: Object
    properties: Object
    context: Object
    integrations: Object | None

    @property
    def stamp(self) -> Stamp:
        return self.timestamp, self.message_id

    @property
    def id(self) -> str:
        """The id that the message's facts attach to."""
        sent_with = self.user_id or self.anonymous_id
        if sent_with is None:
            raise ValueError("no message is accepted without an id")
        return sent_with


def first_present(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def non_empty(value: Json) -> bool:
    return isinstance(value, str) and value != ""


def named(item: Object, name: str) -> Json:
    """The field of that name: as the spec writes it, else the first in another spelling. A null counts as absent."""

    def plain(key: str) -> str:
        return key.replace("_", "").replace(" ", "").lower()

    others = [value for key, value in item.items() if plain(key) == plain(name)]
    return first_present(item.get(name), *others)
