"""An event as it crosses a shuffle: what its row shares with its message goes once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import astuple

from schemas.tables import Event, Timestamp
from transforms.core.rows import Append


class PackedEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An `Append` of an event. `columns` are the row's. JSON that stands in the message is its place in it,
    `(start, length)`: `(9, 12)` is `message[9:21]`. Other JSON, which the call inherited from its batch, is bytes."""

    message: bytes
    columns: list[Any]
    outcome: str | None
    attributes: Mapping[str, str] = {}
    published_at: int | None = None
    inherited: str | None = None
    size: int = 0


def pack(append: Append) -> PackedEvent:
    """Packs an event; `unpack` gives it back."""
    message = append.message
    columns = [_place(value, message) if isinstance(value, Raw) else value for value in astuple(append.row)]
    kept = append.attributes, append.published_at, append.inherited, append.size
    return PackedEvent(message, columns, append.outcome, *kept)


def unpack(packed: PackedEvent) -> Append:
    """The event that was packed."""
    row = Event(*(_json(value, packed.message) for value in packed.columns))
    published_at = None if packed.published_at is None else Timestamp(packed.published_at)
    kept = packed.attributes, published_at, packed.inherited, packed.size
    return Append(row, packed.outcome, packed.message, *kept)


def _place(json: Raw, message: bytes) -> tuple[int, int] | bytes:
    start = message.find(json)
    return bytes(json) if start < 0 else (start, len(json))


def _json(value: Any, message: bytes) -> Any:
    """A column's value; only JSON is packed as a place or as bytes."""
    if isinstance(value, bytes):
        return Raw(value)
    if isinstance(value, (list, tuple)):
        start, length = value
        return Raw(message[start : start + length])
    return value
