"""Reading a message: what each field may be, what is refused and why, batches, clocks and integrations."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import pytest

from schemas.segment import MAX_MESSAGE_BYTES, PLACEHOLDER_IDS
from schemas.tables import DEAD_LETTERS, DeadLetter, Timestamp
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
    deep,
    plain,
    read,
    read_all,
    refused,
    second,
    without,
)
from transforms.core import call_rows, facts
from transforms.core.connections import DEFAULT, Connection, Connections, Router
from transforms.core.dead_letters import Stage
from transforms.core.reader import Call, Disabled, OversizedMessage, Reader, Received

DAY_MS = 86_400_000
SITE_ONLY = Connections(connections=(Connection("site", ("s1",)),))
ITEM = without(PAGE, "timestamp")
NO_OBJECTS: Message = {"traits": {}, "properties": {}, "context": {}}
SEVERAL = Connections(connections=(Connection("site", ("s1",)), Connection("app", ("s2", "s3")), Connection("rest")))


@pytest.mark.parametrize("message", [PAGE, SCREEN, TRACK, IDENTIFY, GROUP, ALIAS, DELETE])
def test_the_smallest_of_each_call(message: Message) -> None:
    payload = line(message)
    assert accepted(payload) == Call(
        type=message["type"],
        message_id="m",
        timestamp=second(0),
        received_at=second(0),
        sent_at=None,
        user_id="u",
        anonymous_id=None,
        previous_id=message.get("previousId"),
        group_id=message.get("groupId"),
        connection=DEFAULT.connections[0],
        name=message.get("event"),
        traits=msgspec.Raw(b"{}"),
        properties=msgspec.Raw(b"{}"),
        context=msgspec.Raw(b"{}"),
        integrations=None,
        page=msgspec.Raw(b"null"),
        personas=msgspec.Raw(b"null"),
        message=payload,
        given={"receivedAt": msgspec.Raw(b'"2023-11-14T22:13:20.000000Z"')},
        attributes={},
    )


@pytest.mark.parametrize(
    ("what", "message", "expected"),
    [
        # type
        ("a type in capitals", {**PAGE, "type": "PAGE"}, {"type": "page"}),
        ("a type in mixed case", {**IDENTIFY, "type": "Identify"}, {"type": "identify"}),
        ("Segment's deletion notice", {**DELETE, "context": None, "integrations": None}, {"type": "delete"}),
        # ids
        ("an id with white space", {**PAGE, "userId": " u\n"}, {"user_id": "u"}),
        ("an id with control characters", {**PAGE, "userId": "\u0000u\u0007"}, {"user_id": "\u0000u\u0007"}),
        ("an integer as an id", {**PAGE, "userId": 7}, {"user_id": "7"}),
        ("a whole float as an id", {**PAGE, "anonymousId": 7.0}, {"anonymous_id": "7"}),
        ("both ids", {**PAGE, "anonymousId": "a"}, {"user_id": "u", "anonymous_id": "a"}),
        (
            "an anonymous id alone",
            {**without(PAGE, "userId"), "anonymousId": "a"},
            {"user_id": None, "anonymous_id": "a"},
        ),
        (
            "a placeholder beside an id",
            {**PAGE, "userId": "null", "anonymousId": "a"},
            {"user_id": None, "anonymous_id": "a"},
        ),
        ("an id in another spelling", {**without(PAGE, "userId"), "User ID": "v"}, {"user_id": "v"}),
        ("a null gives way to another spelling", {**PAGE, "userId": None, "user_id": "v"}, {"user_id": "v"}),
        ("a placeholder does not", {**PAGE, "userId": "null", "user_id": "v", "anonymousId": "a"}, {"user_id": None}),
        # alias
        (
            "from and to",
            {**without(ALIAS, "userId", "previousId"), "from": "x", "to": "y"},
            {"previous_id": "x", "user_id": "y"},
        ),
        ("ids go before from and to", {**ALIAS, "from": "x", "to": "y"}, {"previous_id": "a", "user_id": "u"}),
        ("a placeholder gives way to them", {**ALIAS, "previousId": "null", "from": "x"}, {"previous_id": "x"}),
        (
            "the anonymous id is the previous one",
            {**without(ALIAS, "previousId"), "anonymousId": "b"},
            {"previous_id": "b"},
        ),
        ("unless there is one", {**ALIAS, "anonymousId": "b"}, {"previous_id": "a", "anonymous_id": "b"}),
        (
            "from and to mean nothing in another call",
            {**PAGE, "from": "x", "to": "y"},
            {"previous_id": None, "user_id": "u"},
        ),
        ("a previousId means nothing in another call", {**PAGE, "previousId": []}, {"previous_id": None}),
        # accounts
        ("a group's id", {**GROUP, "groupId": " 7 "}, {"group_id": "7"}),
        ("a group's id that is a number", {**GROUP, "groupId": 7}, {"group_id": "7"}),
        ("a group's id goes before its context's", {**GROUP, "context": {"groupId": "x"}}, {"group_id": "acme"}),
        ("the context's group", {**PAGE, "context": {"groupId": 7.0}}, {"group_id": "7"}),
        ("a placeholder in the context", {**PAGE, "context": {"groupId": "NULL"}}, {"group_id": None}),
        ("an unusable one in the context", {**PAGE, "context": {"groupId": ["x"]}}, {"group_id": None}),
        ("an unusable number in the context", {**PAGE, "context": {"groupId": 1.5}}, {"group_id": None}),
        ("in snake case", {**PAGE, "context": {"group_id": "x"}}, {"group_id": "x"}),
        ("as the spec spells it first", {**PAGE, "context": {"groupId": "x", "group_id": "y"}}, {"group_id": "x"}),
        ("at the top level", {**PAGE, "groupId": "x"}, {"group_id": "x"}),
        ("the context first", {**IDENTIFY, "groupId": "x", "context": {"groupId": 5}}, {"group_id": "5"}),
        ("an unusable one at the top level", {**PAGE, "groupId": []}, {"group_id": None, "unusable": ["groupId"]}),
        # ids that cannot be used
        ("a bad id beside a good one", {**PAGE, "anonymousId": {}}, {"user_id": "u", "unusable": ["anonymousId"]}),
        ("a long id beside a good one", {**PAGE, "anonymousId": "x" * 1025}, {"anonymous_id": None}),
        ("a bad previousId beside a good id", {**ALIAS, "previousId": [], "anonymousId": "b"}, {"previous_id": "b"}),
        ("a group without a person", without(GROUP, "userId"), {"user_id": None, "group_id": "acme"}),
        ("a group with a bad person", {**GROUP, "userId": {}}, {"user_id": None, "unusable": ["userId"]}),
        # objects
        ("traits", {**IDENTIFY, "traits": {"a": [1]}}, {"traits": {"a": [1]}, "properties": {}, "context": {}}),
        ("objects that are null", {**PAGE, "traits": None, "properties": None, "context": None}, NO_OBJECTS),
        ("empty lists", {**PAGE, "traits": [], "properties": [], "context": []}, NO_OBJECTS),
        ("empty strings", {**PAGE, "traits": "", "properties": "", "context": ""}, NO_OBJECTS),
        ("false", {**PAGE, "traits": False, "properties": False, "context": False}, NO_OBJECTS),
        ("zero", {**PAGE, "traits": 0, "properties": 0.0, "context": -0.0}, NO_OBJECTS),
        ("traits in the context", {**IDENTIFY, "context": {"traits": {"a": 1}}}, {"traits": {"a": 1}}),
        ("no traits in it", {**IDENTIFY, "context": {"traits": "x"}}, {"traits": {}}),
        ("traits of null", {**IDENTIFY, "traits": None, "context": {"traits": {"a": 1}}}, {"traits": {"a": 1}}),
        ("traits of its own", {**IDENTIFY, "traits": {}, "context": {"traits": {"a": 1}}}, {"traits": {}}),
        ("those of another call", {**GROUP, "context": {"traits": {"a": 1}}}, {"traits": {}}),
        ("a category", {**PAGE, "category": "Docs"}, {"properties": {"category": "Docs"}, "extra": None}),
        (
            "a category beside properties",
            {**SCREEN, "Category": 5, "properties": {"a": 1, "category": None}},
            {"properties": {"a": 1, "category": 5}, "extra": None},
        ),
        (
            "a category where there is one",
            {**PAGE, "category": "Docs", "properties": {"category": "x"}},
            {"properties": {"category": "x"}, "extra": {"category": "Docs"}},
        ),
        ("a track's category", {**TRACK, "category": "Docs"}, {"properties": {}, "extra": {"category": "Docs"}}),
        # what no column has
        (
            "fields of Segment's own",
            {**PAGE, "_metadata": {"b": []}, "version": 2, "channel": "server", "projectId": "p", "writeKey": "k"},
            {"extra": {"_metadata": {"b": []}, "version": 2}, "channel": "server", "project_id": "p"},
        ),
        (
            "unknown fields",
            {**TRACK, "context_ip": "1", "event_text": "E", "Write Key": "k", "x": None, "User_Id": "v", "a": 1.50},
            {"extra": {"context_ip": "1", "event_text": "E", "User_Id": "v", "a": 1.5}, "user_id": "u"},
        ),
        (
            "fields of other calls",
            {**TRACK, "name": "N", "traits": {"a": 1}, "previousId": "p", "to": 1, "from": 2, "batch": {}},
            {"extra": {"name": "N", "traits": {"a": 1}, "previousId": "p", "to": 1, "from": 2, "batch": {}}},
        ),
        ("another group", {**PAGE, "groupId": "x", "context": {"groupId": "y"}}, {"extra": {"groupId": "x"}}),
        ("a channel that is none", {**PAGE, "channel": ["x"]}, {"channel": None, "extra": {"channel": ["x"]}}),
        ("an identity call has its payload", {**IDENTIFY, "x": 1}, {"extra": None}),
        ("integrations", {**PAGE, "integrations": {"All": True}}, {"integrations": {"All": True}}),
        ("integrations of another type", {**PAGE, "integrations": "All"}, {"integrations": None}),
        ("integrations that are a list", {**PAGE, "integrations": [1]}, {"integrations": None}),
        # message ids
        ("a message id as it is", {**PAGE, "messageId": " M\n1 "}, {"message_id": " M\n1 "}),
        ("a message id that is a number", {**PAGE, "messageId": 12}, {"message_id": "12"}),
        ("a message id beyond 64 bits", {**PAGE, "messageId": 2**70}, {"message_id": str(2**70)}),
        ("a message id of zero", {**PAGE, "messageId": 0}, {"message_id": "0"}),
        # times
        (
            "what Segment has corrected",
            {**PAGE, "originalTimestamp": START_MS + 1, "sentAt": START_MS + 2, "receivedAt": START_MS + 9},
            {"timestamp": second(0), "sent_at": second(0.002), "original_timestamp": second(0.001)},
        ),
        (
            "the original time",
            {**PAGE, "timestamp": None, "originalTimestamp": START_MS + 1, "sentAt": START_MS},
            {"timestamp": second(0.001)},
        ),
        (
            "corrected as Segment does it",
            {
                **PAGE,
                "timestamp": "?",
                "originalTimestamp": START_MS - 1,
                "sentAt": START_MS,
                "receivedAt": START_MS + 9,
            },
            {"timestamp": second(0.008), "unusable": ["timestamp"]},
        ),
        (
            "its own time, corrected",
            {**PAGE, "sentAt": START_MS + 5, "receivedAt": START_MS + 9},
            {"timestamp": second(0.004), "original_timestamp": None},
        ),
        (
            "then when it was sent",
            {**PAGE, "timestamp": "?", "originalTimestamp": "2023-02-30", "sentAt": START_MS + 2},
            {"timestamp": second(0.002)},
        ),
        (
            "then when it was received",
            {**PAGE, "timestamp": {}, "sentAt": "?", "receivedAt": START_MS + 3},
            {"timestamp": second(0.003), "sent_at": None, "received_at": second(0.003)},
        ),
        (
            "a correction out of all range",
            {**PAGE, "timestamp": "1980-01-01", "sentAt": "9000-01-01", "receivedAt": START_MS},
            {"timestamp": second(0)},
        ),
        ("a time in seconds", {**PAGE, "timestamp": START_MS // 1000}, {"timestamp": second(0)}),
        (
            "when it was received",
            {**PAGE, "receivedAt": START_MS + 3},
            {"timestamp": second(0), "received_at": second(0.003)},
        ),
        ("no such time", {**PAGE, "receivedAt": "never"}, {"received_at": second(0)}),
        (
            "24 hours ahead",
            {**PAGE, "timestamp": START_MS + DAY_MS, "receivedAt": START_MS},
            {"timestamp": second(86_400)},
        ),
        (
            "more than 24 hours ahead",
            {**PAGE, "timestamp": START_MS + DAY_MS + 1, "receivedAt": START_MS},
            {"timestamp": second(0)},
        ),
        (
            "the year 9999",
            {**PAGE, "timestamp": "9999-12-31T23:59:59.999Z", "receivedAt": START_MS},
            {"timestamp": second(0)},
        ),
        (
            "the year 1",
            {**PAGE, "timestamp": "0001-01-01", "receivedAt": START_MS},
            {"timestamp": second(0), "unusable": ["timestamp"]},
        ),
        ("1970", {**PAGE, "timestamp": 0, "receivedAt": START_MS}, {"timestamp": second(0)}),
        ("the end of 1970", {**PAGE, "timestamp": "1970-12-31", "sentAt": START_MS}, {"timestamp": second(0)}),
        ("1971", {**PAGE, "timestamp": "1971-01-01"}, {"timestamp": 31_536_000_000_000}),
        ("sent in 1970", {**PAGE, "sentAt": 1}, {"sent_at": None, "received_at": second(0), "unusable": ["sentAt"]}),
        ("received in 1970", {**PAGE, "receivedAt": "1960-01-01"}, {"received_at": second(0)}),
        (
            "received when it was sent",
            {**PAGE, "sentAt": START_MS + 5},
            {"timestamp": second(0), "received_at": second(0.005)},
        ),
        (
            "a fast clock, sent by another",
            {**PAGE, "timestamp": START_MS + 2 * DAY_MS, "sentAt": START_MS},
            {"timestamp": second(0)},
        ),
        (
            "the last partition",
            {**PAGE, "receivedAt": "2159-12-31T23:59:59.999999Z"},
            {"received_at": 5_995_814_399_999_999},
        ),
        # names
        ("a track's event", {**TRACK, "name": "N"}, {"name": "E"}),
        ("a page's name", {**PAGE, "name": "N", "event": "E"}, {"name": "N"}),
        ("an empty name", {**PAGE, "name": ""}, {"name": None}),
        ("a name of another type", {**PAGE, "name": 5}, {"name": None}),
        ("white space is a name", {**TRACK, "event": " "}, {"name": " "}),
    ],
)
def test_fields(what: str, message: Message, expected: dict[str, Any]) -> None:
    assert columns(accepted(message), expected) == expected


@pytest.mark.parametrize(
    ("what", "message", "expected"),
    [
        ("no JSON", b'{"type":"page"', "invalid_json"),
        ("a string", b'"page"', "invalid_json"),
        ("a number", b"1", "invalid_json"),
        ("null", b"null", "invalid_json"),
        ("an item that is no object", b"[1]", "invalid_json"),
        ("an item that is an array", b"[[{}]]", "invalid_json"),
        ("not a number", line({**PAGE, "x": float("nan")}), "invalid_json"),
        ("infinity", line({**PAGE, "x": float("inf")}), "invalid_json"),
        ("half a surrogate pair", b'{"type":"page","userId":"u","name":"\\ud83d"}', "invalid_json"),
        ("no UTF-8", b'{"type":"page","userId":"\xff"}', "invalid_json"),
        ("a byte order mark", b"\xef\xbb\xbf" + line(PAGE), "invalid_json"),
        ("a NUL behind it", line(PAGE) + b"\0", "invalid_json"),
        ("no type", without(PAGE, "type"), "unsupported_type"),
        ("a null type", {**PAGE, "type": None}, "unsupported_type"),
        ("another type", {**PAGE, "type": "heartbeat"}, "unsupported_type"),
        ("white space around a type: unspecified, refused", {**PAGE, "type": " page"}, "unsupported_type"),
        ("a type of another type", {**PAGE, "type": ["page"]}, "unsupported_type"),
        ("a type that is an object", {**PAGE, "type": {}}, "unsupported_type"),
        ("an id of another type", {**PAGE, "userId": True}, "invalid_field"),
        ("an id that is a list", {**without(PAGE, "userId"), "anonymousId": ["a"]}, "invalid_field"),
        ("an id with a fraction", {**PAGE, "userId": 1.5}, "invalid_field"),
        ("an id beyond FLOAT64", line(PAGE).replace(b'"u"', b"1e400"), "invalid_field"),
        ("an id of 5,000 digits", line(PAGE).replace(b'"u"', b"1" * 5000), "invalid_field"),
        ("a bad id beside a placeholder", {**PAGE, "userId": "null", "anonymousId": {}}, "invalid_field"),
        ("an id of 1,025 characters", {**PAGE, "userId": "x" * 1025}, "invalid_field"),
        ("a bad previousId", {**ALIAS, "previousId": []}, "invalid_field"),
        ("a bad from", {**without(ALIAS, "previousId"), "from": False}, "invalid_field"),
        ("a bad to", {**without(ALIAS, "userId"), "to": {}}, "invalid_field"),
        ("a bad groupId", {**GROUP, "groupId": 0.5}, "invalid_field"),
        ("traits that are text", {**IDENTIFY, "traits": "x"}, "invalid_field"),
        ("traits that are a list", {**IDENTIFY, "traits": [{}]}, "invalid_field"),
        ("properties that are true", {**PAGE, "properties": True}, "invalid_field"),
        ("a context that is a number", {**PAGE, "context": 1}, "invalid_field"),
        ("a context beyond FLOAT64", line({**PAGE, "context": "?"}).replace(b'"?"', b"1e400"), "invalid_field"),
        ("objects that a call of that type does not have", {**PAGE, "traits": "x"}, "invalid_field"),
        ("501 levels", line({**PAGE, "x": "?"}).replace(b'"?"', deep(500)), "invalid_field"),
        ("501 levels in the context", line({**PAGE, "context": "?"}).replace(b'"?"', deep(500)), "invalid_field"),
        ("1,000 levels", line({**PAGE, "traits": "?"}).replace(b'"?"', deep(1000)), "invalid_field"),
        ("100,000 levels", line({**PAGE, "x": "?"}).replace(b'"?"', deep(100_000)), "invalid_field"),
        ("received after partitions", {**PAGE, "receivedAt": "2160-01-01"}, "invalid_field"),
        ("a timestamp alone after partitions", {**PAGE, "timestamp": "2160-01-01"}, "invalid_field"),
        ("an alias without a userId", without(ALIAS, "userId"), "missing_field"),
        ("an alias without a previousId", without(ALIAS, "previousId"), "missing_field"),
        ("an alias of anonymous ids only", {**without(ALIAS, "userId"), "anonymousId": "a"}, "missing_field"),
        ("an alias of placeholders", {**ALIAS, "userId": "guest", "previousId": "unknown"}, "missing_field"),
        ("no id", without(PAGE, "userId"), "missing_id"),
        ("a null id", {**PAGE, "userId": None}, "missing_id"),
        ("an id of white space", {**PAGE, "userId": " \t", "anonymousId": "\n"}, "missing_id"),
        (
            "placeholders",
            {**PAGE, "userId": "undefined", "anonymousId": "00000000-0000-0000-0000-000000000000"},
            "missing_id",
        ),
        ("a delete without an id", without(DELETE, "userId"), "missing_id"),
        ("a track without an event", without(TRACK, "event"), "missing_field"),
        ("an empty event", {**TRACK, "event": ""}, "missing_field"),
        ("an event of another type", {**TRACK, "event": 5}, "missing_field"),
        ("an event that is a list", {**TRACK, "event": ["E"]}, "missing_field"),
        ("a group without a groupId", without(GROUP, "groupId"), "missing_field"),
        ("a group with a placeholder", {**GROUP, "groupId": "undefined"}, "missing_field"),
        ("a group with its context's", {**GROUP, "groupId": None, "context": {"groupId": "x"}}, "missing_field"),
        ("no time", without(PAGE, "timestamp"), "missing_field"),
        (
            "no time that parses",
            {**PAGE, "timestamp": "?", "originalTimestamp": "?", "sentAt": [], "receivedAt": ""},
            "missing_field",
        ),
        ("1970 alone", {**PAGE, "timestamp": "1970-12-31T23:59:59.999Z", "sentAt": 0}, "missing_field"),
        ("the year 0", {**PAGE, "timestamp": "0000-01-01T00:00:00.000Z"}, "missing_field"),
        ("a time of 5,000 digits", line(PAGE).replace(b'"2023-11-14T22:13:20.000Z"', b"1" * 5000), "missing_field"),
    ],
)
def test_dead_letters(what: str, message: Message | bytes, expected: str) -> None:
    payload = message if isinstance(message, bytes) else line(message)
    row = refused(payload)
    assert (row.stage, row.reason) == ("parse", expected)
    assert row.payload == (payload if payload[:1] != b"[" else payload[1:-1])
    assert row.detail
    assert DEAD_LETTERS.misfit(row) is None


@pytest.mark.parametrize("word", sorted(PLACEHOLDER_IDS))
def test_a_placeholder_counts_as_absent_wherever_an_id_may_be(word: str) -> None:
    word = f" {word.upper()} "
    assert refused({**PAGE, "userId": word}).reason == "missing_id"
    assert refused({**PAGE, "userId": None, "anonymousId": word}).reason == "missing_id"
    assert refused({**ALIAS, "previousId": word}).reason == "missing_field"
    assert refused({**GROUP, "groupId": word}).reason == "missing_field"
    assert accepted({**PAGE, "context": {"groupId": word}}).group_id is None


FAULTS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("too_large", lambda payload: payload + b" " * MAX_MESSAGE_BYTES),
    ("invalid_json", lambda payload: payload[:-1]),
    ("unsupported_type", lambda payload: payload.replace(b'"track"', b'"sing"')),
    ("unknown_connection", lambda payload: payload.replace(b'"s1"', b'"s9"')),
    ("invalid_field", lambda payload: payload.replace(b'"context":{}', b'"context":"?"')),
    ("missing_id", lambda payload: payload.replace(b'"userId":"u"', b'"userId":null')),
    ("missing_field", lambda payload: payload.replace(b'"event":"E"', b'"event":""')),
]


@pytest.mark.parametrize(
    ("first", "second"), itertools.combinations_with_replacement(FAULTS, 2), ids=lambda fault: fault[0]
)
def test_of_several_reasons_the_first_applies(
    first: tuple[str, Callable[[bytes], bytes]], second: tuple[str, Callable[[bytes], bytes]]
) -> None:
    good = json.dumps({**TRACK, "projectId": "s1", "context": {}}, separators=(",", ":")).encode()
    assert isinstance(read(good, SITE_ONLY), Call)
    assert refused(first[1](second[1](good)), SITE_ONLY).reason == first[0]


@pytest.mark.parametrize(
    ("what", "message", "expected"),
    [
        ("an alias misses fields before ids", without(ALIAS, "userId", "previousId"), "missing_field"),
        ("a track misses ids before an event", without(TRACK, "userId", "event"), "missing_id"),
        ("a group misses its groupId alone", without(GROUP, "userId", "groupId"), "missing_field"),
        ("a bad id goes before a missing one", {**without(TRACK, "event"), "userId": []}, "invalid_field"),
        (
            "a bad time of receipt goes before a missing id",
            {**PAGE, "userId": "", "receivedAt": "2500-01-01"},
            "invalid_field",
        ),
        ("depth does not hide the type", b'{"type":"sing","x":%b}' % deep(3000), "unsupported_type"),
    ],
)
def test_of_several_reasons_the_first_applies_to_other_calls(
    what: str, message: Message | bytes, expected: str
) -> None:
    assert refused(message).reason == expected


# ---- size ----


def padded(size: int, message: Message = TRACK) -> bytes:
    payload = line({**message, "x": ""})
    return payload[:-2] + b"x" * (size - len(payload)) + b'"}'


def test_eight_megabytes_are_not_too_large() -> None:
    assert len(padded(MAX_MESSAGE_BYTES)) == 8_000_000
    assert accepted(padded(MAX_MESSAGE_BYTES)).user_id == "u"


def test_of_what_is_too_large_the_beginning_the_length_and_the_hash_are_kept() -> None:
    payload = padded(MAX_MESSAGE_BYTES + 1)
    row = refused(payload)
    assert row.reason == "too_large"
    assert row.payload == payload[:1_000_000]
    assert row.detail == f"8000001 bytes, SHA-256 {hashlib.sha256(payload).hexdigest()}"
    assert (row.message_id, row.connection) == (None, None)


def test_a_source_may_have_kept_only_the_beginning() -> None:
    received = Received(b'{"type":"page"', {"file": "f"}, too_large=OversizedMessage(9_000_000, "digest"))
    (row,) = Reader(Router(DEFAULT)).read(received)
    assert isinstance(row, DeadLetter)
    assert (row.reason, row.detail) == ("too_large", "9000000 bytes, SHA-256 digest")
    assert row.payload == b'{"type":"page"'


def test_large_arrays_and_keys_are_read() -> None:
    calls = read_all([{**PAGE, "messageId": n, "k" * 10_000: n} for n in range(100)])
    assert [call.message_id for call in calls if isinstance(call, Call)] == [str(n) for n in range(100)]


# ---- message ids ----


@pytest.mark.parametrize("message_id", [None, "", [], {}, True, False, 1.5, 2.0])
def test_without_a_message_id_it_is_the_hash_of_the_canonical_json(message_id: Any) -> None:
    message = {**TRACK, "messageId": message_id, "properties": {"b": "\u00e9", "a": [1, 2.5, None]}}
    canonical = json.dumps(message, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    expected = hashlib.sha256(canonical.encode()).hexdigest()
    rewritten = json.dumps(dict(reversed(message.items())), indent=2).encode()
    for payload in (line(message), rewritten, b"[%b]" % rewritten, b'{"context":{"ip":1},"batch":[%b]}' % rewritten):
        assert accepted(payload).message_id == expected


def test_a_missing_message_id_is_the_hash_too() -> None:
    message = without(TRACK, "messageId")
    canonical = b'{"event":"E","timestamp":"2023-11-14T22:13:20.000Z","type":"track","userId":"u"}'
    assert accepted(message).message_id == hashlib.sha256(canonical).hexdigest()
    assert accepted({**message, "Message ID": "other"}).message_id == "other"


# ---- when a message was published, by a source that knows ----


@pytest.mark.parametrize(
    ("what", "message", "expected"),
    [
        ("no time of its own", without(PAGE, "timestamp"), (second(9), second(9))),
        ("no time that parses", {**PAGE, "timestamp": "?"}, (second(9), second(9))),
        ("a time of its own", PAGE, (second(0), second(9))),
        ("a time of receipt", {**PAGE, "receivedAt": START_MS + 5000}, (second(0), second(5))),
        ("a time of receipt alone", {**PAGE, "timestamp": "", "receivedAt": START_MS + 5000}, (second(5), second(5))),
        ("a wrong clock", {**PAGE, "timestamp": "2030-01-01"}, (second(9), second(9))),
        ("a time of receipt that does not parse", {**PAGE, "receivedAt": "2023-02-30"}, (second(0), second(9))),
    ],
)
def test_what_the_message_does_not_tell_is_when_it_was_published(
    what: str, message: Message, expected: tuple[Timestamp, Timestamp]
) -> None:
    call = accepted(message, published_at=second(9))
    assert (call.timestamp, call.received_at) == expected


# ---- connections ----


@pytest.mark.parametrize(
    ("what", "message", "attributes", "expected"),
    [
        ("by its source", {**PAGE, "projectId": "s3"}, {}, "app"),
        ("by another spelling", {**PAGE, "project_id": "s3"}, {}, "app"),
        ("by its attribute", {**PAGE, "projectId": "s3"}, {"connection": "site"}, "site"),
        ("by an attribute that names none", {**PAGE, "projectId": "s3"}, {"connection": "sight"}, "app"),
        ("else the rest", PAGE, {}, "rest"),
        ("a source of another type", {**PAGE, "projectId": ["s3"]}, {}, "rest"),
    ],
)
def test_connections(what: str, message: Message, attributes: Mapping[str, str], expected: str) -> None:
    call = accepted(message, SEVERAL, attributes=attributes)
    assert (call.connection.name, call.attributes) == (expected, attributes)


@pytest.mark.parametrize("project_id", [None, "s9", 1, ["s1"], {}, "x" * 10_000])
def test_without_a_connection_it_may_be_tried_again(project_id: Any) -> None:
    row = refused({**PAGE, "projectId": project_id}, SITE_ONLY)
    assert (row.reason, row.retryable, row.connection, row.message_id) == ("unknown_connection", True, None, "m")
    assert len(row.detail) < 200


def test_a_dead_letter_tells_what_is_known_of_the_call() -> None:
    row = refused({**without(PAGE, "userId"), "projectId": "s1"}, SEVERAL, attributes={"k": "v"})
    assert (row.message_id, row.connection, row.attributes) == ("m", "site", msgspec.Raw(b'{"k":"v"}'))
    row = refused({"message_id": 5}, SEVERAL)
    assert (row.message_id, row.connection, row.retryable) == ("5", "rest", False)


# ---- integrations ----


@pytest.mark.parametrize(
    ("what", "integrations", "expected"),
    [
        ("none", None, True),
        ("empty", {}, True),
        ("no object", [{"All": False}], True),
        ("its name, false", {"Variance": False, "All": True}, False),
        ("its name, true", {"Variance": True, "All": False}, True),
        ("its name, an object", {"Variance": {"key": "v"}, "All": False}, True),
        ("its name, an empty object", {"Variance": {}, "All": False}, True),
        ("its name, null", {"Variance": None, "All": False}, True),
        ("its name, zero", {"Variance": 0, "All": False}, True),
        ("the first of its names", {"Variance": False, "Variance Cloud": True}, True),
        ("the first of its names, whichever the message has first", {"Variance": True, "Variance Cloud": False}, False),
        ("its name in another case is another's", {"variance": False}, True),
        ("others'", {"Other": False}, True),
        ("All, false", {"All": False, "Other": True}, False),
        ("All, true", {"All": True}, True),
        ("all, false", {"all": False}, False),
        ("All before all", {"all": False, "All": True}, True),
        ("All that is no boolean", {"All": "false"}, True),
        ("all where All is no boolean", {"All": 0, "all": False}, False),
    ],
)
@pytest.mark.parametrize("message", [PAGE, IDENTIFY])
def test_integrations(what: str, integrations: Any, expected: bool, message: Message) -> None:
    message = {**message, "integrations": integrations}
    configured = Connections(integration_names=("Variance Cloud", "Variance"))
    assert read(message, configured) == (accepted(message) if expected else Disabled(message["type"]))


def test_nothing_is_disabled_unless_names_are_configured() -> None:
    assert accepted({**PAGE, "integrations": {"All": False}}).integrations == msgspec.Raw(b'{"All": false}')


def test_what_is_refused_is_not_disabled() -> None:
    message = {**without(PAGE, "userId"), "integrations": {"All": False}}
    assert refused(message, Connections(integration_names=("Variance",))).reason == "missing_id"


# ---- arrays and batches ----


@pytest.mark.parametrize("body", [b"[]", b" [ ] ", b'{"batch":[]}', b'{"batch" : [ ], "sentAt": 1}'])
def test_an_empty_body_has_no_calls(body: bytes) -> None:
    assert read_all(body) == []


@pytest.mark.parametrize("body", [b'{"batch":null}', b'{"batch":{}}', b'{"batch":"[]"}', b'{"batch":1}'])
def test_a_batch_that_is_no_array_is_none(body: bytes) -> None:
    assert refused(body).reason == "unsupported_type"


BAD_ITEMS = [
    (b"1", "invalid_json"),
    (b"null", "invalid_json"),
    (b'"],[{"', "invalid_json"),
    (b"[ ]", "invalid_json"),
    (b'{"type" : "sing", "a": "]},{\\""}', "unsupported_type"),
    (b'{"type":"page"}', "missing_id"),
    (b'{"type":"page","userId":"u","context":"?"}', "invalid_field"),
    (b'{"type":"page","userId":"\\ud83d"}', "invalid_json"),
    (b'{"type":"page","userId":"u","x":%b}' % deep(600), "invalid_field"),
    (b'{"type":"page","userId":"u","x":%b}' % deep(3000), "invalid_field"),
    (b'{"type":"sing","\\udc00":%b}' % deep(3000), "invalid_json"),
    (b'{"type":"page","userId":"u","timestamp":0,"batch":["\\ud800"]}', "invalid_json"),
    (b'{"type":"page","userId":"u","timestamp":0,"batch":[%bx%b]}' % (b"[" * 200, b"]" * 200), "invalid_json"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_ITEMS, ids=[repr(bad[:40]) for bad, _ in BAD_ITEMS])
@pytest.mark.parametrize("body", [b"\n[ %b ]\r", b'{"sent_at":"?","Batch":[%b],"context":{"a":"\\ud83d\\ude00"}}'])
def test_a_bad_item_does_not_cost_its_siblings(bad: bytes, reason: str, body: bytes) -> None:
    items = b" ,\t".join([line({**PAGE, "messageId": 1}), bad, bad, line({**PAGE, "messageId": 2})])
    first, one, other, last = read_all(body % items, attributes={"k": "v"})
    assert isinstance(first, Call)
    assert isinstance(last, Call)
    assert (first.message_id, last.message_id) == ("1", "2")
    assert one == other
    assert isinstance(one, DeadLetter)
    assert (one.reason, one.payload, one.attributes) == (reason, bad, msgspec.Raw(b'{"k":"v"}'))


@pytest.mark.parametrize(
    ("what", "batch", "item", "expected"),
    [
        ("nothing", {}, PAGE, {"context": {}, "integrations": None, "sent_at": None}),
        (
            "times",
            {"sentAt": START_MS + 1000, "receivedAt": START_MS + 2000},
            ITEM,
            {"timestamp": second(2), "sent_at": second(1), "received_at": second(2)},
        ),
        (
            "in other spellings",
            {"sent_at": START_MS + 1000, "Received At": START_MS + 2000},
            ITEM,
            {"sent_at": second(1), "received_at": second(2)},
        ),
        (
            "the item's own times",
            {"sentAt": START_MS + 1, "receivedAt": START_MS + 2},
            {**PAGE, "sentAt": START_MS, "received_at": START_MS},
            {"sent_at": second(0), "received_at": second(0)},
        ),
        ("the item's own times, null", {"sentAt": START_MS + 1000}, {**ITEM, "sentAt": None}, {"sent_at": second(1)}),
        (
            "the item's own times that do not parse stand",
            {"sentAt": START_MS},
            {**PAGE, "sentAt": "?"},
            {"sent_at": None},
        ),
        ("a timestamp is no default", {"timestamp": 1, "receivedAt": START_MS}, ITEM, {"timestamp": second(0)}),
        ("ids are no defaults", {"userId": "v", "type": "track"}, PAGE, {"user_id": "u", "type": "page"}),
        ("a context", {"context": {"ip": "1"}}, PAGE, {"context": {"ip": "1"}}),
        (
            "a context beside the item's",
            {"context": {"ip": "1", "b": 1}},
            {**PAGE, "context": {"ip": "2", "c": 3}},
            {"context": {"ip": "2", "b": 1, "c": 3}},
        ),
        (
            "one level deep",
            {"context": {"os": {"a": 1}}},
            {**PAGE, "context": {"os": {"b": 2}}},
            {"context": {"os": {"b": 2}}},
        ),
        ("the item's own null", {"context": {"ip": "1"}}, {**PAGE, "context": {"ip": None}}, {"context": {"ip": None}}),
        (
            "an item's context that is null",
            {"context": {"ip": "1"}},
            {**PAGE, "context": None},
            {"context": {"ip": "1"}},
        ),
        (
            "an item's context that is empty",
            {"context": {"ip": "1"}},
            {**PAGE, "context": []},
            {"context": {"ip": "1"}},
        ),
        ("a context that is no object", {"context": "?"}, {**PAGE, "context": {"a": 1}}, {"context": {"a": 1}}),
        ("the context's group", {"context": {"groupId": "g"}}, PAGE, {"group_id": "g"}),
        (
            "integrations",
            {"integrations": {"A": 1}},
            {**PAGE, "integrations": {"B": 2}},
            {"integrations": {"A": 1, "B": 2}},
        ),
        (
            "integrations, where the item's are none",
            {"integrations": {"A": 1}},
            {**PAGE, "integrations": "?"},
            {"integrations": {"A": 1}},
        ),
        ("integrations that are no object", {"integrations": True}, PAGE, {"integrations": None}),
        ("traits are no default", {"traits": {"a": 1}}, IDENTIFY, {"traits": {}}),
    ],
)
def test_a_batch_has_defaults_for_its_items(what: str, batch: Message, item: Message, expected: Message) -> None:
    for message in ({**batch, "batch": [item]}, {"batch": [item], **batch}):
        assert columns(accepted(message), expected) == expected


@pytest.mark.parametrize(
    ("what", "batch", "item", "reason"),
    [
        (
            "an item's bad context is not mended",
            b'{"context":{"a":1},"batch":[%b]}',
            line({**PAGE, "context": "?"}),
            "invalid_field",
        ),
        ("a context that is too deep", b'{"context":%b,"batch":[%%b]}' % deep(500), line(PAGE), "invalid_field"),
        ("a time of receipt that is too far", b'{"receivedAt":"2500-01-01","batch":[%b]}', line(PAGE), "invalid_field"),
    ],
)
def test_an_item_is_refused_for_what_it_inherits_with_its_own_bytes(
    what: str, batch: bytes, item: bytes, reason: str
) -> None:
    row = refused(batch % item)
    assert (row.reason, row.payload) == (reason, item)


def test_what_an_item_inherits_may_be_as_deep_as_what_it_has() -> None:
    call = accepted(b'{"context":%b,"batch":[%b]}' % (deep(499), line(PAGE)))
    assert call.context == msgspec.Raw(deep(499))


def test_defaults_may_disable_an_item() -> None:
    batch = {"integrations": {"All": False}, "batch": [PAGE, {**PAGE, "integrations": {"Variance": True}}]}
    disabled, call = read_all(line(batch), Connections(integration_names=("Variance",)))
    assert disabled == Disabled("page")
    assert isinstance(call, Call)


# ---- the log: what is written down reads the same again ----

PERSON = {"context": {"ip": "::1", "groupId": "acme"}, "sent_at": START_MS + 5, "integrations": {"All": True}}

LOGGED: list[tuple[str, Message | list[Any], Timestamp | None]] = [
    ("as it was sent", IDENTIFY, None),
    ("in other spellings", {"TYPE": "Identify", "User ID": 7, "time_stamp": START_MS, "Traits": {"a": 1.50}}, None),
    ("without a time", without(IDENTIFY, "timestamp"), second(3)),
    ("with times that do not parse", {**IDENTIFY, "timestamp": "?", "received_at": "2023-02-30"}, second(3)),
    ("with a wrong clock", {**IDENTIFY, "timestamp": "2090-01-01", "receivedAt": START_MS}, None),
    ("received when it was published", {**IDENTIFY, "sentAt": START_MS + 5}, second(3)),
    (
        "received long after it was published",
        {**IDENTIFY, "sentAt": START_MS + 5, "receivedAt": "2090-01-01"},
        second(3),
    ),
    ("its clock corrected", {**IDENTIFY, "sentAt": START_MS + 5, "receivedAt": START_MS + 9}, second(3)),
    ("corrected by Segment", {**IDENTIFY, "originalTimestamp": 10**10, "sentAt": START_MS}, second(3)),
    ("its clock wrong beyond correction", {**IDENTIFY, "sentAt": "9000-01-01", "receivedAt": START_MS}, second(3)),
    ("its traits in its context", {**without(IDENTIFY, "traits"), "context": {"traits": {"a": 1}}}, None),
    ("with its sender's secret", {**without(IDENTIFY, "messageId"), "writeKey": "s3cret", "write_key": "s3cret"}, None),
    ("without a message id", without(IDENTIFY, "messageId"), None),
    ("with a message id that is none", {**without(IDENTIFY, "messageId"), "message_id": ["m"]}, None),
    ("of a batch", {**PERSON, "batch": [without(IDENTIFY, "messageId", "timestamp")]}, None),
    ("of a batch, with its own context", {**PERSON, "batch": [{**IDENTIFY, "CONTEXT": {"ip": 2, "k": []}}]}, None),
    ("of a batch, with an empty context", {**PERSON, "batch": [{**IDENTIFY, "context": False}]}, None),
    ("an item with a batch of its own", [{**IDENTIFY, "batch": [PAGE], "traits": {"a": 1}}], None),
    ("an item with a batch in another spelling", [{**IDENTIFY, "Batch": [], "traits": {"a": 1}}], None),
    ("a group", {**GROUP, "traits": {"name": "Acme"}}, None),
    ("an alias", {**without(ALIAS, "userId", "previousId"), "from": "x", "To": "y"}, None),
    ("a delete", {**DELETE, "timestamp": "2020-05-09 23:54:49.209808489 +0000 UTC m=+70366.298768264"}, None),
    ("repeated keys and numbers beyond 64 bits", {**IDENTIFY, "traits": {"n": 2**70, "f": 1e-300, "e": 1.0}}, None),
]


@pytest.mark.parametrize(("what", "message", "published_at"), LOGGED)
def test_the_payload_in_the_log_reads_the_same_again(
    what: str, message: Message | list[Any], published_at: Timestamp | None
) -> None:
    (call,) = read_all(message, published_at=published_at)
    assert isinstance(call, Call)
    logged = call_rows.identity_call(call)
    later = Received(logged.payload.encode(), connection=logged.connection)
    (again,) = Reader(Router(DEFAULT)).read(later, Stage.HISTORY)
    assert isinstance(again, Call)
    assert facts.learned(again, DEFAULT) == facts.learned(call, DEFAULT)
    for name in ("message_id", "timestamp", "received_at", "sent_at", "group_id", "connection", "traits", "context"):
        assert plain(getattr(again, name)) == plain(getattr(call, name)), name
    assert again.given == {}
    assert "s3cret" not in logged.payload
    rewritten = call_rows.identity_call(again)
    assert msgspec.structs.replace(rewritten, original_timestamp=logged.original_timestamp) == logged


def test_what_the_log_added_does_not_make_a_message_too_large() -> None:
    call = accepted(padded(MAX_MESSAGE_BYTES, without(ALIAS, "messageId")))
    logged = call_rows.identity_call(call)
    assert len(logged.payload) > MAX_MESSAGE_BYTES
    (again,) = Reader(Router(DEFAULT)).read(Received(logged.payload.encode(), connection=logged.connection))
    assert isinstance(again, Call)
    assert facts.learned(again, DEFAULT) == facts.learned(call, DEFAULT)


def iterate(body: bytes) -> Iterable[Any]:
    return Reader.of(DEFAULT).read(Received(body))


def test_what_history_refuses_says_so() -> None:
    (row,) = Reader(Router(DEFAULT)).read(Received(b"{}", connection="default"), Stage.HISTORY)
    assert isinstance(row, DeadLetter)
    assert (row.stage, row.reason, row.connection) == ("history", "unsupported_type", "default")


def test_the_log_s_connection_goes_before_what_the_message_says() -> None:
    reader = Reader(Router(SEVERAL, "site"))
    for name in ("app", "gone"):
        (call,) = reader.read(Received(line({**IDENTIFY, "projectId": "s1"}), {"connection": "site"}, connection=name))
        assert isinstance(call, Call)
        assert call.connection.name == name


# ---- what a message may become is bounded ----


@pytest.mark.parametrize(
    ("what", "items", "context", "accepted_items"),
    [
        ("as many items as there may be", 10_000, 0, 10_000),
        ("one more", 10_001, 0, None),
        ("64 MB", 640, 99_000, 640),
        ("more", 660, 99_000, None),
    ],
)
def test_what_a_batch_may_become_is_bounded(what: str, items: int, context: int, accepted_items: int | None) -> None:
    item = line(PAGE)
    body = b'{"context":{"a":"%b"},"batch":[%b]}' % (b"x" * context, b",".join([item] * items))
    if accepted_items is None:
        row = refused(body)
        assert (row.reason, row.payload) == ("too_large", body[:1_000_000])
        assert f"{len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}" in row.detail
    else:
        assert sum(isinstance(call, Call) for call in iterate(body)) == accepted_items


def test_an_array_is_bounded_as_well() -> None:
    assert refused(b"[%b]" % b",".join([b"1"] * 10_001)).reason == "too_large"


def test_the_calls_of_a_batch_are_read_one_at_a_time() -> None:
    outcomes = iter(iterate(b'{"context":{"a":"%b"},"batch":[%b,1]}' % (b"x" * 1000, line(PAGE))))
    assert isinstance(next(outcomes), Call)
    assert isinstance(next(outcomes), DeadLetter)
