"""GoogleSQL in DuckDB's words: sqlglot's transpiler, and what it lacks or gets wrong."""

from __future__ import annotations

from sqlglot import ErrorLevel, exp

from pipeline.warehouses.duckdb import transpile

PARSE_EXACTLY = "parse_json_exactly"
"""The function that PARSE_JSON is without `wide_number_mode=>'round'`."""


def written(statement: exp.Expr) -> str:
    """The statement for DuckDB. Raises sqlglot's UnsupportedError."""
    rewritten = transpile.rewritten(statement.copy()).transform(_rewritten, copy=False)
    return rewritten.sql("duckdb", comments=False, unsupported_level=ErrorLevel.RAISE)


def _rewritten(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.JSONExtractScalar) and not isinstance(node.this, exp.TryCast):
        # of a text that is no JSON, GoogleSQL's JSON_VALUE is NULL and DuckDB's an error
        node.set("this", exp.TryCast(this=node.this, to=exp.DataType.build("JSON")))
    elif isinstance(node, exp.ParseJSON) and not _rounds(node):
        parsed = exp.Anonymous(this=PARSE_EXACTLY, expressions=[node.this])
        return exp.cast(parsed, exp.DataType.build("JSON"))
    elif isinstance(node, exp.TimestampDiff):
        # GoogleSQL counts whole units, DuckDB's date_diff the boundaries between them
        unit = exp.Literal.string(node.text("unit").lower())
        return exp.Anonymous(this="date_sub", expressions=[unit, node.expression, node.this])
    elif isinstance(node, exp.SafeConvertBytesToString):
        # NULL where the bytes are no UTF-8
        return exp.Anonymous(this="TRY", expressions=[exp.Anonymous(this="DECODE", expressions=[node.this])])
    return node


def _rounds(node: exp.ParseJSON) -> bool:
    """Whether PARSE_JSON is in the mode `round`; the default is `exact`."""
    mode = node.args.get("expression")
    return isinstance(mode, exp.Kwarg) and mode.expression.name == "round"
