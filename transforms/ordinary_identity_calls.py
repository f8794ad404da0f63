"""Ordinary identify, group, alias and delete calls, many at once: from messages to columns of the log.

For a message that this module takes, the row and the call are those that `Reader` and `call_rows` give, which
`tests/transforms/test_ordinary_identity_calls.py` checks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw

from schemas.segment import ALIAS, GROUP, IDENTIFY
from schemas.tables import IDENTITY_CALLS, Timestamp
from transforms.core import call_rows, raw_json, times
from transforms.core.connections import Connection
from transforms.core.raw_json import EMPTY, NULL
from transforms.core.reader import Call, InheritedFields, Reader, Received
from transforms.json_columns import json_column
from transforms.letters import keys
from transforms.ordinary_calls import (
    TIME_COLUMNS,
    TOGETHER,
    DecodedCall,
    Message,
    OrdinaryFields,
    all_of,
    are_enabled,
    connections,
    give_message_ids,
    read_ids,
    read_times,
    received,
    split,
    text_column,
    transposed,
)

COLUMNS: Final = tuple(column.name for column in IDENTITY_CALLS.columns if column.name != IDENTITY_CALLS.written)
"""The columns of a row but for the time when it is written."""


class OrdinaryIdentityCalls(NamedTuple):
    """Rows of the log without the time when they are written; of each the call, and the index of its message."""

    rows: pa.Table
    calls: list[Call]
    indexes: list[int]

    def types(self) -> dict[str, int]:
        """How many calls there are of each type."""
        return Counter(call.type for call in self.calls)


_IDS: Final = ("userId", "anonymousId", "previousId", "groupId")


def read(reader: Reader, messages: Sequence[Message], calls: Iterable[DecodedCall]) -> OrdinaryIdentityCalls:
    """The ordinary identity calls among the calls of these messages."""
    settled = [call for call in calls if call.fields.type not in call_rows.EVENT_TYPES and _settle(call)]
    give_message_ids(settled, messages)
    rows, routes, are_ordinary = _rows(reader, [messages[call.index] for call in settled], settled)
    if are_ordinary.false_count:
        kept = are_ordinary.to_pylist()
        rows, settled, routes = rows.filter(are_ordinary), [*compress(settled, kept)], [*compress(routes, kept)]
    indexes = [call.index for call in settled]
    made = _calls(rows, settled, routes, [received(messages[index]) for index in indexes])
    rows = rows.append_column("promoted", json_column([*map(call_rows.promoted, made)]))
    rows = rows.append_column("payload", json_column([*map(call_rows.payload, made)]))
    if not set(COLUMNS).issubset(rows.column_names):  # as in ordinary_events.read
        return OrdinaryIdentityCalls(rows.slice(0, 0), [], [])
    return OrdinaryIdentityCalls(rows.select(COLUMNS), made, indexes)


def _settle(call: DecodedCall) -> bool:
    """Makes the fields those that count. False where the rules must do that."""
    fields, context = call.fields, call.context
    if fields.traits is NULL or fields.traits == NULL:
        fields.traits = context.traits if fields.type == IDENTIFY and raw_json.is_object(context.traits) else EMPTY
    if fields.type != GROUP and context.groupId is not None:
        if fields.groupId is not None:
            return False
        fields.groupId = context.groupId
    if fields.type == ALIAS:
        if (fields.userId is not None and fields.to is not None) or (
            fields.previousId is not None and fields.from_ is not None
        ):
            return False
        fields.userId = fields.to if fields.userId is None else fields.userId
        fields.previousId = fields.from_ if fields.previousId is None else fields.previousId
    else:
        fields.previousId = None
    return raw_json.is_object(fields.traits) and (fields.properties is EMPTY or raw_json.is_object(fields.properties))


def _rows(
    reader: Reader, messages: list[Message], written: list[DecodedCall]
) -> tuple[pa.Table, list[Connection | None], pa.BooleanArray]:
    """The row of each call but for the columns of all that it has, the connection, and whether the call is ordinary."""
    columns = transposed([one.fields for one in written])
    moments = read_times(columns, messages)
    named, are_usable = read_ids(reader, [id for name in _IDS for id in columns[name]])
    user_id, anonymous_id, previous_id, group_id = split(named, 4)
    type_ = text_column(columns["type"])
    routes = connections(reader, messages, columns["projectId"])
    connection = text_column([None if route is None else route.name for route in routes])
    traits, context = (json_column(_with_each_key_once(columns[name])) for name in ("traits", "context"))
    has_its_ids = pc.if_else(
        pc.equal(type_, GROUP),
        group_id.is_valid(),
        pc.if_else(
            pc.equal(type_, ALIAS),
            pc.and_(user_id.is_valid(), previous_id.is_valid()),
            pc.or_(user_id.is_valid(), anonymous_id.is_valid()),
        ),
    )
    are_ordinary = all_of(
        moments.are_ordinary,
        *split(are_usable, 4),
        has_its_ids,
        traits.is_valid(),
        context.is_valid(),
        connection.is_valid(),
        are_enabled(reader, columns["integrations"]),
    )
    rows = {
        "message_id": text_column(columns["messageId"]),
        "type": type_,
        **moments.columns(),
        "user_id": user_id,
        "anonymous_id": anonymous_id,
        "previous_id": previous_id,
        "group_id": group_id,
        "connection": connection,
        "traits": traits,
        "properties": pa.nulls(len(written), pa.string()),
        "context": context,
        "project_id": text_column(columns["projectId"]),
    }
    return pa.table(rows), routes, are_ordinary


def _with_each_key_once(documents: Sequence[Raw]) -> list[Raw | None]:
    """The documents as `raw_json.with_each_key_once` gives them, None of one that it refuses."""
    checked: list[Raw | None] = []
    for start in range(0, len(documents), TOGETHER):
        some = documents[start : start + TOGETHER]
        checked += some if _have_each_key_once(some) else [*map(_one_with_each_key_once, some)]
    return checked


def _have_each_key_once(documents: Sequence[Raw]) -> bool:
    """Whether these documents have each key once, and no number beyond FLOAT64; seldom wrong where they have. What is
    read has a repeated key once: it then has fewer than what is written."""
    together = b"[%b]" % b",".join(documents)
    try:
        read = raw_json.tersely(raw_json.check_numbers(together))
    except ValueError:
        return False
    if read is None or read == together:
        return read is not None
    written = keys(together)
    return written is not None and keys(read) == written


def _one_with_each_key_once(document: Raw) -> Raw | None:
    try:
        return raw_json.with_each_key_once(document)
    except ValueError:
        return None


def _calls(
    rows: pa.Table, written: list[DecodedCall], routes: list[Connection | None], messages: list[Received]
) -> list[Call]:
    """The call of each row."""
    texts = (rows[name].to_pylist() for name in ("user_id", "anonymous_id", "previous_id", "group_id"))
    moments = (rows[name].cast(pa.int64()).to_pylist() for name in TIME_COLUMNS)
    calls = []
    for one, connection, message, *values in zip(written, routes, messages, *texts, *moments, strict=True):
        fields, given, context = one.fields, one.given, one.context
        user_id, anonymous_id, previous_id, group_id, timestamp, received_at, sent_at, original_timestamp = values
        assert fields.messageId is not None
        assert connection is not None
        integrations = fields.integrations
        _give_times(fields, given, timestamp, received_at, sent_at, original_timestamp)
        # By position, as in Reader.
        calls.append(
            Call(
                fields.type,
                fields.messageId,
                timestamp,
                received_at,
                sent_at,
                user_id,
                anonymous_id,
                previous_id,
                group_id,
                connection,
                fields.name or None,
                fields.traits,
                fields.properties,
                fields.context,
                None if integrations is NULL or not raw_json.is_object(integrations) else integrations,
                context.page,
                context.personas,
                one.item,
                given,
                message.attributes,
                original_timestamp,
                fields.projectId,
                fields.channel,
                None,
                (),
                message.published_at,
                message.inherited,
            )
        )
    return calls


def _give_times(
    fields: OrdinaryFields,
    given: InheritedFields,
    timestamp: Timestamp,
    received_at: Timestamp,
    sent_at: Timestamp | None,
    original_timestamp: Timestamp | None,
) -> None:
    """Adds to `given` the times that a call lacks, as `reader.read_times` does, before the message id that it lacks."""
    if fields.receivedAt is None:
        given["receivedAt"] = times.raw(received_at)
        if sent_at is not None and (fields.timestamp is None or original_timestamp is None):
            given["timestamp"] = times.raw(timestamp)
            stated = times.read(fields.timestamp) if original_timestamp is None else original_timestamp
            given["originalTimestamp"] = times.raw(sent_at if stated is None else stated)
    elif fields.timestamp is None and fields.originalTimestamp is None and fields.sentAt is None:
        given["timestamp"] = times.raw(timestamp)
    else:
        return
    if "messageId" in given:
        given["messageId"] = given.pop("messageId")
