"""Every endpoint: what it takes, what it stores of it, and what it answers."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from receiver.application import Application
from receiver.asgi import Event, ReceiveEvent, Scope, SendEvent
from receiver.limits import Limits
from receiver.sink import Message, Unavailable
from receiver.sources import ReceivingConnection, Sources
from receiver.spool import SpooledSink
from schemas.tables import Timestamp
from tests.receiver.asgi_client import (
    API_KEY,
    APP_KEY,
    ORIGIN,
    RECEIVED_AT,
    SECRET,
    SITE,
    WRITE_KEY,
    Client,
    MemorySink,
    basic,
)
from transforms.core import times
from transforms.core.connections import Connection, Connections
from transforms.core.reader import Call, Reader, Received

CALL = {"type": "track", "userId": "u", "event": "E"}
TRACKING = [
    *("/v1/identify", "/v1/track", "/v1/page", "/v1/screen", "/v1/group", "/v1/alias"),
    *("/v1/i", "/v1/t", "/v1/p", "/v1/s", "/v1/g", "/v1/a"),
    *("/v1/batch", "/v1/import", "/v1/b", "/api/s/track", "/api/s/s2s/track"),
]
WEBHOOK = "/webhook/marketing-site"
SUCCESS = b'{"success":true}'


@pytest.fixture(autouse=True, params=[False, True], ids=["by ASGI", "whole"])
def sends_whole(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is answered in the same way whether it came whole or not."""
    monkeypatch.setattr(Client, "sends_whole", request.param)


