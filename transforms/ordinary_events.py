"""Ordinary events, many at once: from messages to columns, with no Python object for each value.

An event is ordinary where every field is as some library writes it (`benchmarks/senders.py` has their ways), so that
the rules of `docs/semantics.md`, section 1, come to little: nearly all are. This module only has to know them, never to
judge the others: what it leaves out, `Reader` reads. For a message that it does take, the row is the one that `Reader`
and `call_rows` give, which `tests/transforms/test_ordinary_events.py` checks.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, cast

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
from transforms.core.fields import SHORTEST_TOO_DEEP, common_others, is_too_deep, may_be_spec, may_be_too_deep
from transforms.core.raw_json import EMPTY, NULL
from transforms.core.reader import EVENT_COLUMNS, KEPT_DEFAULTS, Reader, Received, digest
from transforms.json_columns import json_column

_MOST_BYTES: Final = 1_000_000
"""A longer message may be too large, or its row."""
_TOGETHER: Final = 16
"""So many messages stay in the processor's cache."""
_KEPT_OTHERS: Final = 64
"""So many columns `extra` are kept as they were written: a library's versions and settings come again and again."""
_COLUMNS: Final = {column.name for column in EVENTS.columns}
_ID: Final = rf"^(?:{ids.ORDINARY})$"
_CLOCK: Final = r"(?:[01]\d|2[0-3]):[0-5]\d"
_DAY: Final = r"[12]\d{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_TIME: Final = rf"^{_DAY}T{_CLOCK}:[0-5]\d(?:\.\d{{1,6}})?(?:Z|[+-]{_CLOCK})$"
"""How Segment's libraries write a time: Python's with an offset; RE2's `\\d` is of ASCII alone."""
_FINER_THAN_MICROSECONDS: Final = r"(\.\d{6})\d+"
"""As Go writes it."""

_CALL_TYPES: Final = {event_type: call_type for call_type, event_type in call_rows.EVENT_TYPES.items()}

_EXACT: Final = 2**53
"""A whole number up to it is read alike, whether as an integer or as a float."""
Text: TypeAlias = str | None
Time: TypeAlias = str | int | float | None
Id: TypeAlias = str | Annotated[int, Meta(ge=-_EXACT, le=_EXACT)] | None
Message: TypeAlias = bytes | Received


class _Event(msgspec.Struct, gc=False):
    """The fields of an ordinary event. What has others than null in the last ones is none."""

    type: Literal["page", "screen", "track"]
    messageId: Annotated[str, Meta(min_length=1)] | None = None  # noqa: N815
    userId: Id = None  # noqa: N815
    anonymousId: Id = None  # noqa: N815
    projectId: Text = None  # noqa: N815
    timestamp: Time = None
    originalTimestamp: Time = None  # noqa: N815
    sentAt: Time = None  # noqa: N815
    receivedAt: Time = None  # noqa: N815
    event: Text = None
    name: Text = None
    properties: Raw = EMPTY
    context: Raw = EMPTY
    integrations: Raw = NULL
    _metadata: Raw = NULL
    channel: Text = None
    version: Raw = NULL
    category: Raw = NULL
    traits: Raw = NULL
    groupId: Id = None  # noqa: N815
    previousId: None = None  # noqa: N815
    writeKey: None = None  # noqa: N815


class _SpecEvent(_Event, forbid_unknown_fields=True, gc=False):
    """The same, and no other field: then what no column has is known without looking at every field."""


class _NotOrdinary(Exception):
    """An event that the rules must read."""


class _Context(msgspec.Struct, gc=False):
    groupId: Id = None  # noqa: N815
    group_id: None = None
    page: Raw = NULL
    personas: None = None


