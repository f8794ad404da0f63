"""GoogleSQL as DuckDB's SQL: sqlglot's translation, and what it says differently or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from schemas import tables

if TYPE_CHECKING:
    from sqlglot import exp

_TEXTS: Final = {column.name for table in tables.ALL for column in table.columns if column.type is tables.Type.STRING}
_POINTER: Final = "'/' || REPLACE(REPLACE(A_KEY, '~', '~0'), '/', '~1')"
"""A key as a JSON Pointer, by which DuckDB takes it literally, whatever signs it has."""
_KEYS: Final = (
    "LIST_TRANSFORM(JSON_KEYS(A_JSON), LAMBDA key: CASE WHEN STARTS_WITH(key, '\"')"
    " THEN CAST(TO_JSON(key) AS VARCHAR) ELSE key END)"
)
"""GoogleSQL's JSON_KEYS gives a key that has quotes as a JSON text."""
_TYPES: Final[Mapping[str, Sequence[str]]] = {
    "string": ("VARCHAR",),
    "boolean": ("BOOLEAN",),
    "null": ("NULL",),
    "array": ("ARRAY",),
    "object": ("OBJECT",),
    "number": ("BIGINT", "UBIGINT", "HUGEINT", "DOUBLE"),
}
"""What DuckDB calls the types of JSON values, by GoogleSQL's names."""
_WHENS: Final = " ".join(f"WHEN '{ours}' THEN '{name}'" for name, named in _TYPES.items() for ours in named)
_TYPE: Final = f"CASE JSON_TYPE(A_JSON) {_WHENS} END"


def transpiled(sql: str, *, pretty: bool = False) -> str:
    """A GoogleSQL query or statement in DuckDB's SQL, for any DuckDB client: it needs no function or setting. Raises
    sqlglot's UnsupportedError for what DuckDB cannot say."""
    from sqlglot import ErrorLevel, parse_one

    return rewritten(parse_one(sql, read="bigquery")).sql(
        "duckdb", pretty=pretty, comments=False, unsupported_level=ErrorLevel.RAISE
    )


def rewritten(statement: exp.Expr) -> exp.Expr:
    """What sqlglot has read of GoogleSQL, changed to what it writes right for DuckDB."""
    _compare_types(statement)
    for node in reversed([*statement.walk()]):  # what is inside a node comes before it
        new = _rewritten(node)
        if new is not node:
            node.replace(new)
    return statement


def _compare_types(statement: exp.Expr) -> None:
    """Compares the type of a JSON value with constants by DuckDB's own names, a tenth of the text."""
    from sqlglot import exp

    for node in [*statement.find_all(exp.EQ, exp.In)]:
        constants = [node.expression] if isinstance(node, exp.EQ) else node.expressions
        are_constants = constants and all(isinstance(one, exp.Literal) for one in constants)
        if not isinstance(node.this, exp.JSONType) or not are_constants:
            continue
        names = [exp.Literal.string(name) for constant in constants for name in _TYPES[constant.name]]
        type_ = exp.Anonymous(this="JSON_TYPE", expressions=[node.this.this])
        node.replace(
            exp.EQ(this=type_, expression=names[0]) if len(names) == 1 else exp.In(this=type_, expressions=names)
        )


def _rewritten(node: exp.Expr) -> exp.Expr:
    from sqlglot import exp

    rewrites: dict[type[exp.Expr], Callable[[exp.Expr], exp.Expr]] = {
        exp.JSONExtractScalar: _json_value,
        exp.Bracket: _subscript,
        exp.JSONKeysAtDepth: lambda node: _parsed(_KEYS, a_json=node.this),
        exp.JSONType: lambda node: _parsed(_TYPE, a_json=node.this),
        exp.SafeFunc: _safe,
        exp.Date: _date,
    }
    rewrite = rewrites.get(type(node))
    return node if rewrite is None else rewrite(node)


def _json_value(node: exp.Expr) -> exp.Expr:
    """Of a text that is no JSON, GoogleSQL's JSON_VALUE is NULL and DuckDB's an error; without a path it is the value's
    own text."""
    from sqlglot import exp

    if isinstance(node.this, exp.Column) and node.this.name in _TEXTS:
        node.set("this", exp.TryCast(this=node.this, to=exp.DataType.build("JSON")))
    if isinstance(node.expression, exp.JSONPath) and len(node.expression.expressions) == 1:
        text = "CASE WHEN JSON_TYPE(A_JSON) IN ('OBJECT', 'ARRAY') THEN NULL ELSE JSON_EXTRACT_STRING(A_JSON, '$') END"
        return _parsed(text, a_json=node.this)
    return node


def _subscript(node: exp.Expr) -> exp.Expr:
    """`json[key]`: every other subscript has an offset."""
    from sqlglot import exp

    if node.args.get("offset") is not None or node.args.get("safe") is not None:
        return node
    key = node.expressions[0]
    if isinstance(key, exp.Literal):
        pointer: exp.Expr = exp.Literal.string("/" + key.name.replace("~", "~0").replace("/", "~1"))
    else:
        pointer = _parsed(_POINTER, a_key=key)
    return exp.Anonymous(this="JSON_EXTRACT", expressions=[node.this, pointer])


def _safe(node: exp.Expr) -> exp.Expr:
    """`SAFE.PARSE_JSON(text)`: the only safe function that views call."""
    from sqlglot import exp

    if not isinstance(node.this, exp.ParseJSON):
        return node
    return exp.TryCast(this=node.this.this, to=exp.DataType.build("JSON"))


def _date(node: exp.Expr) -> exp.Expr:
    """`DATE(timestamp, zone)`, whatever the session's time zone is."""
    zone = node.args.get("zone")
    return node if zone is None else _parsed("CAST(A_TIME AT TIME ZONE A_ZONE AS DATE)", a_time=node.this, a_zone=zone)


def _parsed(template: str, **parts: exp.Expr) -> exp.Expr:
    """A template in DuckDB's SQL, with a node for each of its names in capitals."""
    from sqlglot import exp, parse_one

    parsed = parse_one(template, read="duckdb")
    for column in [*parsed.find_all(exp.Column)]:
        part = parts.get(column.name.lower()) if column.name.isupper() else None
        if part is not None:
            column.replace(exp.paren(part.copy()) if isinstance(part, exp.Binary) else part.copy())
    return parsed