def signature(signed: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Signature": hmac.new(secret.encode(), signed, hashlib.sha1).hexdigest()}


# ---- the Tracking API ----


@pytest.mark.parametrize("path", TRACKING)
@pytest.mark.parametrize("end", ["", "/"])
def test_a_call_is_stored_in_an_envelope(path: str, end: str) -> None:
    client = Client()
    answered = client.post(f"{path}{end}", CALL)
    assert (answered.status, answered.body) == (200, SUCCESS)
    assert answered.headers["content-length"] == "16"
    assert client.stored[0].connection == "Marketing site"
    assert client.envelope["batch"] == [CALL]
    assert client.envelope["receivedAt"] == RECEIVED_AT


@pytest.mark.parametrize("now", [0, 1, 999_999, 1_000_000, 1_772_366_400_000_000, 1_772_366_400_000_999])
def test_a_message_has_the_time_to_the_microsecond(now: int) -> None:
    client = Client(clock=lambda: Timestamp(now))
    for _ in range(2):
        client.post("/v1/track", CALL)
    assert [json.loads(message.payload)["receivedAt"] for message in client.stored] == [times.iso(Timestamp(now))] * 2


@pytest.mark.parametrize(
    ("path", "call", "stored"),
    [
        ("/v1/identify", {"userId": "u"}, {"userId": "u", "type": "identify"}),
        ("/v1/t/", {"userId": "u"}, {"userId": "u", "type": "track"}),
        ("/v1/p", {"type": None, "userId": "u"}, {"type": "page", "userId": "u"}),
        ("/v1/s", {"type": "", "userId": "u"}, {"type": "screen", "userId": "u"}),
        ("/v1/g", {"Type": None}, {"Type": None, "type": "group"}),
        ("/v1/alias", {}, {"type": "alias"}),
        ("/api/s/page", {"anonymousId": "a"}, {"anonymousId": "a", "type": "page"}),
        ("/v1/track", {"type": "identify"}, {"type": "identify"}),
        ("/v1/track", {"Type": "Identify"}, {"Type": "Identify"}),
        ("/v1/batch", {"userId": "u"}, {"userId": "u"}),
    ],
)
def test_a_call_without_a_type_has_that_of_its_path(path: str, call: object, stored: object) -> None:
    client = Client()
    assert client.post(path, call).status == 200
    assert client.calls == [stored]


def test_calls_of_a_batch_are_as_they_were_sent_and_its_fields_stand_in_the_envelope() -> None:
    client = Client()
    batch = {
        "batch": [CALL, {"userId": 1.50}, "no call", 3],
        "sentAt": "2026-03-01T11:59:59.000Z",
        "receivedAt": "2020-01-01T00:00:00Z",
        "context": {"library": {"name": "analytics-go"}},
        "integrations": {"All": False},
        "messageId": "batch-1",
        "writeKey": WRITE_KEY,
    }
    assert client.post("/v1/batch", batch).status == 200
    assert client.envelope == {
        "batch": batch["batch"],
        "sentAt": batch["sentAt"],
        "context": batch["context"],
        "integrations": batch["integrations"],
        "receivedAt": RECEIVED_AT,
    }


@pytest.mark.parametrize("body", [b'{"batch":[]}', b"[]", b'{"batch":[ ]}'])
def test_a_batch_of_nothing_is_taken_and_nothing_stored(body: bytes) -> None:
    client = Client()
    assert client.post("/v1/batch", body).status == 200
    assert client.stored == []


@pytest.mark.parametrize(
    ("what", "headers", "body", "status"),
    [
        ("Basic", basic(WRITE_KEY), {}, 200),
        ("Basic without a colon", basic(WRITE_KEY, colon=False), {}, 200),
        ("Basic without padding", basic(WRITE_KEY, padded=False), {}, 200),
        ("X-Write-Key", {"x-write-key": WRITE_KEY}, {"writeKey": "***"}, 200),
        ("a key in the body", {}, {"writeKey": WRITE_KEY}, 200),
        ("a key in the body, spelled otherwise", {}, {"write_key": WRITE_KEY}, 200),
        ("a header of another scheme", {"Authorization": "Bearer x"}, {"writeKey": WRITE_KEY}, 200),
        ("no key", {}, {}, 401),
        ("an empty key", basic(""), {}, 401),
        ("a key that is no text", {}, {"writeKey": 3}, 401),
        ("a wrong key", basic("x"), {}, 401),
        ("a wrong key in the header, a right one in the body", basic("x"), {"writeKey": WRITE_KEY}, 401),
        ("a wrong key in the body", {}, {"writeKey": "x"}, 401),
        ("the API key", basic(API_KEY), {}, 401),
        ("the shared secret", basic(SECRET), {}, 401),
        ("a signature", signature(b"{}"), {}, 401),
    ],
)
def test_a_write_key_is_needed(what: str, headers: Mapping[str, str], body: object, status: int) -> None:
    client = Client()
    answered = client.request("POST", "/v1/batch", json.dumps(body).encode(), headers)
    assert answered.status == status
    assert len(client.stored) == (status == 200)
    assert answered.json["success"] is (status == 200)


def test_a_key_decides_whose_the_calls_are() -> None:
    client = Client()
    client.post("/v1/track", CALL, **basic(APP_KEY))
    client.post("/v1/b", {"batch": [CALL], "writeKey": APP_KEY}, content_type="text/plain")
    assert [message.connection for message in client.stored] == ["App", "App"]


def test_the_key_is_found_though_one_call_is_no_text_and_another_too_deep() -> None:
    client = Client()
    body = b'{"batch":[{"a":"\\ud800"},' + b"[" * 2000 + b"]" * 2000 + b',{"userId":"u"}],"writeKey":"site-write-key"}'
    assert client.request("POST", "/v1/import/", body).status == 200
    assert client.stored[0].payload.startswith(b'{"batch":[{"a":"\\ud800"},[[[[')
    assert b"site-write-key" not in client.stored[0].payload


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "identity", "GZIP"])
def test_a_body_is_inflated_by_its_encoding_whatever_its_type(encoding: str) -> None:
    packers: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
    packed = packers.get(encoding.lower().removeprefix("x-"), bytes)
    client = Client()
    headers = {**basic(WRITE_KEY), "Content-Encoding": encoding, "Content-Type": "application/x-www-form-urlencoded"}
    assert client.request("POST", "/v1/batch", packed(json.dumps({"batch": [CALL]}).encode()), headers).status == 200
    assert client.calls == [CALL]


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("no JSON", b"{"),
        ("no UTF-8", b'{"type":"\xff"}'),
        ("a number", b"3"),
        ("text", b'"x"'),
        ("null", b"null"),
        ("two documents", b"{}{}"),
        ("half a surrogate pair in a single call", b'{"a":"\\ud800"}'),
    ],
)
@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", WEBHOOK])
def test_what_is_no_call_is_answered_400_and_kept(what: str, body: bytes, path: str) -> None:
    client = Client()
    answered = client.request("POST", path, body, basic(API_KEY if path == WEBHOOK else WRITE_KEY))
    assert answered.status == 400
    assert "not a call" in answered.json["message"]
    assert client.stored == [Message(connection="Marketing site", payload=body)]


def test_of_what_is_no_call_the_key_is_not_kept() -> None:
    client = Client()
    client.post("/v1/track", b'{"writeKey":"site-write-key"')
    assert client.stored[0].payload == b'{"writeKey":null'


