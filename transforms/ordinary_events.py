"""Ordinary events, many at once: from messages to columns.

For a message that this module takes, the row is the one that `Reader` and `call_rows` give, which
`tests/transforms/test_ordinary_events.py` checks.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw

from schemas.segment import TRACK
from schemas.tables import EVENTS
from transforms.core import call_rows, raw_json
from transforms.core.fields import common_others
from transforms.core.raw_json import NULL
from transforms.core.reader import EVENT_COLUMNS, Reader
from transforms.json_columns import json_column
from transforms.ordinary_calls import (
    DecodedCall,
    Message,
    NotOrdinary,
    OrdinaryFields,
    Text,
    all_of,
    are_enabled,
    are_none,
    connections,
    give_message_ids,
    read_ids,
    read_times,
    split,
    text_column,
    transposed,
)

_KEPT_OTHERS: Final = 64
"""So many columns `extra` are kept as they were written: a library's versions and settings come again and again."""
_COLUMNS: Final = {column.name for column in EVENTS.columns}
_CALL_TYPES: Final = {event_type: call_type for call_type, event_type in call_rows.EVENT_TYPES.items()}


class OrdinaryEvents(NamedTuple):
    """Rows of the table `events`, and of each the index of the message that it was read from."""

    rows: pa.Table
    indexes: list[int]

    def types(self) -> dict[str, int]:
        """How many calls there are of each type."""
        counts = pc.value_counts(self.rows["type"]).to_pylist()
        return {_CALL_TYPES[count["values"]]: count["counts"] for count in counts}


_PLACED: Final = frozenset({"projectId", "channel"})
"""The fields that an ordinary event's row has a column for, whatever its type."""


def read(reader: Reader, messages: Sequence[Message], calls: Iterable[DecodedCall]) -> OrdinaryEvents:
    """The ordinary events among the calls of these messages."""
    events, extras = [], []
    for call in calls:
        if call.fields.type not in call_rows.EVENT_TYPES:
            continue
        try:
            extras.append(_settled(call))
        except (msgspec.DecodeError, NotOrdinary):
            continue
        events.append(call)
    give_message_ids(events, messages)
    indexes = [event.index for event in events]
    rows, are_ordinary = _rows(reader, [messages[index] for index in indexes], events, extras)
    if not _COLUMNS.issubset(rows.column_names):  # a column that only the rules know: they make the rows, more slowly
        return OrdinaryEvents(rows.slice(0, 0), [])
    if are_ordinary.false_count:
        return OrdinaryEvents(rows.filter(are_ordinary), [*compress(indexes, are_ordinary.to_pylist())])
    return OrdinaryEvents(rows, indexes)


def _settled(call: DecodedCall) -> Raw | None:
    """Makes the fields those that count, and returns what no column has. Raises NotOrdinary, or msgspec.DecodeError
    where `properties` are no object."""
    event, context = call.fields, call.context
    if event.previousId is not None or event.to is not None or event.from_ is not None:
        raise NotOrdinary
    if context.personas is not NULL and context.personas != NULL:
        raise NotOrdinary
    has_other_name = (event.name if event.type == TRACK else event.event) is not None
    if call.everything is None and not has_other_name and event.category == NULL and event.traits == NULL:
        extra = _extra(event)
    else:
        extra = _extra_of_all(call, has_other_name=has_other_name)
    if event.groupId is not None:
        if context.groupId is not None:
            raise NotOrdinary
        context.groupId = event.groupId
    return extra


def _rows(
    reader: Reader,
    messages: list[Message],
    events: list[DecodedCall],
    extras: list[Raw | None],
) -> tuple[pa.Table, pa.BooleanArray]:
    """The row of each event, and whether it is ordinary."""
    columns = transposed([event.fields for event in events])
    moments = read_times(columns, messages)
    named, are_usable = read_ids(
        reader, [*columns["userId"], *columns["anonymousId"], *(event.context.groupId for event in events)]
    )
    user_id, anonymous_id, group_id = split(named, 3)
    properties, context, integrations = (
        json_column(columns[name]) for name in ("properties", "context", "integrations")
    )
    name = text_column([*map(_name, events)])
    routes = connections(reader, messages, columns["projectId"])
    connection = text_column([None if route is None else route.name for route in routes])
    are_ordinary = all_of(
        moments.are_ordinary,
        *split(are_usable, 3),
        pc.or_(user_id.is_valid(), anonymous_id.is_valid()),
        pc.starts_with(properties, "{"),
        name.is_valid(),
        pc.or_(group_id.is_valid(), are_none(columns["groupId"])),
        connection.is_valid(),
        are_enabled(reader, columns["integrations"]),
    )
    rows: dict[str, Any] = {
        "message_id": text_column(columns["messageId"]),
        "type": text_column([call_rows.EVENT_TYPES[type_] for type_ in columns["type"]]),
        "name": name,
        **moments.columns(),
        "user_id": user_id,
        "anonymous_id": anonymous_id,
        "group_id": group_id,
        "connection": connection,
        "properties": properties,
        "context": context,
        "integrations": pc.if_else(pc.starts_with(integrations, "{"), integrations, None),
        "project_id": text_column(columns["projectId"]),
        "channel": text_column(columns["channel"]),
        "extra": json_column(extras),
    }
    names = [column.name for column in EVENTS.columns if column.name in rows]
    return pa.table({name: rows[name] for name in names}), are_ordinary


def _name(event: DecodedCall) -> Text:
    """The event's name; of a page or screen that has no `name`, by its properties. None where there is none, or they
    are no object."""
    fields = event.fields
    if fields.type == TRACK:
        return fields.event or None
    if fields.name:
        return fields.name
    if not raw_json.is_object(fields.properties):
        return None
    return call_rows.page_name(fields.type, fields.properties, event.context.page)


def _extra(event: OrdinaryFields) -> Raw | None:
    """What no column has of an event without other fields than those of the spec."""
    if event._metadata is NULL and event.version is NULL:
        return None
    return _common_others(bytes(event._metadata), bytes(event.version))


def _extra_of_all(call: DecodedCall, *, has_other_name: bool) -> Raw | None:
    """What no column has of an event with any fields. A page's or screen's category becomes a property, where there is
    none. `has_other_name` tells of a track with a `name`, and of another event with an `event`. Raises NotOrdinary, or
    msgspec.DecodeError where `properties` are no object."""
    event = call.fields
    has_traits = raw_json.is_object(event.traits)
    if not has_traits and event.traits != NULL:
        raise NotOrdinary
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
    if not (call.everything or has_category or has_traits or has_other_name):
        return _extra(event)
    fields = call.everything or raw_json.decode_fields(call.item)
    others = {name: raw for name, raw in fields.items() if name not in columns and raw != NULL}
    return raw_json.encode(others) if others else None


@functools.lru_cache(maxsize=_KEPT_OTHERS)
def _common_others(metadata: bytes, version: bytes) -> Raw | None:
    return common_others(Raw(metadata), Raw(version))
