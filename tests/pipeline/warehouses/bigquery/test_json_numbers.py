"""Numbers of JSON as BigQuery writes them, judged by Google's own evaluator of GoogleSQL."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.warehouses.bigquery.json_numbers import as_bigquery_writes, text
from tests.schemas import googlesql

TEXTS = [
    (67.174118, "67.17411800000001"),
    (1760509016.282637, "1760509016.2826369"),
    (0.2002386475503002, "0.20023864755030019"),
    (-67.174118, "-67.17411800000001"),
    (0.1, "0.1"),
    (1e23, "9.999999999999999E+22"),
    (5e-324, "5E-324"),
    (1.7976931348623157e308, "1.7976931348623157E+308"),
    (2.2250738585072014e-308, "2.2250738585072014E-308"),
    (2.0**52, "4503599627370496"),
    (0.0, "0.0"),
    (-0.0, "-0.0"),
]


@pytest.mark.parametrize(("value", "written"), TEXTS)
def test_a_number_is_written_as_bigquery_does(value: float, written: str) -> None:
    assert text(value) == written


DOCUMENTS = [
    ("a number that does not survive", '{"a": 67.174118}', '{"a": 67.17411800000001}'),
    ("one that does stays as it was written", '{"a": [1.10, 1E2, 0.5e-3, -0.0]}', None),
    ("digits that FLOAT64 cannot hold", "[0.1000000000000000055511151231257827]", "[0.1]"),
    ("an integer of 64 bits", "[9223372036854775807, 18446744073709551615, -9223372036854775808]", None),
    (
        "a larger integer",
        "[18446744073709551617, -9223372036854775809]",
        "[18446744073709552000, -9223372036854776000]",
    ),
    ("a number beyond FLOAT64", "[1e999, -1e999]", None),
    ("digits within texts and names", r'{"67.174118": "67.174118 \" 67.174118", "b": ["\\"]}', None),
    ("a number of too many characters", f"[1.{'0' * 2000}]", "[1]"),
    ("a scalar", "67.174118", "67.17411800000001"),
]


@pytest.mark.parametrize(("what", "document", "written"), DOCUMENTS, ids=[what for what, *_ in DOCUMENTS])
def test_a_document_keeps_what_is_taken_as_it_is(what: str, document: str, written: str | None) -> None:
    found = as_bigquery_writes(document)
    if written is None:
        assert found == document
    else:
        assert json.loads(found, parse_int=float) == json.loads(written, parse_int=float)
        assert found != document


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_written_is_the_same_number_and_is_written_so_again(value: float) -> None:
    written = as_bigquery_writes(repr(value))
    assert float(written) == value
    assert as_bigquery_writes(written) == written


@pytest.mark.parametrize("seed", range(2))
def test_googles_evaluator_writes_and_refuses_the_same_numbers(seed: int) -> None:
    rng = Random(seed)
    values = [0.2002386475503002, 67.174118, 1760509016.282637, 18446744073709551617.0]
    values += [value for _ in range(700) if abs(value := struct.unpack("<d", rng.randbytes(8))[0]) < float("inf")]
    values += [round(rng.uniform(0, 10 ** rng.randint(0, 12)), rng.randint(1, 8)) for _ in range(1500)]
    numbers = [*map(repr, values), *(as_bigquery_writes(repr(value)) for value in values)]
    sent = ", ".join(f"'{number}'" for number in numbers)
    rows = googlesql.available().query(
        "SELECT TO_JSON_STRING(PARSE_JSON(number, wide_number_mode=>'round')) AS written,"
        " SAFE.PARSE_JSON(number) IS NULL AS refused"
        f" FROM UNNEST([{sent}]) AS number WITH OFFSET AS position ORDER BY position"
    )
    for number, row in zip(numbers, rows, strict=True):
        assert Decimal(text(float(number))) == Decimal(str(row["written"])), number
        assert (as_bigquery_writes(number) != number) is row["refused"], number
    assert sum(bool(row["refused"]) for row in rows) >= 3