@pytest.mark.parametrize(("headers", "status"), [(basic(WRITE_KEY), 400), ({}, 401)])
def test_an_empty_body_is_refused_and_nothing_stored(headers: Mapping[str, str], status: int) -> None:
    client = Client()
    assert client.request("POST", "/v1/track", b"", headers).status == status
    assert client.stored == []


def test_what_is_no_json_and_nobodys_is_refused() -> None:
    client = Client()
    assert client.request("POST", "/v1/track", b'{"writeKey":"site-write-key"').status == 401
    assert client.stored == []


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/v1/t", {"Origin": ORIGIN, "User-Agent": "Firefox"}, {"ip": "203.0.113.9", "userAgent": "Firefox"}),
        ("/v1/batch", {"Origin": ORIGIN, "User-Agent": "Firefox"}, {"ip": "203.0.113.9", "userAgent": "Firefox"}),
        ("/v1/b", {"User-Agent": "okhttp/5"}, {"ip": "203.0.113.9"}),
        ("/v1/batch", {"User-Agent": "analytics-go"}, None),
        ("/v1/track", {"User-Agent": "curl"}, None),
    ],
)
def test_browsers_and_phones_get_their_address_into_the_context(
    path: str, headers: Mapping[str, str], expected: object
) -> None:
    client = Client(peer="203.0.113.9")
    client.request("POST", path, json.dumps(CALL).encode(), {**basic(WRITE_KEY), **headers})
    assert client.envelope.get("context") == expected


def test_what_the_batch_tells_of_its_device_stands() -> None:
    client = Client(peer="203.0.113.9")
    batch = {"batch": [CALL], "context": {"ip": "0.0.0.0", "userAgent": None, "x": 1}}
    client.post("/v1/b", batch, **basic(WRITE_KEY), Origin=ORIGIN, User_Agent="Firefox")
    assert client.envelope["context"] == {"ip": "0.0.0.0", "userAgent": "Firefox", "x": 1}


# ---- webhooks ----

BODY = json.dumps(CALL).encode()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(
    "document",
    [CALL, [CALL, CALL], {"batch": [CALL]}, {"type": "delete", "userId": "u"}],
    ids=["one", "array", "batch", "delete"],
)
def test_a_webhook_takes_calls(method: str, document: Any) -> None:
    client = Client()
    assert client.request(method, WEBHOOK, json.dumps(document).encode(), basic(API_KEY)).body == SUCCESS
    expected = document if isinstance(document, list) else document.get("batch", [document])
    assert client.calls == expected
    assert client.stored[0].connection == "Marketing site"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (WEBHOOK, basic(API_KEY), 200),
        (WEBHOOK, {"Authentication": basic(API_KEY)["Authorization"]}, 200),
        (WEBHOOK, {"AUTHENTICATION": basic(API_KEY)["Authorization"].replace("Basic", "bAsIc ")}, 200),
        (WEBHOOK, signature(BODY), 200),
        (WEBHOOK, {"x-signature": signature(BODY)["X-Signature"].upper()}, 200),
        (WEBHOOK, {**basic(API_KEY), **signature(BODY)}, 200),
        (WEBHOOK, {**basic("wrong"), **signature(BODY)}, 200),
        (WEBHOOK, {**basic(API_KEY), **signature(b"other")}, 401),
        (WEBHOOK, signature(b"other"), 401),
        (WEBHOOK, signature(BODY, "other secret"), 401),
        (WEBHOOK, {"X-Signature": ""}, 401),
        (WEBHOOK, {"X-Signature": "\xe9" * 40}, 401),
        (WEBHOOK, basic(WRITE_KEY), 401),
        (WEBHOOK, basic("keyed-api-key"), 401),
        (WEBHOOK, {}, 401),
        ("/webhook/signed", signature(BODY), 200),
        ("/webhook/signed", basic(API_KEY), 401),
        ("/webhook/keyed", basic("keyed-api-key"), 200),
        ("/webhook/keyed", {**basic("keyed-api-key"), "X-Signature": "0" * 40}, 200),
        ("/webhook/keyed", signature(BODY), 401),
        ("/webhook/app", basic(APP_KEY), 404),
        ("/webhook/Marketing-Site", basic(API_KEY), 404),
        ("/webhook/none", basic(API_KEY), 404),
    ],
)
def test_a_webhook_needs_its_key_or_its_signature(path: str, headers: Mapping[str, str], status: int) -> None:
    client = Client()
    assert client.request("POST", path, BODY, headers).status == status
    assert len(client.stored) == (status == 200)


