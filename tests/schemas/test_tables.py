from __future__ import annotations

from typing import Annotated

import pytest
from msgspec import Raw

from schemas import tables
from schemas.tables import (
    Audience,
    Column,
    Contact,
    Identity,
    Job,
    Json,
    Mode,
    Row,
    Table,
    Timestamp,
    Type,
    Write,
    json_misfit,
)

LAST = Timestamp(tables.TIMESTAMPS[-1])


def test_a_column_is_declared_by_one_line() -> None:
    class Sample(Row, frozen=True):
        """Words
        on two lines."""

        key: Annotated[str, "the key"]
        count: Annotated[int | None, "how many"]
        seen: Annotated[tuple[Timestamp, ...], "when"] = ()
        parts: Annotated[tuple[Audience, ...], "what of"] = ()
        document: Annotated[Json | None, "all of it"] = None

    table = Table("samples", Sample, Write.UPSERT, ("key",))
    assert table.description == "Words on two lines."
    assert table.columns == (
        Column("key", Type.STRING, Mode.REQUIRED, "the key"),
        Column("count", Type.INT64, Mode.NULLABLE, "how many"),
        Column("seen", Type.TIMESTAMP, Mode.REPEATED, "when"),
        Column("parts", Type.STRUCT, Mode.REPEATED, "what of", tables.Table("", Audience, Write.APPEND, ()).columns),
        Column("document", Type.JSON, Mode.NULLABLE, "all of it"),
    )
    assert table.column("count") is table.columns[1]


@pytest.mark.parametrize("table", tables.ALL, ids=tables.BY_NAME)
def test_a_table_says_everything_about_itself(table: Table) -> None:
    columns = {column.name: column for column in table.columns}
    assert len(columns) == len(table.columns)
    assert table.description.endswith(".")
    assert all(column.description and not column.description.endswith(".") for column in table.columns)
    assert all(columns[name].mode is Mode.REQUIRED for name in table.key)
    assert {*table.cluster_by, *filter(None, (table.partition_by, table.written))} <= columns.keys()
    for name in filter(None, (table.partition_by, table.written)):
        assert columns[name].type is Type.TIMESTAMP


def contact(**fields: object) -> Contact:
    return Contact("ann", **fields)  # type: ignore[arg-type]


MISFITS = [
    ("a row of another table", Identity("a", "b"), "a Identity is not a row of contacts"),
    ("the least that a row needs", contact(), None),
    ("every type", contact(name="é", traits=Raw(b"{}"), created_at=0, audiences=(Audience("a", True, LAST),)), None),
    ("NULL where a value is required", Contact(None), "external_id: a REQUIRED column cannot be NULL"),  # type: ignore[arg-type]
    ("NULL for a list", contact(connections=None), "connections: a REPEATED column cannot be NULL"),
    ("NULL in a list", contact(connections=("a", None)), "connections: a NoneType is no STRING"),
    (
        "NULL in a struct",
        contact(audiences=(Audience("a", None, LAST),)),  # type: ignore[arg-type]
        "is_member: a REQUIRED column cannot be NULL",
    ),
    ("a number for a text", contact(name=1), "name: a int is no STRING"),
    ("bytes for a text", contact(name=b"a"), "name: a bytes is no STRING"),
    ("a text for JSON", contact(traits="{}"), "traits: a str is no JSON"),
    ("a text for a struct", contact(audiences=("a",)), "audiences: a str is no STRUCT"),
    ("a number for a boolean", contact(audiences=(Audience("a", 1, LAST),)), "is_member: a int is no BOOL"),  # type: ignore[arg-type]
    ("a boolean for a time", contact(created_at=True), "created_at: a bool is no TIMESTAMP"),
    ("a fraction for a time", contact(created_at=0.5), "created_at: a float is no TIMESTAMP"),
    ("the first microsecond of year 1", contact(created_at=-62_135_596_800_000_000), None),
    (
        "before year 1",
        contact(created_at=-62_135_596_800_000_001),
        "created_at: -62135596800000001 is outside the years 1 to 9999",
    ),
    ("the last microsecond of year 9999", contact(created_at=LAST), None),
    ("after year 9999", contact(created_at=LAST + 1), "created_at: 253402300800000000 is outside the years 1 to 9999"),
    ("half a surrogate pair", contact(name="a\ud800"), "name: the text has a lone surrogate, which UTF-8 cannot hold"),
    ("NUL in a text", contact(name="a\0"), None),
    ("the second of two columns", contact(email=1, name=2), "email: a int is no STRING"),
    ("JSON that is none", contact(traits=Raw(b'{"a":')), "traits: unexpected end of data: line 1 column 6 (char 5)"),
]


@pytest.mark.parametrize(("what", "row", "expected"), MISFITS, ids=[case[0] for case in MISFITS])
def test_a_row_fits_or_is_told_why_not(what: str, row: Row, expected: str | None) -> None:
    assert tables.CONTACTS.misfit(row) == expected, what


@pytest.mark.parametrize(
    ("what", "number", "fits"),
    [
        ("the greatest", 2**63 - 1, True),
        ("one more", 2**63, False),
        ("the least", -(2**63), True),
        ("one less", -(2**63) - 1, False),
    ],
)
def test_an_integer_has_64_bits(what: str, number: int, fits: bool) -> None:
    row = Job(number, Timestamp(0), None, "", "", False)
    expected = None if fits else f"generation: {number} is out of the range of INT64"
    assert tables.JOBS.misfit(row) == expected, what


@pytest.mark.parametrize(
    ("what", "text", "fits"),
    [
        ("an object", b'{"a": [1, -0.5e300, null, true, "\\u00e9\\ud83d\\ude00"]}', True),
        ("a scalar", b"1", True),
        ("a key twice", b'{"a":1,"a":2}', True),
        ("an integer beyond 64 bits", b"123456789012345678901234567890", True),
        ("an escaped NUL", b'"\\u0000"', True),
        ("an integer of as many digits as FLOAT64 has", b"1" + b"0" * 308, True),
        ("a number beyond FLOAT64", b'{"a":1e400}', False),
        ("an integer beyond FLOAT64", b"1" + b"0" * 309, False),
        ("NaN", b"NaN", False),
        ("half a surrogate pair", b'"\\ud800"', False),
        ("bytes that are no UTF-8", b'"\xff"', False),
        ("two values", b"1 2", False),
        ("nothing", b"", False),
        ("nesting without end", b"[" * 100_000 + b"]" * 100_000, False),
    ],
)
def test_json_is_what_bigquery_takes(what: str, text: bytes, fits: bool) -> None:
    problem = json_misfit(text)
    assert (problem is None) is fits, what
    assert problem is None or "\n" not in problem
