"""What SDKs were seen to send, replayed byte for byte: those that no test runs, Go's and PHP's, and the others as they
were on the day that they were recorded."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Mapping, Sequence
from functools import cache
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from judge import Row, Tables
from tests.receiver.clients import receiver_process

RECORDINGS = Path(__file__).parent / "recordings"
ORIGIN = "http://127.0.0.1:18700"
"""Where the recorded browser had its pages from."""
PERSON, COMPANY = "019mr8mf4r", "8e9df332ac"
LIBRARIES = {
    "ajs_batch": "analytics.js",
    "ajs_std": "analytics.js",
    "go": "analytics-go",
    "java": "analytics-java",
    "node": "@segment/analytics-node",
    "php": "analytics-php",
    "py": "analytics-python",
    "py_gzip": "analytics-python",
}
EVENT_TYPES = {"page": "Page", "screen": "Screen", "track": "Action"}

Request = Mapping[str, Any]
Call = Mapping[str, Any]


@cache
def recorded(name: str) -> Sequence[Request]:
    requests: Sequence[Request] = json.loads((RECORDINGS / f"{name}.json").read_text())["requests"]
    return requests


def calls_of(name: str) -> Sequence[Call]:
    bodies = [json.loads(request["body"]) for request in recorded(name) if request["body"]]
    return [call for body in bodies for call in body.get("batch", [body])]


def send(request: Request, host: str) -> tuple[HTTPResponse, bytes]:
    """Sends the request as it was recorded, to another host, on a connection of its own; (answer, its body)."""
    body = request["body"].encode()
    headers = dict(request["headers"])
    if headers.get("Content-Encoding") == "gzip":
        body = gzip.compress(body)  # the recording has what was in it
    else:
        assert len(body) == request["body_bytes"]
    changed = {"host": host, "content-length": str(len(body))}
    lines = [f"{request['method']} {request['path']} HTTP/1.1"]
    lines += [f"{name}: {changed.get(name.lower(), value)}" for name, value in headers.items()]
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        answer = HTTPResponse(connection, method=request["method"])
        answer.begin()
        return answer, answer.read()


def require_success(request: Request, answer: HTTPResponse, body: bytes) -> None:
    """What all of these clients take for success: 200 and JSON; and what a page needs to be allowed."""
    assert answer.status == 200, (request["path"], body)
    if request["method"] == "POST":
        assert json.loads(body) == {"success": True}
    elif request["method"] == "GET":
        assert json.loads(body)["integrations"]["Segment.io"]
    if dict(request["headers"]).get("Origin"):
        assert answer.headers["Access-Control-Allow-Origin"] in (ORIGIN, "*")
    if request["method"] == "OPTIONS":
        assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_recording_is_in_the_tables(name: str, tmp_path: Path) -> None:
    with receiver_process.running(tmp_path, [ORIGIN]) as receiver:
        for request in recorded(name):
            require_success(request, *send(request, receiver.host))
        tables = receiver.tables()
    assert tables.dead_letters == []
    check_calls(tables, name)
    check_people(tables, name)


def test_every_recording_is_replayed() -> None:
    assert {path.stem for path in RECORDINGS.glob("*.json")} == set(LIBRARIES)


def check_calls(tables: Tables, name: str) -> None:
    """Each call is one row, which says what the call says."""
    rows: dict[str, Row] = {**tables.events, **tables.identity_calls}
    calls = calls_of(name)
    assert set(rows) == {call["messageId"] for call in calls}
    for call in calls:
        row = rows[call["messageId"]]
        assert row["type"] == EVENT_TYPES.get(call["type"], call["type"])
        assert (row["user_id"], row["anonymous_id"]) == (call.get("userId"), call.get("anonymousId"))
        assert row["context"]["library"]["name"] == LIBRARIES[name]
        if call["type"] in EVENT_TYPES:
            assert row["name"] == (call.get("name") or call.get("event"))
            assert row["properties"].items() >= call.get("properties", {}).items()


def check_people(tables: Tables, name: str) -> None:
    """The person, known by every id that an identify or an alias gave, and the company."""
    calls = calls_of(name)
    earlier = {call.get("anonymousId") for call in calls if call["type"] == "identify"}
    earlier |= {call["previousId"] for call in calls if call["type"] == "alias"}
    assert tables.identities == dict.fromkeys(earlier - {None, PERSON}, PERSON)
    contact = tables.contacts[PERSON]
    assert (contact["email"], contact["name"]) == ("pgibbons@example.com", "Peter Gibbons")
    assert contact["account_id"] == COMPANY
    company = tables.accounts[COMPANY]
    assert (company["name"], company["employees"]) == ("Initech", 420)