@pytest.mark.parametrize(
    ("what", "body", "signed", "status"),
    [
        ("the first element", b'[{"a":1},{"b":2}]', b'{"a":1}', 200),
        ("the whole body", b'[{"a":1},{"b":2}]', b'[{"a":1},{"b":2}]', 200),
        ("the first as it was written", b' [ {"a" : 1.0} , {"b":2}]', b'{"a" : 1.0}', 200),
        ("half a surrogate pair in another", b'[{"a":1},{"b":"\\ud800"}]', b'{"a":1}', 200),
        ("half a surrogate pair in the first", b'[{"a":"\\ud800"}, {}]', b'{"a":"\\ud800"}', 200),
        ("letters of other alphabets", '[{"a":"é€😀"},{}]'.encode(), '{"a":"é€😀"}'.encode(), 200),
        ("the second", b'[{"a":1},{"b":2}]', b'{"b":2}', 401),
        ("a batch's first", b'{"batch":[{"a":1}]}', b'{"a":1}', 401),
        ("nothing", b"[]", b"", 401),
        ("nested too deep", b"[" * 100_000, b"[" * 99_999, 401),
    ],
)
def test_of_an_array_the_first_element_is_signed(what: str, body: bytes, signed: bytes, status: int) -> None:
    client = Client()
    assert client.request("POST", "/webhook/signed", body, signature(signed)).status == status


def test_a_signed_request_that_comes_again_is_the_same_calls() -> None:
    """Whoever replays another's request adds nothing: the job knows its calls by their ids, or by their digests."""
    client = Client()
    for _ in range(2):
        assert client.request("POST", WEBHOOK, BODY, signature(BODY)).status == 200
    reader = Reader.of(Connections(connections=(Connection("Marketing site"),)))
    first, again = (read for message in client.stored for read in reader.read(Received(message.payload)))
    assert isinstance(first, Call)
    assert first == again


def test_a_signature_alone_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    array = b'[{"a":1},{"b":2}]'
    signed = signature(b'{"a":1}')
    with caplog.at_level(logging.WARNING):
        for headers in (signed, signed, {**signed, **basic(API_KEY)}):
            client.request("POST", WEBHOOK, array, headers)
        client.request("POST", WEBHOOK, b'[{"a":1}]', signed)
    (record,) = caplog.records
    assert "the webhook marketing-site got an array whose signature proves its first call alone" in record.message
    assert 'signature_only_arrays_total{connection="Marketing site"} 2' in metrics(client)


def test_a_webhooks_batch_keeps_its_own_time_of_receipt() -> None:
    client = Client()
    client.post(WEBHOOK, {"batch": [CALL], "receivedAt": "2026-01-01T00:00:00Z"}, **basic(API_KEY))
    assert client.envelope["receivedAt"] == "2026-01-01T00:00:00Z"


# ---- answers ----


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/", 404, None),
        ("GET", "/v1/batch", 405, "POST, OPTIONS"),
        ("DELETE", WEBHOOK, 405, "POST, PUT, PATCH, OPTIONS"),
        ("POST", "/v1/pixel/track", 405, "GET, HEAD, OPTIONS"),
        ("POST", "/ready", 405, "GET, HEAD, OPTIONS"),
        ("POST", "//v1/batch", 404, None),
        ("POST", "/v1//batch", 404, None),
        ("POST", "/v1/../v1/batch", 404, None),
        ("POST", "/v1/%62atch", 404, None),
        ("POST", "/v1%2fbatch", 404, None),
        ("POST", "/v1/batch%00", 404, None),
        ("POST", "/v1/batch//", 404, None),
        ("POST", "/webhook/", 404, None),
        ("POST", "/webhook/../webhook/marketing-site", 404, None),
        ("POST", "/V1/batch", 404, None),
        ("GET", "/v1/projects//settings", 404, None),
        ("GET", "/debugger", 404, None),
    ],
)
def test_other_paths_and_methods_are_refused(method: str, path: str, status: int, allow: str | None) -> None:
    client = Client()
    answered = client.request(method, path, BODY, basic(WRITE_KEY))
    assert (answered.status, answered.headers.get("allow")) == (status, allow)
    assert answered.json["success"] is False
    assert client.stored == []


