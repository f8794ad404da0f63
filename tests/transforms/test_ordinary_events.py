"""Ordinary events in columns: what is taken has the row that the rules give it one by one, and nearly all are taken."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from examples.generate import GeneratorSettings, stream
from pipeline.warehouses.duckdb.arrow import row_batch
from schemas.segment import MAX_CLOCK_AHEAD_US
from schemas.tables import EVENTS, Event, Timestamp
from tests.histories import line, odd_line
from tests.transforms.core.calls import PAGE, SCREEN, TRACK, deep, without
from tests.transforms.core.hostile import hostile
from transforms import call_blocks, ordinary_events
from transforms.call_blocks import CallBlocks, Unread
from transforms.core import call_rows
from transforms.core.connections import Connection, Connections
from transforms.core.reader import Call, Reader, Received
from transforms.core.rows import Append
from transforms.ordinary_calls import Message, decoded

CONNECTIONS = Connections(connections=(Connection("site", ("u", "7")), Connection("rest")))
STRICT = Connections(
    connections=(Connection("site", ("p",)),), integration_names=("Variance",), placeholder_ids=("nobody-9", "u1")
)
READERS = [Reader.of(CONNECTIONS), Reader.of(STRICT)]
LATER = "2023-11-14T22:15:00.000Z"

VALUES: dict[str, Sequence[Any]] = {
    "type": ("page", "track", "screen", "Track", "identify", None),
    "messageId": ("m", "", None, 7, "é😀"),
    "userId": (
        "u1",
        "0",
        "-1",
        "ann@example.com",
        " u",
        "nobody-9",
        "not set",
        "{{id}}",
        "é",
        7,
        "x" * 1025,
        "",
        "N/A",
        12345,
        0,
        -7,
        True,
        1.0,
        1.5,
        "u\n",
    ),
    "anonymousId": (
        "a",
        None,
        "00000000-0000-0000-0000-000000000000",
        "null",
        "undefined",
        "a|b:c",
        "",
        0,
        -1,
        2**53 + 1,
    ),
    "projectId": ("p", "7", None, 7),
    "timestamp": (
        *(LATER, "2023-02-30T22:15:00.000Z", "2023-11-14", 1_700_000_000, None, "1970-01-01T00:00:00.000Z"),
        *("2023-11-14T22:15:00.123456+00:00", "2023-11-14T22:15:00.123456789Z", "2023-11-14T22:15:00.5-07:00"),
        *("2023-11-14T22:15:00.1234567x", "1700000000.1234567", "2023-11-14T22:15:00+24:00", "2023-13-14T22:15:00Z"),
    ),
    "originalTimestamp": (LATER, "2023-11-14T24:00:00.000Z", "2023-11-14T22:15:60.000Z", "never", None),
    "sentAt": (1_700_000_100_000, LATER, "", "2099-01-01T00:00:00.000Z", "2023-11-14T22:15:00Z", None),
    "receivedAt": (
        1_700_000_200,
        1_700_000_200_500.25,
        LATER,
        "",
        "1999-01-01T00:00:00.000Z",
        "2023-11-14 22:15:00.000Z",
        "9999-12-31T23:59:59.999Z",
        None,
    ),
    "event": ("E", "", None, 1),
    "name": ("N", "", None),
    "properties": (
        {},
        {"name": "n"},
        {"path": "/p"},
        {"category": "c"},
        {"category": None},
        None,
        [],
        {"writeKey": "k"},
        {"n": 10**400},
    ),
    "context": (
        *({}, {"groupId": "g"}, {"groupId": ""}, {"group_id": "g"}, {"groupId": None}, {"groupId": 5}, None),
        *({"page": {"path": "/c"}}, {"page": 1}, {"personas": {"computation_class": "trait"}}, {"personas": None}),
    ),
    "integrations": ({}, {"All": False}, {"Variance": True, "All": False}, None, False, []),
    "_metadata": ({"bundled": []}, None),
    "channel": ("server", None, 1),
    "version": (2, None, "1.0"),
    "category": (None, "c", 1),
    "groupId": (None, "g", "", "null", 7, True),
    "previousId": (None, "p"),
    "traits": (None, {}, {"a": 1}, [], [1]),
    "user id": ("u", None),
    "from": ("f", None),
    "batch": (None, {}),
    "writeKey": (None, "k"),
    "write_key": (None,),
    "sessionId": ("s", None, {"writeKey": None}),
    "library": ({"name": "x"},),
    "deep": (1,),
}


ATTRIBUTES: Sequence[dict[str, str]] = ({}, {}, {"connection": "site"}, {"connection": "nobody's"}, {"other": "x"})
PUBLISHED = (
    None,
    Timestamp(1_700_000_100_000_000),
    Timestamp(1_700_000_000_000_000 - 2 * MAX_CLOCK_AHEAD_US),
    Timestamp(4_000_000_000_000_000),
)
DEFAULTS: Sequence[Any] = (
    *(None, {}, {"receivedAt": LATER}, {"sentAt": LATER, "receivedAt": LATER}, {"receivedAt": "never"}),
    *({"context": {"ip": "203.0.113.9", "page": {"path": "/d"}}}, {"context": {"groupId": "g9"}}, {"context": {}}),
    *(
        {"receivedAt": 1_700_000_100},
        {"integrations": {"All": False}},
        {"integrations": {}},
        {"integrations": {"Variance": False}, "receivedAt": LATER},
        {"context": {"personas": 1}},
    ),
)
"""Of batches; None for a message that is no item of one."""


def one_by_one(reader: Reader, messages: Sequence[Message]) -> list[tuple[int, Append]]:
    """The events of messages by the rules, each with the index of its message."""
    events = []
    for index, message in enumerate(messages):
        for outcome in reader.read(received(message)):
            if isinstance(outcome, Call) and (event := call_rows.rows(outcome)[0]) is not None:
                events.append((index, event))
    return events


def received(message: Message) -> Received:
    return Received(message) if isinstance(message, bytes) else message


def enveloped(rng: Random, message: bytes) -> Received:
    """The message as a source may deliver it, or as an item of a batch."""
    defaults = rng.choice(DEFAULTS)
    return Received(
        message,
        rng.choice(ATTRIBUTES),
        rng.choice(PUBLISHED),
        inherited=None if defaults is None else msgspec.json.encode(defaults).decode(),
    )


def rows(events: Sequence[Append]) -> pa.Table:
    return row_batch(EVENTS, [event.row for event in events], 0)


def check(reader: Reader, messages: Sequence[Message]) -> int:
    """Every row is the one of the rules; returns how many there are."""
    ordinary = ordinary_events.read(reader, messages, decoded(messages))
    for index in ordinary.indexes:
        (call,) = reader.read(received(messages[index]))
        assert isinstance(call, Call), messages[index]
        assert call_rows.rows(call)[1] is None, messages[index]
    if not ordinary.indexes:
        assert len(ordinary.rows) == 0
        return 0
    expected = rows([event for _, event in one_by_one(reader, [messages[index] for index in ordinary.indexes])])
    for place, index in enumerate(ordinary.indexes):
        assert ordinary.rows.slice(place, 1).to_pylist() == expected.slice(place, 1).to_pylist(), messages[index]
    assert ordinary.rows.equals(expected)
    return len(ordinary.indexes)


@pytest.mark.parametrize(("reader", "ordinary"), zip(READERS, (500, 30), strict=True))
@pytest.mark.parametrize("are_enveloped", [False, True])
def test_odd_values_of_every_field_give_the_row_of_the_rules(
    reader: Reader, ordinary: int, are_enveloped: bool
) -> None:
    rng = Random(1)
    messages: list[Message] = []
    for _ in range(6_000):
        fields = list(rng.choice((PAGE, SCREEN, TRACK)).items())
        for name in rng.sample(list(VALUES), rng.choice((0, 1, 1, 2, 3, 6))):
            fields.append((name, rng.choice(VALUES[name])))
        message = line(dict(fields)) if rng.random() < 0.9 else line(dict(reversed(fields)))
        messages.append(enveloped(rng, message) if are_enveloped else message)
    assert check(reader, messages) > (0.3 * ordinary if are_enveloped else ordinary)


@pytest.mark.parametrize("reader", READERS)
def test_one_odd_message_at_a_time_gives_the_row_of_the_rules(reader: Reader) -> None:
    for call in (PAGE, TRACK):
        for name, values in VALUES.items():
            for value in values:
                check(reader, [line({**call, name: value})])


@pytest.mark.parametrize("defaults", DEFAULTS)
@pytest.mark.parametrize("published_at", PUBLISHED)
def test_an_event_that_lacks_a_time_or_a_context_gives_the_row_of_the_rules(
    defaults: Any, published_at: Timestamp | None
) -> None:
    """Whatever its batch and its source have in their place."""
    inherited = None if defaults is None else msgspec.json.encode(defaults).decode()
    calls = [TRACK, {**TRACK, "context": {"ip": "::1", "page": {"path": "/p"}}}, {**TRACK, "context": None}]
    calls += [{**TRACK, "receivedAt": ""}, {**TRACK, "sentAt": ""}]
    calls += [without(TRACK, "receivedAt"), without(TRACK, "sentAt"), without(TRACK, "timestamp", "originalTimestamp")]
    calls.append(without(TRACK, "timestamp", "originalTimestamp", "sentAt", "receivedAt"))
    for reader in READERS:
        for attributes in ATTRIBUTES:
            messages = [Received(line(call), attributes, published_at, inherited=inherited) for call in calls]
            check(reader, messages)


def test_events_of_a_receivers_batch_are_ordinary() -> None:
    """Each of its messages is a batch, with the time of receipt and the browser's device."""
    tracks = [without({**TRACK, "messageId": str(number)}, "receivedAt") for number in range(20)]
    batch = {"batch": tracks, "receivedAt": LATER, "context": {"ip": "203.0.113.9", "userAgent": "Mozilla/5.0"}}
    items = READERS[0].items(Received(line(batch), {"connection": "site"}, Timestamp(1_700_000_100_000_000)))
    assert len(items) == 20
    assert check(READERS[0], items) == 20


