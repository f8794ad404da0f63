"""Each call is shown with what the job makes of it, and without its sender's secret."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.connections_file import load_connections
from receiver.debugger.shown import MOST_SHOWN, Showing, ShownCall, ShownText
from receiver.sink import Message
from schemas.tables import BY_NAME, DEAD_LETTERS, EVENTS, IDENTITY_CALLS, Timestamp, Type
from tests import warehouse
from transforms.core import times
from transforms.core.connections import DEFAULT, AccountMapping, Connection, Connections
from transforms.core.raw_json import canonical

ROOT = Path(__file__).parents[3]
CONNECTIONS = ROOT / "examples" / "connections.yaml"
NOW = Timestamp(4_000_000_000_000_000)
"""Later than every receivedAt, which it otherwise corrects: a file, which the job reads here, has no such time."""
RECEIVED_AT = "2026-03-01T00:00:00.000Z"
NOT_OF_THE_CALL = {"published_at", "attributes", "failed_at", "written_at"}
"""Columns that say how a message came, and when its row was written."""


def shown(payload: bytes, connections: Connections = DEFAULT, connection: str = "default") -> list[ShownCall]:
    return list(Showing(connections).calls(Message(connection=connection, payload=payload), NOW))


def batch(*calls: Mapping[str, Any]) -> bytes:
    return json.dumps({"batch": calls, "receivedAt": RECEIVED_AT}).encode()


def one(connections: Connections = DEFAULT, **call: Any) -> ShownCall:
    (made,) = shown(batch(call), connections)
    return made


# ---- the job's own outcomes ----


def enveloped(line: bytes) -> bytes:
    """A call as the receiver stores it; what is no JSON is stored as it is."""
    try:
        json.loads(line)
        line.decode()
    except ValueError:
        return line
    return b'{"batch":[%b],"receivedAt":"%b"}' % (line, RECEIVED_AT.encode())


def plain(type_: Type, text: ShownText | None) -> object:
    """A column's text as the judge has the value."""
    if text is None:
        return None
    assert not text.left_out
    if type_ is Type.JSON:
        return json.loads(text.text)
    if type_ is Type.TIMESTAMP:
        return times.read(text.text)
    return text.text == "true" if type_ is Type.BOOL else text.text


def shown_rows(payloads: list[bytes]) -> Iterator[tuple[str, dict[str, object]]]:
    showing = Showing(load_connections(str(CONNECTIONS)))
    for payload in payloads:
        for call in showing.calls(Message(connection="Web app", payload=payload), NOW):
            for row in call.rows:
                yield (
                    row.table,
                    {
                        column.name: plain(column.type, row.columns[column.name])
                        for column in BY_NAME[row.table].columns
                    },
                )


def test_the_examples_have_the_outcomes_that_the_job_gives_them(tmp_path: Path) -> None:
    payloads = [enveloped(line) for line in warehouse.EXAMPLES.read_bytes().splitlines() if line.strip()]
    (tmp_path / "messages.jsonl").write_bytes(b"\n".join(payloads))
    command = [sys.executable, "-m", "pipeline", f"--input={tmp_path / 'messages.jsonl'}", "--connection=Web app"]
    options = [f"--connections={CONNECTIONS}", f"--warehouse=duckdb:///{tmp_path / 'w.duckdb'}"]
    subprocess.run([*command, *options], cwd=ROOT, check=True, capture_output=True)
    made: dict[str, dict[object, dict[str, object]]] = {name: {} for name in ("events", "identity_calls")}
    letters = set()
    for table, row in shown_rows(payloads):
        if table == DEAD_LETTERS.name:
            letters.add((row["reason"], row["detail"], row["message_id"], row["connection"]))
        else:
            made[table].setdefault(row["message_id"], row)  # of duplicates the first
    with duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True) as connection:
        for name in (EVENTS.name, IDENTITY_CALLS.name):
            expected = {row["message_id"]: row for row in warehouse.rows(connection, name)}
            assert made[name].keys() == expected.keys()
            for message_id, row in expected.items():
                own = {column: made[name][message_id][column] for column in row}
                assert without(own) == without(row)
        assert letters == {
            (row["reason"], row["detail"], row["message_id"], row["connection"])
            for row in warehouse.rows(connection, DEAD_LETTERS.name)
        }
    assert len(made["events"]) > 2000
    assert len(letters) > 15