def test_what_cannot_be_stored_is_sent_again() -> None:
    client = Client()
    client.sink.failure = Unavailable("no space left on /secret/place", retry_after_s=7)
    for path, headers in (("/v1/batch", basic(WRITE_KEY)), (WEBHOOK, basic(API_KEY))):
        for body in (BODY, b"no JSON"):
            answered = client.request("POST", path, body, headers)
            assert (answered.status, answered.headers["retry-after"]) == (503, "7")
            assert b"/secret/place" not in answered.body
    ready = client.request("GET", "/ready")
    assert (ready.status, ready.json["problem"]) == (503, "no space left on /secret/place")
    client.sink.failure = None
    assert client.post("/v1/batch", CALL).status == 200
    assert client.request("GET", "/ready").status == 200


@pytest.mark.parametrize(
    ("what", "limits", "body", "headers", "status"),
    [
        ("as large as may be", Limits(max_body_bytes=len(BODY)), BODY, {}, 200),
        ("too large", Limits(max_body_bytes=len(BODY) - 1), BODY, {}, 413),
        ("too large by its length", Limits(max_body_bytes=50), b"", {"Content-Length": "51"}, 413),
        ("too large inflated", Limits(max_body_bytes=9999), gzip.compress(b" " * 10_000, mtime=0), "gzip", 413),
        ("a bomb", Limits(), gzip.compress(b"[" * 9_000_000, mtime=0), "gzip", 413),
        ("cut short", Limits(), gzip.compress(BODY, mtime=0)[:-1], "gzip", 400),
        ("not compressed", Limits(), BODY, "gzip", 400),
        ("compressed in two ways", Limits(), BODY, "gzip, gzip", 415),
        ("compressed otherwise", Limits(), BODY, "br", 415),
        ("too many calls", Limits(max_calls=2), b"[{},{},{}]", {}, 413),
        ("as many calls as may be", Limits(max_calls=2), b"[{},{}]", {}, 200),
        ("too many values", Limits(), b"[" + b"1," * 700_000 + b"1]", {}, 413),
        ("brackets", Limits(), b"[" * 8_000_000, {}, 413),
        ("two lengths", Limits(), BODY, {"Content-Length": "3", "Transfer-Encoding": "chunked"}, 400),
        ("lengths", Limits(), BODY, {"Content-Length": "3, 3"}, 400),
        ("too many requests", Limits(max_requests=0), BODY, {}, 503),
        ("too many bytes", Limits(max_bytes=len(BODY) - 1), BODY, {}, 503),
    ],
)
def test_there_are_limits(
    what: str, limits: Limits, body: bytes, headers: Mapping[str, str] | str, status: int
) -> None:
    client = Client(limits=limits)
    named = {"Content-Encoding": headers} if isinstance(headers, str) else headers
    answered = client.request("POST", "/v1/batch", body, {**basic(WRITE_KEY), **named})
    assert answered.status == status
    assert len(client.stored) == (status == 200)
    assert ("retry-after" in answered.headers) is (status == 503)
    assert "in_flight_bytes 0\n" in metrics(client)
    assert "requests_in_flight 0\n" in metrics(client)


def test_a_body_without_a_key_in_the_headers_may_be_less_large() -> None:
    client = Client(limits=Limits(max_keyless_body_bytes=100))
    body = json.dumps({"writeKey": WRITE_KEY, "x": "x" * 100}).encode()
    assert client.request("POST", "/v1/batch", body).status == 413
    assert client.request("POST", "/v1/batch", body, basic(WRITE_KEY)).status == 200


def test_a_request_over_a_megabyte_becomes_several_messages() -> None:
    client = Client()
    batch = [{"type": "track", "userId": f"u{number}", "event": "E" * 1000} for number in range(3000)]
    assert client.post("/v1/batch", {"batch": batch, "sentAt": "2026-03-01T11:59:59Z"}).status == 200
    assert client.calls == batch
    assert len(client.stored) == 4
    assert max(len(message.payload) for message in client.stored) <= 1_000_000
    assert all(json.loads(message.payload)["sentAt"] == "2026-03-01T11:59:59Z" for message in client.stored)


def test_a_source_that_sends_too_fast_is_told_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    limited = ReceivingConnection(name="Limited", path="limited", write_keys=(WRITE_KEY,), calls_per_second=10)
    client = Client(connections=[limited])
    batch = {"batch": [CALL] * 25}
    assert client.post("/v1/batch", batch).status == 200
    answered = client.post("/v1/batch", batch)
    assert (answered.status, answered.headers["retry-after"]) == (429, "2")
    now += 1.7
    assert client.post("/v1/batch", batch).status == 200
    assert len(client.calls) == 50


