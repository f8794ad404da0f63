"""Ordinary events, many at once: from messages to columns, with no Python object for each value.

An event is ordinary where every field is of its usual type, and the rules of `docs/semantics.md`, section 1, take its
ids, times and objects as they stand: nearly all are. This module only has to know them, never to judge the others: what
it leaves out, `Reader` reads. For a message that it does take, the row is the one that `Reader` and `call_rows` give,
which `tests/transforms/test_ordinary_events.py` checks.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta, Raw
from msgspec.structs import astuple

from schemas.segment import (
    CALL_TIMES,
    MAX_CLOCK_AHEAD_US,
    MAX_ID_CHARACTERS,
    PARTITIONS,
    TRACK,
)
from schemas.tables import EVENTS
from transforms.core import call_rows, ids, raw_json, secrets, times
from transforms.core.fields import SHORTEST_TOO_DEEP, common_others, is_too_deep, may_be_too_deep
from transforms.core.raw_json import EMPTY, NULL
from transforms.core.reader import KEPT_DEFAULTS, Reader, Received
from transforms.json_columns import json_column

_MOST_BYTES: Final = 1_000_000
"""A longer message may be too large, or its row."""
_TOGETHER: Final = 16
"""So many messages stay in the processor's cache."""
_KEPT_OTHERS: Final = 64
"""So many columns `extra` are kept as they were written: a library's versions and settings come again and again."""
_COLUMNS: Final = {column.name for column in EVENTS.columns}
_ID: Final = rf"^(?:{ids.ORDINARY})$"
_TIME: Final = r"^[12]\d{3}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$"
"""How Segment's libraries write a time; RE2's `\\d` is of ASCII alone."""

_CALL_TYPES: Final = {event_type: call_type for call_type, event_type in call_rows.EVENT_TYPES.items()}

Text: TypeAlias = str | None
Message: TypeAlias = bytes | Received


class _Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields of an ordinary event. What has other fields, or others than null in the last ones, is none."""

    type: Literal["page", "screen", "track"]
    messageId: Annotated[str, Meta(min_length=1)]  # noqa: N815
    userId: Text = None  # noqa: N815
    anonymousId: Text = None  # noqa: N815
    projectId: Text = None  # noqa: N815
    timestamp: Text = None
    originalTimestamp: Text = None  # noqa: N815
    sentAt: Text = None  # noqa: N815
    receivedAt: Text = None  # noqa: N815
    event: Text = None
    name: Text = None
    properties: Raw = EMPTY
    context: Raw = EMPTY
    integrations: Raw = NULL
    _metadata: Raw = NULL
    channel: Text = None
    version: Raw = NULL
    category: Raw = NULL
    groupId: None = None  # noqa: N815
    previousId: None = None  # noqa: N815


class _Context(msgspec.Struct, gc=False):
    groupId: Text = None  # noqa: N815
    group_id: None = None
    page: Raw = NULL
    personas: None = None


class _Defaults(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The defaults of a batch of which an ordinary event may be an item. Where it has others, its items are none."""

    sentAt: Text = None  # noqa: N815
    receivedAt: Text = None  # noqa: N815
    context: dict[str, Raw] | None = None


class OrdinaryEvents(NamedTuple):
    """Rows of the table `events`, and of each the index of the message that it was read from."""

    rows: pa.Table
    indexes: list[int]

    def types(self) -> dict[str, int]:
        """How many calls there are of each type."""
        counts = pc.value_counts(self.rows["type"]).to_pylist()
        return {_CALL_TYPES[count["values"]]: count["counts"] for count in counts}


_decode: Final = msgspec.json.Decoder(_Event).decode
_decode_context: Final = msgspec.json.Decoder(_Context).decode
_decode_defaults: Final = msgspec.json.Decoder(_Defaults).decode


def payload(message: Message) -> bytes:
    """The bytes of a message."""
    return message if isinstance(message, bytes) else message.payload


def received(message: Message) -> Received:
    """The message with what it is more than its bytes."""
    return Received(message) if isinstance(message, bytes) else message


