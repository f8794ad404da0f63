"""Keyed hashes in the place of a person's ids (`docs/semantics.md`, section 7)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from schemas.segment import ALIAS, folded
from transforms.core import call_rows, ids, raw_json
from transforms.core.connections import DEFAULT
from transforms.core.named_ids import ALIAS_ID_FIELDS, ID_FIELDS
from transforms.core.raw_json import NULL, peek
from transforms.core.reader import Call, Reader, Received


def keyed_hash(id: str, key: bytes) -> str:
    """HMAC-SHA256 of the id in UTF-8, as 64 hexadecimal digits."""
    return hmac.new(key, id.encode(), hashlib.sha256).hexdigest()


def replaced(payload: str, hashes: Mapping[str, str]) -> str:
    """A logged call with hashes in the place of ids, by id, in each of its id fields; everything else stays as it was
    written. Raises msgspec.DecodeError where it is no JSON object."""
    fields = raw_json.decode_fields(payload)
    kind = peek(fields.get("type", NULL))
    names = ALIAS_ID_FIELDS if isinstance(kind, str) and kind.lower() == ALIAS else ID_FIELDS
    changed: dict[str, Raw] = {}
    for name, raw in fields.items():
        if folded(name) in names:
            value = raw_json.value(raw)
            new = _replaced(value, hashes)
            if new != value:
                changed[name] = Raw(msgspec.json.encode(new))
    return bytes(raw_json.encode({**fields, **changed})).decode() if changed else payload


def promoted(payload: str) -> str | None:
    """The column `promoted` of a logged call with this payload, as JSON; None where it has none."""
    (call,) = Reader.of(DEFAULT).read(Received(payload.encode(), connection=DEFAULT.connections[0].name))
    document = call_rows.promoted(call) if isinstance(call, Call) else None
    return None if document is None else bytes(document).decode()


def _replaced(value: Any, hashes: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_replaced(item, hashes) for item in value]
    if isinstance(value, dict):
        return {name: _replaced(item, hashes) for name, item in value.items()}
    try:
        id = ids.read(value)
    except ids.NotAnId:
        return value
    return value if id is None else hashes.get(id, value)