def test_a_slow_body_is_given_up() -> None:
    client = Client(limits=Limits(body_seconds=0.05))
    scope = {"method": "POST", "path": "/v1/batch", "raw_path": b"/v1/batch", "query_string": b"", "client": None}
    headers = [(b"authorization", basic(WRITE_KEY)["Authorization"].encode())]
    sent: list[Event] = []

    async def receive() -> Event:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"[", "more_body": True}

    async def send(event: Event) -> None:
        sent.append(event)

    asyncio.run(client.application({"type": "http", "headers": headers, **scope}, receive, send))
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


def test_a_sender_that_goes_away_costs_nothing() -> None:
    client = Client()
    scope = {"method": "POST", "path": "/v1/batch", "raw_path": b"/v1/batch", "query_string": b"", "client": None}
    headers = [(b"authorization", basic(WRITE_KEY)["Authorization"].encode())]
    events: list[Event] = [{"type": "http.request", "body": b"[", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Event:
        return events.pop(0)

    async def send(event: Event) -> None:
        raise AssertionError(event)

    asyncio.run(client.application({"type": "http", "headers": headers, **scope}, receive, send))
    assert client.stored == []
    assert 'refused_total{reason="disconnected"} 1' in metrics(client)


def test_a_body_may_come_in_parts() -> None:
    client = Client()
    parts = [BODY[at : at + 1] for at in range(len(BODY))]
    assert client.request("POST", "/v1/batch", parts, basic(WRITE_KEY)).status == 200
    assert client.calls == [CALL]


# ---- browsers ----


@pytest.mark.parametrize(
    ("what", "path", "origin", "asked", "granted"),
    [
        ("a call", "/v1/t", ORIGIN, "authorization", "authorization"),
        ("a retry", "/v1/t", ORIGIN, "authorization,x-retry-count", "authorization, x-retry-count"),
        ("in capitals", "/v1/b", ORIGIN.upper(), "Authorization, Content-Type", "authorization, content-type"),
        ("Jitsu", "/api/s/page", ORIGIN, "x-write-key", "x-write-key"),
        ("settings", f"/v1/projects/{WRITE_KEY}/settings", ORIGIN, "x-retry-count", "x-retry-count"),
        ("what is unknown", "/v1/t", ORIGIN, "authorization, cookie", "authorization"),
        ("another site", "/v1/t", "https://evil.example", "authorization", None),
        ("another port", "/v1/t", f"{ORIGIN}:8443", "authorization", None),
        ("another source's settings", f"/v1/projects/{APP_KEY}/settings", ORIGIN, "authorization", None),
    ],
)
def test_a_browser_may_ask_first(what: str, path: str, origin: str, asked: str, granted: str | None) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}
    answered = Client().request("OPTIONS", path, b"", headers)
    assert (answered.status, answered.body) == (200, SUCCESS)
    assert answered.headers.get("access-control-allow-headers") == granted
    assert answered.headers.get("access-control-allow-origin") == (None if granted is None else origin)
    assert answered.headers["vary"] == "origin"


@pytest.mark.parametrize(
    ("key", "origin", "is_allowed"),
    [
        (WRITE_KEY, ORIGIN, True),
        (WRITE_KEY, "https://evil.example", False),
        (APP_KEY, ORIGIN, False),
        ("wrong", ORIGIN, True),
        ("wrong", "https://evil.example", False),
    ],
)
def test_a_page_of_the_connections_sites_may_read_the_answer(key: str, origin: str, is_allowed: bool) -> None:
    answered = Client().post("/v1/t", CALL, **basic(key), Origin=origin)
    assert answered.headers.get("access-control-allow-origin") == (origin if is_allowed else None)


def test_without_an_origin_there_is_nothing_of_it() -> None:
    answered = Client().post("/v1/t", CALL)
    assert [name for name in answered.headers if name.startswith(("access-control", "vary"))] == []


@pytest.mark.parametrize("path", [f"/v1/projects/{WRITE_KEY}/settings", f"/projects/{WRITE_KEY}/settings/"])
def test_settings_name_this_receiver(path: str) -> None:
    answered = Client().request("GET", path, b"", {"Host": "in.example.com:8443", "Origin": ORIGIN})
    assert answered.status == 200
    destination = answered.json["integrations"]["Segment.io"]
    assert destination["apiKey"] == WRITE_KEY
    assert destination["apiHost"] == "in.example.com:8443/v1"
    assert destination["protocol"] == "http"
    assert answered.headers["access-control-allow-origin"] == ORIGIN


def test_settings_of_an_unknown_key_are_not_there() -> None:
    answered = Client().request("GET", "/v1/projects/wrong/settings", b"", {"Origin": ORIGIN})
    assert answered.status == 404
    assert b"wrong" not in answered.body


def test_measurements_of_sdks_are_dropped() -> None:
    client = Client()
    assert client.request("POST", "/v1/m", b'{"series":[]}').body == SUCCESS
    assert client.stored == []


# ---- pixels ----


def test_a_pixel_is_a_call() -> None:
    client = Client(peer="203.0.113.9")
    data = base64.b64encode(json.dumps({"writeKey": WRITE_KEY, "userId": "u", "event": "Opened"}).encode()).decode()
    answered = client.request("GET", f"/v1/pixel/track?data={data}", b"", {"User-Agent": "Mail"})
    assert (answered.status, answered.headers["content-type"]) == (200, "image/gif")
    assert answered.body.startswith(b"GIF89a")
    (call,) = client.calls
    assert call.pop("messageId").startswith("pixel-")
    assert call == {"userId": "u", "event": "Opened", "type": "track"}
    assert client.envelope["context"] == {"ip": "203.0.113.9", "userAgent": "Mail"}


@pytest.mark.parametrize("query", ["", "data=x", "data=eyJ9", "userId=u", "writeKey=wrong&userId=u", "data=W10="])
def test_a_pixel_is_always_an_image(query: str) -> None:
    client = Client()
    answered = client.request("GET", f"/v1/pixel/track?{query}")
    assert (answered.status, answered.body[:6]) == (200, b"GIF89a")
    assert client.stored == []


def test_a_pixel_is_an_image_though_it_cannot_be_stored() -> None:
    client = Client()
    client.sink.failure = Unavailable("away")
    assert client.request("GET", f"/v1/pixel/page?writeKey={WRITE_KEY}&userId=u").status == 200


# ---- the process ----


def metrics(client: Client) -> str:
    answered = client.request("GET", "/metrics")
    assert answered.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answered.body.decode()


def test_the_process_tells_its_state() -> None:
    client = Client()
    assert client.request("GET", "/live").json == {"live": True}
    assert client.request("GET", "/ready").json == {"ready": True}
    head = client.request("HEAD", "/ready")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "14")
    client.application.is_stopping = True
    assert client.request("GET", "/ready").json == {"ready": False, "problem": "the receiver is stopping"}
    assert "segment_receiver_ready 0\n" in metrics(client)


