"""Rows as Arrow, as the Storage Read API gives them and DuckDB takes them.

https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from tests.bigquery_double.schema import Field

_TYPES = {
    "STRING": pa.string(),
    "JSON": pa.string(),
    "INT64": pa.int64(),
    "FLOAT64": pa.float64(),
    "BOOL": pa.bool_(),
    "BYTES": pa.binary(),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "DATE": pa.date32(),
}
_JSON = {"ARROW:extension:name": "google:sqlType:json"}


def schema(fields: Sequence[Field]) -> Any:
    return pa.schema([_field(field) for field in fields])


def table(fields: Sequence[Field], rows: Sequence[tuple[Any, ...]]) -> Any:
    """The rows, one Arrow column for each field."""
    types = schema(fields)
    columns: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else [()] * len(fields)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=types)


def _field(field: Field) -> Any:
    type_ = pa.struct([_field(each) for each in field.fields]) if field.type == "STRUCT" else _TYPES[field.type]
    if field.mode == "REPEATED":
        return pa.field(field.name, pa.list_(type_), nullable=False)
    return pa.field(field.name, type_, field.mode != "REQUIRED", _JSON if field.type == "JSON" else None)
