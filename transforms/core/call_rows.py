"""What each call becomes (`docs/semantics.md`, section 2): an event, an entry of the identity log, or both."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import astuple

from schemas.segment import GROUP, IDENTIFY, MAX_ROW_BYTES, PAGE, SCREEN, TRACK
from schemas.tables import DeadLetter, Event, IdentityCall, Row
from transforms.core import engage, raw_json
from transforms.core.dead_letters import Reason, Refused, Stage, dead_letter
from transforms.core.promoted import PromotedTraits
from transforms.core.raw_json import EMPTY, NULL, is_object, peek
from transforms.core.reader import Call, size_and_digest
from transforms.core.rows import Append, LogEntry

EVENT_TYPES: Final = {PAGE: "Page", SCREEN: "Screen", TRACK: "Action"}
_COLUMN_BYTES: Final = 200
"""Bytes of the columns that are not of the call's text."""
EVENT_COPIES: Final = 2
"""So often a part of a call may stand in an event's row: a page's `name` may be a property."""
IDENTITY_CALL_COPIES: Final = 4
"""So often it may stand in the log's row: in `payload`, `context`, `traits` and `promoted`."""


class _NameFields(msgspec.Struct):
    name: Raw = NULL
    path: Raw = NULL


_read_name_fields: Final = msgspec.json.Decoder(_NameFields).decode


def rows(call: Call) -> tuple[Append | None, LogEntry | None]:
    """The event of a call, and its entry of the identity log; one of them at least. Raises Refused where no warehouse
    could hold one: then the call becomes neither."""
    call_size = size(call)
    kept = call.message, call.attributes, call.published_at, call.inherited
    row = event(call)
    appended = None
    if row is not None:
        check_size(row, call, EVENT_COPIES * call_size)
        appended = Append(row, "event", *kept, call_size)
    if not is_identity_call(call):
        return appended, None
    logged = identity_call(call)
    most = IDENTITY_CALL_COPIES * call_size
    check_size(logged, call, most)
    outcome = "identity_call" if appended is None else None
    return appended, LogEntry(call=call, append=Append(logged, outcome, *kept, most))


def refused_call(call: Call, refused: Refused) -> DeadLetter:
    """The dead letter of a call that was read, and whose rows were refused."""
    return dead_letter(
        Stage.PARSE,
        refused,
        call.message,
        call.attributes,
        message_id=call.message_id,
        connection=call.connection.name,
        published_at=call.published_at,
        inherited=call.inherited,
    )


def is_identity_call(call: Call) -> bool:
    """Whether the call changes contacts, accounts or identities: everything but page, screen and plain track calls."""
    return call.type not in EVENT_TYPES or (call.type == TRACK and engage.is_engage(call))


def event(call: Call) -> Event | None:
    """The row of a page, screen or track call; None for every other call."""
    event_type = EVENT_TYPES.get(call.type)
    if event_type is None:
        return None
    return Event(
        call.message_id,
        event_type,
        call.name or page_name(call.type, call.properties, call.page),
        call.timestamp,
        call.received_at,
        call.sent_at,
        call.user_id,
        call.anonymous_id,
        call.group_id,
        call.connection.name,
        call.properties,
        call.context,
        call.integrations,
        call.original_timestamp,
        call.project_id,
        call.channel,
        call.extra,
    )


def identity_call(call: Call) -> IdentityCall:
    """The log's row for a call, whose documents have each key once, with the value that counts. Raises Refused
    (invalid_field) where BigQuery would refuse a number in it: here, before any fact is taken from it, since what is
    not in the log must not be in the tables."""
    properties = None
    try:
        traits = raw_json.with_each_key_once(call.traits)
        context = raw_json.with_each_key_once(call.context)
        if call.type == TRACK:  # it is an event as well
            properties = raw_json.with_each_key_once(call.properties)
            for document in (call.integrations or EMPTY, call.extra or EMPTY):
                raw_json.check_numbers(document)
    except ValueError as error:
        raise Refused(Reason.INVALID_FIELD, str(error)) from None
    return IdentityCall(
        message_id=call.message_id,
        type=call.type,
        timestamp=call.timestamp,
        received_at=call.received_at,
        user_id=call.user_id,
        anonymous_id=call.anonymous_id,
        previous_id=call.previous_id,
        group_id=call.group_id,
        connection=call.connection.name,
        traits=traits,
        properties=properties,
        context=context,
        sent_at=call.sent_at,
        original_timestamp=call.original_timestamp,
        project_id=call.project_id,
        promoted=promoted(call),
        payload=bytes(payload(call)).decode(),
    )


def payload(call: Call) -> Raw:
    """The call as one JSON object, with what it inherited or was given written into it."""
    if not call.given:
        return Raw(call.message)
    return raw_json.encode({**raw_json.decode_fields(call.message), **call.given})


def size(call: Call) -> int:
    """Bytes of the call with what it inherited."""
    return len(call.message) + sum(map(len, call.given.values())) + _COLUMN_BYTES


def check_size(row: Row, call: Call, most: int) -> None:
    """Raises Refused (too_large) where no warehouse could hold the row, which has at most so many bytes."""
    if most > MAX_ROW_BYTES:
        exact = sum(map(_column_bytes, astuple(row)))
        if exact > MAX_ROW_BYTES:
            raise Refused(Reason.TOO_LARGE, f"a row of {exact} bytes; {size_and_digest(call.message)}")


def _column_bytes(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode())
    return len(value) if isinstance(value, Raw) else 8


def promoted(call: Call) -> Raw | None:
    """The columns that the traits of this call alone would give its contact or its account."""
    if call.type not in (IDENTIFY, GROUP):
        return None
    if call.type == GROUP:
        return PromotedTraits.of_call(raw_json.decode_fields(call.traits)).company().document()
    return PromotedTraits.person_of_call(call.traits, call.user_id or call.anonymous_id or "").document()


def page_name(call_type: str, properties: Raw, page: Raw) -> str:
    """A page's or screen's name where the call itself has none. `page` is that of its context."""
    fields = _read_name_fields(properties)
    candidates = [fields.name]
    if call_type == PAGE:
        candidates.append(fields.path)
        if is_object(page):
            candidates.append(_read_name_fields(page).path)
    for raw in candidates:
        name = peek(raw)
        if isinstance(name, str) and name:
            return name
    return ""
