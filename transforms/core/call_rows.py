"""What each call becomes (`docs/semantics.md`, section 2): an event, an entry of the identity log, or both."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

from schemas.segment import PAGE, SCREEN, TRACK
from schemas.tables import Event, IdentityCall
from transforms.core import engage, raw_json
from transforms.core.dead_letters import Reason, Refused
from transforms.core.raw_json import EMPTY, NULL, is_object, peek
from transforms.core.reader import Call

EVENT_TYPES: Final = {PAGE: "Page", SCREEN: "Screen", TRACK: "Action"}


class _NameFields(msgspec.Struct):
    name: Raw = NULL
    path: Raw = NULL


_read_name_fields: Final = msgspec.json.Decoder(_NameFields).decode


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
        call.name or _name(call),
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
    )


def identity_call(call: Call) -> IdentityCall:
    """The log's row for a call. Raises Refused (invalid_field) where BigQuery would refuse a number in it: here, before
    any fact is taken from it, since what is not in the log must not be in the tables."""
    documents = [call.traits, call.context]
    if call.type == TRACK:  # it is an event as well
        documents += [call.properties, call.integrations or EMPTY]
    try:
        for document in documents:
            raw_json.check_numbers(document)
    except ValueError as error:
        raise Refused(Reason.INVALID_FIELD, str(error)) from None
    payload = raw_json.encode({**raw_json.decode_fields(call.message), **call.given}) if call.given else call.message
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
        traits=call.traits,
        properties=call.properties if call.type == TRACK else None,
        context=call.context,
        payload=bytes(payload).decode(),
    )


def _name(call: Call) -> str:
    """A page's or screen's name where the call itself has none."""
    fields = _read_name_fields(call.properties)
    candidates = [fields.name]
    if call.type == PAGE:
        candidates.append(fields.path)
        if is_object(call.page):
            candidates.append(_read_name_fields(call.page).path)
    for raw in candidates:
        name = peek(raw)
        if isinstance(name, str) and name:
            return name
    return ""
