"""Calls into messages and out again: all of them, once, in order, as they were sent."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from receiver.envelope import (
    MAX_MESSAGE_BYTES,
    NoCalls,
    first_element,
    message_of_call,
    messages,
    parse,
    read_document,
    split,
    unreadable,
    with_device,
)
from tests.receiver.asgi_client import NOW
from transforms.core.connections import Connection, Connections
from transforms.core.raw_json import canonical
from transforms.core.reader import Call, Reader, Received

SPACE = st.text(alphabet=" \t\r\n", max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=8), JSON, max_size=4)


@given(
    st.lists(st.integers(min_value=1, max_value=400_000), max_size=12), st.integers(min_value=0, max_value=2_000_000)
)
@settings(deadline=None)
def test_every_call_is_in_one_part_in_its_order(sizes: list[int], overhead: int) -> None:
    calls = [b"%d:" % number + b"x" * size for number, size in enumerate(sizes)]
    parts = list(split(calls, overhead))
    assert [call for part in parts for call in part] == calls
    assert all(parts)
    for part in parts:
        size = overhead + sum(len(call) + 1 for call in part)
        assert size <= max(MAX_MESSAGE_BYTES, 2 * overhead) or len(part) == 1
    assert sum(overhead for _ in parts) <= 2 * (sum(map(len, calls)) + len(calls)) + 2 * overhead


@given(st.lists(OBJECTS, min_size=1, max_size=5), st.data())
@settings(deadline=None)
def test_the_first_element_is_as_it_was_written(elements: list[Any], data: st.DataObject) -> None:
    written = [_spaced(json.dumps(element, ensure_ascii=data.draw(st.booleans())), data) for element in elements]
    spaces = [data.draw(SPACE) for _ in range(2 * len(written) + 2)]
    body = spaces[0] + "[" + ",".join(spaces[2 * n + 1] + text + spaces[2 * n + 2] for n, text in enumerate(written))
    body += "]" + spaces[-1]
    assert first_element(body.encode("utf-8", "surrogatepass")) == written[0].encode("utf-8", "surrogatepass")


def _spaced(text: str, data: st.DataObject) -> str:
    """An object with white space within its braces."""
    return "{" + data.draw(SPACE) + text[1:-1] + data.draw(SPACE) + "}"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"[", b"[,", b"3", b"[" * 100_000, b'["a', b"[nul"])
def test_what_has_no_first_element(body: bytes) -> None:
    assert first_element(body) is None


@given(
    OBJECTS, st.integers(min_value=0, max_value=4), st.sampled_from(["writeKey", "write_key", "Write Key"]), st.data()
)
@settings(deadline=None)
def test_the_key_is_found_wherever_it_stands(
    fields: dict[str, Any], position: int, name: str, data: st.DataObject
) -> None:
    pairs = [
        (key, value) for key, value in fields.items() if key.lower().replace("_", "").replace(" ", "") != "writekey"
    ]
    pairs.insert(min(position, len(pairs)), (name, "the key"))
    separators = (data.draw(SPACE) + "," + data.draw(SPACE), data.draw(SPACE) + ":" + data.draw(SPACE))
    body = json.dumps(dict(pairs), separators=separators).encode()
    if b"\\ud" not in body:
        assert read_document(body).write_key == b"the key"


@given(st.lists(OBJECTS.filter(lambda call: "Key" not in str(call)), max_size=4), OBJECTS)
@settings(deadline=None)
def test_calls_come_out_as_they_went_in(calls: list[Any], context: dict[str, Any]) -> None:
    body = json.dumps({"batch": calls, "context": context}).encode()
    if b"\\ud" in body:
        return
    document = read_document(body)
    made = messages("c", document.calls, document.defaults, "2026-01-01T00:00:00.000000Z")
    stored = [json.loads(message.payload) for message in made]
    assert [call for envelope in stored for call in envelope["batch"]] == calls
    assert all(envelope["context"] == context for envelope in stored)


@pytest.mark.parametrize(
    ("body", "call_type", "call"),
    [
        (b'{"a":1}', "track", b'{"a":1,"type":"track"}'),
        (b" { } ", "track", b'{ "type":"track"}'),
        (b'{"a":1 }\n', "page", b'{"a":1 ,"type":"page"}'),
        (b'{"type":"x"}', "page", b'{"type":"x"}'),
        (b'{"TYPE":"x"}', "page", b'{"TYPE":"x"}'),
        (b'{"type":null}', "page", b'{"type":null,"type":"page"}'),
        (b'{"a":1}', None, b'{"a":1}'),
    ],
)
def test_a_type_is_written_at_the_end_of_a_call(body: bytes, call_type: str | None, call: bytes) -> None:
    document = read_document(body, call_type)
    assert [bytes(each) for each in document.calls] == [call]


@pytest.mark.parametrize(
    ("body", "is_call"),
    [
        (b'{"userId":"u","type":"page","event":"\xc3\xa9"}', True),
        (b' {"userId":"u" }\n', True),
        (b'{"user_id":"u","TYPE":"x"}', True),
        (b'{"userId":"u","context":{"write_key":"k"},"WriteKey":"k"}', True),
        (b'{"userId":"u","batch":7}', False),
        (b'{"Batch":[{"userId":"u"}]}', False),
        (b'[{"userId":"u"}]', False),
    ],
)
def test_the_message_of_one_call_is_the_same_by_either_way(body: bytes, is_call: bool) -> None:
    now = "2026-01-01T00:00:00.000000Z"
    message = message_of_call("c", body, parse(body), "track", now)
    read = read_document(body, "track")
    assert message == (messages("c", read.calls, read.defaults, now)[0] if is_call else None)


@pytest.mark.parametrize(
    "body", [b"", b"x", b"3", b"null", b'"x"', b"\xff", b"{}{}", b'{"a":"\\ud800"}', b'{"batch":[{]}']
)
def test_what_is_no_call(body: bytes) -> None:
    with pytest.raises(NoCalls):
        read_document(body)
    assert unreadable("c", body).payload == body


def test_a_long_body_that_no_parser_takes_at_once_is_left_to_the_job() -> None:
    body = b'[{"userId":"u","type":"page"},{"a":"\\ud800"},{"a":"' + b"x" * 1_000_000 + b'"}]'
    with pytest.raises(NoCalls):
        read_document(body)
    assert len(read_document(body[:60] + body[-20:]).calls) == 3
    read, *others = _reader().read(Received(unreadable("c", body).payload, {"connection": "c"}, NOW))
    assert isinstance(read, Call)
    assert len(others) == 2


def test_the_job_reads_the_envelope_with_the_same_ids_each_time() -> None:
    """A call without a message id, with its sender's key, that comes twice."""
    body = b'{"userId":"u","event":"E","writeKey":"k"}'
    ids = set()
    for received_at in ("2026-01-01T00:00:00.000000Z", "2026-01-01T00:01:00.000000Z"):
        document = read_document(body, "track")
        (message,) = messages("c", document.calls, document.defaults, received_at)
        (call,) = _reader().read(Received(message.payload, {"connection": "c"}))
        assert isinstance(call, Call)
        ids.add(call.message_id)
        assert call.message_id != canonical(Raw(body))
    assert len(ids) == 1