def test_what_was_done_is_counted() -> None:
    client = Client()
    client.post("/v1/batch", {"batch": [CALL, CALL]})
    client.post("/v1/t", CALL, **basic("wrong"))
    client.post("/v1/t", b"{", **basic(APP_KEY))
    lines = set(metrics(client).splitlines())
    stored = len(client.stored[0].payload)
    assert lines >= {
        'segment_receiver_requests_total{endpoint="batch",connection="Marketing site",status="200"} 1',
        'segment_receiver_requests_total{endpoint="call",connection="",status="401"} 1',
        'segment_receiver_requests_total{endpoint="call",connection="App",status="400"} 1',
        'segment_receiver_calls_total{connection="Marketing site"} 2',
        'segment_receiver_messages_total{connection="Marketing site"} 1',
        f'segment_receiver_stored_bytes_total{{connection="Marketing site"}} {stored}',
        'segment_receiver_unreadable_total{connection="App"} 1',
        'segment_receiver_refused_total{reason="wrong_key"} 1',
        "segment_receiver_store_seconds_count 2",
    }


def test_a_spool_is_measured(tmp_path: Path) -> None:
    client = Client()
    spool = SpooledSink(client.sink, tmp_path)
    application = Application(Sources([SITE]), spool)

    async def measured() -> str:
        await application.start()
        client.sink.failure = Unavailable("away")
        assert (await client.requested("POST", "/v1/batch", BODY, basic(WRITE_KEY), to=application)).status == 200
        text = (await client.requested("GET", "/metrics", to=application)).body.decode()
        await application.close()
        return text

    lines = asyncio.run(measured()).splitlines()
    assert "segment_receiver_spool_messages 1" in lines
    assert "segment_receiver_spooled_total 1" in lines
    assert "segment_receiver_put_aside_total 0" in lines
    assert "segment_receiver_spool" not in metrics(client)


