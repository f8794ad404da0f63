"""Section 1: a message that was read, and its fields."""

from __future__ import annotations

import functools
import json
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
    original_timestamp: int | None
    user_id: str | None
    anonymous_id: str | None
    previous_id: str | None  # alias only
    group_id: str | None  # a group call's groupId, else the context's
    project_id: str | None
    channel: str | None
    connection: ConnectionRules
    name: Json
    event: Json
    traits: Object
    properties: Object
    context: Object
    integrations: Object | None
    extra: Object | None  # of an event: its other fields

    @property
    def stamp(self) -> Stamp:
        return self.timestamp, self.message_id

    @property
    def id(self) -> str | None:
        """The id that the message's facts attach to; only a group call may have none."""
        return self.user_id or self.anonymous_id


def first_present(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def non_empty(value: Json) -> bool:
    return isinstance(value, str) and value != ""


@functools.lru_cache(maxsize=4096)
def plain(name: str) -> str:
    """A field's name without case, `_` and spaces."""
    return name.replace("_", "").replace(" ", "").lower()


def without_write_keys(value: Json) -> Json:
    """The value with null for that of each field `writeKey` in it, which is its sender's secret."""
    return json.loads(json.dumps(value), object_hook=write_key_to_null)


def write_key_to_null(fields: Object) -> Object:
    return {name: None if plain(name).replace("-", "") == "writekey" else value for name, value in fields.items()}


def spelling(item: Object, name: str) -> str | None:
    """How the item spells the field: as the spec does, else in the first other way. A null counts as absent."""
    if item.get(name) is not None:
        return name
    wanted = plain(name)
    return next((key for key, value in item.items() if value is not None and plain(key) == wanted), None)


def named(item: Object, name: str) -> Json:
    key = spelling(item, name)
    return None if key is None else item[key]
