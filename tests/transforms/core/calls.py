"""Calls for tests: the smallest that are accepted, and how they are read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from schemas.tables import DeadLetter, Row, Timestamp
from tests.histories import Message, line
from transforms.core.connections import DEFAULT, AccountMapping, Connection, Connections
from transforms.core.facts import AccountKnown, Known, learn, learn_account, learned
from transforms.core.reader import Call, Reader, ReadOutcome, Received

START_MS = 1_700_000_000_000
START = "2023-11-14T22:13:20.000Z"

PAGE: Message = {"type": "page", "messageId": "m", "userId": "u", "timestamp": START}
SCREEN: Message = {**PAGE, "type": "screen"}
TRACK: Message = {**PAGE, "type": "track", "event": "E"}
IDENTIFY: Message = {**PAGE, "type": "identify"}
GROUP: Message = {**PAGE, "type": "group", "groupId": "acme"}
ALIAS: Message = {**PAGE, "type": "alias", "previousId": "a"}
DELETE: Message = {**PAGE, "type": "delete"}


def second(seconds: float) -> Timestamp:
    """That many seconds after the start."""
    return Timestamp(START_MS * 1000 + int(seconds * 1_000_000))


def without(message: Message, *fields: str) -> Message:
    return {name: value for name, value in message.items() if name not in fields}


def deep(levels: int) -> bytes:
    """An object of so many levels."""
    return b'{"k":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


def by(mapping: AccountMapping, **options: Any) -> Connections:
    """One connection with that way of mapping accounts."""
    return Connections(connections=(Connection("c", account_mapping=mapping),), **options)


def read_all(
    message: Message | list[Any] | bytes,
    connections: Connections = DEFAULT,
    *,
    published_at: Timestamp | None = None,
    attributes: Mapping[str, str] | None = None,
) -> list[ReadOutcome]:
    """What becomes of each call of a message."""
    payload = message if isinstance(message, bytes) else line(message)
    reader = Reader.of(connections)
    return list(reader.read(Received(payload, attributes or {}, published_at)))


def read(message: Message | bytes, connections: Connections = DEFAULT, **received: Any) -> ReadOutcome:
    """What becomes of a message that is one call."""
    (outcome,) = read_all(message, connections, **received)
    return outcome


def accepted(message: Message | bytes, connections: Connections = DEFAULT, **received: Any) -> Call:
    outcome = read(message, connections, **received)
    assert isinstance(outcome, Call), outcome
    return outcome


def refused(message: Message | bytes, connections: Connections = DEFAULT, **received: Any) -> DeadLetter:
    outcome = read(message, connections, **received)
    assert isinstance(outcome, DeadLetter), outcome
    return outcome


def columns(row: Row | Call, names: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row that `names` has, JSON as values."""
    return {name: plain(getattr(row, name)) for name in names}


def plain(value: Any) -> Any:
    if isinstance(value, Raw):
        return json.loads(bytes(value))
    if isinstance(value, tuple):
        return [msgspec.to_builtins(item) for item in value]
    return value


def known_of(
    messages: Iterable[Message], connections: Connections = DEFAULT
) -> tuple[dict[str, Known], dict[str, AccountKnown]]:
    """What the messages tell of ids, and of accounts."""
    persons: dict[str, Known] = {}
    accounts: dict[str, AccountKnown] = {}
    for message in messages:
        facts = learned(accepted(message, connections), connections)
        for person, known in facts.persons:
            learn(persons.setdefault(person, Known()), known)
        if facts.account is not None:
            learn_account(accounts.setdefault(facts.account[0], AccountKnown()), facts.account[1])
    return persons, accounts


def call(at: float, message: Message, /, **fields: Any) -> Message:
    """That call so many seconds after the start, its `messageId` the second unless told."""
    return {**message, "messageId": f"{at:03}", "timestamp": START_MS + int(at * 1000), **fields}
