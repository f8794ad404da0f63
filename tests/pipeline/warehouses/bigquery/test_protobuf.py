"""Rows as protobuf, read back as BigQuery reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from msgspec import Raw, structs

from pipeline.warehouses.bigquery.protobuf import RowEncoder
from schemas.tables import (
    ALL,
    BY_NAME,
    CONTACTS,
    EVENTS,
    Account,
    Audience,
    Column,
    Contact,
    DeadLetter,
    Event,
    Row,
    Table,
    Timestamp,
)
from tests.bigquery_double.schema import Decoder, Field

NOON = Timestamp(1_700_000_000_000_000)
EVENT = Event(
    "m1",
    "Page",
    "Prix · é",
    NOON,
    NOON,
    None,
    "ann",
    None,
    None,
    "web",
    Raw(b'{"a": [1]}'),
    Raw(b'{"\xc3\xa9": 1}'),
    None,
)


def field(column: Column) -> Field:
    return Field(column.name, column.type.value, column.mode.value, None, tuple(map(field, column.fields)))


def decoded(table: Table, encoder: RowEncoder, encoded: bytes) -> Mapping[str, Any]:
    values, pseudo = Decoder(encoder.descriptor, list(map(field, table.columns))).row(encoded)
    names = [*(column.name for column in table.columns), *("_CHANGE_TYPE", "_CHANGE_SEQUENCE_NUMBER")[: len(pseudo)]]
    return dict(zip(names, (*values, *pseudo), strict=True))


@pytest.mark.parametrize("table", ALL, ids=lambda table: table.name)
def test_a_writer_schema_has_the_columns_in_order_and_needs_no_other_file(table: Table) -> None:
    descriptor = RowEncoder(table).descriptor
    names = [each.name for each in descriptor.field]
    assert [name for name in names if not name.startswith("_CHANGE")] == [column.name for column in table.columns]
    nested = {each.name for each in descriptor.nested_type}
    assert {each.type_name for each in descriptor.field if each.type == FieldDescriptorProto.TYPE_MESSAGE} == nested
    assert not any(each.HasField("proto3_optional") or each.HasField("oneof_index") for each in descriptor.field)


@pytest.mark.parametrize(
    ("what", "table", "row", "expected"),
    [
        (
            "an event: times are microseconds, JSON is as it was written, NULL is absent",
            "events",
            EVENT,
            {"name": "Prix · é", "timestamp": NOON, "properties": '{"a": [1]}', "context": '{"é": 1}', "sent_at": None},
        ),
        ("empty text is not NULL", "accounts", Account("a", "", plan=""), {"name": "", "plan": "", "industry": None}),
        ("zero is not NULL", "accounts", Account("a", "", employees=0), {"employees": 0, "first_named_at": None}),
        ("a negative number", "accounts", Account("a", "", employees=-1), {"employees": -1}),
        (
            "structs and arrays",
            "contacts",
            Contact("a", audiences=(Audience("vip", False, NOON),), previous_ids=("b", ""), connections=()),
            {
                "audiences": [{"audience_key": "vip", "is_member": False, "updated_at": NOON}],
                "previous_ids": ["b", ""],
                "connections": [],
            },
        ),
        (
            "bytes that are no text",
            "dead_letters",
            DeadLetter(
                dead_letter_id="1", stage="parse", reason="r", detail="", payload=b"\xff\x00", attributes=Raw(b"{}")
            ),
            {"payload": b"\xff\x00", "retryable": False},
        ),
    ],
)
def test_a_row_is_read_back_as_it_was(what: str, table: str, row: Row, expected: Mapping[str, Any]) -> None:
    encoder = RowEncoder(BY_NAME[table])
    pseudo = {"_CHANGE_TYPE": "UPSERT"} if "_CHANGE_TYPE" in str(encoder.descriptor) else {}
    filled = {"failed_at": 5} if table == "dead_letters" else {}
    read = decoded(BY_NAME[table], encoder, encoder.encode(row, **pseudo, **filled))
    assert {name: read[name] for name in expected} == expected


def test_what_is_filled_in_stands_over_the_row() -> None:
    encoder = RowEncoder(CONTACTS)
    read = decoded(
        CONTACTS, encoder, encoder.encode(Contact("a", updated_at=NOON), updated_at=7, _CHANGE_TYPE="UPSERT")
    )
    assert (read["updated_at"], read["_CHANGE_TYPE"], read["_CHANGE_SEQUENCE_NUMBER"]) == (7, "UPSERT", None)


@pytest.mark.parametrize("name", ["contacts", "accounts", "identities", "memberships"])
def test_a_key_alone_is_a_row_that_the_table_takes(name: str) -> None:
    table = BY_NAME[name]
    encoder = RowEncoder(table)
    key = dict.fromkeys(table.key, "a")
    read = decoded(table, encoder, encoder.encode_key(key, _CHANGE_TYPE="DELETE"))
    assert {column: read[column] for column in table.key} == key
    assert not any(read[column.name] for column in table.columns if column.name not in key and column.name != "traits")


@pytest.mark.parametrize(
    ("what", "table", "row", "why"),
    [
        ("a lone surrogate", CONTACTS, Contact("\ud800"), "external_id: the text has a lone surrogate"),
        ("JSON that is no UTF-8", CONTACTS, Contact("a", traits=Raw(b'"\xff"')), "traits: str is not valid UTF-8"),
        (
            "a number beyond 64 bits",
            BY_NAME["accounts"],
            Account("a", "", employees=2**63),
            "employees: 92233720368547758",
        ),
        ("a value of another type", EVENTS, structs.replace(EVENT, message_id=7), "message_id: a int is no STRING"),
    ],
)
def test_a_row_that_protobuf_cannot_hold_is_one_that_the_table_tells_of(
    what: str, table: Table, row: Row, why: str
) -> None:
    with pytest.raises((ValueError, TypeError)):
        RowEncoder(table).encode(row)
    assert (table.misfit(row) or "").startswith(why)


def test_a_rewritten_row_has_other_numbers_in_its_json_and_nothing_else() -> None:
    encoder = RowEncoder(EVENTS)
    row = structs.replace(EVENT, name="67.174118", properties=Raw(b'{"a": 67.174118}'))
    written = decoded(EVENTS, encoder, encoder.rewritten(encoder.encode(row)))
    assert written == {
        **decoded(EVENTS, encoder, encoder.encode(row)),
        "properties": '{"a": 67.17411800000001}',
    }
    assert encoder.rewritten(encoder.encode(EVENT)) == encoder.encode(EVENT)