def test_whoever_observes_sees_each_message_once_it_is_durable() -> None:
    seen: list[Message] = []

    class Observer:
        def stored(self, message: Message) -> None:
            assert message in client.stored
            seen.append(message)

    client = Client(observers=[Observer()])
    client.post("/v1/batch", CALL)
    client.sink.failure = Unavailable("away")
    client.post("/v1/batch", CALL)
    assert seen == client.stored
    assert len(seen) == 1


def test_the_server_may_start_and_close_the_sink() -> None:
    client = Client()
    events: list[Event] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[tuple[str, bool]] = []

    async def receive() -> Event:
        return events.pop(0)

    async def send(event: Event) -> None:
        sent.append((event["type"], client.sink.is_open))

    asyncio.run(client.application({"type": "lifespan"}, receive, send))
    assert sent == [("lifespan.startup.complete", True), ("lifespan.shutdown.complete", False)]


# ---- the debugger's door ----


async def debugger(scope: Scope, receive: ReceiveEvent, send: SendEvent) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"debugger"})


@pytest.mark.parametrize(
    ("what", "peer", "headers", "status"),
    [
        ("this machine", "127.0.0.1", {"Host": "127.0.0.1:8080"}, 200),
        ("its name", "127.0.0.1", {"Host": "LOCALHOST:8080"}, 200),
        ("IPv6", "::1", {"Host": "[::1]:8080"}, 200),
        ("IPv4 within IPv6", "::ffff:127.0.0.1", {"Host": "localhost"}, 200),
        ("another machine", "192.0.2.1", {"Host": "127.0.0.1:8080"}, 404),
        ("a name that leads here", "127.0.0.1", {"Host": "evil.example:8080"}, 404),
        ("a name that begins alike", "127.0.0.1", {"Host": "127.0.0.1.evil.example"}, 404),
        ("no host", "127.0.0.1", {}, 404),
        ("a proxy here", "127.0.0.1", {"Host": "localhost", "X-Forwarded-For": "192.0.2.1"}, 404),
        ("no host name", "127.0.0.1", {"Host": "[::1"}, 404),
    ],
)
@pytest.mark.parametrize("path", ["/debugger", "/debugger/", "/debugger/stream"])
def test_the_debugger_is_for_this_machine_alone(
    what: str, peer: str, headers: Mapping[str, str], status: int, path: str
) -> None:
    client = Client(peer=peer, debugger=debugger)
    assert client.request("GET", path, b"", headers).status == status


# ---- bugs ----


class _FaultySink(MemorySink):
    async def store(self, messages: Sequence[Message]) -> None:
        raise KeyError("a bug")


@pytest.mark.parametrize("sends_whole", [True], indirect=True)
def test_a_bug_of_the_sink_is_answered_500_and_told(caplog: pytest.LogCaptureFixture) -> None:
    client = Client(sink=_FaultySink())
    answered = client.post("/v1/track", CALL)
    assert (answered.status, answered.json["success"]) == (500, False)
    assert "KeyError: 'a bug'" in caplog.text
    assert "requests_in_flight 0\n" in metrics(client)


@pytest.mark.parametrize("sends_whole", [True], indirect=True)
def test_a_bug_before_the_sink_leaves_nothing_in_flight() -> None:
    def broken_clock() -> int:
        raise KeyError("a bug")

    client = Client(clock=broken_clock)
    with pytest.raises(KeyError):
        client.post("/v1/track", CALL)
    assert "requests_in_flight 0\n" in metrics(client)
    assert "in_flight_bytes 0\n" in metrics(client)


# ---- secrets ----


def test_no_secret_is_told_anywhere(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    call = {**CALL, "writeKey": WRITE_KEY, "context": {"write_key": WRITE_KEY}}
    answers = [
        client.post("/v1/batch", {"batch": [call], "writeKey": WRITE_KEY}),
        client.post("/v1/t", call, Authorization="Basic x"),
        client.post("/v1/t", {**call, "writeKey": "a-wrong-key"}, Authorization="Basic x"),
        client.post(WEBHOOK, [call, call], **signature(json.dumps(call).encode())),
        client.post(WEBHOOK, call, **basic("a-wrong-key")),
    ]
    assert [answer.status for answer in answers] == [200, 200, 401, 200, 401]
    told = b"".join([*(answer.body for answer in answers), *(message.payload for message in client.stored)])
    told += metrics(client).encode() + caplog.text.encode() + repr(SITE).encode()
    assert [key for key in (WRITE_KEY, API_KEY, SECRET, "a-wrong-key") if key.encode() in told] == []
