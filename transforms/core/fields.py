"""The fields of a message under the Segment spec's names, in one parse (`docs/semantics.md`, section 1).

An ordinary call is read in one step. One with other fields, or with other spellings of their names, is decoded
field by field and put under the names of the spec.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Any, Final

import msgspec
from msgspec import Raw

from schemas.segment import ALIAS_FIELDS, BATCH, FIELDS, MAX_DEPTH, OTHER_FIELDS, WRITE_KEY, folded
from transforms.core import raw_json
from transforms.core.dead_letters import Reason, Refused
from transforms.core.raw_json import EMPTY, NULL, is_array, peek


class MessageFields(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields of a message, null where one is absent. Scalars are decoded, objects are as they were written."""

    type: Any = None
    messageId: Any = None  # noqa: N815
    userId: Any = None  # noqa: N815
    anonymousId: Any = None  # noqa: N815
    previousId: Any = None  # noqa: N815
    groupId: Any = None  # noqa: N815
    projectId: Any = None  # noqa: N815
    timestamp: Any = None
    originalTimestamp: Any = None  # noqa: N815
    sentAt: Any = None  # noqa: N815
    receivedAt: Any = None  # noqa: N815
    event: Any = None
    name: Any = None
    traits: Raw = EMPTY
    properties: Raw = EMPTY
    context: Raw = EMPTY
    integrations: Raw = NULL
    batch: Raw = NULL
    _metadata: Raw = NULL
    category: Raw = NULL
    channel: Any = None
    version: Raw = NULL
    writeKey: Raw = NULL  # noqa: N815
    to: Any = None
    """An alias's other name for `userId`, as `from_` is for `previousId`; set in any spelling."""
    from_: Any = msgspec.field(default=None, name="from")


class SpelledFields(MessageFields, gc=False):
    """The fields of a message that has others than the spec's, or other spellings of their names. `written` are all of
    them as they stand there; `written_as` has the name that each field was read from, by its name in the spec."""

    written: Mapping[str, Raw] = {}
    written_as: Mapping[str, str] = {}


OBJECTS: Final = frozenset({"traits", "properties", "context", "integrations"})
_RAW: Final = OBJECTS | OTHER_FIELDS | {"category"}
_WRITTEN: Final = {**{name: name for name in OTHER_FIELDS.union(FIELDS)}, "from": "from_", "to": "to"}
_FOLDED: Final = {folded(name): name for name in (*FIELDS, BATCH, WRITE_KEY)}
_ALIAS: Final = {folded(other): "from_" if other == "from" else other for other in ALIAS_FIELDS.values()}
_SPEC: Final = {"from_": "from"}
_NO_ITEMS: Final = Raw(b"[]")
SHORTEST_TOO_DEEP: Final = 2 * MAX_DEPTH
"""JSON of fewer bytes cannot be nested too deep: each level takes two."""
_OF_HALVES: Final = re.compile("truncated|surrogate")
"""What the parser says of half a surrogate pair: near the end of a message, that it is truncated."""
_decode: Final = msgspec.json.Decoder(MessageFields).decode


def parse(message: bytes, *, batches: bool = True) -> MessageFields | list[Raw]:
    r"""The fields of an object, or the items of an array. Raises Refused (invalid_json) for everything else.

    A bad item of an array is no error here, nor, where `batches`, one of a batch: `[{"a":"\ud800"}, {}]` has two items,
    and `parse_item` refuses the first. Of a call that is nested too deep come the fields of its outline: enough to
    refuse it for its depth, with its type and its id.
    """
    try:
        return _decode_message(message)
    except UnicodeDecodeError as error:
        raise _invalid_json(error, message) from None
    except (msgspec.DecodeError, RecursionError) as error:
        outline = raw_json.outline(message)
        if outline == message:
            raise _invalid_json(error, message) from None
        problem = error
    parsed = _decode_or_refuse(outline)
    if isinstance(parsed, list):
        return raw_json.as_written(message, outline, parsed)
    if batches and is_array(parsed.batch) and parsed.batch != _NO_ITEMS:
        return _decode_around_batch(message, outline, parsed.batch)
    if isinstance(problem, RecursionError) and raw_json.depth(message) > MAX_DEPTH:
        return parsed
    raise _invalid_json(problem, message)


def _decode_message(message: bytes) -> MessageFields | list[Raw]:
    """Raises UnicodeDecodeError, msgspec.DecodeError or RecursionError."""
    if not message.isascii():
        message.decode()
    try:
        return _decode(message)
    except msgspec.ValidationError:
        if message.lstrip(b" \t\r\n")[:1] == b"[":
            return raw_json.decode_items(message)
        return spelled(raw_json.decode_fields(message))


def _decode_or_refuse(document: bytes) -> MessageFields | list[Raw]:
    try:
        return _decode_message(document)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise _invalid_json(error, document) from None