def test_bytes_that_nobody_should_send_give_the_row_of_the_rules() -> None:
    rng = Random(2)
    for _ in range(10):
        check(READERS[0], [hostile(rng) for _ in range(300)])
        check(READERS[0], [odd_line(rng) for _ in range(300)])


def test_what_a_parser_cannot_take_costs_its_neighbours_nothing() -> None:
    good = line(TRACK)
    odd = [b'{"type":"track","event":"\xff"}', line(TRACK)[:-1], b"", b"[]", b"5", deep(600), deep(2_000), b"\xff" * 9]
    odd += [
        good.replace(b'"E"', b'"E","properties":' + deep(600)),
        good.replace(b'"E"', b'"E","writeKey":' + deep(600)),
    ]
    odd.append(good.replace(b'"E"', b'"E","writeKey":k'))
    ordinary = ordinary_events.read(READERS[0], [*odd, good, *odd], decoded([*odd, good, *odd]))
    assert ordinary.indexes == [len(odd)]


def test_nearly_all_generated_events_are_ordinary() -> None:
    messages = list(stream(GeneratorSettings(calls=2_000, size=900)))
    events = {index for index, _ in one_by_one(READERS[0], messages)}
    assert check(READERS[0], messages) > 0.9 * len(events)


@pytest.mark.parametrize("repeated", [(), (3, 5), (30, 29), (9, 8, 30, 3)])
def test_of_the_events_of_a_block_with_one_message_id_the_first_comes_first(
    repeated: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_blocks, "_FEW", 16)
    tracks = [{**TRACK, "messageId": str(number), "event": f"Event {number}"} for number in range(40)]
    for number in (3, 4, 9, 30):
        tracks[number]["previousId"] = "p"
    for number in repeated:
        tracks[number]["messageId"] = "again"
    batch = line({"batch": [{**PAGE, "messageId": f"b{number}"} for number in range(3)]})
    messages = [*map(line, tracks[:20]), batch, line({**PAGE, "type": "sing"}), *map(line, tracks[20:])]
    unread = Unread.of(READERS[0], messages)
    assert unread.others() == [3, 4, 9, 20, 21, 32]
    all_events = one_by_one(READERS[0], messages)
    for cut in (0, 1, 4, 10, 20, 42):
        blocks = []
        for start, end in itertools.pairwise((0, cut, len(messages))):
            others = [
                (index, event) for index, event in all_events if start <= index < end and index in unread.others()
            ]
            blocks.append(unread.event_block(start, end, others))
        events = CallBlocks(blocks)
        expected = [event for _, event in all_events]
        assert sorted(map(whole, events)) == sorted(map(whole, expected))
        assert first_of_each(events) == first_of_each(expected)
        assert [event.row for event in events[5:9]] == [event.row for event in [*events][5:9]]


def whole(event: Append) -> bytes:
    """An event, its message and its dead letter."""
    return msgspec.json.encode((event.row, event.message, event.refused("why")))


def first_of_each(events: Iterable[Append]) -> dict[str, bytes]:
    """The first event of each message id."""
    first: dict[str, bytes] = {}
    for event in events:
        assert isinstance(event.row, Event)
        first.setdefault(event.row.message_id, whole(event))
    return first


def test_a_block_knows_its_types() -> None:
    messages = [line(PAGE), line(TRACK), line({**PAGE, "messageId": "n"}), line(without(PAGE, "userId")), line(SCREEN)]
    assert ordinary_events.read(READERS[0], messages, decoded(messages)).types() == {"page": 2, "track": 1, "screen": 1}
    assert ordinary_events.read(READERS[0], [], decoded([])).types() == {}