def without(row: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in NOT_OF_THE_CALL}


# ---- one call ----

IDENTIFY = {"type": "identify", "messageId": "m", "userId": "u1"}
GROUP = {"type": "group", "messageId": "m", "userId": "u1", "groupId": "g1"}
BY_EMAIL = Connections(connections=(Connection("default", account_mapping=AccountMapping("email_domain")),))
AUDIENCE = {"personas": {"computation_class": "audience", "computation_key": "vip"}}


@pytest.mark.parametrize(
    ("connections", "call", "effects"),
    [
        (DEFAULT, {**IDENTIFY, "traits": {"plan": "pro", "age": 3}}, ["contact u1 has plan, age"]),
        (DEFAULT, IDENTIFY, ["contact u1 is identified"]),
        (DEFAULT, {**IDENTIFY, "anonymousId": "a"}, ["contact u1 is identified", "a is now u1"]),
        (
            DEFAULT,
            {**IDENTIFY, "traits": {"email": "ada@acme.example"}},
            [
                "contact u1 has email",
                "contact u1 belongs to account acme.example, by email_domain",
                "account acme.example is named by email_domain",
            ],
        ),
        (
            DEFAULT,
            {**GROUP, "traits": {"name": "Acme"}},
            [
                "contact u1 belongs to account g1, by group",
                "account g1 is named by group",
                "account g1 has the name Acme",
                "account g1 has name",
            ],
        ),
        (BY_EMAIL, GROUP, ["no effect: this connection does not name accounts by group calls"]),
        (DEFAULT, {"type": "alias", "previousId": "a", "userId": "u1"}, ["a is now u1"]),
        (DEFAULT, {"type": "alias", "previousId": "a", "userId": "a"}, ["no effect: an id does not become itself"]),
        (DEFAULT, {"type": "delete", "userId": "u1"}, ["contact u1 is deleted"]),
        (
            DEFAULT,
            {**IDENTIFY, "traits": {"vip": True}, "context": AUDIENCE},
            ["contact u1 has vip", "contact u1 is in the audience vip"],
        ),
        (
            DEFAULT,
            {"type": "track", "event": "e", "userId": "u1", "context": AUDIENCE},
            ["no effect: the Engage call sets no property"],
        ),
        (DEFAULT, {"type": "track", "event": "e", "userId": "u1"}, []),
    ],
    ids=[
        *("traits", "no traits", "both ids", "e-mail domain", "group", "group without effect", "alias"),
        *("alias to itself", "delete", "audience", "engage without property", "event"),
    ],
)
def test_what_a_call_tells(connections: Connections, call: dict[str, Any], effects: list[str]) -> None:
    assert list(one(connections, **call).effects) == effects


def test_a_disabled_call_becomes_no_row() -> None:
    connections = Connections(integration_names=("Variance",))
    call = one(connections, type="track", event="e", userId="u1", integrations={"Variance": False})
    assert (call.outcome, call.type, call.name, call.who, call.rows) == ("disabled", "track", "e", "u1", ())


def test_a_dead_letter_says_why_and_what_can_still_be_read() -> None:
    call = one(type="Track", userId="u1", messageId="m1")
    assert (call.outcome, call.reason, call.type, call.who, call.message_id) == (
        *("dead_letter", "missing_field", "track", "u1", "m1"),
    )
    assert call.detail == "a track needs an event, a string that is not empty"
    assert call.rows[0].table == "dead_letters"


