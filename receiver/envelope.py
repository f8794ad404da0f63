"""From the body of a request to the messages that are stored: the calls as they were sent, in an envelope.

A call is changed in two ways only, and in the same way each time it comes, since its canonical JSON may be its id: a
single call without a type gets that of its path, and the values of fields named `writeKey` become null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw

from receiver.sink import Message
from schemas.segment import BATCH_DEFAULTS
from transforms.core import fields, raw_json, secrets
from transforms.core.dead_letters import Refused
from transforms.core.fields import OBJECTS, MessageFields
from transforms.core.raw_json import EMPTY, NULL

MAX_MESSAGE_BYTES: Final = 1_000_000
"""What a message has at most, unless one call alone has more."""
_MAX_MENDED_BYTES: Final = 1_000_000
"""In a body up to this size a call that no parser takes costs its siblings nothing. To find that out takes a second for
each megabyte, so that a longer one counts as no JSON; the job, which gets its bytes, takes the time."""
_check_syntax: Final = msgspec.json.Decoder(Raw).decode
_ARRAY: Final = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder(parse_int=len, parse_float=len)
_HEAD: Final = b'{"batch":['
_RECEIVED_AT: Final = "receivedAt"
_TAIL: Final = b'],"receivedAt":"', b'"}'
_CONTEXT: Final = "context"

Parsed = MessageFields | list[Raw]

Defaults = dict[str, Raw]
"""What a batch has for each of its calls: `sentAt`, `receivedAt`, `context`, `integrations`."""


class NoCalls(Exception):
    """A body that is no JSON, or neither an object nor an array."""


class Document(msgspec.Struct, frozen=True, gc=False):
    """What a body holds. `calls` are as they were sent; `write_key` is that of the batch or of the single call."""

    calls: Sequence[bytes | Raw]
    defaults: Defaults
    write_key: bytes | None = None
    is_array: bool = False


def parse(body: bytes) -> Parsed:
    """The fields of an object, or the items of an array. Raises NoCalls."""
    try:
        if len(body) > _MAX_MENDED_BYTES:
            _check_syntax(body)
        return fields.parse(body)
    except Refused as refused:
        raise NoCalls(refused.detail) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise NoCalls(str(error)) from None


def read_document(body: bytes, call_type: str | None = None) -> Document:
    """The calls in a body: one, those of an array, or those of a batch. Raises NoCalls.

    `call_type` is written into a single call that has none."""
    return document(body, parse(body), call_type)


def document(body: bytes, parsed: Parsed, call_type: str | None) -> Document:
    """The same of a body that is parsed. Raises NoCalls."""
    if isinstance(parsed, list):
        return Document(parsed, {}, is_array=True)
    write_key = None if parsed.writeKey is NULL else _text(parsed.writeKey)
    if parsed.batch is NULL or not raw_json.is_array(parsed.batch):
        return Document([_with_type(body, parsed, call_type)], {}, write_key)
    try:
        return Document(fields.items(parsed.batch), _defaults(parsed), write_key)
    except Refused as refused:
        raise NoCalls(refused.detail) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise NoCalls(str(error)) from None


def message_of_call(connection: str, body: bytes, parsed: Parsed, call_type: str, received_at: str) -> Message | None:
    """The message of a body that is one call, as `document` and `messages` make it, at the speed that the commonest
    request needs. None of any other body."""
    if isinstance(parsed, list) or parsed.batch is not NULL:
        return None
    return _message(connection, _with_type(body, parsed, call_type), received_at.encode().join(_TAIL))


def first_element(body: bytes) -> bytes | None:
    """The first element of an array as it was sent, None of what has none. The others may be anything: this costs what
    the first does."""
    start = _ARRAY.match(body)
    if start is None:
        return None
    text = body.decode("latin-1")  # a character a byte: JSON's own are ASCII
    try:
        _, end = _DECODER.raw_decode(text, start.end())
    except (ValueError, RecursionError):
        return None
    return body[start.end() : end]


def _text(raw: Raw) -> bytes | None:
    value = raw_json.peek(raw)
    return value.encode(errors="replace") if isinstance(value, str) and value else None


def _defaults(batch: MessageFields) -> Defaults:
    """As they were sent; what is no object counts as absent."""
    defaults: Defaults = {}
    for name in BATCH_DEFAULTS:
        value = getattr(batch, name)
        if name in OBJECTS:
            if value is not EMPTY and raw_json.is_object(value):
                defaults[name] = value
        elif value is not None:
            defaults[name] = Raw(msgspec.json.encode(value))
    return defaults


def _with_type(call: bytes, parsed: MessageFields, call_type: str | None) -> bytes:
    """The call; where it has no type, with the given one, at its end: of a repeated field the last counts."""
    if parsed.type or call_type is None:
        return call
    call = call.strip()
    comma = b"," if call[1:-1].strip() else b""
    return b'%b%b"type":"%b"}' % (call[:-1], comma, call_type.encode())


def with_device(defaults: Defaults, address: str | None, user_agent: str | None) -> Defaults:
    """The defaults, with the address and the program of a browser in their context, unless the browser gave them."""
    context = defaults.get(_CONTEXT, EMPTY)
    try:
        given = raw_json.decode_fields(context)
    except RecursionError:
        return defaults
    device = {
        name: Raw(msgspec.json.encode(value))
        for name, value in (("ip", address), ("userAgent", user_agent))
        if value and given.get(name, NULL) == NULL
    }
    return {**defaults, _CONTEXT: raw_json.encode({**given, **device})} if device else defaults


def messages(
    connection: str, calls: Sequence[bytes | Raw], defaults: Defaults, received_at: str, *, keep_receipt: bool = False
) -> list[Message]:
    """One message of all calls, or several where they come to more than a megabyte. `received_at` stands in each; with
    `keep_receipt` only where the sender gives none."""
    if not defaults:  # as of a single call: a time needs no escapes
        tail = received_at.encode().join(_TAIL)
    else:
        if not (keep_receipt and _RECEIVED_AT in defaults):
            defaults = {**defaults, _RECEIVED_AT: Raw(msgspec.json.encode(received_at))}
        tail = b"]," + bytes(raw_json.encode(defaults))[1:]
    if len(calls) == 1:
        return [_message(connection, calls[0], tail)]
    return [_message(connection, b",".join(part), tail) for part in split(calls, len(_HEAD) + len(tail))]


def _message(connection: str, calls: bytes | Raw, tail: bytes) -> Message:
    payload = secrets.redacted_json(b"".join((_HEAD, calls, tail)))
    return Message(connection=connection, payload=payload)


def split(calls: Sequence[bytes | Raw], overhead: int) -> list[Sequence[bytes | Raw]]:
    """All calls, in their order, in parts that with `overhead` come to a megabyte at most. Where the overhead is more
    than half of that, a part has as much again: all parts together come to little more than twice what was sent."""
    room = max(MAX_MESSAGE_BYTES - overhead, overhead)
    if sum(map(len, calls)) + len(calls) <= room:
        return [calls] if calls else []
    parts: list[Sequence[bytes | Raw]] = []
    part: list[bytes | Raw] = []
    size = 0
    for call in calls:
        if part and size + len(call) + 1 > room:
            parts.append(part)
            part, size = [], 0
        part.append(call)
        size += len(call) + 1
    parts.append(part)
    return parts


def unreadable(connection: str, body: bytes) -> Message:
    """The message of a body that is no call: its bytes, but for its sender's key."""
    return Message(connection=connection, payload=secrets.redacted(body))
