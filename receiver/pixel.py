"""Calls that come as the address of an image: from e-mails, and pages without JavaScript."""

from __future__ import annotations

import base64
import binascii
import uuid
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from receiver.envelope import NoCalls
from schemas.segment import WRITE_KEY
from transforms.core import raw_json

GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""One transparent dot."""
_DATA: Final = "data"
_MOST_FIELDS: Final = 500
_DEEPEST: Final = 20


class PixelCall(NamedTuple):
    """The call of an image's address: JSON, and the write key that came with it."""

    body: bytes
    write_key: bytes


def pixel_call(query: bytes) -> PixelCall:
    """The call that the query of an image's address describes: `data`, an object as JSON in base64, or its fields, with
    dots in the names of nested ones. Raises NoCalls.

    A call without `messageId` gets one: whoever opens an e-mail again does not repeat a delivery."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise NoCalls(str(error)) from None
    data = next((value for name, value in pairs if name == _DATA), None)
    call = _nested(pairs) if data is None else _decoded(data)
    write_key = call.pop(WRITE_KEY, None) or dict(pairs).get(WRITE_KEY)
    if not call.get("messageId"):
        call["messageId"] = f"pixel-{uuid.uuid4()}"
    try:
        body = msgspec.json.encode(call)
    except UnicodeEncodeError:  # half of a surrogate pair
        raise NoCalls("no text") from None
    return PixelCall(body, write_key.encode(errors="replace") if isinstance(write_key, str) else b"")


def _decoded(data: str) -> dict[str, Any]:
    data = data.replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        value = raw_json.value(base64.b64decode(data + "=" * (-len(data) % 4), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise NoCalls("data is not JSON in base64") from None
    if not isinstance(value, dict):
        raise NoCalls("data is not an object")
    return value


def _nested(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """`context.page.url=x` is `{"context": {"page": {"url": "x"}}}`. A field that is both a value and an object keeps
    what came first."""
    call: dict[str, Any] = {}
    for name, value in pairs:
        holder: Any = call
        *path, last = name.split(".", _DEEPEST)
        for key in path:
            holder = holder.setdefault(key, {}) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            holder.setdefault(last, value)
    return call
