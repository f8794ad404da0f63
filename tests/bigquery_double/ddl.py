"""GoogleSQL's CREATE and ALTER statements as the resources of the REST API.

https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from sqlglot import exp

from tests.bigquery_double.schema import Field
from tests.bigquery_double.tables import Refused, with_partitioning

_TYPES = {
    exp.DataType.Type.TEXT: "STRING",
    exp.DataType.Type.VARCHAR: "STRING",
    exp.DataType.Type.BIGINT: "INT64",
    exp.DataType.Type.INT: "INT64",
    exp.DataType.Type.DOUBLE: "FLOAT64",
    exp.DataType.Type.BOOLEAN: "BOOL",
    exp.DataType.Type.TIMESTAMPTZ: "TIMESTAMP",
    exp.DataType.Type.TIMESTAMP: "TIMESTAMP",
    exp.DataType.Type.BINARY: "BYTES",
    exp.DataType.Type.VARBINARY: "BYTES",
    exp.DataType.Type.JSON: "JSON",
    exp.DataType.Type.DATE: "DATE",
}
_SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400}


def column(name: str, type_: exp.DataType, constraints: Iterable[exp.Expr] = ()) -> Field:
    """A column of this GoogleSQL type. Raises Refused."""
    if type_.this == exp.DataType.Type.ARRAY:
        return replace(column(name, type_.expressions[0], constraints), mode="REPEATED")
    if type_.this == exp.DataType.Type.STRUCT:
        made = Field(name, "STRUCT", fields=tuple(definition(each) for each in type_.expressions))
    elif type_.this in _TYPES:
        made = Field(name, _TYPES[type_.this])
    else:
        raise Refused("notImplemented", f"this double knows no type {type_.sql('bigquery')} (column {name})")
    for constraint in constraints:
        if constraint.find(exp.NotNullColumnConstraint):
            made = replace(made, mode="REQUIRED")
        for option, value in _options(constraint):
            if option == "description":
                made = replace(made, description=value)
    return made


def definition(node: exp.Expr) -> Field:
    """A column's definition."""
    return column(node.name, node.args["kind"], node.args.get("constraints") or ())


def table(create: exp.Create) -> tuple[list[Field], dict[str, Any]]:
    """(columns, resource without the schema) of a CREATE TABLE or CREATE VIEW."""
    fields: list[Field] = []
    resource: dict[str, Any] = {}
    if isinstance(create.this, exp.Schema):
        for each in create.this.expressions:
            if isinstance(each, exp.ColumnDef):
                fields.append(definition(each))
            elif isinstance(each, exp.PrimaryKey):
                if "NOT ENFORCED" not in str(each.args.get("options")):
                    raise Refused("invalidQuery", "Enforcement of a primary key is not supported: NOT ENFORCED")
                resource["tableConstraints"] = {"primaryKey": {"columns": [part.name for part in each.expressions]}}
    properties = create.args.get("properties")
    for each in properties.expressions if properties else ():
        if isinstance(each, exp.PartitionedByProperty):
            found = each.find(exp.Column)
            assert found is not None
            resource["timePartitioning"] = {"type": each.this.text("unit") or "DAY", "field": found.name}
        elif isinstance(each, exp.ClusterProperty):
            resource["clustering"] = {"fields": [part.name for part in each.expressions]}
    return fields, with_partitioning(resource, options(create.args.get("properties")))


_OPTIONS = {
    "description": "description",
    "expiration_timestamp": "expirationTime",
    "friendly_name": "friendlyName",
    "max_staleness": "maxStaleness",
}


def options(properties: exp.Expr | None) -> dict[str, Any]:
    """OPTIONS as fields of a resource. Raises Refused for one that this double does not know."""
    resource: dict[str, Any] = {}
    for name, value in _options(properties) if properties else ():
        if name == "labels":
            resource["labels"] = {pair[0]: pair[1] for pair in value}
        elif name == "partition_expiration_days":
            milliseconds = None if value is None else str(int(float(value) * _SECONDS["DAY"] * 1000))
            resource["timePartitioning"] = {"expirationMs": milliseconds}
        elif name in _OPTIONS:
            resource[_OPTIONS[name]] = value
        else:
            raise Refused("notImplemented", f"this double knows no option {name}")
    return resource


def _options(properties: exp.Expr) -> Iterator[tuple[str, Any]]:
    for each in properties.find_all(exp.Property):
        if type(each) is exp.Property:
            yield each.name, _value(each.args["value"])


def _value(node: exp.Expr) -> Any:
    if isinstance(node, exp.Array):
        return [[_value(part) for part in pair.expressions] for pair in node.expressions]
    if isinstance(node, exp.Interval):
        return interval(int(node.this.name) * _SECONDS[node.text("unit").upper()])
    if isinstance(node, exp.Literal):
        return node.name
    if isinstance(node, exp.Null):
        return None
    raise Refused("notImplemented", f"this double knows no option such as {node.sql('bigquery')}")


def interval(seconds: int) -> str:
    """An INTERVAL as the REST API writes it, `Y-M D H:M:S`."""
    days, rest = divmod(seconds, 86_400)
    return f"0-0 {days} {rest // 3600}:{rest // 60 % 60}:{rest % 60}"
