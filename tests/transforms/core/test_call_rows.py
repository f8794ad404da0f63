"""What each call becomes: the row of an event, the log's row, or both."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.tables import EVENTS, IDENTITY_CALLS
from tests.histories import Message, line
from tests.transforms.core.calls import (
    ALIAS,
    DELETE,
    GROUP,
    IDENTIFY,
    PAGE,
    SCREEN,
    START_MS,
    TRACK,
    accepted,
    columns,
    second,
    without,
)
from transforms.core import call_rows
from transforms.core.dead_letters import Reason, Refused

ENGAGE = {"personas": {"computation_class": "audience", "computation_key": "big_spender"}}


@pytest.mark.parametrize(
    ("what", "message", "is_event", "is_identity_call"),
    [
        ("a page", PAGE, True, False),
        ("a screen", SCREEN, True, False),
        ("a track", TRACK, True, False),
        ("an identify", IDENTIFY, False, True),
        ("a group", GROUP, False, True),
        ("an alias", ALIAS, False, True),
        ("a delete", DELETE, False, True),
        ("an Engage track is both", {**TRACK, "context": ENGAGE}, True, True),
        ("an Engage identify", {**IDENTIFY, "context": ENGAGE}, False, True),
        ("a page is never Engage's", {**PAGE, "context": ENGAGE}, True, False),
        ("a screen is never Engage's", {**SCREEN, "context": ENGAGE}, True, False),
        ("a track of another class", {**TRACK, "context": {"personas": {"computation_class": "x"}}}, True, False),
        ("a track with personas of another type", {**TRACK, "context": {"personas": "audience"}}, True, False),
        ("a track with personas that are null", {**TRACK, "context": {"personas": None}}, True, False),
    ],
)  # fmt: skip
def test_kinds(what: str, message: Message, is_event: bool, is_identity_call: bool) -> None:
    call = accepted(message)
    assert (call_rows.event(call) is not None) == is_event
    assert call_rows.is_identity_call(call) == is_identity_call


@pytest.mark.parametrize(
    ("what", "message", "expected"),
    [
        ("a track's event", {**TRACK, "name": "N", "properties": {"name": "P"}}, "E"),
        ("a page's own name", {**PAGE, "name": "N", "properties": {"name": "P", "path": "/p"}}, "N"),
        ("else its properties' name", {**PAGE, "properties": {"path": "/p", "name": "P"}}, "P"),
        ("else their path", {**PAGE, "properties": {"path": "/p"}, "context": {"page": {"path": "/c"}}}, "/p"),
        ("else its context's path", {**PAGE, "context": {"page": {"path": "/c", "name": "C"}}}, "/c"),
        ("else empty", PAGE, ""),
        ("empty names are none", {**PAGE, "name": "", "properties": {"name": "", "path": ""}}, ""),
        ("names of other types are none", {**PAGE, "name": 1, "properties": {"name": ["P"], "path": "/p"}}, "/p"),
        ("a path beyond FLOAT64 is none", line({**PAGE, "properties": {"path": "?"}}).replace(b'"?"', b"1e400"), ""),
        ("a context's page of another type", {**PAGE, "context": {"page": "/c"}}, ""),
        ("a context's page that is a list", {**PAGE, "context": {"page": ["/c"]}}, ""),
        ("a context's page that is null", {**PAGE, "context": {"page": None}}, ""),
        ("escapes", line(PAGE)[:-1] + b',"properties":{"n\\u0061me":"\\u00c9"}}', "\u00c9"),
        ("a screen's own name", {**SCREEN, "name": "N", "properties": {"name": "P"}}, "N"),
        ("a screen's properties' name", {**SCREEN, "properties": {"name": "P"}}, "P"),
        ("a screen has no path", {**SCREEN, "properties": {"path": "/p"}, "context": {"page": {"path": "/c"}}}, ""),
    ],
)  # fmt: skip
def test_names_of_events(what: str, message: Message | bytes, expected: str) -> None:
    event = call_rows.event(accepted(message))
    assert event is not None
    assert event.name == expected


@pytest.mark.parametrize(("message", "expected"), [(PAGE, "Page"), (SCREEN, "Screen"), (TRACK, "Action")])
def test_an_event_s_row_has_everything_as_it_was_sent(message: Message, expected: str) -> None:
    message = {
        **message,
        "anonymousId": " a ",
        "sentAt": START_MS + 1000,
        "receivedAt": START_MS + 2000,
        "properties": {"b": 1.50, "a": "\u00e9"},
        "context": {"groupId": 7},
        "integrations": {"All": True},
        "traits": {"not": "kept"},
    }
    event = call_rows.event(accepted(message))
    assert event is not None
    assert EVENTS.misfit(event) is None
    row: dict[str, Any] = {
        "message_id": "m",
        "type": expected,
        "timestamp": second(0),
        "received_at": second(2),
        "sent_at": second(1),
        "user_id": "u",
        "anonymous_id": "a",
        "group_id": "7",
        "connection": "default",
        "properties": {"b": 1.5, "a": "\u00e9"},
        "context": {"groupId": 7},
        "integrations": {"All": True},
    }
    assert columns(event, row) == row
    assert bytes(event.properties) == json.dumps(message["properties"], ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("what", "message", "expected"),
    [
        (
            "an identify",
            {**IDENTIFY, "anonymousId": "a", "traits": {"a": 1}, "context": {"groupId": "g"}, "properties": {"p": 1}},
            {"user_id": "u", "anonymous_id": "a", "group_id": "g", "traits": {"a": 1}, "properties": None},
        ),
        ("a group", {**GROUP, "traits": {"a": 1}}, {"group_id": "acme", "traits": {"a": 1}, "properties": None}),
        ("an alias", without(ALIAS, "previousId") | {"anonymousId": "b"}, {"anonymous_id": "b", "previous_id": "b"}),
        ("a delete", DELETE, {"type": "delete", "traits": {}, "properties": None, "context": {}}),
        (
            "an Engage track",
            {**TRACK, "properties": {"big_spender": True}, "context": ENGAGE},
            {"type": "track", "properties": {"big_spender": True}, "context": ENGAGE, "traits": {}},
        ),
    ],
)
def test_a_call_in_the_log(what: str, message: Message, expected: dict[str, Any]) -> None:
    row = call_rows.identity_call(accepted(message))
    assert IDENTITY_CALLS.misfit(row) is None
    assert columns(row, expected) == expected
    assert (row.message_id, row.timestamp, row.received_at, row.connection) == ("m", second(0), second(0), "default")


def test_the_log_keeps_the_message_with_what_it_was_given_written_into_it() -> None:
    message = {**without(IDENTIFY, "messageId", "timestamp"), "extra": {"b": 1, "a": [1.50]}, "timestamp": "?"}
    call = accepted(message, published_at=second(9))
    assert json.loads(call_rows.identity_call(call).payload) == {
        **message,
        "messageId": call.message_id,
        "timestamp": "2023-11-14T22:13:29.000000Z",
        "receivedAt": "2023-11-14T22:13:29.000000Z",
    }


def test_a_message_that_was_given_nothing_is_kept_to_the_byte() -> None:
    payload = b' {"receivedAt":0,"type":"identify",  "userId":"u","messageId":"m","timestamp":0,"x":1.50 } '
    assert call_rows.identity_call(accepted(payload)).payload == payload.decode()


TOO_GREAT = [b"1e400", b"-1e400", b"1" + b"0" * 400, b"1" * 5000]


@pytest.mark.parametrize("number", TOO_GREAT)
@pytest.mark.parametrize(
    ("message", "columns"),
    [
        (IDENTIFY, ("traits", "context")),
        (GROUP, ("traits", "context")),
        (ALIAS, ("traits", "context")),
        (DELETE, ("traits", "context")),
        ({**TRACK, "context": ENGAGE}, ("traits", "properties", "integrations")),
    ],
)
def test_a_number_that_a_column_cannot_hold_is_refused_before_the_call_is_in_the_log(
    message: Message, columns: tuple[str, ...], number: bytes
) -> None:
    for part in columns:
        call = accepted(line({**message, part: {"k": ["?"]}}).replace(b'"?"', number))
        with pytest.raises(Refused) as refused:
            call_rows.identity_call(call)
        assert refused.value.reason is Reason.INVALID_FIELD
        assert refused.value.detail


@pytest.mark.parametrize("number", TOO_GREAT)
def test_elsewhere_such_a_number_is_kept_as_it_was_written(number: bytes) -> None:
    for part in ("properties", "integrations", "x"):
        payload = line({**IDENTIFY, part: {"k": ["?"]}, "receivedAt": 0}).replace(b'"?"', number)
        assert call_rows.identity_call(accepted(payload)).payload == payload.decode()
