"""Rows to Arrow batches, which DuckDB reads without a copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import astuple

from pipeline.warehouses.base import JobRun
from pipeline.warehouses.clock import now_us
from schemas.tables import Column, Mode, Row, Table, Type
from transforms.call_blocks import CallBlock
from transforms.core.rows import Append, Upsert
from transforms.json_columns import json_column

_SUSPECT_NUMBER: Final = r"[:\[,][ \t\r\n]*-?[0-9]+(?:(?:\.[0-9]+)?[eE]\+?[0-9]{3}|[0-9]{200})"
"""Finds every JSON number that may be beyond FLOAT64, and little else: of UUIDs, digests and other text in strings only
what stands behind a comma or the like."""
_JSON: Final = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}
"""Marks a column of strings as JSON: https://arrow.apache.org/docs/format/CanonicalExtensions.html#json"""


def row_batch(table: Table, rows: Sequence[Row], written_at: int) -> pa.Table:
    """The table's columns; `written_at` fills the one that says when a row was written."""
    columns = zip(table.columns, zip(*map(astuple, rows), strict=True), strict=True)
    return pa.table(
        {
            column.name: _array(column, [written_at] * len(rows) if column.name == table.written else values)
            for column, values in columns
        }
    )


def block_batch(table: Table, blocks: Iterable[CallBlock], written_at: int) -> pa.Table:
    """The same of the rows of several blocks. DuckDB takes their JSON as it is: this process has read it just now, and
    its syntax was checked by that. To check it once more is a fifth of what an insert costs."""
    rows = pa.concat_tables(_block_rows(table, block, written_at) for block in blocks)
    is_json = {column.name: column.type is Type.JSON for column in table.columns}
    fields = [field.with_metadata(_JSON) if is_json[field.name] else field for field in rows.schema]
    return pa.table(rows.columns, schema=pa.schema(fields))


def _block_rows(table: Table, block: CallBlock, written_at: int) -> pa.Table:
    others = row_batch(table, [append.row for append in block.others], written_at) if block.others else None
    if not block.messages and others is not None:
        return others
    columns = block.columns
    if table.written is not None:
        written = pa.repeat(pa.scalar(written_at, pa.timestamp("us", tz="UTC")), len(columns))
        columns = columns.append_column(table.written, written).select([column.name for column in table.columns])
    if others is None:
        return columns
    rows = pa.concat_tables([columns, others])
    return rows if block.order is None else rows.take(block.order)


def newest(upserts: Iterable[Upsert]) -> list[Upsert]:
    """Of each key the upsert with the greatest version."""
    by_key: dict[tuple[str, ...], Upsert] = {}
    for upsert in upserts:
        other = by_key.get(upsert.key)
        if other is None or upsert.version > other.version:
            by_key[upsert.key] = upsert
    return [*by_key.values()]


def upsert_batch(table: Table, upserts: list[Upsert], job: JobRun) -> pa.Table:
    """The table's columns, a version that begins with the job's generation, and whether the key has no row."""
    written_at = now_us()
    arrays = {}
    for column in table.columns:
        name = column.name
        if name in table.key:
            values: list[Any] = [upsert.key[table.key.index(name)] for upsert in upserts]
        elif name == table.written:
            values = [written_at] * len(upserts)
        else:
            values = [None if upsert.row is None else getattr(upsert.row, name) for upsert in upserts]
        arrays[name] = _array(column, values)
    versions = [(job.generation, *upsert.version) for upsert in upserts]
    arrays["version"] = pa.array(versions, pa.list_(pa.int64()))
    arrays["removed"] = pa.array([upsert.row is None for upsert in upserts], pa.bool_())
    return pa.table(arrays)


_ARROW: Final = {
    Type.STRING: pa.string(),
    Type.INT64: pa.int64(),
    Type.BOOL: pa.bool_(),
    Type.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Type.BYTES: pa.binary(),
    Type.JSON: pa.string(),
}


def _arrow(column: Column) -> pa.DataType:
    if column.type is Type.STRUCT:
        return pa.struct([(field.name, _arrow(field)) for field in column.fields])
    return _ARROW[column.type]


def _array(column: Column, values: Sequence[Any]) -> pa.Array:
    if column.type is Type.JSON:
        return json_column(values)
    if column.mode is Mode.REPEATED:
        if column.type is Type.STRUCT:
            values = [[_struct(column, row) for row in value or ()] for value in values]
        return pa.array(values, pa.list_(_arrow(column)))
    return pa.array(values, _arrow(column))


def _struct(column: Column, row: Row) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in column.fields}


def misfits(table: Table, appends: Sequence[Append], batch: pa.Table) -> Mapping[int, str]:
    """The rows that a warehouse cannot hold, by their index, and why: only JSON that the parser let through can be
    such."""
    suspects: set[int] = set()
    for column in table.columns:
        if column.type is Type.JSON:
            matches = pc.match_substring_regex(batch[column.name], _SUSPECT_NUMBER)
            suspects.update(pc.indices_nonzero(matches).to_pylist())
    problems = {index: table.misfit(appends[index].row) for index in sorted(suspects)}
    return {index: problem for index, problem in problems.items() if problem is not None}
