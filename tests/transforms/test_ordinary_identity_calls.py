"""Ordinary identity calls in columns: what is taken has the row and the call that the rules give it one by one."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.generate import GeneratorSettings, stream
from pipeline.warehouses.duckdb.arrow import row_batch
from schemas.tables import IDENTITY_CALLS, Timestamp
from tests.histories import line, odd_line
from tests.transforms.core.calls import ALIAS, DELETE, GROUP, IDENTIFY, deep, without
from tests.transforms.core.hostile import hostile
from tests.transforms.test_ordinary_events import DEFAULTS, LATER, PUBLISHED, READERS, VALUES, enveloped, received
from transforms import ordinary_identity_calls
from transforms.core import call_rows, raw_json
from transforms.core.dead_letters import Refused
from transforms.core.reader import Call, Reader, Received
from transforms.core.rows import LogEntry
from transforms.ordinary_calls import Message, decoded
from transforms.ordinary_identity_calls import COLUMNS

CALLS = (IDENTIFY, GROUP, ALIAS, DELETE)
TRAITS: Sequence[Any] = (
    *({}, None, [], [1], "", {"email": "ann@example.com", "Name": "Ann"}, {"name": "A", "NAME": "B", "employees": "7"}),
    *({"first_name": "Ann", "lastName": "Lee", "createdAt": "2023-11-14"}, {"company": {"id": 7, "name": "Acme"}}),
    *({"n": 10**400}, {"writeKey": "k"}, {"plan": "é😀", "website": " "}, {"n": 1e5}, {"n": 1.0, "industry": True}),
)
OWN_VALUES: dict[str, Sequence[Any]] = {
    **VALUES,
    "type": ("identify", "group", "alias", "delete", "Identify", "track", None),
    "traits": TRAITS,
    "groupId": ("g", None, "", "null", 7, True),
    "previousId": ("p", None, "", 7, "null"),
    "to": ("t", None, 7, "null"),
    "from": ("f", None, True),
    "context": (
        *VALUES["context"],
        *({"traits": traits} for traits in TRAITS),
        {"personas": {"computation_class": "audience", "computation_key": "k"}, "traits": {}},
        {"a": 1, "b": {"c": [1, 2.5]}},
    ),
}


def one_by_one(reader: Reader, messages: Sequence[Message]) -> list[tuple[int, LogEntry]]:
    """The entries of messages by the rules, each with the index of its message."""
    entries = []
    for index, message in enumerate(messages):
        for outcome in reader.read(received(message)):
            if isinstance(outcome, Call) and call_rows.is_identity_call(outcome):
                try:
                    entry = call_rows.rows(outcome)[1]
                except Refused:
                    continue
                assert entry is not None
                entries.append((index, entry))
    return entries


def check(reader: Reader, messages: Sequence[Message]) -> int:
    """Every row and call is that of the rules; returns how many there are."""
    ordinary = ordinary_identity_calls.read(reader, messages, decoded(messages))
    assert ordinary.rows.column_names == [*COLUMNS]
    assert len(ordinary.rows) == len(ordinary.calls) == len(ordinary.indexes)
    entries = one_by_one(reader, [messages[index] for index in ordinary.indexes])
    assert len(entries) == len(ordinary.indexes)
    for (_, entry), call, index in zip(entries, ordinary.calls, ordinary.indexes, strict=True):
        assert call == entry.call, messages[index]
        assert [*call.given] == [*entry.call.given]
        assert entry.append.outcome == "identity_call"
    rows = row_batch(IDENTITY_CALLS, [entry.append.row for _, entry in entries], 0) if entries else ordinary.rows
    for place, index in enumerate(ordinary.indexes):
        assert one_row(ordinary.rows, place) == one_row(rows, place), messages[index]
    return len(ordinary.indexes)


def one_row(rows: pa.Table, place: int) -> Any:
    return rows.select(COLUMNS).slice(place, 1).to_pylist()


@pytest.mark.parametrize(("reader", "least"), zip(READERS, (700, 20), strict=True))
@pytest.mark.parametrize("are_enveloped", [False, True])
def test_odd_values_of_every_field_give_the_row_of_the_rules(reader: Reader, least: int, are_enveloped: bool) -> None:
    rng = Random(4)
    messages: list[Message] = []
    for _ in range(6_000):
        fields = list(rng.choice(CALLS).items())
        for name in rng.sample(list(OWN_VALUES), rng.choice((0, 1, 1, 2, 3, 6))):
            fields.append((name, rng.choice(OWN_VALUES[name])))
        message = line(dict(fields)) if rng.random() < 0.9 else line(dict(reversed(fields)))
        messages.append(enveloped(rng, message) if are_enveloped else message)
    assert check(reader, messages) > (0.3 * least if are_enveloped else least)


@pytest.mark.parametrize("reader", READERS)
def test_one_odd_message_at_a_time_gives_the_row_of_the_rules(reader: Reader) -> None:
    for call in CALLS:
        for name, values in OWN_VALUES.items():
            for value in values:
                check(reader, [line({**call, name: value})])


@pytest.mark.parametrize("defaults", DEFAULTS)
@pytest.mark.parametrize("published_at", PUBLISHED)
def test_a_call_that_lacks_a_time_or_a_context_gives_the_row_of_the_rules(
    defaults: Any, published_at: Timestamp | None
) -> None:
    inherited = None if defaults is None else msgspec.json.encode(defaults).decode()
    calls = [IDENTIFY, {**IDENTIFY, "context": {"ip": "::1"}}, {**GROUP, "context": None}, {**ALIAS, "receivedAt": ""}]
    calls += [without(IDENTIFY, "receivedAt"), without(GROUP, "sentAt"), without(ALIAS, "timestamp")]
    calls.append(without(IDENTIFY, "timestamp", "originalTimestamp", "sentAt"))
    for reader in READERS:
        check(reader, [Received(line(call), {}, published_at, inherited=inherited) for call in calls])


def test_keys_are_kept_once_and_numbers_are_checked() -> None:
    """Also where the documents of others beside it are as nearly all are."""
    plain = [
        msgspec.json.encode({**IDENTIFY, "messageId": str(number), "traits": {"a": number}}) for number in range(40)
    ]
    plain[7] = plain[7].replace(b'{"a":7}', b'{"a":1,"b":{"c":1,"c":2},"a":3}')
    plain[9] = plain[9].replace(b'{"a":9}', b'{"a": 1e999}')
    plain[11] = plain[11].replace(b'{"a":11}', b'{ "a": 1 }')
    ordinary = ordinary_identity_calls.read(READERS[0], plain, decoded(plain))
    assert ordinary.indexes == [index for index in range(40) if index != 9]
    traits = ordinary.rows["traits"].to_pylist()
    assert traits[7] == '{"a":3,"b":{"c":2}}'
    assert traits[10] == '{ "a": 1 }'
    assert check(READERS[0], plain) == 39


DOCUMENTS = [
    *(b"{}", b'{"a":1,"b":{"a":[1.5,null]}}', b'{"a": 1, "b": "\\u00e9"}', b'{"a" :1}', b'{"a":"\\":","b":2}'),
    *(b'{"a":1,"a":2}', b'{"a":1,"\\u0061":2}', b'{"a": 1, "b": {"c": 1, "c": 2}}', b'{"a":1,"a":2,"b":"\\u0022:"}'),
    *(b'{"a":1,"a":2,"b":"\\"\\u003A"}', b'{"a":1,"a":2,"b":"x :"}', b'{"a":1e400}', b'{"a":"12 : 30"}'),
    *(b'{"url":"http:\\/\\/x.org"}', b'{"n":1.0,"m":12345678901234567890}', '{"é":"é"}'.encode()),
]


@given(st.lists(st.sampled_from(DOCUMENTS), max_size=6))
def test_documents_are_looked_at_together_as_by_themselves(documents: list[bytes]) -> None:
    raws = [*map(msgspec.Raw, documents)]
    together = [raw and bytes(raw) for raw in ordinary_identity_calls._with_each_key_once(raws)]
    expected: list[bytes | None] = []
    for raw in raws:
        try:
            expected.append(bytes(raw_json.with_each_key_once(raw)))
        except ValueError:
            expected.append(None)
    assert together == expected


def test_calls_of_a_receivers_batch_are_ordinary() -> None:
    """Each has what it inherits written into its payload."""
    calls = [without({**IDENTIFY, "messageId": str(number)}, "receivedAt") for number in range(20)]
    batch = {"batch": calls, "receivedAt": LATER, "context": {"ip": "203.0.113.9", "userAgent": "Mozilla/5.0"}}
    items = READERS[0].items(Received(line(batch), {"connection": "site"}, Timestamp(1_700_000_100_000_000)))
    assert len(items) == 20
    assert check(READERS[0], items) == 20
    ordinary = ordinary_identity_calls.read(READERS[0], items, decoded(items))
    assert all(f'"receivedAt":"{LATER}"' in payload for payload in ordinary.rows["payload"].to_pylist())


def test_bytes_that_nobody_should_send_give_the_row_of_the_rules() -> None:
    rng = Random(5)
    for _ in range(10):
        check(READERS[0], [hostile(rng) for _ in range(300)])
        check(READERS[0], [odd_line(rng) for _ in range(300)])


def test_what_a_parser_cannot_take_costs_its_neighbours_nothing() -> None:
    good = line(IDENTIFY)
    odd = [b'{"type":"identify","userId":"\xff"}', good[:-1], b"", b"[]", b"5", deep(600), deep(2_000)]
    odd.append(good.replace(b'"identify"', b'"identify","properties":' + deep(600)))
    ordinary = ordinary_identity_calls.read(READERS[0], [*odd, good, *odd], decoded([*odd, good, *odd]))
    assert ordinary.indexes == [len(odd)]


def test_nearly_all_generated_identity_calls_are_ordinary() -> None:
    messages = list(stream(GeneratorSettings(calls=4_000, size=900)))
    entries = [entry for _, entry in one_by_one(READERS[0], messages) if entry.append.outcome is not None]
    assert check(READERS[0], messages) > 0.85 * len(entries)


def test_a_block_knows_its_types() -> None:
    messages = [line({**call, "messageId": str(number)}) for number, call in enumerate((*CALLS, IDENTIFY))]
    read = ordinary_identity_calls.read(READERS[0], messages, decoded(messages))
    assert read.types() == {"identify": 2, "group": 1, "alias": 1, "delete": 1}
    assert ordinary_identity_calls.read(READERS[0], [], decoded([])).types() == {}