def _invalid_json(error: Exception, document: bytes) -> Refused:
    if isinstance(error, UnicodeDecodeError):
        return Refused(Reason.INVALID_JSON, f"not UTF-8 at byte {error.start}")
    if _OF_HALVES.search(str(error)) and raw_json.holds_half_surrogate(document):
        return Refused(Reason.INVALID_JSON, "a string holds half of a surrogate pair")
    return Refused(Reason.INVALID_JSON, str(error))


def _decode_around_batch(message: bytes, outline: bytes, batch: Raw) -> MessageFields | list[Raw]:
    """The fields of a message with a batch that no parser takes: `{"batch":[],...}` is read, and the batch as it was
    written put back in. `batch` is as the outline has it."""
    start = outline.rindex(bytes(batch))
    end = start + len(batch)
    rest = message[:start] + bytes(_NO_ITEMS) + message[end:]
    check_depth(rest)
    fields = _decode_or_refuse(rest)
    if isinstance(fields, MessageFields):
        fields.batch = Raw(message[start:end])
    return fields


def items(batch: Raw) -> list[Raw]:
    """The items of a batch. Raises Refused (invalid_json) where they cannot be told apart."""
    try:
        return raw_json.items(batch)
    except msgspec.DecodeError as error:
        raise Refused(Reason.INVALID_JSON, str(error)) from None


def parse_item(item: bytes) -> MessageFields:
    """The fields of one item of an array or batch, which must be an object."""
    fields = parse(item, batches=False)
    if isinstance(fields, list):
        raise Refused(Reason.INVALID_JSON, "an array where a call was expected")
    return fields


def spelled(written: dict[str, Raw]) -> SpelledFields:
    """The fields under the spec's names: where one is absent or null, the first with another spelling of its name."""
    names = {_WRITTEN[name]: name for name, raw in written.items() if name in _WRITTEN and raw != NULL}
    for name, raw in written.items():
        if name in _WRITTEN or raw == NULL:
            continue
        key = folded(name)
        field = _FOLDED.get(key) or _ALIAS.get(key)
        if field:
            names.setdefault(field, name)
    values: dict[str, Any] = {
        field: written[name] if field in _RAW else peek(written[name]) for field, name in names.items()
    }
    written_as = {_SPEC.get(field, field): name for field, name in names.items()}
    return SpelledFields(**values, written=written, written_as=written_as)


def may_be_spec(name: str) -> bool:
    """Whether a field is one of the spec's, or may be another spelling of one."""
    key = folded(name)
    return name in _WRITTEN or key in _FOLDED or key in _ALIAS


def other_fields(item: bytes, fields: MessageFields, known: Set[str]) -> Raw | None:
    """Every top-level field of a call but the known ones, as it was written, as one object; None where there is none.
    A null is no field."""
    if isinstance(fields, SpelledFields):
        known = {fields.written_as.get(name, name) for name in known}
    others = {name: raw for name, raw in _written(item, fields).items() if name not in known and raw != NULL}
    return raw_json.encode(others) if others else None


def common_others(metadata: Raw, version: Raw) -> Raw | None:
    """What `other_fields` gives of a call that has no others than these, which every sender adds; without a
    decoding."""
    others = {"_metadata": metadata, "version": version}
    others = {name: raw for name, raw in others.items() if raw is not NULL and raw != NULL}
    return raw_json.encode(others) if others else None


def _written(item: bytes, fields: MessageFields) -> Mapping[str, Raw]:
    """The fields of a call as they are written, which were decoded where there are others than the spec's."""
    return fields.written if isinstance(fields, SpelledFields) else raw_json.decode_fields(item)


def may_be_too_deep(item: bytes, properties: Raw, context: Raw, traits: Raw = EMPTY) -> bool:
    """Whether any part of a call, one of its objects or the rest, is long enough to be nested too deep: cheap, and
    rarely true."""
    in_properties, in_context, in_traits = len(properties), len(context), len(traits)
    rest = len(item) - in_properties - in_context - in_traits
    return (
        in_context >= SHORTEST_TOO_DEEP
        or in_properties >= SHORTEST_TOO_DEEP
        or in_traits >= SHORTEST_TOO_DEEP
        or rest >= SHORTEST_TOO_DEEP
    )


def is_too_deep(document: bytes) -> bool:
    """Whether JSON is nested deeper than BigQuery accepts."""
    return document.count(b"{") + document.count(b"[") > MAX_DEPTH and raw_json.depth(document) > MAX_DEPTH


def check_depth(document: bytes) -> None:
    """Raises Refused (invalid_field) for JSON that is too deep."""
    if is_too_deep(document):
        raise Refused(Reason.INVALID_FIELD, f"JSON nested deeper than {MAX_DEPTH}")