def read(reader: Reader, messages: Sequence[Message]) -> OrdinaryEvents:
    """The ordinary events among these messages. Those that are more than their bytes come from a source, or are items
    of a batch (`Reader.items`); none is from the log or from a dead letter."""
    events, contexts, indexes = [], [], []
    payloads = [*map(payload, messages)]
    for index in _readable(payloads):
        message, written = messages[index], payloads[index]
        try:
            event = _decode(written)
            if (
                len(written) >= SHORTEST_TOO_DEEP
                and may_be_too_deep(written, event.properties, event.context)
                and is_too_deep(written)
            ):
                continue
            if not isinstance(message, bytes) and not _inherit(event, message):
                continue
            context = _decode_context(event.context)
        except (msgspec.DecodeError, RecursionError):
            continue
        if (event.name if event.type == TRACK else event.event) is None:
            events.append(event)
            contexts.append(context)
            indexes.append(index)
    rows, are_ordinary = _rows(reader, [messages[index] for index in indexes], events, contexts)
    if not _COLUMNS.issubset(rows.column_names):  # a column that only the rules know: they make the rows, more slowly
        return OrdinaryEvents(rows.slice(0, 0), [])
    if are_ordinary.false_count:
        return OrdinaryEvents(rows.filter(are_ordinary), [*compress(indexes, are_ordinary.to_pylist())])
    return OrdinaryEvents(rows, indexes)


def _inherit(event: _Event, message: Received) -> bool:
    """Sets what an event inherits from its batch; False where the rules must find that out. Raises msgspec.DecodeError
    where its context is no object."""
    if message.too_large is not None:
        return False
    if message.inherited is None:
        return True
    defaults = _defaults(message.inherited)
    if defaults is None:
        return False
    if event.sentAt is None:
        event.sentAt = defaults.sentAt
    if event.receivedAt is None:
        event.receivedAt = defaults.receivedAt
    if defaults.context is not None:
        event.context = raw_json.encode({**defaults.context, **raw_json.decode_fields(event.context)})
    return True


@functools.lru_cache(maxsize=KEPT_DEFAULTS)
def _defaults(inherited: str) -> _Defaults | None:
    try:
        return _decode_defaults(inherited)
    except (msgspec.DecodeError, RecursionError):
        return None


def _readable(messages: Sequence[bytes]) -> Iterator[int]:
    """The indexes of the messages that are readable. Few are not, so that some are looked at together."""
    for start in range(0, len(messages), _TOGETHER):
        some = messages[start : start + _TOGETHER]
        indexes = range(start, start + len(some))
        yield from indexes if _is_readable(b"\n".join(some)) else compress(indexes, map(_is_readable, some))


def _is_readable(message: bytes) -> bool:
    """Whether a message is text, holds no secret, and is not too large; or several are."""
    if len(message) > _MOST_BYTES or secrets.may_hold_any(message):
        return False
    if message.isascii():
        return True
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


def _rows(
    reader: Reader, messages: list[Message], events: list[_Event], contexts: list[_Context]
) -> tuple[pa.Table, pa.BooleanArray]:
    """The row of each event, and whether it is ordinary."""
    columns: dict[str, Any] = dict(zip(_Event.__struct_fields__, zip(*map(astuple, events), strict=True), strict=False))
    if not columns:
        columns = dict.fromkeys(_Event.__struct_fields__, ())
    moments = _times(*(columns[name] for name in ("timestamp", "originalTimestamp", "sentAt", "receivedAt")))
    named, are_usable = _ids(
        reader, [*columns["userId"], *columns["anonymousId"], *(context.groupId for context in contexts)]
    )
    user_id, anonymous_id, group_id = _split(named, 3)
    properties, context, integrations = (
        json_column(columns[name]) for name in ("properties", "context", "integrations")
    )
    name, has_name = _names(events, contexts)
    connection = _connections(reader, messages, columns["projectId"])
    are_ordinary = functools.reduce(
        pc.and_,
        (
            moments.are_ordinary,
            _is_by_segments_clock(messages, moments.received_at, columns["receivedAt"]),
            *_split(are_usable, 3),
            pc.or_(user_id.is_valid(), anonymous_id.is_valid()),
            pc.starts_with(properties, "{"),
            has_name,
            _are_null(columns["category"]),
            connection.is_valid(),
            _are_enabled(reader, columns["integrations"]),
        ),
    )
    rows = {
        "message_id": _strings(columns["messageId"]),
        "type": _strings([call_rows.EVENT_TYPES[type_] for type_ in columns["type"]]),
        "name": name,
        "timestamp": _moments(moments.timestamp),
        "received_at": _moments(moments.received_at),
        "sent_at": _moments(moments.sent_at),
        "user_id": user_id,
        "anonymous_id": anonymous_id,
        "group_id": group_id,
        "connection": connection,
        "properties": properties,
        "context": context,
        "integrations": pc.if_else(pc.starts_with(integrations, "{"), integrations, None),
        "original_timestamp": _moments(moments.original_timestamp),
        "project_id": _strings(columns["projectId"]),
        "channel": _strings(columns["channel"]),
        "extra": json_column([*map(_extra, events)]),
    }
    return pa.table(rows), are_ordinary