def _reader() -> Reader:
    return Reader.of(Connections(connections=(Connection("c"),)))


@pytest.mark.parametrize(
    ("context", "address", "user_agent", "expected"),
    [
        (None, "192.0.2.1", "F", {"ip": "192.0.2.1", "userAgent": "F"}),
        (None, "192.0.2.1", None, {"ip": "192.0.2.1"}),
        (None, None, None, None),
        ({"ip": "0.0.0.0"}, "192.0.2.1", "F", {"ip": "0.0.0.0", "userAgent": "F"}),
        ({"ip": None}, "192.0.2.1", None, {"ip": "192.0.2.1"}),
        ({"ip": "1", "userAgent": "G"}, "192.0.2.1", "F", {"ip": "1", "userAgent": "G"}),
        ({"a": 1}, None, 'F"\\', {"a": 1, "userAgent": 'F"\\'}),
    ],
)
def test_a_device_is_told_unless_it_told_itself(
    context: Any, address: str | None, user_agent: str | None, expected: Any
) -> None:
    defaults = {} if context is None else {"context": Raw(msgspec.json.encode(context))}
    told = with_device(defaults, address, user_agent).get("context")
    assert (None if told is None else json.loads(bytes(told))) == expected


def test_a_context_too_deep_is_left_as_it_is() -> None:
    defaults = {"context": Raw(b'{"a":' * 200_000 + b"1" + b"}" * 200_000)}
    assert with_device(defaults, "192.0.2.1", None) == defaults


def test_messages_hold_a_key_in_no_spelling() -> None:
    document = read_document(b'[{"writeKey":"k1","a":{"write_key":"k2"}},{"WRITE KEY":"k3"}]')
    (message,) = messages("c", document.calls, {}, "now")
    assert json.loads(message.payload)["batch"] == [{"writeKey": None, "a": {"write_key": None}}, {"WRITE KEY": None}]
