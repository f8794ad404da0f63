"""A dead letter that is read again is what was received: under other rules it gives what the message would give."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from random import Random

import pytest
from msgspec.structs import replace

from schemas.segment import KEPT_OF_TOO_LARGE_BYTES, MAX_MESSAGE_BYTES
from schemas.tables import DeadLetter, Identity
from tests.histories import Message, line, odd_line
from tests.transforms.core.calls import IDENTIFY, PAGE, second, without
from tests.transforms.core.hostile import hostile
from transforms.core import call_rows, redelivery
from transforms.core.connections import Connection, Connections, Router
from transforms.core.dead_letters import CUT_FROM, Reason, Refused, Stage, dead_letter
from transforms.core.reader import Call, OversizedMessage, Reader, ReadOutcome, Received
from transforms.core.redelivery import Unreadable, UnreadableError
from transforms.core.rows import Append, Upsert

SITE = Connection("site", ("s1",))
CLOSED = Reader(Router(Connections(connections=(SITE,))))
OPEN = Reader(Router(Connections(connections=(SITE, Connection("rest")))))


def again(outcome: ReadOutcome, reader: Reader) -> Iterator[ReadOutcome]:
    """What becomes of a dead letter that is read again; every other outcome as it is."""
    if isinstance(outcome, DeadLetter):
        yield from reader.read(redelivery.received(outcome))
    else:
        yield outcome


PAYLOADS: tuple[Callable[[Random], bytes], ...] = (odd_line, hostile)


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("is_published", [True, False])
def test_what_is_refused_reads_again_as_it_was_received(payload: Callable[[Random], bytes], is_published: bool) -> None:
    rng = Random(f"{payload.__name__} {is_published}")
    became_calls = 0
    for _ in range(3_000):
        drawn = re.sub(rb"(?i)write", b"other", payload(rng))  # a secret is not kept, so not read again
        received = Received(drawn, {"k": "v"}, second(0) if is_published else None)
        refused = list(CLOSED.read(received))
        assert [each for outcome in refused for each in again(outcome, CLOSED)] == refused, received
        expected = list(OPEN.read(received))
        assert [each for outcome in refused for each in again(outcome, OPEN)] == expected, received
        became_calls += sum(isinstance(each, Call) for each in expected) - sum(
            isinstance(each, Call) for each in refused
        )
    assert became_calls > 300


def test_an_item_of_a_batch_keeps_what_it_inherited() -> None:
    item = without({**IDENTIFY, "context": {"app": 1}}, "timestamp")
    batch: Message = {"batch": [item, [item]], "sentAt": "2024-01-01T00:00:00Z", "context": {"ip": "::1", "app": 2}}
    letter, nested = CLOSED.read(Received(line(batch)))
    assert isinstance(letter, DeadLetter)
    assert isinstance(nested, DeadLetter)
    assert letter.payload == line(item), "its bytes, unchanged"
    assert json.loads(letter.inherited or "") == without(batch, "batch")
    (call,) = OPEN.read(redelivery.received(letter))
    assert isinstance(call, Call)
    assert json.loads(bytes(call.context)) == {"ip": "::1", "app": 1}
    (same,) = OPEN.read(redelivery.received(nested))
    assert isinstance(same, DeadLetter), "an array in a batch is one item, not an array of its own"


def test_an_item_of_an_array_is_no_batch_of_its_own() -> None:
    (letter,) = CLOSED.read(Received(line([{"batch": [PAGE]}])))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.inherited) == ("unsupported_type", "{}")
    assert CLOSED.read(redelivery.received(letter)) == (letter,)


def test_a_whole_message_inherits_nothing() -> None:
    for payload in (line(PAGE), b"nonsense", b"[,]"):
        (letter,) = CLOSED.read(Received(payload))
        assert isinstance(letter, DeadLetter)
        assert letter.inherited is None


ROUTED: list[tuple[str, Message, Mapping[str, str], tuple[Connection, ...], str | None, str]] = [
    ("it had one, which is there", {}, {}, (SITE, Connection("new", ("s1x",)), Connection("rest")), None, "site"),
    ("its source has moved", {}, {}, (Connection("site", ("s2",)), Connection("new", ("s1",))), None, "site"),
    ("its connection is gone", {}, {}, (Connection("new", ("s1",)), Connection("rest")), None, "new"),
    ("it had none", {"projectId": "s9"}, {}, (SITE, Connection("new", ("s9",))), None, "new"),
    ("an attribute names one", {"projectId": "s9"}, {"connection": "new"}, (SITE, Connection("new", ())), None, "new"),
    ("all is of one connection", {}, {}, (SITE, Connection("rest")), "rest", "rest"),
]


@pytest.mark.parametrize(
    ("what", "given", "attributes", "connections", "override", "expected"), ROUTED, ids=[each[0] for each in ROUTED]
)
def test_the_connection(
    what: str,
    given: Message,
    attributes: Mapping[str, str],
    connections: tuple[Connection, ...],
    override: str | None,
    expected: str,
) -> None:
    message = {**PAGE, "projectId": "s1", "userId": [1], **given}
    (letter,) = CLOSED.read(Received(line(message), attributes))
    assert isinstance(letter, DeadLetter)
    message = {**message, "userId": "u"}  # as if the rules had changed
    received = redelivery.received(replace(letter, payload=line(message)))
    (call,) = Reader(Router(Connections(connections=connections), override)).read(received)
    assert isinstance(call, Call)
    assert (call.connection.name, call.attributes) == (expected, attributes)


def test_a_call_that_the_warehouse_refused_is_read_again_with_all_that_it_had() -> None:
    batch = {"batch": [without(PAGE, "timestamp")], "context": {"ip": "::1"}}
    (call,) = OPEN.read(Received(line(batch), {"k": "v"}, second(0)))
    assert isinstance(call, Call)
    row = call_rows.event(call)
    assert row is not None
    refused = Append(row, "event", call.message, call.attributes, call.published_at, call.inherited).refused("why").row
    assert isinstance(refused, DeadLetter)
    assert OPEN.read(redelivery.received(refused)) == (call,)


SECRET: list[tuple[str, Message]] = [
    ("in its field", {"writeKey": "s3cret"}),
    ("in another spelling", {"write_key": "s3cret"}),
    ("in its properties", {"properties": {"a": {"Write Key": "s3cret"}}}),
    ("in an object of its own", {"context": {"app": [{"write-key": {"k": "s3cret"}}]}}),
    ("in its field, and it has an id", {"writeKey": "s3cret", "messageId": "m"}),
]


@pytest.mark.parametrize(("where", "given"), SECRET, ids=[each[0] for each in SECRET])
def test_a_call_is_the_same_without_its_secret(where: str, given: Message) -> None:
    message = line({**without(PAGE, "messageId"), **given})
    (expected,) = OPEN.read(Received(message))
    (letter,) = CLOSED.read(Received(message))
    assert isinstance(letter, DeadLetter)
    assert b"s3cret" not in letter.payload
    assert CLOSED.read(redelivery.received(letter)) == (letter,)
    (call,) = OPEN.read(redelivery.received(letter))
    assert isinstance(call, Call)
    assert isinstance(expected, Call)
    stored = (expected.message, bytes(expected.properties), bytes(expected.context), bytes(expected.extra or b""))
    assert b"s3cret" not in b"".join(stored)
    assert call == expected


def cut(reason: Reason, detail: str, payload: bytes) -> DeadLetter:
    return dead_letter(Stage.PARSE, Refused(reason, detail), payload, {}, message_id="m")


def keyed_row() -> DeadLetter:
    row = Upsert(("a",), (1,), Identity("a", "b")).refused("identities", "why").row
    assert isinstance(row, DeadLetter)
    return row


def refused_by(reader: Reader, received: Received) -> DeadLetter:
    (letter,) = reader.read(received)
    assert isinstance(letter, DeadLetter)
    return letter


LONG = OversizedMessage(MAX_MESSAGE_BYTES + 1, "digest")
WHOLE = b"x" * KEPT_OF_TOO_LARGE_BYTES
UNREADABLE: list[tuple[str, DeadLetter, Unreadable | None]] = [
    ("the beginning of a line", refused_by(CLOSED, Received(WHOLE, too_large=LONG)), Unreadable.CUT),
    ("the beginning of a message", refused_by(CLOSED, Received(b"x" * LONG.length)), Unreadable.CUT),
    ("cut by the warehouse", cut(Reason.INVALID_JSON, f"why{CUT_FROM}2000000 bytes", WHOLE), Unreadable.CUT),
    ("too large, and whole", cut(Reason.TOO_LARGE, "the row", WHOLE[1:]), None),
    ("as long as what is kept", cut(Reason.INVALID_JSON, "why", WHOLE), None),
    ("a row of a keyed table", keyed_row(), Unreadable.KEYED_ROW),
]


@pytest.mark.parametrize(("what", "letter", "cause"), UNREADABLE, ids=[each[0] for each in UNREADABLE])
def test_what_is_no_message_any_more(what: str, letter: DeadLetter, cause: Unreadable | None) -> None:
    if cause is None:
        assert redelivery.received(letter).payload == letter.payload
        return
    with pytest.raises(UnreadableError) as raised:
        redelivery.received(letter)
    assert raised.value.cause is cause