class _Times(NamedTuple):
    timestamp: pa.Int64Array
    received_at: pa.Int64Array
    sent_at: pa.Int64Array
    original_timestamp: pa.Int64Array
    are_ordinary: pa.BooleanArray


def _times(stated: Sequence[Text], original: Sequence[Text], sent: Sequence[Text], receipt: Sequence[Text]) -> _Times:
    """The times of calls, by the rules of `reader.read_times`."""
    moments, are_read = _microseconds([*stated, *original, *sent, *receipt])
    stated_at, original_at, sent_at, receipt_at = _split(moments, 4)
    is_corrected = pc.and_(stated_at.is_valid(), original_at.is_valid())
    by_sender = pc.if_else(is_corrected, stated_at, pc.coalesce(original_at, stated_at, sent_at))
    corrected = pc.add(by_sender, pc.subtract(receipt_at, sent_at))
    timestamp = pc.coalesce(pc.if_else(is_corrected, by_sender, pc.coalesce(corrected, by_sender)), receipt_at)
    received_at = pc.coalesce(receipt_at, sent_at, timestamp)
    is_ahead = pc.greater(pc.subtract(timestamp, received_at), MAX_CLOCK_AHEAD_US)
    are_ordinary = functools.reduce(
        pc.and_,
        (
            *_split(pc.and_(are_read, _is_in(CALL_TIMES, moments)), 4),
            _is_in(CALL_TIMES, corrected),
            timestamp.is_valid(),
            _is_in(PARTITIONS, received_at),
        ),
    )
    return _Times(pc.if_else(is_ahead, received_at, timestamp), received_at, sent_at, original_at, are_ordinary)


def _is_by_segments_clock(
    messages: list[Message], received_at: pa.Int64Array, receipt: Sequence[Text]
) -> pa.BooleanArray:
    """Whether each event has a receipt that its time of publication, where it has one, does not speak against."""
    published = [None if isinstance(message, bytes) else message.published_at for message in messages]
    if not any(time is not None for time in published):
        return _all(len(messages))
    ahead = pc.subtract(received_at, pa.array(published, pa.int64()))
    is_told = pc.and_(_strings(receipt).is_valid(), pc.less_equal(ahead, MAX_CLOCK_AHEAD_US))
    return pc.or_(pa.array([time is None for time in published], pa.bool_()), is_told.fill_null(False))


def _split(column: pa.Array, number: int) -> list[Any]:
    """The columns that were one behind the other: a step on one long column takes less time than on several."""
    length = len(column) // number
    return [column.slice(start * length, length) for start in range(number)]


def _is_in(times: range, column: pa.Int64Array) -> pa.BooleanArray:
    """Whether each time is in a range; what is null is."""
    return pc.and_(pc.greater_equal(column, times.start), pc.less(column, times.stop)).fill_null(True)