class _Defaults(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The defaults of a batch of which an ordinary event may be an item. Where it has others, its items are none."""

    sentAt: Text = None  # noqa: N815
    receivedAt: Text = None  # noqa: N815
    context: dict[str, Raw] | None = None
    integrations: dict[str, Raw] | None = None


class OrdinaryEvents(NamedTuple):
    """Rows of the table `events`, and of each the index of the message that it was read from."""

    rows: pa.Table
    indexes: list[int]

    def types(self) -> dict[str, int]:
        """How many calls there are of each type."""
        counts = pc.value_counts(self.rows["type"]).to_pylist()
        return {_CALL_TYPES[count["values"]]: count["counts"] for count in counts}


_decode: Final = msgspec.json.Decoder(_Event).decode
_decode_spec: Final = msgspec.json.Decoder(_SpecEvent).decode
_Decode: TypeAlias = Callable[[bytes], _Event]
_FIELDS: Final = frozenset(field.encode_name for field in msgspec.structs.fields(_Event))
_PLACED: Final = frozenset({"projectId", "channel"})
"""The fields that an ordinary event's row has a column for, whatever its type."""
_check_syntax: Final = msgspec.json.Decoder(Raw).decode
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
    events, contexts, extras, indexes = [], [], [], []
    decode: _Decode = _decode_spec
    for index, written in _readable([*map(payload, messages)]):
        message = messages[index]
        try:
            event, decode = _decoded(written, decode)
            if (
                len(written) >= SHORTEST_TOO_DEEP
                and may_be_too_deep(written, event.properties, event.context)
                and is_too_deep(written)
            ):
                continue
            if not isinstance(message, bytes):
                _inherit(event, message)
            context = _decode_context(event.context)
            if event.groupId is not None:
                context = _with_group(context, event.groupId)
            has_other_name = (event.name if event.type == TRACK else event.event) is not None
            if decode is _decode or has_other_name or event.category != NULL or event.traits != NULL:
                extra, decode = _extra_of_all(event, written, has_other_name=has_other_name)
            else:
                extra = _extra(event)
            if event.messageId is None:
                event.messageId = digest(payload(message))
        except (msgspec.DecodeError, RecursionError, _NotOrdinary):
            continue
        events.append(event)
        contexts.append(context)
        extras.append(extra)
        indexes.append(index)
    rows, are_ordinary = _rows(reader, [messages[index] for index in indexes], events, contexts, extras)
    if not _COLUMNS.issubset(rows.column_names):  # a column that only the rules know: they make the rows, more slowly
        return OrdinaryEvents(rows.slice(0, 0), [])
    if are_ordinary.false_count:
        return OrdinaryEvents(rows.filter(are_ordinary), [*compress(indexes, are_ordinary.to_pylist())])
    return OrdinaryEvents(rows, indexes)


def _decoded(written: bytes, decode: _Decode) -> tuple[_Event, _Decode]:
    """The event, and what has decoded it: events with fields that the spec does not have come one after another. Raises
    msgspec.DecodeError or RecursionError."""
    try:
        event = decode(written)
    except msgspec.ValidationError:
        if decode is _decode:
            raise
        decode = _decode
        event = decode(written)
    if event.properties == NULL:
        event.properties = EMPTY
    if event.context == NULL:
        event.context = EMPTY
    return event, decode


def _inherit(event: _Event, message: Received) -> None:
    """Sets what an event inherits from its batch. Raises _NotOrdinary where the rules must find that out, or
    msgspec.DecodeError where its context is no object."""
    if message.too_large is not None:
        raise _NotOrdinary
    if message.inherited is None:
        return
    defaults = _defaults(message.inherited)
    if defaults is None:
        raise _NotOrdinary
    if event.sentAt is None:
        event.sentAt = defaults.sentAt
    if event.receivedAt is None:
        event.receivedAt = defaults.receivedAt
    if defaults.context is not None:
        event.context = raw_json.encode({**defaults.context, **raw_json.decode_fields(event.context)})
    if defaults.integrations is not None:
        own = raw_json.decode_fields(event.integrations) if raw_json.is_object(event.integrations) else {}
        event.integrations = raw_json.encode({**defaults.integrations, **own})


def _with_group(context: _Context, group_id: Id) -> _Context:
    """The context with the call's own group, where it has none. Raises _NotOrdinary."""
    if context.groupId is not None:
        raise _NotOrdinary
    return _Context(groupId=group_id, page=context.page)


@functools.lru_cache(maxsize=KEPT_DEFAULTS)
def _defaults(inherited: str) -> _Defaults | None:
    try:
        return _decode_defaults(inherited)
    except (msgspec.DecodeError, RecursionError):
        return None


def _readable(messages: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """The messages that are readable, each with its index, and without its sender's secret. Few are not, so that some
    are looked at together."""
    for start in range(0, len(messages), _TOGETHER):
        some = messages[start : start + _TOGETHER]
        together = b"\n".join(some)
        is_plain = _is_readable(together) and not secrets.may_hold_any(together)
        for index, message in enumerate(some, start):
            if is_plain:
                yield index, message
            elif _is_readable(message):
                with contextlib.suppress(msgspec.DecodeError, RecursionError, _NotOrdinary):
                    yield index, _without_secrets(message)


def _is_readable(message: bytes) -> bool:
    """Whether a message is text, and not too large; or several are."""
    if len(message) > _MOST_BYTES:
        return False
    if message.isascii():
        return True
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


def _without_secrets(message: bytes) -> bytes:
    """Raises msgspec.DecodeError or RecursionError where the message is no JSON, and _NotOrdinary where it is too deep:
    both could be so by the secret alone."""
    if not secrets.may_hold_any(message):
        return message
    _check_syntax(message)
    if is_too_deep(message):
        raise _NotOrdinary
    return secrets.redacted_json(message)


def _rows(
    reader: Reader,
    messages: list[Message],
    events: list[_Event],
    contexts: list[_Context],
    extras: list[Raw | None],
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
            pc.or_(group_id.is_valid(), _are_none(columns["groupId"])),
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
        "extra": json_column(extras),
    }
    return pa.table(rows), are_ordinary


class _Times(NamedTuple):
    timestamp: pa.Int64Array
    received_at: pa.Int64Array
    sent_at: pa.Int64Array
    original_timestamp: pa.Int64Array
    are_ordinary: pa.BooleanArray


def _times(stated: Sequence[Time], original: Sequence[Time], sent: Sequence[Time], receipt: Sequence[Time]) -> _Times:
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
    messages: list[Message], received_at: pa.Int64Array, receipt: Sequence[Time]
) -> pa.BooleanArray:
    """Whether each event has a receipt that its time of publication, where it has one, does not speak against."""
    published = [None if isinstance(message, bytes) else message.published_at for message in messages]
    if not any(time is not None for time in published):
        return _all(len(messages))
    ahead = pc.subtract(received_at, pa.array(published, pa.int64()))
    is_told = pc.and_(pc.invert(_are_none(receipt)), pc.less_equal(ahead, MAX_CLOCK_AHEAD_US))
    return pc.or_(pa.array([time is None for time in published], pa.bool_()), is_told.fill_null(False))


def _split(column: pa.Array, number: int) -> list[Any]:
    """The columns that were one behind the other: a step on one long column takes less time than on several."""
    length = len(column) // number
    return [column.slice(start * length, length) for start in range(number)]


def _is_in(times: range, column: pa.Int64Array) -> pa.BooleanArray:
    """Whether each time is in a range; what is null is."""
    return pc.and_(pc.greater_equal(column, times.start), pc.less(column, times.stop)).fill_null(True)


def _microseconds(written: Sequence[Time]) -> tuple[pa.Int64Array, pa.BooleanArray]:
    """Times since the epoch, null where there is none, and whether each could be read as one."""
    try:
        strings = _strings(cast(Sequence[Text], written))
    except pa.ArrowTypeError:  # some are numbers
        strings = _strings([time if time is None or isinstance(time, str) else _iso(time) for time in written])
    is_usual = pc.match_substring_regex(strings, _TIME).fill_null(True)
    if is_usual.false_count:
        strings = pc.replace_substring_regex(strings, _FINER_THAN_MICROSECONDS, r"\1")
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


def _iso(number: float) -> str:
    """A number since the epoch as text; what is no time as a text that is none."""
    time = times.read(number)
    return "" if time is None else times.iso(time)


def _ids(reader: Reader, written: Sequence[Id]) -> tuple[pa.StringArray, pa.BooleanArray]:
    """Ids as `ids.read` reads them, null where one is absent, and whether each can be read."""
    strings = _texts(written)
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
    readable, read = [], []
    for id in others:
        with contextlib.suppress(ids.NotAnId):
            read.append(ids.read(id, reader.placeholder_ids))
            readable.append(id)
    places = pc.index_in(strings, pa.array(readable, pa.string()))
    strings = pc.if_else(is_usual, strings, pa.array(read, pa.string()).take(places))
    return strings, pc.or_(is_usual, places.is_valid())


def _texts(written: Sequence[Id]) -> pa.StringArray:
    try:
        return _strings(cast(Sequence[Text], written))
    except pa.ArrowTypeError:  # some are numbers
        return _strings([str(id) if isinstance(id, int) else id for id in written])


def _names(events: list[_Event], contexts: list[_Context]) -> tuple[pa.StringArray, pa.BooleanArray]:
    """The events' names, and whether each that needs one has one."""
    names = [
        (event.event or None) if event.type == TRACK else event.name or _page_name(event, context)
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
    """What no column has of an event without other fields than those of the spec."""
    if event._metadata is NULL and event.version is NULL:
        return None
    return _common_others(bytes(event._metadata), bytes(event.version))


def _extra_of_all(event: _Event, written: bytes, *, has_other_name: bool) -> tuple[Raw | None, _Decode]:
    """What no column has of an event with any fields, and what the next one is best decoded with. A page's or screen's
    category becomes a property, where there is none. `has_other_name` tells of a track with a `name`, and of another
    event with an `event`. Raises _NotOrdinary where a field may be another spelling of one of the spec's."""
    fields = raw_json.decode_fields(written)
    not_of_spec = fields.keys() - _FIELDS
    if any(map(may_be_spec, not_of_spec)):
        raise _NotOrdinary
    has_traits = raw_json.is_object(event.traits)
    if not has_traits and event.traits != NULL:
        raise _NotOrdinary
    columns = EVENT_COLUMNS[event.type] | _PLACED
    has_category = event.category != NULL
    if event.groupId is not None:
        columns |= {"groupId"}
    if has_category and event.type != TRACK:
        properties = raw_json.decode_fields(event.properties)
        if properties.get("category", NULL) == NULL:
            event.properties = raw_json.encode({**properties, "category": event.category})
            columns |= {"category"}
            has_category = False
    decode = _decode if not_of_spec else _decode_spec
    if not (not_of_spec or has_category or has_traits or has_other_name):
        return _extra(event), decode
    others = {name: raw for name, raw in fields.items() if name not in columns and raw != NULL}
    return raw_json.encode(others) if others else None, decode


@functools.lru_cache(maxsize=_KEPT_OTHERS)
def _common_others(metadata: bytes, version: bytes) -> Raw | None:
    return common_others(Raw(metadata), Raw(version))


def _strings(texts: Sequence[Text]) -> pa.StringArray:
    return pa.array(texts, pa.string())


def _moments(microseconds: pa.Int64Array) -> pa.TimestampArray:
    return microseconds.cast(pa.timestamp("us", "UTC"))


def _are_none(values: Sequence[object]) -> pa.BooleanArray:
    return pa.array([value is None for value in values], pa.bool_())


def _all(length: int) -> pa.BooleanArray:
    return pa.repeat(pa.scalar(True), length)
