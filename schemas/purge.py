"""The purge of a deleted person (`docs/semantics.md`, section 7): one script, written once in GoogleSQL.

Its parameter is `id`, any id of the person. The last statement gives a row for each table: its name, whether a delete
call names the person, the rows that were purged, and the person's rows that are left.
"""

from __future__ import annotations

import functools
from pathlib import Path

GOOGLESQL = Path(__file__).with_name("purge.sql").read_text("utf-8")
"""The script for BigQuery; its tables are those of the default dataset."""


@functools.cache
def duckdb() -> tuple[str, ...]:
    """The script's statements for DuckDB."""
    from sqlglot import ErrorLevel, exp, parse

    statements = []
    for statement in parse(GOOGLESQL, read="bigquery"):
        assert statement is not None
        for call in statement.find_all(exp.SafeConvertBytesToString):
            call.replace(exp.Anonymous(this="TRY", expressions=[exp.Anonymous(this="DECODE", expressions=[call.this])]))
        statements.append(statement.sql("duckdb", comments=False, unsupported_level=ErrorLevel.RAISE))
    return tuple(statements)
