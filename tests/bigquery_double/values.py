"""Values as they are stored: from DuckDB, from and to BigQuery's JSON, and as literals in SQL."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any

from sqlglot import exp

from tests.bigquery_double.schema import Field
from tests.bigquery_double.tables import Refused

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

_FROM_DUCKDB = {
    "VARCHAR": "STRING",
    "JSON": "JSON",
    "BLOB": "BYTES",
    "BOOLEAN": "BOOL",
    "DOUBLE": "FLOAT64",
    "FLOAT": "FLOAT64",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
    "DATE": "DATE",
} | dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER"), "INT64")

_TO_DUCKDB = {
    "STRING": "VARCHAR",
    "JSON": "JSON",
    "BYTES": "BLOB",
    "BOOL": "BOOLEAN",
    "FLOAT64": "DOUBLE",
    "TIMESTAMP": "TIMESTAMPTZ",
    "DATE": "DATE",
    "INT64": "BIGINT",
}


def column(name: str, type_: Any) -> Field:
    """A column of this type of DuckDB's, as a column of a query's result. Raises Refused."""
    if type_.id == "list":
        element = column(name, type_.children[0][1])
        if element.mode == "REPEATED":
            raise Refused("invalidQuery", f"Array of arrays is not supported: {name}")
        return replace(element, mode="REPEATED")
    if type_.id == "struct":
        return Field(name, "STRUCT", fields=tuple(column(*each) for each in type_.children))
    known = "FLOAT64" if type_.id == "decimal" else _FROM_DUCKDB.get(str(type_))
    if known is None:
        raise Refused("notImplemented", f"this double knows no type {type_} (column {name})")
    return Field(name, known)


def stored(value: Any, field: Field) -> Any:
    """A value that DuckDB gave."""
    if field.mode == "REPEATED":
        element = replace(field, mode="NULLABLE")
        return [stored(each, element) for each in value or ()]
    if value is None:
        return None
    if field.type == "STRUCT":
        return {each.name: stored(value[each.name], each) for each in field.fields}
    if field.type == "TIMESTAMP":
        return (value - EPOCH) // _MICROSECOND
    if field.type == "DATE":
        return (value - EPOCH.date()).days
    return float(value) if field.type == "FLOAT64" else value


def rest(value: Any, field: Field, *, micros: bool = False) -> Any:
    """A value in a row of a REST answer, without its `v`: a TIMESTAMP as `micros`, or else as seconds.
    https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query#DataFormatOptions"""
    if field.mode == "REPEATED":
        element = replace(field, mode="NULLABLE")
        return [{"v": rest(each, element, micros=micros)} for each in value]
    if value is None:
        return None
    if field.type == "STRUCT":
        return {"f": [{"v": rest(value[each.name], each, micros=micros)} for each in field.fields]}
    if field.type == "TIMESTAMP":
        return str(value) if micros else f"{value // 1_000_000}.{value % 1_000_000:06}"
    if field.type == "BYTES":
        return base64.b64encode(value).decode()
    if field.type == "BOOL":
        return "true" if value else "false"
    if field.type == "DATE":
        return (EPOCH.date() + timedelta(days=value)).isoformat()
    return str(value)


def parameter(resource: Mapping[str, Any]) -> tuple[Field, Any]:
    """(type, value) of a query parameter. https://cloud.google.com/bigquery/docs/reference/rest/v2/QueryParameter"""
    type_, value = resource["parameterType"], resource["parameterValue"]
    name = resource.get("name") or ""
    if type_["type"] == "ARRAY":
        element = Field.from_rest({"name": name, **type_["arrayType"]})
        return replace(element, mode="REPEATED"), [_parsed(each["value"], element) for each in value["arrayValues"]]
    field = Field.from_rest({"name": name, **type_})
    return field, _parsed(value.get("value"), field)


def _parsed(text: str | None, field: Field) -> Any:
    if text is None:
        return None
    if field.type == "INT64":
        return int(text)
    if field.type == "FLOAT64":
        return float(text)
    if field.type == "BOOL":
        return str(text).lower() == "true"
    if field.type == "BYTES":
        return base64.b64decode(text)
    if field.type == "DATE":
        return (date.fromisoformat(text) - EPOCH.date()).days
    if field.type == "TIMESTAMP":
        moment = datetime.fromisoformat(text.replace(" UTC", "+00:00").replace("Z", "+00:00"))
        return (moment.replace(tzinfo=moment.tzinfo or timezone.utc) - EPOCH) // _MICROSECOND
    if field.type in ("STRING", "JSON"):
        return text
    raise Refused("notImplemented", f"this double takes no parameter of type {field.type}")


def duckdb_type(field: Field) -> str:
    """The column's type as DuckDB writes it."""
    if field.type == "STRUCT":
        spelled = f"STRUCT({', '.join(f'{each.name} {duckdb_type(each)}' for each in field.fields)})"
    else:
        spelled = _TO_DUCKDB[field.type]
    return f"{spelled}[]" if field.mode == "REPEATED" else spelled


def literal(value: Any, field: Field) -> exp.Expr:
    """The value as an expression."""
    return exp.cast(_uncast(value, field), exp.DataType.build(duckdb_type(field), dialect="duckdb"))


def _uncast(value: Any, field: Field) -> exp.Expr:
    if field.mode == "REPEATED":
        element = replace(field, mode="NULLABLE")
        return exp.Array(expressions=[literal(each, element) for each in value])
    if value is None:
        return exp.null()
    if field.type == "TIMESTAMP":
        return exp.Literal.string((EPOCH + value * _MICROSECOND).isoformat())
    if field.type == "DATE":
        return exp.Literal.string((EPOCH.date() + timedelta(days=value)).isoformat())
    if field.type == "BYTES":
        return exp.func("from_base64", exp.Literal.string(base64.b64encode(value).decode()))
    if field.type == "BOOL":
        return exp.Boolean(this=value)
    return exp.Literal.string(str(value))


def row(values: Sequence[Any], fields: Sequence[Field]) -> tuple[Any, ...]:
    """A row that DuckDB gave."""
    return tuple(stored(value, field) for value, field in zip(values, fields, strict=True))
