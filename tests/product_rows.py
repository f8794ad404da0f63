"""The product's rows in the shape of the judge's, to compare them."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from judge import Config
from schemas.tables import Row
from tests.histories import Message, line
from transforms.core import call_rows
from transforms.core.connections import Connections
from transforms.core.facts import Learned, learned
from transforms.core.reader import Call, Reader, Received


def connections(config: Config) -> Connections:
    """The judge's configuration as the product reads it."""
    return msgspec.convert(config.document(), Connections)


def plain(row: Row, *besides: str) -> dict[str, Any]:
    """A row as the judge has it: JSON as values, lists for tuples, and nothing that tells when it was written."""
    return {name: _value(getattr(row, name)) for name in row.__struct_fields__ if name not in ("updated_at", *besides)}


def _value(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value))
    if isinstance(value, tuple):
        return [
            {name: getattr(each, name) for name in each.__struct_fields__} if isinstance(each, Row) else each
            for each in value
        ]
    return value


def facts(message: Message, config: Connections) -> list[Learned]:
    """What each identity call of a message says."""
    outcomes = Reader.of(config).read(Received(line(message)))
    return [
        learned(outcome, config)
        for outcome in outcomes
        if isinstance(outcome, Call) and call_rows.is_identity_call(outcome)
    ]
