"""What each call becomes: the row of an event, the log's row, or both."""

from __future__ import annotations

import json
from typing import Any

import msgspec
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
        "originalTimestamp": START_MS - 1,
        "projectId": "7",
        "channel": "server",
        "version": 2,
        "writeKey": "secret",
        "properties": {"b": 1.50, "a": "\u00e9"},
        "context": {"groupId": 7},
        "integrations": {"All": True},
        "traits": {"kept": "too"},
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
        "original_timestamp": second(-0.001),
        "project_id": "7",
        "channel": "server",
        "extra": {"version": 2, "traits": {"kept": "too"}},
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
    payload = b' {"receivedAt":1e9,"type":"identify",  "userId":"u","messageId":"m","timestamp":1e9,"x":1.50 } '
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
        ({**TRACK, "context": ENGAGE}, ("traits", "properties", "integrations", "x")),
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
        payload = line({**IDENTIFY, part: {"k": ["?"]}, "receivedAt": START_MS}).replace(b'"?"', number)
        assert call_rows.identity_call(accepted(payload)).payload == payload.decode()


@pytest.mark.parametrize("name", ["writeKey", "WRITE_KEY", "Write Key"])
@pytest.mark.parametrize("part", ["traits", "properties", "context", "integrations", "other"])
@pytest.mark.parametrize("message", [IDENTIFY, {**TRACK, "context": ENGAGE}])
def test_a_sender_s_secret_is_in_no_row(message: Message, part: str, name: str) -> None:
    nested = {**message.get(part, {}), "a": [{name: ["secret"]}], "kept": 1}
    call = accepted({**without(message, "messageId"), name: "secret", part: nested})
    rows = (call_rows.event(call), call_rows.identity_call(call))
    assert all(b"secret" not in msgspec.json.encode(row) for row in rows)


@pytest.mark.parametrize(
    ("what", "message", "expected"),
    [
        (
            "an identify's",
            {**IDENTIFY, "userId": "a@acme.com", "traits": {"First-Name": "Ann", "phone": 5, "createdAt": 0, "x": 1}},
            {
                "email": "a@acme.com",
                "name": "Ann",
                "first_name": "Ann",
                "phone": "5",
                "created_at": "1970-01-01T00:00:00.000000Z",
            },
        ),
        ("a group's", {**GROUP, "traits": {"NAME": "Acme", "employees": "5"}}, {"name": "Acme", "employees": 5}),
        ("none", {**IDENTIFY, "traits": {"phone": ""}}, None),
        ("another call's", {**ALIAS, "traits": {"phone": "5"}}, None),
    ],
)
def test_what_the_traits_of_one_call_give(what: str, message: Message, expected: Message | None) -> None:
    promoted = call_rows.identity_call(accepted(message)).promoted
    assert (promoted and json.loads(bytes(promoted))) == expected


@pytest.mark.parametrize(("length", "fits"), [(3_900_000, True), (4_100_000, False)])
def test_a_page_whose_name_is_a_property_has_it_twice_in_its_row(length: int, fits: bool) -> None:
    call = accepted({**PAGE, "properties": {"name": "x" * length}})
    event = call_rows.event(call)
    assert event is not None
    if fits:
        call_rows.check_size(event, call, call_rows.EVENT_COPIES * call_rows.size(call))
        return
    with pytest.raises(Refused, match="bytes, SHA-256"):
        call_rows.check_size(event, call, call_rows.EVENT_COPIES * call_rows.size(call))


@pytest.mark.parametrize("part", ["traits", "context"])
def test_a_row_that_no_warehouse_could_hold_is_refused(part: str) -> None:
    for length, fits in ((3_900_000, True), (4_100_000, False)):
        call = accepted({**IDENTIFY, part: {"x": "x" * length}})
        row = call_rows.identity_call(call)
        if fits:
            call_rows.check_size(row, call, call_rows.IDENTITY_CALL_COPIES * call_rows.size(call))
            continue
        with pytest.raises(Refused, match="bytes, SHA-256") as refused:
            call_rows.check_size(row, call, call_rows.IDENTITY_CALL_COPIES * call_rows.size(call))
        assert refused.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    "message", [PAGE, {**TRACK, "name": "N" * 50}, {**SCREEN, "category": "c", "x": "\u00fc" * 99}]
)
def test_the_estimate_of_an_event_s_size_never_tells_too_little(message: Message) -> None:
    call = accepted(line({"context": {"a": "x" * 500}, "batch": [{**message, "properties": {"a": ["b"]}}]}))
    event = call_rows.event(call)
    assert event is not None
    exact = sum(len(value.encode()) if isinstance(value, str) else len(value or b"") for value in texts(event))
    assert exact <= call_rows.size(call)


def texts(row: msgspec.Struct) -> list[Any]:
    values = msgspec.structs.astuple(row)
    return [value for value in values if isinstance(value, str | bytes | msgspec.Raw)]