def test_what_no_warehouse_could_hold_is_a_dead_letter() -> None:
    payload = batch({"type": "track", "event": "e", "userId": "u1", "properties": {"n": 0}})
    (call,) = shown(payload.replace(b'"n": 0', b'"n": 1e400'))
    assert (call.outcome, call.reason) == ("dead_letter", "invalid_field")
    assert "1e400" in call.raw.text


def test_a_bad_call_of_a_batch_costs_its_siblings_nothing() -> None:
    calls = shown(batch({"type": "page", "userId": "u1"}, {"type": "nonsense"}, {"type": "page", "userId": "u2"}))
    assert [call.outcome for call in calls] == ["event", "dead_letter", "event"]
    assert [json.loads(call.raw.text).get("userId") for call in calls] == ["u1", None, "u2"]


@pytest.mark.parametrize("payload", [b"", b"\xff\xfe", b"{", b"3", b'{"batch":3}', b"[1]"])
def test_what_is_no_call_is_shown_as_it_came(payload: bytes) -> None:
    (call,) = shown(payload)
    assert call.outcome == "dead_letter"
    assert call.raw.text == payload.decode(errors="replace").strip("[]")


def test_an_empty_batch_has_no_calls() -> None:
    assert shown(batch()) == []


def test_what_is_long_is_cut_and_says_by_how_much() -> None:
    call = one(type="track", event="e" * 1000, userId="u1", properties={"long": "x" * 50_000})
    assert len(call.raw.text) == MOST_SHOWN
    assert call.raw.left_out > 30_000
    assert len(call.name) < 300
    assert len(msgspec.json.encode(call)) < 5 * MOST_SHOWN


# ---- secrets ----

KEY = "s3cretWriteKey"


@pytest.mark.parametrize(
    "call",
    [
        {"type": "track", "event": "e", "userId": "u1", "writeKey": KEY},
        {"type": "track", "event": "e", "userId": "u1", "properties": {"write_key": KEY}},
        {"type": "track", "event": "e", "userId": "u1", "context": {"WriteKey": KEY}},
        {"type": "identify", "userId": "u1", "writeKey": KEY, "traits": {"writekey": KEY}},
        {"type": "nonsense", "writeKey": KEY},
        {"type": "track", "event": "e", "userId": "u1", "writeKey": KEY, "integrations": {"All": False}},
    ],
    ids=["event", "property", "context", "identify", "dead letter", "disabled"],
)
def test_no_secret_is_shown(call: dict[str, Any]) -> None:
    connections = Connections(integration_names=("Variance",))
    for payload in (batch(call), json.dumps({"batch": [{"type": "page", "userId": "u"}], **call}).encode()):
        for made in shown(payload, connections):
            assert KEY.encode() not in msgspec.json.encode(made)
    assert one(connections, **call).raw.text.count("null") >= 1


def test_no_secret_of_what_is_no_json_is_shown() -> None:
    (call,) = shown(b'{"type":"track","writeKey":"%b"' % KEY.encode())
    assert KEY.encode() not in msgspec.json.encode(call)


# ---- whatever comes ----

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CALLS = st.dictionaries(
    st.sampled_from(["type", "event", "userId", "anonymousId", "groupId", "previousId", "traits", "context", "batch"]),
    st.sampled_from(["track", "identify", "group", "alias", "delete", "page", "u", ""]) | JSON,
)


@given(st.lists(CALLS | JSON, max_size=4) | CALLS)
def test_whatever_comes_every_call_is_shown_as_it_was_sent(document: Any) -> None:
    items = document if isinstance(document, list) else [document]
    calls = shown(json.dumps({"batch": items, "receivedAt": RECEIVED_AT}).encode())
    assert len(calls) == len(items)
    for call, item in zip(calls, items, strict=True):
        assert canonical(call.raw.text.encode()) == canonical(json.dumps(item).encode())
        assert (call.outcome == "dead_letter") == bool(call.reason)


@given(st.binary(max_size=60))
def test_any_bytes_are_shown(payload: bytes) -> None:
    for call in shown(payload):
        msgspec.json.encode(call)
