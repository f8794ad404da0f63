"""GoogleSQL in DuckDB's SQL: what compares the type of a JSON value, in each way in which it may be written."""

from __future__ import annotations

import duckdb
import pytest

from pipeline.warehouses.duckdb.transpile import transpiled

VALUES = {
    "string": ('"a"', '""'),
    "boolean": ("true", "false"),
    "null": ("null",),
    "array": ("[]", "[1]"),
    "object": ("{}", '{"a": 1}'),
    "number": ("1", "-1", "18446744073709551615", "1e40", "0.5"),
}
OF_VALUES = [(value, name) for name, values in VALUES.items() for value in values]


def answer(condition: str, value: str | None) -> bool | None:
    """What a condition on the JSON value `json` is; None is SQL's NULL."""
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (json JSON)")
        connection.execute("INSERT INTO t VALUES (?)", [value])
        rows = connection.execute(transpiled(f"SELECT {condition} FROM t")).fetchall()
    result: bool | None = rows[0][0]
    return result


@pytest.mark.parametrize(("value", "name"), OF_VALUES)
def test_a_type_is_compared_with_a_constant(value: str, name: str) -> None:
    for other in VALUES:
        assert answer(f"JSON_TYPE(json) = '{other}'", value) is (other == name)
        assert answer(f"JSON_TYPE(json) <> '{other}'", value) is (other != name)
        assert answer(f"NOT JSON_TYPE(json) = '{other}'", value) is (other != name)
        assert answer(f"CONCAT(JSON_TYPE(json), '') = '{other}'", value) is (other == name)
    assert answer("JSON_TYPE(json) IN ('array', 'number')", value) is (name in ("array", "number"))
    assert answer("JSON_TYPE(json) NOT IN ('array', 'number')", value) is (name not in ("array", "number"))
    assert answer("JSON_TYPE(json) IN UNNEST(['array', 'number'])", value) is (name in ("array", "number"))
    assert answer("JSON_TYPE(json) IN (SELECT 'array')", value) is (name == "array")


@pytest.mark.parametrize("condition", ["= 'array'", "<> 'array'", "IN ('number')", "NOT IN ('array', 'null')"])
def test_no_value_has_no_type(condition: str) -> None:
    assert answer(f"JSON_TYPE(json) {condition}", None) is None