def _microseconds(texts: Sequence[Text]) -> tuple[pa.Int64Array, pa.BooleanArray]:
    """Times since the epoch, null where there is none, and whether each text could be read as one."""
    strings = _strings(texts)
    is_usual = pc.match_substring_regex(strings, _TIME).fill_null(True)
    try:
        read = pc.if_else(is_usual, strings, None).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    except pa.ArrowInvalid:  # one is of no day
        is_usual = strings.is_null()
        read = pa.nulls(len(strings), pa.int64())
    if is_usual.false_count:
        others = strings.filter(pc.invert(is_usual)).to_pylist()
        read = pc.replace_with_mask(read, pc.invert(is_usual), pa.array(map(times.parse, others), pa.int64()))
    return read, pc.or_(read.is_valid(), strings.is_null())


def _ids(reader: Reader, texts: Sequence[Text]) -> tuple[pa.StringArray, pa.BooleanArray]:
    """Ids, and whether each is one that is taken as it stands; null is."""
    strings = _strings(texts)
    if strings.null_count == len(strings):
        return strings, _all(len(strings))
    if ids.are_of_the_contract(reader.placeholder_ids):
        is_usual = pc.and_(pc.match_substring_regex(strings, _ID), pc.not_equal(strings, "-1")).fill_null(True)
        is_usual = pc.and_(is_usual, pc.less_equal(pc.binary_length(strings), MAX_ID_CHARACTERS).fill_null(True))
    else:
        is_usual = strings.is_null()
    if not is_usual.false_count:
        return strings, is_usual
    others = strings.filter(pc.invert(is_usual)).unique().to_pylist()
    usable = [id for id in others if _is_taken_as_it_stands(reader, id)]
    return strings, pc.or_(is_usual, pc.is_in(strings, pa.array(usable, pa.string())))


def _is_taken_as_it_stands(reader: Reader, id: str) -> bool:
    try:
        return ids.read(id, reader.placeholder_ids) == id
    except ids.NotAnId:
        return False


def _are_null(values: Sequence[Raw]) -> pa.BooleanArray:
    return pa.array([value is NULL or value == NULL for value in values], pa.bool_())


def _names(events: list[_Event], contexts: list[_Context]) -> tuple[pa.StringArray, pa.BooleanArray]:
    """The events' names, and whether each that needs one has one."""
    names = [
        event.event or event.name or (None if event.type == TRACK else _page_name(event, context))
        for event, context in zip(events, contexts, strict=True)
    ]
    strings = _strings(names)
    return strings, strings.is_valid()


def _page_name(event: _Event, context: _Context) -> Text:
    """The name of a page or screen that has no `name`, by its properties; None where they are no object."""
    if not raw_json.is_object(event.properties):
        return None
    return call_rows.page_name(event.type, event.properties, context.page)


def _connections(reader: Reader, messages: list[Message], project_ids: Sequence[Text]) -> pa.StringArray:
    """The names of the connections that the messages belong to, null for a message without one."""
    attributes = [None if isinstance(message, bytes) else message.attributes.get("connection") for message in messages]
    places = [*zip(project_ids, attributes, strict=True)]
    routes = {place: reader.router.route(*place) for place in set(places)}
    names = {place: None if route is None else route.name for place, route in routes.items()}
    return _strings([*map(names.__getitem__, places)])


def _are_enabled(reader: Reader, integrations: Sequence[Raw]) -> pa.BooleanArray:
    """Whether each call is for this destination."""
    if not reader.integration_names:
        return _all(len(integrations))
    texts = [*map(bytes, integrations)]
    enabled = {text: not raw_json.is_object(Raw(text)) or reader.is_enabled(Raw(text)) for text in set(texts)}
    return pa.array([*map(enabled.__getitem__, texts)], pa.bool_())


def _extra(event: _Event) -> Raw | None:
    """What no column has of an event."""
    if event._metadata is NULL and event.version is NULL:
        return None
    return _common_others(bytes(event._metadata), bytes(event.version))


@functools.lru_cache(maxsize=_KEPT_OTHERS)
def _common_others(metadata: bytes, version: bytes) -> Raw | None:
    return common_others(Raw(metadata), Raw(version))


def _strings(texts: Sequence[Text]) -> pa.StringArray:
    return pa.array(texts, pa.string())


def _moments(microseconds: pa.Int64Array) -> pa.TimestampArray:
    return microseconds.cast(pa.timestamp("us", "UTC"))


def _all(length: int) -> pa.BooleanArray:
    return pa.repeat(pa.scalar(True), length)
